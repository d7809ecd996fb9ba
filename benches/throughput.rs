//! How fast the protocol's inner loops are: `cargo bench`. What is printed is measured and never asserted: it
//! depends on the machine and on what else that is doing. See `benches/README.md` for what can be compared.
//!
//! Each row is the best of several rounds, each of which works for a tenth of a second or more: the best round is
//! the one that was disturbed least.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a measurement, printed; what it measures is right by other tests"
)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use lmtp_send::envelope::list;
use lmtp_send::lmtp::Address;
use lmtp_send::lmtp::reply::ReplyReader;
use lmtp_send::lmtp::wire::{Encoder, Form, Meter};
use lmtp_send::message::Message;

const ROUNDS: usize = 7;
const ROUND: Duration = Duration::from_millis(100);
/// As much as the session encodes at a time.
const PIECE: usize = 128 * 1024;

fn main() {
    println!("{:44} {:>10} {:>12}", "", "MB/s", "ns per item");
    for (name, line, end) in [
        ("lines of 76 octets, LF", 76, "\n"),
        ("lines of 76 octets, CRLF", 76, "\r\n"),
        ("lines of 20 octets, LF", 20, "\n"),
    ] {
        let mail = mail(line, end);
        measure(&format!("encode for DATA: {name}"), mail.len(), 1, || encode(&mail, Form::Data));
        measure(&format!("encode for BDAT: {name}"), mail.len(), 1, || encode(&mail, Form::Bdat));
        measure(&format!("meter: {name}"), mail.len(), 1, || meter(&mail));
    }
    let (many, octets) = addresses();
    measure("address, typed", octets, many.len(), || many.iter().map(|text| parse(text)).sum());
    let header = many.join(",\r\n ");
    measure("address, in a header field", header.len(), many.len(), || {
        list::parse(header.as_bytes()).unwrap().len()
    });
    let replies = b"250 2.1.5 <recipient@example.com> Recipient ok\r\n".repeat(1_000);
    measure("reply of one line", replies.len(), 1_000, || read(&replies));
    let replies =
        b"550-5.1.1 <recipient@example.com>\r\n550 5.1.1 There is no such mailbox here\r\n".repeat(1_000);
    measure("reply of two lines", replies.len(), 1_000, || read(&replies));
    let small =
        format!("{}\r\n{}", "X-Field: of some length, as they are\r\n".repeat(20), "text\r\n".repeat(100));
    measure("message read, header split", small.len(), 1, || fields(small.as_bytes()));
}

/// Prints the best round of `work`, which goes over `octets` octets and `items` items each time.
fn measure(name: &str, octets: usize, items: usize, mut work: impl FnMut() -> usize) {
    let mut best = f64::INFINITY;
    for _ in 0..ROUNDS {
        let (mut times, start) = (0, Instant::now());
        while start.elapsed() < ROUND {
            black_box(work());
            times += 1;
        }
        best = best.min(start.elapsed().as_secs_f64() / f64::from(times));
    }
    let per_item = if items > 1 { format!("{:.0}", best * 1e9 / items as f64) } else { String::new() };
    println!("{name:44} {:>10.0} {per_item:>12}", octets as f64 / best / 1e6);
}

/// A message of 8 MB.
fn mail(line: usize, end: &str) -> Vec<u8> {
    let line = "x".repeat(line) + end;
    line.repeat(8_000_000 / line.len()).into_bytes()
}

fn encode(mail: &[u8], form: Form) -> usize {
    let (mut encoder, mut wire) = (Encoder::new(form), Vec::new());
    for piece in mail.chunks(PIECE) {
        wire.clear();
        encoder.encode(black_box(piece), &mut wire);
        black_box(&wire);
    }
    encoder.finish(&mut wire);
    wire.len()
}

fn meter(mail: &[u8]) -> usize {
    let mut meter = Meter::default();
    mail.chunks(PIECE).for_each(|piece| meter.push(black_box(piece)));
    meter.octets() as usize
}

/// Addresses of every form, and how many octets they have together.
fn addresses() -> (Vec<String>, usize) {
    let of = |i: usize| match i % 4 {
        0 => format!("recipient{i}@example.com"),
        1 => format!("first.last+tag{i}@mail.department.example.org"),
        2 => format!("\"quoted {i}\"@example.net"),
        _ => format!("user{i}@[192.0.2.1]"),
    };
    let all: Vec<String> = (0..1_000).map(of).collect();
    let octets = all.iter().map(String::len).sum();
    (all, octets)
}

fn parse(text: &str) -> usize {
    Address::parse(black_box(text)).unwrap().local().len()
}

fn read(replies: &[u8]) -> usize {
    let (mut reader, mut count) = (ReplyReader::default(), 0);
    for piece in replies.chunks(16 * 1024) {
        reader.push(black_box(piece));
        while let Ok(Some(reply)) = reader.next_reply() {
            count += usize::from(black_box(reply).is_positive());
        }
    }
    count
}

fn fields(mail: &[u8]) -> usize {
    let message = Message::from_stream(black_box(mail)).unwrap();
    message.header().unwrap().fields().count()
}
