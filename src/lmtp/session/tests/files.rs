//! Messages that are sent from the file in which they stand.

use std::io::{Seek, SeekFrom, Write};

use super::peer::{How, Side};
use super::*;
use crate::message::Message;

/// A message of 576,000 octets in CRLF lines, in a file: without the Bcc field before its middle.
fn message_in_a_file() -> Message {
    let lines = "X-Line: and more of it\r\n".repeat(12_000);
    let mut file = tempfile::tempfile().unwrap();
    write!(file, "{lines}Bcc: c@x.example\r\n{lines}\r\n.dot\r\n").unwrap();
    file.seek(SeekFrom::Start(0)).unwrap();
    let mut message = Message::from_file(file).unwrap();
    let header = message.header().unwrap();
    message.remove(&header, |field| field.is("Bcc")).unwrap();
    message
}

/// What becomes of that message when as many octets of it are `from_files` as the transport says, and the log.
fn send(message: &Message, peer: Peer<Model>) -> (Vec<String>, Rc<RefCell<Log>>) {
    let letter = Letter::new("s@x.example", &["a@x.example", "b@x.example"], "");
    let log = peer.log();
    let mut run = Run::default();
    let mut session = Session::open(peer.patient(), "client.example", Box::new(|_| ())).unwrap();
    begin(&mut session, std::slice::from_ref(&letter), 0, &mut run).unwrap();
    if session.go() == Ok(Go::Ahead) && session.content(&mut message.open()).is_ok() {
        session.quit();
    }
    session.close();
    run.collect(&mut session);
    (run.of(0), log)
}

#[test]
fn a_message_in_its_wire_form_is_sent_from_its_file() {
    let message = message_in_a_file();
    let slow = Manner { take: 7_000, ..AT_ONCE };
    for (offers, manner) in
        [&["PIPELINING", "CHUNKING"][..], &["CHUNKING"]].into_iter().flat_map(|o| [(o, AT_ONCE), (o, slow)])
    {
        let peer =
            || Peer::new(Model::new(Rules { offers: offers.to_vec(), ..Rules::default() }), manner, None);
        let (fates, read) = send(&message, peer());
        assert_eq!((fates, read.borrow().from_files), (vec!["delivered".to_owned(); 2], 0));
        for most in [u64::MAX, 400_000, 1, 0] {
            let (fates, sent) = send(&message, peer().sending_files(most));
            assert_eq!(fates, ["delivered"; 2], "{offers:?} {most}");
            assert!(sent.borrow().written == read.borrow().written, "{offers:?} {most}");
            let expected = most.min(message.raw_octets() - 128 * 1024);
            assert_eq!(sent.borrow().from_files as u64, expected, "{offers:?}");
        }
    }
}

#[test]
fn a_connection_that_ends_while_a_file_is_sent_has_delivered_nothing() {
    let message = message_in_a_file();
    for (at, how) in [300, 300_000, 570_000]
        .into_iter()
        .flat_map(|at| [How::Close, How::Reset, How::Stall].map(|how| (at, how)))
    {
        let model = Model::new(Rules { offers: vec!["PIPELINING", "CHUNKING"], ..Rules::default() });
        let truth = model.truth();
        let peer =
            Peer::new(model, AT_ONCE, Some(Cut { side: Side::Client, at, how })).sending_files(u64::MAX);
        let (fates, log) = send(&message, peer);
        assert!(
            fates.iter().all(|fate| fate == "unanswered" || fate == "untried"),
            "{at} {how:?}: {fates:?}"
        );
        assert!(truth.borrow().ended.is_empty() && log.borrow().from_files > 0, "{at} {how:?}");
    }
}
