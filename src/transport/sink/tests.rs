//! Conversations with the sink, and what is in the Maildirs after them.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use super::*;

/// What LHLO is answered, and the greeting before it.
const HELLO: &str = "220 here LMTP lmtp-send sink ready\r\n250-here\r\n250-PIPELINING\r\n250-SIZE 0\r\n250-8BITMIME\r\n\
    250-ENHANCEDSTATUSCODES\r\n250-SMTPUTF8\r\n250-CHUNKING\r\n250 BINARYMIME\r\n";

/// A session in which the client sends `octets` in pieces of `size`: what the server said.
fn talk_in_pieces(dir: &Path, octets: &[u8], size: usize) -> String {
    let mut server = SinkServer::new(dir.to_owned(), "here");
    let (mut said, mut buf) = (Vec::new(), [0; 7]);
    for piece in octets.chunks(size) {
        server.feed(piece);
        loop {
            match server.take_output(&mut buf) {
                0 => break,
                n => said.extend_from_slice(&buf[..n]),
            }
        }
    }
    String::from_utf8(said).unwrap()
}

/// What the server says to `commands` after LHLO, which are LF-ended here; only the codes.
fn codes(dir: &Path, commands: &str) -> Vec<String> {
    let octets = format!("LHLO me\n{commands}").replace('\n', "\r\n");
    let said = talk_in_pieces(dir, octets.as_bytes(), usize::MAX);
    let after = said.strip_prefix(HELLO).expect("the greeting and the reply to LHLO");
    let code = |line: &str| line.split(' ').take(2).collect::<Vec<_>>().join(" ");
    after.lines().map(|line| code(line).replace("354 end", "354")).collect()
}

/// Every file below `dir`, by its folder: the contents, sorted.
fn files(dir: &Path) -> BTreeMap<String, Vec<Vec<u8>>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = folder.strip_prefix(dir).unwrap().to_str().unwrap().to_owned();
                found.entry(name).or_insert_with(Vec::new).push(fs::read(path).unwrap());
            }
        }
    }
    found.values_mut().for_each(|contents| contents.sort());
    found
}

/// As [`files`] gives it.
fn expected(files: &[(&str, &[&[u8]])]) -> BTreeMap<String, Vec<Vec<u8>>> {
    let contents = |contents: &[&[u8]]| {
        let mut contents: Vec<_> = contents.iter().map(|c| c.to_vec()).collect();
        contents.sort();
        contents
    };
    files.iter().map(|(folder, c)| ((*folder).to_owned(), contents(c))).collect()
}

/// Three transactions of all kinds in one session.
const SESSION: &[u8] = b"LHLO me\r\n\
    MAIL FROM:<me@x> SIZE=20 BODY=8BITMIME\r\nRCPT TO:<joe@X>\r\nRCPT TO:<>\r\nRCPT TO:<joe@x>\r\nRCPT TO:<ann>\r\nDATA\r\n\
    Subject: one\r\n\r\n..dot\r\n.\rx\n.\n\xff\0\r\n.\r\n\
    MAIL FROM:<>\r\nRCPT TO:<ann>\r\nBDAT 7\r\na\r\n.\r\n\rBDAT 0\r\nBDAT 4 LAST\r\n\n.\r\n\
    MAIL FROM:<> BODY=BINARYMIME SMTPUTF8\r\nRCPT TO:<j\xc3\xb6rg@x>\r\nBDAT 3\r\n\r\n\0BDAT 0 LAST\r\n\
    NOOP\r\nQUIT\r\nNOOP\r\n";

const SESSION_REPLIES: &str = "250 2.1.0 sender ok\r\n250 2.1.5 recipient ok\r\n501 5.1.3 invalid address\r\n\
    250 2.1.5 recipient ok\r\n250 2.1.5 recipient ok\r\n354 end with a line of a single dot\r\n\
    250 2.0.0 stored in joe@x\r\n250 2.0.0 stored in joe@x\r\n250 2.0.0 stored in ann\r\n\
    250 2.1.0 sender ok\r\n250 2.1.5 recipient ok\r\n250 2.0.0 go on\r\n250 2.0.0 go on\r\n250 2.0.0 stored in ann\r\n\
    250 2.1.0 sender ok\r\n250 2.1.5 recipient ok\r\n250 2.0.0 go on\r\n250 2.0.0 stored in jörg@x\r\n\
    250 2.0.0 nothing done\r\n221 2.0.0 bye\r\n";

