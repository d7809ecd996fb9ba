//! Conversations: each file in `tests/conversations/` is what a postmaster would see of one run of the program,
//! from its command line to its exit code. This file plays them all.
//!
//! ```text
//! # A refused recipient among two decides the exit code.
//! args: -f me@example.net -t ok@example.net -t joe@example.net
//! session: PIPELINING, ENHANCEDSTATUSCODES
//! C: MAIL FROM:<me@example.net>
//! C: RCPT TO:<ok@example.net>
//! …
//! exit: 67
//! stderr: 5.1.1 <joe@example.net>: {server} said: 550 5.1.1 no such user (RCPT TO)
//! ```
//!
//! A line is `keyword: value`; empty lines and lines that begin with `#` say nothing to the program.
//!
//! | keyword | means |
//! | --- | --- |
//! | `args` | the command line, split as a shell does; several lines are put together. The server's address is put before it, unless `{server}` is named there, in `env` or in a configuration |
//! | `as` | the name by which the program is called, such as `sendmail`. The server's address is then in the environment |
//! | `env` | `NAME=VALUE` for the program |
//! | `input` | the file that is standard input, from the top of the repository; default `tests/messages/hello.eml` |
//! | `M` | a line of a message: standard input, or the file named before. It ends in LF; `\r` before it makes CRLF; `{no end}` at its end leaves it without |
//! | `file` | the `M` lines that follow are this file, in the directory in which the program runs. In one that ends in `.toml`, `{server}` and `{dir}` are filled in |
//! | `over` | `tcp`, `unix`, `both` (the default: the file is played twice) or `nothing` (there is no server) |
//! | `session` | a connection begins with a greeting, LHLO, and these extensions (commas between them) in its reply |
//! | `connect` | a connection begins with what follows. A file without connections expects that none is made |
//! | `S` | the server says this line. `{no end}` at its end: without CRLF. `S: {close}` ends the connection in an orderly way and takes what still comes; `S: {reset}` resets it; `S: {vanish}` closes at once; `S: {silence}` says nothing more and waits for the client to close |
//! | `C` | the client says this line, in which `{any}` stands for anything. `C: {message}`: the octets of the message as DATA sends them, without the final dot (`C: .`); `C: {chunk}`: as BDAT sends them; `C: {nothing}`: nothing more until the server speaks; `C: {end}`: closes. After a connection's last line the client closes without a word |
//! | `exit` | the exit code |
//! | `stderr`, `stdout` | the lines there, all of them, in order; `{any}` stands for anything. `{more}` at the end: any number of other lines; `{nothing}`: none. Without such lines: nothing on stdout, nothing on stderr when the exit code is 0 |
//! | `report` | adds `--report json`; the objects on stdout, all of them, in order: those fields that are named, a text may hold `{any}` |
//! | `within` | seconds that the run may take |
//! | `with`, `each` | a table: `with: a \| b` names columns, each `each: x \| y` is a run of its own, in which `{a}` and `{b}` stand for its cells (without them in the file, this is one run) |
//!
//! Everywhere: `{server}` is the server as the program names it, `{dir}` the directory in which it runs, `{size}`
//! the octets that SIZE has to declare for the message. With several messages: `{message NAME}`, `{chunk NAME}`,
//! `{size NAME}`. In `M`, `S` and `C` lines `\r`, `\n`, `\t`, `\0`, `\\` and `\x1b` are octets.
//!
//! `C` lines that follow one another must come without a word from the server between them, in packets of any
//! size: that is how a flight (RFC 2920) is tested.
//!
//! Beside what a file says, each run is held to the contract's rules for stderr: silence on success, and otherwise a
//! first line whose enhanced status code agrees with the exit code.
//!
//! `CONVERSATIONS=word cargo test conversations` plays the files (and table rows) with `word` in their name or row.

mod parse;
mod play;

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::{env, fs, thread};

use parse::Conversation;

/// How many are played at once: they wait most of their time.
const AT_ONCE: usize = 12;

#[test]
fn conversations() {
    let filter = env::var("CONVERSATIONS").unwrap_or_default();
    let mut all = every_conversation();
    all.retain(|conversation| conversation.name.contains(&filter));
    assert!(!all.is_empty(), "no conversation with '{filter}' in its name");
    let count = all.len();
    let waiting = Mutex::new(all.into_iter());
    let failures = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                // The lock is not held while a conversation is played.
                while let Some(next) = { waiting.lock().unwrap().next() } {
                    if let Err(told) = play::play(&next) {
                        failures.lock().unwrap().push(told);
                    }
                }
            });
        }
    });
    let mut failures = failures.into_inner().unwrap();
    failures.sort();
    assert!(failures.is_empty(), "{} of {count} failed:\n\n{}", failures.len(), failures.join("\n\n"));
}

/// Every file, and every row of those that hold a table.
fn every_conversation() -> Vec<Conversation> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let listed = fs::read_dir(root.join("tests/conversations")).unwrap();
    let mut files: Vec<PathBuf> = listed.map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "txt"));
    files.sort();
    files.iter().flat_map(|path| parse::conversations(root, path)).collect()
}
