//! Each driver for a moment, with the inputs in `fuzz/corpus`, changed at random.
//!
//! What a driver panicked over is shown, ready for `printf '%b'`. Each run makes the same inputs in the same
//! order; `DRIVERS_SEED` makes others, `DRIVERS_SECONDS` makes it longer.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use super::octets::Dice;
use super::{address, header, reply, session, wire};

#[test]
fn replies_are_the_same_in_any_pieces() {
    run("reply", reply::drive);
}

#[test]
fn addresses_are_what_they_are_parsed_as() {
    run("address", address::drive);
}

#[test]
fn the_wire_form_is_the_message_in_any_pieces() {
    run("wire", wire::drive);
}

#[test]
fn a_header_is_what_the_receiver_sees() {
    run("header", header::drive);
}

#[test]
fn sessions_keep_their_promises_whatever_the_server_says() {
    run("session", session::drive);
}

/// How many changed inputs are driven unless `DRIVERS_SECONDS` asks for more: the same on every machine, so that a
/// run that passes passes again.
const EXECUTIONS: u32 = 400;

/// Each input of the corpus as it is, and then changed ones.
fn run(target: &str, drive: fn(&[u8])) {
    let corpus = Corpus::read(target);
    corpus.inputs.iter().for_each(|input| drive_shown(drive, input));
    let mut dice = Dice::new(setting("DRIVERS_SEED", 2033));
    let end = Instant::now() + Duration::from_secs(setting("DRIVERS_SECONDS", 0));
    let mut executions = 0;
    while executions < EXECUTIONS || Instant::now() < end {
        drive_shown(drive, &corpus.change(&mut dice));
        executions += 1;
    }
    println!("{target}: {} inputs, {executions} changed ones", corpus.inputs.len());
}

fn setting<T: FromStr>(name: &str, default: T) -> T {
    env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

fn drive_shown(drive: fn(&[u8]), input: &[u8]) {
    /// Shows the input when the driver panics.
    struct Shown<'a>(&'a [u8]);
    impl Drop for Shown<'_> {
        fn drop(&mut self) {
            if thread::panicking() {
                let octets: String = self.0.iter().map(|octet| format!("\\x{octet:02x}")).collect();
                println!("the input was '{octets}',\nas text: {}", self.0.escape_ascii());
            }
        }
    }
    let _shown = Shown(input);
    drive(input);
}

/// Inputs worth changing, and what may be put into them.
struct Corpus {
    inputs: Vec<Vec<u8>>,
    words: Vec<Vec<u8>>,
}

impl Corpus {
    /// The corpus of `target`. Only a package without `fuzz` has none.
    fn read(target: &str) -> Self {
        let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
        if !fuzz.exists() {
            return Self { inputs: vec![vec![0; 16]], words: Vec::new() };
        }
        let directory = fs::read_dir(fuzz.join("corpus").join(target)).unwrap();
        let mut paths: Vec<PathBuf> = directory.map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        assert!(!paths.is_empty());
        let inputs = paths.iter().map(|path| fs::read(path).unwrap()).collect();
        let dictionary =
            fs::read_to_string(fuzz.join("dictionaries").join(format!("{target}.dict"))).unwrap();
        Self { inputs, words: dictionary.lines().filter_map(word).collect() }
    }

    /// An input with some changes.
    fn change(&self, dice: &mut Dice) -> Vec<u8> {
        let mut input = pick(&self.inputs, dice).clone();
        for _ in 0..=dice.below(6) {
            self.change_once(&mut input, dice);
        }
        input
    }

    fn change_once(&self, input: &mut Vec<u8>, dice: &mut Dice) {
        let at = dice.below(input.len() + 1);
        let line = line_around(input, at);
        match dice.below(10) {
            0 if at < input.len() => input[at] ^= 1 << dice.below(8),
            1 if at < input.len() => input[at] = dice.below(256) as u8,
            2 if at < input.len() => drop(input.remove(at)),
            3 => input.truncate(at),
            4 => drop(input.drain(line)),
            5 => {
                let copy = input[line.clone()].to_vec();
                let to = line_around(input, dice.below(input.len() + 1)).start;
                input.splice(to..to, copy);
            }
            6 => {
                let other = pick(&self.inputs, dice);
                let other = &other[line_around(other, dice.below(other.len() + 1))];
                input.splice(line, other.iter().copied());
            }
            7 => {
                let other = pick(&self.inputs, dice);
                let from = dice.below(other.len() + 1);
                input.truncate(at);
                input.extend_from_slice(&other[from..]);
            }
            _ if !self.words.is_empty() => {
                drop(input.splice(at..at, pick(&self.words, dice).iter().copied()))
            }
            _ => input.insert(at, dice.below(256) as u8),
        }
    }
}

fn pick<'a>(of: &'a [Vec<u8>], dice: &mut Dice) -> &'a Vec<u8> {
    &of[dice.below(of.len())]
}

/// From the beginning of the line in which `at` is to its end.
fn line_around(input: &[u8], at: usize) -> std::ops::Range<usize> {
    let start = input[..at].iter().rposition(|o| *o == b'\n').map_or(0, |end| end + 1);
    let end = input[at..].iter().position(|o| *o == b'\n').map_or(input.len(), |end| at + end + 1);
    start..end
}

/// The word in a line of a dictionary: `"..."` with `\xNN`, `\\` and `\"`.
fn word(line: &str) -> Option<Vec<u8>> {
    let mut rest = line.strip_prefix('"')?.strip_suffix('"')?.as_bytes();
    let mut word = Vec::new();
    while let Some((octet, after)) = rest.split_first() {
        let (octet, after) = match rest {
            [b'\\', b'x', high, low, after @ ..] => {
                let digits = [*high, *low];
                (u8::from_str_radix(str::from_utf8(&digits).unwrap(), 16).unwrap(), after)
            }
            [b'\\', escaped, after @ ..] => (*escaped, after),
            _ => (*octet, after),
        };
        word.push(octet);
        rest = after;
    }
    Some(word)
}
