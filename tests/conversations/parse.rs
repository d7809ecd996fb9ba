//! From a conversation file to what is to be played. A file that is not to the format fails the test, with its line.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::scripted::{HELLO, canonical, stuffed};

/// One run of the program, and what is expected of it.
#[derive(Debug)]
pub struct Conversation {
    /// File, line, and the row of its table.
    pub name: String,
    /// The file, for the place of a failure.
    pub file: String,
    /// The program's own name, if not its file's.
    pub called: Option<String>,
    pub args: Vec<String>,
    pub env: Vec<(String, String)>,
    pub stdin: Vec<u8>,
    pub files: BTreeMap<String, Vec<u8>>,
    pub over: Over,
    /// For each connection its steps, each with its line in the file.
    pub connections: Vec<Vec<(usize, Step)>>,
    pub exit: i32,
    pub stderr: Option<Vec<String>>,
    pub stdout: Option<Vec<String>>,
    pub report: Vec<serde_json::Value>,
    pub within: Option<f64>,
}

/// What lies between the program and the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    Tcp,
    Unix,
    Both,
    Nothing,
}

/// One thing that happens on a connection.
#[derive(Clone, Debug)]
pub enum Step {
    Say(Vec<u8>),
    Expect(Vec<u8>),
    Octets(Vec<u8>),
    Nothing,
    End,
    Close,
    Reset,
    Vanish,
    Silence,
}

/// The lines of a file that say something: number, keyword, value.
type Lines = Vec<(usize, String, String)>;

/// The conversations in the file at `path`: one, or one for each row of its table.
pub fn conversations(root: &Path, path: &Path) -> Vec<Conversation> {
    let file = path.strip_prefix(root).unwrap().display().to_string();
    let lines = split(&file, &fs::read_to_string(path).unwrap());
    let (table, plain): (Lines, Lines) =
        lines.into_iter().partition(|(_, keyword, _)| keyword == "with" || keyword == "each");
    let Some(((_, _, columns), rows)) = table.split_first() else {
        return vec![conversation(root, &file, file.clone(), &plain)];
    };
    let columns: Vec<_> = columns.split('|').map(str::trim).collect();
    rows.iter().map(|(number, _, row)| one_row(root, &file, &columns, *number, row, &plain)).collect()
}

fn one_row(
    root: &Path,
    file: &str,
    columns: &[&str],
    number: usize,
    row: &str,
    plain: &Lines,
) -> Conversation {
    let cells: Vec<_> = row.split('|').map(str::trim).collect();
    assert_eq!(cells.len(), columns.len(), "{file}:{number}: a row has as many cells as there are columns");
    let fill = |value: &String| {
        columns
            .iter()
            .zip(&cells)
            .fold(value.clone(), |value, (column, cell)| value.replace(&format!("{{{column}}}"), cell))
    };
    // An expectation whose cell is empty is none.
    let kept =
        |keyword: &str, value: &str| !(value.is_empty() && matches!(keyword, "S" | "stderr" | "report"));
    let filled: Lines = plain
        .iter()
        .map(|(number, keyword, value)| (*number, keyword.clone(), fill(value)))
        .filter(|(_, keyword, value)| kept(keyword, value))
        .collect();
    conversation(root, file, format!("{file}:{number} [{row}]"), &filled)
}

fn split(file: &str, text: &str) -> Lines {
    let mut lines = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (keyword, value) =
            line.split_once(':').unwrap_or_else(|| panic!("{file}:{number}: not 'keyword: value': {line}"));
        lines.push((number, keyword.to_owned(), value.strip_prefix(' ').unwrap_or(value).to_owned()));
    }
    lines
}

fn conversation(root: &Path, file: &str, name: String, lines: &Lines) -> Conversation {
    let mut it = Conversation {
        name,
        file: file.to_owned(),
        called: None,
        args: Vec::new(),
        env: Vec::new(),
        stdin: HELLO.to_vec(),
        files: BTreeMap::new(),
        over: Over::Both,
        connections: Vec::new(),
        exit: 0,
        stderr: None,
        stdout: None,
        report: Vec::new(),
        within: None,
    };
    messages(root, &mut it, lines);
    let mut exit = None;
    for (number, keyword, value) in lines {
        let wrong = |why: &str| -> ! { panic!("{file}:{number}: {why}: {value}") };
        match keyword.as_str() {
            "args" => it.args.extend(shell_words::split(value).unwrap_or_else(|_| wrong("no shell words"))),
            "env" => {
                let (name, value) = value.split_once('=').unwrap_or_else(|| wrong("not NAME=VALUE"));
                it.env.push((name.to_owned(), value.to_owned()));
            }
            "as" => it.called = Some(value.clone()),
            "over" => it.over = over(value).unwrap_or_else(|| wrong("unknown")),
            "connect" => it.connections.push(Vec::new()),
            "session" => it.connections.push(session(*number, value)),
            "S" | "C" => {
                let step = if keyword == "S" { server(value) } else { client(&it, value) };
                let step = step.unwrap_or_else(|| wrong("unknown"));
                let connection = it.connections.last_mut().unwrap_or_else(|| wrong("no connection yet"));
                connection.push((*number, step));
            }
            "exit" => exit = Some(value.parse().unwrap_or_else(|_| wrong("no exit code"))),
            "stderr" => it.stderr.get_or_insert_default().push(value.clone()),
            "stdout" => it.stdout.get_or_insert_default().push(value.clone()),
            "report" => it.report.push(serde_json::from_str(value).unwrap_or_else(|_| wrong("no JSON"))),
            "within" => it.within = Some(value.parse().unwrap_or_else(|_| wrong("no number"))),
            "M" | "file" | "input" => {}
            _ => wrong(&format!("unknown keyword '{keyword}'")),
        }
    }
    it.exit = exit.unwrap_or_else(|| panic!("{file}: no exit code"));
    it
}