#[test]
fn every_piece_size_gives_the_same_replies_and_files() {
    let one: &[u8] = b"Subject: one\n\n.dot\n\rx\n.\n\xff\0\n";
    let after = expected(&[
        ("ann/new", &[one, b"a\n.\n\n.\n"]),
        ("joe@x/new", &[one, one]),
        ("jörg@x/new", &[b"\r\n\0"]),
    ]);
    for size in [1, 2, 3, 5, 7, 64, usize::MAX] {
        let dir = tempfile::tempdir().unwrap();
        let said = talk_in_pieces(dir.path(), SESSION, size);
        assert_eq!(said, format!("{HELLO}{SESSION_REPLIES}"), "pieces of {size}");
        assert_eq!(files(dir.path()), after, "pieces of {size}");
    }
}

#[test]
fn wherever_the_client_goes_away_nothing_half_written_stays() {
    let dir = tempfile::tempdir().unwrap();
    for cut in 0..SESSION.len() {
        let said = talk_in_pieces(dir.path(), &SESSION[..cut], usize::MAX);
        let found = files(dir.path());
        assert!(found.keys().all(|folder| folder.ends_with("/new")), "cut at {cut}: {found:?}");
        let stored: usize = found.values().map(Vec::len).sum();
        assert_eq!(stored, said.matches("250 2.0.0 stored").count(), "cut at {cut}");
        for folder in found.keys() {
            for entry in fs::read_dir(dir.path().join(folder)).unwrap() {
                fs::remove_file(entry.unwrap().path()).unwrap();
            }
        }
    }
}

#[test]
fn a_message_goes_to_disk_as_it_comes_and_away_with_its_transaction() {
    for ending in ["RSET\r\n", "LHLO me\r\n", "QUIT\r\n", "BDAT one\r\n"] {
        let dir = tempfile::tempdir().unwrap();
        let mut server = SinkServer::new(dir.path().to_owned(), "here");
        server.feed(b"LHLO me\r\nMAIL FROM:<>\r\nRCPT TO:<a>\r\nRCPT TO:<b>\r\nBDAT 1000000\r\n");
        (0..100).for_each(|_| server.feed(&[b'x'; 10_000]));
        assert!(files(dir.path())["a/tmp"][0].len() > 900_000);
        server.feed(ending.as_bytes());
        assert_eq!(files(dir.path()), expected(&[]), "{ending}");
    }
}

#[test]
fn commands_out_of_order_or_malformed() {
    let table = [
        ("RCPT TO:<a>\n", "503 5.5.1"),
        ("DATA\n", "503 5.5.1"),
        ("MAIL FROM:<>\nMAIL FROM:<>\n", "250 2.1.0|503 5.5.1"),
        ("MAIL FROM:<>\nDATA\nRCPT TO:<a>\n", "250 2.1.0|503 5.5.1|250 2.1.5"),
        ("MAIL FROM:<>\nRSET\nRCPT TO:<a>\n", "250 2.1.0|250 2.0.0|503 5.5.1"),
        (
            "MAIL FROM:<>\nRCPT TO:<a>\nBDAT 1\n.BDAT 1\n.RCPT TO:<b>\nDATA\n",
            "250 2.1.0|250 2.1.5|250 2.0.0|250 2.0.0|503 5.5.1|503 5.5.1",
        ),
        ("MAIL FROM:<> BODY=BINARYMIME\nRCPT TO:<a>\nDATA\n", "250 2.1.0|250 2.1.5|503 5.5.1"),
        ("MAIL FROM:<me@x> RET=FULL\n", "555 5.5.4"),
        ("MAIL FROM:<>\nRCPT TO:<é>\n", "250 2.1.0|553 5.6.7"),
        ("EHLO me\nHELO me\nHELO\n", "500 5.5.1|500 5.5.1|500 5.5.1"),
        ("LHLO\nVRFY\nDATA now\nRSET all\nQUIT now\n", "501 5.5.4|501 5.5.4|501 5.5.4|501 5.5.4|501 5.5.4"),
        ("noop what ever\nVrfy joe\nHELP\nHELP ME\n", "250 2.0.0|252 2.0.0|214 2.0.0|214 2.0.0"),
        ("\nEXPN all\nSTARTTLS\n LHLO x\n", "500 5.5.1|500 5.5.1|500 5.5.1|500 5.5.1"),
        ("NOOP \x1b[2J\nNOOP\0\nNOOP\r\n", "500 5.5.2|500 5.5.2|500 5.5.2"),
    ];
    for (commands, expected) in table {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(codes(dir.path(), commands).join("|"), expected, "{commands}");
    }
}

