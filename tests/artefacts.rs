//! The manual page and the completions are what the program's own definitions make of them.
//!
//! `UPDATE_ARTEFACTS=1 cargo test artefacts` writes them: the options come from `src/cli/`, the prose from the
//! fragments in `man/`, the date from the version's heading in `CHANGELOG.md`. The checkers of their languages
//! are run where they are installed; mandoc must be on a machine that sets `CI`.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use clap::CommandFactory;
use clap_complete::{Shell, generate};
use clap_mangen::Man;

#[allow(dead_code, unused_imports, reason = "the definitions are wanted, not what is made of them")]
#[path = "../src/cli/mod.rs"]
mod cli;

/// The sections after the options: the files in `man/`, in their order on the page.
const SECTIONS: [&str; 14] = [
    "examples",
    "envelope",
    "message",
    "session",
    "many",
    "protocol",
    "exit-status",
    "diagnostics",
    "report",
    "configuration",
    "sendmail",
    "environment",
    "monitoring",
    "standards",
];

const SHELLS: [(Shell, &str); 5] = [
    (Shell::Bash, "lmtp-send.bash"),
    (Shell::Zsh, "_lmtp-send"),
    (Shell::Fish, "lmtp-send.fish"),
    (Shell::PowerShell, "_lmtp-send.ps1"),
    (Shell::Elvish, "lmtp-send.elv"),
];

#[test]
fn the_manual_page_is_current() {
    must_be("man/lmtp-send.1", &manual_page());
}

#[test]
fn the_completions_are_current() {
    for (shell, name) in SHELLS {
        let mut script = Vec::new();
        generate(shell, &mut cli::Args::command(), "lmtp-send", &mut script);
        must_be(&format!("completions/{name}"), &String::from_utf8(script).unwrap());
    }
}

