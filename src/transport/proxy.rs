//! The PROXY protocol, version 2: what a proxy says in front of a session, so that the server learns for whom it is.
//! <https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt>, §2.2.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use crate::cli::Proxy;

const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// Version 2, and whether the session is for the proxy itself or for a client.
const LOCAL: u8 = 0x20;
const PROXY: u8 = 0x21;
/// Address families with SOCK_STREAM.
const UNSPECIFIED: u8 = 0x00;
const TCP4: u8 = 0x11;
const TCP6: u8 = 0x21;

/// The header that says `proxy` to the server at `destination`; `None`: not reached by TCP.
pub fn header(proxy: Proxy, destination: Option<SocketAddr>) -> Vec<u8> {
    let Proxy::Source(source) = proxy else { return put_together(LOCAL, UNSPECIFIED, &[]) };
    let nowhere = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
    let (from, to) = (source.ip().to_canonical(), destination.unwrap_or(nowhere).ip().to_canonical());
    let (family, mut addresses) = match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => (TCP4, [from.octets(), to.octets()].concat()),
        // Of one family only, so IPv4 addresses are mapped beside IPv6 (RFC 4291 §2.5.5.2).
        (from, to) => (TCP6, [from, to].map(sixteen).concat()),
    };
    addresses.extend(source.port().to_be_bytes());
    addresses.extend(destination.unwrap_or(nowhere).port().to_be_bytes());
    put_together(PROXY, family, &addresses)
}

fn sixteen(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    }
}

fn put_together(command: u8, family: u8, addresses: &[u8]) -> Vec<u8> {
    // 36 octets at most.
    let length = u16::try_from(addresses.len()).unwrap_or_default().to_be_bytes();
    [SIGNATURE.as_slice(), &[command, family], &length, addresses].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(source: &str, destination: Option<&str>) -> Vec<u8> {
        header(Proxy::Source(source.parse().unwrap()), destination.map(|to| to.parse().unwrap()))
    }

    #[test]
    fn the_header_is_as_the_protocol_has_it() {
        let with = |rest: &[u8]| [SIGNATURE.as_slice(), rest].concat();
        assert_eq!(header(Proxy::Local, None), with(&[0x20, 0, 0, 0]));
        assert_eq!(
            said("192.0.2.7:49152", Some("127.0.0.1:24")),
            with(&[0x21, 0x11, 0, 12, 192, 0, 2, 7, 127, 0, 0, 1, 192, 0, 0, 24])
        );
        assert_eq!(
            said("192.0.2.7:0", None),
            with(&[0x21, 0x11, 0, 12, 192, 0, 2, 7, 0, 0, 0, 0, 0, 0, 0, 0])
        );
        let six = said("[2001:db8::7]:1", Some("[::1]:24"));
        assert_eq!(six.len(), 12 + 4 + 36);
        assert_eq!(
            (&six[12..16], &six[16..20], &six[48..]),
            (&[0x21, 0x21, 0, 36][..], &[0x20, 1, 0xd, 0xb8][..], &[0, 1, 0, 24][..])
        );
    }

    #[test]
    fn addresses_of_two_families_become_one() {
        let mixed = said("192.0.2.7:1", Some("[2001:db8::1]:24"));
        assert_eq!(mixed[13], TCP6);
        assert_eq!(mixed[16..32], [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 192, 0, 2, 7]);
        assert_eq!(said("192.0.2.7:1", Some("[::ffff:127.0.0.1]:24"))[13], TCP4);
    }
}
