//! The server cannot be found or reached. Nothing of that says anything about a recipient: it is 75, always.

use std::fs;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::Path;

use rustix::event::PollFlags;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, listen, socket_with};

use super::{ONE, TWO};
use crate::scripted::{Client, Peer, Played, Ran, Server};

/// A port on which nobody listens.
fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

/// A server's script that delivers one message to one recipient.
fn delivers(peer: &mut Peer) -> Played {
    peer.session(&["PIPELINING"])?;
    peer.envelope(1)?;
    peer.message()?;
    peer.expect("QUIT")?;
    peer.say_all(&["250 delivered", "221 bye"])?;
    peer.end()
}

#[track_caller]
fn not_reached(ran: Ran, status: &str) -> Ran {
    let ran = ran.exits(75).outcomes(&["deferred"; 2]).stages(&["connect"; 2]).within(4.0);
    assert!(ran.stderr.starts_with(status), "expected {status}: {}", ran.stderr);
    ran
}

#[test]
fn host_not_found() {
    let ran = Client::new().typed(TWO).typed("--timeout 1 --host no-such-host.invalid").run();
    let ran = not_reached(ran, "4.4.");
    assert!(ran.stderr.contains("no-such-host.invalid"), "{}", ran.stderr);
}

#[test]
fn connection_refused() {
    let host = format!("127.0.0.1:{}", free_port());
    let ran = not_reached(Client::new().typed(TWO).args(["--host", &host]).run(), "4.4.1 ");
    assert!(ran.stderr.contains(&host), "{}", ran.stderr);
}

#[test]
fn connection_refused_on_the_port_given_apart() {
    let port = free_port().to_string();
    let ran = Client::new().typed(TWO).args(["-H", "127.0.0.1", "-p", &port]).run();
    assert!(not_reached(ran, "4.4.1 ").stderr.contains(&port));
}

#[test]
fn connection_refused_in_other_styles() {
    let host = format!("127.0.0.1:{}", free_port());
    for (style, code) in [("shell", 75), ("qmail", 111)] {
        let ran = Client::new().typed(ONE).args(["--host", &host, "--exit-style", style]).run();
        assert_eq!(ran.code(), code, "{style}: {}", ran.stderr);
    }
}

#[test]
fn the_first_host_refuses_the_connection_and_the_second_takes_the_mail() {
    let server = Server::tcp(delivers);
    let refusing = format!("127.0.0.1:{}", free_port());
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
        peer.expect("QUIT")?;
        peer.say("221 bye")?;
        peer.end()
    });
    let second = Server::unused();
    let ran = Client::new().typed(ONE).args(["-H", first.name(), "-H", second.name()]).run();
    first.finish();
    second.finish();
    ran.exits(75).outcomes(&["deferred"]).stages(&["mail"]);
}

#[test]
fn no_host_of_several_takes_the_mail() {
    let hosts = [free_port(), free_port()].map(|port| format!("127.0.0.1:{port}"));
    let ran = Client::new().typed(TWO).args(["-H", &hosts[0], "-H", &hosts[1]]).run();
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
fn fill(path: &Path) -> Vec<rustix::fd::OwnedFd> {
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
    Client::new().typed(TWO).arg("--socket", &file).run().says("4.4.1", "that is not a socket");
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
    ran.exits(75).outcomes(&["deferred"; 2]).within(4.0);
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
