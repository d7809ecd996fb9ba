//! The server cannot be found or reached. Nothing of that says anything about a recipient: it is 75, always.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::Path;

use rustix::event::PollFlags;
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, connect, getsockname, listen, socket_with,
};

use super::{ONE, TWO};
use crate::scripted::{Client, Peer, Played, Ran, Server};

/// A port of 127.0.0.1 on which nobody listens, and nobody will as long as this is kept: it is bound.
struct Unused {
    port: u16,
    _socket: OwnedFd,
}

impl Unused {
    fn port() -> Self {
        let socket =
            socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None).unwrap();
        bind(&socket, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = SocketAddr::try_from(getsockname(&socket).unwrap()).unwrap();
        Self { port: address.port(), _socket: socket }
    }

    fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }
}

/// A server's script that delivers one message to one recipient.
fn delivers(peer: &mut Peer) -> Played {
    peer.session(&["PIPELINING"])?;
    peer.envelope(1)?;
    peer.message()?;
    peer.quit(&["250 delivered"])
}

#[track_caller]
fn not_reached(ran: Ran, status: &str) -> Ran {
    let ran = ran.exits(75).outcomes(&["deferred"; 2]).stages(&["connect"; 2]).within(4.0);
    assert!(ran.stderr.starts_with(status), "expected {status}: {}", ran.stderr);
    ran
}

/// The program in name spaces of its own, after `setup` in a shell; `None` where those are not to be had.
fn in_own_space(setup: &str) -> Option<Client> {
    let allowed = |with: &str| {
        std::process::Command::new("unshare").args([with, "true"]).output().is_ok_and(|o| o.status.success())
    };
    let option = ["-mu", "-Urmu"].into_iter().find(|option| allowed(option))?;
    let mut command = std::process::Command::new("unshare");
    let script = format!("{setup} && exec \"$@\"");
    command.args([option, "sh", "-c", &script, "sh", env!("CARGO_BIN_EXE_lmtp-send")]);
    Some(Client::of(command))
}

/// The program where names are looked up in `/etc/hosts` only, and that says `hosts`.
fn with_hosts(home: &Path, hosts: &str, setup: &str) -> Option<Client> {
    fs::write(home.join("nsswitch"), "hosts: files\n").unwrap();
    fs::write(home.join("hosts"), hosts).unwrap();
    let home = home.display();
    in_own_space(&format!(
        "mount --bind {home}/nsswitch /etc/nsswitch.conf && mount --bind {home}/hosts /etc/hosts{setup}"
    ))
}

const NO_SPACE: &str = "skipped: name spaces are not to be had here";

#[test]
fn host_not_found() {
    let home = tempfile::tempdir().unwrap();
    let client = || with_hosts(home.path(), "127.0.0.1 localhost\n", "");
    let Some(client_) = client() else { return println!("{NO_SPACE}") };
    let ran = client_.typed(TWO).typed("--host no-such-host.invalid").run();
    not_reached(ran, "4.4.3 ").says("4.4.3", "the name 'no-such-host.invalid' does not exist");
    let ran = client().unwrap().typed(TWO).typed("--host a.invalid --host b.invalid:2003").run();
    let ran = not_reached(ran, "4.4.3 ");
    for name in ["a.invalid:24: ", "'a.invalid' does not exist", "b.invalid:2003: ", "'b.invalid' does"] {
        assert!(ran.stderr.contains(name), "{}", ran.stderr);
    }
}

#[test]
fn a_host_with_several_addresses_names_those_that_were_tried() {
    let home = tempfile::tempdir().unwrap();
    let hosts = "127.0.0.1 mailbox.test\n127.0.0.2 mailbox.test\n";
    let Some(client) = with_hosts(home.path(), hosts, "") else { return println!("{NO_SPACE}") };
    let unused = Unused::port();
    let host = format!("mailbox.test:{}", unused.port);
    let ran = not_reached(client.typed(TWO).args(["--host", &host]).run(), "4.4.1 ");
    for address in ["127.0.0.1", "127.0.0.2"] {
        let said = format!("{address}:{}: Connection refused: nothing is listening there", unused.port);
        assert!(ran.stderr.contains(&said), "{}", ran.stderr);
    }
}

