//! Whether the DNS says that a name does not exist. getent(1) does not tell that from a failure to look it up.

use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use crate::stop::Stop;

/// How long a server's answer is waited for (resolv.conf(5) allows 5 s; this is the second time that it is asked).
const ANSWER_WAIT: Duration = Duration::from_secs(2);
/// The response code for a name that does not exist (RFC 1035 §4.1.1).
const NAME_ERROR: u8 = 3;

/// What resolv.conf(5) says.
#[derive(Debug, PartialEq, Eq)]
struct ResolvConf {
    servers: Vec<SocketAddr>,
    search: Vec<String>,
}

/// Whether the servers of `/etc/resolv.conf` say, before `until`, that there is no `name`, nor anywhere in the domains
/// that are searched. Names under `local` are not the DNS's to know (RFC 6762 §3).
pub fn denies(name: &str, until: Instant, stop: &Stop) -> bool {
    let configuration = parse(&fs::read_to_string("/etc/resolv.conf").unwrap_or_default());
    let is_local =
        name.trim_end_matches('.').rsplit('.').next().is_some_and(|l| l.eq_ignore_ascii_case("local"));
    let searched = configuration.search.iter().filter(|_| !name.ends_with('.'));
    let mut names = [name.to_owned()].into_iter().chain(searched.map(|domain| format!("{name}.{domain}")));
    !is_local && names.all(|name| all_deny(&configuration.servers, &name, until, stop))
}

fn parse(text: &str) -> ResolvConf {
    let mut configuration = ResolvConf { servers: Vec::new(), search: Vec::new() };
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace();
        match words.next() {
            Some("nameserver") => {
                let address = words.next().and_then(|word| word.parse::<IpAddr>().ok());
                configuration.servers.extend(address.map(|address| SocketAddr::new(address, 53)));
            }
            // The last one counts.
            Some("search" | "domain") => configuration.search = words.map(str::to_owned).collect(),
            _ => {}
        }
    }
    configuration
}

/// Whether the first of `servers` that answers denies `name`.
fn all_deny(servers: &[SocketAddr], name: &str, until: Instant, stop: &Stop) -> bool {
    let id = getrandom::u32().unwrap_or_else(|_| std::process::id()).to_be_bytes();
    let id = [id[0], id[1]];
    let Some(question) = question(id, name) else { return false };
    let codes = servers.iter().find_map(|server| ask(*server, id, &question, until, stop).ok());
    codes == Some(NAME_ERROR)
}

/// The code of the server's response.
fn ask(server: SocketAddr, id: [u8; 2], question: &[u8], until: Instant, stop: &Stop) -> io::Result<u8> {
    let any: IpAddr = if server.is_ipv6() {
        std::net::Ipv6Addr::UNSPECIFIED.into()
    } else {
        std::net::Ipv4Addr::UNSPECIFIED.into()
    };
    let socket = UdpSocket::bind((any, 0))?;
    // Only this server is heard.
    socket.connect(server)?;
    socket.set_nonblocking(true)?;
    socket.send(question)?;
    let until = until.min(Instant::now() + ANSWER_WAIT);
    loop {
        stop.wait(Some(socket.as_fd()), None, until)?;
        let mut answer = [0; 512];
        let length = socket.recv(&mut answer)?;
        // A response (the first flag) to what was asked.
        if let [a, b, flags, code, ..] = *answer.get(..length).unwrap_or_default()
            && [a, b] == id
            && flags & 0x80 != 0
        {
            return Ok(code & 0x0f);
        }
    }
}

/// A query for the addresses of `name` (RFC 1035 §4.1); `None`: the DNS has no such names.
fn question(id: [u8; 2], name: &str) -> Option<Vec<u8>> {
    // Recursion desired; one question.
    let mut octets = [&id[..], &[1, 0, 0, 1, 0, 0, 0, 0, 0, 0]].concat();
    for label in name.trim_end_matches('.').split('.') {
        let length = u8::try_from(label.len()).ok().filter(|length| (1..64).contains(length))?;
        octets.push(length);
        octets.extend(label.bytes());
    }
    // The root; type A, class IN.
    octets.extend([0, 0, 1, 0, 1]);
    (name.is_ascii() && name.len() <= 254).then_some(octets)
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn the_configuration_is_read() {
        let text = "# x\nnameserver 192.0.2.1\ndomain a.example\nnameserver ::1\nsearch b.example c.example\noptions x\n";
        let servers = vec!["192.0.2.1:53".parse().unwrap(), "[::1]:53".parse().unwrap()];
        let search = vec!["b.example".to_owned(), "c.example".to_owned()];
        assert_eq!(parse(text), ResolvConf { servers, search });
    }

    #[test]
    fn only_what_a_server_denies_does_not_exist() {
        let stop = Stop::catch(75).unwrap();
        let until = Instant::now() + Duration::from_secs(60);
        let dead = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        for (code, denied) in [(0, false), (2, false), (3, true), (5, false)] {
            let server = UdpSocket::bind("127.0.0.1:0").unwrap();
            let address = server.local_addr().unwrap();
            let answering = thread::spawn(move || {
                let mut query = [0; 512];
                let (length, client) = server.recv_from(&mut query).unwrap();
                assert_eq!(&query[12..length], b"\x07mailbox\x07example\x00\x00\x01\x00\x01");
                server.send_to(&[0; 12], client).unwrap();
                query[2] |= 0x80;
                query[3] = code;
                server.send_to(&query[..length], client).unwrap();
            });
            assert_eq!(all_deny(&[dead, address], "mailbox.example", until, &stop), denied, "{code}");
            answering.join().unwrap();
        }
        assert!(!all_deny(&[dead], "mailbox.example", until, &stop));
        assert!(!all_deny(&[], "mailbox.example", until, &stop));
    }
}
