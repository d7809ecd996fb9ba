//! A server that does as RFC 2033 and RFC 2920 say, or errs in a known way, and remembers the truth: what it
//! accepted, and what the client did wrong.

use std::cell::RefCell;
use std::rc::Rc;

use super::peer::Server;

/// What the server is to do. By default: offer PIPELINING and accept everything.
#[derive(Clone, Debug)]
pub(super) struct Rules {
    pub offers: Vec<&'static str>,
    /// The beginning of a command line, or `message <recipient>`, or `greeting`; and the reply to it. The
    /// first that fits decides. A reply may hold `{}`, where the recipient is put. A 421 ends the session.
    pub answers: Vec<(&'static str, &'static str)>,
    /// How many of the replies owed to a message are sent.
    pub at_most: usize,
    /// How many are sent that nobody is owed.
    pub extra: Vec<&'static str>,
    /// Answers DATA with 354 whoever was accepted.
    pub careless: bool,
    pub early: Option<Early>,
    /// Says nothing to a message that nobody is to receive.
    pub mute: bool,
}

/// An answer before the message's end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Early {
    /// Behind which line of the message, counted from 1; of a message by BDAT, behind so many octets.
    pub line: usize,
    pub says: &'static str,
    /// And closes. Else it reads on, and says nothing to the message's end.
    pub closes: bool,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            offers: vec!["PIPELINING"],
            answers: Vec::new(),
            at_most: usize::MAX,
            extra: Vec::new(),
            careless: false,
            early: None,
            mute: false,
        }
    }
}

/// What truly happened.
#[derive(Debug, Default)]
pub(super) struct Truth {
    /// Whose mailbox the message is in, with the message as it was received.
    pub delivered: Vec<(String, Vec<u8>)>,
    /// The messages whose end came.
    pub ended: Vec<Vec<u8>>,
    pub commands: Vec<String>,
    /// What no client may do.
    pub complaints: Vec<String>,
}

/// A chunk that is on its way.
#[derive(Debug)]
struct Chunk {
    /// How many octets are still to come.
    octets: usize,
    last: bool,
}

pub(super) struct Model {
    rules: Rules,
    truth: Rc<RefCell<Truth>>,
    sender: Option<String>,
    accepted: Vec<String>,
    /// The message as far as it has come.
    message: Option<Vec<u8>>,
    lines: usize,
    answered: bool,
    chunk: Option<Chunk>,
    /// The message as far as it has come in chunks.
    chunks: Vec<u8>,
    closes: bool,
}

impl Model {
    pub fn new(rules: Rules) -> Self {
        let (truth, accepted) = Default::default();
        Self {
            rules,
            truth,
            sender: None,
            accepted,
            message: None,
            lines: 0,
            answered: false,
            chunk: None,
            chunks: Vec::new(),
            closes: false,
        }
    }

    pub fn truth(&self) -> Rc<RefCell<Truth>> {
        Rc::clone(&self.truth)
    }

    fn complain(&self, of: &str) {
        self.truth.borrow_mut().complaints.push(of.to_owned());
    }

    /// The reply to `what`, which concerns `who`.
    fn answer(&mut self, what: &str, who: &str, default: &str) -> String {
        let rule = self.rules.answers.iter().find(|(key, _)| what.starts_with(key));
        let reply = rule.map_or(default, |(_, reply)| reply).replace("{}", who);
        self.closes |= reply.starts_with("421");
        reply + "\r\n"
    }

    fn command(&mut self, line: &str, more: bool) -> String {
        self.truth.borrow_mut().commands.push(line.to_owned());
        let verb = line.split(' ').next().unwrap_or_default();
        let groups = matches!(verb, "MAIL" | "RCPT" | "RSET") && self.rules.offers.contains(&"PIPELINING");
        if more && !groups && verb != "BDAT" {
            self.complain(&format!("did not wait for the reply to {line}"));
        }
        let path = line.split(['<', '>']).nth(1).unwrap_or_default().to_owned();
        match verb {
            "LHLO" => {
                let lines = ["model.example"].iter().chain(&self.rules.offers);
                let lines: Vec<String> = lines.map(|l| format!("250-{l}")).collect();
                let default = lines.join("\r\n") + "\r\n250 XMODEL";
                self.answer(line, "", &default)
            }
            "MAIL" => self.mail(line, path),
            "RCPT" => self.rcpt(line, path),
            "DATA" => self.data(),
            "BDAT" => self.bdat(line, more),
            "RSET" => {
                self.forget();
                self.answer(line, "", "250 2.0.0 reset")
            }
            "QUIT" => {
                let reply = self.answer(line, "", "221 2.0.0 bye");
                self.closes = true;
                reply
            }
            _ => {
                self.complain(&format!("unknown command: {line}"));
                "500 5.5.1 what?\r\n".to_owned()
            }
        }
    }

    fn forget(&mut self) {
        self.sender = None;
        self.accepted.clear();
        self.chunks.clear();
    }

    fn mail(&mut self, line: &str, path: String) -> String {
        if self.sender.is_some() {
            self.complain("MAIL within a transaction");
            return "503 5.5.1 nested MAIL\r\n".to_owned();
        }
        let reply = self.answer(line, &path, "250 2.1.0 <{}> ok");
        self.sender = is_accepted(&reply).then_some(path);
        self.answered = false;
        reply
    }

