//! The program against real LMTP servers: what arrives in the mailbox, and what becomes of each recipient.
//!
//! Here is what every delivery needs; `interop_protocol` has TLS, AUTH and the extensions.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};

use crate::scripted::{Client, Ran, canonical};
use crate::servers::aiosmtpd::{Aiosmtpd, Replies};
use crate::servers::cyrus::Cyrus;
use crate::servers::dovecot::Dovecot;
use crate::servers::smtp_server::SmtpServer;
use crate::servers::smtp_sink::SmtpSink;
use crate::servers::{Place, Received};

/// The program on its way to `place`, with a sender, a report and the time limit of a test.
pub fn to(place: &Place) -> Client {
    Client::new().args(place.options()).typed("--report json --timeout 15 -f sender@example.net")
}

/// The mailbox holds one message, and it is `message`, octet for octet.
#[track_caller]
pub fn holds(mailbox: &[Received], message: &[u8]) {
    let [received] = mailbox else { panic!("{} messages instead of one", mailbox.len()) };
    same(&received.message, &canonical(message));
}

/// The two are the same; otherwise shows where they part.
#[track_caller]
pub fn same(stored: &[u8], sent: &[u8]) {
    let part = stored.iter().zip(sent).position(|(a, b)| a != b).unwrap_or(stored.len().min(sent.len()));
    let near = |octets: &[u8]| {
        let around = part.saturating_sub(40)..(part + 40).min(octets.len());
        octets.get(around).unwrap_or_default().escape_ascii().to_string()
    };
    assert!(stored == sent, "they part at octet {part}: stored '{}', sent '{}'", near(stored), near(sent));
}

/// A message with this body.
pub fn message(body: impl AsRef<[u8]>) -> Vec<u8> {
    let header = "From: sender@example.net\nTo: ann@example.net\nSubject: test\n\
                  Date: Tue, 3 Feb 2026 10:00:00 +0000\nMessage-ID: <1@example.net>\n\n";
    [header.as_bytes(), body.as_ref()].concat()
}

/// Messages that a careless client does not get through unharmed.
fn difficult_messages() -> Vec<(&'static str, Vec<u8>)> {
    let long = "x".repeat(100_000);
    vec![
        ("dots", message(".\n..\n.leading\n...\n\n.\n")),
        ("a dot at the end", message("text\n.")),
        ("crlf", canonical(&message("one\n.\ntwo\n"))),
        ("mixed line ends", message("one\r\ntwo\nthree\r\n.\r\nfour")),
        ("8bit", message("Grüße, \u{1f4ec}\n")),
        ("not utf-8", message([0xe9, 0xff, 0x80, b'\n'])),
        ("long lines", message(format!("{long}\n.{long}\n{long}"))),
        ("a lone cr", message("one\rtwo\r\r\nthree\n")),
        ("no body", message("")),
        ("empty lines", message("\n\n\n")),
    ]
}

/// Twenty mebibytes, with a dot at the beginning of many lines.
pub fn large_message() -> Vec<u8> {
    let line = [b".".as_slice(), &[b'm'; 62], b"\n"].concat();
    message(line.repeat(20 * 1024 * 1024 / line.len()))
}

/// What the report says of each recipient: outcome, stage, reply code and enhanced code.
#[track_caller]
pub fn verdicts(ran: &Ran) -> Vec<String> {
    let word = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let verdict =
        |object: &Value| ["outcome", "stage", "code", "enhanced"].map(|name| word(&object[name])).join(" ");
    ran.report().iter().map(verdict).collect()
}

/// The strings as the fixtures take them.
fn words(strings: &[String]) -> Vec<&str> {
    strings.iter().map(String::as_str).collect()
}

#[test]
fn dovecot_stores_what_was_given() {
    let mailboxes =
        (0..difficult_messages().len()).flat_map(|number| [format!("tcp{number}"), format!("unix{number}")]);
    let mailboxes: Vec<_> = mailboxes.collect();
    let Some(dovecot) = Dovecot::start(&words(&mailboxes), "") else { return };
    for ((what, message), mailboxes) in difficult_messages().iter().zip(mailboxes.chunks(2)) {
        for (mailbox, place) in mailboxes.iter().zip([dovecot.tcp(), dovecot.socket()]) {
            println!("{what} for {mailbox}");
            to(&place).args(["-t", mailbox]).input(message.as_slice()).run().exits(0);
            holds(&dovecot.mailbox(mailbox), message);
        }
    }
}

