//! Plays one conversation, and tells in what it differed.

use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use super::parse::{Conversation, Over, Step};
use crate::scripted::{Client, Peer, Played, Ran, Script, Server, agrees, complete, matches, script};

/// How long `C: {nothing}` listens.
const PAUSE: Duration = Duration::from_millis(40);

/// Plays it over everything that it is to be played over.
pub fn play(it: &Conversation) -> Result<(), String> {
    match it.over {
        Over::Nothing => once(it, None),
        Over::Tcp => once(it, Some(Server::tcp_in_turn(scripts(it)))),
        Over::Unix => once(it, Some(Server::unix_in_turn(scripts(it)))),
        Over::Both => {
            once(it, Some(Server::tcp_in_turn(scripts(it))))?;
            once(it, Some(Server::unix_in_turn(scripts(it))))
        }
    }
}

fn once(it: &Conversation, server: Option<Server>) -> Result<(), String> {
    let home = tempfile::tempdir().map_err(|error| error.to_string())?;
    let name = server.as_ref().map_or(String::new(), |server| server.name().to_owned());
    for (file, octets) in &it.files {
        write(&home.path().join(file), octets, &name, home.path()).map_err(|error| error.to_string())?;
    }
    let ran = client(it, server.as_ref(), home.path()).run();
    let mut told: Vec<String> = server.and_then(|server| server.outcome().err()).into_iter().collect();
    told.extend(differences(it, &ran, &name, &home.path().display().to_string()));
    if told.is_empty() {
        return Ok(());
    }
    told.insert(0, format!("{} (server {name})", it.name));
    told.push(format!("exit {}, stderr:\n{}stdout:\n{}", ran.code(), ran.stderr, ran.stdout));
    Err(told.join("\n").replace('\n', "\n    "))
}

/// Writes a file, and the directories that it stands in. Configurations name the server.
fn write(path: &Path, octets: &[u8], server: &str, home: &Path) -> std::io::Result<()> {
    path.parent().map_or(Ok(()), fs::create_dir_all)?;
    if path.extension().is_some_and(|extension| extension == "toml") {
        let text = fill(&String::from_utf8_lossy(octets), server, &home.display().to_string());
        return fs::write(path, text);
    }
    fs::write(path, octets)
}

fn client(it: &Conversation, server: Option<&Server>, home: &Path) -> Client {
    let name = server.map_or("", Server::name);
    let fill = |text: &str| fill(text, name, &home.display().to_string());
    let configured = it.files.iter().filter(|(file, _)| file.ends_with(".toml"));
    let named =
        it.args.iter().chain(it.env.iter().map(|(_, value)| value)).any(|arg| arg.contains("{server}"))
            || configured.into_iter().any(|(_, octets)| String::from_utf8_lossy(octets).contains("{server}"));
    let destination = server.filter(|_| !named).map(Server::destination);
    let mut client = Client::new().dir(home).input(it.stdin.clone());
    client = match (&it.called, destination) {
        (None, destination) => client.args(destination.iter().flatten()),
        (Some(name), None) => client.called(name),
        (Some(name), Some([option, address])) if option == "--host" => {
            client.called(name).env("LMTP_SEND_HOST", address)
        }
        (Some(name), Some([_, path])) => client.called(name).env("LMTP_SEND_SOCKET", path),
    };
    client = client.args(it.args.iter().map(|arg| fill(arg)));
    if !it.report.is_empty() {
        client = client.args(["--report", "json"]);
    }
    it.env.iter().fold(client, |client, (name, value)| client.env(name, fill(value)))
}

fn fill(text: &str, server: &str, home: &str) -> String {
    text.replace("{server}", server).replace("{dir}", home)
}

fn scripts(it: &Conversation) -> Vec<Script> {
    it.connections
        .iter()
        .map(|steps| {
            let (steps, file) = (steps.clone(), it.file.clone());
            script(move |peer| {
                for (line, step) in &steps {
                    play_step(peer, step).map_err(|told| format!("{file}:{line}: {told}"))?;
                }
                match steps.last() {
                    Some((_, Step::Close | Step::Reset | Step::Vanish | Step::Silence | Step::End)) => Ok(()),
                    _ => peer.end().map_err(|told| format!("{file}: after the last line: {told}")),
                }
            })
        })
        .collect()
}

