//! One connection as the scripted server sees it.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, Shutdown, recv, send, shutdown};

use super::PATIENCE;

/// What playing a script comes to: how it was violated, if it was.
pub type Played<T = ()> = Result<T, String>;

/// A place in a script where the server waits for the test, and the test's hold on it.
pub fn halt() -> (Halt, Halted) {
    let ((reached, arrival), (go_on, word)) = (channel(), channel());
    (Halt { reached, word }, Halted { arrival, go_on })
}

/// The server's half of a [`halt`].
#[derive(Debug)]
pub struct Halt {
    reached: Sender<()>,
    word: Receiver<()>,
}

impl Halt {
    /// Neither reads nor writes until the test sends word.
    pub fn wait(&self, peer: &mut Peer) -> Played {
        self.reached.send(()).ok();
        peer.hold(&self.word)
    }
}

/// The test's half of a [`halt`]. Dropped, it sends no word any more.
#[derive(Debug)]
pub struct Halted {
    arrival: Receiver<()>,
    go_on: Sender<()>,
}

impl Halted {
    /// Waits until the server is there.
    #[track_caller]
    pub fn reached(&self) {
        self.arrival.recv_timeout(PATIENCE).unwrap();
    }

    /// Sends word to the server.
    pub fn go_on(&self) {
        self.go_on.send(()).ok();
    }
}

/// The client, at the other end of a connection.
#[derive(Debug)]
pub struct Peer {
    stream: Option<OwnedFd>,
    /// Everything that the client has sent.
    heard: Vec<u8>,
    /// How much of `heard` the script has looked at.
    taken: usize,
    /// The client has closed its side, or reset the connection.
    closed: bool,
    /// When the script's patience is over.
    until: Instant,
    /// Whether the server was the last to speak.
    spoke: bool,
    /// How often the server spoke and then heard more: the client's round trips, at most.
    turns: usize,
    /// The dialogue, for the report of a violation.
    log: Vec<String>,
}

impl Peer {
    pub fn new(stream: OwnedFd) -> Self {
        // A reply leaves when it is written; on a Unix socket there is nothing to set.
        rustix::net::sockopt::set_tcp_nodelay(&stream, true).ok();
        Self {
            stream: Some(stream),
            heard: Vec::new(),
            taken: 0,
            closed: false,
            until: Instant::now() + PATIENCE,
            spoke: false,
            turns: 0,
            log: Vec::new(),
        }
    }

    /// Everything that the client has sent, and how often it waited for us.
    pub fn into_parts(self) -> (Vec<u8>, usize) {
        (self.heard, self.turns)
    }

    /// The last lines of the dialogue.
    pub fn dialogue(&self) -> String {
        let from = self.log.len().saturating_sub(30);
        let mut told = self.log[from..].join("\n");
        let rest = &self.heard[self.taken..];
        if !rest.is_empty() {
            told.push_str(&format!("\n(then came) {}", shown(rest)));
        }
        told
    }

    // --- speaking

    /// Sends a line.
    pub fn say(&mut self, line: &str) -> Played {
        self.send(format!("{line}\r\n").as_bytes())
    }

    /// Sends several lines at once.
    pub fn say_all(&mut self, lines: &[&str]) -> Played {
        self.send(lines.iter().flat_map(|line| [line, "\r\n"]).collect::<String>().as_bytes())
    }

    /// Greets, takes LHLO, and offers `extensions`.
    pub fn session(&mut self, extensions: &[&str]) -> Played {
        self.say("220 mailbox LMTP ready")?;
        self.expect("LHLO {any}")?;
        let lines: Vec<_> = [&["mailbox"], extensions].concat();
        let (last, lines) = lines.split_last().unwrap();
        let offered: String = lines.iter().map(|line| format!("250-{line}\r\n")).collect();
        self.send(format!("{offered}250 {last}\r\n").as_bytes())
    }

    /// Takes a flight of MAIL, RCPT for each of `recipients`, and DATA, and accepts it all.
    pub fn envelope(&mut self, recipients: usize) -> Played {
        self.expect("MAIL FROM:{any}")?;
        (0..recipients).try_for_each(|_| self.expect("RCPT TO:{any}"))?;
        self.expect("DATA")?;
        let accepted = "250 ok\r\n".repeat(recipients + 1);
        self.send(format!("{accepted}354 go on\r\n").as_bytes())
    }

    /// Takes QUIT, sends the `replies` that are owed before its own, and the client closes without another word.
    pub fn quit(&mut self, replies: &[&str]) -> Played {
        self.expect("QUIT")?;
        self.say_all(&[replies, &["221 bye"]].concat())?;
        self.end()
    }

    /// Sends octets, and reads nothing meanwhile.
    pub fn send(&mut self, octets: &[u8]) -> Played {
        self.log.push(format!("S: {}", shown(octets)));
        self.spoke = true;
        let mut rest = octets;
        while !rest.is_empty() {
            self.wait(PollFlags::OUT, self.until)?;
            match send(self.fd()?, rest, SendFlags::NOSIGNAL | SendFlags::DONTWAIT) {
                Ok(sent) => rest = &rest[sent..],
                Err(Errno::AGAIN | Errno::INTR) => {}
                Err(error) => return Err(format!("the client does not take '{}': {error}", shown(octets))),
            }
        }
        Ok(())
    }

