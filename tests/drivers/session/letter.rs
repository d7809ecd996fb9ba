//! Messages of many sizes, made once, and what may befall one while it is sent.

use std::io;
use std::sync::OnceLock;

use lmtp_send::lmtp::session::Body;
use lmtp_send::lmtp::wire::{Encoder, Form, Meter};
use lmtp_send::lmtp::{Address, Content, ReversePath};

use super::Settings;

/// How many octets the messages have at least: a few lines, more than one write, one block, one chunk takes.
const SIZES: [usize; 9] = [0, 20, 40, 100, 1_000, 10_000, 50_000, 140_000, 4_200_000];
const TEXT: &[u8] = b".\n..\n.dot\nA CR:\r. 8 bit: \xe9\xff\0\nCRLF\r\n";

static SHEETS: [OnceLock<Sheets>; SIZES.len()] = [const { OnceLock::new() }; SIZES.len()];

/// So many that their commands are more than are written at once.
const MANY: usize = 400;

/// The recipients from whom the letters' are taken; with `utf8` every third needs SMTPUTF8.
fn recipients(many: bool, utf8: bool) -> &'static [Address] {
    static ALL: [OnceLock<Vec<Address>>; 3] = [const { OnceLock::new() }; 3];
    let utf8 = utf8 && !many;
    let make = || {
        let first = |i: usize| if utf8 && i % 3 == 2 { "é" } else { "r" };
        let name =
            |i: usize| format!("{}{i}{}@x", first(i), if many { "x".repeat(90) } else { String::new() });
        (0..MANY).map(|i| Address::parse(&name(i)).unwrap()).collect()
    };
    ALL[if many { 2 } else { usize::from(utf8) }].get_or_init(make)
}

/// A message in all its forms.
struct Sheets {
    raw: Vec<u8>,
    data: Vec<u8>,
    bdat: Vec<u8>,
}

/// What befalls a message while it is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    None,
    /// Its end is missing.
    Shrinks,
    /// There is a line more.
    Grows,
    /// It cannot be read beyond its middle.
    Breaks,
    /// It cannot be read at all.
    Gone,
}

/// A message and its envelope.
pub struct Letter {
    pub from: ReversePath,
    pub to: &'static [Address],
    pub fault: Fault,
    sheets: &'static Sheets,
}

impl Letter {
    pub fn new(settings: Settings, at: usize) -> Self {
        let [_, _, _, to, what, ..] = settings.0;
        let number = if to == 0xff { MANY } else { [1, 2, 3, 4, 1, 6, 2, 40][(usize::from(to) + at) % 8] };
        let size = if what == 0xff { 8 } else { usize::from(what % 8) };
        let fault = match what >> 3 & 7 {
            4 => Fault::Shrinks,
            5 => Fault::Grows,
            6 => Fault::Breaks,
            7 if what != 0xff => Fault::Gone,
            _ => Fault::None,
        };
        let from = if at == 1 { String::new() } else { format!("s{at}@x") };
        Self {
            from: ReversePath::parse(&from).unwrap(),
            to: &recipients(number == MANY, to & 8 != 0)[..number],
            fault,
            sheets: SHEETS[size].get_or_init(|| Sheets::new(SIZES[size])),
        }
    }

    pub fn octets(&self, body: Body) -> u64 {
        self.wire(if body == Body::Binary { Form::Binary } else { Form::Bdat }).len() as u64
    }

    pub fn wire(&self, form: Form) -> &'static [u8] {
        match form {
            Form::Data => &self.sheets.data,
            Form::Bdat => &self.sheets.bdat,
            Form::Binary => &self.sheets.raw,
        }
    }

    pub fn open(&self) -> Pages {
        let raw = self.sheets.raw.as_slice();
        let there = match self.fault {
            Fault::None | Fault::Grows => raw.len(),
            Fault::Shrinks => raw.len() - 3,
            Fault::Breaks => raw.len() / 2,
            Fault::Gone => 0,
        };
        Pages { sheets: self.sheets, fault: self.fault, there, at: 0 }
    }
}

impl Sheets {
    /// Its beginning is that of no command.
    fn new(size: usize) -> Self {
        let mut raw = b"X-Letter: 1\n".to_vec();
        let long = "and then some more ".repeat(40) + "\n";
        let mut lines = TEXT.split_inclusive(|o| *o == b'\n').chain([long.as_bytes()]).cycle();
        while raw.len() < size {
            raw.extend(lines.next().unwrap_or_default());
        }
        let wire = |form| {
            let (mut encoder, mut wire) = (Encoder::new(form), Vec::new());
            encoder.encode(&raw, &mut wire);
            encoder.finish(&mut wire);
            let mut meter = Meter::default();
            meter.push(&raw);
            assert_eq!(encoder.octets(), meter.octets());
            wire
        };
        let (data, bdat) = (wire(Form::Data), wire(Form::Bdat));
        Self { raw, data, bdat }
    }
}

/// A message being read.
pub struct Pages {
    sheets: &'static Sheets,
    fault: Fault,
    there: usize,
    at: usize,
}

impl Content for Pages {
    fn octets(&self) -> u64 {
        self.sheets.bdat.len() as u64
    }

    fn raw_octets(&self) -> u64 {
        self.sheets.raw.len() as u64
    }

    fn rewind(&mut self) -> io::Result<()> {
        self.at = 0;
        if self.fault == Fault::Gone { Err(io::Error::other("it is gone")) } else { Ok(()) }
    }

    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        const MORE: &[u8] = b"and more\n";
        let all = self.there + if self.fault == Fault::Grows { MORE.len() } else { 0 };
        let size = buf.len().min(if self.at < self.there { self.there } else { all } - self.at);
        if size == 0 && self.fault == Fault::Breaks {
            return Err(io::Error::other("it is broken"));
        }
        let from =
            if self.at < self.there { &self.sheets.raw[self.at..] } else { &MORE[self.at - self.there..] };
        buf[..size].copy_from_slice(&from[..size]);
        self.at += size;
        Ok(size)
    }
}
