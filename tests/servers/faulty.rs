//! An LMTP server that fails on purpose, by a plan that is the same in each run, and counts what it has stored.
//!
//! What befalls a recipient is decided by its number (`user17@example.net`) and by how often it was named; what befalls a
//! connection, by how many came before. So a run can be repeated whatever the order in which a mail system tries its
//! mails, and it comes to an end: after a few attempts nothing fails any more but what is refused for good.

use std::collections::BTreeMap;
use std::fs::{Permissions, remove_file, rename, set_permissions};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use std::{io, thread};

use super::{Account, Home, Place};

/// How long nobody listens while the server "restarts".
const RESTART: Duration = Duration::from_millis(200);
/// No temporary fault any more after so many attempts.
const ATTEMPTS: u64 = 3;
/// What a recipient that does not exist is told, and one whose message is refused.
const NOBODY: &str = "550 5.1.1 nobody of this name";
const OVER_QUOTA: &str = "552 5.2.2 no room for this";

/// What befalls a recipient at one attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    None,
    /// The reply to RCPT.
    Recipient(&'static str),
    /// The reply to the message.
    Message(&'static str),
    /// The connection is dropped in place of the reply to DATA.
    DropAtData,
    /// The connection is dropped in place of the reply to the message, which may have been stored.
    DropAfterDot {
        stored: bool,
    },
}

/// What befalls a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Accident {
    None,
    Greeting(&'static str),
    Drop,
    Mail(&'static str),
    /// Nobody listens for a while after it.
    Restart,
}

/// What has become of a recipient's mail.
#[derive(Clone, Copy, Debug, Default)]
pub struct Fate {
    /// Copies that were stored.
    pub stored: usize,
    /// Connections that were dropped after the dot, in place of the recipient's reply.
    pub dropped: usize,
    /// Those before which a copy was stored.
    pub dropped_and_stored: usize,
    /// The refusal that is not to be tried again.
    pub refused: Option<&'static str>,
    /// How often it was named.
    pub attempts: u64,
}

#[derive(Debug, Default)]
struct Record {
    fates: BTreeMap<String, Fate>,
    /// What was stored for senders: bounces.
    bounces: Vec<String>,
    /// Each copy that was stored: for whom, and what.
    copies: Vec<(String, String)>,
    connections: u64,
    accidents: usize,
}

/// A server that is running.
pub struct Faulty {
    home: Home,
    record: Arc<Mutex<Record>>,
    over: Arc<AtomicBool>,
}

impl Faulty {
    /// Starts one that fails as `seed` says; `refuses`: also for good.
    pub fn start(seed: u64, refuses: bool) -> Self {
        let home = Home::new(Account::ours());
        let record = Arc::<Mutex<Record>>::default();
        let over = Arc::<AtomicBool>::default();
        let path = home.path("lmtp");
        let listen = move || {
            let new = path.with_extension("new");
            let listener = UnixListener::bind(&new).unwrap();
            set_permissions(&new, Permissions::from_mode(0o666)).unwrap();
            rename(&new, &path).unwrap();
            (listener, path.clone())
        };
        let first = listen();
        let plan = Plan { seed, refuses };
        let (shared, ended) = (Arc::clone(&record), Arc::clone(&over));
        thread::spawn(move || serve(first, listen, plan, &shared, &ended));
        Self { home, record, over }
    }

    pub fn place(&self) -> Place {
        Place::Socket(self.home.path("lmtp"))
    }

    /// What has become of each recipient's mail.
    pub fn fates(&self) -> BTreeMap<String, Fate> {
        self.record.lock().unwrap().fates.clone()
    }

    /// The bounces that have come.
    pub fn bounces(&self) -> Vec<String> {
        self.record.lock().unwrap().bounces.clone()
    }

    /// Each copy that was stored: for whom, and what.
    pub fn copies(&self) -> Vec<(String, String)> {
        self.record.lock().unwrap().copies.clone()
    }

    /// How many connections were refused, dropped at the greeting or refused at MAIL, and how often it restarted.
    pub fn accidents(&self) -> usize {
        self.record.lock().unwrap().accidents
    }
}

impl Drop for Faulty {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        let _ = UnixStream::connect(self.home.path("lmtp"));
    }
}

/// Which fault comes when.
#[derive(Clone, Copy, Debug)]
struct Plan {
    seed: u64,
    refuses: bool,
}

impl Plan {
    /// A number below `limit`, as if by chance.
    fn below(self, limit: u64, what: u64, which: u64) -> u64 {
        let mut mixed = self.seed ^ (what << 32) ^ which.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        for _ in 0..3 {
            mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            mixed ^= mixed >> 27;
        }
        mixed % limit
    }

    fn fault(self, recipient: u64, attempt: u64) -> Fault {
        if attempt <= self.below(ATTEMPTS + 1, 1, recipient) {
            return match self.below(7, 1 + attempt, recipient) {
                0 => Fault::Recipient("451 4.2.1 not now"),
                1 => Fault::Recipient("421 4.3.2 shutting down"),
                2 => Fault::Message("452 4.2.2 over quota for now"),
                3 => Fault::Message("451 4.3.0 not stored"),
                4 => Fault::DropAtData,
                5 => Fault::DropAfterDot { stored: false },
                _ => Fault::DropAfterDot { stored: true },
            };
        }
        match self.below(16, 0, recipient) {
            0 if self.refuses => Fault::Recipient(NOBODY),
            1 if self.refuses => Fault::Message(OVER_QUOTA),
            _ => Fault::None,
        }
    }

    fn accident(self, connection: u64) -> Accident {
        match self.below(60, 100, connection) {
            0 => Accident::Greeting("421 4.3.2 too many sessions"),
            1 => Accident::Greeting("554 5.3.2 closed for today"),
            2 => Accident::Drop,
            3 => Accident::Mail("451 4.3.0 no senders now"),
            4 => Accident::Restart,
            _ => Accident::None,
        }
    }
}

/// Listens until it is over, each connection on a thread.
fn serve(
    first: (UnixListener, std::path::PathBuf),
    listen: impl Fn() -> (UnixListener, std::path::PathBuf),
    plan: Plan,
    record: &Arc<Mutex<Record>>,
    over: &AtomicBool,
) {
    let (mut listener, path) = first;
    while let Ok((stream, _)) = listener.accept() {
        if over.load(Ordering::Relaxed) {
            return;
        }
        let accident = {
            let mut record = record.lock().unwrap();
            record.connections += 1;
            let accident = plan.accident(record.connections);
            record.accidents += usize::from(accident != Accident::None);
            accident
        };
        let shared = Arc::clone(record);
        thread::spawn(move || Session { stream: BufReader::new(stream), plan, record: shared }.run(accident));
        if accident == Accident::Restart {
            drop(listener);
            remove_file(&path).unwrap();
            thread::sleep(RESTART);
            (listener, _) = listen();
        }
    }
}

/// A recipient that was accepted, and what its reply will be.
type Accepted = (String, Fault);

struct Session {
    stream: BufReader<UnixStream>,
    plan: Plan,
    record: Arc<Mutex<Record>>,
}

impl Session {
    /// Until the client or the plan ends it.
    fn run(mut self, accident: Accident) -> io::Result<()> {
        match accident {
            Accident::Drop => return Ok(()),
            Accident::Greeting(reply) => return self.say(reply),
            Accident::None | Accident::Mail(_) | Accident::Restart => {
                self.say("220 faulty.example.net LMTP")?
            }
        }
        let (mut sender, mut accepted) = (String::new(), Vec::new());
        loop {
            let line = self.line()?;
            match line.split([' ', ':']).next().unwrap_or_default() {
                "LHLO" => self.say(
                    "250-faulty.example.net\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 ENHANCEDSTATUSCODES",
                )?,
                "MAIL" => {
                    accepted.clear();
                    sender = bracketed(&line);
                    match accident {
                        Accident::Mail(reply) => return self.say(reply),
                        Accident::None | Accident::Greeting(_) | Accident::Drop | Accident::Restart => {
                            self.say("250 2.1.0 ok")?;
                        }
                    }
                }
                "RCPT" => match self.recipient(&bracketed(&line), &sender) {
                    Ok(recipient) => {
                        accepted.push(recipient);
                        self.say("250 2.1.5 ok")?;
                    }
                    Err(reply) => {
                        self.say(reply)?;
                        if reply.starts_with("421") {
                            return Ok(());
                        }
                    }
                },
                "DATA" if accepted.is_empty() => self.say("554 5.5.1 no recipients")?,
                "DATA" if accepted.iter().any(|(_, fault)| *fault == Fault::DropAtData) => return Ok(()),
                "DATA" => {
                    self.say("354 go on")?;
                    let message = self.message()?;
                    if !self.deliver(&std::mem::take(&mut accepted), &sender, &message)? {
                        return Ok(());
                    }
                }
                "QUIT" => return self.say("221 2.0.0 bye"),
                _ => self.say("250 2.0.0 ok")?,
            }
        }
    }

    /// Decides about a recipient; its refusal is an error.
    fn recipient(&self, recipient: &str, sender: &str) -> Result<Accepted, &'static str> {
        let Some(number) = number(recipient).filter(|_| !sender.is_empty()) else {
            return Ok((recipient.into(), Fault::None));
        };
        let mut record = self.record.lock().unwrap();
        let fate = record.fates.entry(recipient.into()).or_default();
        fate.attempts += 1;
        match self.plan.fault(number, fate.attempts) {
            Fault::Recipient(reply) => {
                fate.refused = reply.starts_with('5').then_some(reply);
                Err(reply)
            }
            fault @ (Fault::None | Fault::Message(_) | Fault::DropAtData | Fault::DropAfterDot { .. }) => {
                Ok((recipient.into(), fault))
            }
        }
    }

    /// A reply for each recipient; `false`: the connection is dropped.
    fn deliver(&mut self, accepted: &[Accepted], sender: &str, message: &str) -> io::Result<bool> {
        for (at, (recipient, fault)) in accepted.iter().enumerate() {
            match *fault {
                Fault::Message(reply) => {
                    if reply.starts_with('5') {
                        self.note(recipient, |fate| fate.refused = Some(reply));
                    }
                    self.say(reply)?;
                }
                Fault::DropAfterDot { stored } => {
                    if stored {
                        self.store(recipient, sender, message);
                        self.note(recipient, |fate| fate.dropped_and_stored += 1);
                    }
                    // Nobody behind it has a reply either.
                    accepted[at..]
                        .iter()
                        .for_each(|(recipient, _)| self.note(recipient, |fate| fate.dropped += 1));
                    return Ok(false);
                }
                Fault::None | Fault::Recipient(_) | Fault::DropAtData => {
                    self.store(recipient, sender, message);
                    self.say("250 2.0.0 stored")?;
                }
            }
        }
        Ok(true)
    }

    fn note(&self, recipient: &str, change: impl Fn(&mut Fate)) {
        change(self.record.lock().unwrap().fates.entry(recipient.into()).or_default());
    }

    fn store(&self, recipient: &str, sender: &str, message: &str) {
        let mut record = self.record.lock().unwrap();
        if sender.is_empty() {
            record.bounces.push(message.into());
            return;
        }
        record.fates.entry(recipient.into()).or_default().stored += 1;
        record.copies.push((recipient.into(), message.into()));
    }

    /// The octets up to the lone dot.
    fn message(&mut self) -> io::Result<String> {
        let mut message = String::new();
        loop {
            let line = self.line()?;
            if line == "." {
                return Ok(message);
            }
            message += line.strip_prefix('.').unwrap_or(&line);
            message += "\n";
        }
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = Vec::new();
        self.stream.by_ref().read_until(b'\n', &mut line)?;
        let Some(line) = line.strip_suffix(b"\r\n") else { return Err(io::ErrorKind::UnexpectedEof.into()) };
        Ok(String::from_utf8_lossy(line).into_owned())
    }

    fn say(&mut self, reply: &str) -> io::Result<()> {
        self.stream.get_mut().write_all(format!("{reply}\r\n").as_bytes())
    }
}

/// What stands in the angle brackets.
fn bracketed(line: &str) -> String {
    let inside = line.split_once('<').and_then(|(_, rest)| rest.split_once('>'));
    inside.map(|(inside, _)| inside.to_owned()).unwrap_or_default()
}

/// The number of a recipient that the plan is about.
fn number(recipient: &str) -> Option<u64> {
    recipient.strip_prefix("user")?.split_once('@')?.0.parse().ok()
}
