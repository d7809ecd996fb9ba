//! Mail systems that run the program as their delivery agent: what they make of its exit code and its words.
//!
//! Each is configured with the lines that the manual has for it (`man/lmtp-send-mail-systems.7`).

mod callers;
mod faults;
mod fetchers;
mod filters;
pub mod page;

use std::thread;
use std::time::{Duration, Instant};

use crate::servers::dovecot::Dovecot;
use crate::servers::exim::Exim;
use crate::servers::opensmtpd::OpenSmtpd;
use crate::servers::postfix::Postfix;
use crate::servers::{Place, free_port, until};

/// How long a mail system may take until its queue is empty.
const PATIENCE: Duration = Duration::from_secs(100);

/// Mailboxes for two people, one who has no room for now, and the one who sends and gets the bounces.
fn dovecot() -> Option<Dovecot> {
    dovecot_at(free_port(), "quota_full_tempfail = yes\nlmtp_rcpt_check_quota = yes")
}

/// The same on this port, with these settings about the one who has no room.
fn dovecot_at(port: u16, settings: &str) -> Option<Dovecot> {
    let quota = "
mail_plugins = quota
plugin {
  quota = count:User quota
  quota_vsizes = yes
}
";
    let users = ["ann", "bob", "sender", "full userdb_quota_rule=*:bytes=1"];
    Dovecot::start_at(port, &users, &format!("{quota}{settings}"))
}

/// Has the queue tried again until it is empty.
fn drain(mut flush: impl FnMut(), is_empty: impl Fn() -> bool) {
    let since = Instant::now();
    while !is_empty() {
        assert!(since.elapsed() < PATIENCE, "the queue does not become empty");
        flush();
        thread::sleep(Duration::from_millis(250));
    }
}

/// Starts the mailboxes at a port where nobody has listened, and has the mail system try again what it kept until then: Ann has
/// it once, and the sender is told nothing.
fn assert_delivered_once_it_is_up(port: u16, flush: impl FnMut(), is_empty: impl Fn() -> bool) {
    let Some(dovecot) = dovecot_at(port, "") else { return };
    drain(flush, is_empty);
    assert_eq!(dovecot.mailbox("ann").len(), 1);
    assert!(dovecot.mailbox("sender").is_empty());
}

const MESSAGE: &str = "From: sender@example.net\nTo: ann@example.net\nSubject: test\n\n.\nGrüße\n..\n";

#[test]
fn postfix_delivers() {
    let Some(dovecot) = dovecot() else { return };
    let Some(postfix) = Postfix::start(&dovecot.tcp()) else { return };
    postfix.submit("sender@example.net", &["ann@example.net", "bob@example.net"], MESSAGE);
    for user in ["ann", "bob"] {
        until("the message has come", || !dovecot.mailbox(user).is_empty());
        let mail = &dovecot.mailbox(user)[0];
        assert!(mail.added.contains("Return-Path: <sender@example.net>\r\n"), "{}", mail.added);
        assert!(mail.message.ends_with("\r\n\r\n.\r\nGrüße\r\n..\r\n".as_bytes()));
        until("the log says so", || !postfix.deliveries(&format!("{user}@example.net")).is_empty());
        let log = postfix.deliveries(&format!("{user}@example.net")).remove(0);
        assert!(log.contains("dsn=2.0.0, status=sent"), "{log}");
        // By -v: the name under which it is stored.
        let (_, said) = log.split_once(&format!("said: 250 2.0.0 <{user}@example.net> ")).unwrap();
        let id = said.split(' ').next().unwrap();
        assert!(id.len() > 10 && mail.added.contains(id), "{id}: {}", mail.added);
    }
}

#[test]
fn postfix_bounces() {
    let Some(dovecot) = dovecot() else { return };
    let Some(postfix) = Postfix::start(&dovecot.tcp()) else { return };
    postfix.submit("sender@example.net", &["joe@example.net", "ann@example.net"], MESSAGE);
    until("the bounce has come", || !dovecot.mailbox("sender").is_empty());
    let bounce = &dovecot.mailbox("sender")[0];
    assert!(bounce.added.contains("Return-Path: <>\r\n"), "{}", bounce.added);
    let text = String::from_utf8_lossy(&bounce.message).replace("\r\n    ", " ");
    assert!(text.contains("Final-Recipient: rfc822; joe@example.net\r\n"), "{text}");
    assert!(text.contains("Status: 5.1.1\r\n"), "{text}");
    assert!(
        text.contains("550 5.1.1 <joe@example.net> User doesn't exist: joe@example.net (RCPT TO)"),
        "{text}"
    );
    until("the other has its copy", || dovecot.mailbox("ann").len() == 1);
    assert!(!text.contains("ann@example.net:"), "{text}");
}

