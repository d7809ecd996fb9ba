//! Crediting: replies that are too few, too many, too early, or not to be taken for what they seem.

use super::model::Early;
use super::*;

const PIECES: [usize; 4] = [1, 2, 7, usize::MAX];
const ORDERS: [Order; 3] = [Order::Write, Order::Read, Order::Both];

/// Every order and some sizes of pieces.
fn manners() -> impl Iterator<Item = Manner> {
    ORDERS.into_iter().flat_map(|order| {
        PIECES.into_iter().flat_map(move |take| {
            PIECES.into_iter().map(move |give| Manner { order, take, give, room: usize::MAX })
        })
    })
}

/// Letters to so many recipients each.
fn letters(recipients: &[usize]) -> Vec<Letter> {
    let letter = |(i, count): (usize, &usize)| {
        let to: Vec<String> = (0..*count).map(|r| format!("r{i}{r}@x.example")).collect();
        let to: Vec<&str> = to.iter().map(String::as_str).collect();
        Letter::new(&format!("s{i}@x.example"), &to, &format!("Subject: {i}\n\nline\n.\nline\n"))
    };
    recipients.iter().enumerate().map(letter).collect()
}

/// What becomes of letters to so many recipients under `rules`, by transaction, the same in every manner and
/// with CHUNKING.
fn outcomes(rules: &Rules, recipients: &[usize]) -> Vec<Vec<String>> {
    let by_data = same_in_every_manner(rules, recipients);
    assert_eq!(by_data, same_in_every_manner(&chunking(rules), recipients), "{rules:?} with CHUNKING");
    by_data
}

fn chunking(rules: &Rules) -> Rules {
    Rules { offers: [&["CHUNKING"], &rules.offers[..]].concat(), ..rules.clone() }
}

fn same_in_every_manner(rules: &Rules, recipients: &[usize]) -> Vec<Vec<String>> {
    let letters = letters(recipients);
    let mut all: Vec<Vec<Vec<String>>> = manners()
        .map(|manner| {
            let scene = play(rules, manner, None, &letters);
            (0..scene.run.begun.len() as u64).map(|id| scene.of(id)).collect()
        })
        .collect();
    let last = all.pop().unwrap();
    assert!(all.iter().all(|other| *other == last), "{rules:?}: {all:?}");
    last
}

#[test]
fn too_few_replies_are_noticed_by_the_reply_to_quit_and_to_data() {
    let (yes, later) = ("delivered", "uncertain");
    for (at_most, answers, first) in [
        (1, vec![], [yes, later, later]),
        (2, vec![], [yes, yes, later]),
        (1, vec![("message", "552 5.2.2 over quota")], ["refused delivery 552"; 3]),
        (1, vec![("message", "451 4.3.0 later")], ["refused delivery 451"; 3]),
        (2, vec![("message r00", "550 <{}> no")], ["refused delivery 550", yes, later]),
        (
            2,
            vec![("message r01", "550 5.2.1 <{}> no")],
            [yes, "refused delivery 550", "refused delivery 550"],
        ),
    ] {
        let rules = Rules { at_most, answers, ..Rules::default() };
        assert_eq!(outcomes(&rules, &[3]), [first], "QUIT behind: {rules:?}");
        let [found, ..] = &outcomes(&rules, &[3, 1])[..] else { panic!("nothing was begun") };
        assert_eq!(*found, first, "another behind: {rules:?}");
    }
}

#[test]
fn the_message_behind_too_few_replies_has_its_own_outcome() {
    for at_most in [1, 2] {
        let rules = Rules { at_most, ..Rules::default() };
        let found = outcomes(&rules, &[3, 1, 1]);
        assert_eq!(found[1..], [["delivered"], ["delivered"]]);
        let rules = Rules {
            answers: vec![("RCPT TO:<r10", "550 5.1.1 <{}> no"), ("message r11", "451 4.2.0 <{}> later")],
            ..rules
        };
        let found = outcomes(&rules, &[3, 3, 1]);
        let second = if at_most == 1 { "refused delivery 451" } else { "delivered" };
        assert_eq!(found[1], ["refused rcpt 550", "refused delivery 451", second]);
        assert_eq!(found[2], ["delivered"]);
    }
}

