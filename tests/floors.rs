//! The rooms of the house: who may use whom.
//!
//! The tables below say which room may use which other, who may use an outside crate, and who may touch the
//! world through the standard library. The tests read the paths in `src/` and hold the tables to be true. Tests
//! are free: what follows `#[cfg(test)]`, at the end of a file, files named `tests.rs` and those in `tests/`.
//!
//! A room is a file `src/NAME.rs` or a directory `src/NAME/`. Its own paths are not looked at.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// What a room may use of the other rooms: a name is all of a room, a path only what it leads to.
const ROOMS: &[(&str, &[&str])] = &[
    ("main", &["cli", "job", "delivery", "query", "exit", "report", "transport", "trouble", "lmtp"]),
    ("report", &["cli::ReportFormat", "exit", "delivery", "job", "process", "trouble", "lmtp"]),
    ("exit", &["cli::ExitStyle", "cli::Uncertain", "lmtp"]),
    ("query", &["delivery", "job", "report", "transport", "exit::Kind", "trouble", "lmtp"]),
    ("delivery", &["job", "process", "transport", "exit::Kind", "trouble", "lmtp", "envelope", "message"]),
    ("job", &["cli", "transport", "exit::Kind", "exit::Policy", "trouble", "lmtp", "envelope", "message"]),
    ("trouble", &["exit::Kind", "lmtp"]),
    ("process", &[]),
    ("transport", &["process", "lmtp"]),
    ("cli", &[]),
    ("lib", &[]),
    ("envelope", &["lmtp", "message"]),
    ("message", &["lmtp", "scan"]),
    ("lmtp", &["scan"]),
    ("scan", &[]),
];

/// Who may use an outside crate. A new dependency says here who needs it.
const CRATES: &[(&str, &[&str])] = &[
    ("anyhow", &["job"]),
    ("clap", &["cli"]),
    ("data_encoding", &["transport", "lmtp"]),
    ("env_logger", &["main"]),
    ("getrandom", &["lmtp"]),
    ("hostname", &["job", "transport"]),
    ("log", &["main", "job", "query", "delivery", "transport", "message", "lmtp"]),
    ("mailparse", &["message"]),
    ("md5", &["lmtp"]),
    ("memchr", &["transport", "lmtp", "scan"]),
    ("ring", &["transport", "lmtp"]),
    ("rustix", &["delivery", "job", "process", "report", "transport"]),
    ("rustls", &["transport"]),
    ("serde", &["report"]),
    ("serde_json", &["report"]),
    ("shell_words", &["job", "transport"]),
    ("signal_hook", &["main", "transport"]),
    ("stringprep", &["lmtp"]),
    ("tempfile", &["message"]),
    ("webpki", &["transport"]),
    ("zeroize", &["lmtp"]),
];

/// Who may touch the world. The protocol knows no socket, process or clock, and of a file only the descriptor that it
/// passes on; `cli` opens nothing.
const WORLD: &[(&str, &[&str])] = &[
    ("std::env", &["main", "job", "transport"]),
    ("std::fs", &["job", "report", "delivery", "process", "transport", "message"]),
    ("std::net::TcpListener", &[]),
    ("std::net::TcpStream", &["transport"]),
    ("std::net::ToSocketAddrs", &["transport"]),
    ("std::net::UdpSocket", &["transport"]),
    ("std::os::fd", &["job", "delivery", "process", "transport", "message", "lmtp"]),
    ("std::os::unix::net", &["transport"]),
    ("std::process::Command", &["job", "transport"]),
    ("std::process::ExitCode", &["main", "exit"]),
    ("std::process::abort", &[]),
    ("std::process::exit", &["main"]),
    ("std::thread", &["message", "transport"]),
    ("std::time::Instant", &["report", "query", "delivery", "job", "transport"]),
    ("std::time::SystemTime", &["report", "delivery", "transport"]),
];

/// Who may print.
const PRINTERS: &[&str] = &["report"];
const PRINT_MACROS: [&str; 5] = ["print", "println", "eprint", "eprintln", "dbg"];

#[test]
fn every_room_uses_only_what_its_row_allows() {
    let files = sources(&at("src"));
    assert!(files.len() > 5, "only {files:?}");
    let breaches: Vec<String> = files
        .iter()
        .flat_map(|path| {
            let place = Place::of(path.strip_prefix(at("src")).unwrap());
            let found = breaches(&place, &fs::read_to_string(path).unwrap());
            found.into_iter().map(|breach| format!("{}: {breach}", path.display()))
        })
        .collect();
    assert!(breaches.is_empty(), "see the tables in tests/floors.rs:\n{}", breaches.join("\n"));
}

