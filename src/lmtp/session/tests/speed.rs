//! As few round trips and writes as the RFCs allow, and no deadlock, however many recipients.

use super::*;

fn letter_to(recipients: usize) -> Letter {
    let mut letter = Letter::new("s@x.example", &[], "Subject: many\n\nHello\n");
    letter.to = (0..recipients).map(|i| Address::parse(&format!("r{i}@x.example")).unwrap()).collect();
    letter
}

fn delivered(run: &Run) -> usize {
    run.settlements.values().filter(|settlement| words(settlement) == "delivered").count()
}

/// Sends to many with a limit of time, not of calls.
fn send_many(rules: Rules, manner: Manner, letters: &[Letter]) -> (Run, Rc<RefCell<Log>>) {
    let peer = Peer::new(Model::new(rules), manner, None).patient();
    let log = peer.log();
    (send(peer, letters), log)
}

#[test]
fn a_message_takes_three_flights_and_three_writes() {
    for recipients in [1, 10, 100] {
        let scene = play(&Rules::default(), AT_ONCE, None, &[letter_to(recipients)]);
        assert_eq!(delivered(&scene.run), recipients);
        let log = scene.log.borrow();
        assert_eq!((log.flights, log.writes), (3, 3), "LHLO; MAIL, RCPT, DATA; the message and QUIT");
    }
}

#[test]
fn a_further_message_takes_one_flight_more() {
    let letters: Vec<Letter> = (0..5).map(|_| letter_to(3)).collect();
    let scene = play(&Rules::default(), AT_ONCE, None, &letters);
    assert_eq!(delivered(&scene.run), 15);
    assert_eq!(scene.log.borrow().flights, 2 + 5, "the next one's commands go behind the message's end");
}

#[test]
fn chunking_saves_a_flight() {
    let rules = Rules { offers: vec!["PIPELINING", "CHUNKING"], ..Rules::default() };
    for recipients in [1, 10, 100] {
        let scene = play(&rules, AT_ONCE, None, &[letter_to(recipients)]);
        assert_eq!(delivered(&scene.run), recipients);
        let log = scene.log.borrow();
        assert_eq!((log.flights, log.writes), (2, 2), "LHLO; all the rest");
    }
}

#[test]
fn without_pipelining_each_command_waits() {
    let rules = Rules { offers: Vec::new(), ..Rules::default() };
    let scene = play(&rules, AT_ONCE, None, &[letter_to(2)]);
    assert_eq!(delivered(&scene.run), 2);
    assert_eq!(scene.log.borrow().flights, 7, "LHLO, MAIL, RCPT, RCPT, DATA, the message, QUIT");
}

const MANY: usize = 60_000;

#[test]
fn sixty_thousand_recipients_take_few_writes() {
    let (run, log) = send_many(Rules::default(), AT_ONCE, &[letter_to(MANY)]);
    assert_eq!(delivered(&run), MANY);
    let writes = log.borrow().writes;
    assert!(writes < 200, "{writes} writes");
}

#[test]
fn long_replies_and_small_buffers_do_not_stop_a_group() {
    let long: &'static str = Box::leak(format!("250 2.1.5 <{{}}> {}", "x".repeat(370)).into_boxed_str());
    let answers = vec![("RCPT", long), ("message", long)];
    for (order, room) in
        [(Order::Write, 4096), (Order::Read, 4096), (Order::Both, 200), (Order::Write, 64 << 10)]
    {
        let rules = Rules { answers: answers.clone(), ..Rules::default() };
        let manner = Manner { order, take: usize::MAX, give: usize::MAX, room };
        let (run, log) = send_many(rules, manner, &[letter_to(MANY / 10), letter_to(MANY / 10)]);
        assert_eq!(delivered(&run), MANY / 5);
        assert_eq!(log.borrow().waits, 0, "nobody waited in vain");
    }
}

#[test]
fn small_pieces_do_not_make_small_writes_of_large_groups() {
    let rules = Rules { answers: vec![("RCPT", "250 ok"), ("message", "250 ok")], ..Rules::default() };
    let (run, log) = send_many(rules, Manner { give: 512, ..AT_ONCE }, &[letter_to(MANY / 10)]);
    assert_eq!(delivered(&run), MANY / 10);
    let writes = log.borrow().writes;
    assert!(writes < 30, "{writes} writes");
}

#[test]
fn a_large_message_is_sent_while_a_slow_peer_takes_it() {
    let mut letter = letter_to(2);
    letter.body = "All work and no play.\n.\n".repeat(60_000).into_bytes();
    for take in [usize::MAX, 10_000, 4093] {
        let scene = play(&Rules::default(), Manner { take, ..AT_ONCE }, None, &[letter.clone()]);
        assert_eq!(delivered(&scene.run), 2);
    }
}