/// The next transaction fails as a whole: where the shift is not marked, nothing is credited.
#[test]
fn too_few_replies_before_a_refused_transaction_credit_nobody() {
    for refused in [
        vec![("MAIL FROM:<s1", "550 5.7.1 <s1@x.example> no")],
        vec![("RCPT TO:<r1", "550 5.1.1 <{}> no")],
        vec![("RCPT TO:<r1", "450 4.2.0 <{}> later")],
    ] {
        for at_most in [1, 2] {
            let rules = Rules { at_most, answers: refused.clone(), ..Rules::default() };
            // By BDAT even the first reply could be another's: nothing marked the envelope's end.
            for (rules, first) in [(&rules, "delivered"), (&chunking(&rules), "uncertain")] {
                let found = same_in_every_manner(rules, &[3, 2]);
                assert_eq!(found[0], [first, "uncertain", "uncertain"], "{rules:?}");
                for settlement in &found[1] {
                    assert!(
                        ["unanswered", "untried"].contains(&settlement.as_str()),
                        "{settlement} {rules:?}"
                    );
                }
            }
        }
    }
}

/// Nothing tells a reply too many from the next command's until the mark comes. Where all are 2yz, nobody is in
/// doubt; else nothing is credited.
#[test]
fn too_many_replies_credit_nobody_of_the_next_message() {
    for extra in [vec!["550 5.1.1 no"], vec!["451 a", "250 b"], vec!["250 b", "451 a"], vec!["354 c"]] {
        for pipelining in [true, false] {
            let offers = if pipelining { vec!["PIPELINING"] } else { vec![] };
            let rules = Rules { extra: extra.clone(), offers, ..Rules::default() };
            for recipients in [vec![1], vec![3]] {
                let found = same_in_every_manner(&rules, &recipients);
                assert_eq!(found[0][0], "delivered", "the first reply is the first recipient's: {rules:?}");
                // Which of the replies was too many is not known where they were not waited for one by one.
                let others = if pipelining { "uncertain" } else { "delivered" };
                assert!(found[0][1..].iter().all(|settlement| settlement == others), "{found:?} {rules:?}");
                let found = same_in_every_manner(&chunking(&rules), &recipients);
                let all = if pipelining { "uncertain" } else { "delivered" };
                assert!(found[0].iter().all(|settlement| settlement == all), "{found:?} {rules:?}");
            }
            let letters = letters(&[1, 2]);
            for manner in manners() {
                let scene = play(&rules, manner, None, &letters);
                // A 354 in the wrong place could as well say that not even one reply was sent.
                let early_mark = pipelining && extra[0].starts_with("354");
                assert_eq!(scene.of(0), [if early_mark { "uncertain" } else { "delivered" }], "{rules:?}");
                assert_eq!(scene.of(1), ["untried"; 2], "{rules:?} {manner:?}");
            }
        }
    }
}

/// Each reply that was owed is among those that came, whichever was too many.
#[test]
fn too_many_replies_that_are_all_positive_leave_nobody_in_doubt() {
    for extra in [vec!["250 ok"], vec!["250 ok"; 3], vec!["250 one", "252 2.0.0 two"]] {
        for offers in [vec!["PIPELINING"], vec!["PIPELINING", "CHUNKING"], vec![], vec!["CHUNKING"]] {
            let rules = Rules { extra: extra.clone(), offers, ..Rules::default() };
            for recipients in [&[1][..], &[3], &[1, 2], &[3, 1, 2]] {
                let found = same_in_every_manner(&rules, recipients);
                assert!(found[0].iter().all(|settlement| settlement == "delivered"), "{found:?} {rules:?}");
                // Without PIPELINING a reply may be there before anything was said: that ends the session.
                for settlement in found[1..].iter().flatten() {
                    let known = settlement == "delivered"
                        || (!rules.offers.contains(&"PIPELINING") && settlement == "untried");
                    assert!(known, "{found:?} {rules:?}");
                }
            }
        }
    }
}

