//! Disasters under TLS: in the handshake, and at each stage of a session that is encrypted.
//!
//! The handshakes that fail are played by a scripted server that speaks for itself. A session that is encrypted
//! is a scripted server behind a bridge ([`Sealed`]), which takes TLS off and ends the connection as it is told
//! when the script closes it.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::mpsc::channel;
use std::sync::{Arc, LazyLock};
use std::thread;
use std::time::Duration;

use rcgen::{CertificateParams, KeyPair};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection};

use super::{At, TWO, saw_no_message};
use crate::scripted::{Client, PATIENCE, Peer, Played, Ran, Server};

const MODES: [&str; 2] = ["implicit", "starttls"];

/// A certificate for the servers, and another one that is not theirs.
static CERTIFICATES: LazyLock<Certificates> = LazyLock::new(Certificates::new);

struct Certificates {
    home: tempfile::TempDir,
    config: Arc<ServerConfig>,
}

impl Certificates {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let names = ["127.0.0.1", "mailbox.example.net"].map(str::to_owned).to_vec();
        let [(key, certificate), (_, other)] = [(); 2].map(|()| {
            let key = KeyPair::generate().unwrap();
            let certificate = CertificateParams::new(names.clone()).unwrap().self_signed(&key).unwrap();
            (key, certificate)
        });
        std::fs::write(home.path().join("ours.pem"), certificate.pem()).unwrap();
        std::fs::write(home.path().join("other.pem"), other.pem()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let config =
            builder.unwrap().with_no_client_auth().with_single_cert(vec![certificate.der().clone()], key);
        Self { home, config: Arc::new(config.unwrap()) }
    }

    fn path(name: &str) -> PathBuf {
        CERTIFICATES.home.path().join(name)
    }

    fn server() -> ServerConnection {
        ServerConnection::new(Arc::clone(&CERTIFICATES.config)).unwrap()
    }
}

/// How a connection ends when the script closes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// In the orderly way of TLS.
    Notified,
    /// By FIN alone: what came may be a part.
    Truncated,
    /// By RST.
    Reset,
}

/// A scripted server behind TLS.
struct Sealed {
    server: Server,
    mode: &'static str,
    place: [String; 2],
    _home: tempfile::TempDir,
}

impl Sealed {
    /// On a port of 127.0.0.1.
    fn tcp(mode: &'static str, end: End, script: impl FnOnce(&mut Peer) -> Played + Send + 'static) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        rustix::net::sockopt::set_socket_recv_buffer_size(&listener, 32 * 1024).unwrap();
        let place = ["--host".into(), listener.local_addr().unwrap().to_string()];
        Self::start(mode, end, place, listener.into(), tempfile::tempdir().unwrap(), script)
    }

    /// On a Unix socket.
    fn unix(mode: &'static str, end: End, script: impl FnOnce(&mut Peer) -> Played + Send + 'static) -> Self {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("sealed");
        let listener = UnixListener::bind(&path).unwrap();
        Self::start(mode, end, ["--socket".into(), path.display().to_string()], listener.into(), home, script)
    }

    fn start(
        mode: &'static str,
        end: End,
        place: [String; 2],
        listener: OwnedFd,
        home: tempfile::TempDir,
        script: impl FnOnce(&mut Peer) -> Played + Send + 'static,
    ) -> Self {
        let server = Server::unix(script);
        let inside = server.name().to_owned();
        thread::spawn(move || {
            let wire = TcpStream::from(rustix::net::accept(&listener)?);
            let plain = UnixStream::connect(inside)?;
            rustix::net::sockopt::set_socket_send_buffer_size(&plain, 4096)?;
            bridge(&wire, &plain, mode, end)
        });
        Self { server, mode, place, _home: home }
    }

    fn client(&self) -> Client {
        client(self.mode).args(&self.place).args(["--tls-name", "mailbox.example.net"])
    }
}

/// The program with TLS, for two recipients.
fn client(mode: &str) -> Client {
    Client::new().typed(TWO).args(["--tls", mode]).arg("--tls-ca", &Certificates::path("ours.pem"))
}

