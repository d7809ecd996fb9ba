//! From words to [`Args`]: what was typed, with the settings that it leaves in force, parsed once.

use std::borrow::Cow;
use std::ffi::OsString;
use std::io;
use std::mem::ManuallyDrop;
use std::path::PathBuf;

use clap::error::{ContextKind, ErrorKind};
use clap::{Args as _, Command, CommandFactory, FromArgMatches, ValueEnum};

use super::bulk::Bulk;
use super::configuration::Configuration;
use super::protocol::{Protocol, QueryArgs};
use super::sendmail::{self, Name, SendmailArgs};
use super::settings::{self, Found, Group, Read, SCHEMA, Settings, Sources};
use super::{Args, DestinationArgs, EnvelopeArgs, ExitStyle, Usual};
use super::{help, hint};

/// A command line that comes to nothing to do.
#[derive(Debug)]
pub enum Unparsed {
    /// `--help` or `--version`: the text to print.
    Answer(String),
    /// It cannot be understood; why.
    Error(String),
    /// What was typed may be understood, but a variable or a configuration file cannot.
    Config(String),
    /// A configuration file cannot be read, or was waited for in vain.
    Unreadable(PathBuf, io::Error),
}

impl From<clap::Error> for Unparsed {
    fn from(error: clap::Error) -> Self {
        let text = error.to_string();
        if error.kind() == ErrorKind::DisplayHelp {
            Self::Answer(help::wrapped(&text))
        } else if error.kind() == ErrorKind::DisplayVersion {
            Self::Answer(text)
        } else {
            Self::Error(with_hint(&error, &text))
        }
    }
}

/// The text of an error, with what to type for an option that there is not. What clap has to suggest is a FILE of that name.
fn with_hint(error: &clap::Error, text: &str) -> String {
    let invalid = error.get(ContextKind::InvalidArg).map(ToString::to_string).unwrap_or_default();
    let unknown = error.kind() == ErrorKind::UnknownArgument;
    let hint = if unknown { hint::of(&invalid) } else { None };
    let lines = text.lines().filter(|line| !line.starts_with("  tip: to pass"));
    let mut lines: Vec<String> = lines.map(str::to_owned).collect();
    lines.dedup_by(|a, b| a.is_empty() && b.is_empty());
    lines.extend([String::new()]);
    with_tip(&lines.join("\n"), hint)
}

/// `text` with a tip below its first line.
fn with_tip(text: &str, tip: Option<String>) -> String {
    let (first, rest) = text.split_once('\n').unwrap_or((text, ""));
    let tip = tip.map(|tip| format!("  tip: {tip}\n")).unwrap_or_default();
    format!("{first}\n{tip}{rest}")
}

/// The command line `argv`, the program's name first, with the settings of `sources`, whose files `read` reads.
/// Nothing is printed.
///
/// # Errors
///
/// [`Unparsed`], which the caller prints.
pub fn parse(argv: &[OsString], sources: &Sources, read: Read<'_>) -> Result<Args, Unparsed> {
    if let Some(place) = sendmail_words(argv) {
        return as_sendmail(argv, place, sources, read);
    }
    if let Some(error) = one_dash(argv) {
        return Err(error);
    }
    let args = if sources.are_silent() && !mentions_settings(argv) {
        typed(argv)?
    } else {
        with_settings(argv, sources, read, &[])?
    };
    match args.contradiction() {
        None => Ok(args),
        Some(why) => Err(why.unparsed(&args)),
    }
}

/// A long option behind one dash, as other programs take it: what it comes to as short ones is not meant.
fn one_dash(argv: &[OsString]) -> Option<Unparsed> {
    let mut candidates = argv.iter().enumerate().skip(1).filter_map(|(at, word)| {
        // Options of one letter, and long ones as they are meant, are not looked up.
        let letters = word.as_encoded_bytes().strip_prefix(b"-")?;
        let is_candidate = letters.len() > 1 && !letters.starts_with(b"-");
        is_candidate.then(|| hint::one_dash(word)).flatten().map(|tip| (at, word, tip))
    });
    let first = candidates.next()?;
    // It may be a value, such as an address.
    let clusters = SCHEMA.typed(argv).clusters;
    let (_, word, tip) = std::iter::once(first).chain(candidates).find(|(at, ..)| clusters.contains(at))?;
    Some(Unparsed::Error(format!("error: unexpected argument '{}'\n  tip: {tip}", word.display())))
}