#[test]
fn the_name_of_this_host_is_said_in_lhlo_if_it_is_one() {
    for (name, said) in [
        ("(none)", "[127.0.0.1]"),
        ("host..x", "[127.0.0.1]"),
        ("x.local.", "x.local"),
        ("mailout.example.net", "mailout.example.net"),
    ] {
        let home = tempfile::tempdir().unwrap();
        let setup = format!(" && printf '%s' '{name}' > /proc/sys/kernel/hostname");
        let Some(client) = with_hosts(home.path(), "", &setup) else { return println!("{NO_SPACE}") };
        let server = Server::tcp(move |peer| {
            peer.say("220 mailbox LMTP")?;
            peer.expect(&format!("LHLO {said}"))?;
            peer.say("250 mailbox")?;
            peer.expect("MAIL {any}")?;
            peer.close()
        });
        let ran = client.args(server.destination()).typed(ONE).run();
        server.finish();
        ran.exits(75);
    }
}

/// Receives LHLO and MAIL, and ends the session.
fn hears(lhlo: &'static str, mail: &'static str) -> Server {
    Server::tcp(move |peer| {
        peer.say("220 mailbox LMTP")?;
        peer.expect(lhlo)?;
        peer.say("250 mailbox")?;
        peer.expect(mail)?;
        peer.close()
    })
}

const MESSAGE: &str = "Return-Path: <unknown>\nSubject: x\n\ntext\n";

#[test]
fn a_host_name_without_a_domain_gets_that_of_its_canonical_name() {
    let home = tempfile::tempdir().unwrap();
    let setup = " && printf mailout > /proc/sys/kernel/hostname";
    let hosts = "127.0.1.1 mailout.example.net mailout\n";
    let Some(client) = with_hosts(home.path(), hosts, setup) else { return println!("{NO_SPACE}") };
    let server = hears("LHLO mailout.example.net", "MAIL FROM:<\"CORP\\\\joe\"@mailout.example.net>{any}");
    let client = client.args(server.destination()).typed("-t a@example.net").env("LOGNAME", r"CORP\joe");
    let ran = client.input(MESSAGE).run();
    server.finish();
    ran.exits(75);
}

/// A program `getent` in `home` that leaves a trace, and does `then`.
fn getent(home: &Path, then: &str) -> String {
    let path = home.join("getent");
    fs::write(&path, format!("#!/bin/sh\n: > {}/asked\n{then}\n", home.display())).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    format!("{}:{}", home.display(), std::env::var("PATH").unwrap())
}

#[test]
fn the_resolver_is_asked_for_the_canonical_name_only_where_nothing_else_knows_it() {
    let setup = " && printf mailout > /proc/sys/kernel/hostname";
    for (options, then, lhlo, asked) in [
        ("-f me@x", "echo '192.0.2.1 STREAM mailout.example.org'", "LHLO mailout.example.org", true),
        ("-f me@x --timeout 1", "sleep 30", "LHLO mailout", true),
        ("-f me@x", "exit 2", "LHLO mailout", true),
        ("-f me@x -l given", "exit 1", "LHLO given", false),
    ] {
        let home = tempfile::tempdir().unwrap();
        let path = getent(home.path(), then);
        let client = with_hosts(home.path(), "127.0.0.1 localhost\n", setup);
        let Some(client) = client else { return println!("{NO_SPACE}") };
        let server = hears(lhlo, "MAIL FROM:<me@x>{any}");
        let client = client.env("PATH", path).args(server.destination()).typed("-t a@example.net");
        let ran = client.typed(options).run();
        server.finish();
        ran.exits(75).within(6.0);
        assert_eq!(home.path().join("asked").exists(), asked, "{options}: {then}");
    }
}

#[test]
fn what_is_missing_for_a_sender_is_named() {
    let home = tempfile::tempdir().unwrap();
    let setup = " && printf '(none)' > /proc/sys/kernel/hostname";
    let Some(client) = with_hosts(home.path(), "", setup) else { return println!("{NO_SPACE}") };
    let ran = client.typed("--exec true -t a@example.net").input(MESSAGE).run().exits(75);
    ran.says("4.3.5", "this host has no domain name (hostname); give --from");
}

