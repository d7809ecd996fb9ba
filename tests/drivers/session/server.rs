//! Servers in memory that say what is in a script, and a record of what crossed the wire.
//!
//! These octets of a script are marks, all others are said:
//!
//! | octet | |
//! | --- | --- |
//! | `00` | silent until the client has nothing more to write and waits |
//! | `01` | what follows comes in a read of its own |
//! | `02 nn` | from here on at most so many octets are taken at a time; 0: any number |
//! | `03` | from here on nothing is taken from the client; or, again, something |
//! | `04` | the connection is closed; what follows is the next server's |
//! | `05` | from here on writing fails |
//! | `06` | silent for ever |
//! | `07` | the run is told to stop |
//! | `08` | the connection is reset |
//! | `0b nn` | silent until so many more octets have been taken |
//! | `10 nn` | says `nn` |

use std::cell::{Cell, RefCell};
use std::io::{self, ErrorKind};
use std::rc::Rc;

use lmtp_send::lmtp::reply::ReplyReader;
use lmtp_send::lmtp::{Event, Insecure, Moved, Reply, Stage, Transport};

use super::{Settings, Word, assert_secret};

const WAIT: u8 = 0x00;
const PACKET: u8 = 0x01;
const TAKE: u8 = 0x02;
const DEAF: u8 = 0x03;
const CLOSE: u8 = 0x04;
const BREAK: u8 = 0x05;
const STALL: u8 = 0x06;
const STOP: u8 = 0x07;
const RESET: u8 = 0x08;
const HEAR: u8 = 0x0b;
const LITERAL: u8 = 0x10;

/// More exchanges that move nothing mean that the session goes round in circles.
const MOST_IDLE: usize = 10;

/// What all servers say.
pub struct Script {
    octets: Vec<u8>,
    at: Cell<usize>,
    connected: Cell<bool>,
    settings: Settings,
}

impl Script {
    pub fn new(octets: &[u8], settings: Settings) -> Self {
        Self { octets: octets.to_vec(), at: Cell::new(0), connected: Cell::new(false), settings }
    }

    /// How many servers there are.
    pub fn connections(&self) -> usize {
        1 + self.octets.iter().filter(|o| **o == CLOSE).count()
    }

    /// A connection with the next server; `None` when that was the last.
    pub fn connect(self: &Rc<Self>) -> Option<Peer> {
        if self.connected.replace(true) {
            let rest = self.octets.get(self.at.get()..)?;
            let close = rest.iter().position(|o| *o == CLOSE)?;
            self.at.set(self.at.get() + close + 1);
        }
        let [.., take, give, order] = self.settings.0;
        let most = |octet: u8| if octet == 0 { usize::MAX } else { octet.into() };
        Some(Peer {
            script: Rc::clone(self),
            conversation: Rc::default(),
            take: most(take),
            give: most(give),
            order: [Order::Write, Order::Read, Order::Both, Order::Write][usize::from(order % 4)],
            closed_takes: order & 4 != 0,
            deaf: false,
            broken: None,
            until: None,
            idle: 0,
        })
    }

    /// What stands here; behind the end, what the settings say.
    fn here(&self) -> u8 {
        let end = [CLOSE, CLOSE, STALL, RESET][usize::from(self.settings.0[2] >> 6)];
        self.octets.get(self.at.get()).copied().unwrap_or(end)
    }

    /// What stands behind what stands here.
    fn second(&self) -> u8 {
        self.octets.get(self.at.get() + 1).copied().unwrap_or_default()
    }

    /// Says what stands before the next mark, as far as there is room.
    fn say(&self, input: &mut [u8]) -> usize {
        let rest = &self.octets[self.at.get()..];
        let said = rest
            .iter()
            .take(input.len())
            .take_while(|o| **o > RESET && !matches!(**o, HEAR | LITERAL))
            .count();
        input[..said].copy_from_slice(&rest[..said]);
        self.at.set(self.at.get() + said);
        said
    }

    /// Goes on to the next octet.
    fn next(&self) -> u8 {
        self.at.set(self.at.get() + 1);
        self.octets.get(self.at.get()).copied().unwrap_or_default()
    }
}

/// What crossed the wire, and what was told of it.
#[derive(Default)]
pub struct Conversation {
    /// What the client handed over.
    pub written: RefCell<Vec<u8>>,
    /// What the client was given, and how much it had handed over then.
    given: RefCell<Vec<(Vec<u8>, usize)>>,
    pub words: RefCell<Vec<Word>>,
    /// How much was written, and how many words there were, before the first transaction.
    pub opening: Cell<(usize, usize)>,
}

impl Conversation {
    pub fn observe(&self, event: &Event<'_>) {
        self.words.borrow_mut().push(match event {
            Event::Sent(line) => {
                assert_secret(line);
                Word::Sent((*line).to_owned())
            }
            Event::Received(reply) => Word::Received((*reply).clone()),
            Event::Sending { octets, of } => return assert!(octets <= of, "{octets} of {of}"),
            Event::SentMessage(_) | Event::Note(_) | _ => return,
        });
    }

    pub fn opened(&self) {
        self.opening.set((self.written.borrow().len(), self.words.borrow().len()));
    }

    /// The replies. Behind one that is none, nothing counts.
    pub fn replies(&self) -> Vec<Said> {
        let mut reader = ReplyReader::default();
        let (mut replies, mut begun) = (Vec::new(), 0);
        for (octets, written) in self.given.borrow().iter() {
            if !reader.has_input() {
                begun = *written;
            }
            reader.push(octets);
            loop {
                match reader.next_reply() {
                    Ok(Some(reply)) => replies.push(Said { reply, begun, ended: *written }),
                    Ok(None) => break,
                    Err(_) => return replies,
                }
                begun = *written;
            }
        }
        replies
    }