#[test]
fn dovecot_stores_a_large_message() {
    let Some(dovecot) = Dovecot::start(&["ann", "bob"], "") else { return };
    let message = large_message();
    to(&dovecot.socket()).typed("-t ann,bob").input(message.as_slice()).run().exits(0);
    holds(&dovecot.mailbox("ann"), &message);
    holds(&dovecot.mailbox("bob"), &message);
}

#[test]
fn dovecot_stores_a_message_of_our_own() {
    let Some(dovecot) = Dovecot::start(&["ann"], "") else { return };
    to(&dovecot.socket()).typed("-t ann --test=hello").run().exits(0);
    let stored = String::from_utf8(dovecot.mailbox("ann").remove(0).message).unwrap();
    for line in
        ["Date: ", "From: sender@example.net\r\n", "To: ann\r\n", "Subject: hello\r\n", "Message-ID: <"]
    {
        assert!(stored.contains(line), "{stored}");
    }
    let (_, body) = stored.split_once("\r\n\r\n").unwrap();
    assert!(body.starts_with("Sent by lmtp-send on "), "{stored}");
}

#[test]
fn dovecot_is_told_the_envelope() {
    let Some(dovecot) = Dovecot::start(&["ann", "bob"], "") else { return };
    to(&dovecot.tcp()).typed("-t ann@example.net").run().exits(0);
    Client::new().args(dovecot.tcp().options()).args(["-f", "", "-t", "bob"]).run().exits(0);
    let [ann, bob] = ["ann", "bob"].map(|user| dovecot.mailbox(user).remove(0).added);
    assert!(ann.contains("Return-Path: <sender@example.net>\r\n"), "{ann}");
    assert!(ann.contains("Delivered-To: ann@example.net\r\n"), "{ann}");
    assert!(bob.contains("Return-Path: <>\r\n"), "{bob}");
}

#[test]
fn dovecot_knows_some_of_the_recipients() {
    let Some(dovecot) = Dovecot::start(&["ann", "bob"], "") else { return };
    let message = message("hello\n");
    let ran =
        to(&dovecot.tcp()).typed("-t ann -t joe@example.net -t bob -t eve").input(message.as_slice()).run();
    let unknown = "failed rcpt 550 5.1.1";
    assert_eq!(
        verdicts(&ran),
        ["delivered delivery 250 2.0.0", unknown, "delivered delivery 250 2.0.0", unknown]
    );
    let ran = ran.exits(67).says("5.1.1", "User doesn't exist: joe@example.net");
    assert_eq!(ran.stderr.lines().count(), 2, "a line for each that was refused: {}", ran.stderr);
    holds(&dovecot.mailbox("ann"), &message);
    holds(&dovecot.mailbox("bob"), &message);
}

#[test]
fn dovecot_knows_none_of_the_recipients() {
    let Some(dovecot) = Dovecot::start(&["ann"], "") else { return };
    let ran = to(&dovecot.tcp()).typed("-t joe -t eve").run().exits(67);
    assert_eq!(verdicts(&ran), ["failed rcpt 550 5.1.1"; 2]);
}

