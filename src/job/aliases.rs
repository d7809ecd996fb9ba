//! Aliases: other recipients for those without a domain, as aliases(5) writes them.
//!
//! `root: admin@example.net, joe`; a line that begins with a blank goes on with the one before, `#` begins a comment. A name
//! may stand for names that are aliases themselves; `\joe`, and a name among its own recipients, is final. Programs,
//! files and `:include:` are no recipients of ours: whoever is sent there is a configuration error and not lost.

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};

use lmtp_send::envelope::list;
use lmtp_send::lmtp::Address;

/// The aliases of a file.
#[derive(Debug, Default)]
pub struct Aliases {
    path: PathBuf,
    entries: HashMap<String, Alias>,
}

#[derive(Debug)]
struct Alias {
    line: usize,
    targets: Vec<String>,
}

/// What is wrong with an alias, and where.
#[derive(Debug, PartialEq, Eq)]
pub struct BadAlias {
    path: PathBuf,
    line: usize,
    why: String,
}

impl fmt::Display for BadAlias {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path.display(), self.line, self.why)
    }
}

impl Aliases {
    /// The aliases in `text`, which stands in the file `path`. The first of equal names counts.
    ///
    /// # Errors
    ///
    /// A line that is no alias.
    pub fn parse(path: &Path, text: &str) -> Result<Self, BadAlias> {
        let mut entries = HashMap::new();
        // Some editors begin a file with a byte order mark.
        for (line, text) in logical_lines(text.trim_start_matches('\u{feff}')) {
            let wrong =
                || BadAlias { path: path.into(), line, why: "expected 'name: recipient, ...'".into() };
            let (name, targets) = text.split_once(':').ok_or_else(wrong)?;
            let name = name.trim().trim_matches('"').to_lowercase();
            let targets = members(targets);
            entries.entry(name).or_insert(Alias { line, targets });
        }
        Ok(Self { path: path.into(), entries })
    }

    /// Who stands for `recipient`: itself, if no alias does or it has a domain.
    ///
    /// # Errors
    ///
    /// An alias that leads to a program, a file, nobody or a text that is no address.
    pub fn expand(&self, recipient: Address) -> Result<Vec<Address>, BadAlias> {
        let name = recipient.as_str().to_lowercase();
        match self.entries.get(&name).filter(|_| recipient.domain().is_none()) {
            None => Ok(vec![recipient]),
            Some(entry) => {
                let (mut found, mut seen) = (Vec::new(), vec![name]);
                self.follow(entry, &mut seen, &mut found)?;
                if found.is_empty() {
                    Err(self.wrong(entry, "no recipients for this name".into()))
                } else {
                    Ok(found)
                }
            }
        }
    }

    /// Puts those that `entry` leads to into `found`; `seen` are the names on the way.
    fn follow(
        &self,
        entry: &Alias,
        seen: &mut Vec<String>,
        found: &mut Vec<Address>,
    ) -> Result<(), BadAlias> {
        for target in &entry.targets {
            let (text, last) =
                target.strip_prefix('\\').map_or((target.as_str(), false), |text| (text, true));
            for address in self.addresses(entry, text)? {
                let name = address.as_str().to_lowercase();
                let next = self.entries.get(&name).filter(|_| !last && address.domain().is_none());
                match next {
                    Some(_) if seen.last() == Some(&name) => found.push(address),
                    Some(_) if seen.contains(&name) => {}
                    Some(next) => {
                        seen.push(name);
                        self.follow(next, seen, found)?;
                        seen.pop();
                    }
                    None => found.push(address),
                }
            }
        }
        Ok(())
    }

    fn addresses(&self, entry: &Alias, target: &str) -> Result<Vec<Address>, BadAlias> {
        let bare = target.trim_start_matches('"');
        if bare.starts_with(['|', '/']) || bare.starts_with(":include:") {
            return Err(self.wrong(entry, format!("'{target}': mail is not delivered to programs and files")));
        }
        list::parse(target.as_bytes()).map_err(|e| self.wrong(entry, e.to_string()))
    }

