//! Two hundred mails by way of each mail system to a server that refuses, drops and restarts: nobody's mail is lost, and
//! nobody has a second copy but those whose connection was dropped after a copy was stored, which the log says.

use super::drain;
use crate::servers;
use crate::servers::exim::Exim;
use crate::servers::faulty::{Fate, Faulty};
use crate::servers::opensmtpd::OpenSmtpd;
use crate::servers::postfix::Postfix;

const RECIPIENTS: usize = 200;
/// What the diagnostic says of a mail whose connection was lost after the dot.
const UNCERTAIN: &str = "the message may have been delivered";

/// A mail, and those who get it.
struct Mail {
    recipients: Vec<String>,
    message: String,
}

impl Mail {
    fn to_be_handed_in(&self) -> servers::Mail<'_> {
        let recipients = self.recipients.iter().map(String::as_str).collect();
        servers::Mail { sender: "sender@example.net", recipients, message: &self.message }
    }

    /// Whether the copy ends as it does; at its top, mail systems put fields.
    fn is_whole(&self, copy: &str) -> bool {
        let (_, body) = self.message.split_once("\n\n").unwrap();
        copy.ends_with(&format!("\n\n{body}"))
    }
}

/// Hands them in by some sessions: servers limit how many mails one may bring.
fn hand_in(mails: &[Mail], submit: impl Fn(&[servers::Mail<'_>])) {
    for some in mails.chunks(50) {
        submit(&some.iter().map(Mail::to_be_handed_in).collect::<Vec<_>>());
    }
}

/// Mails to so many recipients each, two hundred in all, every one in one mail only.
fn mails(recipients_each: usize) -> Vec<Mail> {
    let mail = |number: usize| {
        let recipients: Vec<_> = (0..recipients_each)
            .map(|at| format!("user{}@example.net", number * recipients_each + at))
            .collect();
        let to: Vec<_> = recipients.iter().map(|recipient| format!("<{recipient}>")).collect();
        let message = format!(
            "From: sender@example.net\nTo: {}\nSubject: {number}\nMessage-ID: <{number}@example.net>\n\n.\nmail {number}\n",
            to.join(",\n ")
        );
        Mail { recipients, message }
    };
    (0..RECIPIENTS / recipients_each).map(mail).collect()
}

/// Every recipient has what it should have. `uncertain` counts what the log says of doubtful attempts.
fn assert_nothing_lost(server: &Faulty, mails: &[Mail], uncertain: impl Fn(&str) -> usize) {
    let fates = server.fates();
    let bounces = server.bounces();
    for (recipient, copy) in server.copies() {
        let mail = mails.iter().find(|mail| mail.recipients.contains(&recipient));
        assert!(
            mail.is_some_and(|mail| mail.is_whole(&copy)),
            "{recipient}: not the message, or not all of it: {copy}"
        );
    }
    for recipient in mails.iter().flat_map(|mail| &mail.recipients) {
        let fate = fates.get(recipient).copied().unwrap_or_default();
        let expected = usize::from(fate.refused.is_none()) + fate.dropped_and_stored;
        assert!(fate.stored >= expected, "{recipient} was given up without a refusal: {fate:?}");
        assert!(fate.stored <= expected, "{recipient} has a copy too many: {fate:?}");
        assert_eq!(uncertain(recipient), fate.dropped, "doubts that were told about {recipient}: {fate:?}");
        let told = bounces.iter().filter(|bounce| bounce.contains(recipient.as_str())).count();
        assert_eq!(
            told,
            usize::from(fate.refused.is_some()),
            "bounces about {recipient}: {fate:?}: {bounces:?}"
        );
        if let Some(reply) = fate.refused {
            assert!(
                bounces.iter().any(|bounce| is_about(bounce, recipient, reply)),
                "{recipient}: {bounces:?}"
            );
        }
    }
    summarize(server, fates.values());
}

/// Whether the bounce says that this recipient was refused with this reply, whose words may be folded.
fn is_about(bounce: &str, recipient: &str, reply: &str) -> bool {
    let words: Vec<_> = bounce.split_whitespace().collect();
    let bounce = words.join(" ");
    bounce.contains(recipient) && bounce.contains(reply)
}

/// The faults have been there, and what came of them is shown.
fn summarize<'a>(server: &Faulty, fates: impl Iterator<Item = &'a Fate> + Clone) {
    let sum = |count: fn(&Fate) -> usize| fates.clone().map(count).sum::<usize>();
    let attempts = sum(|fate| fate.attempts as usize);
    let refused = sum(|fate| usize::from(fate.refused.is_some()));
    let dropped = sum(|fate| fate.dropped);
    let twice = sum(|fate| fate.dropped_and_stored);
    let accidents = server.accidents();
    println!(
        "{attempts} attempts, {refused} refused, {dropped} dropped, {twice} stored before, {accidents} accidents"
    );
    assert!(attempts > 300 && dropped > 20 && twice > 10 && accidents > 10);
}

/// In how many lines with `about` the log says that a message may have been delivered.
fn doubts(log: &str, about: &str) -> usize {
    log.lines().filter(|line| line.contains(about) && line.contains(UNCERTAIN)).count()
}

#[test]
fn postfix_loses_nothing() {
    let server = Faulty::start(1, true);
    let Some(postfix) = Postfix::start(&server.place()) else { return };
    let mails = mails(1);
    hand_in(&mails, |some| postfix.submit_all(some));
    drain(|| postfix.flush(), || postfix.queue().is_empty());
    let log = postfix.log();
    assert_nothing_lost(&server, &mails, |recipient| doubts(&log, &format!(" to=<{recipient}>,")));
}

#[test]
fn exim_loses_nothing() {
    let server = Faulty::start(2, true);
    let Some(exim) = Exim::new(&server.place()) else { return };
    let mails = mails(1);
    hand_in(&mails, |some| exim.submit_all(some));
    let mut log = String::new();
    drain(|| log += &exim.flush(), || exim.waiting() == 0);
    assert_nothing_lost(&server, &mails, |recipient| doubts(&log, &format!("<{recipient}>")));
}

#[test]
fn opensmtpd_loses_nothing() {
    let server = Faulty::start(3, true);
    let Some(opensmtpd) = OpenSmtpd::start(&server.place()) else { return };
    let mails = mails(1);
    hand_in(&mails, |some| opensmtpd.submit_all(some));
    drain(|| opensmtpd.flush(), || opensmtpd.queue().is_empty());
    let log = opensmtpd.log();
    assert_nothing_lost(&server, &mails, |recipient| doubts(&log, &format!(" to=<{recipient}> ")));
}

/// One exit code stands for all recipients of a run, so that all are repeated: those who have a copy are in the ledger.
/// Nobody is refused for good here, for that bounces the mail for all of them.
#[test]
fn postfix_with_one_run_for_all_and_a_ledger_loses_nothing() {
    let server = Faulty::start(4, false);
    let Some(postfix) = Postfix::with_a_run_for_all(&server.place()) else { return };
    let mails = mails(2);
    hand_in(&mails, |some| postfix.submit_all(some));
    drain(|| postfix.flush(), || postfix.queue().is_empty());
    // In Postfix' log each of them has the line about the one that decided.
    let report = postfix.report();
    assert_nothing_lost(&server, &mails, |recipient| doubts(&report, &format!(" uncertain <{recipient}> ")));
}