#[test]
fn postfix_keeps_what_is_deferred() {
    let Some(dovecot) = dovecot() else { return };
    let Some(postfix) = Postfix::start(&dovecot.tcp()) else { return };
    postfix.submit("sender@example.net", &["full@example.net"], MESSAGE);
    until("it was tried", || !postfix.deliveries("full@example.net").is_empty());
    let log = postfix.deliveries("full@example.net").remove(0);
    assert!(log.contains("dsn=4.2.2, status=deferred"), "{log}");
    assert!(log.contains("Quota exceeded"), "{log}");
    until("it is in the queue", || postfix.queue().contains("full@example.net"));
    assert!(dovecot.mailbox("sender").is_empty());
}

#[test]
fn postfix_keeps_what_is_refused_while_a_transport_is_tried() {
    let Some(dovecot) = dovecot() else { return };
    let Some(postfix) = Postfix::with_soft_bounce(&dovecot.tcp()) else { return };
    postfix.submit("sender@example.net", &["joe@example.net"], MESSAGE);
    until("it was tried", || !postfix.deliveries("joe@example.net").is_empty());
    let log = postfix.deliveries("joe@example.net").remove(0);
    assert!(log.contains("status=deferred") && log.contains("550 5.1.1 <joe@example.net>"), "{log}");
    until("it is in the queue", || postfix.queue().contains("joe@example.net"));
    assert!(dovecot.mailbox("sender").is_empty());
}

/// Why the manual has one run for each recipient: with a ledger nobody has a second copy, but one exit code stands for all.
#[test]
fn postfix_with_one_run_for_all_repeats_none_and_bounces_all() {
    let Some(dovecot) = dovecot() else { return };
    let Some(postfix) = Postfix::with_a_run_for_all(&dovecot.tcp()) else { return };
    postfix.submit("sender@example.net", &["ann@example.net", "full@example.net"], MESSAGE);
    for times in 1..=2 {
        for user in ["ann", "full"] {
            let tried = || postfix.deliveries(&format!("{user}@example.net"));
            until("it was tried", || tried().len() == times);
            assert!(tried()[times - 1].contains("dsn=4.2.2, status=deferred"), "{:?}", tried());
        }
        assert_eq!(dovecot.mailbox("ann").len(), 1, "no second copy");
        until("it is in the queue", || postfix.queue().contains("deferred"));
        postfix.flush();
    }
    postfix.submit("sender@example.net", &["bob@example.net", "joe@example.net"], MESSAGE);
    until("the bounce has come", || !dovecot.mailbox("sender").is_empty());
    let bounce = String::from_utf8_lossy(&dovecot.mailbox("sender")[0].message).into_owned();
    for user in ["bob", "joe"] {
        assert!(bounce.contains(&format!("Final-Recipient: rfc822; {user}@example.net\r\n")), "{bounce}");
    }
    assert_eq!(dovecot.mailbox("bob").len(), 1, "who has the message is among those of the bounce");
}

#[test]
fn postfix_keeps_all_while_the_server_is_away() {
    let port = free_port();
    let Some(postfix) = Postfix::start(&Place::Port(port)) else { return };
    postfix.submit("sender@example.net", &["ann@example.net"], MESSAGE);
    until("it was tried", || !postfix.deliveries("ann@example.net").is_empty());
    let log = postfix.deliveries("ann@example.net").remove(0);
    assert!(log.contains("dsn=4.4.1, status=deferred"), "{log}");
    until("it is deferred", || postfix.queue().contains("deferred"));
    assert!(postfix.queue().contains("ann@example.net"));
    assert!(!postfix.queue().contains("MAILER-DAEMON"), "{}", postfix.queue());
    assert_delivered_once_it_is_up(port, || postfix.flush(), || postfix.queue().is_empty());
}

#[test]
fn postfix_bounces_what_has_no_room_for_good() {
    let Some(dovecot) = dovecot_at(free_port(), "quota_full_tempfail = no") else { return };
    let Some(postfix) = Postfix::start(&dovecot.tcp()) else { return };
    postfix.submit("sender@example.net", &["full@example.net", "ann@example.net"], MESSAGE);
    until("the bounce has come", || !dovecot.mailbox("sender").is_empty());
    let bounce = &dovecot.mailbox("sender")[0];
    assert!(bounce.added.contains("Return-Path: <>\r\n"), "{}", bounce.added);
    let text = String::from_utf8_lossy(&bounce.message).replace("\r\n    ", " ");
    assert!(text.contains("Final-Recipient: rfc822; full@example.net\r\n"), "{text}");
    assert!(text.contains("Action: failed\r\nStatus: 5.2.2\r\n"), "{text}");
    let reply = "552 5.2.2 <full@example.net> Quota exceeded (mailbox for user is full)";
    assert!(text.contains(&format!("said: {reply} (BDAT)")), "{text}");
    until("the other has its copy", || dovecot.mailbox("ann").len() == 1);
    assert!(!text.contains("ann@example.net:"), "{text}");
    until("nothing waits", || postfix.queue().is_empty());
    assert!(dovecot.mailbox("full").is_empty());
}

