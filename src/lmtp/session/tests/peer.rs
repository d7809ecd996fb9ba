//! The other end of a connection in memory: octets go to and fro in pieces of a given size, through buffers
//! of a given size, and stop at a given octet in a given way. It behaves as the transport of sockets does,
//! and knows nothing of LMTP: that is the [`Server`]'s.

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::rc::Rc;

use super::super::super::{Moved, Stage, Stretch, Transport};

/// What speaks at the other end.
pub(super) trait Server {
    /// What it says before it has heard anything.
    fn greeting(&mut self) -> Vec<u8>;
    /// Its answer to `line`, which has its LF, or to raw octets; `more`: octets have come behind it already.
    fn hear(&mut self, line: &[u8], more: bool) -> Vec<u8>;
    /// How many octets it takes next without looking for lines.
    fn raw(&self) -> Option<usize> {
        None
    }
    /// It closes the connection once what it has said is on its way.
    fn closes(&self) -> bool;
}

/// How octets are moved.
#[derive(Clone, Copy, Debug)]
pub(super) struct Manner {
    pub order: Order,
    /// At most so many octets are taken from the client, and given to it, in one exchange.
    pub take: usize,
    pub give: usize,
    /// The peer does not read while so many octets wait to be read by the client; and what it has not read
    /// waits in a buffer of so many octets.
    pub room: usize,
}

/// Which direction an exchange tries first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// As sockets do: nothing is read while all can be written.
    Write,
    Read,
    Both,
}

pub(super) const AT_ONCE: Manner =
    Manner { order: Order::Write, take: usize::MAX, give: usize::MAX, room: usize::MAX };

/// The end of the connection, behind so many octets of one direction.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cut {
    pub side: Side,
    pub at: usize,
    pub how: How,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// What the server says.
    Server,
    /// What the client says.
    Client,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum How {
    /// The peer is gone; what it had said can still be read.
    Close,
    /// The peer says no more, and still listens.
    HalfClose,
    /// The connection is reset; what had not been read is lost.
    Reset,
    /// Nothing comes any more. What is written seems to go out.
    Silence,
    /// Nothing moves any more.
    Stall,
}

pub(super) const WAYS: [How; 5] = [How::Close, How::HalfClose, How::Reset, How::Silence, How::Stall];

/// What happened on the connection.
#[derive(Debug, Default)]
pub(super) struct Log {
    /// What the client handed over.
    pub written: Vec<u8>,
    /// How many octets of that came from files.
    pub from_files: usize,
    /// How many octets the client was given.
    pub given: usize,
    /// Exchanges in which something was written.
    pub writes: usize,
    /// Runs of writes without a read in between.
    pub flights: usize,
    /// Exchanges that ended at the time limit.
    pub waits: usize,
    /// Calls of any kind.
    pub calls: usize,
    /// What the server was when its peer was last written to.
    writing: bool,
}

pub(super) struct Peer<S> {
    server: S,
    manner: Manner,
    cut: Option<Cut>,
    log: Rc<RefCell<Log>>,
    /// How many octets it still sends from files, where it does that at all.
    files: Option<u64>,
    /// More calls than these mean that the session goes round in circles.
    most_calls: usize,
    /// Taken from the client; those before `heard` were heard by the server.
    inbox: Vec<u8>,
    heard: usize,
    line: Vec<u8>,
    /// Said by the server; those before `out_at` were given to the client.
    outbox: Vec<u8>,
    out_at: usize,
}

impl<S: Server> Peer<S> {
    pub fn new(mut server: S, manner: Manner, cut: Option<Cut>) -> Self {
        let outbox = server.greeting();
        let (line, inbox, log) = Default::default();
        let (files, most_calls) = (None, 20_000);
        Self { server, manner, cut, log, files, most_calls, inbox, heard: 0, line, outbox, out_at: 0 }
    }

    pub fn patient(mut self) -> Self {
        self.most_calls = usize::MAX;
        self
    }

    pub fn sending_files(mut self, octets: u64) -> Self {
        self.files = Some(octets);
        self
    }

    pub fn log(&self) -> Rc<RefCell<Log>> {
        Rc::clone(&self.log)
    }

    fn count_call(&self) {
        let calls = &mut self.log.borrow_mut().calls;
        *calls += 1;
        assert!(*calls <= self.most_calls, "the session goes round in circles");
    }

    /// How many octets of `side` may still pass, of those that there are.
    fn passing(&self, side: Side, there: usize) -> usize {
        let log = self.log.borrow();
        let passed = if side == Side::Server { log.given } else { log.written.len() };
        self.cut.filter(|c| c.side == side).map_or(there, |c| there.min(c.at - passed))
    }

    /// The cut that has been reached.
    fn severed(&self) -> Option<(Side, How)> {
        self.cut.filter(|c| self.passing(c.side, 1) == 0).map(|c| (c.side, c.how))
    }

