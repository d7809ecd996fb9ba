//! One transaction: what is sent, what is not, and what each refusal means.

use std::io;

use super::super::super::Content;
use super::*;

fn abc() -> Letter {
    Letter::new("s@x.example", &["a@x.example", "b@x.example", "c@x.example"], "Subject: 1\n\nbody\n")
}

fn offering(offers: &[&'static str], answers: &[(&'static str, &'static str)]) -> Rules {
    Rules { offers: offers.to_vec(), answers: answers.to_vec(), ..Rules::default() }
}

/// With and without PIPELINING.
const BOTH: [&[&str]; 2] = [&["PIPELINING"], &[]];

/// The first words of the commands behind LHLO.
fn verbs(scene: &Scene) -> String {
    let commands = scene.commands();
    let verbs: Vec<&str> = commands.iter().skip(1).map(|c| c.split([' ', ':']).next().unwrap()).collect();
    verbs.join(" ")
}

#[test]
fn refusals_before_the_message() {
    let quick = "MAIL RCPT RCPT RCPT DATA QUIT";
    for (answers, found, pipelined, in_turn) in [
        (vec![("MAIL", "550 5.7.1 no")], ["refused mail 550"; 3], quick, "MAIL QUIT"),
        (vec![("MAIL", "451 4.3.0 later")], ["refused mail 451"; 3], quick, "MAIL QUIT"),
        (vec![("RCPT", "550 5.1.1 <{}> no")], ["refused rcpt 550"; 3], quick, "MAIL RCPT RCPT RCPT QUIT"),
        (vec![("DATA", "451 4.3.0 later")], ["refused data 451"; 3], quick, quick),
        (
            vec![("RCPT TO:<b", "550 <{}> no"), ("DATA", "554 no")],
            ["refused data 554", "refused rcpt 550", "refused data 554"],
            quick,
            quick,
        ),
    ] {
        for offers in BOTH {
            let scene = play(&offering(offers, &answers), AT_ONCE, None, &[abc()]);
            assert_eq!(scene.of(0), found, "{answers:?}");
            assert_eq!(verbs(&scene), if offers.is_empty() { in_turn } else { pipelined }, "{answers:?}");
            assert!(scene.truth.borrow().ended.is_empty());
        }
    }
}

/// RFC 5321 §4.5.3.1.10: too many recipients is no verdict on those behind the first that was accepted.
#[test]
fn a_full_transaction_is_continued_in_another() {
    for (reply, first, later) in [
        ("452 4.5.3 <{}> too many", "refused rcpt 452", "again 452"),
        ("452 <{}> too many", "refused rcpt 452", "again 452"),
        ("550 5.5.3 <{}> too many", "refused rcpt 550", "again 550"),
        ("552 5.5.3 <{}> too many", "refused rcpt 552", "again 552"),
        ("554 5.5.3 <{}> too many", "refused rcpt 554", "again 554"),
        ("550 5.5.2 <{}> no", "refused rcpt 550", "refused rcpt 550"),
        ("552 <{}> too many", "refused rcpt 552", "again 552"),
        ("552 5.2.2 <{}> quota", "refused rcpt 552", "refused rcpt 552"),
        ("451 4.3.0 <{}> later", "refused rcpt 451", "refused rcpt 451"),
        ("550 <{}> no", "refused rcpt 550", "refused rcpt 550"),
    ] {
        for offers in BOTH {
            let scene = play(&offering(offers, &[("RCPT TO:<c", reply)]), AT_ONCE, None, &[abc()]);
            assert_eq!(scene.of(0), ["delivered", "delivered", later], "{reply}");
            let scene = play(&offering(offers, &[("RCPT TO:<a", reply)]), AT_ONCE, None, &[abc()]);
            assert_eq!(scene.of(0), [first, "delivered", "delivered"], "{reply}");
            let scene = play(&offering(offers, &[("RCPT", reply)]), AT_ONCE, None, &[abc()]);
            assert_eq!(scene.of(0), [first; 3], "nobody was accepted: {reply}");
        }
    }
}

#[test]
fn an_address_given_twice_has_two_replies() {
    let twice = Letter::new("", &["a@x.example", "b@x.example", "a@x.example"], "Subject: 1\n\nbody\n");
    for offers in BOTH {
        let rules = offering(offers, &[("message b", "550 5.2.1 <{}> no")]);
        let scene = play(&rules, AT_ONCE, None, std::slice::from_ref(&twice));
        assert_eq!(scene.of(0), ["delivered", "refused delivery 550", "delivered"]);
        assert_eq!(scene.truth.borrow().delivered.len(), 2);
        assert_eq!(scene.commands()[1], "MAIL FROM:<>");
    }
}

/// 354 with nobody accepted: a lone dot, for which no reply is owed, and QUIT; and where MAIL was refused
/// too, nothing at all, since the dot could end a message that a server takes for accepted.
#[test]
fn a_server_that_waits_for_nobodys_message_gets_none() {
    for (answers, found, end) in [
        (vec![("RCPT", "550 5.1.1 <{}> no")], "refused rcpt 550", "DATA\r\n.\r\nQUIT\r\n"),
        (vec![("MAIL", "550 5.7.1 no")], "refused mail 550", "DATA\r\n"),
    ] {
        let rules = Rules { careless: true, ..offering(BOTH[0], &answers) };
        let scene = play(&rules, AT_ONCE, None, &[abc(), abc()]);
        assert_eq!(scene.of(0), [found; 3]);
        assert_eq!(scene.run.begun, [0], "the session is over");
        assert!(scene.log.borrow().written.ends_with(end.as_bytes()), "{answers:?}");
        assert!(scene.truth.borrow().ended.is_empty());
    }
}

#[test]
fn a_transaction_without_a_message_is_reset_before_the_next() {
    for (offers, verbs_expected) in [
        (BOTH[0], "MAIL RCPT RCPT RCPT DATA RSET MAIL RCPT RCPT RCPT DATA MAIL RCPT RCPT RCPT DATA QUIT"),
        (BOTH[1], "MAIL RCPT RCPT RCPT RSET MAIL RCPT RCPT RCPT DATA MAIL RCPT RCPT RCPT DATA QUIT"),
    ] {
        let refused = Letter::new("s@x.example", &["n1@x.example", "n2@x.example", "n3@x.example"], "a\n");
        let rules = offering(offers, &[("RCPT TO:<n", "550 5.1.1 <{}> no")]);
        let scene = play(&rules, AT_ONCE, None, &[refused, abc(), abc()]);
        assert_eq!(scene.of(0), ["refused rcpt 550"; 3]);
        assert_eq!((scene.of(1), scene.of(2)), (vec!["delivered".into(); 3], vec!["delivered".into(); 3]));
        assert_eq!(verbs(&scene), verbs_expected);
    }
}

#[test]
fn what_cannot_be_said_to_this_server_is_not_said() {
    let utf8 = |from: &str, to: &[&str]| Letter::new(from, to, "a\n");
    let large = Letter { declared: Some(1001), ..abc() };
    let fits = Letter { declared: Some(1000), ..abc() };
    for (offers, letter, found) in [
        (&["SIZE 1000"][..], large.clone(), vec!["unsuited 552"; 3]),
        (&["SIZE 0"], large.clone(), vec!["unanswered"; 3]), // what was declared is not what was read
        (&["SIZE 1000"], fits, vec!["unanswered"; 3]),
        (&[], utf8("s@x.example", &["é@x.example"]), vec!["unsuited 553"]),
        (&[], utf8("é@x.example", &["a@x.example"]), vec!["unsuited 553"]),
        (&[], utf8("s@x.example", &["a@x.example", "é@x.example"]), vec!["delivered", "unsuited 553"]),
        (&["SMTPUTF8"], utf8("é@x.example", &["a@x.example", "é@x.example"]), vec!["delivered"; 2]),
        (&[], Letter { smtputf8: true, ..abc() }, vec!["unsuited 553"; 3]),
        (&["SMTPUTF8"], Letter { smtputf8: true, ..abc() }, vec!["delivered"; 3]),
    ] {
        for pipelining in [true, false] {
            let offers: Vec<_> = pipelining.then_some("PIPELINING").iter().chain(offers).copied().collect();
            let scene = play_declared(&offering(&offers, &[]), &letter);
            assert_eq!(scene.of(0), found, "{offers:?} {letter:?}");
            let said = found.iter().any(|f| !f.starts_with("unsuited"));
            assert_eq!(verbs(&scene).contains("MAIL"), said, "{offers:?} {letter:?}");
        }
    }
}

/// Plays one letter whose message is sent as declared or not at all.
fn play_declared(rules: &Rules, letter: &Letter) -> Scene {
    let model = Model::new(rules.clone());
    let truth = model.truth();
    let peer = Peer::new(model, AT_ONCE, None);
    let log = peer.log();
    let mut run = Run::default();
    let mut pipeline = Pipeline::new(Session::open(peer, "client.example").unwrap());
    run.begin(&mut pipeline, letter, 0).unwrap();
    let counted = letter.declared.unwrap_or_else(|| Bytes::new(&letter.body).octets());
    run.failure = pipeline.send(&mut Flawed::counted(&letter.body, counted)).err();
    pipeline.finish();
    run.collect(&mut pipeline);
    Scene { run, truth, log }
}

#[test]
fn what_is_offered_is_declared() {
    for (offers, line) in [
        (&[][..], "MAIL FROM:<s@x.example>"),
        (&["SIZE"], "MAIL FROM:<s@x.example> SIZE=20"),
        (&["8BITMIME", "SIZE 100"], "MAIL FROM:<s@x.example> SIZE=20 BODY=8BITMIME"),
        (&["SMTPUTF8"], "MAIL FROM:<s@x.example>"),
    ] {
        let scene = play(&offering(offers, &[]), AT_ONCE, None, &[abc()]);
        assert_eq!(scene.commands()[1], line);
    }
}

#[test]
fn all_or_nothing_is_cancelled_by_any_refusal_and_sends_nothing() {
    let letter = Letter { all_or_nothing: true, ..abc() };
    let letters = [letter.clone(), letter];
    for offers in BOTH {
        let scene = play(&offering(offers, &[("RCPT TO:<b", "550 5.1.1 <{}> no")]), AT_ONCE, None, &letters);
        assert_eq!(scene.run.cancelled, [0, 1]);
        assert_eq!(scene.run.settlements.len(), 2, "the accepted ones are the caller's to settle");
        assert_eq!(verbs(&scene), "MAIL RCPT RCPT RCPT RSET MAIL RCPT RCPT RCPT RSET QUIT");
        let scene = play(&offering(offers, &[]), AT_ONCE, None, &letters[..1]);
        assert_eq!(scene.of(0), ["delivered"; 3]);
        let scene = play(&offering(offers, &[("DATA", "451 4.3.0 no")]), AT_ONCE, None, &letters);
        assert_eq!(scene.of(0), ["refused data 451"; 3]);
    }
}

/// RFC 9422: no more transactions than MAILMAX.
#[test]
fn a_limit_on_transactions_is_kept() {
    for offers in [&["PIPELINING", "LIMITS MAILMAX=2"][..], &["LIMITS MAILMAX=2"]] {
        let scene = play(&offering(offers, &[]), AT_ONCE, None, &[abc(), abc(), abc()]);
        assert_eq!(scene.run.begun, [0, 1]);
        assert_eq!(scene.run.failure, None);
        assert!(verbs(&scene).ends_with("DATA QUIT"));
    }
}

/// A message that is not what was counted.
struct Flawed<'a> {
    octets: &'a [u8],
    rest: &'a [u8],
    counted: u64,
    fails: Option<Flaw>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flaw {
    Rewind,
    ReadFirst,
    ReadLast,
}

impl<'a> Flawed<'a> {
    fn counted(octets: &'a [u8], counted: u64) -> Self {
        Self { octets, rest: octets, counted, fails: None }
    }
}

impl Content for Flawed<'_> {
    fn octets(&self) -> u64 {
        self.counted
    }

    fn raw_octets(&self) -> u64 {
        self.counted
    }

    fn rewind(&mut self) -> io::Result<()> {
        self.rest = self.octets;
        if self.fails == Some(Flaw::Rewind) {
            Err(io::ErrorKind::StaleNetworkFileHandle.into())
        } else {
            Ok(())
        }
    }

    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let at_end = self.rest.is_empty();
        if self.fails == Some(Flaw::ReadFirst) || (self.fails == Some(Flaw::ReadLast) && at_end) {
            return Err(io::ErrorKind::StaleNetworkFileHandle.into());
        }
        io::Read::read(&mut self.rest, buf)
    }
}

