//! The built-in server behind `--sink DIR`: LMTP as RFC 2033 has it, in this process, storing into Maildirs.
//!
//! [`SinkServer`] is a machine of octets: commands go in, replies come out, in pieces of any size; no threads, no
//! sockets, no waiting. It offers PIPELINING, SIZE, 8BITMIME, ENHANCEDSTATUSCODES, SMTPUTF8, CHUNKING and
//! BINARYMIME, and it is strict where servers out there are lenient, for it is there to try clients out: lines
//! end in CRLF, paths stand in angle brackets, unknown parameters are refused.
//!
//! A recipient is accepted when its address can be a folder's name, and has its own reply after the message
//! (RFC 2033 §4.2): 250 once its copy is safely in its Maildir, 452 when the disk is full, 451 for any other
//! trouble of this host. A transaction that ends in any other way, or with the server, leaves no file behind.
//!
//! There is no STARTTLS, no AUTH and no DSN, and nothing is added to a message.

mod command;
mod content;
mod maildir;

use std::collections::VecDeque;
use std::fmt::Display;
use std::io::{self, Read};
use std::mem;
use std::path::{Path, PathBuf};

use lmtp_send::lmtp::reply::printable;
use lmtp_send::lmtp::{Moved, Reply, Stage, Transport};
use rustix::io::Errno;

use command::{Declared, reply};
use content::Framing;
use maildir::{IncomingMessage, MaildirStore, folder_name};

use crate::process::unusable;

/// The longest command line, in octets. RFC 5321 §4.5.3.1.4 says 512, and extensions add to it.
const MAX_COMMAND: usize = 4096;
/// The most of a failure's text that goes into a reply, in characters.
const MAX_TROUBLE: usize = 400;

/// What LHLO says after the server's name.
const EXTENSIONS: &str = "\r\n250-PIPELINING\r\n250-SIZE 0\r\n250-8BITMIME\r\n250-ENHANCEDSTATUSCODES\r\n\
                          250-SMTPUTF8\r\n250-CHUNKING\r\n250 BINARYMIME";

/// An LMTP server, and one session with it.
#[derive(Debug)]
pub struct SinkServer {
    name: String,
    store: MaildirStore,
    output: VecDeque<u8>,
    /// The beginning of a command whose end has not come.
    line: Vec<u8>,
    phase: SinkPhase,
    greeted: bool,
    transaction: Option<SinkTransaction>,
}

/// What the next octet belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SinkPhase {
    Command,
    /// The message after DATA.
    Text,
    /// A chunk of which `left` octets are to come.
    #[rustfmt::skip]
    Chunk { left: u64, last: bool },
    Closed,
}

/// From MAIL to the replies to the message.
#[derive(Debug)]
struct SinkTransaction {
    declared: Declared,
    /// The folder of each accepted recipient.
    folders: Vec<String>,
    /// The message, from DATA or the first BDAT on.
    message: Option<IncomingMessage>,
}

impl SinkServer {
    /// A server called `name` that stores below `dir`. Its greeting waits to be taken. `dir` is not touched
    /// before there is a message for it, and is then created if it is missing.
    pub fn new(dir: PathBuf, name: &str) -> Self {
        let mut server = Self {
            name: printable(name.as_bytes()),
            store: MaildirStore::new(dir, name),
            output: VecDeque::new(),
            line: Vec::new(),
            phase: SinkPhase::Command,
            greeted: false,
            transaction: None,
        };
        server.say(format!("220 {} LMTP lmtp-send sink ready", server.name));
        server
    }

    /// Takes octets from the client; what follows QUIT is ignored.
    pub fn feed(&mut self, octets: &[u8]) {
        let mut rest = octets;
        while !rest.is_empty() {
            let used = match self.phase {
                SinkPhase::Command => self.take_line(rest),
                SinkPhase::Text => self.take_text(rest),
                SinkPhase::Chunk { left, last } => self.take_chunk(rest, left, last),
                SinkPhase::Closed => rest.len(),
            };
            rest = rest.get(used..).unwrap_or_default();
        }
    }

    /// Moves what there is to say into `buf`: how many octets, 0 when there is nothing.
    pub fn take_output(&mut self, buf: &mut [u8]) -> usize {
        self.output.read(buf).unwrap_or(0)
    }

    /// The server takes no more. What it has said may still wait in the output.
    pub fn is_closed(&self) -> bool {
        self.phase == SinkPhase::Closed
    }

    fn say(&mut self, line: impl Display) {
        self.output.extend(format!("{line}\r\n").into_bytes());
    }
}