#[test]
fn an_abstract_socket_has_no_file() {
    use std::os::linux::net::SocketAddrExt;
    let name = format!("lmtp-send-test-{}", std::process::id());
    let address = std::os::unix::net::SocketAddr::from_abstract_name(&name).unwrap();
    let listener = UnixListener::bind_addr(&address).unwrap();
    let running = Client::new().typed(ONE).args(["--socket", &format!("@{name}")]).start();
    let (stream, _) = listener.accept().unwrap();
    delivers(&mut Peer::new(stream.into())).unwrap();
    running.wait().exits(0).outcomes(&["delivered"]);
    // A file of that name is another one.
    let ran = Client::new().typed(TWO).args(["--socket", &format!("./@{name}")]).run();
    not_reached(ran, "4.4.1 ").says("4.4.1", "No such file or directory: the server is not running");
}

#[test]
fn what_is_no_host_or_no_socket_is_answered_with_the_option_that_was_meant() {
    for (options, meant) in [
        ("-H /run/lmtp", "--socket /run/lmtp"),
        ("-H unix:/run/lmtp", "--socket /run/lmtp"),
        ("-H lmtp://mailbox:2003", "--host mailbox:2003"),
        ("-H tcp:mailbox:2003", "--host mailbox:2003"),
        ("-S mailbox:24", "--host mailbox:24"),
        ("-S 127.0.0.1", "--host 127.0.0.1"),
    ] {
        let ran = Client::new().typed(ONE).typed(options).run().exits(64);
        assert!(ran.stderr.contains(meant), "{options}: {}", ran.stderr);
    }
}

#[test]
fn an_argument_that_is_not_utf8_is_said_to_be_that() {
    use std::os::unix::ffi::OsStrExt;
    for option in ["--to", "--from", "--lhlo", "--envid"] {
        let word = std::ffi::OsStr::from_bytes(b"j\xf6rg@example.net");
        let ran = Client::new().typed("--exec true -t joe").args([option.as_ref(), word]).run().exits(65);
        ran.says("5.1.3", &format!(r"{option}: 'j\xf6rg@example.net' is not UTF-8"));
    }
}

#[test]
fn a_port_has_a_name() {
    let home = tempfile::tempdir().unwrap();
    let services = home.path().join("services");
    let server = Server::tcp(delivers);
    let port = server.name().rsplit(':').next().unwrap().to_owned();
    fs::write(&services, format!("lmtp {port}/tcp mailtest\n")).unwrap();
    let mount = format!("mount --bind {} /etc/services", services.display());
    let Some(client) = in_own_space(&mount) else {
        server.outcome().unwrap_err();
        return println!("{NO_SPACE}");
    };
    let ran = client.typed(ONE).typed("-H 127.0.0.1 -p mailtest").run();
    server.finish();
    ran.exits(0);
    let ran = in_own_space(&mount).unwrap().typed(ONE).typed("-H 127.0.0.1:lmpt").run().exits(64);
    assert!(ran.stderr.contains("'lmpt' is neither a port nor a service"), "{}", ran.stderr);
}

#[test]
fn a_silent_port_may_expect_what_comes_before_the_greeting() {
    let silent = Server::tcp(|peer| peer.silence());
    let ran = Client::to(&silent).typed(TWO).typed("--timeout 0.3").run();
    silent.finish();
    let ran = ran.exits(75).stages(&["greeting"; 2]);
    for hint in ["TLS from the first octet (--tls implicit)", "the PROXY protocol"] {
        assert!(ran.stderr.contains(hint), "{}", ran.stderr);
    }
}

#[test]
fn other_protocols_are_known_by_their_greeting() {
    for (greeting, protocol) in [
        ("* OK [CAPABILITY IMAP4rev1] Dovecot ready.", "an IMAP port"),
        ("+OK Dovecot ready.", "a POP3 port"),
        ("SSH-2.0-OpenSSH_9.2p1", "an SSH port"),
        ("HTTP/1.1 400 Bad Request", "an HTTP port"),
        ("\"IMPLEMENTATION\" \"Dovecot Pigeonhole\"", "a ManageSieve port"),
    ] {
        let server = Server::tcp(move |peer| {
            peer.say(greeting)?;
            peer.close()
        });
        let ran = Client::to(&server).typed(TWO).run();
        server.finish();
        ran.exits(75).stages(&["greeting"; 2]).says("4.5.0", &format!("this is {protocol}"));
    }
}

