//! Every split size and every cut-off point of a conversation with two messages and mixed verdicts.

use super::peer::{How, Side, WAYS};
use super::*;

/// With and without PIPELINING and CHUNKING.
fn servers() -> [Rules; 4] {
    let offers = [vec!["PIPELINING"], vec![], vec!["PIPELINING", "CHUNKING"], vec!["CHUNKING"]];
    offers.map(|offers| Rules { offers, ..mixed_rules() })
}

const ORDERS: [Order; 3] = [Order::Write, Order::Read, Order::Both];

#[test]
fn pieces_of_any_size_make_no_difference() {
    for rules in servers() {
        for order in ORDERS {
            let sizes = (1..20).chain([100, usize::MAX]);
            for (take, give) in sizes.clone().flat_map(|take| sizes.clone().map(move |give| (take, give))) {
                if thorough() || take == give || take.min(give) == 1 {
                    let manner = Manner { order, take, give, room: usize::MAX };
                    let scene = play(&rules, manner, None, &two_letters());
                    assert_mixed(&scene);
                    assert_eq!(scene.truth.borrow().delivered.len(), 2);
                }
            }
        }
    }
}

#[test]
fn buffers_of_any_size_make_no_difference() {
    for rules in servers() {
        for order in ORDERS {
            for room in 1..200 {
                assert_mixed(&play(&rules, Manner { room, order, ..AT_ONCE }, None, &two_letters()));
            }
        }
    }
}

/// Plays the conversation with each cut, in pieces of several sizes.
fn each_cut(mut look: impl FnMut(&Rules, Cut, Scene)) {
    for rules in servers() {
        let whole = play(&rules, AT_ONCE, None, &two_letters());
        let (written, given) = (whole.log.borrow().written.len(), whole.log.borrow().given);
        for (side, length) in [(Side::Client, written), (Side::Server, given)] {
            // To what the client says, a close and half of one are the same.
            let ways = WAYS.into_iter().filter(|how| (side, *how) != (Side::Client, How::HalfClose));
            for (how, at) in ways.flat_map(|how| (0..=length).map(move |at| (how, at))) {
                // Without optimisation, one size at each place.
                let sizes = [(Order::Write, usize::MAX), (Order::Write, 1), (Order::Both, 7)];
                let sizes = sizes.into_iter().enumerate().filter(|(i, _)| thorough() || i == &(at % 3));
                let cut = Cut { side, at, how };
                for (_, (order, piece)) in sizes {
                    let manner = Manner { order, take: piece, give: piece, room: usize::MAX };
                    look(&rules, cut, play(&rules, manner, Some(cut), &two_letters()));
                }
            }
        }
    }
}

/// What is looked for at each cut is in [`Scene::assert_true`]; and that no wait follows upon a wait but the
/// one for what the server has left to say.
#[test]
fn wherever_the_connection_ends_the_outcomes_are_true() {
    let mut played = 0;
    each_cut(|rules, cut, scene| {
        played += 1;
        let waits = scene.log.borrow().waits;
        assert!(waits <= 2, "{waits} waits: {cut:?} {rules:?}");
    });
    assert!(played > 7_000, "{played}");
}

/// A message whose end was not handed over is not delivered, and no doubt is left about it.
#[test]
fn a_message_that_was_cut_short_is_not_uncertain() {
    for rules in servers() {
        let whole = play(&rules, AT_ONCE, None, &two_letters());
        let written = String::from_utf8(whole.log.borrow().written.clone()).unwrap();
        let end = written.find("MAIL FROM:<s2@x>").unwrap();
        for (at, how) in (0..end).flat_map(|at| [How::Close, How::Reset, How::Stall].map(|how| (at, how))) {
            let cut = Cut { side: Side::Client, at, how };
            let scene = play(&rules, AT_ONCE, Some(cut), &two_letters());
            assert!(!scene.of(0).contains(&"uncertain".to_owned()), "{cut:?}: {:?}", scene.run);
        }
        let cut = Cut { side: Side::Client, at: end, how: How::Reset };
        let scene = play(&rules, AT_ONCE, Some(cut), &two_letters());
        // In a group with BDAT, nobody's RCPT has been answered by then either.
        let found = scene.of(0);
        assert_eq!((found[0].as_str(), found[2].as_str()), ("uncertain", "uncertain"), "{rules:?}");
    }
}

/// Replies that have been read stand, whatever comes later.
#[test]
fn what_had_its_reply_keeps_it() {
    let (first_reply, second_reply) = ("250 2.0.0 <a@x> delivered\r\n", "452 4.2.2 <c@x> full\r\n");
    let (all, one) = (first_reply.len() + second_reply.len(), second_reply.len());
    let [first, _] = two_letters();
    let letters = [first];
    let whole = play(&mixed_rules(), AT_ONCE, None, &letters);
    let said = whole.log.borrow().given - "221 2.0.0 bye\r\n".len();
    for how in WAYS {
        for left in 0..all {
            let cut = Cut { side: Side::Server, at: said - left, how };
            let scene = play(&mixed_rules(), AT_ONCE, Some(cut), &letters);
            let expected = match left {
                0 => ["delivered", "refused rcpt 550", "refused delivery 452"],
                _ if left <= one => ["delivered", "refused rcpt 550", "uncertain"],
                _ => ["uncertain", "refused rcpt 550", "uncertain"],
            };
            assert_eq!(scene.of(0), expected, "{left} octets before the end, {how:?}");
        }
    }
}

/// Whatever becomes of QUIT, the outcomes stand.
#[test]
fn quit_changes_nothing() {
    for rules in servers() {
        for reply in ["221 bye", "250 bye", "500 what?", "421 gone", "garbage", "221-"] {
            let rules =
                Rules { answers: [vec![("QUIT", reply)], rules.answers.clone()].concat(), ..rules.clone() };
            let scene = play(&rules, AT_ONCE, None, &two_letters());
            assert_mixed(&scene);
        }
        let whole = play(&rules, AT_ONCE, None, &two_letters());
        let end = whole.log.borrow().given;
        for (left, how) in (0..=15).flat_map(|left| WAYS.map(|how| (left, how))) {
            let cut = Cut { side: Side::Server, at: end - left, how };
            assert_mixed(&play(&rules, AT_ONCE, Some(cut), &two_letters()));
        }
        if !rules.offers.contains(&"PIPELINING") {
            let how = How::Close;
            let at = whole.log.borrow().written.len() - "QUIT\r\n".len();
            assert_mixed(&play(&rules, AT_ONCE, Some(Cut { side: Side::Client, at, how }), &two_letters()));
        }
    }
}
