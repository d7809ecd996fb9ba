//! Nowhere to write the report or the diagnostics to.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixDatagram;

use super::ONE;
use crate::scripted::{Client, Peer, Played, Ran, Server, full};

/// A server's script that delivers one message to one recipient.
fn delivers(peer: &mut Peer) -> Played {
    peer.session(&["PIPELINING"])?;
    peer.envelope(1)?;
    peer.message()?;
    peer.quit(&["250 delivered"])
}

/// A server's script that refuses the one recipient.
fn refuses(peer: &mut Peer) -> Played {
    peer.session(&["PIPELINING"])?;
    peer.flight(&["MAIL {any}", "RCPT {any}", "DATA"])?;
    peer.say_all(&["250 ok", "550 5.1.1 no such user", "503 no recipients"])?;
    peer.quit(&[])
}

const PLAIN: &str = "-f me@example.net -t a@example.net";

#[test]
fn stdout_is_full() {
    let server = Server::tcp(delivers);
    let ran = Client::to(&server).typed(ONE).stdout(full()).run();
    server.finish();
    assert!(ran.exits(75).stderr.starts_with("4.3.0 "));
}

#[test]
fn stdout_is_full_in_the_shells_style() {
    let server = Server::tcp(delivers);
    let ran = Client::to(&server).typed(ONE).typed("--exit-style shell").stdout(full()).run();
    server.finish();
    assert_eq!(ran.code(), 74, "{}", ran.stderr);
}

#[test]
fn nobody_reads_stdout_any_more() {
    let server = Server::tcp(delivers);
    let (read, write) = std::io::pipe().unwrap();
    drop(read);
    let ran = Client::to(&server).typed(ONE).stdout(write).run();
    server.finish();
    assert!(ran.exits(75).stderr.starts_with("4.3.0 "));
}

#[test]
fn stdout_is_closed_and_there_is_no_report() {
    // Nothing is to be written there: nothing is wrong.
    let server = Server::tcp(delivers);
    let ran = Client::in_shell(r#"exec "$@" >&-"#).args(server.destination()).typed(PLAIN).run();
    server.finish();
    ran.exits(0);
}

#[test]
fn stdout_is_closed() {
    // Known before anything is sent: then nothing is sent. `/dev/null`, which the runtime puts there, is another thing:
    // see `waiting::stdout_is_dev_null_for_reading_and_writing`.
    for closed in [r#"exec "$@" >&-"#, r#"exec "$@" >/dev/null >&-"#, r#"exec "$@" 1</dev/null"#] {
        let server = Server::unused();
        let ran = Client::in_shell(closed).args(server.destination()).typed(ONE).run();
        server.finish();
        ran.exits(75).says("4.3.0", "standard output is closed");
    }
}

#[test]
fn the_report_file_cannot_be_written() {
    // Known before anything is sent: then nothing is sent.
    for path in ["/nonexistent/report", "/"] {
        let server = Server::unused();
        let ran = Client::to(&server).typed(ONE).args(["--report-file", path]).run();
        server.finish();
        ran.exits(75);
    }
}

#[test]
fn the_report_file_is_full() {
    let server = Server::tcp(delivers);
    let ran = Client::to(&server).typed(ONE).args(["--report-file", "/dev/full"]).run();
    server.finish();
    ran.exits(75).says("4.3.0", "/dev/full: ");
}

#[test]
fn the_report_file_is_appended_to() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("report");
    std::fs::write(&path, "before\n").unwrap();
    for _ in 0..2 {
        let server = Server::tcp(refuses);
        let ran = Client::to(&server).typed(ONE).arg("--report-file", &path).run();
        server.finish();
        assert_eq!(ran.exits(67).stdout, "");
    }
    let report = std::fs::read_to_string(&path).unwrap();
    let lines: Vec<_> = report.lines().collect();
    assert_eq!(lines.len(), 3, "{report}");
    assert_eq!(lines[0], "before");
    assert!(lines[1].contains("a@example.net") && lines[2].contains("a@example.net"), "{report}");
}