#[test]
fn every_dependency_has_a_row() {
    let manifest = fs::read_to_string(at("Cargo.toml")).unwrap();
    let section = manifest.split("\n[dependencies]\n").nth(1).unwrap().split("\n[").next().unwrap();
    for line in section.lines().filter(|line| !line.starts_with('#')) {
        if let Some((name, _)) = line.split_once(" = ") {
            // The one whose library bears another name.
            let name = name.replace('-', "_").replace("rustls_webpki", "webpki");
            assert!(row(CRATES, &name).is_some(), "{name} has no row in tests/floors.rs");
        }
    }
}

#[test]
fn breaches_are_seen() {
    let seen = |file: &str, source: &str| breaches(&Place::of(Path::new(file)), source).len();
    for (file, source, expected) in [
        ("lmtp/session.rs", "use std::fs::File;", 1),
        ("lmtp/session.rs", "use std::{fs, io::{self, Read}, time};", 2),
        ("lmtp/session.rs", "fn f() { let now = std::time::Instant::now(); }", 1),
        ("lmtp/session.rs", "use super::{reply::Reply, Stage}; use crate::lmtp::auth;", 0),
        ("lmtp/session.rs", "use super::super::envelope::Envelope;", 1),
        ("lmtp/session.rs", "// use clap::Parser;\n/* clap:: */ const A: &str = \"clap::\";", 0),
        (
            "lmtp/session.rs",
            "const Q: char = '\"'; use clap::Parser; fn f<'a>() { '\\''; r#\"clap::\"#; }",
            1,
        ),
        ("lmtp/session.rs", "#[cfg(test)]\nmod tests { use std::fs; }", 0),
        ("job.rs", "use super::cli::Args; use lmtp_send::{lmtp::Stage, message}; use crate::report;", 1),
        ("exit.rs", "use crate::cli::{Args, ExitStyle};", 1),
        ("delivery/mod.rs", "fn f() { println!(\"\"); self.print(); }", 1),
        ("attic.rs", "", 1),
    ] {
        assert_eq!(seen(file, source), expected, "{file}: {source}");
    }
}

/// Where a file stands.
struct Place {
    room: String,
    /// How many modules below the room's root it is: more `super` than that lead out of the room.
    depth: usize,
}

impl Place {
    fn of(path: &Path) -> Self {
        let module = path.with_extension("");
        let mut names: Vec<String> = module.iter().map(|name| name.to_str().unwrap().to_owned()).collect();
        if names.last().is_some_and(|name| name == "mod") {
            names.pop();
        }
        Self { room: names[0].clone(), depth: names.len() - 1 }
    }
}

/// What in `source` is not allowed at `place`, each thing once.
fn breaches(place: &Place, source: &str) -> BTreeSet<String> {
    let Some(rooms) = row(ROOMS, &place.room) else {
        return BTreeSet::from([format!("the room '{}' has no row", place.room)]);
    };
    let program = source.split("#[cfg(test)]\nmod ").next().unwrap();
    let tokens = tokens(program);
    let mut found: BTreeSet<String> = paths(&tokens)
        .into_iter()
        .map(|path| from_root(path, place.depth))
        .filter(|path| !allowed(place, rooms, path))
        .map(|path| format!("{} may not use {}", place.room, path.join("::")))
        .collect();
    let prints = |pair: &[Token]| matches!(pair, [Token::Name(name), Token::Mark('!')] if PRINT_MACROS.contains(&name.as_str()));
    if !PRINTERS.contains(&place.room.as_str()) && tokens.windows(2).any(prints) {
        found.insert(format!("{} may not print", place.room));
    }
    found
}

/// The path as seen from the program's root: `crate` first where it leads out of the room by `super`.
fn from_root(path: Vec<String>, depth: usize) -> Vec<String> {
    let up = path.iter().take_while(|name| *name == "super").count();
    if up <= depth { path } else { [vec!["crate".to_owned()], path[up..].to_vec()].concat() }
}

fn allowed(place: &Place, rooms: &[&str], path: &[String]) -> bool {
    let text = path.join("::");
    match path[0].as_str() {
        "crate" | "lmtp_send" => {
            let inside = path[1..].join("::");
            leads_to(&inside, &place.room) || rooms.iter().any(|room| leads_to(&inside, room))
        }
        "std" => WORLD.iter().all(|(ruled, users)| {
            let touches = leads_to(&text, ruled) || (text != "std" && leads_to(ruled, &text));
            !touches || users.contains(&place.room.as_str())
        }),
        name => row(CRATES, name).is_none_or(|users| users.contains(&place.room.as_str())),
    }
}

