//! The program under test, run as a mail system runs it.

use std::ffi::OsStr;
use std::fs::{File, Permissions};
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::{HELLO, PATIENCE, Server};

/// The longest that a run may take.
const LIMIT: Duration = Duration::from_secs(20);

/// A run of the program that is being put together.
#[derive(Debug)]
pub struct Client {
    command: Command,
    input: Option<Vec<u8>>,
}

impl Client {
    /// The program without any argument, in an environment without any setting.
    pub fn new() -> Self {
        Self::of(Command::new(env!("CARGO_BIN_EXE_lmtp-send")))
    }

    /// The program with the options that lead to `server`.
    pub fn to(server: &Server) -> Self {
        Self::new().args(server.destination())
    }

    /// The program started by a shell, for limits and redirections: `script` says `"$@"` where it is to stand.
    pub fn in_shell(script: &str) -> Self {
        let mut command = Command::new("sh");
        command.args(["-c", script, "sh", env!("CARGO_BIN_EXE_lmtp-send")]);
        Self::of(command)
    }

    /// Any command that ends in the program's arguments.
    pub fn of(mut command: Command) -> Self {
        command.env_clear();
        for kept in ["PATH", "TMPDIR", "LLVM_PROFILE_FILE"] {
            if let Some(value) = std::env::var_os(kept) {
                command.env(kept, value);
            }
        }
        // No settings of the person who runs the tests.
        command.env("HOME", "/nonexistent").env("XDG_CONFIG_HOME", "/nonexistent").env("LOGNAME", "tester");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Self { command, input: Some(HELLO.to_vec()) }
    }

    pub fn args<A: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.command.args(args);
        self
    }

    /// Under another name than its file's, as through a link.
    pub fn called(mut self, name: &str) -> Self {
        self.command.arg0(name);
        self
    }

    /// An option and its value.
    pub fn arg(self, option: &str, value: &Path) -> Self {
        self.args([option.as_ref(), value.as_os_str()])
    }

    /// Arguments as they are typed, separated by spaces.
    pub fn typed(self, args: &str) -> Self {
        self.args(args.split_whitespace())
    }

    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// The program as a user without any rights, whoever runs the tests. `home` is a directory where it can be put.
    pub fn unprivileged(home: &Path) -> Self {
        if !rustix::process::geteuid().is_root() {
            return Self::new();
        }
        std::fs::set_permissions(home, Permissions::from_mode(0o755)).unwrap();
        let program = home.join("lmtp-send");
        // A copy is busy as long as a child of another test has it open for writing.
        let original = env!("CARGO_BIN_EXE_lmtp-send");
        if !program.exists() && std::fs::hard_link(original, &program).is_err() {
            std::fs::copy(original, &program).unwrap();
        }
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"]).arg(program);
        Self::of(command)
    }

    pub fn dir(mut self, dir: &Path) -> Self {
        self.command.current_dir(dir);
        self
    }

    /// What stands on standard input, then its end. Without it: [`HELLO`].
    pub fn input(mut self, octets: impl Into<Vec<u8>>) -> Self {
        self.input = Some(octets.into());
        self
    }

    /// Standard input is something else than a pipe that we write.
    pub fn stdin(mut self, stdin: impl Into<Stdio>) -> Self {
        self.command.stdin(stdin);
        self.input = None;
        self
    }

    /// Standard input is a pipe that stays open and empty; see [`Running::feed`].
    pub fn hungry(mut self) -> Self {
        self.input = None;
        self
    }

    pub fn stdout(mut self, stdout: impl Into<Stdio>) -> Self {
        self.command.stdout(stdout);
        self
    }

    pub fn stderr(mut self, stderr: impl Into<Stdio>) -> Self {
        self.command.stderr(stderr);
        self
    }

    /// Runs it to its end.
    #[track_caller]
    pub fn run(self) -> Ran {
        self.start().wait()
    }

    /// Starts it.
    #[track_caller]
    pub fn start(mut self) -> Running {
        let begun = Instant::now();
        let mut child = self.command.spawn().unwrap();
        let pid = Pid::from_child(&child);
        let stdout = child.stdout.take().map(collect);
        let stderr = child.stderr.take().map(collect);
        let mut stdin = child.stdin.take();
        if let Some(input) = self.input {
            let stdin = stdin.take();
            // A program that reads no further is its own affair; it shows in the exit code.
            thread::spawn(move || stdin.map(|mut stdin| stdin.write_all(&input)));
        }
        Running { pid, status: waiter(child), stdin, stdout, stderr, begun }
    }
}