#[test]
fn lines_that_are_no_commands() {
    let dir = tempfile::tempdir().unwrap();
    let long = "x".repeat(3 * MAX_COMMAND);
    for (octets, code) in [
        (b"MAIL FROM:<>\r\n".as_slice(), "503 5.5.1"),
        (b"NOOP\n", "500 5.5.2"),
        (b"NOOP \xff\r\n", "500 5.5.2"),
        (format!("NOOP {long}\r\n").as_bytes(), "500 5.5.2"),
    ] {
        for size in [1, 100, usize::MAX] {
            let octets = [octets, b"NOOP\r\n"].concat();
            let said = talk_in_pieces(dir.path(), &octets, size);
            let mut lines = said.lines().skip(1);
            assert!(lines.next().unwrap().starts_with(code), "{said}");
            assert_eq!(lines.collect::<Vec<_>>(), ["250 2.0.0 nothing done"]);
        }
    }
}

#[test]
fn chunks_without_recipients_are_swallowed() {
    let dir = tempfile::tempdir().unwrap();
    let commands = "BDAT 6\nQUIT\nMAIL FROM:<>\nRCPT TO:<>\nBDAT 6\nQUIT\nRCPT TO:<a>\nBDAT 6 LAST\nQUIT\nBDAT 0 LAST\nNOOP\n";
    let expected = "503 5.5.1|250 2.1.0|501 5.1.3|503 5.5.1|503 5.5.1|503 5.5.1|503 5.5.1|250 2.0.0";
    assert_eq!(codes(dir.path(), commands).join("|"), expected);
    assert_eq!(files(dir.path()), BTreeMap::new());
}

#[test]
fn a_chunk_of_unknown_size_ends_the_session() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(codes(dir.path(), "BDAT six\nQUIT\n"), ["501 5.5.4"]);
}

/// One message of one line to each of `recipients`: the replies to it.
fn deliver(dir: &Path, recipients: &[&str]) -> Vec<String> {
    let rcpt: String = recipients.iter().map(|r| format!("RCPT TO:<{r}>\n")).collect();
    let codes = codes(dir, &format!("MAIL FROM:<> SMTPUTF8\n{rcpt}DATA\nhi\n.\n"));
    codes.into_iter().skip_while(|code| code != "354").skip(1).collect()
}

