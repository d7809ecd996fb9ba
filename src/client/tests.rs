//! The client against servers that keep to a script.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::*;
use crate::lmtp::{Cause, Event, Reply, Stage};

const GREETED: &str = "220 mailbox LMTP";
const LHLO: &str = "LHLO me.example.org";
const OFFER: &str = "250-mailbox|250-PIPELINING|250-CHUNKING|250 ENHANCEDSTATUSCODES";
const HELLO: &str = "Subject: hello\n\nHello.\n";
const SENT: &str = "Subject: hello||Hello.|.";

/// What the server says first, and then by turns what it must hear and what it says; `|` ends a line.
type Script<'a> = &'a [&'a str];

/// Plays a session, and closes the connection.
fn play(stream: impl Read + Write, script: &[String]) {
    let mut stream = BufReader::new(stream);
    for (turn, lines) in script.iter().enumerate() {
        for line in lines.split('|').filter(|_| !lines.is_empty()) {
            if turn % 2 == 0 {
                write!(stream.get_mut(), "{line}\r\n").unwrap();
            } else {
                let mut heard = String::new();
                stream.read_line(&mut heard).unwrap();
                assert_eq!(heard, format!("{line}\r\n"));
            }
        }
    }
}

fn owned(script: Script<'_>) -> Vec<String> {
    script.iter().map(|lines| (*lines).to_owned()).collect()
}

/// A server on a Unix-domain socket that plays these sessions one after the other.
struct Server {
    path: PathBuf,
    played: JoinHandle<()>,
    _home: tempfile::TempDir,
}

impl Server {
    fn new(sessions: &[Script<'_>]) -> Self {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("lmtp");
        let listener = UnixListener::bind(&path).unwrap();
        let sessions: Vec<Vec<String>> = sessions.iter().map(|script| owned(script)).collect();
        let played = thread::spawn(move || {
            for script in sessions {
                play(listener.accept().unwrap().0, &script);
            }
        });
        Self { path, played, _home: home }
    }

    fn client(&self) -> Client {
        Client::unix(&self.path)
            .lhlo("me.example.org")
            .timeouts(Timeouts { reply: Duration::from_secs(20), delivery: Duration::from_secs(20) })
    }

    fn finish(self) {
        self.played.join().unwrap();
    }
}

fn envelope(recipients: &str) -> Envelope {
    Envelope::parse("me@example.org", recipients).unwrap()
}

fn names(outcomes: &[Outcome]) -> Vec<&str> {
    outcomes.iter().map(Outcome::name).collect()
}

#[test]
fn one_message_has_an_outcome_for_each_recipient() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let script = owned(&[
        GREETED,
        LHLO,
        "250-mailbox|250-PIPELINING|250 ENHANCEDSTATUSCODES",
        "MAIL FROM:<me@example.org>|RCPT TO:<joe@x>|RCPT TO:<no@x>|RCPT TO:<full@x>|DATA",
        "250 ok|250 ok|550 5.1.1 no such user|250 ok|354 go on",
        &format!("{SENT}|QUIT"),
        "250 2.0.0 stored|452 4.2.2 full|221 bye",
    ]);
    let server = thread::spawn(move || play(listener.accept().unwrap().0, &script));
    let client = Client::tcp("127.0.0.1", port).lhlo("me.example.org");
    let outcomes = client.send(&envelope("joe@x, no@x, full@x"), HELLO).unwrap();
    assert_eq!(names(&outcomes), ["delivered", "failed", "deferred"]);
    assert_eq!(outcomes[0].to_string(), "delivered: 250 2.0.0 stored");
    assert_eq!(outcomes[1].to_string(), "failed: 550 5.1.1 no such user (rcpt)");
    assert_eq!(outcomes[2].reply().map(Reply::code), Some(452));
    server.join().unwrap();
}

const CHUNK: &str = "BDAT 26 LAST|Subject: hello||Hello.";

#[test]
fn several_messages_go_over_one_session() {
    let server = Server::new(&[&[
        GREETED,
        LHLO,
        OFFER,
        &format!("MAIL FROM:<me@example.org>|RCPT TO:<joe@x>|{CHUNK}"),
        "250 ok|250 ok|250 2.0.0 one",
        // On a session that has carried a message, 354 shows that no stray reply has moved the others.
        "MAIL FROM:<me@example.org>|RCPT TO:<ann@x>|DATA",
        "250 ok|250 ok|354 go on",
        SENT,
        "250 2.0.0 two",
        "QUIT",
        "221 bye",
    ]]);
    let mut connection = server.client().connect().unwrap();
    assert!(connection.extensions().offers("CHUNKING"));
    assert_eq!(connection.greeting().text(), "mailbox LMTP");
    for (recipient, said) in [("joe@x", "one"), ("ann@x", "two")] {
        let outcomes = connection.send(&envelope(recipient), HELLO).unwrap();
        assert_eq!(outcomes[0].to_string(), format!("delivered: 250 2.0.0 {said}"));
    }
    connection.close();
    server.finish();
}

#[test]
fn recipients_for_a_further_transaction_are_sent_to_in_one() {
    let first = format!("MAIL FROM:<me@example.org>|RCPT TO:<joe@x>|RCPT TO:<ann@x>|{CHUNK}|QUIT");
    let later = format!("MAIL FROM:<me@example.org>|RCPT TO:<ann@x>|{CHUNK}|QUIT");
    let taken = "250 ok|250 ok|452 4.5.3 too many|250 2.0.0 stored|221 bye";
    let server = Server::new(&[
        &[GREETED, LHLO, OFFER, &first, taken],
        &[GREETED, LHLO, OFFER, &later, "250 ok|250 ok|250 2.0.0 stored too|221 bye"],
    ]);
    let outcomes = server.client().send(&envelope("joe@x, ann@x"), HELLO).unwrap();
    assert_eq!(names(&outcomes), ["delivered", "delivered"]);
    assert_eq!(outcomes[1].to_string(), "delivered: 250 2.0.0 stored too");
    server.finish();
}

#[test]
fn a_limit_on_recipients_is_kept() {
    let transaction = |name| format!("MAIL FROM:<me@example.org>|RCPT TO:<{name}@x>|DATA");
    let (joe, ann) = (transaction("joe"), transaction("ann"));
    let server = Server::new(&[&[
        GREETED,
        LHLO,
        "250-mailbox|250-PIPELINING|250 LIMITS RCPTMAX=1",
        &joe,
        "250 ok|250 ok|354 go on",
        SENT,
        "250 one",
        &ann,
        "250 ok|250 ok|354 go on",
        &format!("{SENT}|QUIT"),
        "250 two|221 bye",
    ]]);
    let outcomes = server.client().send(&envelope("joe@x, ann@x"), HELLO).unwrap();
    assert_eq!(names(&outcomes), ["delivered", "delivered"]);
    server.finish();
}

#[test]
fn whom_the_server_was_never_told_of_is_deferred_where_it_is_gone_by_then() {
    let script: Script<'_> = &[
        GREETED,
        LHLO,
        "250-mailbox|250-PIPELINING|250 LIMITS RCPTMAX=1",
        "MAIL FROM:<me@example.org>|RCPT TO:<joe@x>|DATA",
        "250 ok|250 ok|354 go on",
        SENT,
    ];
    let server = Server::new(&[script]);
    let mut outcomes = server.client().send(&envelope("joe@x, ann@x"), HELLO).unwrap();
    server.finish();
    let (ours, theirs) = UnixStream::pair().unwrap();
    let script = owned(script);
    let server = thread::spawn(move || play(theirs, &script));
    let client = Client::over(ours).lhlo("me.example.org");
    outcomes.extend(client.send(&envelope("joe@x, ann@x"), HELLO).unwrap());
    server.join().unwrap();
    assert_eq!(names(&outcomes), ["uncertain", "deferred", "uncertain", "deferred"], "{outcomes:?}");
    let expected = "deferred: the session has ended, and its stream serves for one session only";
    assert_eq!(outcomes[3].to_string(), expected);
}