/// Where the command line of sendmail begins, if it is one: behind its name or behind `--sendmail`.
fn sendmail_words(argv: &[OsString]) -> Option<usize> {
    if argv.first().is_some_and(|program| Name::of(program).is_some()) {
        return Some(1);
    }
    let typed = || SCHEMA.typed(argv).sendmail;
    argv.iter().any(|word| word == "--sendmail").then(typed)?.map(|place| place + 1)
}

/// The command line of sendmail or of one of its other names, whose words begin at `place`.
fn as_sendmail(argv: &[OsString], place: usize, sources: &Sources, read: Read<'_>) -> Result<Args, Unparsed> {
    let program = argv.first().and_then(|program| Name::of(program));
    match program {
        Some(Name::Mailq) => return Err(Unparsed::Answer(sendmail::NO_QUEUE.into())),
        Some(Name::Newaliases) => return Err(Unparsed::Answer(String::new())),
        Some(Name::Sendmail) | None => {}
    }
    let (words, submission) = submitted(argv, place)?;
    if let Some(answer) = submission.other {
        return Err(Unparsed::Answer(answer.into()));
    }
    let mut args = with_settings(&words, sources, read, &FOR_OTHER_RUNS)?;
    args.submission = Some(submission);
    match args.contradiction() {
        None => Ok(args),
        Some(Contradiction { kind: ErrorKind::MissingRequiredArgument, options: [], .. }) => {
            Err(Unparsed::Config(nowhere_to_go(&args, sources)))
        }
        Some(why) => Err(why.unparsed(&args)),
    }
}

/// Whether the command line is sendmail's.
#[must_use]
pub fn is_sendmail(argv: &[OsString]) -> bool {
    sendmail_words(argv).is_some()
}

/// Sendmail's command line in our own words, those before `place` among them.
fn submitted(argv: &[OsString], place: usize) -> Result<(Vec<OsString>, SendmailArgs), Unparsed> {
    let ours = argv.iter().take((place - 1).max(1));
    let submission = sendmail::parse(argv.get(place..).unwrap_or_default())
        .map_err(|why| Unparsed::Error(format!("error: {why}")))?;
    Ok((ours.chain(&submission.words).cloned().collect(), submission))
}

/// There is no destination, and nobody who could type one: where it was looked for, and what may have kept it from being
/// found.
fn nowhere_to_go(args: &Args, sources: &Sources) -> String {
    let explicit = args.configuration.config.as_ref().map(std::slice::from_ref);
    let files: Vec<String> =
        explicit.unwrap_or(&sources.files).iter().map(|file| file.display().to_string()).collect();
    let warnings: String = args.warnings.iter().map(|warning| format!("; {warning}")).collect();
    format!(
        "no destination: set one of host, socket, exec, sink in {}, or one of LMTP_SEND_HOST, LMTP_SEND_SOCKET, LMTP_SEND_EXEC, LMTP_SEND_SINK in the environment{warnings}",
        files.join(" or "),
    )
}

/// What was typed and no more, in our own words or in sendmail's.
///
/// # Errors
///
/// [`Unparsed`], of any kind but [`Unparsed::Config`].
pub fn typed_only(argv: &[OsString]) -> Result<Args, Unparsed> {
    let Some(place) = sendmail_words(argv) else { return typed(argv) };
    let (words, submission) = submitted(argv, place)?;
    Ok(Args { submission: Some(submission), ..typed(&words)? })
}