#[test]
fn hostile_names_stay_below_the_directory() {
    let outer = tempfile::tempdir().unwrap();
    let dir = outer.path().join("a/b");
    let hostile = ["../../etc/x@y", "..", ".", "/etc/passwd", "%2E.", "\"a/../../b\"@x", "x@y"];
    assert_eq!(deliver(&dir, &hostile), ["250 2.0.0"; 7]);
    let mut names: Vec<_> =
        fs::read_dir(&dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    let expected =
        ["\"a%2F..%2F..%2Fb\"@x", "%252E.", "%2E", "%2E.", "%2E.%2F..%2Fetc%2Fx@y", "%2Fetc%2Fpasswd", "x@y"];
    assert_eq!(names, expected);
    assert_eq!(fs::read_dir(outer.path()).unwrap().count(), 1);
    assert_eq!(codes(&dir, &format!("MAIL FROM:<>\nRCPT TO:<{}>\n", "x".repeat(256)))[1], "553 5.1.3");
}

#[test]
fn one_recipients_trouble_is_its_own() {
    let outer = tempfile::tempdir().unwrap();
    let (dir, elsewhere) = (outer.path().join("inbox"), outer.path().join("elsewhere"));
    fs::create_dir_all(dir.join("halfway")).unwrap();
    fs::create_dir(&elsewhere).unwrap();
    fs::write(dir.join("file"), "mine").unwrap();
    fs::write(dir.join("halfway/new"), "mine").unwrap();
    symlink(&elsewhere, dir.join("link")).unwrap();
    let recipients = ["file", "a", "halfway", "link", "b"];
    assert_eq!(deliver(&dir, &recipients), ["451 4.3.0", "250 2.0.0", "451 4.3.0", "451 4.3.0", "250 2.0.0"]);
    assert_eq!(deliver(&dir, &["file", "link"]), ["451 4.3.0", "451 4.3.0"]);
    let kept =
        expected(&[("", &[b"mine"]), ("halfway", &[b"mine"]), ("a/new", &[b"hi\n"]), ("b/new", &[b"hi\n"])]);
    assert_eq!(files(&dir), kept);
    assert_eq!(fs::read_dir(&elsewhere).unwrap().count(), 0);
}

#[test]
fn trouble_is_named() {
    let outer = tempfile::tempdir().unwrap();
    fs::write(outer.path().join("file"), "").unwrap();
    fs::create_dir(outer.path().join("inbox")).unwrap();
    fs::write(outer.path().join("inbox/joe"), "").unwrap();
    for (dir, named) in [("file", "/file/joe:"), ("file/inbox", "/file/inbox/joe:"), ("inbox", "/inbox/joe:")]
    {
        let octets = b"LHLO me\r\nMAIL FROM:<>\r\nRCPT TO:<joe>\r\nBDAT 0 LAST\r\n";
        let said = talk_in_pieces(&outer.path().join(dir), octets, usize::MAX);
        let last = said.lines().last().unwrap();
        assert!(
            last.starts_with("451 4.3.0 ") && last.contains(&format!("{named} Not a directory")),
            "{last}"
        );
    }
}

#[test]
fn a_full_disk_is_told_from_other_trouble() {
    let said = |errno: Errno| not_stored(Path::new("inbox/joe\n"), &errno.into()).to_string();
    assert_eq!(said(Errno::NOSPC), r"452 4.3.1 inbox/joe\x0a: No space left on device");
    assert!(said(Errno::DQUOT).starts_with("452 4.3.1 "));
    assert!(said(Errno::ACCESS).starts_with("451 4.3.0 "));
}

#[test]
fn mail_is_for_its_owner_only_and_a_maildir_is_whole() {
    let dir = tempfile::tempdir().unwrap();
    deliver(dir.path(), &["joe"]);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o077;
    let joe = dir.path().join("joe");
    assert_eq!(mode(&joe), 0);
    assert!(["tmp", "new", "cur"].iter().all(|folder| mode(&joe.join(folder)) == 0));
    let file = fs::read_dir(joe.join("new")).unwrap().next().unwrap().unwrap();
    assert_eq!(mode(&file.path()), 0);
    assert!(file.file_name().to_str().unwrap().ends_with(".here"));
}

#[test]
fn sessions_side_by_side_share_a_new_maildir() {
    let dir = tempfile::tempdir().unwrap();
    let path = &dir.path().join("inbox");
    std::thread::scope(|scope| {
        (0..4).for_each(|_| drop(scope.spawn(|| assert_eq!(deliver(path, &["joe"; 5]), ["250 2.0.0"; 5]))));
    });
    assert_eq!(files(path), expected(&[("joe/new", &[b"hi\n".as_slice(); 20])]));
}

#[test]
fn the_transport_never_waits() {
    let dir = tempfile::tempdir().unwrap();
    let mut sink = SinkTransport::new(SinkServer::new(dir.path().to_owned(), "here"));
    let mut buf = [0; 99];
    let moved = |written, read, closed| Moved { written, read, closed };
    sink.enter(Stage::Greeting);
    assert_eq!(sink.exchange(b"", &mut buf).unwrap(), moved(0, 36, false));
    assert_eq!(sink.pending(&mut buf).unwrap(), moved(0, 0, false));
    assert_eq!(sink.exchange(b"", &mut buf).unwrap_err().kind(), io::ErrorKind::TimedOut);
    assert_eq!(sink.exchange(b"NOOP\r\nQU", &mut []).unwrap(), moved(8, 0, false));
    assert_eq!(sink.exchange(b"IT\r\n", &mut buf[..24]).unwrap(), moved(4, 24, false));
    assert_eq!(sink.exchange(b"NOOP\r\n", &mut buf).unwrap(), moved(0, 15, true));
    assert_eq!(&buf[..15], b"221 2.0.0 bye\r\n");
    assert_eq!(sink.pending(&mut buf).unwrap(), moved(0, 0, true));
}