/// Takes the messages, which the steps refer to.
fn messages(root: &Path, it: &mut Conversation, lines: &Lines) {
    let mut stdin = None;
    let mut current: Option<String> = None;
    for (_, keyword, value) in lines {
        match keyword.as_str() {
            "input" => stdin = Some(fs::read(root.join(value)).unwrap()),
            "file" => {
                it.files.insert(value.clone(), Vec::new());
                current = Some(value.clone());
            }
            "M" => {
                let into = match &current {
                    Some(name) => it.files.get_mut(name).unwrap(),
                    None => stdin.get_or_insert_default(),
                };
                into.extend(octets(value, b"\n"));
            }
            _ => {}
        }
    }
    if let Some(stdin) = stdin {
        it.stdin = stdin;
    }
}

fn over(value: &str) -> Option<Over> {
    Some(match value {
        "tcp" => Over::Tcp,
        "unix" => Over::Unix,
        "both" => Over::Both,
        "nothing" => Over::Nothing,
        _ => return None,
    })
}

/// A session's beginning: greeting, LHLO, and its reply with `extensions`.
fn session(number: usize, extensions: &str) -> Vec<(usize, Step)> {
    let mut lines = vec!["mailbox"];
    lines.extend(extensions.split(',').map(str::trim).filter(|extension| !extension.is_empty()));
    let last = lines.len() - 1;
    let reply: String = (0..)
        .zip(&lines)
        .map(|(at, line)| format!("250{}{line}\r\n", if at == last { ' ' } else { '-' }))
        .collect();
    vec![
        (number, Step::Say(b"220 mailbox LMTP ready\r\n".to_vec())),
        (number, Step::Expect(b"LHLO {any}".to_vec())),
        (number, Step::Say(reply.into_bytes())),
    ]
}

fn server(value: &str) -> Option<Step> {
    Some(match value {
        "{close}" => Step::Close,
        "{reset}" => Step::Reset,
        "{vanish}" => Step::Vanish,
        "{silence}" => Step::Silence,
        line => Step::Say(octets(line, b"\r\n")),
    })
}

fn client(it: &Conversation, value: &str) -> Option<Step> {
    match value {
        "{nothing}" => return Some(Step::Nothing),
        "{end}" => return Some(Step::End),
        _ => {}
    }
    if let Some(name) = placeholder(value, "message") {
        return Some(Step::Octets(stuffed(&canonical(message(it, name)?))));
    }
    if let Some(name) = placeholder(value, "chunk") {
        return Some(Step::Octets(canonical(message(it, name)?)));
    }
    let mut value = value.to_owned();
    while let Some(from) = value.find("{size") {
        let to = from + value[from..].find('}')? + 1;
        let name = placeholder(&value[from..to], "size")?;
        let size = canonical(message(it, name)?).len().to_string();
        value.replace_range(from..to, &size);
    }
    Some(Step::Expect(octets(&value, b"")))
}

/// The name in `{word name}`; empty for `{word}`.
fn placeholder<'v>(value: &'v str, word: &str) -> Option<&'v str> {
    let inner = value.strip_prefix('{')?.strip_suffix('}')?.strip_prefix(word)?;
    if inner.is_empty() { Some(inner) } else { inner.strip_prefix(' ') }
}

fn message<'c>(it: &'c Conversation, name: &str) -> Option<&'c [u8]> {
    if name.is_empty() { Some(&it.stdin) } else { it.files.get(name).map(Vec::as_slice) }
}

/// The octets that a line stands for, and `end`, unless the line says that it has none.
fn octets(line: &str, end: &[u8]) -> Vec<u8> {
    let (line, end) = line.strip_suffix("{no end}").map_or((line, end), |line| (line, &b""[..]));
    let mut octets = Vec::new();
    let mut rest = line.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let (octet, length) = match (first, tail) {
            (b'\\', [b'r', ..]) => (b'\r', 2),
            (b'\\', [b'n', ..]) => (b'\n', 2),
            (b'\\', [b't', ..]) => (b'\t', 2),
            (b'\\', [b'0', ..]) => (0, 2),
            (b'\\', [b'\\', ..]) => (b'\\', 2),
            (b'\\', [b'x', high, low, ..]) => {
                let digits = [*high, *low];
                (u8::from_str_radix(str::from_utf8(&digits).unwrap(), 16).unwrap(), 4)
            }
            (b'\\', _) => panic!("an unknown escape: {line}"),
            _ => (first, 1),
        };
        octets.push(octet);
        rest = &rest[length..];
    }
    octets.extend(end);
    octets
}