#[test]
fn every_fragment_is_on_the_page() {
    let mut there: Vec<String> = fs::read_dir(at("man"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter_map(|name| name.strip_suffix(".roff").map(str::to_owned))
        .collect();
    let mut used: Vec<&str> = SECTIONS.iter().copied().chain(["description"]).collect();
    there.sort();
    used.sort_unstable();
    assert_eq!(there, used);
}

#[test]
fn the_manual_pages_are_sound() {
    for name in ["man/lmtp-send.1", "man/lmtp-send-mail-systems.7"] {
        is_sound(&at(name));
    }
}

fn is_sound(page: &Path) {
    match run("mandoc", &["-T", "lint", "-W", "error"], page) {
        Some(checked) => assert_quiet("mandoc", &checked),
        None if std::env::var_os("CI").is_some() => panic!("mandoc is missing: .ci/packages names it"),
        None => skipped("mandoc", "the manual page"),
    }
    // One long page, as a terminal has it: where a printed page ends is of no account.
    match run("groff", &["-t", "-man", "-z", "-rcR=1", "-K", "utf8"], page) {
        Some(checked) => assert_quiet("groff", &checked),
        None => skipped("groff", "the manual page"),
    }
}

#[test]
fn the_completions_are_sound() {
    for (shell, check, name) in [
        ("bash", "-n", "lmtp-send.bash"),
        ("zsh", "-n", "_lmtp-send"),
        ("fish", "--no-execute", "lmtp-send.fish"),
    ] {
        match run(shell, &[check], &at("completions").join(name)) {
            Some(checked) => assert_quiet(shell, &checked),
            None => skipped(shell, name),
        }
    }
}

/// `benches/compare --readme` writes the table between the marks. No figure is looked at.
#[test]
fn the_table_of_measurements_can_be_written() {
    let readme = fs::read_to_string(at("README.md")).unwrap();
    let (begin, end) = ("<!-- benches/compare: begin -->\n", "<!-- benches/compare: end -->\n");
    let (_, rest) = readme.split_once(begin).unwrap();
    assert!(rest.split_once(end).unwrap().0.contains("| lmtp-send |"), "there is no table");
    let help = Command::new(at("benches/compare")).arg("--help").output().unwrap();
    match help.status.code() {
        // env(1) finds no python3.
        Some(127) => skipped("python3", "benches/compare"),
        code => assert!(code == Some(0) && !help.stdout.is_empty(), "{help:?}"),
    }
}

/// Compares the committed file with what it should be, or writes it.
fn must_be(path: &str, expected: &str) {
    if std::env::var_os("UPDATE_ARTEFACTS").is_some() {
        fs::create_dir_all(at(path).parent().unwrap()).unwrap();
        // Renamed into place: another test may be reading the file.
        let new = at(path).with_extension("new");
        fs::write(&new, expected).unwrap();
        fs::rename(&new, at(path)).unwrap();
    }
    let found = fs::read_to_string(at(path)).unwrap_or_default();
    let differs = found.lines().zip(expected.lines()).find(|(found, expected)| found != expected);
    assert!(
        found == expected,
        "{path} is out of date (first difference: {differs:?}): run UPDATE_ARTEFACTS=1 cargo test artefacts"
    );
}

/// The page: clap's parts, with the options under one heading, and the prose around them.
fn manual_page() -> String {
    let man = Man::new(cli::Args::command()).title("LMTP-SEND").date(released()).manual("Mail delivery");
    let mut page = String::from("'\\\" t\n.\\\" Made of src/cli/ and man/*.roff by tests/artefacts.rs.\n");
    page += PREAMBLE;
    page += &part(|out| man.render_title(out));
    page += ".SH NAME\nlmtp\\-send \\- deliver mail by LMTP\n";
    page += &part(|out| man.render_synopsis_section(out));
    page += &fragment("description");
    page += &options(&man);
    SECTIONS.iter().for_each(|name| page += &fragment(name));
    page
}

/// The options, with the headings of the help as subsections; clap_mangen writes them in capitals.
fn options(man: &Man) -> String {
    let command = cli::Args::command();
    let headings = command.get_arguments().filter_map(|arg| arg.get_help_heading());
    let page = part(|out| man.render_options_section(out)).replace("\n.SH ", "\n.SS ");
    let page = headings.fold(page, |page, heading| page.replace(&heading.to_uppercase(), heading));
    page.split_inclusive('\n').map(with_pointer).collect()
}

/// Where the rules of the options under a heading are, by what the heading begins with.
const RULES: [(&str, &str); 12] = [
    ("Destination", "DESCRIPTION"),
    ("Envelope", "ENVELOPE"),
    ("Session", "SESSION"),
    ("Outcome", "EXIT STATUS"),
    ("Output", "DIAGNOSTICS and REPORT"),
    ("Parameters", "PARAMETERS OF THE TRANSACTION"),
    ("TLS", "TLS"),
    ("Authentication", "AUTHENTICATION"),
    ("Queries", "QUERIES"),
    ("Many messages", "MANY MESSAGES"),
    ("Configuration", "CONFIGURATION"),
    ("As sendmail", "SENDMAIL"),
];

/// A line of the options; behind a heading it is said where the rules are.
fn with_pointer(line: &str) -> String {
    let heading = line.strip_prefix(".SS ").map(|heading| heading.trim_matches(['"', '\n']));
    let rule = RULES.iter().find(|(begin, _)| heading.is_some_and(|heading| heading.starts_with(begin)));
    rule.map_or_else(|| line.to_owned(), |(_, rule)| format!("{line}The rules are under\n.BR \"{rule}\" .\n"))
}

/// What clap_mangen puts before every part: the page has it once.
const PREAMBLE: &str = ".ie \\n(.g .ds Aq \\(aq\n.el .ds Aq '\n";

/// A part of the page as clap_mangen renders it.
fn part(render: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> String {
    let mut roff = Vec::new();
    render(&mut roff).unwrap();
    String::from_utf8(roff).unwrap().replace(PREAMBLE, "")
}

fn fragment(name: &str) -> String {
    fs::read_to_string(at("man").join(name).with_extension("roff")).unwrap()
}

/// The day of the version's release, from its heading in the changelog: `## [0.1.0] - 2026-01-31`.
fn released() -> String {
    let changelog = fs::read_to_string(at("CHANGELOG.md")).unwrap();
    let heading = format!("## [{}] - ", env!("CARGO_PKG_VERSION"));
    let found = changelog.lines().find_map(|line| line.strip_prefix(&heading));
    found.unwrap_or_else(|| panic!("CHANGELOG.md has no heading '{heading}DATE'")).trim().to_owned()
}

fn at(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Runs a checker on `file`; `None` where it is not installed.
fn run(program: &str, options: &[&str], file: &Path) -> Option<Output> {
    match Command::new(program).args(options).arg(file).output() {
        Ok(output) => Some(output),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => panic!("{program}: {error}"),
    }
}

fn assert_quiet(program: &str, checked: &Output) {
    let said = [checked.stdout.as_slice(), &checked.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(checked.status.success() && said.is_empty(), "{program}: {}\n{said}", checked.status);
}

/// Says so past the test harness, which keeps what a passing test prints: a check that did not happen is seen.
fn skipped(program: &str, what: &str) {
    let _ = writeln!(io::stderr(), "SKIPPED: {program} is not installed, {what} is unchecked");
}