#[test]
fn a_message_that_is_not_what_was_counted_is_never_ended() {
    let large = "0123456789\n".repeat(60_000);
    let servers = [&["PIPELINING"][..], &["PIPELINING", "CHUNKING"], &["CHUNKING"], &[]];
    for (body, offers) in
        ["Subject: 1\n\nbody\n", large.as_str()].into_iter().flat_map(|b| servers.map(|offers| (b, offers)))
    {
        let letter = Letter::new("s@x.example", &["a@x.example"], body);
        let right = Bytes::new(body.as_bytes()).octets();
        let flaws = [
            (right - 1, None),
            (right + 1, None),
            (0, None),
            (u64::MAX, None),
            (right, Some(Flaw::Rewind)),
            (right, Some(Flaw::ReadFirst)),
            (right, Some(Flaw::ReadLast)),
        ];
        for ((counted, fails), prepares) in flaws.into_iter().flat_map(|f| [(f, false), (f, true)]) {
            let model = Model::new(offering(offers, &[]));
            let truth = model.truth();
            let mut run = Run::default();
            let peer = Peer::new(model, AT_ONCE, None);
            let log = peer.log();
            let mut pipeline = Pipeline::new(Session::open(peer, "client.example").unwrap());
            run.begin(&mut pipeline, &letter, 0).unwrap();
            let mut content = Flawed { fails, ..Flawed::counted(body.as_bytes(), counted) };
            if prepares {
                pipeline.prepare(&mut content).unwrap();
            }
            let failure = pipeline.send(&mut content).unwrap_err();
            assert_eq!(matches!(failure.cause, Cause::Changed { .. }), fails.is_none(), "{failure}");
            pipeline.finish();
            run.collect(&mut pipeline);
            assert_eq!(run.of(0), ["unanswered"], "{counted} {fails:?}");
            assert!(truth.borrow().ended.is_empty());
            let written = log.borrow().written.clone();
            assert!(!written.ends_with(b"QUIT\r\n"), "the message would go on with it");
        }
    }
}

