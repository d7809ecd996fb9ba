//! Whole exchanges: the RFCs' examples, and servers that cheat.

use super::*;

const PASSWORD: &str = "pencil";

fn secret(text: &str) -> Secret {
    text.to_owned().into()
}

/// Text in which a password could be seen, if a type let it.
fn text(response: &Secret) -> String {
    String::from_utf8(response.expose().to_vec()).unwrap()
}

/// Begins an exchange with a nonce that is known beforehand.
fn start<'s>(mechanism: Mechanism, password: &'s Secret, nonce: &str) -> (Exchange<'s>, Option<String>) {
    let (exchange, response) = Exchange::start(mechanism, "user", password, || Ok(nonce.to_owned())).unwrap();
    (exchange, response.map(|response| text(&response)))
}

/// An exchange is a table: challenge, response. Returns it at its end.
fn converse<'s>(mut exchange: Exchange<'s>, turns: &[(&str, &str)]) -> Exchange<'s> {
    for (challenge, response) in turns {
        assert_eq!(text(&exchange.step(challenge.as_bytes()).unwrap()), *response, "to {challenge}");
    }
    exchange
}

/// RFC 5802 §5.
const SHA1_NONCE: &str = "fyko+d2lbbFgONRv9qkxdawL";
const SHA1_FIRST: (&str, &str) = (
    "r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096",
    "c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=",
);
const SHA1_LAST: (&str, &str) = ("v=rmF9pqV8S7suAoZWja4dJRkFsKQ=", "");

/// RFC 7677 §3.
const SHA256_NONCE: &str = "rOprNGfwEbeRWgbNEkqO";
const SHA256_FIRST: (&str, &str) = (
    "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
    "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
);
const SHA256_LAST: (&str, &str) = ("v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=", "");

#[test]
fn scram_goes_as_the_rfcs_show() {
    let password = secret(PASSWORD);
    let (exchange, first) = start(Mechanism::ScramSha1, &password, SHA1_NONCE);
    assert_eq!(first.as_deref(), Some("n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL"));
    assert_eq!(converse(exchange, &[SHA1_FIRST, SHA1_LAST]).finish(), Ok(()));

    let (exchange, first) = start(Mechanism::ScramSha256, &password, SHA256_NONCE);
    assert_eq!(first.as_deref(), Some("n,,n=user,r=rOprNGfwEbeRWgbNEkqO"));
    assert_eq!(converse(exchange, &[SHA256_FIRST, SHA256_LAST]).finish(), Ok(()));
}

#[test]
fn a_yes_without_the_servers_proof_does_not_count() {
    let password = secret(PASSWORD);
    let (exchange, _) = start(Mechanism::ScramSha256, &password, SHA256_NONCE);
    assert_eq!(exchange.finish(), Err(AuthError::Unproven));
    let (exchange, _) = start(Mechanism::ScramSha256, &password, SHA256_NONCE);
    let error = converse(exchange, &[SHA256_FIRST]).finish().unwrap_err();
    assert_eq!(error.to_string(), "the server did not prove that it knows the password");
}

#[test]
fn a_wrong_proof_is_found_out_and_stays_so() {
    let cut = SHA256_LAST.0.replace("G4=", "");
    for (last, error) in [
        ("v=7rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=", AuthError::WrongProof),
        ("v=", AuthError::WrongProof),
        ("v=rmF9pqV8S7suAoZWja4dJRkFsKQ=", AuthError::WrongProof),
        (&cut, AuthError::NotBase64),
        ("", AuthError::Malformed("the server's signature is missing")),
        ("x=1,v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=", {
            AuthError::Malformed("the server's signature is missing")
        }),
        ("v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=,v=AAAA", {
            AuthError::Malformed("an attribute is out of order or repeated")
        }),
        ("e=invalid-proof", AuthError::Refused("invalid-proof".into())),
        ("e=\x1b[2Jno", AuthError::Refused("\\x1b[2Jno".into())),
        ("m=x,v=AAAA", AuthError::UnknownExtension),
    ] {
        let password = secret(PASSWORD);
        let (exchange, _) = start(Mechanism::ScramSha256, &password, SHA256_NONCE);
        let mut exchange = converse(exchange, &[SHA256_FIRST]);
        assert_eq!(exchange.step(last.as_bytes()).unwrap_err(), error, "{last}");
        assert_eq!(exchange.step(SHA256_LAST.0.as_bytes()).unwrap_err(), AuthError::Unexpected);
        assert_eq!(exchange.finish(), Err(AuthError::Unproven));
    }
}