#[test]
fn a_session_that_ended_between_two_messages_is_opened_anew() {
    let sent = format!("MAIL FROM:<me@example.org>|RCPT TO:<joe@x>|{CHUNK}");
    let server = Server::new(&[
        &[GREETED, LHLO, OFFER, &sent, "250 ok|250 ok|250 2.0.0 one"],
        &[GREETED, LHLO, OFFER, &sent, "250 ok|250 ok|250 2.0.0 two", "QUIT", "221 bye"],
    ]);
    let mut connection = server.client().connect().unwrap();
    for _ in 0..2 {
        assert_eq!(names(&connection.send(&envelope("joe@x"), HELLO).unwrap()), ["delivered"]);
    }
    connection.close();
    server.finish();
}

#[test]
fn where_the_session_ends_decides_between_deferred_and_uncertain() {
    let begun = "MAIL FROM:<me@example.org>|RCPT TO:<joe@x>|RCPT TO:<ann@x>|DATA";
    let accepted = "250 ok|250 ok|250 ok|354 go on";
    for (ends, expected) in [
        (&["250 ok|250 ok|421 4.3.2 shutting down"][..], ["deferred", "deferred"]),
        (&[accepted, SENT, ""], ["uncertain", "uncertain"]),
        (&[accepted, SENT, "250 2.0.0 stored"], ["delivered", "uncertain"]),
    ] {
        let mut script = vec![GREETED, LHLO, "250-mailbox|250 PIPELINING", begun];
        script.extend(ends);
        let server = Server::new(&[&script]);
        let mut connection = server.client().connect().unwrap();
        assert_eq!(names(&connection.send(&envelope("joe@x, ann@x"), HELLO).unwrap()), expected, "{ends:?}");
        server.finish();
    }
}