    fn rcpt(&mut self, line: &str, path: String) -> String {
        if self.sender.is_none() {
            return format!("503 5.5.1 <{path}> MAIL first\r\n");
        }
        let reply = self.answer(line, &path, "250 2.1.5 <{}> ok");
        if is_accepted(&reply) {
            self.accepted.push(path);
        }
        reply
    }

    fn data(&mut self) -> String {
        if self.accepted.is_empty() && !self.rules.careless {
            return "503 5.5.1 no valid recipients\r\n".to_owned();
        }
        let reply = self.answer("DATA", "", "354 go on");
        if reply.starts_with('3') {
            (self.message, self.lines, self.answered) = (Some(Vec::new()), 0, false);
        }
        reply
    }

    /// A chunk is taken whether it is wanted or not (RFC 3030 §2), and answered when it has come.
    fn bdat(&mut self, line: &str, more: bool) -> String {
        if !self.rules.offers.contains(&"CHUNKING") {
            self.complain("BDAT was not offered");
        }
        let mut words = line.split(' ').skip(1);
        let octets = words.next().and_then(|n| n.parse().ok()).unwrap_or_default();
        self.chunk = Some(Chunk { octets, last: words.next() == Some("LAST") });
        self.chunk_octets(&[], more)
    }

    fn chunk_octets(&mut self, octets: &[u8], more: bool) -> String {
        self.chunks.extend_from_slice(octets);
        let early = self.rules.early.filter(|e| e.line <= self.chunks.len() && !self.answered);
        let said = early.map_or(String::new(), |early| self.answer_early(early));
        said + &self.end_of_chunk(octets.len(), more)
    }

    fn end_of_chunk(&mut self, octets: usize, more: bool) -> String {
        let Some(chunk) = &mut self.chunk else { return String::new() };
        chunk.octets -= octets;
        if chunk.octets > 0 {
            return String::new();
        }
        let last = chunk.last;
        self.chunk = None;
        if more && !self.rules.offers.contains(&"PIPELINING") {
            self.complain("did not wait for the reply to a chunk");
        }
        if self.accepted.is_empty() {
            let reply = if self.rules.mute { "" } else { "503 5.5.1 no valid recipients\r\n" };
            return reply.to_owned();
        }
        if self.answered && !last {
            return String::new();
        }
        if !last {
            return self.answer("BDAT", "", "250 2.0.0 chunk");
        }
        let message = std::mem::take(&mut self.chunks);
        self.end_of_message(message)
    }

    /// A line of the message.
    fn content(&mut self, line: &[u8]) -> String {
        let Some(message) = &mut self.message else { return String::new() };
        if line == b".\r\n" {
            let message = self.message.take().unwrap_or_default();
            return self.end_of_message(message);
        }
        message.extend_from_slice(line.strip_prefix(b".").unwrap_or(line));
        self.lines += 1;
        let Some(early) = self.rules.early.filter(|e| e.line == self.lines) else { return String::new() };
        self.answer_early(early)
    }

    fn answer_early(&mut self, early: Early) -> String {
        self.answered = true;
        self.closes |= early.closes;
        early.says.to_owned()
    }

    fn end_of_message(&mut self, message: Vec<u8>) -> String {
        let accepted = std::mem::take(&mut self.accepted);
        self.sender = None;
        if accepted.is_empty() {
            return String::new();
        }
        self.truth.borrow_mut().ended.push(message.clone());
        if self.answered {
            return String::new();
        }
        let (mut replies, mut last) = (String::new(), String::new());
        for (i, recipient) in accepted.iter().enumerate() {
            if i < self.rules.at_most {
                last = self.answer(&format!("message {recipient}"), recipient, "250 2.0.0 <{}> delivered");
                replies.push_str(&last);
            }
            if self.closes {
                return replies;
            }
            if last.starts_with('2') {
                self.truth.borrow_mut().delivered.push((recipient.clone(), message.clone()));
            }
        }
        self.rules.extra.iter().for_each(|extra| replies.push_str(&format!("{extra}\r\n")));
        replies
    }
}

/// Whether the last of some replies is 2yz: a stray one may stand before it.
fn is_accepted(replies: &str) -> bool {
    replies.lines().last().is_some_and(|line| line.starts_with('2'))
}

impl Server for Model {
    fn greeting(&mut self) -> Vec<u8> {
        self.answer("greeting", "", "220 model.example LMTP").into_bytes()
    }

    fn hear(&mut self, line: &[u8], more: bool) -> Vec<u8> {
        if self.chunk.is_none() && !line.ends_with(b"\r\n") {
            self.complain("a bare LF");
        }
        let reply = if self.chunk.is_some() {
            self.chunk_octets(line, more)
        } else if self.message.is_some() {
            self.content(line)
        } else {
            let text = String::from_utf8_lossy(line);
            self.command(text.trim_end_matches("\r\n"), more)
        };
        reply.into_bytes()
    }

    fn raw(&self) -> Option<usize> {
        self.chunk.as_ref().map(|chunk| chunk.octets)
    }

    fn closes(&self) -> bool {
        self.closes
    }
}