#[test]
fn a_program_that_ends_before_its_greeting_is_told_by_how_it_ended() {
    for (script, said) in [
        ("exit 3", "the program ended (exit status: 3) while waiting for the greeting"),
        ("kill -9 $$", "the program ended (signal: 9 (SIGKILL)) while waiting for the greeting"),
        ("echo 220 hi; exit 4", "the program ended (exit status: 4) while waiting for the reply to LHLO"),
    ] {
        let ran = Client::new().typed(TWO).args(["--exec", &format!("sh -c '{script}'")]).run();
        ran.exits(75).outcomes(&["deferred"; 2]).says("4.4.2", said);
    }
}

#[test]
fn connection_refused() {
    let unused = Unused::port();
    let host = unused.host();
    let ran = not_reached(Client::new().typed(TWO).args(["--host", &host]).run(), "4.4.1 ");
    assert!(ran.stderr.contains(&host), "{}", ran.stderr);
}

#[test]
fn connection_refused_on_the_port_given_apart() {
    let unused = Unused::port();
    let port = unused.port.to_string();
    let ran = Client::new().typed(TWO).args(["-H", "127.0.0.1", "-p", &port]).run();
    assert!(not_reached(ran, "4.4.1 ").stderr.contains(&port));
}

#[test]
fn connection_refused_in_other_styles() {
    let unused = Unused::port();
    let host = unused.host();
    for (style, code) in [("shell", 75), ("qmail", 111)] {
        let ran = Client::new().typed(ONE).args(["--host", &host, "--exit-style", style]).run();
        assert_eq!(ran.code(), code, "{style}: {}", ran.stderr);
    }
}

#[test]
fn the_first_host_refuses_the_connection_and_the_second_takes_the_mail() {
    let server = Server::tcp(delivers);
    let unused = Unused::port();
    let refusing = unused.host();
    let ran = Client::new().typed(ONE).args(["-H", &refusing, "-H", server.name()]).run();
    server.finish();
    let ran = ran.exits(0).outcomes(&["delivered"]);
    assert!(ran.report()[0]["server"].as_str().is_some_and(|server| !server.contains(&refusing)));
}

#[test]
fn the_first_host_takes_no_session_and_the_second_takes_the_mail() {
    for first in ["421 4.3.2 shutting down", "554 no service", "450 busy", "hello"] {
        let busy = Server::tcp(move |peer| {
            peer.say(first)?;
            peer.close()
        });
        let server = Server::tcp(delivers);
        let ran = Client::new().typed(ONE).args(["-H", busy.name(), "-H", server.name()]).run();
        busy.finish();
        server.finish();
        ran.exits(0).outcomes(&["delivered"]);
    }
}

#[test]
fn the_first_host_is_silent_and_the_second_takes_the_mail() {
    let silent = Server::tcp(|peer| peer.silence());
    let server = Server::tcp(delivers);
    let ran =
        Client::new().typed(ONE).args(["-H", silent.name(), "-H", server.name(), "--timeout", "0.4"]).run();
    silent.finish();
    server.finish();
    ran.exits(0).outcomes(&["delivered"]).within(4.0);
}

#[test]
fn a_verdict_of_the_first_host_is_not_asked_for_again() {
    let first = Server::tcp(|peer| {
        peer.session(&[])?;
        peer.expect("MAIL {any}")?;
        peer.say("451 4.3.0 not now")?;
        peer.quit(&[])
    });
    let second = Server::unused();
    let ran = Client::new().typed(ONE).args(["-H", first.name(), "-H", second.name()]).run();
    first.finish();
    second.finish();
    ran.exits(75).outcomes(&["deferred"]).stages(&["mail"]);
}

#[test]
fn no_host_of_several_takes_the_mail() {
    let unused = [Unused::port(), Unused::port()];
    let [first, second] = unused.each_ref().map(Unused::host);
    let ran = Client::new().typed(TWO).args(["-H", &first, "-H", &second]).run();
    not_reached(ran, "4.4.1 ");
}