/// Carries a connection to the scripted server. What fails ends both connections, which the script notices.
fn bridge(mut wire: &TcpStream, mut plain: &UnixStream, mode: &str, end: End) -> io::Result<()> {
    wire.set_read_timeout(Some(PATIENCE))?;
    if mode == "starttls" {
        let mut greeting = [0; 100];
        let read = plain.read(&mut greeting)?;
        for reply in [&greeting[..read], b"250-mailbox\r\n250 STARTTLS\r\n", b"220 go on\r\n"] {
            wire.write_all(reply)?;
            if !reply.starts_with(b"220 go") {
                assert!(wire.read(&mut [0; 1000])? > 0, "LHLO, then STARTTLS");
            }
        }
    }
    let mut tls = Certificates::server();
    while tls.is_handshaking() {
        tls.complete_io(&mut wire)?;
    }
    plain.set_nonblocking(true)?;
    relay(wire, plain, &mut tls, end)
}

/// Carries octets both ways, no more from the client than the script takes.
fn relay(
    mut wire: &TcpStream,
    mut plain: &UnixStream,
    tls: &mut ServerConnection,
    end: End,
) -> io::Result<()> {
    let (mut taken, mut open, mut buffer) = (Vec::new(), true, vec![0; 65_536]);
    loop {
        // The handshake may have brought some already.
        while let Ok(count @ 1..) = tls.reader().read(&mut buffer) {
            taken.extend(&buffer[..count]);
        }
        let from_script = if open { PollFlags::IN } else { PollFlags::empty() };
        let both = if taken.is_empty() { from_script } else { from_script | PollFlags::OUT };
        let from_client = if taken.is_empty() { PollFlags::IN } else { PollFlags::empty() };
        let mut fds = [PollFd::new(&plain, both), PollFd::new(&wire, from_client)];
        poll(&mut fds, Some(&Timespec { tv_sec: 20, tv_nsec: 0 }))?;
        let [inside, outside] = fds.map(|fd| fd.revents());
        if inside.contains(PollFlags::OUT) {
            let written = plain.write(&taken)?;
            taken.drain(..written);
        }
        if inside.contains(PollFlags::IN) {
            let read = plain.read(&mut buffer)?;
            open = read > 0;
            say(wire, tls, &buffer[..read])?;
            if !open && finish(wire, tls, end)? {
                return Ok(());
            }
        }
        if taken.is_empty() && outside.intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR) {
            let read = tls.read_tls(&mut wire)?;
            tls.process_new_packets().map_err(io::Error::other)?;
            if read == 0 {
                return Ok(());
            }
        }
    }
}

/// Sends `octets`, each in a TLS record of its own.
fn say(mut wire: &TcpStream, tls: &mut ServerConnection, octets: &[u8]) -> io::Result<()> {
    for octet in octets {
        tls.writer().write_all(&[*octet])?;
        tls.write_tls(&mut wire)?;
    }
    Ok(())
}

/// Ends our side of the connection. Whether that was the end of it.
fn finish(mut wire: &TcpStream, tls: &mut ServerConnection, end: End) -> io::Result<bool> {
    if end == End::Notified {
        tls.send_close_notify();
        tls.write_tls(&mut wire)?;
    }
    if end == End::Reset {
        // Give what was said the time to arrive before the reset can overtake it.
        thread::sleep(Duration::from_millis(100));
        rustix::net::sockopt::set_socket_linger(wire, Some(Duration::ZERO))?;
        return Ok(true);
    }
    wire.shutdown(Shutdown::Write)?;
    Ok(false)
}

/// Plays a session as far as TLS is to begin.
fn before_tls(peer: &mut Peer, mode: &str) -> Played {
    if mode == "implicit" {
        return Ok(());
    }
    peer.session(&["STARTTLS"])?;
    peer.expect("STARTTLS")?;
    peer.say("220 go on")
}

/// Takes the ClientHello, and gives the whole answer to it.
fn hello(peer: &mut Peer) -> Played<Vec<u8>> {
    let head = peer.octets(5)?;
    let body = peer.octets(usize::from(head[3]) * 256 + usize::from(head[4]))?;
    let mut tls = Certificates::server();
    for octets in [&head, &body] {
        tls.read_tls(&mut &octets[..]).map_err(|error| error.to_string())?;
    }
    tls.process_new_packets().map_err(|error| error.to_string())?;
    let mut answer = Vec::new();
    while tls.wants_write() {
        tls.write_tls(&mut answer).map_err(|error| error.to_string())?;
    }
    Ok(answer)
}