/// Two mailboxes, one of which takes no more than 500 octets.
/// As the manual has it: by Dovecot's own tool, here or on another machine. `ssh` is a script that runs the command here.
#[test]
fn dovecot_is_reached_by_its_own_tool() {
    let Some(dovecot) = Dovecot::start(&["ann", "bob"], "") else { return };
    let home = tempfile::tempdir().unwrap();
    let ssh = home.path().join("ssh");
    fs::write(&ssh, "#!/bin/sh\n[ \"$1\" = mailbox ] && shift && exec \"$@\" 2>/dev/null\n").unwrap();
    fs::set_permissions(&ssh, fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:/usr/bin:/bin", home.path().display());
    // It logs to standard error, which has to stay empty here.
    let quietly = format!("sh -c 'exec {} 2>/dev/null'", dovecot.command());
    for (user, command) in [("ann", quietly), ("bob", format!("ssh mailbox {}", dovecot.command()))] {
        let sent = message("by doveadm\n.\n");
        let client = Client::new().env("PATH", &path).args(["-e", &command, "-t", user]);
        let client = client.typed("--report json --timeout 15 -f sender@example.net");
        client.input(sent.clone()).run().exits(0).outcomes(&["delivered"]);
        holds(&dovecot.mailbox(user), &sent);
    }
}

fn dovecot_with_quota(more: &str) -> Option<Dovecot> {
    let quota = "
mail_plugins = quota
plugin {
  quota = count:User quota
  quota_vsizes = yes
}
";
    Dovecot::start(&["ann", "full userdb_quota_rule=*:bytes=500"], &format!("{quota}{more}"))
}

#[test]
fn dovecot_refuses_a_full_mailbox_after_the_message() {
    let Some(dovecot) = dovecot_with_quota("") else { return };
    let message = message("x".repeat(600));
    let ran = to(&dovecot.tcp()).typed("-t full -t ann").input(message.as_slice()).run();
    assert_eq!(verdicts(&ran), ["failed delivery 552 5.2.2", "delivered delivery 250 2.0.0"]);
    ran.exits(69).says("5.2.2", "Quota exceeded");
    holds(&dovecot.mailbox("ann"), &message);
    assert!(dovecot.mailbox("full").is_empty());
}

#[test]
fn dovecot_defers_a_full_mailbox_after_the_message() {
    let Some(dovecot) = dovecot_with_quota("quota_full_tempfail = yes") else { return };
    let ran = to(&dovecot.tcp()).typed("-t ann -t full").input(message("x".repeat(600))).run();
    assert_eq!(verdicts(&ran), ["delivered delivery 250 2.0.0", "deferred delivery 452 4.2.2"]);
    ran.exits(75).says("4.2.2", "Quota exceeded");
    assert_eq!(dovecot.mailbox("ann").len(), 1);
}

#[test]
fn dovecot_refuses_a_full_mailbox_at_rcpt() {
    let Some(dovecot) = dovecot_with_quota("lmtp_rcpt_check_quota = yes") else { return };
    to(&dovecot.tcp()).typed("-t full").input("Subject: fits\n\nfits\n").run().exits(0);
    fill(&dovecot);
    let ran = to(&dovecot.tcp()).typed("-t ann -t full").input("Subject: small\n\nsmall\n").run();
    assert_eq!(verdicts(&ran), ["delivered delivery 250 2.0.0", "failed rcpt 552 5.2.2"]);
    ran.exits(69).says("5.2.2", "Quota exceeded");
}

#[test]
fn dovecot_defers_a_full_mailbox_at_rcpt() {
    let more = "lmtp_rcpt_check_quota = yes\nquota_full_tempfail = yes";
    let Some(dovecot) = dovecot_with_quota(more) else { return };
    fill(&dovecot);
    let ran = to(&dovecot.tcp()).typed("-t ann -t full").input("Subject: small\n\nsmall\n").run();
    assert_eq!(verdicts(&ran), ["delivered delivery 250 2.0.0", "deferred rcpt 452 4.2.2"]);
    ran.exits(75).says("4.2.2", "Quota exceeded");
    assert_eq!(dovecot.mailbox("ann").len(), 1, "a further transaction is for those who had no answer yet");
}

/// Fills the mailbox up to less than a hundred octets below its limit.
fn fill(dovecot: &Dovecot) {
    while to(&dovecot.tcp()).typed("-t full").input("Subject: fits\n\nfits\n").run().code() == 0 {}
}

#[test]
fn dovecot_takes_several_messages_in_one_session() {
    let Some(dovecot) = Dovecot::start(&["ann", "bob"], "") else { return };
    let folder = tempfile::tempdir().unwrap();
    let messages = ["one\n", "two\n.\n", "three"].map(message);
    let files: Vec<_> = (1..=3).map(|number| folder.path().join(number.to_string())).collect();
    files.iter().zip(&messages).for_each(|(file, message)| fs::write(file, message).unwrap());
    let ran = to(&dovecot.tcp()).typed("-t ann -t joe -t bob").args(&files).run().exits(67);
    assert_eq!(ran.outcomes(&["delivered", "failed", "delivered"].repeat(3)).report().len(), 9);
    for user in ["ann", "bob"] {
        let mut stored: Vec<_> = dovecot.mailbox(user).into_iter().map(|received| received.message).collect();
        let mut sent: Vec<_> = messages.iter().map(|message| canonical(message)).collect();
        stored.sort();
        sent.sort();
        assert_eq!(stored, sent);
    }
    assert_eq!(dovecot.sessions(), 1);
}

#[test]
fn dovecot_takes_hundreds_of_recipients() {
    let users: Vec<_> = (0..300).map(|number| format!("user{number}")).collect();
    let mut known = words(&users);
    known.retain(|user| !user.ends_with('7'));
    let Some(dovecot) = Dovecot::start(&known, "") else { return };
    let ran = to(&dovecot.tcp()).args(["-t", &users.join(",")]).run().exits(67);
    for (object, user) in ran.report().iter().zip(&users) {
        let outcome = if user.ends_with('7') { "failed" } else { "delivered" };
        assert_eq!(object["outcome"], outcome, "{user}");
        assert_eq!(dovecot.mailbox(user).len(), usize::from(outcome == "delivered"), "{user}");
    }
}

/// Mailboxes that take mail, one with a quota of 1 KiB, and one that nobody may post to.
pub const CYRUS_MAILBOXES: [&str; 6] = [
    "CREATE user/ann",
    "CREATE user/bob",
    "CREATE user/full",
    "SETQUOTA user/full (STORAGE 1)",
    "CREATE news",
    "SETACL news anyone lrs",
];

#[test]
fn cyrus_stores_what_was_given() {
    let mailboxes: Vec<_> = (0..difficult_messages().len()).map(|number| format!("m{number}")).collect();
    let commands: Vec<_> = mailboxes.iter().map(|mailbox| format!("CREATE user/{mailbox}")).collect();
    let Some(cyrus) = Cyrus::start(&words(&commands), "") else { return };
    for ((what, message), mailbox) in difficult_messages().iter().zip(&mailboxes) {
        println!("{what}");
        to(&cyrus.socket()).args(["-t", mailbox]).input(message.as_slice()).run().exits(0);
        holds(&cyrus.mailbox(&format!("user/{mailbox}")), message);
    }
}

#[test]
fn cyrus_stores_a_large_message() {
    let Some(cyrus) = Cyrus::start(&CYRUS_MAILBOXES, "") else { return };
    let message = large_message();
    to(&cyrus.socket()).typed("-t ann").input(message.as_slice()).run().exits(0);
    holds(&cyrus.mailbox("user/ann"), &message);
}

#[test]
fn cyrus_refuses_unknown_and_closed_mailboxes() {
    let Some(cyrus) = Cyrus::start(&CYRUS_MAILBOXES, "") else { return };
    let ran = to(&cyrus.socket()).typed("-t +news -t joe -t ann").run();
    // The enhanced code stands on the last line of these replies only.
    assert_eq!(
        verdicts(&ran),
        ["failed rcpt 550 5.7.1", "failed rcpt 550 5.1.1", "delivered delivery 250 2.1.5"]
    );
    ran.exits(77).says("5.7.1", "You do not have permission to post a message to this mailbox");
    assert_eq!(cyrus.mailbox("user/ann").len(), 1);
}

#[test]
fn cyrus_defers_a_full_mailbox() {
    let Some(cyrus) = Cyrus::start(&CYRUS_MAILBOXES, "") else { return };
    let message = message("x".repeat(1500));
    let ran = to(&cyrus.socket()).typed("-t ann -t full").input(message.as_slice()).run();
    assert_eq!(verdicts(&ran), ["delivered delivery 250 2.1.5", "deferred rcpt 452 4.2.2"]);
    ran.exits(75).says("4.2.2", "Over quota");
    assert_eq!(cyrus.mailbox("user/ann").len(), 1);
}

#[test]
fn cyrus_takes_mail_for_a_full_mailbox_with_ignorequota() {
    let Some(cyrus) = Cyrus::start(&CYRUS_MAILBOXES, "") else { return };
    let sent = message("x".repeat(1500));
    let client = to(&cyrus.socket()).typed("-t full --rcpt-param IGNOREQUOTA").input(sent.clone());
    client.run().exits(0).outcomes(&["delivered"]);
    holds(&cyrus.mailbox("user/full"), &sent);
}

#[test]
fn cyrus_refuses_a_full_mailbox_where_it_is_told_to() {
    let Some(cyrus) = Cyrus::start(&CYRUS_MAILBOXES, "lmtp_over_quota_perm_failure: yes") else { return };
    let ran = to(&cyrus.socket()).typed("-t ann -t full").input(message("x".repeat(1500))).run();
    assert_eq!(verdicts(&ran), ["delivered delivery 250 2.1.5", "failed rcpt 552 5.2.2"]);
    ran.exits(69).says("5.2.2", "Over quota");
}

#[test]
fn cyrus_refuses_nul_octets() {
    let Some(cyrus) = Cyrus::start(&CYRUS_MAILBOXES, "") else { return };
    let ran = to(&cyrus.socket()).typed("-t ann -t bob").input(message("a\0b\n")).run();
    assert_eq!(verdicts(&ran), ["failed delivery 554 5.6.0"; 2]);
    ran.exits(65).says("5.6.0", "Message contains NUL characters");
}

#[test]
fn cyrus_says_how_large_a_message_may_be() {
    let Some(cyrus) = Cyrus::start(&CYRUS_MAILBOXES, "maxmessagesize: 1000") else { return };
    let ran = to(&cyrus.socket()).typed("-t ann -t bob").input(message("x".repeat(1000))).run();
    assert!(ran.report().iter().all(|object| object["enhanced"] == "5.3.4"), "{}", ran.stdout);
    ran.exits(65).outcomes(&["failed"; 2]);
}

/// Cyrus counts the fields that it puts in front of the message, so one that is just within the limit is too
/// large for it. It says so once for all recipients, and leaves the transaction open.
#[test]
fn cyrus_refuses_once_for_all() {
    let Some(cyrus) = Cyrus::start(&CYRUS_MAILBOXES, "maxmessagesize: 1000") else { return };
    let folder = tempfile::tempdir().unwrap();
    let (large, small) = (message("x".repeat(800)), message("small\n"));
    let files = [("1", &small), ("2", &large), ("3", &small)].map(|(name, message)| {
        fs::write(folder.path().join(name), message).unwrap();
        folder.path().join(name)
    });
    let ran = to(&cyrus.socket()).typed("-t ann -t bob").args(&files).run();
    let (fine, large) = ("delivered delivery 250 2.1.5", "failed delivery 552 5.2.3");
    assert_eq!(verdicts(&ran), [fine, fine, large, large, fine, fine]);
    ran.exits(69).says("5.2.3", "exceeds fixed maximum message size");
    assert_eq!(cyrus.mailbox("user/ann").len(), 2);
    assert_eq!(cyrus.mailbox("user/bob").len(), 2);
}

#[test]
fn cyrus_wants_strangers_to_authenticate() {
    let Some(cyrus) = Cyrus::start(&CYRUS_MAILBOXES, "") else { return };
    let ran = to(&cyrus.tcp()).typed("-t ann").run();
    assert_eq!(verdicts(&ran), ["deferred mail 430 null"]);
    ran.exits(75).says("4.0.0", "430 Authentication required");
    assert!(cyrus.mailbox("user/ann").is_empty());
}

#[test]
fn smtp_sink_takes_what_was_given() {
    for options in ["", "-8", "-p", "-e", "-E -N", "-T 1000"] {
        let Some(sink) = SmtpSink::start(options) else { return };
        let message = message(".\n..\nGrüße\n".repeat(1000));
        to(&sink.tcp())
            .typed("-t ann@example.net -t bob@example.net")
            .input(message.as_slice())
            .run()
            .exits(0);
        let [kept] = sink.kept().try_into().unwrap();
        let (header, body) = kept.split_once("From: ").unwrap();
        same(format!("From: {body}").as_bytes(), &[&message, b"\n".as_slice()].concat());
        assert!(header.contains("X-Mail-Args: <sender@example.net>"), "{options}: {header}");
        assert!(
            header.contains("X-Rcpt-Args: <ann@example.net>\nX-Rcpt-Args: <bob@example.net>\n"),
            "{header}"
        );
    }
}

#[test]
fn smtp_sink_takes_thousands_of_recipients() {
    let Some(sink) = SmtpSink::start("") else { return };
    let list = tempfile::NamedTempFile::new().unwrap();
    let recipients: Vec<_> = (0..5000).map(|number| format!("user{number}@example.net")).collect();
    fs::write(&list, format!("From: me@example.net\nBcc: {}\n\ntext\n", recipients.join(",\n "))).unwrap();
    let ran =
        Client::new().args(sink.tcp().options()).typed("--report json").args([list.path()]).run().exits(0);
    let told: Vec<_> =
        ran.report().iter().map(|object| object["recipient"].as_str().unwrap().to_owned()).collect();
    assert_eq!(told, recipients);
}

/// What the sink does wrong, the exit code, and the verdict on each of the two recipients.
const FAULTS: &[(&str, i32, &str)] = &[
    ("-r CONNECT", 75, "deferred greeting 450 4.3.0"),
    ("-f CONNECT", 75, "deferred greeting 500 5.3.0"),
    ("-q CONNECT", 75, "deferred greeting null 4.4.2"),
    ("-Q CONNECT", 75, "deferred greeting 421 4.0.0"),
    ("-r LHLO", 75, "deferred lhlo 450 4.3.0"),
    ("-f LHLO", 75, "deferred lhlo 500 5.3.0"),
    ("-q LHLO", 75, "deferred lhlo null 4.4.2"),
    ("-Q LHLO", 75, "deferred lhlo 421 4.0.0"),
    ("-r MAIL", 75, "deferred mail 450 4.3.0"),
    ("-f MAIL", 69, "failed mail 500 5.3.0"),
    ("-q MAIL", 75, "deferred mail null 4.4.2"),
    ("-Q MAIL", 75, "deferred mail 421 4.0.0"),
    ("-r RCPT", 75, "deferred rcpt 450 4.3.0"),
    ("-f RCPT", 69, "failed rcpt 500 5.3.0"),
    ("-q RCPT", 75, "deferred rcpt null 4.4.2"),
    ("-Q RCPT", 75, "deferred rcpt 421 4.0.0"),
    ("-r DATA", 75, "deferred data 450 4.3.0"),
    ("-f DATA", 69, "failed data 500 5.3.0"),
    ("-q DATA", 75, "deferred data null 4.4.2"),
    ("-Q DATA", 75, "deferred data 421 4.0.0"),
    ("-r .", 75, "deferred delivery 450 4.3.0"),
    ("-f .", 69, "failed delivery 500 5.3.0"),
    ("-q .", 75, "uncertain delivery null 4.4.2"),
    ("-Q .", 75, "deferred delivery 421 4.0.0"),
    ("-r QUIT", 0, "delivered delivery 250 2.2.0"),
    ("-f QUIT", 0, "delivered delivery 250 2.2.0"),
    ("-q QUIT", 0, "delivered delivery 250 2.2.0"),
    ("-Q QUIT", 0, "delivered delivery 250 2.2.0"),
];

#[test]
fn smtp_sink_fails_at_every_command() {
    for (options, code, verdict) in FAULTS {
        let Some(sink) = SmtpSink::start(options) else { return };
        let ran = to(&sink.tcp()).typed("-t ann@example.net -t bob@example.net").run();
        assert_eq!(verdicts(&ran), [*verdict; 2], "{options}: {}", ran.stderr);
        ran.exits(*code);
    }
}

/// Where the sink dawdles, and the verdict when the time limit for that has passed.
#[test]
fn smtp_sink_takes_its_time() {
    let slow = [
        ("-W LHLO:9", "deferred lhlo null 4.4.2"),
        // With -p, for the sink answers in no good order, or not at all, while it waits.
        ("-p -W RCPT:9", "deferred rcpt null 4.4.2"),
        ("-p -w 9", "deferred data null 4.4.2"),
        ("-p -W .:9", "uncertain delivery null 4.4.2"),
    ];
    for (options, verdict) in slow {
        let Some(sink) = SmtpSink::start(options) else { return };
        let ran = to(&sink.tcp()).typed("-t ann@example.net --timeout 0.3").run().within(5.0);
        assert_eq!(verdicts(&ran), [verdict], "{options}: {}", ran.stderr);
        ran.exits(75).says("4.4.2", "timed out");
    }
}

/// The sink refuses the message while it is still being sent, and reads no further.
#[test]
fn smtp_sink_cuts_a_message_short() {
    let Some(sink) = SmtpSink::start("-A 0") else { return };
    let ran = to(&sink.tcp()).typed("-t ann@example.net").input(large_message()).run();
    assert_eq!(verdicts(&ran), ["failed data 550 null"]);
    ran.exits(69).says("5.0.0", "said: 550");
}

#[test]
fn smtp_sink_has_the_words_of_its_refusals_repeated() {
    let refusals = [
        ("550 5.1.1 no such user", 67, "5.1.1"),
        ("550 nobody here", 67, "5.1.1"),
        ("556 no mail", 68, "5.1.2"),
    ];
    for (reply, code, status) in refusals {
        let Some(sink) = SmtpSink::start_with(&["-f", "RCPT", "-B", reply]) else { return };
        to(&sink.tcp()).typed("-t ann@example.net").run().exits(code).says(status, reply);
    }
}

#[test]
fn aiosmtpd_replies_for_each() {
    let Some(server) = Aiosmtpd::start(Replies::Each) else { return };
    let message = message(".dot\nGrüße\n");
    to(&server.tcp())
        .typed("-t ann@example.net -t unknown@example.net -t bob@example.net")
        .input(message.as_slice())
        .run()
        .exits(67)
        .outcomes(&["delivered", "failed", "delivered"]);
    let [kept] = server.kept().try_into().unwrap();
    same(&kept, &canonical(&message));
}

/// The library's own way is one reply in all: it stands for the first recipient, and nobody knows about the
/// others.
#[test]
fn aiosmtpd_replies_once_for_all() {
    let Some(server) = Aiosmtpd::start(Replies::One) else { return };
    to(&server.tcp()).typed("-t ann@example.net").run().exits(0);
    to(&server.tcp())
        .typed("-t ann@example.net -t bob@example.net --timeout 1")
        .run()
        .exits(75)
        .outcomes(&["delivered", "uncertain"]);
    to(&server.tcp())
        .typed("-t refuse@example.net -t bob@example.net --timeout 1")
        .run()
        .exits(75)
        .outcomes(&["failed", "uncertain"]);
}

#[test]
fn smtp_server_answers_for_each() {
    let Some(server) = SmtpServer::start(&json!({"authOptional": true})) else { return };
    let message = message(".dot\nGrüße\n");
    let ran = to(&server.tcp())
        .typed("-t ann@example.net -t full@example.net -t unknown@example.net")
        .input(message.as_slice())
        .run();
    assert_eq!(
        verdicts(&ran),
        ["delivered delivery 250 2.0.0", "deferred delivery 452 4.2.2", "failed rcpt 550 5.1.1"]
    );
    ran.exits(75).says("4.2.2", "mailbox full");
    let [kept] = server.kept().try_into().unwrap();
    same(&kept, &canonical(&message));
}

#[test]
fn smtp_server_stores_a_large_message() {
    let Some(server) = SmtpServer::start(&json!({"authOptional": true, "size": 30_000_000})) else { return };
    let message = large_message();
    to(&server.tcp()).typed("-t ann@example.net").input(message.as_slice()).run().exits(0);
    same(&server.kept()[0], &canonical(&message));
}