#[cfg(feature = "header")]
#[test]
fn the_header_gives_an_envelope_and_loses_its_bcc() {
    let text = "From: me@example.org\nTo: joe@x\nBcc: ann@x\nSubject: hello\n\nHello.\n";
    let mut message = crate::message::Message::from_stream(text.as_bytes()).unwrap();
    assert_eq!(Envelope::of_header(&mut message).unwrap(), envelope("joe@x, ann@x"));
    let server = Server::new(&[&[
        GREETED,
        LHLO,
        "250 mailbox",
        "MAIL FROM:<me@example.org>",
        "250 ok",
        "RCPT TO:<joe@x>",
        "250 ok",
        "RCPT TO:<ann@x>",
        "250 ok",
        "DATA",
        "354 go on",
        "From: me@example.org|To: joe@x|Subject: hello||Hello.|.",
        "250 one|250 two",
        "QUIT",
        "221 bye",
    ]]);
    let outcomes = server.client().send(&envelope("joe@x, ann@x"), &message).unwrap();
    assert_eq!(names(&outcomes), ["delivered", "delivered"]);
    server.finish();
    for nobody in ["From: me@x\n\n", "To: joe@x\n\n", "From: me@x\nTo: joe@@x\n\n", "hello\n"] {
        let mut message = crate::message::Message::from_stream(nobody.as_bytes()).unwrap();
        assert!(Envelope::of_header(&mut message).is_err(), "{nobody}");
    }
}

#[test]
fn any_stream_will_do() {
    let (ours, theirs) = UnixStream::pair().unwrap();
    // More recipients than go in a group that is written before the replies are read.
    let recipients: Vec<String> = (0..130).map(|n| format!("r{n}@x")).collect();
    let mut script = owned(&[GREETED, LHLO, "250-mailbox|250 PIPELINING"]);
    for (part, end) in [(&recipients[..100], ""), (&recipients[100..], "")] {
        let rcpt: String = part.iter().map(|recipient| format!("RCPT TO:<{recipient}>|")).collect();
        script.push(format!("MAIL FROM:<me@example.org>|{rcpt}DATA"));
        script.push(format!("250 ok|{}354 go on", "250 ok|".repeat(part.len())));
        script.push(format!("{SENT}{end}"));
        script.push(["250 stored"; 100][..part.len()].join("|"));
    }
    script.extend(owned(&["QUIT", "221 bye"]));
    let server = thread::spawn(move || play(theirs, &script));
    let client = Client::over(ours).lhlo("me.example.org");
    let outcomes = client.send(&envelope(&recipients.join(",")), HELLO).unwrap();
    assert_eq!(outcomes.len(), 130);
    assert!(outcomes.iter().all(Outcome::is_delivered));
    server.join().unwrap();
}

