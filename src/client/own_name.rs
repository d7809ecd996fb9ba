//! What this host is called.

use crate::lmtp::Address;

/// What is said in LHLO by a host that has no name which could be (RFC 5321 §4.1.3).
pub const ADDRESS_LITERAL: &str = "[127.0.0.1]";

/// What the system is called (`uname -n`), if that is a domain name.
#[must_use]
pub fn host_name() -> Option<String> {
    rustix::system::uname().nodename().to_str().ok().and_then(domain_name)
}

/// `name` without the dot that a root server would have it end in, where that is a domain name in ASCII: not
/// `(none)`, as a host without a name is called, nor `localhost.` and the like misspelt.
#[must_use]
pub fn domain_name(name: &str) -> Option<String> {
    let name = name.strip_suffix('.').unwrap_or(name);
    let address = Address::parse(&format!("x@{name}")).ok()?;
    let domain = address.domain().filter(|domain| domain.is_ascii() && !domain.starts_with('['))?;
    Some(domain.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_has_a_domain_name_or_none() {
        for (name, expected) in [
            ("mailbox", Some("mailbox")),
            ("mailbox.example.net", Some("mailbox.example.net")),
            ("x.local.", Some("x.local")),
            ("my_host", Some("my_host")),
            ("(none)", None),
            ("host..x", None),
            ("host..", None),
            (".", None),
            ("", None),
            ("-x", None),
            ("a b", None),
            ("bücher", None),
            ("[127.0.0.1]", None),
        ] {
            assert_eq!(domain_name(name).as_deref(), expected, "{name}");
        }
    }
}