/// A run that is going on.
#[must_use = "a run is to be waited for"]
#[derive(Debug)]
pub struct Running {
    pid: Pid,
    status: Receiver<ExitStatus>,
    stdin: Option<std::process::ChildStdin>,
    stdout: Option<Receiver<Vec<u8>>>,
    stderr: Option<Receiver<Vec<u8>>>,
    begun: Instant,
}

impl Running {
    /// The process.
    pub fn id(&self) -> i32 {
        self.pid.as_raw_nonzero().get()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid, signal).unwrap();
    }

    /// Kills it; whether it had ended by itself before, with 0.
    pub fn kill(self) -> bool {
        let _ = kill_process(self.pid, Signal::KILL);
        self.wait().status.success()
    }

    /// Writes to its standard input, which stays open.
    pub fn feed(&mut self, octets: &[u8]) {
        self.stdin.as_mut().unwrap().write_all(octets).unwrap();
    }

    /// Ends its standard input.
    pub fn fed(&mut self) {
        self.stdin = None;
    }

    /// Waits until it catches SIGTERM: from then on it is not killed by it.
    #[track_caller]
    pub fn ready(&self) {
        let until = Instant::now() + PATIENCE;
        let path = format!("/proc/{}/status", self.pid.as_raw_nonzero());
        while Instant::now() < until {
            let status = std::fs::read_to_string(&path).unwrap_or_default();
            let caught = status.lines().filter_map(|line| {
                let mask = line.strip_prefix("SigCgt:").or_else(|| line.strip_prefix("SigBlk:"))?;
                u64::from_str_radix(mask.trim(), 16).ok()
            });
            if caught.fold(0, |all, mask| all | mask) & 1 << (Signal::TERM.as_raw() - 1) != 0 {
                return;
            }
            thread::sleep(Duration::from_millis(2));
        }
        panic!("the program does not catch SIGTERM");
    }

    /// Keeps writing `octets` to its standard input, with a pause after each time, until it ends.
    #[track_caller]
    pub fn drip(mut self, octets: &'static [u8], pause: Duration) -> Ran {
        let mut stdin = self.stdin.take().unwrap();
        thread::spawn(move || {
            while stdin.write_all(octets).is_ok() {
                thread::sleep(pause);
            }
        });
        self.wait()
    }

    /// The most memory that it has taken when it ends, in KiB.
    pub fn peak(&self) -> u64 {
        let path = format!("/proc/{}/status", self.pid.as_raw_nonzero());
        let peak = || {
            let status = std::fs::read_to_string(&path).ok()?;
            let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
            line.trim().trim_end_matches(" kB").parse().ok()
        };
        let mut most = 0;
        while let Some(now) = peak() {
            most = now;
            thread::sleep(Duration::from_millis(2));
        }
        most
    }

    /// Waits for its end, within a bound.
    #[track_caller]
    pub fn wait(self) -> Ran {
        let status = self.status.recv_timeout(LIMIT).ok();
        let took = self.begun.elapsed();
        if status.is_none() {
            kill_process(self.pid, Signal::KILL).ok();
        }
        drop(self.stdin);
        let told = |of: Option<Receiver<Vec<u8>>>| {
            of.and_then(|octets| octets.recv_timeout(LIMIT).ok()).unwrap_or_default()
        };
        let stdout = String::from_utf8_lossy(&told(self.stdout)).into_owned();
        let stderr = String::from_utf8_lossy(&told(self.stderr)).into_owned();
        let Some(status) = status else { panic!("the program hangs; stderr: {stderr}") };
        Ran { status, stdout, stderr, took }
    }
}

/// A run that has ended.
#[derive(Debug)]
pub struct Ran {
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
    pub took: Duration,
}

impl Ran {
    /// The exit code; death by a signal is the signal's number, negative.
    pub fn code(&self) -> i32 {
        self.status.code().unwrap_or_else(|| -self.status.signal().unwrap_or(999))
    }