/// Behind a message, a refusal counts when 354 or 221 has shown that it was not moved. Here one comes late, in the
/// place of a reply to the next message's MAIL or RCPT.
#[test]
fn a_stray_refusal_behind_a_message_bounces_nobody() {
    for (key, replies) in [
        ("MAIL FROM:<s1", "554 5.3.0 stray\r\n250 2.1.0 <{}> ok"),
        ("RCPT TO:<r10", "554 5.3.0 stray\r\n250 2.1.5 <{}> ok"),
        ("RCPT TO:<r11", "452 4.3.0 stray\r\n250 2.1.5 <{}> ok"),
    ] {
        for offers in [vec![], vec!["PIPELINING"], vec!["CHUNKING"], vec!["PIPELINING", "CHUNKING"]] {
            let rules = Rules { answers: vec![(key, replies)], offers, ..Rules::default() };
            let found = same_in_every_manner(&rules, &[1, 2]);
            // By BDAT even the reply to the first message could be another's: nothing marked its envelope's end.
            let first = if rules.offers.len() == 2 { "uncertain" } else { "delivered" };
            assert_eq!(found, [vec![first], vec!["untried"; 2]], "{rules:?}");
        }
    }
}

/// A refusal that was not moved is one, as soon as the mark has come: here QUIT's, or the next transaction's DATA.
#[test]
fn a_refusal_behind_a_message_counts_when_its_mark_has_come() {
    for (key, reply, second) in [
        ("MAIL FROM:<s1", "550 5.7.1 <s1@x.example> no", ["refused mail 550"; 2]),
        ("RCPT TO:<r1", "550 5.1.1 <{}> no", ["refused rcpt 550"; 2]),
        ("RCPT TO:<r11", "550 5.1.1 <{}> no", ["delivered", "refused rcpt 550"]),
        ("RCPT TO:<r11", "452 4.5.3 <{}> too many", ["delivered", "again 452"]),
    ] {
        for offers in [vec![], vec!["PIPELINING"], vec!["CHUNKING"], vec!["PIPELINING", "CHUNKING"]] {
            let rules = Rules { answers: vec![(key, reply)], offers, ..Rules::default() };
            for recipients in [&[1, 2][..], &[1, 2, 1]] {
                let found = same_in_every_manner(&rules, recipients);
                assert_eq!(found[1], second, "{rules:?}");
                assert!(
                    [&found[..1], &found[2..]].concat().iter().flatten().all(|f| f == "delivered"),
                    "{found:?}"
                );
            }
            // Without the mark, the transaction is tried in a new session.
            let rules = Rules { answers: vec![(key, reply), ("QUIT", "500 what?")], ..rules };
            let found = same_in_every_manner(&rules, &[1, 2]);
            let marked = second[0] == "delivered";
            assert_eq!(found[1], if marked { second } else { ["untried"; 2] }, "{rules:?}");
        }
    }
}

/// Nothing is sent where somebody was refused, and in a used session QUIT shows that the refusal is one.
#[test]
fn all_or_nothing_in_a_used_session_asks_for_the_mark() {
    for (quit, cancelled) in [("221 bye", true), ("250 what?", false)] {
        for offers in [vec![], vec!["PIPELINING"]] {
            let answers = vec![("RCPT TO:<r11", "550 5.1.1 <{}> no"), ("QUIT", quit)];
            let rules = Rules { answers, offers, ..Rules::default() };
            let mut letters = letters(&[1, 3]);
            letters[1].all_or_nothing = true;
            let scene = play(&rules, AT_ONCE, None, &letters);
            assert_eq!(scene.run.cancelled, if cancelled { vec![1] } else { vec![] }, "{rules:?}");
            let second = if cancelled { vec!["refused rcpt 550"] } else { vec!["untried"; 3] };
            assert_eq!(scene.of(1), second, "{rules:?}");
            assert_eq!(scene.truth.borrow().ended.len(), 1);
        }
    }
}