    fn wrong(&self, entry: &Alias, why: String) -> BadAlias {
        BadAlias { path: self.path.clone(), line: entry.line, why }
    }
}

/// The lines with those that continue them, without comments and empty ones, each with its number.
fn logical_lines(text: &str) -> Vec<(usize, String)> {
    let mut lines: Vec<(usize, String)> = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let line = without_comment(line);
        if line.trim().is_empty() {
            continue;
        }
        match lines.last_mut() {
            Some((_, last)) if line.starts_with([' ', '\t']) => last.push_str(line),
            _ => lines.push((number, line.to_owned())),
        }
    }
    lines
}

/// A comment begins with a `#` at the line's beginning or behind a blank, outside of quotes.
fn without_comment(line: &str) -> &str {
    let (mut quoted, mut before) = (false, ' ');
    for (at, c) in line.char_indices() {
        if c == '#' && !quoted && before.is_ascii_whitespace() {
            return line.get(..at).unwrap_or(line);
        }
        quoted ^= c == '"' && before != '\\';
        before = c;
    }
    line
}

/// What commas outside of quotes separate.
fn members(text: &str) -> Vec<String> {
    let (mut quoted, mut escaped) = (false, false);
    let members = text.split(|c| {
        quoted ^= c == '"' && !escaped;
        escaped = quoted && c == '\\' && !escaped;
        c == ',' && !quoted
    });
    members.map(str::trim).filter(|member| !member.is_empty()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "\
# who reads what
root: admin@example.net, Ann   # the two of them
postmaster: root
ann:
   ann@example.org,
\t\"Ann, at home\" <ann@home.example>
\"big boss\": x@example.net
joe: joe, archive@example.net
bob: \\bob, joe
decode: |/usr/bin/uudecode
log: \"|logger -t mail\"
file: /var/mail/file
list: :include:/etc/list
loop: pool
pool: loop
nobody:
wrong: a b c
";

    fn expanded(name: &str) -> Result<Vec<String>, String> {
        let aliases = Aliases::parse(Path::new("aliases"), FILE).unwrap();
        let found = aliases.expand(Address::parse(name).unwrap()).map_err(|e| e.to_string())?;
        Ok(found.iter().map(|address| address.as_str().to_owned()).collect())
    }

    #[test]
    fn a_name_stands_for_others() {
        for (name, others) in [
            ("root", &["admin@example.net", "ann@example.org", "ann@home.example"][..]),
            ("ROOT", &["admin@example.net", "ann@example.org", "ann@home.example"]),
            ("postmaster", &["admin@example.net", "ann@example.org", "ann@home.example"]),
            ("joe", &["joe", "archive@example.net"]),
            ("bob", &["bob", "joe", "archive@example.net"]),
            ("carl", &["carl"]),
            ("root@example.com", &["root@example.com"]),
        ] {
            assert_eq!(expanded(name).unwrap(), others, "{name}");
        }
    }

    #[test]
    fn what_is_no_recipient_is_named_with_its_line() {
        for (name, said) in [
            ("decode", "aliases:10: '|/usr/bin/uudecode': mail is not delivered to programs"),
            ("log", "aliases:11: "),
            ("file", "aliases:12: "),
            ("list", "aliases:13: "),
            ("loop", "aliases:14: no recipients for this name"),
            ("nobody", "aliases:16: no recipients"),
            ("wrong", "aliases:17: "),
        ] {
            let why = expanded(name).unwrap_err();
            assert!(why.starts_with(said), "{name}: {why}");
        }
        let marked = Aliases::parse(Path::new("a"), "\u{feff}root: x\r\nann: y\r\n").unwrap();
        assert_eq!(marked.expand(Address::parse("root").unwrap()).unwrap()[0].as_str(), "x");
        let why = Aliases::parse(Path::new("a"), "root: x\nthis is nothing\n").unwrap_err().to_string();
        assert_eq!(why, "a:2: expected 'name: recipient, ...'");
    }
}