#[test]
fn full_backlog_of_a_tcp_server() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listen(&listener, 0).unwrap();
    let address = listener.local_addr().unwrap();
    // Fills the queue; what does not fit is left waiting by the system.
    let waiting: Vec<_> = (0..3).map(|_| TcpStream::connect_timeout(&address, STEP)).collect();
    let host = address.to_string();
    let ran = Client::new().typed(TWO).args(["--timeout", "0.5", "--host", &host]).run();
    not_reached(ran, "4.4.1 ");
    drop(waiting);
}

const STEP: std::time::Duration = std::time::Duration::from_millis(100);

/// Connections that fill the backlog of the listener at `path`.
fn fill(path: &Path) -> Vec<OwnedFd> {
    let address = SocketAddrUnix::new(path).unwrap();
    let mut waiting = Vec::new();
    loop {
        let socket =
            socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::NONBLOCK, None).unwrap();
        match connect(&socket, &address) {
            Ok(()) => waiting.push(socket),
            Err(rustix::io::Errno::AGAIN) => return waiting,
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn full_backlog_of_a_unix_socket() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("lmtp");
    let listener = UnixListener::bind(&path).unwrap();
    listen(&listener, 0).unwrap();
    let waiting = fill(&path);
    for limit in ["--timeout 0.5", "--deadline 0.5"] {
        let ran = Client::new().typed(TWO).typed(limit).arg("--socket", &path).run();
        not_reached(ran, "4.4.1 ");
    }
    drop(waiting);
}

#[test]
fn full_backlog_that_empties_in_time() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("lmtp");
    let listener = UnixListener::bind(&path).unwrap();
    listen(&listener, 0).unwrap();
    let waiting = fill(&path);
    let count = waiting.len();
    let running = Client::new().typed(ONE).typed("--timeout 8").arg("--socket", &path).start();
    std::thread::sleep(STEP);
    drop(waiting);
    for _ in 0..count {
        listener.accept().unwrap();
    }
    listener.set_nonblocking(true).unwrap();
    let until = std::time::Instant::now() + crate::scripted::PATIENCE;
    assert!(
        crate::scripted::poll_one(&listener, PollFlags::IN, until).unwrap(),
        "the program did not come back"
    );
    let (stream, _) = listener.accept().unwrap();
    stream.set_nonblocking(false).unwrap();
    delivers(&mut Peer::new(stream.into())).unwrap();
    running.wait().exits(0).outcomes(&["delivered"]);
}

#[test]
fn told_to_stop_while_connecting() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("lmtp");
    let listener = UnixListener::bind(&path).unwrap();
    listen(&listener, 0).unwrap();
    let waiting = fill(&path);
    let running = Client::new().typed(TWO).arg("--socket", &path).start();
    running.ready();
    std::thread::sleep(STEP);
    running.signal(rustix::process::Signal::TERM);
    running.wait().exits(75).outcomes(&["deferred"; 2]).within(4.0);
    drop(waiting);
}

#[test]
fn socket_missing() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("missing");
    let ran = not_reached(Client::new().typed(TWO).arg("--socket", &path).run(), "4.4.1 ");
    assert!(ran.stderr.contains("missing"), "{}", ran.stderr);
}

#[test]
fn socket_without_a_server() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("left-over");
    drop(UnixListener::bind(&path).unwrap());
    not_reached(Client::new().typed(TWO).arg("--socket", &path).run(), "4.4.1 ");
}

#[test]
fn socket_path_that_is_no_socket() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("file");
    fs::write(&file, "").unwrap();
    for path in [&file, &home.path().to_path_buf(), &file.join("below")] {
        not_reached(Client::new().typed(TWO).arg("--socket", path).run(), "4.4.1 ");
    }
    Client::new().typed(TWO).arg("--socket", &file).run().says("4.4.1", "it is not a socket");
}

#[test]
fn source_address_that_is_not_ours() {
    let ran = Client::new().typed(TWO).typed("--host 127.0.0.1 --port 24 --bind 192.0.2.1").run();
    ran.exits(75).says("4.4.1", "--bind 192.0.2.1: ");
}

