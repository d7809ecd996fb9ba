//! The command line of sendmail: what cron, git, mutt and PHP call under that name.
//!
//! A getopt(3) loop of its own, since short options in one word (`-oi`, `-odi`, `-fjoe`) are no language of clap's. What it
//! understands becomes words of our own command line, before which settings go as before any other. The options are those of
//! sendmail 8 and of Postfix's sendmail(1), and msmtp's for an account, which is a profile here; options and recipients may be
//! mixed, `--` ends the options.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use anyhow::{Context, bail};

/// Under which name the program was called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Name {
    /// Deliver a message.
    Sendmail,
    /// Show the queue; there is none.
    Mailq,
    /// Make a table of the aliases; none is needed.
    Newaliases,
}

impl Name {
    /// The personality that the program's own name asks for.
    #[must_use]
    pub fn of(program: &OsStr) -> Option<Self> {
        match Path::new(program).file_name()?.as_bytes() {
            b"sendmail" => Some(Self::Sendmail),
            b"mailq" => Some(Self::Mailq),
            b"newaliases" => Some(Self::Newaliases),
            _ => None,
        }
    }
}

/// What sendmail's options ask for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SendmailArgs {
    /// The header's recipients are served beside those that are given.
    pub from_headers: bool,
    /// A line of a lone dot is content.
    pub ignore_dots: bool,
    /// The sender's name, for a From that is added.
    pub full_name: Option<String>,
    /// Only the queue, or the table of aliases, is asked for.
    pub other: Option<&'static str>,
    /// Our own options for the rest.
    pub words: Vec<OsString>,
}

/// Options with an argument, in the same word or the next.
const WITH_ARGUMENT: &[u8] = b"ABbCDFLMNORSVXaefhopr";
/// Options that stand alone.
const ALONE: &[u8] = b"GIUcimnstvxT";

/// What `mailq` prints.
pub const NO_QUEUE: &str = "Mail queue is empty\n";

/// Understands `words`, which do not begin with the program's name.
///
/// # Errors
///
/// Why an option cannot be had.
pub fn parse(words: &[OsString]) -> anyhow::Result<SendmailArgs> {
    let mut submission = SendmailArgs::default();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        match word.as_bytes() {
            b"--" => break,
            [b'-', b'-', ..] => bail!(ours(word)),
            [b'-', cluster @ ..] if !cluster.is_empty() => submission.cluster(cluster, &mut words)?,
            _ => submission.recipient(word),
        }
    }
    words.for_each(|word| submission.recipient(word));
    Ok(submission)
}

impl SendmailArgs {
    /// The options in one word; an argument may be the next of `words`.
    fn cluster(&mut self, cluster: &[u8], words: &mut std::slice::Iter<'_, OsString>) -> anyhow::Result<()> {
        let Some((&letter, rest)) = cluster.split_first() else { return Ok(()) };
        match letter {
            b'q' => bail!("there is no queue to run (-q)"),
            // -d takes its argument in the same word or none.
            b'd' => Ok(()),
            letter if WITH_ARGUMENT.contains(&letter) => {
                let attached = (!rest.is_empty()).then(|| OsStr::from_bytes(rest));
                let argument = attached.or_else(|| words.next().map(OsString::as_os_str));
                let missing = || format!("sendmail's option -{} needs an argument", char::from(letter));
                self.option(letter, argument.with_context(missing)?)
            }
            letter if ALONE.contains(&letter) => {
                self.flag(letter);
                self.cluster(rest, words)
            }
            letter => bail!("'-{}' is not an option of sendmail", letter.escape_ascii()),
        }
    }

    fn flag(&mut self, letter: u8) {
        match letter {
            b'i' => self.ignore_dots = true,
            b't' => self.from_headers = true,
            b'v' => self.words.push("--verbose".into()),
            b'I' => self.other = Some(""),
            _ => {}
        }
    }

    fn option(&mut self, letter: u8, argument: &OsStr) -> anyhow::Result<()> {
        match letter {
            b'f' | b'r' => self.say("--from", argument),
            b'F' => self.full_name = Some(argument.to_string_lossy().into_owned()),
            b'B' => self.say("--body", argument),
            b'C' => self.say("--config", argument),
            b'a' => self.say("--profile", argument),
            b'N' => self.say("--notify", argument),
            b'R' => self.say("--ret", argument),
            b'V' => self.say("--envid", argument),
            b'X' => {
                self.words.push("--report=text".into());
                self.say("--report-file", argument);
            }
            b'b' => return self.mode(argument.as_bytes()),
            b'o' => self.ignore_dots |= argument == "i",
            b'O' => self.ignore_dots |= is_ignore_dots(argument),
            _ => {}
        }
        Ok(())
    }

    fn mode(&mut self, mode: &[u8]) -> anyhow::Result<()> {
        match mode {
            b"m" => {}
            b"v" => self.words.push("--probe".into()),
            b"p" => self.other = Some(NO_QUEUE),
            b"i" => self.other = Some(""),
            b"s" => {
                bail!("SMTP on standard input (-bs) is not supported; give the message and its recipients")
            }
            b"d" | b"D" | b"l" => bail!("this program is not a server: -bd is not supported"),
            mode => bail!("sendmail's mode -b{} is not supported", mode.escape_ascii()),
        }
        Ok(())
    }

