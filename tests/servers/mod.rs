//! Real servers for the tests, each started by the test that needs it and ended with it.
//!
//! A server runs in the foreground under a configuration of its own, on a free port of the loopback
//! interface and a Unix socket in a temporary folder, as `nobody` when the tests run as root and as whoever
//! runs them otherwise. A watching shell ends it, its process group and its folder when the test lets go of
//! it, however that comes about: the shell waits for the end of a pipe that only this process holds open.
//! What the server has logged is shown when the test fails.
//!
//! A server that is not installed skips its test and says so; with `CI=true` it fails it. `.ci/peers`
//! installs them all.
#![allow(clippy::print_stderr, reason = "a server's logs belong to the failure's report")]

pub mod aiosmtpd;
pub mod certificates;
pub mod cron;
pub mod cyrus;
pub mod dovecot;
pub mod exim;
pub mod faulty;
pub mod opensmtpd;
pub mod postfix;
pub mod smtp_server;
pub mod smtp_sink;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use std::{env, fs, io, iter, thread};

use tempfile::TempDir;

/// How long a server may take until it listens. Waited for in full only when something is wrong.
const PATIENCE: Duration = Duration::from_secs(20);

/// Runs a server until standard input ends, then ends it, by force if it takes more than half a second,
/// removes its folder, and ends whatever is left of the process group, itself included. Some servers end
/// their whole group themselves when they are told to end, and some leave children that still write.
const WATCH: &str = r#"
"$@" </dev/null >>"$FOLDER/output.log" 2>&1 &
server=$!
trap '' TERM
read -r _
kill -TERM $server
(sleep 0.5; kill -KILL $server) &
wait $server
for pause in 0 0.2 1; do
    sleep $pause
    rm -rf "$FOLDER" && break
done
kill -KILL 0
"#;

/// Whether `program` is there. Where it is not, says that the test is skipped, or fails it in CI.
pub fn installed(program: impl AsRef<Path>) -> bool {
    let program = program.as_ref();
    if program.exists() {
        return true;
    }
    let missing = format!("{} is not installed", program.display());
    assert_ne!(env::var("CI").as_deref(), Ok("true"), "{missing}: run .ci/peers");
    skip(&missing);
    false
}

/// Says why a test does not run, past the capture of the test's output.
pub fn skip(reason: &str) {
    let test = thread::current().name().unwrap_or("a test").to_owned();
    let _ = writeln!(io::stderr(), "skipped: {test}: {reason}");
}

/// What `.ci/peers` has put beside the build because it cannot be installed: `name` in that folder.
pub fn peers(name: &str) -> PathBuf {
    let beside = || concat!(env!("CARGO_MANIFEST_DIR"), "/target/peers").into();
    PathBuf::from(env::var_os("LMTP_SEND_PEERS").unwrap_or_else(beside)).join(name)
}

/// A port of the loopback interface that nobody listens on, and that the system gives to nobody by itself,
/// as it could between our finding it free and the server's taking it.
pub fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let candidates = iter::repeat_with(|| {
        let number = std::process::id().wrapping_mul(31).wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        20_000 + (number % 12_000) as u16
    });
    candidates.take(1000).find(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok()).unwrap()
}

/// The account that a server runs as.
#[derive(Clone, Debug)]
pub struct Account {
    pub user: String,
    pub group: String,
    pub uid: u32,
    pub gid: u32,
}

impl Account {
    /// `nobody` for root, and whoever runs the tests for everyone else.
    pub fn plain() -> Self {
        if is_root() { Self::of(Some("nobody")) } else { Self::of(None) }
    }

    /// Whoever runs the tests.
    pub fn ours() -> Self {
        Self::of(None)
    }

    fn of(user: Option<&str>) -> Self {
        let id = |what| said("id", [what].into_iter().chain(user));
        let number = |what| id(what).parse().unwrap();
        Self { user: id("-un"), group: id("-gn"), uid: number("-u"), gid: number("-g") }
    }
}

/// Whether the tests run as root: Postfix, Exim and OpenSMTPD run as nobody else.
pub fn is_root() -> bool {
    rustix::process::getuid().is_root()
}

/// A mail to be handed in by SMTP.
pub struct Mail<'a> {
    pub sender: &'a str,
    pub recipients: Vec<&'a str>,
    pub message: &'a str,
}

impl Mail<'_> {
    /// What the client says, each piece answered by itself; the last is the message.
    fn commands(&self) -> Vec<String> {
        let mut commands = vec![format!("MAIL FROM:<{}>\r\n", self.sender)];
        commands.extend(self.recipients.iter().map(|recipient| format!("RCPT TO:<{recipient}>\r\n")));
        commands.push("DATA\r\n".into());
        commands.push(self.message.replace("\n.", "\n..").replace('\n', "\r\n") + ".\r\n");
        commands
    }
}

