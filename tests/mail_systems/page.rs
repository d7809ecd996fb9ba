//! The lines of configuration in the manual, as a reader would type them.

use std::fs;
use std::path::Path;

use crate::servers::Place;

const PAGE: &str = "man/lmtp-send-mail-systems.7";

/// The lines that the page has below `tested as NAME`, with `program` and `place` where the page has its own.
pub fn lines(name: &str, program: &str, place: &Place) -> String {
    let words = place.options();
    let joined: Vec<String> = words.chunks(2).map(|pair| pair.join("=")).collect();
    printed(name)
        .replace("/usr/bin/lmtp-send", program)
        .replace("--socket=/run/dovecot/lmtp", &joined.join(" "))
        .replace("--socket /run/dovecot/lmtp", &words.join(" "))
}

/// The same, untouched.
pub fn printed(name: &str) -> String {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(PAGE)).unwrap();
    let marker = format!(".\\\" tested as {name}\n");
    let (_, below) = page.split_once(&marker).unwrap_or_else(|| panic!("{PAGE} has no '{marker}'"));
    let (_, block) = below.split_once("\n.EX\n").unwrap();
    let (block, _) = block.split_once(".EE\n").unwrap();
    block.replace("\\-", "-").replace("\\e", "\\").replace("\\&", "").replace("\\(aq", "'")
}