/// A long message does not go by BDAT before somebody was accepted: it would have to be cut short for nobody.
#[test]
fn a_long_message_waits_for_somebody_to_receive_it() {
    for (octets, expected) in [(60_000, "MAIL RCPT BDAT QUIT"), (70_000, "MAIL RCPT QUIT")] {
        let letter = Letter::new("s@x.example", &["a@x.example"], &"0123456789\n".repeat(octets / 12));
        let rules = offering(&["PIPELINING", "CHUNKING"], &[("RCPT", "550 <{}> no")]);
        let scene = play(&rules, AT_ONCE, None, std::slice::from_ref(&letter));
        assert_eq!((verbs(&scene).as_str(), scene.of(0)), (expected, vec!["refused rcpt 550".to_owned()]));
        let scene = play(&offering(&["PIPELINING", "CHUNKING"], &[]), AT_ONCE, None, &[letter]);
        assert_eq!(
            (verbs(&scene).as_str(), scene.of(0)),
            ("MAIL RCPT BDAT QUIT", vec!["delivered".to_owned()])
        );
    }
}

/// RFC 1845: a server that has part of the message already is told to forget it, and the message waits.
#[test]
fn a_transaction_on_hold_asks_before_it_sends() {
    let held = Letter { confirm_envelope: true, ..abc() };
    for (offers, restart) in BOTH.into_iter().flat_map(|offers| [(offers, false), (offers, true)]) {
        let answers: &[_] = if restart { &[("MAIL", "355 17 octets are here already")] } else { &[] };
        let scene = play(&offering(offers, answers), AT_ONCE, None, std::slice::from_ref(&held));
        let settlement = if restart { "unsuited 450" } else { "delivered" };
        assert_eq!(scene.of(0), [settlement; 3]);
        assert_eq!(scene.commands().contains(&"DATA".to_owned()), !restart);
        assert_eq!(scene.commands().contains(&"RSET".to_owned()), restart);
    }
}