/// A handshake that `then` makes a disaster: nothing was sent, nothing is lost.
#[track_caller]
fn handshake(then: fn(&mut Peer) -> Played) -> Vec<Ran> {
    let each = MODES.map(|mode| {
        let server = Server::tcp(move |peer| {
            before_tls(peer, mode)?;
            then(peer)
        });
        let ran = client(mode).args(server.destination()).typed("--timeout 0.5").run();
        println!("{mode}: {}", ran.stderr);
        let heard = saw_no_message(server);
        assert!(!heard.octets.windows(4).any(|word| word == b"MAIL"), "went on in the clear");
        ran.exits(75).outcomes(&["deferred"; 2]).stages(&["tls"; 2]).within(4.0)
    });
    each.into()
}

#[test]
fn tls_connection_lost_before_the_handshake() {
    handshake(Peer::close);
    handshake(|peer| {
        // A reset that comes with the connection is one of connecting.
        peer.octets(1)?;
        peer.reset()
    });
}

#[test]
fn tls_connection_lost_after_the_client_hello() {
    handshake(|peer| {
        hello(peer)?;
        peer.close()
    });
}

#[test]
fn tls_connection_lost_in_the_middle_of_the_servers_hello() {
    handshake(|peer| {
        let answer = hello(peer)?;
        peer.send(&answer[..answer.len() / 2])?;
        peer.close()
    });
}

#[test]
fn tls_garbage_for_the_servers_hello() {
    for ran in handshake(|peer| {
        peer.octets(5)?;
        peer.say("220 mailbox LMTP ready")?;
        peer.silence()
    }) {
        ran.says("4.7.0", "not TLS");
    }
}

#[test]
fn tls_silence_in_the_handshake() {
    handshake(Peer::silence);
    handshake(|peer| {
        let answer = hello(peer)?;
        peer.send(&answer[..20])?;
        peer.silence()
    });
}

#[test]
fn tls_plaintext_behind_the_reply_to_starttls() {
    let server = Server::tcp(|peer| {
        peer.session(&["STARTTLS"])?;
        peer.expect("STARTTLS")?;
        peer.say_all(&["220 go on", "250 injected"])?;
        peer.silence()
    });
    let ran = client("starttls").args(server.destination()).run();
    saw_no_message(server);
    ran.exits(75).says("4.5.0", "").outcomes(&["deferred"; 2]).within(4.0);
}

#[test]
fn tls_certificate_not_trusted_or_of_another_name() {
    let other = Certificates::path("other.pem").display().to_string();
    for mode in MODES {
        for wrong in [["--tls-ca", &other], ["--tls-name", "other.example.net"]] {
            for (style, code) in [("mta", 75), ("shell", 77)] {
                let sealed = Sealed::tcp(mode, End::Notified, |peer| {
                    peer.say("220 mailbox")?;
                    peer.end()
                });
                let ca = Certificates::path("ours.pem").display().to_string();
                let given = [["--tls-ca", &ca], ["--tls-name", "mailbox.example.net"]];
                let given = given.into_iter().filter(|option| option[0] != wrong[0]).flatten();
                let client = Client::new().typed(TWO).args(&sealed.place).args(["--tls", mode]);
                let ran = client.args(given).args(wrong).args(["--exit-style", style]).run();
                sealed.server.finish();
                assert_eq!(ran.code(), code, "{mode} {wrong:?}: {}", ran.stderr);
                assert!(ran.stderr.contains("7.0 "), "{}", ran.stderr);
                assert!(ran.stderr.contains("not verified"), "{}", ran.stderr);
                ran.within(4.0);
            }
        }
    }
}

