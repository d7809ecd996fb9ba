//! Messages that are sent from the file in which they stand.

use std::io::{Seek, SeekFrom, Write};

use super::peer::{How, Side};
use super::*;
use crate::message::Message;

/// A message of 576,000 octets in CRLF lines, in a file: without the Bcc field in its middle.
fn message_in_a_file() -> Message {
    let lines = "X-Line: and more of it\r\n".repeat(12_000);
    let mut file = tempfile::tempfile().unwrap();
    write!(file, "{lines}Bcc: c@x.example\r\n{lines}\r\n.dot\r\n").unwrap();
    file.seek(SeekFrom::Start(0)).unwrap();
    let mut message = Message::from_file(file).unwrap();
    let header = message.header().unwrap();
    message.remove(&header, |field| field.is("Bcc")).unwrap();
    message
}

/// What becomes of that message when as many octets of it are `from_files` as the transport says, and the log.
fn send(message: &Message, peer: Peer<Model>) -> (Vec<String>, Rc<RefCell<Log>>) {
    let letter = Letter::new("s@x.example", &["a@x.example", "b@x.example"], "");
    let log = peer.log();
    let mut run = Run::default();
    let session = Session::open(peer.patient(), "client.example").unwrap();
    let mut pipeline = Pipeline::new(session);
    run.begin(&mut pipeline, &letter, 0).unwrap();
    let _ = pipeline.send(&mut message.open());
    pipeline.finish();
    run.collect(&mut pipeline);
    (run.of(0), log)
}

#[test]
fn a_message_in_its_wire_form_is_sent_from_its_file() {
    let message = message_in_a_file();
    let slow = Manner { take: 7_000, ..AT_ONCE };
    for (offers, manner) in
        [&["PIPELINING", "CHUNKING"][..], &["CHUNKING"]].into_iter().flat_map(|o| [(o, AT_ONCE), (o, slow)])
    {
        let peer =
            || Peer::new(Model::new(Rules { offers: offers.to_vec(), ..Rules::default() }), manner, None);
        let (settlements, read) = send(&message, peer());
        assert_eq!((settlements, read.borrow().from_files), (vec!["delivered".to_owned(); 2], 0));
        for most in [u64::MAX, 400_000, 1, 0] {
            let (settlements, sent) = send(&message, peer().sending_files(most));
            assert_eq!(settlements, ["delivered"; 2], "{offers:?} {most}");
            assert!(sent.borrow().written == read.borrow().written, "{offers:?} {most}");
            let expected = most.min(message.raw_octets() - 128 * 1024);
            assert_eq!(sent.borrow().from_files as u64, expected, "{offers:?}");
        }
    }
}

#[test]
fn a_connection_that_ends_while_a_file_is_sent_has_delivered_nothing() {
    let message = message_in_a_file();
    for (at, how) in [300, 300_000, 570_000]
        .into_iter()
        .flat_map(|at| [How::Close, How::Reset, How::Stall].map(|how| (at, how)))
    {
        let model = Model::new(Rules { offers: vec!["PIPELINING", "CHUNKING"], ..Rules::default() });
        let truth = model.truth();
        let peer =
            Peer::new(model, AT_ONCE, Some(Cut { side: Side::Client, at, how })).sending_files(u64::MAX);
        let (settlements, log) = send(&message, peer);
        assert!(
            settlements.iter().all(|settlement| settlement == "unanswered" || settlement == "untried"),
            "{at} {how:?}: {settlements:?}"
        );
        assert!(truth.borrow().ended.is_empty() && log.borrow().from_files > 0, "{at} {how:?}");
    }
}

/// A file of so many octets in CRLF lines.
fn file_of(octets: usize) -> Message {
    let mut text = "0123456789abcd\r\n".repeat(octets / 16);
    text.push_str(&"x".repeat(octets % 16));
    text.replace_range(octets - 2.., "\r\n");
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file.seek(SeekFrom::Start(0)).unwrap();
    Message::from_file(file).unwrap()
}

/// The borders of chunks, and of the last octets, which are read.
#[test]
fn a_file_of_any_size_is_sent_as_it_would_be_read() {
    const BLOCK: usize = 128 * 1024;
    const CHUNK: usize = 4 * 1024 * 1024;
    for octets in [BLOCK, CHUNK, CHUNK + BLOCK, 2 * CHUNK].into_iter().flat_map(|n| [n - 2, n, n + 3]) {
        let message = file_of(octets);
        assert!(message.is_wire_form());
        for offers in [&["PIPELINING", "CHUNKING"][..], &["CHUNKING"]] {
            let model = || Model::new(Rules { offers: offers.to_vec(), ..Rules::default() });
            let (settlements, read) = send(&message, Peer::new(model(), AT_ONCE, None));
            let (from_file, sent) = send(&message, Peer::new(model(), AT_ONCE, None).sending_files(u64::MAX));
            assert_eq!(
                (&settlements, &from_file),
                (&vec!["delivered".to_owned(); 2], &settlements),
                "{octets} {offers:?}"
            );
            assert!(sent.borrow().written == read.borrow().written, "{octets} {offers:?}");
            assert_eq!(sent.borrow().from_files, octets.saturating_sub(BLOCK), "{octets} {offers:?}");
        }
    }
}

/// A transport that cannot read the file is no lost connection: reading shows what is wrong.
#[test]
fn a_file_that_cannot_be_sent_from_is_read() {
    let message = message_in_a_file();
    let model = Model::new(Rules { offers: vec!["PIPELINING", "CHUNKING"], ..Rules::default() });
    let (settlements, log) = send(&message, Peer::new(model, AT_ONCE, None).sending_files(0));
    assert_eq!(settlements, ["delivered"; 2]);
    assert_eq!((log.borrow().from_files, log.borrow().waits), (0, 0));
}