/// 421 ends the session: what has its reply keeps it, the rest is deferred.
#[test]
fn closing_leaves_what_is_known() {
    let closing = "421 4.3.2 <{}> shutting down";
    for (key, first, second) in [
        ("MAIL FROM:<s0", vec!["unanswered"; 3], vec![]),
        ("RCPT TO:<r01", vec!["unanswered"; 3], vec![]),
        ("DATA", vec!["unanswered"; 3], vec![]),
        ("message r00", vec!["unanswered"; 3], vec!["untried"]),
        ("message r01", vec!["delivered", "unanswered", "unanswered"], vec!["untried"]),
        ("message r02", vec!["delivered", "delivered", "unanswered"], vec!["untried"]),
        ("QUIT", vec!["delivered"; 3], vec!["delivered"]),
    ] {
        for manner in manners() {
            let rules = Rules { answers: vec![(key, closing)], offers: vec![], ..Rules::default() };
            let scene = play(&rules, manner, None, &letters(&[3, 1]));
            assert_eq!(scene.of(0), first, "{key} without pipelining");
            let pipelined = Rules { offers: vec!["PIPELINING"], ..rules };
            let scene = play(&pipelined, manner, None, &letters(&[3]));
            assert_eq!(scene.of(0), first, "{key} with QUIT behind");
            let scene = play(&pipelined, manner, None, &letters(&[3, 1]));
            let held = first.iter().enumerate().map(|(i, settlement)| match *settlement {
                "delivered" if i > 0 && key != "QUIT" => "uncertain",
                other => other,
            });
            assert_eq!(scene.of(0), held.collect::<Vec<_>>(), "{key} with another message behind");
            assert_eq!(scene.of(1), second, "{key}: the message behind");
        }
    }
}

#[test]
fn closing_in_the_greeting_and_lhlo_is_no_session() {
    for (key, reply, closing) in [
        ("greeting", "421 busy", false),
        ("greeting", "554 no", false),
        ("greeting", "250 what", false),
        ("LHLO", "421 bye", true),
        ("LHLO", "500 what?", false),
        ("LHLO", "garbage", false),
    ] {
        let rules = Rules { answers: vec![(key, reply)], ..Rules::default() };
        let scene = play(&rules, AT_ONCE, None, &letters(&[1]));
        let failure = scene.run.failure.unwrap();
        assert_eq!(matches!(failure.cause, Cause::Closing(_)), closing, "{reply}: {failure:?}");
        assert!(scene.run.begun.is_empty());
    }
}

/// What comes before the message's end was sent: a refusal is a verdict, an acceptance is none.
#[test]
fn answers_before_the_end_of_the_message() {
    let refused = |n| vec![format!("refused data {n}"); 3];
    let unanswered = || vec!["unanswered".to_owned(); 3];
    for (says, expected) in [
        ("452 4.3.1 disk full\r\n", refused(452)),
        ("552 5.3.4 too big\r\n", refused(552)),
        ("250 2.0.0 fine\r\n", unanswered()),
        ("421 4.3.2 bye\r\n", unanswered()),
        ("354 go on\r\n", unanswered()),
        ("garbage\r\n", unanswered()),
        (
            "250 <r00@x.example> ok\r\n451 4.0.0 <r01@x.example> no\r\n250 <r02@x.example> ok\r\n",
            vec!["unanswered".into(), "refused data 451".into(), "unanswered".into()],
        ),
        (
            "550 <r00@x.example> no\r\n451 4.0.0 <r01@x.example> no\r\n",
            vec!["refused data 550".into(), "refused data 451".into(), "refused data 451".into()],
        ),
    ] {
        for (line, closes) in [(1, true), (1, false), (4, true), (5, false)] {
            let early = Some(Early { line, says, closes });
            let servers = [vec!["PIPELINING"], vec!["PIPELINING", "CHUNKING"], vec!["CHUNKING"]];
            for (offers, give) in servers.iter().flat_map(|offers| [1, usize::MAX].map(|give| (offers, give)))
            {
                let rules = Rules { early, offers: offers.clone(), ..Rules::default() };
                // Read in time, since the client reads while it writes.
                let manner = Manner { order: Order::Read, take: 1, give, room: 1 };
                let mut long = letters(&[3, 1]);
                long[0].body.extend_from_slice(&b"and so on\n".repeat(20_000));
                long[1].body = long[0].body.clone();
                let scene = play_long(&rules, manner, &long);
                assert_eq!(
                    scene.of(0),
                    expected,
                    "{says} after line {line}, closes: {closes}, {give}, {offers:?}"
                );
                assert!(scene.truth.borrow().ended.is_empty());
            }
        }
    }
}