/// Hands mails in by one SMTP session at a port of the loopback interface; every command must be taken.
fn submit(port: u16, mails: &[Mail<'_>]) {
    let mut smtp = BufReader::new(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap());
    let mut say = |command: &str| {
        // In one piece: the second of two small ones would wait for the first to be acknowledged.
        smtp.get_mut().write_all(command.as_bytes()).unwrap();
        let mut lines = smtp.by_ref().lines().map(Result::unwrap);
        let answer = lines.find(|line| line.get(3..4) != Some("-")).unwrap();
        assert!(answer.starts_with(['2', '3']), "{command}: {answer}");
    };
    say("");
    say("HELO localhost\r\n");
    mails.iter().flat_map(Mail::commands).for_each(|command| say(&command));
    say("QUIT\r\n");
}

/// What a program that must succeed prints, without the line's end.
pub fn said<'a>(program: &str, args: impl IntoIterator<Item = &'a str>) -> String {
    let output = Command::new(program).args(args).output().unwrap();
    assert!(output.status.success(), "{program}: {output:?}");
    String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
}

/// Waits until something is so.
pub fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let since = Instant::now();
    while !is_so() {
        assert!(since.elapsed() < PATIENCE, "in vain waited until {what}");
        thread::sleep(Duration::from_millis(10));
    }
}

/// A temporary folder that belongs to the account of the server that lives in it.
pub struct Home {
    folder: TempDir,
    pub account: Account,
}

impl Home {
    pub fn new(account: Account) -> Self {
        let folder = tempfile::Builder::new().prefix("lmtp-").tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let home = Self { folder, account };
        home.own("");
        home
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file and gives its path.
    pub fn write(&self, name: &str, content: &str) -> String {
        fs::write(self.path(name), content).unwrap();
        self.own(name);
        self.path(name).to_str().unwrap().to_owned()
    }

    /// A configuration with the folder and the account in their places.
    pub fn fill_in(&self, configuration: &str) -> String {
        let account = &self.account;
        let filled = configuration.replace("@HOME@", self.folder.path().to_str().unwrap());
        filled.replace("@USER@", &account.user).replace("@GROUP@", &account.group)
    }

    /// Makes folders, with those above them.
    pub fn make(&self, names: &[&str]) {
        for name in names {
            fs::create_dir_all(self.path(name)).unwrap();
            Path::new(name).ancestors().for_each(|folder| self.own(folder.to_str().unwrap()));
        }
    }

    /// A copy of the program that every account can run. Another process makes it: what is open for writing here could
    /// be inherited by a child of another test, and is then too busy to be run.
    pub fn program(&self) -> String {
        said("cp", [env!("CARGO_BIN_EXE_lmtp-send"), self.path("lmtp-send").to_str().unwrap()]);
        self.path("lmtp-send").to_str().unwrap().to_owned()
    }

    /// Gives the file to the account.
    pub fn own(&self, name: &str) {
        chown(self.path(name), Some(self.account.uid), Some(self.account.gid)).unwrap();
    }

    /// Runs a program as the account; it must succeed.
    pub fn run(&self, program: &str, args: &[&str], input: &str) {
        let mut command = Command::new(program);
        let piped = command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = self.identify(piped).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{program} {args:?}: {output:?}");
    }

    /// Starts a server in the foreground, watched. It writes its logs into files of this folder that end
    /// in `.log`, or to its output.
    pub fn start(self, command: &[&str]) -> Daemon {
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", WATCH, "watch"]).args(command).env("FOLDER", self.folder.path()).current_dir("/");
        shell.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
        let watch = self.identify(&mut shell).spawn().unwrap();
        Daemon { home: self, watch }
    }

    fn identify<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        if is_root() { command.uid(self.account.uid).gid(self.account.gid) } else { command }
    }
}

/// A running server. Ended when dropped.
pub struct Daemon {
    pub home: Home,
    watch: Child,
}

impl Daemon {
    /// Waits until the server listens there.
    #[must_use]
    pub fn listening_at(self, place: &Place) -> Self {
        until(&format!("somebody listens at {place:?}"), || place.connect().is_ok());
        self
    }

    /// What stands in one of its logs.
    pub fn log(&self, name: &str) -> String {
        String::from_utf8_lossy(&fs::read(self.home.path(name)).unwrap_or_default()).into_owned()
    }