/// The system has something in the place of a stream that was closed, and what names it by its path would find that.
#[test]
fn a_closed_stream_is_closed_by_its_path_too() {
    for (closed, options, text) in [
        (r#"exec "$@" >&-"#, "--report-file /dev/stdout", "standard output is closed"),
        (r#"exec "$@" >&-"#, "--report-file /dev/fd/1", "standard output is closed"),
        (r#"exec "$@" <&-"#, "/dev/stdin", "standard input is closed"),
        (r#"exec "$@" <&-"#, "--files-from /dev/fd/0", "standard input is closed"),
        (r#"exec "$@" >&-"#, "--probe", "standard output is closed"),
        (r#"exec "$@" >&-"#, "--help", "standard output is closed"),
    ] {
        println!("{closed} {options}");
        let sink = tempfile::tempdir().unwrap();
        let client = Client::in_shell(closed).typed(PLAIN).arg("--sink", sink.path()).typed(options);
        client.run().exits(75).says("4.3.0", text);
    }
}

#[test]
fn a_variable_that_is_not_utf8_is_a_fault_of_the_configuration() {
    let value = OsStr::from_bytes(b"\xff");
    for name in ["TIMEOUT", "PORT", "USER", "LHLO", "CONNECTIONS"].map(|name| format!("LMTP_SEND_{name}")) {
        let client = || Client::new().env(&name, value).env("LMTP_SEND_SINK", "/nonexistent");
        let text = format!("{name}: '\\xff' is not UTF-8");
        client().typed(ONE).run().exits(75).says("4.3.5", &text);
        client().typed("--sendmail joe@example.net").run().exits(75).says("4.3.5", &text);
    }
}

#[test]
fn stderr_is_closed() {
    for (script, code) in [(delivers as fn(&mut Peer) -> Played, 0), (refuses, 67)] {
        let server = Server::tcp(script);
        let ran = Client::in_shell(r#"exec "$@" 2>&-"#).args(server.destination()).typed(ONE).run();
        server.finish();
        assert_eq!(ran.code(), code);
        assert_eq!(ran.report().len(), 1);
    }
}

#[test]
fn stderr_is_full_or_nobody_reads_it() {
    let (read, write) = std::io::pipe().unwrap();
    drop(read);
    for stderr in [std::process::Stdio::from(full()), write.into()] {
        let server = Server::tcp(refuses);
        let ran = Client::to(&server).typed(ONE).stderr(stderr).run();
        server.finish();
        assert_eq!(ran.code(), 67);
    }
}

#[test]
fn everything_is_closed() {
    let server = Server::unused();
    let ran = Client::in_shell(r#"exec "$@" <&- >&- 2>&-"#).args(server.destination()).typed(PLAIN).run();
    server.finish();
    assert_eq!(ran.code(), 75);
}

/// The manual's example with `word` in it, as it is typed.
fn example(word: &str) -> String {
    let page = std::fs::read_to_string("man/examples.roff").unwrap();
    let mut blocks = page.split(".nf\n").skip(1).filter_map(|block| block.split(".fi\n").next());
    let block = blocks.find(|block| block.contains(word)).unwrap();
    block.replace("\\-", "-").replace("\\(aq", "'")
}

#[test]
fn the_example_for_those_still_to_be_served_names_everybody_who_may_not_have_it() {
    if std::process::Command::new("jq").arg("--version").output().is_err() {
        return println!("skipped: jq is not installed");
    }
    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join("message.eml"), "From: me@x\nTo: a@x, b@x, c@x, d@x\n\ntext\n").unwrap();
    let server = Server::tcp(|peer| {
        peer.session(&["PIPELINING"])?;
        peer.flight(&["MAIL {any}", "RCPT {any}", "RCPT {any}", "RCPT {any}", "RCPT {any}", "DATA"])?;
        peer.say_all(&["250 ok", "250 ok", "450 4.2.1 later", "550 5.1.1 nobody", "250 ok", "354 go on"])?;
        peer.message()?;
        peer.say("250 delivered")?;
        peer.close()
    });
    let pipeline = example("jq").replace("mailbox.example.net", server.name());
    let directory = std::path::Path::new(env!("CARGO_BIN_EXE_lmtp-send")).parent().unwrap();
    let path = format!("{}:{}", directory.display(), std::env::var("PATH").unwrap());
    let mut command = std::process::Command::new("sh");
    command.args(["-c", &pipeline]);
    let ran = Client::of(command).env("PATH", path).dir(home.path()).run();
    server.finish();
    assert_eq!(ran.stdout, "b@x\nd@x\n", "{}", ran.stderr);
}

#[test]
fn a_failure_before_the_run_is_reported_for_each_recipient_of_each_message() {
    let ran =
        Client::new().typed("--report json --exec true -f me@@x -t a@x,b@x -t <a@x> one.eml two.eml").run();
    let named: Vec<_> = ran.report().iter().map(|o| (o["message"].clone(), o["recipient"].clone())).collect();
    let expected = ["one.eml", "two.eml"].map(|message| ["a@x", "b@x"].map(|to| (message.into(), to.into())));
    assert_eq!(named, expected.concat());
    ran.exits(65);
}

#[test]
fn a_report_file_is_not_for_everybody() {
    use std::os::unix::fs::PermissionsExt;
    for (umask, mode) in [("022", 0o640), ("077", 0o600), ("000", 0o640)] {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("report");
        let server = Server::tcp(delivers);
        let client = Client::in_shell(&format!(r#"umask {umask}; exec "$@""#)).args(server.destination());
        let ran = client.typed("-f me@x -t joe").arg("--report-file", &path).run();
        server.finish();
        ran.exits(0);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, mode, "umask {umask}");
        let report = std::fs::read_to_string(&path).unwrap();
        let (time, rest) = report.split_once(' ').unwrap();
        assert!(time.len() == 24 && time.starts_with('2') && time.ends_with('Z'), "{report}");
        assert!(rest.starts_with("delivered <joe> -: "), "{report}");
    }
}

/// A `/dev` of the test's own, with its log.
const DEV: &str = r#"mkdir "$TMPDIR/dev" && mount -t tmpfs none "$TMPDIR/dev" && for name in null full urandom; do
    : > "$TMPDIR/dev/$name" && mount --bind "/dev/$name" "$TMPDIR/dev/$name"; done &&
    if [ -e "$TMPDIR/log" ]; then : > "$TMPDIR/dev/log" && mount --bind "$TMPDIR/log" "$TMPDIR/dev/log"; fi &&
    mount --rbind "$TMPDIR/dev" /dev && exec "$@""#;

/// Where the system's log is one of the test's own.
struct Logged {
    home: tempfile::TempDir,
    log: UnixDatagram,
    options: &'static [&'static str],
}

impl Logged {
    /// None where name spaces are not to be had.
    fn new() -> Option<Self> {
        let allowed = |with: &[&str]| {
            let output = std::process::Command::new("unshare").args(with).arg("true").output();
            output.is_ok_and(|output| output.status.success())
        };
        let options: &[&str] = if allowed(&["-m"]) { &["-m"] } else { &["-Urm"] };
        if !allowed(options) {
            println!("skipped: name spaces are not to be had here");
            return None;
        }
        let home = tempfile::tempdir().unwrap();
        let log = UnixDatagram::bind(home.path().join("log")).unwrap();
        log.set_read_timeout(Some(crate::scripted::PATIENCE)).unwrap();
        Some(Self { home, log, options })
    }

    /// The program, whose path ends in `name`.
    fn client(&self, name: &str) -> Client {
        let program = self.home.path().join(name);
        if !program.exists() {
            std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_lmtp-send"), &program).unwrap();
        }
        let mut command = std::process::Command::new("unshare");
        command.args(self.options).args(["sh", "-c", DEV, "sh"]).arg(program);
        Client::of(command).env("TMPDIR", self.home.path())
    }

    /// Runs it, and clears away what it ran in.
    fn run(&self, client: Client) -> Ran {
        let ran = client.run();
        std::fs::remove_dir(self.home.path().join("dev")).unwrap();
        ran
    }

    fn line(&self) -> String {
        let mut line = [0; 4096];
        let octets = self.log.recv(&mut line).unwrap();
        String::from_utf8_lossy(&line[..octets]).into_owned()
    }
}

/// Nobody reads what is said to who calls sendmail, and so the log has what keeps a delivery from beginning as well.
#[test]
fn as_sendmail_every_failure_goes_to_the_log_of_the_system() {
    let Some(logged) = Logged::new() else { return };
    let wrong = logged.home.path().join("wrong.toml");
    std::fs::write(&wrong, "tiemout = 1\n").unwrap();
    let wrong = wrong.display().to_string();
    let said_wrong = "status=deferred (".to_owned() + &wrong + ":1: tiemout: no such option";
    for (words, code, holds) in [
        ("-Z joe", 64, "]: usage, dsn=5.5.4, status=failed ('-Z' is not an option of sendmail"),
        ("-N sometimes joe", 64, "]: usage, dsn=5.5.4, status=failed (invalid value 'sometimes'"),
        ("-i", 65, "to=<>, relay=none, delay=0.00, dsn=5.1.3, status=failed (no recipients"),
        (
            "-X /nonexistent/log joe",
            75,
            "to=<joe>, relay=none, delay=0.00, dsn=4.3.0, status=deferred (the report could",
        ),
        (&format!("-C {wrong} -f me@x joe"), 75, "from=<me@x>, to=<joe>, relay=none"),
        (&format!("-C {wrong} joe"), 75, &said_wrong),
        (&format!("-C {wrong} -B no joe"), 75, &said_wrong),
    ] {
        let client = logged.client("sendmail").env("LMTP_SEND_SOCKET", "/nonexistent").typed(words);
        logged.run(client).exits(code);
        let line = logged.line();
        assert!(line.contains(holds), "{words}: {line}");
    }
    let server = Server::tcp(delivers);
    let client = logged.client("sendmail").env("LMTP_SEND_HOST", server.destination()[1].clone());
    logged.run(client.typed("-i -f me@example.net a@example.net")).exits(0);
    server.finish();
    logged.log.set_nonblocking(true).unwrap();
    assert!(logged.log.recv(&mut [0; 4096]).is_err(), "a success is no failure");
}

#[test]
fn outcomes_go_to_the_log_of_the_system_and_no_log_is_no_failure() {
    let Some(logged) = Logged::new() else { return };
    let run = |logged: &Logged, script: fn(&mut Peer) -> Played, option: &str| {
        let server = Server::tcp(script);
        let client = logged.client("lmtp-send").args(server.destination()).typed(PLAIN).typed(option);
        let ran = logged.run(client);
        server.finish();
        ran
    };
    for (script, option, code, begins, holds) in [
        (delivers as fn(&mut Peer) -> Played, "--syslog", 0, "<22>lmtp-send[", "status=delivered ("),
        (refuses, "--syslog=local0", 67, "<131>lmtp-send[", "dsn=5.1.1, status=failed ("),
    ] {
        run(&logged, script, option).exits(code);
        let line = logged.line();
        let start =
            "]: message-id=<hello@example.net>, from=<me@example.net>, to=<a@example.net>, relay=127.0.0.1:";
        assert!(line.starts_with(begins) && line.contains(start) && line.contains(holds), "{line}");
    }
    let Logged { home, log, options } = logged;
    drop(log);
    let logged = Logged { home, log: UnixDatagram::unbound().unwrap(), options };
    run(&logged, delivers, "--syslog").exits(0);
    std::fs::remove_file(logged.home.path().join("log")).unwrap();
    assert_eq!(run(&logged, delivers, "--syslog").exits(0).stderr, "");
    let ran = run(&logged, delivers, "--syslog -v");
    assert_eq!(ran.code(), 0);
    assert!(
        ran.stderr.contains("\nwarning: --syslog: no log daemon takes messages at /dev/log"),
        "{}",
        ran.stderr
    );
}