    /// Whether there is no octet behind the last reply.
    fn is_quiet(&self) -> bool {
        let said: Vec<u8> = self.given.borrow().iter().flat_map(|(octets, _)| octets.clone()).collect();
        let mut reader = ReplyReader::default();
        reader.push(&said);
        while let Ok(Some(_)) = reader.next_reply() {}
        !reader.has_input()
    }
}

/// A reply, and how much had been handed over when its first octet came and when its last did.
pub struct Said {
    pub reply: Reply,
    pub begun: usize,
    pub ended: usize,
}

/// Which direction an exchange tries first.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Order {
    /// As sockets do: nothing is read while all can be written.
    Write,
    Read,
    Both,
}

/// A connection.
pub struct Peer {
    script: Rc<Script>,
    conversation: Rc<Conversation>,
    take: usize,
    give: usize,
    order: Order,
    /// A server that has closed seems to take what is written.
    closed_takes: bool,
    deaf: bool,
    broken: Option<ErrorKind>,
    /// How much is to be written before the script goes on.
    until: Option<usize>,
    idle: usize,
}

impl Peer {
    pub fn conversation(&self) -> Rc<Conversation> {
        Rc::clone(&self.conversation)
    }

    fn take(&mut self, out: &[u8]) -> io::Result<usize> {
        if out.is_empty() || self.deaf {
            return Ok(0);
        }
        if let Some(kind) = self.broken {
            return Err(kind.into());
        }
        let size = out.len().min(self.take);
        self.conversation.written.borrow_mut().extend_from_slice(&out[..size]);
        Ok(size)
    }

    /// Gives what the script says here; `waits`: the client has nothing to write.
    fn give(&mut self, input: &mut [u8], waits: bool) -> io::Result<Moved> {
        let room = input.len().min(self.give);
        let mut read = 0;
        let mut end = None;
        while read < room && end.is_none() {
            match self.script.here() {
                WAIT if !waits || read > 0 => break,
                WAIT => {}
                PACKET if read > 0 => end = Some(PACKET),
                PACKET => {}
                TAKE => {
                    self.take = Some(self.script.next()).filter(|n| *n > 0).map_or(usize::MAX, usize::from)
                }
                DEAF => self.deaf = !self.deaf,
                BREAK => self.broken = Some(ErrorKind::BrokenPipe),
                HEAR if self.hears() => {}
                HEAR => break,
                CLOSE | STALL | STOP | RESET if read > 0 => break,
                mark @ (CLOSE | STALL | STOP | RESET) => {
                    end = Some(mark);
                    break;
                }
                LITERAL => {
                    input[read] = self.script.next();
                    read += 1;
                }
                _ => {
                    read += self.script.say(&mut input[read..room]);
                    continue;
                }
            }
            self.script.next();
        }
        if read > 0 {
            let written = self.conversation.written.borrow().len();
            self.conversation.given.borrow_mut().push((input[..read].to_vec(), written));
        }
        match end {
            Some(CLOSE) => {
                self.broken = self.broken.or(Some(ErrorKind::BrokenPipe).filter(|_| !self.closed_takes));
                Ok(Moved { closed: true, ..Moved::default() })
            }
            Some(STOP) => Err(ErrorKind::Interrupted.into()),
            Some(RESET) => {
                self.broken = Some(ErrorKind::ConnectionReset);
                Err(ErrorKind::ConnectionReset.into())
            }
            _ => Ok(Moved { read, ..Moved::default() }),
        }
    }

    /// Whether as much has been taken as the mark here says, since the script came to it.
    fn hears(&mut self) -> bool {
        let written = self.conversation.written.borrow().len();
        let until = *self.until.get_or_insert(written + usize::from(self.script.second()));
        if written < until {
            return false;
        }
        self.until = None;
        self.script.next();
        true
    }

    fn move_octets(&mut self, out: &[u8], input: &mut [u8]) -> io::Result<Moved> {
        if self.order == Order::Read {
            let heard = self.give(input, out.is_empty())?;
            if heard != Moved::default() {
                return Ok(heard);
            }
        }
        let written = self.take(out)?;
        if written > 0 && self.order != Order::Both {
            return Ok(Moved { written, ..Moved::default() });
        }
        match self.give(input, out.is_empty()) {
            Err(_) if written > 0 => Ok(Moved { written, ..Moved::default() }),
            moved => moved.map(|moved| Moved { written, ..moved }),
        }
    }
}

impl Transport for Peer {
    fn enter(&mut self, _: Stage) {}

    fn exchange(&mut self, out: &[u8], input: &mut [u8]) -> io::Result<Moved> {
        let moved = self.move_octets(out, input);
        if !moved.as_ref().is_ok_and(|moved| moved.written + moved.read > 0) {
            self.idle += 1;
            assert!(self.idle <= MOST_IDLE, "the session goes round in circles");
        }
        match moved {
            Ok(moved) if moved == Moved::default() => Err(ErrorKind::TimedOut.into()),
            moved => moved,
        }
    }

    fn pending(&mut self, input: &mut [u8]) -> io::Result<Moved> {
        self.give(input, false)
    }

    fn secure(&mut self) -> Result<(), Insecure> {
        assert!(self.conversation.is_quiet(), "something was there before the handshake");
        let asked = self.conversation.written.borrow().ends_with(b"STARTTLS\r\n");
        assert!(asked || self.broken.is_some(), "nobody was asked for TLS");
        match self.script.settings.0[1] >> 3 & 3 {
            0 | 1 => Ok(()),
            2 => Err(Insecure::NotVerified("a stranger".into())),
            _ => Err(Insecure::Lost(ErrorKind::ConnectionReset.into())),
        }
    }
}