#[test]
fn a_servers_first_message_that_is_wrong_gets_no_proof() {
    let out_of_place = AuthError::Malformed("an attribute is out of order or repeated");
    let iterations = |count: &str| AuthError::Iterations(count.into());
    let no_number = AuthError::Malformed("the iteration count is not a number");
    for (first, error) in [
        ("r=abcX,s=QUJD,i=4096", None),
        ("r=abcX,s=QUJD,i=4096,x=later,y=a=b", None),
        ("r=abc,s=QUJD,i=4096", Some(AuthError::WrongNonce)),
        ("r=ABCX,s=QUJD,i=4096", Some(AuthError::WrongNonce)),
        ("r=Xabc,s=QUJD,i=4096", Some(AuthError::WrongNonce)),
        ("r=abcX\x7f,s=QUJD,i=4096", Some(AuthError::WrongNonce)),
        ("r=abcX\u{e9},s=QUJD,i=4096", Some(AuthError::WrongNonce)),
        ("", Some(AuthError::Malformed("the nonce is missing"))),
        ("s=QUJD,i=4096", Some(AuthError::Malformed("the nonce is missing"))),
        ("s=QUJD,r=abcX,i=4096", Some(AuthError::Malformed("the nonce is missing"))),
        ("r=abcX,i=4096", Some(AuthError::Malformed("the salt is missing"))),
        ("r=abcX,r=abcX,s=QUJD,i=4096", Some(AuthError::Malformed("the salt is missing"))),
        ("r=abcX,s=,i=4096", Some(AuthError::Malformed("the salt is empty"))),
        ("r=abcX,s=QUJ,i=4096", Some(AuthError::NotBase64)),
        ("r=abcX,s=QUJD", Some(AuthError::Malformed("the iteration count is missing"))),
        ("r=abcX,s=QUJD,i=4096,i=5000", Some(out_of_place.clone())),
        ("r=abcX,s=QUJD,i=4096,s=QUJE", Some(out_of_place.clone())),
        ("r=abcX,s=QUJD,i=4096,m=ext", Some(out_of_place.clone())),
        ("r=abcX,s=QUJD,i=4096,xy=1", Some(out_of_place.clone())),
        ("r=abcX,s=QUJD,i=4096,", Some(out_of_place)),
        ("m=ext,r=abcX,s=QUJD,i=4096", Some(AuthError::UnknownExtension)),
        ("e=unknown-user", Some(AuthError::Refused("unknown-user".into()))),
        ("r=abcX,s=QUJD,i=", Some(no_number.clone())),
        ("r=abcX,s=QUJD,i=0", Some(no_number.clone())),
        ("r=abcX,s=QUJD,i=-4096", Some(no_number.clone())),
        ("r=abcX,s=QUJD,i=+4096", Some(no_number.clone())),
        ("r=abcX,s=QUJD,i=04096", Some(no_number)),
        ("r=abcX,s=QUJD,i=1", Some(iterations("1"))),
        ("r=abcX,s=QUJD,i=4095", Some(iterations("4095"))),
        ("r=abcX,s=QUJD,i=2000001", Some(iterations("2000001"))),
        ("r=abcX,s=QUJD,i=4294967296", Some(iterations("4294967296"))),
        ("r=abcX,s=QUJD,i=99999999999999999999999999", Some(iterations("99999999999999999999"))),
    ] {
        let password = secret(PASSWORD);
        let (mut exchange, _) = start(Mechanism::ScramSha256, &password, "abc");
        assert_eq!(exchange.step(first.as_bytes()).err(), error, "{first}");
        assert_eq!(exchange.finish(), Err(AuthError::Unproven));
    }
    let password = secret(PASSWORD);
    let (mut exchange, _) = start(Mechanism::ScramSha1, &password, "abc");
    assert_eq!(exchange.step(b"r=abcX\xff").unwrap_err(), AuthError::Malformed("it is not UTF-8"));
}

#[test]
fn scram_escapes_and_prepares_user_and_password() {
    let first = |user: &str| {
        let password = secret(PASSWORD);
        let (_, response) =
            Exchange::start(Mechanism::ScramSha1, user, &password, || Ok("abc".into())).unwrap();
        text(&response.unwrap())
    };
    assert_eq!(first("a=b,c"), "n,,n=a=3Db=2Cc,r=abc");
    // RFC 4013 §3: a soft hyphen vanishes, a Roman numeral is its letters.
    assert_eq!(first("I\u{ad}X"), "n,,n=IX,r=abc");
    assert_eq!(first("\u{2168}"), "n,,n=IX,r=abc");
    assert_eq!(first("\u{1f9e1}"), "n,,n=\u{1f9e1},r=abc", "younger than SASLprep");

    let proof = |password: &[u8]| {
        let password = password.to_vec().into();
        let (mut exchange, _) = start(Mechanism::ScramSha1, &password, "abc");
        text(&exchange.step(b"r=abcX,s=QUJD,i=4096").unwrap())
    };
    assert_eq!(proof("\u{2168}".as_bytes()), proof(b"IX"));
    assert_eq!(proof("mu\u{308}ller".as_bytes()), proof("m\u{fc}ller".as_bytes()));
    assert_ne!(proof(b"m\xfcller"), proof("m\u{fc}ller".as_bytes()), "not UTF-8: as it is");
}