/// What was encoded while the server looked at the envelope is not read again: a short message by DATA only.
#[test]
fn a_short_message_is_read_before_the_server_waits_for_it() {
    for (octets, offers, is_read) in [
        (1_000, &["PIPELINING"][..], true),
        (1_000, &[], true),
        (1_000, &["PIPELINING", "CHUNKING"], false),
        (100_000, &["PIPELINING"], false),
    ] {
        let letter = Letter::new("s@x.example", &["a@x.example"], &"0123456789\n".repeat(octets / 12));
        let mut pipeline = Pipeline::new(
            Session::open(Peer::new(Model::new(offering(offers, &[])), AT_ONCE, None), "client.example")
                .unwrap(),
        );
        let mut run = Run::default();
        run.begin(&mut pipeline, &letter, 0).unwrap();
        let counted = Bytes::new(&letter.body).octets();
        let mut content = Flawed::counted(&letter.body, counted);
        pipeline.prepare(&mut content).unwrap();
        content.fails = Some(Flaw::ReadFirst);
        assert_eq!(pipeline.send(&mut content).is_ok(), is_read, "{octets} {offers:?}");
        pipeline.finish();
        run.collect(&mut pipeline);
        assert_eq!(run.of(0), [if is_read { "delivered" } else { "unanswered" }]);
    }
}