#[test]
fn exim_delivers_bounces_and_defers() {
    let Some(dovecot) = dovecot() else { return };
    let Some(exim) = Exim::new(&dovecot.tcp()) else { return };
    let recipients = ["ann@example.net", "joe@example.net", "full@example.net"];
    let log = exim.submit("sender@example.net", &recipients, MESSAGE);
    let ann = &dovecot.mailbox("ann")[0];
    assert!(ann.added.contains("Return-Path: <sender@example.net>\r\n"), "{}", ann.added);
    assert!(ann.message.ends_with("\r\n\r\n.\r\nGrüße\r\n..\r\n".as_bytes()));
    let bounce = &dovecot.mailbox("sender")[0];
    assert!(bounce.added.contains("Return-Path: <>\r\n"), "{}", bounce.added);
    let text = String::from_utf8_lossy(&bounce.message);
    assert!(text.contains("5.1.1 <joe@example.net>: 127.0.0.1:"), "{text}");
    assert!(
        text.contains("returned 67 (could mean user nonexistent)") || text.contains("550 5.1.1"),
        "{text}"
    );
    assert!(!text.contains("<full@example.net>"), "{text}");
    assert!(log.contains("== full@example.net") && log.contains("returned 75"), "{log}");
    let queue = exim.queue();
    assert!(queue.contains("D ann@example.net") && queue.contains("D joe@example.net"), "{queue}");
    assert!(queue.contains(" full@example.net") && !queue.contains("D full@example.net"), "{queue}");
}

#[test]
fn exim_keeps_all_while_the_server_is_away() {
    let port = free_port();
    let Some(exim) = Exim::new(&Place::Port(port)) else { return };
    let log = exim.submit("sender@example.net", &["ann@example.net"], MESSAGE);
    assert!(log.contains("== ann@example.net") && log.contains("returned 75"), "{log}");
    assert!(log.contains("4.4.1 <ann@example.net>"), "{log}");
    assert_eq!(exim.waiting(), 1, "no bounce: {}", exim.queue());
    assert_delivered_once_it_is_up(port, || drop(exim.flush()), || exim.waiting() == 0);
}

#[test]
fn opensmtpd_delivers_bounces_and_defers() {
    let Some(dovecot) = dovecot() else { return };
    let Some(opensmtpd) = OpenSmtpd::start(&dovecot.tcp()) else { return };
    let recipients = ["ann@example.net", "joe@example.net", "full@example.net"];
    opensmtpd.submit("sender@example.net", &recipients, MESSAGE);
    let told = |recipient: &str, result: &str| {
        let log = opensmtpd.log();
        log.lines()
            .any(|line| line.contains(&format!(" to=<{recipient}@example.net> ")) && line.contains(result))
    };
    until("ann has it", || told("ann", "result=Ok") && dovecot.mailbox("ann").len() == 1);
    until("full is to be tried again", || told("full", "result=TempFail"));
    until("joe is refused", || told("joe", "result=PermFail") && !dovecot.mailbox("sender").is_empty());
    let ann = &dovecot.mailbox("ann")[0];
    assert!(ann.added.contains("Return-Path: <sender@example.net>\r\n"), "{}", ann.added);
    assert!(ann.message.ends_with("\r\n\r\n.\r\nGrüße\r\n..\r\n".as_bytes()));
    let bounce = &dovecot.mailbox("sender")[0];
    assert!(bounce.added.contains("Return-Path: <>\r\n"), "{}", bounce.added);
    let text = String::from_utf8_lossy(&bounce.message);
    assert!(text.contains("joe@example.net: \"5.1.1 <joe@example.net>: 127.0.0.1:"), "{text}");
}

#[test]
fn opensmtpd_keeps_all_while_the_server_is_away() {
    let port = free_port();
    let Some(opensmtpd) = OpenSmtpd::start(&Place::Port(port)) else { return };
    opensmtpd.submit("sender@example.net", &["ann@example.net"], MESSAGE);
    let log = || opensmtpd.log();
    until("it was tried", || log().contains("result=TempFail"));
    assert!(log().contains("4.4.1 <ann@example.net>") && !log().contains("from=<>"), "{}", log());
    assert_eq!(opensmtpd.queue().lines().count(), 1, "no bounce: {}", opensmtpd.queue());
    assert_delivered_once_it_is_up(port, || opensmtpd.flush(), || opensmtpd.queue().is_empty());
}