#[test]
fn plain_is_one_response() {
    let password = secret("tanstaaftanstaaf");
    let no_nonce = || Err(AuthError::NoRandomness);
    let (exchange, response) = Exchange::start(Mechanism::Plain, "tim", &password, no_nonce).unwrap();
    assert_eq!(text(&response.unwrap()), "\0tim\0tanstaaftanstaaf", "RFC 4616 §4");
    assert_eq!(exchange.finish(), Ok(()));
}

#[test]
fn login_is_two_responses_whatever_the_prompts() {
    for prompts in [["Username:", "Password:"], ["", ""], ["User Name\0", "\u{1b}[2J"]] {
        let password = secret(PASSWORD);
        let (exchange, first) = start(Mechanism::Login, &password, "");
        assert_eq!(first, None);
        let mut exchange = converse(exchange, &[(prompts[0], "user"), (prompts[1], PASSWORD)]);
        assert_eq!(exchange.step(b"Password:").unwrap_err(), AuthError::Unexpected);
    }
}

#[test]
fn cram_md5_answers_one_challenge() {
    let password = secret("tanstaaftanstaaf");
    let nonce = || Err(AuthError::NoRandomness);
    let (exchange, first) = Exchange::start(Mechanism::CramMd5, "tim", &password, nonce).unwrap();
    assert!(first.is_none());
    let challenge = "<1896.697170952@postoffice.reston.mci.net>";
    let exchange = converse(exchange, &[(challenge, "tim b913a602c7eda7a495b4e6e7334d3890")]);
    assert_eq!(exchange.finish(), Ok(()));
}

#[test]
fn external_names_the_identity_or_nobody() {
    for user in ["", "joe@example.net"] {
        let password = secret("");
        let nonce = || Err(AuthError::NoRandomness);
        let (exchange, response) = Exchange::start(Mechanism::External, user, &password, nonce).unwrap();
        assert_eq!(text(&response.unwrap()), user);
        assert_eq!(exchange.finish(), Ok(()));
    }
}

#[test]
fn what_a_mechanism_cannot_carry_is_refused_before_anything_is_sent() {
    for (user, password, message) in [
        ("", "x", "the user's name is empty"),
        ("a\0b", "x", "the user's name contains a NUL"),
        ("a", "", "the password is empty"),
        ("a", "x\0y", "the password contains a NUL"),
    ] {
        for mechanism in [Mechanism::ScramSha256, Mechanism::CramMd5, Mechanism::Plain, Mechanism::Login] {
            let error = Exchange::start(mechanism, user, &secret(password), random_nonce).map(|_| ());
            assert_eq!(error.unwrap_err().to_string(), message);
        }
    }
}

#[test]
fn nonces_are_printable_and_never_the_same() {
    let nonces = [random_nonce().unwrap(), random_nonce().unwrap()];
    assert_ne!(nonces[0], nonces[1]);
    assert!(nonces.iter().all(|n| n.len() == 24 && n.bytes().all(|b| b.is_ascii_graphic() && b != b',')));
}

#[test]
fn no_public_type_shows_the_password() {
    let password = secret("hunter2");
    for name in ["SCRAM-SHA-256", "SCRAM-SHA-1", "CRAM-MD5", "PLAIN", "LOGIN", "EXTERNAL"] {
        let mechanism = Mechanism::parse(name).unwrap();
        let (mut exchange, response) =
            Exchange::start(mechanism, "joe", &password, || Ok("abc".into())).unwrap();
        let mut shown = format!("{password:?} {exchange:?} {response:?} {mechanism:?}");
        for challenge in ["r=abcX,s=QUJD,i=4096", "hunter2", "e=hm"] {
            let line = exchange.step(challenge.as_bytes()).map(|response| encode(&response));
            shown += &format!("{exchange:?} {exchange:#?} {line:?}");
        }
        shown += &format!("{:?}", exchange.finish());
        for trace in ["hunter2", "aHVudGVyMg", "104, 117", "68756e74"] {
            assert!(!shown.contains(trace), "{name}: {shown}");
        }
        assert!(shown.contains("[redacted]") && shown.contains(&format!("{mechanism:?}")), "{shown}");
    }
}

/// A password in base64 is told by what is around it in three ways only.
#[test]
fn the_stems_are_in_whatever_holds_the_password() {
    let password = Secret::from(b"S3cretPw".to_vec());
    for before in ["", "j", "jo", "joe", "\0joe\0", "joe\0joe\0", "=?x"] {
        for behind in ["", "\n", "\r\n", "\0 and more"] {
            let text = BASE64.encode(format!("{before}S3cretPw{behind}").as_bytes());
            let held = stems(&password).filter(|stem| text.contains(str::from_utf8(stem.expose()).unwrap()));
            assert_eq!(held.count(), 1, "{text}");
        }
    }
    assert!(stems(&password).all(|stem| stem.expose().len() >= 9));
    assert_eq!(stems(&Secret::from(Vec::new())).count(), 3);
}
