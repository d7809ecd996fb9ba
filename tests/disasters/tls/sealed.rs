//! A scripted server behind TLS: a bridge takes TLS off, carries what is in it to the script and back, and ends the
//! connection as it is told when the script closes it.
//!
//! Every octet of a reply is a TLS record of its own. What the script does not read stays with the client, apart from
//! small buffers. What the client leaves unfinished, a record that is cut off, is not seen by the script.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::{Arc, LazyLock};
use std::thread;
use std::time::Duration;

use rcgen::{CertificateParams, KeyPair};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection};

use crate::scripted::{PATIENCE, Peer, Played, Server};

/// A certificate for the servers, and another one that is not theirs.
static CERTIFICATES: LazyLock<Certificates> = LazyLock::new(Certificates::new);

pub struct Certificates {
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

    pub fn path(name: &str) -> PathBuf {
        CERTIFICATES.home.path().join(name)
    }

    pub fn server() -> ServerConnection {
        ServerConnection::new(Arc::clone(&CERTIFICATES.config)).unwrap()
    }
}

/// How a connection ends when the script closes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// In the orderly way of TLS.
    Notified,
    /// By FIN alone: what came may be a part.
    Truncated,
    /// By RST.
    Reset,
}

/// A scripted server behind TLS.
pub struct Sealed {
    pub server: Server,
    pub place: [String; 2],
    _home: tempfile::TempDir,
}

impl Sealed {
    /// On a port of 127.0.0.1.
    pub fn tcp(
        mode: &'static str,
        end: End,
        script: impl FnOnce(&mut Peer) -> Played + Send + 'static,
    ) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        rustix::net::sockopt::set_socket_recv_buffer_size(&listener, 32 * 1024).unwrap();
        let place = ["--host".into(), listener.local_addr().unwrap().to_string()];
        Self::start(mode, end, place, listener.into(), tempfile::tempdir().unwrap(), script)
    }

    /// On a Unix socket.
    pub fn unix(
        mode: &'static str,
        end: End,
        script: impl FnOnce(&mut Peer) -> Played + Send + 'static,
    ) -> Self {
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
        Self { server, place, _home: home }
    }
}

/// Carries a connection to the scripted server. What fails ends both connections, which the script notices.
fn bridge(mut wire: &TcpStream, mut plain: &UnixStream, mode: &str, end: End) -> io::Result<()> {
    wire.set_read_timeout(Some(PATIENCE))?;
    // On a Unix socket there is nothing to set.
    wire.set_nodelay(true).ok();
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