/// Whoever has something else to do first hands over the end of the message, and may go on behind it.
#[test]
fn a_message_is_handed_over_whole_without_waiting_for_its_replies() {
    for offers in [&["PIPELINING"][..], &["PIPELINING", "CHUNKING"], &["CHUNKING"], &[]] {
        let peer = Peer::new(Model::new(offering(offers, &[])), AT_ONCE, None);
        let log = peer.log();
        let mut run = Run::default();
        let mut pipeline = Pipeline::new(Session::open(peer, "client.example").unwrap());
        run.send_one(&mut pipeline, &abc(), 0).unwrap();
        let end = if offers.contains(&"CHUNKING") { abc().received() } else { b".\r\n".to_vec() };
        let is_out = || log.borrow().written.ends_with(&end);
        assert!(!is_out(), "it may go with what follows");
        pipeline.hand_over().unwrap();
        assert!(is_out(), "{offers:?}");
        run.collect(&mut pipeline);
        assert_eq!(run.settlements.len(), 0, "{offers:?}: no reply was waited for");
        run.send_all(&mut pipeline, &[abc()]).unwrap();
        pipeline.finish();
        run.collect(&mut pipeline);
        assert_eq!((run.of(0), run.of(1)), (vec!["delivered".into(); 3], vec!["delivered".into(); 3]));
    }
}