#[test]
fn socket_path_too_long() {
    let path = format!("/tmp/{}", "x".repeat(200));
    let ran = Client::new().typed(TWO).args(["--socket", &path]).run();
    let ran = ran.exits(75).outcomes(&["deferred"; 2]).within(4.0);
    ran.says("4.4.1", "the path of a socket may have 107 octets, and this one has 205");
    let longest = format!("/tmp/{}", "x".repeat(102));
    let ran = Client::new().typed(TWO).args(["--socket", &longest]).run();
    ran.exits(75).says("4.4.1", "No such file or directory");
}

#[test]
fn socket_that_may_not_be_used() {
    let home = tempfile::tempdir().unwrap();
    let room = home.path().join("room");
    fs::create_dir(&room).unwrap();
    let path = room.join("lmtp");
    let _listener = UnixListener::bind(&path).unwrap();
    // The directory lets nobody through; then the socket itself lets nobody write.
    for (what, mode, named) in [(&room, 0o000, "room"), (&path, 0o000, "lmtp")] {
        fs::set_permissions(what, fs::Permissions::from_mode(mode)).unwrap();
        let ran = Client::unprivileged(home.path()).typed(TWO).arg("--socket", &path).run();
        fs::set_permissions(what, fs::Permissions::from_mode(0o755)).unwrap();
        let ran = not_reached(ran, "4.7.0 ");
        assert!(ran.stderr.contains(named), "names the component that refused: {}", ran.stderr);
        assert!(ran.stderr.contains("uid"), "names who we are: {}", ran.stderr);
    }
}

#[test]
fn socket_that_may_not_be_used_in_the_shells_style() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("lmtp");
    let _listener = UnixListener::bind(&path).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).unwrap();
    let ran =
        Client::unprivileged(home.path()).typed(ONE).arg("--socket", &path).typed("--exit-style shell").run();
    assert_eq!(ran.code(), 77, "{}", ran.stderr);
}

/// The PROXY protocol's header comes before everything, and the first of TLS behind it.
#[test]
fn proxy_header_is_in_front() {
    const HEAD: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
    type Start = fn(Box<dyn FnOnce(&mut Peer) -> Played + Send>) -> Server;
    let (tcp, unix): (Start, Start) = (|script| Server::tcp(script), |script| Server::unix(script));
    for (start, proxy, rest) in [
        (tcp, "192.0.2.7:49152", &[0x21, 0x11, 0, 12, 192, 0, 2, 7, 127, 0, 0, 1, 192, 0][..]),
        (unix, "192.0.2.7", &[0x21, 0x11, 0, 12, 192, 0, 2, 7, 0, 0, 0, 0, 0, 0]),
        (unix, "local", &[0x20, 0, 0, 0]),
    ] {
        let server = start(Box::new(move |peer| {
            let header = peer.octets(HEAD.len() + rest.len())?;
            assert_eq!(header, [HEAD, rest].concat());
            // The server's own port, which an address ends with.
            peer.octets(if rest.len() > 4 { 2 } else { 0 })?;
            delivers(peer)
        }));
        let ran = Client::to(&server).typed(ONE).args(["--proxy", proxy]).run();
        server.finish();
        ran.exits(0);
    }
    let server = Server::tcp(|peer| {
        let octets = peer.octets(28 + 1)?;
        assert_eq!((&octets[..12], octets[28]), (HEAD, 0x16), "a TLS handshake begins so");
        peer.close()
    });
    let ran = Client::to(&server).typed(TWO).typed("--proxy 192.0.2.7 --tls implicit --tls-insecure").run();
    server.finish();
    ran.exits(75).stages(&["tls"; 2]);
}

/// A server that expects no PROXY header takes it for commands: the hint names the option.
#[test]
fn proxy_header_is_not_expected() {
    let server = Server::tcp(|peer| {
        peer.say("220 mailbox LMTP ready")?;
        peer.octets(16)?;
        peer.expect("LHLO {any}")?;
        peer.say_all(&["500 5.5.2 unknown command", "221 bye"])?;
        peer.close()
    });
    let ran = Client::to(&server).typed(ONE).typed("--proxy local").run();
    server.finish();
    let ran = ran.exits(75).stages(&["lhlo"]);
    let hint = "was 500 5.5.2 unknown command; it may not expect the PROXY protocol (--proxy)\n";
    assert!(ran.stderr.ends_with(hint), "{}", ran.stderr);
}