    /// It ended with `code`, and said on stderr what goes with it (contract, section 5): nothing on success, else a first
    /// line that begins with an enhanced status code of the class that agrees.
    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(self.code(), code, "exit code; stderr: {}stdout: {}", self.stderr, self.stdout);
        if let Err(told) = agrees(code, &self.stderr) {
            panic!("{told}");
        }
        self
    }

    /// It took less than `seconds`.
    #[track_caller]
    pub fn within(self, seconds: f64) -> Self {
        assert!(self.took.as_secs_f64() < seconds, "took {:?}; stderr: {}", self.took, self.stderr);
        self
    }

    /// The first line on stderr begins with `status`, and some line holds `text`.
    #[track_caller]
    pub fn says(self, status: &str, text: &str) -> Self {
        assert!(self.stderr.starts_with(&format!("{status} ")), "expected {status}: {}", self.stderr);
        assert!(self.stderr.contains(text), "expected '{text}': {}", self.stderr);
        self
    }

    /// The objects of `--report json`.
    #[track_caller]
    pub fn report(&self) -> Vec<Value> {
        self.stdout
            .lines()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
            .collect()
    }

    /// The outcomes in the report are these, in this order, and each object has every field of the contract.
    #[track_caller]
    pub fn outcomes(self, outcomes: &[&str]) -> Self {
        let report = self.report();
        let told: Vec<_> = report.iter().map(|object| object["outcome"].as_str().unwrap_or("?")).collect();
        assert_eq!(told, outcomes, "outcomes; exit {}, stderr: {}", self.code(), self.stderr);
        for object in &report {
            if let Err(told) = complete(object) {
                panic!("{told}");
            }
        }
        self
    }

    /// The stages in the report are these, in this order.
    #[track_caller]
    pub fn stages(self, stages: &[&str]) -> Self {
        let report = self.report();
        let told: Vec<_> = report.iter().map(|object| object["stage"].as_str().unwrap_or("?")).collect();
        assert_eq!(told, stages, "stages; exit {}, stderr: {}", self.code(), self.stderr);
        self
    }
}

/// Whether `stderr` is what the contract lets a run with exit code `code` say, in the default style.
pub fn agrees(code: i32, stderr: &str) -> Result<(), String> {
    let first = stderr.lines().next().unwrap_or_default();
    match code {
        0 if stderr.is_empty() => Ok(()),
        0 => Err(format!("success is silent, but this was said: {stderr}")),
        64 => Ok(()),
        _ => {
            let class = if matches!(code, 75 | 111) { "4" } else { "5" };
            let word = first.split(' ').next().unwrap_or_default();
            let parts: Vec<_> = word.split('.').collect();
            let numbers = parts.iter().all(|part| part.parse::<u16>().is_ok());
            let agrees = parts.len() == 3 && numbers && parts[0] == class;
            if agrees {
                Ok(())
            } else {
                Err(format!("exit {code} and the first line '{first}' do not agree"))
            }
        }
    }
}

/// Whether a report's object has every field of the contract, of the right kind, and its outcome and code agree.
pub fn complete(object: &Value) -> Result<(), String> {
    let text = |name: &str| object.get(name).is_some_and(Value::is_string);
    let or_null =
        |name: &str, good: fn(&Value) -> bool| object.get(name).is_some_and(|v| v.is_null() || good(v));
    let number = |name: &str| object.get(name).is_some_and(Value::is_number);
    // Where the message could not be read, no server was asked.
    let asked = object["stage"] != "input";
    let good = ["message", "sender", "recipient", "outcome", "stage", "text"].iter().all(|name| text(name))
        && (text("server") || !asked && object["server"].is_null())
        && or_null("message_id", Value::is_string)
        && or_null("enhanced", Value::is_string)
        && or_null("code", Value::is_u64)
        && object["time"].as_str().is_some_and(is_time)
        && ["exit", "attempts", "seconds"].iter().all(|name| number(name));
    let exit = object["exit"].as_i64().unwrap_or(-1);
    let agrees = match object["outcome"].as_str() {
        Some("delivered") => exit == 0,
        Some("deferred") => matches!(exit, 75 | 111),
        Some("uncertain") => matches!(exit, 0 | 69 | 75),
        Some("failed") => !matches!(exit, 0 | 75 | 111),
        _ => false,
    };
    if good && agrees { Ok(()) } else { Err(format!("a report that is not to the contract: {object}")) }
}

/// Whether `text` is a time to the millisecond in UTC (RFC 3339).
fn is_time(text: &str) -> bool {
    let form = "dddd-dd-ddTdd:dd:dd.dddZ";
    let fits = |(c, form): (char, char)| if form == 'd' { c.is_ascii_digit() } else { c == form };
    text.len() == form.len() && text.chars().zip(form.chars()).all(fits)
}

/// Reads to the end on a thread.
fn collect(mut from: impl Read + Send + 'static) -> Receiver<Vec<u8>> {
    let (send, receive) = channel();
    thread::spawn(move || {
        let mut octets = Vec::new();
        from.read_to_end(&mut octets).ok();
        send.send(octets)
    });
    receive
}

/// Waits for the end of `child` on a thread.
fn waiter(mut child: Child) -> Receiver<ExitStatus> {
    let (send, receive) = channel();
    thread::spawn(move || child.wait().map(|status| send.send(status)));
    receive
}

/// `/dev/full`, where nothing can be written.
pub fn full() -> File {
    File::options().write(true).open("/dev/full").unwrap()
}