    /// The server hears what it can, as long as its own words are read.
    fn listen(&mut self) {
        while self.heard < self.inbox.len()
            && self.outbox.len() - self.out_at < self.manner.room
            && !self.server.closes()
        {
            let rest = &self.inbox[self.heard..];
            let line = rest.iter().position(|&o| o == b'\n').map_or(rest.len(), |at| at + 1);
            let end = self.server.raw().map_or(line, |octets| octets.min(rest.len()));
            self.line.extend_from_slice(&rest[..end]);
            self.heard += end;
            if self.server.raw().is_some() || self.line.ends_with(b"\n") {
                let answer = self.server.hear(&self.line, self.heard < self.inbox.len());
                self.outbox.extend_from_slice(&answer);
                self.line.clear();
            }
        }
        if self.heard == self.inbox.len() {
            self.inbox.clear();
            self.heard = 0;
        }
        if self.out_at == self.outbox.len() {
            self.outbox.clear();
            self.out_at = 0;
        }
    }

    /// Takes what it can of `out`.
    fn take(&mut self, out: &[u8]) -> io::Result<usize> {
        self.listen();
        if out.is_empty() {
            return Ok(0);
        }
        let swallowed = match self.severed() {
            Some((_, How::Close)) | Some((Side::Client, How::HalfClose)) => {
                return Err(ErrorKind::BrokenPipe.into());
            }
            Some((_, How::Reset)) => return Err(ErrorKind::ConnectionReset.into()),
            Some((_, How::Stall)) => return Ok(0),
            Some((Side::Client, How::Silence)) => true,
            Some((Side::Server, How::HalfClose | How::Silence)) | None => false,
        };
        if self.server.closes() && !swallowed {
            return Err(ErrorKind::BrokenPipe.into());
        }
        let size = out.len().min(self.manner.take);
        let mut log = self.log.borrow_mut();
        log.writes += 1;
        log.flights += usize::from(!std::mem::replace(&mut log.writing, true));
        drop(log);
        if swallowed {
            return Ok(size);
        }
        let free = self.manner.room.saturating_sub(self.inbox.len() - self.heard);
        let size = self.passing(Side::Client, size.min(free));
        self.inbox.extend_from_slice(&out[..size]);
        self.log.borrow_mut().written.extend_from_slice(&out[..size]);
        Ok(size)
    }

    /// Gives what there is.
    fn give(&mut self, input: &mut [u8]) -> io::Result<Moved> {
        self.listen();
        match self.severed() {
            Some((_, How::Reset)) => return Err(ErrorKind::ConnectionReset.into()),
            Some((Side::Server, How::Close | How::HalfClose)) => {
                return Ok(Moved { closed: true, ..Moved::default() });
            }
            Some((Side::Server, How::Silence | How::Stall)) => return Ok(Moved::default()),
            Some((Side::Client, _)) | None => {}
        }
        let there = &self.outbox[self.out_at..];
        let read = there.len().min(self.manner.give).min(input.len());
        let read = self.passing(Side::Server, read);
        input[..read].copy_from_slice(&there[..read]);
        self.out_at += read;
        let mut log = self.log.borrow_mut();
        log.given += read;
        log.writing &= read == 0;
        drop(log);
        let gone = matches!(self.severed(), Some((Side::Client, How::Close | How::HalfClose)));
        let closed = read == 0 && (gone || self.server.closes());
        Ok(Moved { written: 0, read, closed })
    }

    fn move_octets(&mut self, out: &[u8], input: &mut [u8]) -> io::Result<Moved> {
        if self.manner.order == Order::Read {
            let moved = self.give(input)?;
            if moved != Moved::default() {
                return Ok(moved);
            }
        }
        let written = self.take(out)?;
        let full = written == out.len() && self.manner.order != Order::Both;
        if written > 0 && full {
            return Ok(Moved { written, ..Moved::default() });
        }
        match self.give(input) {
            Ok(moved) => Ok(Moved { written, ..moved }),
            Err(_) if written > 0 => Ok(Moved { written, ..Moved::default() }),
            Err(e) => Err(e),
        }
    }
}

impl<S: Server> Transport for Peer<S> {
    fn enter(&mut self, _: Stage) {
        self.count_call();
    }

    fn exchange(&mut self, out: &[u8], input: &mut [u8]) -> io::Result<Moved> {
        self.count_call();
        let moved = self.move_octets(out, input)?;
        if moved == Moved::default() {
            self.log.borrow_mut().waits += 1;
            return Err(io::Error::new(ErrorKind::TimedOut, "as long as it takes"));
        }
        Ok(moved)
    }

    fn sends_files(&self) -> bool {
        self.files.is_some()
    }

    fn exchange_file(&mut self, stretch: &Stretch<'_>, input: &mut [u8]) -> io::Result<Option<Moved>> {
        let Some(left) = self.files.filter(|left| *left > 0) else { return Ok(None) };
        let Range { start, end } = stretch.octets;
        let mut out = vec![0; usize::try_from(left.min(end - start)).unwrap()];
        File::from(stretch.file.try_clone_to_owned()?).read_exact_at(&mut out, start)?;
        let moved = self.exchange(&out, input)?;
        self.files = Some(left - moved.written as u64);
        self.log.borrow_mut().from_files += moved.written;
        Ok(Some(moved))
    }

    fn pending(&mut self, input: &mut [u8]) -> io::Result<Moved> {
        self.count_call();
        self.give(input)
    }
}