/// As [`play`], for conversations in more pieces.
fn play_long(rules: &Rules, manner: Manner, letters: &[Letter]) -> Scene {
    let model = Model::new(rules.clone());
    let truth = model.truth();
    let peer = Peer::new(model, manner, None).patient();
    let log = peer.log();
    let scene = Scene { run: send(peer, letters), truth, log };
    scene.assert_true(&Rules { at_most: 0, ..rules.clone() }, letters);
    scene
}

/// The answer comes behind any line of a short message, whose end may be sent by then or not.
#[test]
fn an_early_answer_to_a_short_message_is_never_a_delivery() {
    for says in ["452 4.3.1 full\r\n", "250 2.0.0 ok\r\n", "421 4.3.2 bye\r\n", "554 5.0.0 no\r\n"] {
        for (line, closes) in (1..=5).flat_map(|line| [(line, true), (line, false)]) {
            for count in [1, 3] {
                let rules =
                    Rules { at_most: 1, early: Some(Early { line, says, closes }), ..Rules::default() };
                for manner in manners().filter(|m| m.take < 5) {
                    let model = Model::new(rules.clone());
                    let peer = Peer::new(model, manner, None);
                    let letters = letters(&[count, 1]);
                    let run = send(peer, &letters);
                    run.assert_settled(&letters);
                    let refused = says.starts_with(['4', '5']) && !says.starts_with("421");
                    for settlement in run.of(0) {
                        let verdict = settlement.starts_with("refused");
                        assert_eq!(
                            verdict, refused,
                            "{settlement}: {says} {line} {closes} {count} {manner:?}"
                        );
                    }
                }
            }
        }
    }
}

/// A server that refuses a large message once for all, and falls silent, is not waited for once for each.
#[test]
fn an_early_answer_for_all_is_waited_for_once() {
    let mut long = letters(&[100]);
    long[0].body.extend_from_slice(&b"and so on\n".repeat(100_000));
    let early = Early { line: 3, says: "552 5.3.4 too big\r\n", closes: false };
    let rules = Rules { early: Some(early), ..Rules::default() };
    let scene = play_long(&rules, Manner { take: 5_000, ..AT_ONCE }, &long);
    assert_eq!(scene.of(0), vec!["refused data 552"; 100]);
    assert!(scene.log.borrow().waits <= 1, "{} waits", scene.log.borrow().waits);
}

/// A server that refuses and closes while a group is being written is heard.
#[test]
fn an_answer_and_a_close_within_a_large_group_are_heard() {
    let mut many = letters(&[0]);
    many[0].to = (0..20_000).map(|i| Address::parse(&format!("r{i}@x.example")).unwrap()).collect();
    let rules = Rules { answers: vec![("MAIL", "421 4.7.0 go away")], ..Rules::default() };
    for order in ORDERS {
        let scene = play_long(&rules, Manner { order, ..AT_ONCE }, &many);
        let failure = scene.run.failure.unwrap();
        assert!(matches!(failure.cause, Cause::Closing(_)), "{order:?}: {failure:?}");
    }
}