    fn show_logs(&self) {
        for entry in fs::read_dir(self.home.folder.path()).into_iter().flatten().flatten() {
            if entry.path().extension().is_some_and(|kind| kind == "log") {
                let name = entry.file_name().into_string().unwrap_or_default();
                eprintln!("--- {name} ---\n{}", self.log(&name));
            }
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if thread::panicking() {
            self.show_logs();
        }
        drop(self.watch.stdin.take());
        let _ = self.watch.wait();
    }
}

/// Where a server listens.
#[derive(Clone, Debug)]
pub enum Place {
    /// A port of the loopback interface.
    Port(u16),
    /// A Unix-domain socket.
    Socket(PathBuf),
}

impl Place {
    /// The options that name it as the destination.
    pub fn options(&self) -> Vec<String> {
        match self {
            Place::Port(port) => {
                ["--host", "127.0.0.1", "--port", &port.to_string()].map(str::to_owned).to_vec()
            }
            Place::Socket(path) => vec!["--socket".into(), path.to_str().unwrap().into()],
        }
    }

    fn connect(&self) -> io::Result<()> {
        match self {
            Place::Port(port) => TcpStream::connect((Ipv4Addr::LOCALHOST, *port)).map(drop),
            Place::Socket(path) => UnixStream::connect(path).map(drop),
        }
    }
}

/// A message as it was found in a mailbox.
#[derive(Debug)]
pub struct Received {
    /// The header fields that the server put in front of it.
    pub added: String,
    /// The message as the server was sent it.
    pub message: Vec<u8>,
}

impl Received {
    /// Takes the fields whose names are among `added` off the top of what was stored.
    fn new(stored: &[u8], added: &[&str]) -> Self {
        let mut end = 0;
        let mut ours = false;
        for line in stored.split_inclusive(|octet| *octet == b'\n') {
            let folded = line.starts_with(b" ") || line.starts_with(b"\t");
            ours = if folded { ours } else { added.iter().any(|name| line.starts_with(name.as_bytes())) };
            if !ours {
                break;
            }
            end += line.len();
        }
        let (fields, message) = stored.split_at(end);
        Self { added: String::from_utf8_lossy(fields).into_owned(), message: message.to_vec() }
    }
}

/// The contents of the files in a folder whose names are `wanted`, in no certain order.
fn read_folder(folder: &Path, wanted: fn(&str) -> bool) -> Vec<Vec<u8>> {
    let entries = fs::read_dir(folder).into_iter().flatten();
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| wanted(file.file_name().unwrap().to_str().unwrap()));
    files.iter().map(|file| fs::read(file).unwrap()).collect()
}

/// A command to put in front of another, which then runs as the home's account, in a world with accounts of
/// these names and with our folders in the places of the system's. `None`, and a skipped test, where the
/// system does not let us.
fn private_mounts(home: &Home, accounts: &[&str], folders: &[(PathBuf, &str)]) -> Option<Vec<String>> {
    if !Command::new("unshare").args(["--mount", "true"]).status().is_ok_and(|status| status.success()) {
        assert_ne!(env::var("CI").as_deref(), Ok("true"), "we may not mount");
        skip("it takes mounts of its own, and the system lets us have none");
        return None;
    }
    let Account { user, group, uid, gid } = &home.account;
    let accounts: Vec<_> = accounts.iter().zip(64001..).collect();
    let entries = |of: &dyn Fn(&str, u32) -> String| -> String {
        accounts.iter().map(|(name, number)| of(name, *number)).collect()
    };
    let users = entries(&|name, number| format!("{name}:x:{number}:{number}::/:/bin/false\n"));
    let groups = entries(&|name, number| format!("{name}:x:{number}:\n"));
    let nobody = "nobody:x:65534:65534::/:/bin/sh";
    home.write(
        "passwd",
        &format!("root:x:0:0::/:/bin/sh\n{user}:x:{uid}:{gid}::/:/bin/sh\n{nobody}\n{users}"),
    );
    home.write("group", &format!("root:x:0:\n{group}:x:{gid}:\nnogroup:x:65534:\n{groups}"));
    let ours = [(home.path("passwd"), "/etc/passwd"), (home.path("group"), "/etc/group")];
    let mounts = ours.iter().chain(folders);
    let script: String =
        mounts.map(|(ours, theirs)| format!("mount --bind '{}' {theirs} && ", ours.display())).collect();
    let script = format!("{script}exec setpriv --reuid={uid} --regid={gid} --clear-groups \"$@\"");
    Some(["unshare", "--mount", "sh", "-c", &script, "mounts"].map(str::to_owned).to_vec())
}