/// A directory that lets nobody through.
fn closed_room(home: &Path) -> std::path::PathBuf {
    let room = home.join("room");
    fs::create_dir(&room).unwrap();
    fs::set_permissions(&room, fs::Permissions::from_mode(0o000)).unwrap();
    room
}

#[test]
fn whatever_may_not_be_used_is_named_with_who_we_are_and_what_refuses() {
    let home = tempfile::tempdir().unwrap();
    let room = closed_room(home.path());
    let path = room.join("file").display().to_string();
    let to = "-H 127.0.0.1:1 --tls starttls";
    for (options, code, status) in [
        (format!("-S {path}"), 75, "4.7.0"),
        (format!("--sink {path}"), 75, "4.3.0"),
        (format!("--exec {path}"), 75, "4.7.0"),
        (format!("--exec {path} --report-file {path}"), 75, "4.7.0"),
        (format!("{to} --tls-ca {path}"), 75, "4.7.0"),
        (format!("{to} --tls-insecure --tls-cert {path} --tls-key {path}"), 75, "4.7.0"),
        (format!("{to} --tls-insecure -u joe --password-file {path}"), 75, "4.7.0"),
        (format!("{to} --tls-insecure -u joe --password-command {path}"), 75, "4.7.0"),
        (format!("--exec true --config {path}"), 75, "4.7.0"),
        (format!("--exec true --config {path} --exit-style shell"), 77, "5.7.0"),
        (format!("--exec true {path}"), 66, "5.3.0"),
    ] {
        let ran = Client::unprivileged(home.path()).typed(ONE).typed(&options).run().exits(code);
        let ran = ran.says(status, &format!("permission denied at {} (running as uid ", room.display()));
        assert!(!ran.stderr.contains("os error"), "{options}: {}", ran.stderr);
    }
    fs::set_permissions(&room, fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn a_program_that_is_missing_is_missing_though_a_directory_of_path_is_closed() {
    let home = tempfile::tempdir().unwrap();
    let room = closed_room(home.path());
    let path = format!("{}:/usr/bin:/bin", room.display());
    let client = || Client::unprivileged(home.path()).typed(ONE).env("PATH", &path);
    let ran = client().typed("--exec no-such-program").run().exits(75);
    let ran = ran.says("4.3.5", "there is no program 'no-such-program' in PATH");
    assert!(ran.stderr.contains(&format!("permission denied at {}", room.display())), "{}", ran.stderr);
    fs::set_permissions(&room, fs::Permissions::from_mode(0o755)).unwrap();
    let script = room.join("server-script");
    fs::write(&script, "#!/no/such/interpreter\n").unwrap();
    client().typed("--exec server-script").run().exits(75).says("4.7.0", "permission denied at ");
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    client().typed("--exec server-script").run().exits(75).says("4.3.5", "server-script names is missing");
}

#[test]
fn no_error_is_told_by_its_number() {
    let unused = Unused::port();
    let host = unused.host();
    for options in [
        format!("-H {host}"),
        "-S /nonexistent/socket".into(),
        "--exec /nonexistent/program".into(),
        "--exec true /nonexistent/message".into(),
        "--exec true /proc/self/mem".into(),
        "--exec true --report-file /nonexistent/report".into(),
        format!("-H {host} --tls implicit --tls-ca /nonexistent/ca"),
        format!("-H {host} --tls implicit --tls-insecure -u joe --password-file /nonexistent/password"),
        format!("-H {host} --tls implicit --tls-insecure -u joe --password-command /nonexistent/program"),
        "--sink /proc/inbox".into(),
    ] {
        let ran = Client::new().typed(ONE).typed(&options).run();
        assert!(matches!(ran.code(), 66 | 75), "{options}: {}", ran.stderr);
        assert!(!ran.stderr.contains("os error") && !ran.stdout.contains("os error"), "{}", ran.stderr);
    }
}
