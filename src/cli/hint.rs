//! What to say to an option that does not exist: what it is called here, or the nearest one that does.

use std::ffi::OsStr;

use super::settings::{SCHEMA, ValueForm};

/// What users of swaks, msmtp, sendmail, curl and others type, and what they are to type here.
const ELSEWHERE: &[(&[&str], &str)] = &[
    (&["tlso", "tls-optional", "tlsos"], "TLS where it is offered is --tls opportunistic"),
    (
        &["connect-timeout", "timeout-connect", "max-time"],
        "time limits are --timeout for the connection and each reply, and --deadline for all of it",
    ),
    (
        &["server", "smtp-server", "smtp-host", "url", "hostname", "s"],
        "a host is given with --host HOST[:PORT]",
    ),
    (&["unix", "unix-socket", "path"], "a Unix-domain socket is given with --socket PATH"),
    (&["pipe", "command", "copy-routing"], "a program that speaks LMTP is given with --exec COMMAND"),
    (
        &["password", "pass", "auth-password", "ap"],
        "a password never stands on the command line: there are --password-file, --password-command and LMTP_SEND_PASSWORD in the environment",
    ),
    (
        &["passwordeval", "password-eval"],
        "a command that prints the password is given with --password-command",
    ),
    (&["username", "auth-user", "au", "login"], "the user is given with --user NAME"),
    (&["auth-method", "mechanism", "am"], "the mechanism is given with --auth MECH"),
    (
        &["quit-after", "quit", "serverinfo", "dry-run", "dryrun", "check"],
        "to ask and deliver nothing there is --probe, also with --to",
    ),
    (
        &["rcpt-file", "rcptfile", "to-file", "recipients-file", "recipient-file", "recipients"],
        "recipients are given with --to, commas between them: --to \"$(paste -sd, FILE)\"",
    ),
    (&["from-file", "sender-file"], "the sender is given with --from: --from \"$(cat FILE)\""),
    (
        &["dump-mail", "show-message"],
        "a message is sent as it stands in FILE; --sink DIR keeps what would be delivered",
    ),
    (&["dump-config", "print-config"], "what is in force is printed with --show-config"),
    (
        &["drop-after-data", "drop-after", "drop-after-send", "drop-after-rcpt", "drop-after-mail"],
        "a session ends as LMTP has it; to ask and deliver nothing there is --probe, also with --to",
    ),
    (
        &["max-connections", "parallel", "jobs", "threads", "sessions", "concurrency"],
        "sessions side by side are given with --connections N",
    ),
    (
        &["output", "json", "format"],
        "a report is written with --report text or --report json, to a file with --report-file FILE",
    ),
    (&["helo", "ehlo", "hello"], "the name in LHLO is given with --lhlo NAME"),
    (&["recipient", "rcpt", "rcpt-to", "mail-rcpt", "cc", "bcc"], "recipients are given with --to ADDR"),
    (
        &["sender", "mail-from", "from-address", "return-path", "envelope-from", "envelope-sender"],
        "the sender is given with --from ADDR",
    ),
    (
        &["read-recipients", "read-envelope-from", "no-to"],
        "sender and recipients are read from the header where --from and --to are not given",
    ),
    (
        &["data", "attach", "message", "file", "upload-file", "body-file", "input"],
        "the message is a FILE, or standard input",
    ),
    (
        &["header", "add-header", "h-from", "h-to", "h-subject", "subject"],
        "header fields are part of the message; --test=SUBJECT sends a small one of our own",
    ),
    (
        &["local-interface", "source-ip", "source-address", "interface"],
        "the source address is given with --bind ADDR",
    ),
    (&["tls-on-connect", "tlsc", "smtps", "ssl", "lmtps"], "TLS from the first octet is --tls implicit"),
    (&["version"], "the version is printed with -V"),
    (&["starttls", "tls-starttls", "ssl-reqd"], "STARTTLS is --tls starttls"),
    (
        &["insecure", "no-check-certificate", "tls-certcheck", "no-verify"],
        "a certificate is taken without being verified with --tls-insecure",
    ),
    (&["tls-trust-file", "cacert", "cafile", "ca"], "authorities are given with --tls-ca FILE"),
    (&["account"], "an account of the configuration is chosen with --profile NAME"),
    (&["logfile", "log", "log-file"], "outcomes are written to a file with --report-file FILE"),
    (&["silent", "hide-all"], "diagnostics are left out with --quiet"),
    (&["dump", "trace"], "the dialogue is shown with -vv"),
    (&["pretend"], "what a server would accept is asked with --probe"),
    (&["protocol", "lmtp"], "LMTP is what is spoken: the option can be left out"),
    (&["socket-path"], "a Unix-domain socket is given with --socket PATH"),
];