#[test]
fn a_stream_is_good_for_one_session() {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let script = owned(&[GREETED, LHLO, OFFER]);
    let server = thread::spawn(move || play(theirs, &script));
    let mut connection = Client::over(ours).lhlo("me.example.org").connect().unwrap();
    server.join().unwrap();
    // It has ended, which shows when it is written to; there is no other to try.
    assert_eq!(names(&connection.send(&envelope("joe@x"), HELLO).unwrap()), ["deferred"]);
    assert!(matches!(connection.send(&envelope("joe@x"), HELLO), Err(Error::StreamUsed)));
}

#[test]
fn what_cannot_be_sent_is_an_error_before_anything_is_said() {
    let server = Server::new(&[&[GREETED, LHLO, OFFER, "QUIT", "221 bye"]]);
    let mut connection = server.client().connect().unwrap();
    let nobody = Envelope::new("me@example.org".parse().unwrap());
    assert!(matches!(connection.send(&nobody, HELLO), Err(Error::NoRecipients)));
    assert!(matches!(connection.send(&envelope("joe@x"), ""), Err(Error::EmptyMessage)));
    connection.close();
    server.finish();
    let nowhere = Client::unix("/nonexistent/lmtp").send(&envelope("joe@x"), HELLO);
    assert!(matches!(&nowhere, Err(Error::Unreachable { server, .. }) if server == "/nonexistent/lmtp"));
    assert!("joe@x\r\nDATA".parse::<crate::lmtp::Address>().is_err());
}

#[test]
fn a_server_that_says_nothing_is_not_waited_for_beyond_the_limit() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let limit = Duration::from_millis(200);
    let client = Client::tcp("127.0.0.1", port).timeouts(Timeouts { reply: limit, ..Timeouts::default() });
    let began = Instant::now();
    let failed = client.send(&envelope("joe@x"), HELLO).unwrap_err();
    assert!(
        matches!(&failed, Error::Session(error) if matches!(error.cause, Cause::TimedOut(_))),
        "{failed}"
    );
    assert_eq!(failed.to_string(), "timed out while waiting for the greeting (after 0.2 s)");
    assert!((limit..limit * 50).contains(&began.elapsed()));
}

#[test]
fn a_password_is_not_sent_in_clear_over_tcp_unless_that_is_allowed() {
    let offer = "250-mailbox|250 AUTH PLAIN";
    for allowed in [false, true] {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let rest: &[&str] = if allowed {
            &["AUTH PLAIN AG1lAHNlY3JldA==", "235 ok", "QUIT", "221 bye"]
        } else {
            &["QUIT", "221 bye"]
        };
        let script = owned(&[&[GREETED, LHLO, offer], rest].concat());
        let server = thread::spawn(move || play(listener.accept().unwrap().0, &script));
        let client = Client::tcp("127.0.0.1", port).lhlo("me.example.org");
        let client = client.login("me", "secret".to_owned());
        match if allowed { client.in_clear() } else { client }.connect() {
            Ok(connection) => connection.close(),
            Err(Error::Session(error)) => assert!(!allowed && error.stage == Stage::Auth, "{error}"),
            Err(error) => panic!("{error}"),
        }
        server.join().unwrap();
    }
}

/// The server's side of TLS, with a certificate for `mail.example.net`, and the file that the client is to trust.
#[cfg(feature = "tls")]
fn certified() -> (rustls::ServerConnection, tempfile::NamedTempFile) {
    let made = rcgen::generate_simple_self_signed(["mail.example.net".to_owned()]).unwrap();
    let key = rustls::pki_types::PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let config =
        rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key.into())
            .unwrap();
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(made.cert.pem().as_bytes()).unwrap();
    (rustls::ServerConnection::new(Arc::new(config)).unwrap(), file)
}