/// Commands.
impl SinkServer {
    fn take_line(&mut self, octets: &[u8]) -> usize {
        let end = memchr::memchr(b'\n', octets).map(|at| at + 1);
        let used = end.unwrap_or(octets.len());
        // One octet more than allowed is kept, to tell that there was one.
        let kept = used.min(MAX_COMMAND + 1 - self.line.len());
        self.line.extend_from_slice(octets.get(..kept).unwrap_or_default());
        if end.is_some() {
            let line = mem::take(&mut self.line);
            if let Err(refusal) = command_line(&line).and_then(|line| self.command(line)) {
                self.say(refusal);
            }
        }
        used
    }

    /// Carries out one command, and says so; the error is the reply that refuses it.
    fn command(&mut self, line: &str) -> Result<(), Reply> {
        let (verb, argument) = line.split_once(' ').unwrap_or((line, ""));
        match (verb.to_ascii_uppercase().as_str(), argument) {
            ("LHLO", name) if !name.is_empty() => self.lhlo(),
            ("MAIL", argument) => return self.mail(argument),
            ("RCPT", argument) => return self.rcpt(argument),
            ("DATA", "") => return self.data(),
            ("BDAT", argument) => return self.bdat(argument),
            ("RSET", "") => {
                self.transaction = None;
                self.say(reply(250, 0, 0, "forgotten"));
            }
            ("NOOP", _) => self.say(reply(250, 0, 0, "nothing done")),
            ("VRFY", address) if !address.is_empty() => self.say(reply(252, 0, 0, "try it")),
            ("HELP", _) => self.say(reply(214, 0, 0, "LHLO MAIL RCPT DATA BDAT RSET NOOP VRFY HELP QUIT")),
            ("QUIT", "") => {
                self.say(reply(221, 0, 0, "bye"));
                self.close();
            }
            ("LHLO" | "DATA" | "RSET" | "VRFY" | "QUIT", _) => {
                return Err(reply(501, 5, 4, "an argument too many, or missing"));
            }
            ("EHLO" | "HELO", _) => return Err(reply(500, 5, 1, "this is LMTP: say LHLO")), // RFC 2033 §4.1
            _ => return Err(reply(500, 5, 1, "unknown command")),
        }
        Ok(())
    }

    fn lhlo(&mut self) {
        self.greeted = true;
        self.transaction = None;
        self.say(format!("250-{}{EXTENSIONS}", self.name));
    }

    fn mail(&mut self, argument: &str) -> Result<(), Reply> {
        if !self.greeted || self.transaction.is_some() {
            return Err(reply(503, 5, 1, "MAIL belongs after LHLO, once in a transaction"));
        }
        let declared = command::mail(argument)?;
        self.transaction = Some(SinkTransaction { declared, folders: Vec::new(), message: None });
        self.say(reply(250, 1, 0, "sender ok"));
        Ok(())
    }

    fn rcpt(&mut self, argument: &str) -> Result<(), Reply> {
        let Some(transaction @ SinkTransaction { message: None, .. }) = &mut self.transaction else {
            return Err(reply(503, 5, 1, "RCPT belongs after MAIL, before the message"));
        };
        let address = command::rcpt(argument, transaction.declared.utf8)?;
        let folder = folder_name(&address).ok_or_else(|| reply(553, 1, 3, "too long for a folder's name"))?;
        transaction.folders.push(folder);
        self.say(reply(250, 1, 5, "recipient ok"));
        Ok(())
    }

    fn data(&mut self) -> Result<(), Reply> {
        let transaction = self.transaction.as_mut().filter(|t| !t.folders.is_empty());
        let transaction = transaction.ok_or_else(no_recipients)?;
        if transaction.declared.binary || transaction.message.is_some() {
            return Err(reply(503, 5, 1, "this message comes by BDAT")); // RFC 3030 §2, §3
        }
        transaction.message = Some(IncomingMessage::new(Framing::Dotted, &self.store, &transaction.folders));
        self.phase = SinkPhase::Text;
        self.say("354 end with a line of a single dot");
        Ok(())
    }

    fn bdat(&mut self, argument: &str) -> Result<(), Reply> {
        let Some((left, last)) = command::bdat(argument) else {
            // Where the chunk ends is unknown, and nothing in it may pass for a command.
            self.close();
            return Err(reply(501, 5, 4, "syntax: BDAT octets [LAST]"));
        };
        if let Some(transaction @ SinkTransaction { message: None, .. }) = &mut self.transaction
            && !transaction.folders.is_empty()
        {
            let form = if transaction.declared.binary { Framing::Binary } else { Framing::Chunked };
            transaction.message = Some(IncomingMessage::new(form, &self.store, &transaction.folders));
        }
        self.take_chunk(&[], left, last);
        Ok(())
    }