/// A message that was refused early, with a large group of commands already behind it.
#[test]
fn an_early_answer_is_heard_behind_a_large_group() {
    let mut many = letters(&[2, 0]);
    many[1].to = (0..20_000).map(|i| Address::parse(&format!("r{i}@x.example")).unwrap()).collect();
    let early = Early { line: 5, says: "452 4.3.1 full\r\n", closes: true };
    let rules = Rules { early: Some(early), ..Rules::default() };
    for order in ORDERS {
        for take in [100, usize::MAX] {
            let manner = Manner { order, take, ..AT_ONCE };
            let scene = play_long(&rules, manner, &many);
            // The second has no reply of its own; the message's end may be on its way by then.
            let found = scene.of(0);
            assert!(found[0].starts_with("refused"), "{manner:?}: {found:?} {:?}", scene.run.failure);
            assert!(found[1].starts_with("refused") || found[1] == "uncertain", "{manner:?}: {found:?}");
        }
    }
}

/// Nobody was accepted, and the message went by BDAT in the same group: some servers answer it and some do
/// not, and nothing stands behind it that could be mistaken.
#[test]
fn a_chunk_for_nobody_is_answered_or_not() {
    for (mute, offers) in [
        (true, vec!["PIPELINING", "CHUNKING"]),
        (false, vec!["PIPELINING", "CHUNKING"]),
        (true, vec!["CHUNKING"]),
        (false, vec!["CHUNKING"]),
    ] {
        for (key, reply, settlement) in [
            ("RCPT TO:<r0", "550 5.1.1 <{}> no", "refused rcpt 550"),
            ("MAIL FROM:<s0", "451 4.3.0 later", "refused mail 451"),
        ] {
            let rules =
                Rules { mute, offers: offers.clone(), answers: vec![(key, reply)], ..Rules::default() };
            for manner in manners() {
                let scene = play(&rules, manner, None, &letters(&[2, 1]));
                assert_eq!(scene.of(0), [settlement; 2], "{rules:?} {manner:?}");
                // In this session or in another.
                assert!(scene.run.begun == [0] || scene.of(1) == ["delivered"], "{rules:?}: {:?}", scene.run);
            }
        }
    }
}

/// Chunks of a large message that are refused one by one, or all from some point on.
#[test]
fn a_refused_chunk_refuses_the_message() {
    let mut large = letters(&[2]);
    large[0].body.extend_from_slice(&b"0123456789012345678901234567890123456789\n".repeat(if thorough() {
        250_000
    } else {
        110_000
    }));
    for (reply, settlement) in [
        ("552 5.3.4 too big", "refused data 552"),
        ("451 4.3.0 later", "refused data 451"),
        ("421 4.3.2 bye", "unanswered"),
        ("250 ok", "delivered"),
    ] {
        let orders = ORDERS.into_iter().filter(|order| thorough() || *order == Order::Write);
        for order in orders {
            let manner = Manner { order, take: 100_000, ..AT_ONCE };
            let offers = vec!["PIPELINING", "CHUNKING"];
            let rules = Rules { offers, answers: vec![("BDAT", reply)], ..Rules::default() };
            let scene = play_long(&rules, manner, &large);
            assert_eq!(scene.of(0), [settlement; 2], "{reply} {order:?} {:?}", scene.run.failure);
            // What the server was spared was not sent.
            let is_whole = scene.log.borrow().written.len() > large[0].body.len();
            assert_eq!(scene.run.sent.contains(&0), is_whole, "{reply} {order:?}");
            // Without PIPELINING, all is one chunk, and the last.
            let scene = play_long(&Rules { offers: vec!["CHUNKING"], ..rules }, manner, &large);
            assert_eq!(scene.of(0), ["delivered"; 2], "{reply} {order:?} {:?}", scene.run.failure);
        }
    }
}