    /// Sends octets one at a time, with a pause before each, until the client is gone: then that is no violation.
    pub fn trickle(&mut self, octets: &[u8], pause: Duration) -> Played {
        for octet in octets {
            if self.gone_within(pause)? || self.send(&[*octet]).is_err() {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Sends a line again and again, with a pause before each, until the client is gone.
    pub fn trickle_lines(&mut self, line: &str, pause: Duration) -> Played {
        while !self.gone_within(pause)? && self.say(line).is_ok() {
            if Instant::now() > self.until {
                return Err("the client takes lines for ever".into());
            }
        }
        Ok(())
    }

    /// Closes our side in an orderly way (FIN), and takes whatever the client still sends until it closes too.
    pub fn close(&mut self) -> Played {
        self.log.push("S: {close}".into());
        // An error here is the client's reset, which is an end as well.
        shutdown(self.fd()?, Shutdown::Write).ok();
        self.silence()
    }

    /// Ends the connection by a reset (RST).
    pub fn reset(&mut self) -> Played {
        self.log.push("S: {reset}".into());
        rustix::net::sockopt::set_socket_linger(self.fd()?, Some(Duration::ZERO)).map_err(told)?;
        self.stream = None;
        Ok(())
    }

    /// Closes at once, whatever has come meanwhile.
    pub fn vanish(&mut self) -> Played {
        self.log.push("S: {vanish}".into());
        self.stream = None;
        Ok(())
    }

    /// Reads no more: from here on, what the client sends is refused by the system.
    pub fn stop_reading(&mut self) -> Played {
        shutdown(self.fd()?, Shutdown::Read).map_err(told)
    }

    // --- listening

    /// The next line from the client, without its CRLF.
    pub fn line(&mut self) -> Played<Vec<u8>> {
        let mut searched = 0;
        loop {
            let input = &self.heard[self.taken..];
            if let Some(end) = memchr::memchr(b'\n', &input[searched..]).map(|at| at + searched) {
                let Some(line) = input[..end].strip_suffix(b"\r").map(<[u8]>::to_vec) else {
                    return Err(format!("a line without a CR: '{}'", shown(&input[..end])));
                };
                self.taken += end + 1;
                self.log.push(format!("C: {}", shown(&line)));
                return Ok(line);
            }
            searched = input.len();
            self.read()?;
        }
    }

    /// The next line matches `pattern`, in which `{any}` stands for anything.
    pub fn expect(&mut self, pattern: &str) -> Played {
        self.expect_octets(pattern.as_bytes())
    }

    /// The next line matches `pattern`, in which `{any}` stands for anything.
    pub fn expect_octets(&mut self, pattern: &[u8]) -> Played {
        let line = self.line().map_err(|told| format!("expected '{}': {told}", shown(pattern)))?;
        if matches(pattern, &line) {
            return Ok(());
        }
        Err(format!("expected '{}', the client said '{}'", shown(pattern), shown(&line)))
    }

    /// As [`Peer::expect`], reading no more than it must: a few octets at a time.
    pub fn expect_slowly(&mut self, pattern: &str) -> Played {
        while !self.heard[self.taken..].contains(&b'\n') {
            self.read_at_most(64)?;
        }
        self.expect(pattern)
    }

    /// These lines come without a word of ours between them.
    pub fn flight(&mut self, patterns: &[&str]) -> Played {
        patterns.iter().try_for_each(|pattern| self.expect(pattern))
    }

    /// The octets of a message up to the final dot, which is taken too, as they stand on the wire.
    pub fn message(&mut self) -> Played<Vec<u8>> {
        let mut searched: usize = 0;
        loop {
            let input = &self.heard[self.taken..];
            if input.starts_with(b".\r\n") {
                self.taken += 3;
                self.log.push("C: .".into());
                return Ok(Vec::new());
            }
            let from = searched.saturating_sub(4);
            if let Some(end) = memchr::memmem::find(&input[from..], b"\r\n.\r\n").map(|at| at + from) {
                let message = input[..end + 2].to_vec();
                self.taken += end + 5;
                self.log.push(format!("C: ({} octets and a final dot)", message.len()));
                return Ok(message);
            }
            searched = input.len();
            self.read().map_err(|told| format!("expected a message and a final dot: {told}"))?;
        }
    }

    /// The next `count` octets.
    pub fn octets(&mut self, count: usize) -> Played<Vec<u8>> {
        while self.heard.len() - self.taken < count {
            self.read().map_err(|told| format!("expected {count} octets: {told}"))?;
        }
        let octets = self.heard[self.taken..self.taken + count].to_vec();
        self.taken += count;
        self.log.push(format!("C: ({count} octets)"));
        Ok(octets)
    }

    /// The client says nothing for the time of `pause`, and stays.
    pub fn nothing(&mut self, pause: Duration) -> Played {
        if self.taken == self.heard.len() && !self.readable_within(pause)? {
            return Ok(());
        }
        self.read().ok();
        Err(format!("expected nothing, the client said '{}'", shown(&self.heard[self.taken..])))
    }

    /// The client closes without another word.
    pub fn end(&mut self) -> Played {
        self.silence()?;
        let rest = &self.heard[self.taken..];
        if rest.is_empty() {
            Ok(())
        } else {
            Err(format!("expected the end, the client said '{}'", shown(rest)))
        }
    }

    /// Takes whatever comes, and says nothing, until the client closes.
    pub fn silence(&mut self) -> Played {
        while !self.closed {
            self.read().ok();
            if !self.closed && Instant::now() >= self.until {
                return Err("the client does not close".into());
            }
        }
        Ok(())
    }

    /// Neither reads nor writes until the test sends word.
    pub fn hold(&mut self, word: &Receiver<()>) -> Played {
        let came = word.recv_timeout(self.until.saturating_duration_since(Instant::now()));
        came.map_err(|_| "the test sent no word".into())
    }

    /// Lets `pause` pass, reading nothing.
    pub fn pause(&mut self, pause: Duration) {
        std::thread::sleep(pause);
        // It is no time that the client took.
        self.until += pause;
    }

    /// Reads at most `count` octets once, as a slow server does. `false`: the client has closed.
    pub fn sip(&mut self, count: usize) -> Played<bool> {
        self.read_at_most(count).or_else(|told| if self.closed { Ok(()) } else { Err(told) })?;
        Ok(!self.closed)
    }

    /// Lets `pause` pass, unless the client closes before.
    fn gone_within(&mut self, pause: Duration) -> Played<bool> {
        let until = Instant::now() + pause;
        while !self.closed && self.readable_within(until.saturating_duration_since(Instant::now()))? {
            self.read().ok();
        }
        Ok(self.closed)
    }

    fn read(&mut self) -> Played {
        self.read_at_most(256 * 1024)
    }

    fn read_at_most(&mut self, count: usize) -> Played {
        if self.closed {
            return Err(format!("the client has closed the connection{}", self.unfinished()));
        }
        self.wait(PollFlags::IN, self.until)?;
        let mut buffer = vec![0; count];
        match recv(self.fd()?, &mut buffer[..], RecvFlags::empty()) {
            Ok((_, 0)) | Err(Errno::CONNRESET) => {
                self.closed = true;
                Err(format!("the client has closed the connection{}", self.unfinished()))
            }
            Ok((_, count)) => {
                self.turns += usize::from(std::mem::take(&mut self.spoke));
                self.heard.extend(&buffer[..count]);
                Ok(())
            }
            Err(error) => Err(told(error)),
        }
    }

    fn unfinished(&self) -> String {
        let rest = &self.heard[self.taken..];
        if rest.is_empty() { String::new() } else { format!(" after '{}'", shown(rest)) }
    }

    fn readable_within(&self, pause: Duration) -> Played<bool> {
        poll_one(self.fd()?, PollFlags::IN, Instant::now() + pause)
    }

    fn wait(&self, what: PollFlags, until: Instant) -> Played {
        if poll_one(self.fd()?, what, until)? {
            return Ok(());
        }
        let did = if what == PollFlags::IN { "says" } else { "takes" };
        Err(format!("the client {did} nothing more{}", self.unfinished()))
    }

    fn fd(&self) -> Played<&OwnedFd> {
        self.stream.as_ref().ok_or_else(|| "the script goes on after the connection's end".into())
    }
}

/// Waits for one event until `until`.
pub fn poll_one(fd: impl AsFd, what: PollFlags, until: Instant) -> Played<bool> {
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let left = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: i64::from(left.subsec_nanos()) };
        match poll(&mut [PollFd::new(&fd, what)], Some(&left)) {
            Ok(ready) => return Ok(ready > 0),
            Err(Errno::INTR) => {}
            Err(error) => return Err(told(error)),
        }
    }
}

/// Whether `line` is of the form `pattern`, in which `{any}` stands for anything.
pub fn matches(pattern: &[u8], line: &[u8]) -> bool {
    let Some(at) = memchr::memmem::find(pattern, b"{any}") else { return pattern == line };
    let (head, tail) = (&pattern[..at], &pattern[at + 5..]);
    let Some(rest) = line.strip_prefix(head) else { return false };
    (0..=rest.len()).any(|skip| matches(tail, &rest[skip..]))
}

/// Octets for a person's eyes; a long text is cut in its middle.
pub fn shown(octets: &[u8]) -> String {
    if octets.len() <= 400 {
        return octets.escape_ascii().to_string().replace("\\'", "'").replace("\\\"", "\"");
    }
    format!(
        "{} … ({} octets) … {}",
        shown(&octets[..200]),
        octets.len(),
        shown(&octets[octets.len() - 100..])
    )
}

fn told(error: Errno) -> String {
    error.to_string()
}