/// Whether `path` is `goal` or something in it.
fn leads_to(path: &str, goal: &str) -> bool {
    path.strip_prefix(goal).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

fn row<'a>(table: &[(&str, &'a [&'a str])], name: &str) -> Option<&'a [&'a str]> {
    table.iter().find(|(key, _)| *key == name).map(|(_, users)| *users)
}

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Name(String),
    /// `::`
    Into,
    Mark(char),
}

/// All paths of more than one name, and what `use` names; groups in braces are taken apart.
fn paths(tokens: &[Token]) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    let mut rest = tokens;
    let mut imports = false;
    while let Some((first, after)) = rest.split_first() {
        match (first, after.first()) {
            (Token::Name(_), Some(Token::Into)) => rest = tree(rest, &[], &mut found),
            (Token::Name(name), _) if imports => {
                found.push(vec![name.clone()]);
                rest = after;
            }
            // What follows a dot or a closed group's `::` is no path of its own.
            (Token::Into | Token::Mark('.'), Some(Token::Name(_))) => rest = &after[1..],
            _ => rest = after,
        }
        imports = *first == Token::Name("use".to_owned());
    }
    found
}

/// Reads the path or group at the front of `tokens`, below `prefix`; returns what follows it.
fn tree<'a>(mut tokens: &'a [Token], prefix: &[String], found: &mut Vec<Vec<String>>) -> &'a [Token] {
    let mut path = prefix.to_vec();
    loop {
        match tokens {
            [Token::Name(name), rest @ ..] => {
                if name != "self" || path.is_empty() {
                    path.push(name.clone());
                }
                tokens = rest;
            }
            [Token::Mark('{'), rest @ ..] => {
                tokens = rest;
                while !matches!(tokens, [] | [Token::Mark('}'), ..]) {
                    tokens = match tokens {
                        [Token::Name(_), ..] => tree(tokens, &path, found),
                        _ => &tokens[1..],
                    };
                }
                return tokens.get(1..).unwrap_or_default();
            }
            _ => break,
        }
        match tokens {
            [Token::Into, rest @ ..] => tokens = rest,
            _ => break,
        }
    }
    found.push(path);
    tokens
}

/// The names and marks of a source text, without comments, strings and characters.
fn tokens(source: &str) -> Vec<Token> {
    let mut found = Vec::new();
    let mut rest = source;
    while let Some(first) = rest.chars().next() {
        let name = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        let taken = match silent(rest) {
            0 if name > 0 => {
                found.push(Token::Name(rest[..name].to_owned()));
                name
            }
            0 if rest.starts_with("::") => {
                found.push(Token::Into);
                2
            }
            0 => {
                if !first.is_whitespace() {
                    found.push(Token::Mark(first));
                }
                first.len_utf8()
            }
            length => length,
        };
        rest = &rest[taken..];
    }
    found
}

/// The length of the comment, string, character or lifetime that `text` begins with, or 0.
fn silent(text: &str) -> usize {
    let past = |end: &str, from: usize| text[from..].find(end).map_or(text.len(), |at| from + at + end.len());
    if text.starts_with("//") {
        return past("\n", 0);
    }
    if text.starts_with("/*") {
        return past("*/", 2);
    }
    let plain = text.strip_prefix('b').unwrap_or(text);
    let prefix = text.len() - plain.len();
    if let Some(raw) = plain.strip_prefix('r') {
        let marks = raw.bytes().take_while(|b| *b == b'#').count();
        if raw[marks..].starts_with('"') {
            return past(&format!("\"{}", "#".repeat(marks)), prefix + 1 + marks + 1);
        }
    }
    if plain.starts_with('"') {
        return prefix + quoted(plain, '"');
    }
    let start: Vec<char> = plain.chars().take(3).collect();
    match start.get(..3) {
        Some(['\'', '\\', _]) => prefix + quoted(plain, '\''),
        Some(['\'', c, '\'']) => prefix + 2 + c.len_utf8(),
        Some(['\'', ..]) => 1,
        _ => 0,
    }
}

/// The length of the literal that `text` begins with, up to the closing `mark`, escapes skipped.
fn quoted(text: &str, mark: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        if c == mark && !escaped {
            return at + 1;
        }
        escaped = c == '\\' && !escaped;
    }
    text.len()
}

/// The files of the program in `directory` and below.
fn sources(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    entries
        .flat_map(|path| {
            if path.is_dir() {
                sources(&path)
            } else {
                let program = path.extension().is_some_and(|e| e == "rs")
                    && !path.ends_with("tests.rs")
                    && !path.parent().is_some_and(|of| of.ends_with("tests"));
                Vec::from_iter(program.then_some(path))
            }
        })
        .collect()
}

fn at(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}