fn play_step(peer: &mut Peer, step: &Step) -> Played {
    match step {
        Step::Say(octets) => peer.send(octets),
        Step::Expect(pattern) => peer.expect_octets(pattern),
        Step::Octets(expected) => {
            let came = peer.octets(expected.len())?;
            let Some(at) = expected.iter().zip(&came).position(|(a, b)| a != b) else { return Ok(()) };
            let around = |octets: &[u8]| octets[at.saturating_sub(20)..].escape_ascii().to_string();
            Err(format!("octet {at} of the message: expected {}, came {}", around(expected), around(&came)))
        }
        Step::Nothing => peer.nothing(PAUSE),
        Step::End => peer.end(),
        Step::Close => peer.close(),
        Step::Reset => peer.reset(),
        Step::Vanish => peer.vanish(),
        Step::Silence => peer.silence(),
    }
}

/// In what the run's end differs from what is expected.
fn differences(it: &Conversation, ran: &Ran, server: &str, home: &str) -> Vec<String> {
    let mut told = Vec::new();
    if ran.code() != it.exit {
        told.push(format!("exit: expected {}, got {}", it.exit, ran.code()));
    }
    let expected = |lines: &[String]| lines.iter().map(|line| fill(line, server, home)).collect::<Vec<_>>();
    if let Some(lines) = &it.stderr {
        told.extend(compare("stderr", &expected(lines), &ran.stderr));
    }
    match &it.stdout {
        Some(lines) => told.extend(compare("stdout", &expected(lines), &ran.stdout)),
        None if it.report.is_empty() && !ran.stdout.is_empty() => {
            told.push(format!("nothing belongs on stdout: {}", ran.stdout));
        }
        None => {}
    }
    let apart = ["-q", "-v", "-vv", "--debug", "--no-such-flag"];
    let apart = it.args.iter().any(|arg| apart.contains(&arg.as_str()));
    let expected_words = it.exit == 0 && it.stderr.is_some();
    if !(apart || expected_words) {
        told.extend(agrees(it.exit, &ran.stderr).err());
    }
    if !it.report.is_empty() {
        told.extend(compare_report(&it.report, &ran.stdout, server));
    }
    if let Some(limit) = it.within.filter(|limit| ran.took.as_secs_f64() > *limit) {
        told.push(format!("took {:?}, more than {limit} s", ran.took));
    }
    told
}

fn compare(what: &str, expected: &[String], got: &str) -> Option<String> {
    let lines: Vec<_> = got.lines().collect();
    if expected == ["{nothing}"] {
        return (!lines.is_empty()).then(|| format!("{what}: expected nothing"));
    }
    let open = expected.last().is_some_and(|line| line == "{more}");
    let expected = if open { &expected[..expected.len() - 1] } else { expected };
    let enough = if open { lines.len() >= expected.len() } else { lines.len() == expected.len() };
    let same = expected.iter().zip(&lines).all(|(e, l)| matches(e.as_bytes(), l.as_bytes()));
    if enough && same { None } else { Some(format!("{what}: expected\n  {}", expected.join("\n  "))) }
}

fn compare_report(expected: &[Value], stdout: &str, server: &str) -> Vec<String> {
    let mut told = Vec::new();
    let lines: Vec<_> = stdout.lines().collect();
    if lines.len() != expected.len() {
        told.push(format!("report: expected {} lines, got {}", expected.len(), lines.len()));
    }
    for (expected, line) in expected.iter().zip(lines) {
        match serde_json::from_str::<Value>(line) {
            Err(error) => told.push(format!("report: no JSON ({error}): {line}")),
            Ok(object) => {
                told.extend(complete(&object).err());
                told.extend(missing(expected, &object, server));
            }
        }
    }
    told
}

/// The fields of `expected` that `object` does not have so.
fn missing(expected: &Value, object: &Value, server: &str) -> Vec<String> {
    let same = |wanted: &Value, got: &Value| match (wanted, got) {
        (Value::String(pattern), Value::String(text)) => {
            matches(pattern.replace("{server}", server).as_bytes(), text.as_bytes())
        }
        _ => wanted == got,
    };
    let fields = expected.as_object().into_iter().flatten();
    fields
        .filter(|(name, wanted)| !same(wanted, &object[name.as_str()]))
        .map(|(name, wanted)| format!("report: expected {name} {wanted}, got {}", object[name.as_str()]))
        .collect()
}