    fn recipient(&mut self, word: &OsStr) {
        self.say("--to", word);
    }

    fn say(&mut self, option: &str, value: &OsStr) {
        let mut word = OsString::from(option);
        word.push("=");
        word.push(value);
        self.words.push(word);
    }
}

/// `-O IgnoreDots=true`, or `-O IgnoreDots`, in any case of letters.
fn is_ignore_dots(argument: &OsStr) -> bool {
    let text = argument.to_string_lossy().to_ascii_lowercase();
    let (name, value) = text.split_once('=').unwrap_or((&text, "t"));
    name == "ignoredots" && value.starts_with('t')
}

fn ours(word: &OsStr) -> String {
    let word = word.to_string_lossy();
    format!(
        "'{}' is not an option of sendmail; give options of lmtp-send before --sendmail, in the environment or in a file",
        word.escape_debug()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<SendmailArgs, String> {
        let words: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
        parse(&words).map_err(|why| why.to_string())
    }

    #[test]
    fn options_stand_in_one_word_or_in_two() {
        for (line, words) in [
            ("joe", &["--to=joe"][..]),
            ("-i joe ann@x.example", &["--to=joe", "--to=ann@x.example"]),
            ("-fme@x joe", &["--from=me@x", "--to=joe"]),
            ("-f me@x -oi joe", &["--from=me@x", "--to=joe"]),
            ("-r me@x joe", &["--from=me@x", "--to=joe"]),
            ("joe -f me@x", &["--to=joe", "--from=me@x"]),
            ("-- -x@y -f", &["--to=-x@y", "--to=-f"]),
            ("-vivt joe", &["--verbose", "--verbose", "--to=joe"]),
            ("-oem -oi -odi -odb -om -o7 -oA/etc/aliases joe", &["--to=joe"]),
            ("-FCronDaemon -i -B8BITMIME -oem root", &["--body=8BITMIME", "--to=root"]),
            ("-G -U -n -m -L tag -h 20 -Am -Ac -em -e q -d21.12 -p ESMTP:x joe", &["--to=joe"]),
            (
                "-N success,delay -R hdrs -V id joe",
                &["--notify=success,delay", "--ret=hdrs", "--envid=id", "--to=joe"],
            ),
            ("-X log -C file joe", &["--report=text", "--report-file=log", "--config=file", "--to=joe"]),
            ("-a work -C file joe", &["--profile=work", "--config=file", "--to=joe"]),
            ("-awork joe", &["--profile=work", "--to=joe"]),
            ("-bm joe", &["--to=joe"]),
            ("-bv joe", &["--probe", "--to=joe"]),
            ("-ODeliveryMode=b -O IgnoreDots=True joe", &["--to=joe"]),
        ] {
            assert_eq!(parsed(line).unwrap().words, words, "{line}");
        }
    }

    #[test]
    fn dots_recipients_and_names_are_as_asked() {
        for (line, ignore_dots, from_headers) in [
            ("joe", false, false),
            ("-i joe", true, false),
            ("-oi joe", true, false),
            ("-o i joe", true, false),
            ("-oem joe", false, false),
            ("-oi -oem -t", true, true),
            ("-ti", true, true),
            ("-t joe", false, true),
            ("-OIgnoreDots joe", true, false),
            ("-OIgnoreDots=false joe", false, false),
        ] {
            let submission = parsed(line).unwrap();
            assert_eq!(
                (submission.ignore_dots, submission.from_headers),
                (ignore_dots, from_headers),
                "{line}"
            );
        }
        assert_eq!(parsed("-FCronDaemon joe").unwrap().full_name.as_deref(), Some("CronDaemon"));
        let words = ["-F", "Joe \"Q\" Public", "joe"].map(OsString::from);
        assert_eq!(parse(&words).unwrap().full_name.as_deref(), Some("Joe \"Q\" Public"));
        let words = ["-f", "", "joe"].map(OsString::from);
        assert_eq!(parse(&words).unwrap().words, ["--from=", "--to=joe"]);
    }

    #[test]
    fn what_cannot_be_had_is_said_with_a_reason() {
        for (line, why) in [
            ("-bs", "not supported"),
            ("-bd", "not a server"),
            ("-q", "there is no queue"),
            ("-q30m", "no queue"),
            ("-bd -q1h", "not a server"),
            ("-bt", "-bt is not supported"),
            ("-Z joe", "'-Z' is not an option"),
            ("joe -f", "-f needs an argument"),
            ("--host x joe", "before --sendmail"),
        ] {
            let said = parsed(line).unwrap_err();
            assert!(said.contains(why), "{line}: {said}");
        }
    }

    #[test]
    fn the_programs_name_says_what_it_is() {
        for (program, name) in [
            ("/usr/sbin/sendmail", Some(Name::Sendmail)),
            ("sendmail", Some(Name::Sendmail)),
            ("/usr/bin/mailq", Some(Name::Mailq)),
            ("newaliases", Some(Name::Newaliases)),
            ("/usr/bin/lmtp-send", None),
            ("", None),
        ] {
            assert_eq!(Name::of(OsStr::new(program)), name, "{program}");
        }
        assert_eq!(parsed("-bp").unwrap().other, Some(NO_QUEUE));
        assert_eq!(parsed("-bi").unwrap().other, Some(""));
    }
}