fn typed(argv: &[OsString]) -> Result<Args, Unparsed> {
    // The usual options are enough for most, and defining one takes as long as understanding a word. What
    // cannot be understood with them is looked at with all.
    match take::<Usual>(usual_options(), argv) {
        Ok(usual) => Ok(Args::from(usual)),
        Err(_) => take(Args::command(), argv).map_err(|error| asked_for(error, argv)),
    }
}

/// The answer to an error that is none: `-h` is short, `--help` is complete. What may be meant for something else is no
/// question: a mail system would take the answer for a delivery.
fn asked_for(error: clap::Error, argv: &[OsString]) -> Unparsed {
    let is_asked = |long: &str, short: &[&str]| {
        argv.iter().any(|word| word == long)
            || argv.last().is_some_and(|word| short.iter().any(|short| word == short))
    };
    let (what, is_asked) = if error.kind() == ErrorKind::DisplayHelp {
        ("-h prints help", is_asked("--help", &["-h", "-help"]))
    } else if error.kind() == ErrorKind::DisplayVersion {
        ("-V prints the version", is_asked("--version", &["-V"]))
    } else {
        return error.into();
    };
    if !is_asked {
        let text = "when nothing follows it; a host is given with --host";
        return Unparsed::Error(format!("error: {what} {text}"));
    }
    let long = argv.iter().any(|word| word == "--help");
    let short = error.kind() == ErrorKind::DisplayHelp && !long;
    if short { Unparsed::Answer(help::SHORT.into()) } else { error.into() }
}

/// Whether a word looks like an option that is about settings; it may be a value all the same.
fn mentions_settings(argv: &[OsString]) -> bool {
    let options = ["--config", "--profile", "--show-config"];
    argv.iter()
        .skip(1)
        .any(|word| options.iter().any(|option| word.as_encoded_bytes().starts_with(option.as_bytes())))
}

/// Settings that do not hold for sendmail's command line: whoever calls that has one message, which is delivered to whom the
/// caller says, whatever is configured for archives, for a part of many messages, or for questions. An option, or an option
/// with a value.
const FOR_OTHER_RUNS: [&str; 13] = [
    "to",
    "mbox",
    "files-from",
    "header-recipients",
    "repeat",
    "shard",
    "probe",
    "exit-style=monitor",
    "vrfy",
    "expn",
    "etrn",
    "help-from-server",
    "noop",
];

/// What was typed, and before it the words of the settings that it leaves in force, but for those `without` which it is to
/// be: parsed once.
fn with_settings(
    argv: &[OsString],
    sources: &Sources,
    read: Read<'_>,
    without: &[&str],
) -> Result<Args, Unparsed> {
    let typed = SCHEMA.typed(argv);
    let mut found = settings::gather(sources, &typed, read)?;
    found.settings.forget(without);
    let (name, words) = argv.split_at(argv.len().min(1));
    let given = found.settings.words().map(OsString::from);
    let words: Vec<OsString> = name.iter().cloned().chain(given).chain(words.iter().cloned()).collect();
    let options = typed.given.iter().map(|(option, _)| *option).chain(found.settings.options());
    let groups = SCHEMA.groups(options);
    // As with what is typed: what cannot be understood with these options is looked at with all.
    let args = take_groups(&groups, &words).or_else(|_| take(Args::command(), &words)).map_err(|error| {
        let asked = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
        if asked { asked_for(error, argv) } else { found.settings.blame(error) }
    })?;
    if args.configuration.show_config.is_some() {
        if !args.usual.files.is_empty() {
            let why = "--show-config delivers nothing: FILE cannot be given with it";
            return Err(Args::command().error(ErrorKind::ArgumentConflict, why).into());
        }
        return Err(Unparsed::Answer(settings::show(&Args::command(), sources, &found, &typed)));
    }
    let Found { settings, warnings, .. } = found;
    Ok(Args { settings, warnings, ..args })
}

/// The usual options only. A setting that changes how words are understood belongs to [`Args`] and here; and
/// no option of [`Protocol`] or [`Configuration`] may have a value when it is not given.
fn usual_options() -> Command {
    Usual::augment_args(Command::new("lmtp-send").args_override_self(true))
}