/// A run against a session that goes as far as `at`, where `then` is the disaster.
#[track_caller]
fn session(at: At, end: End, then: impl Fn(&mut Peer) -> Played + Copy + Send + 'static) {
    for mode in MODES.into_iter().filter(|mode| at > At::Greeting || *mode == "implicit") {
        let sealed = Sealed::tcp(mode, end, move |peer| {
            at.play(peer, mode == "implicit")?;
            then(peer)
        });
        println!("{at:?} {mode} {end:?}");
        let ran = sealed.client().typed("--timeout 0.6").run();
        let heard = sealed.server.finish().pop().unwrap();
        assert_eq!(crate::scripted::holds_final_dot(&heard.octets), at >= At::AfterDot);
        let ran = ran.exits(75).outcomes(&at.outcomes()).within(4.0);
        assert_eq!(ran.report()[1]["stage"], at.stage(), "{}", ran.stdout);
    }
}

/// Where a short message does not stop.
const STAGES: [At; 7] =
    [At::Greeting, At::Lhlo, At::Mail, At::Rcpt, At::Data, At::AfterDot, At::BetweenReplies];

#[test]
fn tls_connection_lost_at_each_stage() {
    for at in STAGES {
        for end in [End::Notified, End::Truncated, End::Reset] {
            session(at, end, Peer::close);
        }
    }
}

#[test]
fn tls_half_a_reply_at_each_stage() {
    // What was cut off is no reply, however much like one it looks.
    for at in STAGES {
        for half in ["2", "250 delivered", "250 delivered\r", "250-delivered\r\n", "250-delivered\r\n250"] {
            session(at, End::Truncated, move |peer| {
                peer.send(half.as_bytes())?;
                peer.close()
            });
        }
    }
}

#[test]
fn tls_timed_out_at_each_stage() {
    for at in STAGES {
        session(at, End::Truncated, Peer::silence);
    }
}

/// A message of `size` octets, in lines.
fn message(size: usize) -> Vec<u8> {
    [&b"Subject: large\r\n\r\n"[..], &[&[b'x'; 62][..], b"\r\n"].concat().repeat(size / 64)].concat()
}

#[test]
fn tls_server_stops_reading_and_falls_silent() {
    // What waits in the program when it gives up must not be sent as it leaves.
    type Start = fn(&'static str, Box<dyn FnOnce(&mut Peer) -> Played + Send>) -> Sealed;
    let tcp: Start = |mode, script| Sealed::tcp(mode, End::Truncated, script);
    let unix: Start = |mode, script| Sealed::unix(mode, End::Truncated, script);
    for (start, size) in [(tcp, 6_400_000), (unix, 1_000_000), (unix, 300_000)] {
        for mode in MODES {
            let (over, word) = channel();
            let sealed = start(
                mode,
                Box::new(move |peer| {
                    At::MidMessage.play(peer, true)?;
                    peer.hold(&word)?;
                    peer.silence()
                }),
            );
            let ran = sealed.client().typed("--timeout 0.6").input(message(size)).run();
            over.send(()).unwrap();
            println!("{mode} {size}: {}", ran.stderr);
            let heard = saw_no_message(sealed.server);
            assert!(heard.octets.len() > 10_000, "{}", heard.octets.len());
            ran.exits(75).outcomes(&["deferred"; 2]).within(4.0);
        }
    }
}

#[test]
fn tls_server_refuses_while_the_message_is_still_being_written() {
    for end in [End::Notified, End::Truncated, End::Reset] {
        for mode in MODES {
            println!("{mode} {end:?}");
            let sealed = Sealed::tcp(mode, end, |peer| {
                At::MidMessage.play(peer, true)?;
                peer.say_all(&["552 5.3.4 too big", "552 5.3.4 too big"])?;
                peer.close()
            });
            let ran = sealed.client().typed("--timeout 5").input(message(6_400_000)).run();
            sealed.server.finish();
            let ran = ran.exits(65).outcomes(&["failed"; 2]).within(5.0);
            assert_eq!(ran.report()[0]["code"], 552, "{}", ran.stdout);
        }
    }
}

#[test]
fn tls_replies_in_records_of_one_octet() {
    for mode in MODES {
        let sealed = Sealed::tcp(mode, End::Notified, |peer| {
            At::BetweenReplies.play(peer, true)?;
            peer.say("250 delivered")?;
            peer.expect("QUIT")?;
            peer.say("221 bye")?;
            peer.end()
        });
        let ran = sealed.client().run();
        sealed.server.finish();
        ran.exits(0).outcomes(&["delivered"; 2]).within(4.0);
    }
}