    fn close(&mut self) {
        self.transaction = None;
        self.phase = SinkPhase::Closed;
    }
}

/// The message.
impl SinkServer {
    fn message(&mut self) -> Option<&mut IncomingMessage> {
        self.transaction.as_mut()?.message.as_mut()
    }

    fn take_text(&mut self, octets: &[u8]) -> usize {
        let end = self.message().and_then(|message| message.take(octets));
        if end.is_some() {
            self.deliver();
        }
        end.unwrap_or(octets.len())
    }

    /// A chunk that was refused is taken all the same, and forgotten (RFC 3030 §2).
    fn take_chunk(&mut self, octets: &[u8], left: u64, last: bool) -> usize {
        let used = usize::try_from(left).map_or(octets.len(), |left| left.min(octets.len()));
        let left = left - used as u64;
        self.phase = if left > 0 { SinkPhase::Chunk { left, last } } else { SinkPhase::Command };
        match self.message() {
            Some(message) => {
                message.take(octets.get(..used).unwrap_or_default());
                match (left, last) {
                    (0, true) => self.deliver(),
                    (0, false) => self.say(reply(250, 0, 0, "go on")),
                    _ => {}
                }
            }
            None if left == 0 => {
                self.transaction = None; // nor may a later chunk pass for the whole message
                self.say(no_recipients());
            }
            None => {}
        }
        used
    }

    /// Ends the transaction with a reply for each of its recipients, in order (RFC 2033 §4.2).
    fn deliver(&mut self) {
        self.phase = SinkPhase::Command;
        let Some(SinkTransaction { folders, message: Some(message), .. }) = self.transaction.take() else {
            return;
        };
        for (folder, result) in folders.iter().zip(message.deliver(&self.store, &folders)) {
            self.say(match result {
                Ok(()) => reply(250, 0, 0, &format!("stored in {folder}")),
                Err(error) => not_stored(&self.store.dir.join(folder), &error),
            });
        }
    }
}

/// A command without its line end; the error is the reply to what can be none.
fn command_line(line: &[u8]) -> Result<&str, Reply> {
    if line.len() > MAX_COMMAND {
        return Err(reply(500, 5, 2, "line too long"));
    }
    let line = line.strip_suffix(b"\r\n").ok_or_else(|| reply(500, 5, 2, "a line ends in CRLF"))?;
    let line = str::from_utf8(line).ok().filter(|line| !line.contains(char::is_control));
    line.map(|line| line.trim_end_matches(' ')).ok_or_else(|| reply(500, 5, 2, "a line is text, in UTF-8"))
}

fn no_recipients() -> Reply {
    reply(503, 5, 1, "no valid recipients")
}

/// This host's trouble says nothing about the recipient: it is always worth another try.
fn not_stored(path: &Path, error: &io::Error) -> Reply {
    let full = matches!(Errno::from_io_error(error), Some(Errno::NOSPC | Errno::DQUOT));
    let text: String = unusable(path, error).chars().take(MAX_TROUBLE).collect();
    if full { reply(452, 3, 1, &text) } else { reply(451, 3, 0, &text) }
}

/// The connection to a [`SinkServer`] in this process. It has no time limits, for it never waits: where a socket
/// would wait for a reply that cannot come, this fails at once.
#[derive(Debug)]
pub struct SinkTransport {
    server: SinkServer,
}

impl SinkTransport {
    /// A connection to `server`, whose greeting can be read.
    pub fn new(server: SinkServer) -> Self {
        Self { server }
    }
}

impl Transport for SinkTransport {
    fn enter(&mut self, _: Stage) {}

    /// # Errors
    ///
    /// [`io::ErrorKind::TimedOut`] when nothing moved and nothing ever will.
    fn exchange(&mut self, out: &[u8], input: &mut [u8]) -> io::Result<Moved> {
        let written = if self.server.is_closed() { 0 } else { out.len() };
        self.server.feed(out);
        let moved = Moved { written, ..self.pending(input)? };
        if moved == Moved::default() {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "the sink has nothing to say"));
        }
        Ok(moved)
    }

    fn pending(&mut self, input: &mut [u8]) -> io::Result<Moved> {
        let read = self.server.take_output(input);
        Ok(Moved { written: 0, read, closed: self.server.is_closed() && self.server.output.is_empty() })
    }
}

#[cfg(test)]
mod tests;