/// How many recipients a server takes is learnt from what it says, for the transactions to come.
#[test]
fn a_limit_on_recipients_is_learnt() {
    for (refused, learnt) in
        [("RCPT TO:<c", Some(2)), ("RCPT TO:<b", Some(1)), ("RCPT", None), ("message", None)]
    {
        let model = Model::new(offering(&["PIPELINING"], &[(refused, "452 4.5.3 <{}> too many")]));
        let mut session = Session::open(Peer::new(model, AT_ONCE, None), "client.example").unwrap();
        let letter = abc();
        let recipients: Vec<&Address> = letter.to.iter().collect();
        session.begin(&Transaction::new(&letter.from, &recipients, 3)).unwrap();
        if session.await_data_reply() == Ok(DataReply::GoAhead) {
            assert_eq!(session.send_message(&mut Bytes::new(b"a\n")), Ok(true));
        }
        assert_eq!(session.learnt_rcpt_max(), learnt, "{refused}");
    }
}

/// What is called out of turn is refused, and the session goes on as if it had not been called.
#[test]
fn misuse_is_told_and_does_no_harm() {
    let refused = |result: Result<(), SessionError>, why| {
        assert_eq!(result.map_err(|e| e.cause), Err(Cause::Misuse(why)));
    };
    for name in ["", "a b", "a\r\nMAIL FROM:<x@y>", "a\n"] {
        let peer = Peer::new(Model::new(Rules::default()), AT_ONCE, None);
        let log = peer.log();
        refused(Session::open(peer, name).map(drop), Misuse::Argument);
        assert!(log.borrow().written.is_empty());
    }
    for offers in [&["PIPELINING"][..], &["PIPELINING", "CHUNKING"], &["CHUNKING"], &[]] {
        let model = Model::new(offering(offers, &[]));
        let truth = model.truth();
        let mut session = Session::open(Peer::new(model, AT_ONCE, None), "client.example").unwrap();
        let letter = abc();
        let recipients: Vec<&Address> = letter.to.iter().collect();
        let mut content = Bytes::new(&letter.body);
        let transaction = Transaction::new(&letter.from, &recipients, content.octets());
        let attributes = |value: &str| vec!["NAME=x".to_owned(), format!("ADDR={value}")];
        refused(session.xclient(&attributes("::1\r\nQUIT")), Misuse::Argument);
        refused(session.xclient(&[]), Misuse::Argument);
        refused(session.ask("NOOP\r\nQUIT").map(drop), Misuse::Argument);
        refused(session.send_message(&mut content).map(drop), Misuse::NotAsked);
        let id = session.begin(&transaction).unwrap();
        refused(session.begin(&transaction).map(drop), Misuse::NotAwaited);
        refused(session.send_message(&mut content).map(drop), Misuse::NotAsked);
        assert_eq!(session.await_data_reply(), Ok(DataReply::GoAhead));
        refused(session.begin(&transaction).map(drop), Misuse::NotAwaited);
        assert_eq!(session.send_message(&mut content), Ok(true));
        refused(session.send_message(&mut content).map(drop), Misuse::NotAsked);
        session.close();
        refused(session.begin(&transaction).map(drop), Misuse::NoMore);
        refused(session.ask("NOOP").map(drop), Misuse::NotAwaited);
        assert_eq!(session.next_id().number(), id.number() + 1, "nothing else was begun");
        let outcomes: Vec<String> =
            std::iter::from_fn(|| session.settled()).map(|settled| words(&settled.settlement)).collect();
        assert_eq!(outcomes, ["delivered"; 3], "{offers:?}");
        let verbs = truth.borrow().commands.iter().map(|c| c[..4].to_owned()).collect::<Vec<_>>().join(" ");
        let data = if offers.contains(&"CHUNKING") { "BDAT" } else { "DATA" };
        assert_eq!(verbs, format!("LHLO MAIL RCPT RCPT RCPT {data} QUIT"));
    }
}

/// A session can be given to another thread where its transport can.
#[test]
fn a_session_is_send() {
    fn is_send<T: Send>() {}
    is_send::<Session<std::net::TcpStream>>();
}