/// `argv` as `command` understands it.
fn take<T: FromArgMatches>(command: Command, argv: &[OsString]) -> Result<T, clap::Error> {
    // Left to the process's end: taking the definitions down would cost as much as reading a message.
    let mut command = ManuallyDrop::new(command);
    let mut matches = command.try_get_matches_from_mut(argv)?;
    T::from_arg_matches_mut(&mut matches).map_err(|e| e.format(&mut command))
}

/// `argv` as the usual options and those of `groups` understand it.
fn take_groups(groups: &[Group], argv: &[OsString]) -> Result<Args, clap::Error> {
    let has = |group| groups.contains(&group);
    let mut command = usual_options();
    if has(Group::Protocol) {
        command = Protocol::augment_args(command);
    }
    if has(Group::Bulk) {
        command = Bulk::augment_args(command);
    }
    if has(Group::Configuration) {
        command = Configuration::augment_args(command);
    }
    let mut matches = ManuallyDrop::new(command).try_get_matches_from_mut(argv)?;
    let mut args = Args::from(Usual::from_arg_matches_mut(&mut matches)?);
    if has(Group::Protocol) {
        args.protocol = Protocol::from_arg_matches_mut(&mut matches)?;
    }
    if has(Group::Bulk) {
        args.bulk = Bulk::from_arg_matches_mut(&mut matches)?;
    }
    if has(Group::Configuration) {
        args.configuration = Configuration::from_arg_matches_mut(&mut matches)?;
    }
    Ok(args)
}

/// The style of exit codes for a command line, a variable or a file that cannot be understood: as it was typed, else
/// as the environment or a file has it, as far as that can be read.
#[must_use]
pub fn exit_style(argv: &[OsString], sources: &Sources) -> Option<ExitStyle> {
    let elsewhere = || {
        let style = settings::exit_style(sources, &SCHEMA.typed(argv))?;
        let style = ExitStyle::from_str(&style, false).ok()?;
        // See FOR_OTHER_RUNS.
        (style != ExitStyle::Monitor || !is_sendmail(argv)).then_some(style)
    };
    exit_wishes(argv).0.or_else(elsewhere)
}

/// How a usage error is to exit: the style, and whether every error is temporary (`--soft-bounce`). The words
/// could not be parsed, so they are only searched.
#[must_use]
pub fn exit_wishes(argv: &[OsString]) -> (Option<ExitStyle>, bool) {
    let words =
        || argv.iter().skip(1).map(|word| word.to_str().unwrap_or_default()).take_while(|w| *w != "--");
    let styles = words().zip(words().skip(1).chain([""])).filter_map(|(word, next)| {
        let value = match word.strip_prefix("--exit-style")? {
            "" => next,
            attached => attached.strip_prefix('=')?,
        };
        ExitStyle::from_str(value, false).ok()
    });
    (styles.last(), words().any(|word| word == "--soft-bounce"))
}

impl Args {
    /// What cannot be meant, of that which clap does not see.
    pub(super) fn contradiction(&self) -> Option<Contradiction> {
        let Usual { files, envelope: EnvelopeArgs { to, .. }, .. } = &self.usual;
        let DestinationArgs { host, socket, exec, sink, .. } = &self.usual.destination;
        if !files.is_empty() && self.submission.is_some() {
            let why = "as sendmail the message is read from standard input: FILE cannot be given";
            return Some(Contradiction { kind: ErrorKind::ArgumentConflict, options: &[], why: why.into() });
        }
        let kinds = [
            ("--host", !host.is_empty()),
            ("--socket", socket.is_some()),
            ("--exec", exec.is_some()),
            ("--sink", sink.is_some()),
        ];
        let given: Vec<&str> = kinds.into_iter().filter(|(_, given)| *given).map(|(kind, _)| kind).collect();
        match given.as_slice() {
            [] => Some(Contradiction {
                kind: ErrorKind::MissingRequiredArgument,
                options: &[],
                why: "no destination: give one of --host HOST, --socket PATH, --exec COMMAND, --sink DIR"
                    .into(),
            }),
            [_] => self
                .protocol
                .contradiction(!files.is_empty() || self.has_two_messages(), !to.is_empty())
                .or_else(|| self.bulk.contradiction(files, !to.is_empty()))
                .or_else(|| self.thresholds_in_vain()),
            _ => Some(two_destinations(&given)),
        }
    }