#[cfg(feature = "tls")]
#[test]
fn a_session_is_encrypted_from_the_first_octet_or_by_starttls_or_there_is_none() {
    use crate::tls::{Tls, TlsOptions, Verify};

    for (starttls, name) in
        [(false, "mail.example.net"), (true, "mail.example.net"), (true, "other.example.net")]
    {
        let (mut connection, file) = certified();
        let (ours, theirs) = UnixStream::pair().unwrap();
        let server = thread::spawn(move || {
            let offer = "250-mailbox|250-STARTTLS|250 AUTH PLAIN";
            if starttls {
                play(&theirs, &owned(&[GREETED, LHLO, offer, "STARTTLS", "220 go on"]));
            }
            let mut socket = &theirs;
            let secured = rustls::Stream::new(&mut connection, &mut socket);
            if secured.conn.complete_io(secured.sock).is_err() {
                return;
            }
            let login = ["AUTH PLAIN AG1lAHNlY3JldA==", "235 ok"];
            let sent = [
                "MAIL FROM:<me@example.org>",
                "250 ok",
                "RCPT TO:<joe@x>",
                "250 ok",
                "DATA",
                "354 go on",
                SENT,
                "250 2.0.0 stored",
                "QUIT",
                "221 bye",
            ];
            let before = if starttls { &["", LHLO, offer][..] } else { &[GREETED, LHLO, offer] };
            play(secured, &owned(&[before, &login, &sent].concat()));
        });
        let verify = Verify::Chain { ca: Some(file.path().to_owned()) };
        let tls = Tls::new(TlsOptions { verify, name: Some(name.to_owned()), ..TlsOptions::default() });
        let client = Client::over(ours).lhlo("me.example.org").login("me", "secret".to_owned());
        let tls = tls.unwrap();
        let client = if starttls { client.starttls(tls) } else { client.implicit_tls(tls) };
        match client.send(&envelope("joe@x"), HELLO) {
            Ok(outcomes) => assert_eq!((names(&outcomes), name), (vec!["delivered"], "mail.example.net")),
            Err(Error::Session(error)) => {
                assert_eq!((error.stage, name), (Stage::Tls, "other.example.net"), "{error}");
            }
            Err(error) => panic!("{error}"),
        }
        server.join().unwrap();
    }
}

#[test]
fn whoever_listens_hears_both_sides_and_no_password() {
    let script = &[
        GREETED,
        LHLO,
        "250-mailbox|250 AUTH PLAIN",
        "AUTH PLAIN AG1lAHNlY3JldA==",
        "235 ok",
        "QUIT",
        "221 bye",
    ];
    let server = Server::new(&[script]);
    let heard = Arc::new(Mutex::new(String::new()));
    let log = Arc::clone(&heard);
    let client = server.client().login("me", "secret".to_owned()).observer(move |event| match event {
        Event::Sent(line) => log.lock().unwrap().push_str(&format!("C: {line}\n")),
        Event::Received(reply) => log.lock().unwrap().push_str(&format!("S: {reply}\n")),
        Event::Sending { .. } | Event::SentMessage(_) | Event::Note(_) => {}
    });
    client.connect().unwrap().close();
    server.finish();
    let heard = heard.lock().unwrap();
    assert!(
        heard.contains("C: LHLO me.example.org\n") && heard.contains("C: AUTH PLAIN [redacted]\n"),
        "{heard}"
    );
    assert!(heard.ends_with("C: QUIT\nS: 221 bye\n") && !heard.contains("AG1lAHNlY3JldA"), "{heard}");
}

#[test]
fn a_client_and_its_connection_may_go_to_another_thread() {
    fn is_send<T: Send>() {}
    is_send::<Client>();
    is_send::<Connection>();
    is_send::<Outcome>();
    is_send::<Error>();
}