/// What to type for `word`, an option as it was typed; `None`: nothing comes near.
#[must_use]
pub fn of(word: &str) -> Option<String> {
    let name = word.trim_start_matches('-').split('=').next().unwrap_or_default().to_ascii_lowercase();
    let known = ELSEWHERE.iter().find(|(names, _)| names.contains(&name.as_str()));
    let nearest = || SCHEMA.nearest(&name).map(|option| format!("the nearest option is --{option}"));
    known.map(|(_, hint)| (*hint).to_owned()).or_else(nearest)
}

/// What to type for `word`, an option of one dash whose letters are those of a long one: `-to joe` would go to the
/// recipient `o`. `None`: they are not.
#[must_use]
pub fn one_dash(word: &OsStr) -> Option<String> {
    let name = word.to_str()?.strip_prefix('-')?.split('=').next().filter(|name| name.len() > 1)?;
    let known = ELSEWHERE.iter().find(|(names, _)| names.contains(&name)).map(|(_, hint)| (*hint).to_owned());
    let ours =
        || SCHEMA.option(name).map(|option| format!("a long option has two dashes: --{}", option.long));
    let tip = known.or_else(ours)?;
    let (short, value) = name.split_at_checked(1)?;
    let taken = SCHEMA.options.iter().find(|option| option.short.is_some_and(|own| short.starts_with(own)));
    let takes_value = taken.is_some_and(|taken| !matches!(taken.form, ValueForm::Flag | ValueForm::Count));
    let value = format!(" (the value '{value}' of -{short} would be given as '-{short} {value}')");
    Some(if takes_value { tip + &value } else { tip })
}

/// What to type for `file`, which is no file, where it looks like a host or an address.
#[must_use]
pub fn not_a_file(file: &str) -> Option<&'static str> {
    let (host, port) = file.rsplit_once(':').unwrap_or((file, "24"));
    let is_port = !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit());
    let is_host = host.contains('.') || host == "localhost" || file.starts_with('[');
    if file.contains('/') {
        None
    } else if file.contains('@') {
        Some("recipients are given with --to, and hosts with --host")
    } else {
        (is_port && is_host).then_some("a host is given with --host")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_letters_of_a_long_option_behind_one_dash_are_answered_with_two() {
        for (word, tip) in [
            ("-to", "--to (the value 'o' of -t would be given as '-t o')"),
            ("-from=x", "--from"),
            ("-tls", "--tls"),
            ("-tlso", "--tls opportunistic"),
            ("-ehlo", "--lhlo NAME"),
            ("-host", "--host"),
            ("-quiet", "--quiet"),
            ("-version", "with -V"),
        ] {
            let found = one_dash(OsStr::new(word)).unwrap_or_default();
            assert!(found.contains(tip), "{word}: {found}");
        }
        for word in ["-tjoe", "-f", "-t", "-vv", "-vq", "-p24", "-", "--to", "to", "-fme@x", "-H/run/x"] {
            assert_eq!(one_dash(OsStr::new(word)), None, "{word}");
        }
    }

    #[test]
    fn what_is_typed_elsewhere_is_answered_with_what_is_typed_here() {
        for (word, hint) in [
            ("--server", "--host HOST"),
            ("--server=mx", "--host HOST"),
            ("--password", "LMTP_SEND_PASSWORD"),
            ("--quit-after", "--probe"),
            ("--rcpt-file=list", "paste -sd, FILE"),
            ("--rcptfile", "--to"),
            ("--from-file", "--from"),
            ("--dump-mail", "--sink"),
            ("--h-From", "--test"),
            ("--jobs", "--connections"),
            ("--tlsc", "--tls implicit"),
            ("--tlso", "--tls opportunistic"),
            ("--max-time=3", "--deadline"),
            ("--smtp-host", "--host HOST"),
            ("--tiemout", "--timeout"),
            ("--sockte=/x", "--socket"),
        ] {
            assert!(of(word).unwrap().contains(hint), "{word}");
        }
        assert_eq!(of("--no-such-flag"), None);
    }

    #[test]
    fn every_option_that_is_named_exists() {
        for (names, hint) in ELSEWHERE {
            for option in hint.split_whitespace().filter_map(|word| word.strip_prefix("--")) {
                let option = option.split(&[',', ';', ':', '='][..]).next().unwrap();
                assert!(SCHEMA.option(option).is_some(), "{hint}");
            }
            assert!(names.iter().all(|name| SCHEMA.option(name).is_none()), "{names:?} are options by now");
        }
    }

    #[test]
    fn a_host_and_an_address_are_told_from_a_file() {
        for (file, hint) in [
            ("joe@example.net", "--to"),
            ("mailbox.example.net", "--host"),
            ("mailbox.example.net:24", "--host"),
            ("127.0.0.1:24", "--host"),
            ("localhost", "--host"),
            ("[::1]:24", "--host"),
        ] {
            assert!(not_a_file(file).unwrap().contains(hint), "{file}");
        }
        for file in ["message", "./a.eml", "dir/a.example:24", "a:b"] {
            assert_eq!(not_a_file(file), None, "{file}");
        }
    }
}