    /// Thresholds that nobody would look at, or that cannot both be meant. Settings may hold them for other runs.
    fn thresholds_in_vain(&self) -> Option<Contradiction> {
        let QueryArgs { warning, critical, warning_days, probe, .. } = &self.protocol.query;
        let kind = ErrorKind::ArgumentConflict;
        if let (Some(warning), Some(critical)) = (warning, critical)
            && warning > critical
        {
            let why = "--warning must not be above --critical";
            return Some(Contradiction { kind, options: &["warning", "critical"], why: why.into() });
        }
        let monitors = probe.is_some() && self.usual.outcome.exit_style == Some(ExitStyle::Monitor);
        let given = [
            ("warning", warning.is_some()),
            ("critical", critical.is_some()),
            ("warning-days", warning_days.is_some()),
        ];
        let typed = given.iter().any(|(option, given)| *given && self.settings.origin(option).is_none());
        let why = "--warning, --critical and --warning-days need --probe --exit-style monitor";
        (typed && !monitors).then_some(Contradiction { kind, options: &[], why: why.into() })
    }

    /// A message of our own is to be sent, and others as well.
    fn has_two_messages(&self) -> bool {
        self.protocol.transaction.test.is_some()
            && (self.bulk.mbox.is_some() || self.bulk.files_from.is_some())
    }

    /// What was meant by a FILE that is none and looks like something else.
    fn taken_for_a_file(&self) -> Option<String> {
        let missing = self.usual.files.iter().filter(|file| !file.exists());
        missing.filter_map(|file| file.to_str()).find_map(|file| {
            hint::not_a_file(file)
                .map(|hint| format!("'{}' is taken for a FILE: {hint}", file.escape_debug()))
        })
    }
}

impl From<Usual> for Args {
    fn from(usual: Usual) -> Self {
        let (protocol, configuration) = (Protocol::default(), Configuration::default());
        Self {
            usual,
            protocol,
            configuration,
            bulk: Bulk::default(),
            settings: Settings::default(),
            warnings: Vec::new(),
            submission: None,
        }
    }
}

/// Options that clap understands and that cannot be meant together.
#[derive(Debug)]
pub struct Contradiction {
    pub kind: ErrorKind,
    /// Those it is about.
    pub options: &'static [&'static str],
    pub why: Cow<'static, str>,
}

/// Several kinds of destination are `given`.
fn two_destinations(given: &[&str]) -> Contradiction {
    let sink =
        if given.contains(&"--sink") { "; --sink is itself the server, and connects to none" } else { "" };
    let why = format!("more than one kind of destination: give only one of {}{sink}", given.join(", "));
    Contradiction {
        kind: ErrorKind::ArgumentConflict,
        options: &["host", "socket", "exec", "sink"],
        why: why.into(),
    }
}

impl Contradiction {
    /// The error: of the usage if all was typed, else of the configuration.
    fn unparsed(self, args: &Args) -> Unparsed {
        let placed = self.options.iter().find_map(|option| args.settings.explain(option, &self.why));
        if let Some(text) = placed {
            return Unparsed::Config(text);
        }
        let text = Args::command().error(self.kind, &self.why).to_string();
        let nowhere = self.kind == ErrorKind::MissingRequiredArgument;
        Unparsed::Error(with_tip(&text, args.taken_for_a_file().filter(|_| nowhere)))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::{BodyName, MechanismName, Notify, Ret};
    use super::*;

    fn owned(first: &[&str], more: &[&str]) -> Vec<OsString> {
        first.iter().chain(more).map(OsString::from).collect()
    }

    /// `argv` without any setting.
    fn alone(argv: &[OsString]) -> Result<Args, Unparsed> {
        parse(argv, &Sources::default(), &|path, _, _| std::fs::read(path))
    }

    /// The arguments of a delivery to a sink, with `words` added.
    fn with(words: &[&str]) -> Result<Args, Unparsed> {
        alone(&owned(&["lmtp-send", "--sink", "inbox"], words))
    }

    /// What is said to a command line that cannot be understood.
    fn said(parsed: Result<Args, Unparsed>) -> String {
        match parsed {
            Err(Unparsed::Error(text)) => text,
            other => panic!("this should not be understood: {other:?}"),
        }
    }

    fn message(words: &[&str]) -> String {
        said(with(words))
    }

    #[test]
    fn the_definitions_hold_together() {
        Args::command().debug_assert();
    }

    #[test]
    fn what_is_not_given_can_be_told_from_what_is() {
        let args = with(&[]).unwrap();
        assert_eq!(
            (
                args.usual.destination.port,
                args.usual.session.timeout,
                args.usual.outcome.uncertain,
                args.usual.outcome.exit_style
            ),
            (None, None, None, None)
        );
        assert_eq!(
            (args.usual.envelope.from, args.usual.envelope.to, args.usual.files),
            (None, vec![], vec![])
        );
        assert!(
            args.usual.outcome.soft_bounce.is_none()
                && !args.protocol.is_query()
                && args.usual.output.verbose == 0
        );
    }

    /// What the usual options understand, all of them understand the same way.
    #[test]
    fn the_usual_options_are_no_other_language() {
        for words in [
            &["-t", "--probe", "a"][..],
            &["-qt", "--user", "--", "--noop"],
            &["--timeout=1", "-l", "-u", "--timeout", "2", "-vt-x", "--to=--help"],
            &["-f", "", "--port", "25", "-", "-4H", "a", "--sink=b"],
        ] {
            let words = owned(&["lmtp-send", "--sink", "inbox"], words);
            let of_usual: Usual = take(usual_options(), &words).unwrap();
            let whole: Args = take(Args::command(), &words).unwrap();
            assert_eq!(format!("{of_usual:?}"), format!("{:?}", whole.usual));
            assert_eq!(format!("{:?}", whole.protocol), format!("{:?}", Protocol::default()));
        }
        for words in [&["--noop"][..], &["-u", "joe"], &["--help"], &["-V"], &["--tim", "1"]] {
            assert!(take::<Usual>(usual_options(), &owned(&["lmtp-send"], words)).is_err(), "{words:?}");
        }
    }

    #[test]
    fn a_value_may_begin_with_a_hyphen_or_be_empty() {
        for words in [&["-f", "-x@y"][..], &["-f-x@y"], &["--from", "-x@y"], &["--from=-x@y"]] {
            assert_eq!(with(words).unwrap().usual.envelope.from.as_deref(), Some("-x@y"), "{words:?}");
        }
        for words in [&["-t", "-x@y"][..], &["--to=-x@y"], &["-t", "--help", "-t", "-q"]] {
            let args = with(words).unwrap();
            assert!(
                args.usual.envelope.to.iter().all(|to| to.starts_with('-'))
                    && args.usual.output.quiet.is_none(),
                "{words:?}"
            );
        }
        for words in [&["-f", ""][..], &["--from="], &["-f", "a@b", "-f", ""]] {
            assert_eq!(with(words).unwrap().usual.envelope.from.as_deref(), Some(""), "{words:?}");
        }
    }

    #[test]
    fn what_looks_like_a_question_or_a_long_option_of_one_dash_is_not_taken_for_another() {
        for (words, tip) in [
            (&["-host", "mx.example.net", "-t", "joe"][..], "--host"),
            (&["-t", "-to", "-to", "joe@x.example"], "'-to'"),
            (&["-tls", "-f", "me@x.example"], "--tls"),
            (&["-h", "localhost", "-t", "joe"], "-h prints help when nothing follows it"),
            (&["-V", "-t", "joe"], "-V prints the version when nothing follows it"),
        ] {
            assert!(message(words).contains(tip), "{words:?}: {}", message(words));
        }
        assert_eq!(
            with(&["-t", "-to", "-t-tls", "-t", "ls"]).unwrap().usual.envelope.to,
            ["-to", "-tls", "ls"]
        );
        for words in [&["-h"][..], &["-help"], &["-V"], &["--help"], &["--version"], &["-t", "joe", "--help"]]
        {
            let words = owned(&["lmtp-send"], words);
            assert!(matches!(alone(&words), Err(Unparsed::Answer(_))), "{words:?}");
        }
    }

    #[test]
    fn files_stand_anywhere_and_may_be_standard_input() {
        let files = |words: &[&str]| with(words).unwrap().usual.files;
        assert_eq!(files(&["-"]), [PathBuf::from("-")]);
        assert_eq!(files(&["a", "-t", "x@y", "b", "-q"]), ["a", "b"].map(PathBuf::from));
        assert_eq!(files(&["--", "-t", "x@y"]), ["-t", "x@y"].map(PathBuf::from));
        assert!(message(&["-t", "x@y", "-z"]).contains("unexpected argument '-z'"));
    }

    #[test]
    fn an_address_is_taken_as_it_is() {
        let args = with(&["-t", "a,b", "-t", "not an address", "-t", ""]).unwrap();
        assert_eq!(args.usual.envelope.to, ["a,b", "not an address", ""]);
    }

    #[cfg(unix)]
    #[test]
    fn an_address_that_is_not_utf8_is_found() {
        use std::os::unix::ffi::OsStringExt;
        let octets = OsString::from_vec(b"j\xffe@example.org".to_vec());
        let mut words = owned(&["lmtp-send", "--sink", "inbox", "-t"], &[]);
        words.push(octets);
        let args = alone(&words).unwrap();
        assert_eq!(args.usual.envelope.to, ["j\0xffe@example.org"]);
        assert_eq!(args.not_utf8(), Some(("--to", r"j\xffe@example.org".to_owned())));
    }

    #[test]
    fn there_is_one_kind_of_destination() {
        let parsed = |words: &[&str]| alone(&owned(&["lmtp-send"], words));
        assert_eq!(parsed(&["-H", "a", "-H", "b:24"]).unwrap().usual.destination.host, ["a", "b:24"]);
        let none = said(parsed(&["-t", "a@b"]));
        assert!(["--host", "--socket", "--exec", "--sink"].iter().all(|kind| none.contains(kind)), "{none}");
        for (words, given) in [
            (&["-H", "a", "-S", "b"][..], "only one of --host, --socket\n"),
            (&["-S", "b", "-e", "c"], "only one of --socket, --exec\n"),
            (&["--sink", "d", "-H", "a"], "only one of --host, --sink; --sink is itself the server"),
        ] {
            let two = said(parsed(words));
            assert!(two.contains(&format!("more than one kind of destination: give {given}")), "{two}");
        }
    }

    #[test]
    fn what_contradicts_itself_is_refused() {
        for words in [
            &["-4", "-6"][..],
            &["--tls-insecure", "--tls-ca", "roots.pem"],
            &["--password-file", "a", "--password-command", "b"],
            &["--notify", "never,delay"],
            &["--probe", "message.eml"],
            &["--vrfy", "joe", "-t", "joe"],
        ] {
            assert!(
                message(words).contains("cannot be") || message(words).contains("stands alone"),
                "{words:?}"
            );
        }
    }

    #[test]
    fn what_is_none_of_the_choices_is_refused() {
        for (words, said) in [
            (&["--report", "xml"][..], "[possible values: text, json]"),
            (&["--exit-style", ""], "[possible values: mta, shell, qmail, monitor]"),
            (&["--port", "65536"], "not a port from 1 to 65535"),
            (&["-p", "-1"], "not a port from 1 to 65535"),
            (&["--timeout", "0"], "not a number of seconds"),
            (&["--deadline=-1"], "not a number of seconds"),
            (&["--data-timeout", "NaN"], "not a number of seconds"),
            (&["--bind", "localhost"], "invalid IP address"),
            (&["--notify", "success,sometimes"], "invalid value 'sometimes'"),
        ] {
            assert!(message(words).contains(said), "{words:?}: {}", message(words));
        }
    }

    #[test]
    fn the_last_of_equal_options_counts() {
        let args =
            with(&["--timeout", "1", "--timeout", "0.5", "-q", "-v", "-q", "--ret", "full", "--ret", "HDRS"])
                .unwrap();
        assert_eq!(args.usual.session.timeout, Some(Duration::from_millis(500)));
        assert_eq!(args.protocol.notification.ret, Some(Ret::Hdrs));
        assert_eq!((args.usual.output.quiet.is_some(), args.usual.output.verbose), (true, 0));
        let args = with(&["-q", "-vv"]).unwrap();
        assert_eq!((args.usual.output.quiet.is_some(), args.usual.output.verbose), (false, 2));
    }

    #[test]
    fn mechanisms_and_parameters_are_named_as_their_rfcs_do() {
        let args =
            with(&["--auth", "SCRAM-SHA-256", "--body", "8BITMIME", "--notify", "SUCCESS,DELAY"]).unwrap();
        assert_eq!(args.protocol.authentication.auth, Some(MechanismName::ScramSha256));
        assert_eq!(args.protocol.transaction.body, Some(BodyName::EightBitMime));
        assert_eq!(args.protocol.notification.notify, [Notify::Success, Notify::Delay]);
    }

    #[test]
    fn queries_are_told_from_deliveries() {
        for words in
            [&["--noop"][..], &["--vrfy", "-x"], &["--help-from-server", "--debug"], &["--etrn", "a.example"]]
        {
            assert!(with(words).unwrap().protocol.is_query(), "{words:?}");
        }
        assert_eq!(with(&["--help-from-server"]).unwrap().protocol.query.help_from_server, Some(None));
        let topic = with(&["--help-from-server", "DATA"]).unwrap().protocol.query.help_from_server;
        assert_eq!(topic, Some(Some("DATA".to_owned())));
    }

    #[test]
    fn a_usage_error_exits_as_the_words_wish() {
        let wishes = |words: &[&str]| exit_wishes(&words.iter().map(OsString::from).collect::<Vec<_>>());
        assert_eq!(wishes(&["lmtp-send", "--nonsense"]), (None, false));
        assert_eq!(
            wishes(&["lmtp-send", "--soft-bounce", "--exit-style=qmail"]),
            (Some(ExitStyle::Qmail), true)
        );
        assert_eq!(
            wishes(&["lmtp-send", "--exit-style", "shell", "--", "--soft-bounce"]),
            (Some(ExitStyle::Shell), false)
        );
    }

    #[test]
    fn help_is_short_or_complete() {
        let answer = |words: &[&str]| match alone(&owned(&["lmtp-send"], words)) {
            Err(Unparsed::Answer(text)) => text,
            other => panic!("{other:?}"),
        };
        assert_eq!(answer(&["-h"]), help::SHORT);
        assert_eq!(answer(&["-t", "joe", "-h"]), help::SHORT);
        assert!(answer(&["--help"]).contains("--tls-fingerprint"));
        assert!(answer(&["-V"]).starts_with("lmtp-send "));
    }

    #[test]
    fn an_unknown_option_is_answered_with_ours() {
        for (words, tip) in [
            (&["--tiemout", "3"][..], "  tip: the nearest option is --timeout"),
            (&["--server=mx"], "  tip: a host is given with --host"),
            (&["--password", "x"], "  tip: a password never stands on the command line"),
        ] {
            let text = message(words);
            assert_eq!(text.lines().nth(1).map(|line| line.starts_with(tip)), Some(true), "{text}");
        }
        assert!(!message(&["--no-such-flag"]).contains("tip:"));
        let bare = said(alone(&owned(&["lmtp-send"], &["mailbox.example.net"])));
        assert!(
            bare.contains("'mailbox.example.net' is taken for a FILE: a host is given with --host"),
            "{bare}"
        );
    }
}
