//! TLS, authentication and the extensions, with real LMTP servers.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use serde_json::json;
use tempfile::TempDir;

use crate::interop::{CYRUS_MAILBOXES, holds, large_message, message, same, to, verdicts};
use crate::scripted::{Client, HELLO, canonical};
use crate::servers::certificates::Certificates;
use crate::servers::cyrus::{Cyrus, POSTMAN};
use crate::servers::dovecot::Dovecot;
use crate::servers::smtp_server::SmtpServer;
use crate::servers::smtp_sink::SmtpSink;

/// A Dovecot that offers STARTTLS, and speaks TLS from the first octet on a port of its own.
fn dovecot_with_tls(made: &Certificates, more: &str) -> Option<Dovecot> {
    dovecot_showing(made, "server", more)
}

/// Such a Dovecot with one of the certificates that were made.
fn dovecot_showing(made: &Certificates, name: &str, more: &str) -> Option<Dovecot> {
    let tls = format!(
        "
ssl = yes
ssl_cert = <{}
ssl_key = <{}
service lmtp {{
  inet_listener lmtps {{
    address = 127.0.0.1
    port = @TLS_PORT@
    ssl = yes
  }}
}}
",
        made.certificate(name),
        made.key(name)
    );
    Dovecot::start(&["ann", "bob"], &format!("{tls}{more}"))
}

#[test]
fn dovecot_proves_who_it_is() {
    let made = Certificates::new();
    let Some(dovecot) = dovecot_with_tls(&made, "") else { return };
    let (authority, fingerprint) = (made.certificate("ca"), made.fingerprint("server"));
    let pinned = fingerprint.replace(':', "").to_lowercase();
    let good: &[&[&str]] = &[
        &["--tls-ca", &authority],
        &["--tls-ca", &authority, "--tls-name", "mx.example.net"],
        &["--tls-fingerprint", &fingerprint],
        &["--tls-fingerprint", &pinned],
        &["--tls-insecure"],
    ];
    for options in good {
        to(&dovecot.tcp()).args(["--tls", "starttls", "-t", "ann"]).args(*options).run().exits(0);
        to(&dovecot.tls()).args(["--tls", "implicit", "-t", "bob"]).args(*options).run().exits(0);
    }
    for mailbox in ["ann", "bob"].map(|user| dovecot.mailbox(user)) {
        assert_eq!(mailbox.len(), good.len());
        assert!(mailbox.iter().all(|mail| mail.added.contains("with LMTPS")), "{}", mailbox[0].added);
    }
}

/// Where nobody is to be verified, or a fingerprint is compared, it does not matter what chain verification makes of
/// the certificate: mail goes, and goes encrypted.
#[test]
fn dovecot_has_a_certificate_that_no_chain_could_hold() {
    let made = Certificates::new();
    made.issue_version_1("old");
    made.issue_with_unknown_extension("odd");
    made.issue_with_unknown_key("large");
    for (name, pinned) in [("old", true), ("odd", true), ("large", false)] {
        let Some(dovecot) = dovecot_showing(&made, name, "") else { return };
        let fingerprint = made.fingerprint(name);
        let pin = ["--tls-fingerprint", fingerprint.as_str()];
        let all = [("starttls", &["--tls-insecure"][..]), ("opportunistic", &[]), ("starttls", &pin)];
        let all = all.into_iter().filter(|(_, options)| pinned || options.len() < 2);
        let mut sent = 0;
        for (mode, options) in all {
            to(&dovecot.tcp()).args(["--tls", mode, "-t", "ann"]).args(options).run().exits(0);
            if mode == "starttls" {
                to(&dovecot.tls()).args(["--tls", "implicit", "-t", "ann"]).args(options).run().exits(0);
                sent += 1;
            }
            sent += 1;
        }
        let mailbox = dovecot.mailbox("ann");
        assert_eq!(mailbox.len(), sent);
        assert!(mailbox.iter().all(|mail| mail.added.contains("with LMTPS")), "{name}: in clear");
        let pinned = to(&dovecot.tcp()).args(["--tls", "starttls", "-t", "ann"]).args(pin).run();
        assert_eq!(pinned.code() == 0, name != "large", "{}", pinned.stderr);
    }
}

#[test]
fn dovecot_cannot_prove_who_it_is() {
    let (made, other) = (Certificates::new(), Certificates::new());
    let Some(dovecot) = dovecot_with_tls(&made, "") else { return };
    let (authority, wrong, fingerprint) =
        (made.certificate("ca"), other.certificate("ca"), other.fingerprint("server"));
    let bad: &[&[&str]] = &[
        &[],
        &["--tls-ca", &wrong],
        &["--tls-ca", &authority, "--tls-name", "other.example.net"],
        &["--tls-ca", &authority, "--tls-fingerprint", &fingerprint],
    ];
    for options in bad {
        for (place, mode) in [(dovecot.tcp(), "starttls"), (dovecot.tls(), "implicit")] {
            let ran = to(&place).args(["--tls", mode, "-t", "ann"]).args(*options).run().exits(75);
            assert!(ran.stderr.starts_with("4.7.0 "), "{mode} {options:?}: {}", ran.stderr);
            ran.outcomes(&["deferred"]).stages(&["tls"]);
        }
    }
    assert!(dovecot.mailbox("ann").is_empty());
}

#[test]
fn dovecot_without_tls() {
    let Some(dovecot) = Dovecot::start(&["ann"], "") else { return };
    to(&dovecot.tcp()).typed("--tls opportunistic -t ann").run().exits(0);
    to(&dovecot.tcp()).typed("--tls starttls -t ann").run().exits(75).says("4.7.0", "TLS").stages(&["tls"]);
    assert_eq!(dovecot.mailbox("ann").len(), 1);
}

#[test]
fn dovecot_takes_a_large_message_by_tls() {
    let made = Certificates::new();
    let Some(dovecot) = dovecot_with_tls(&made, "") else { return };
    let message = large_message();
    for (user, options) in [("ann", ""), ("bob", "--no-chunking")] {
        let client = to(&dovecot.tcp()).typed("--tls opportunistic").typed(options);
        client.args(["-t", user]).input(message.as_slice()).run().exits(0);
        holds(&dovecot.mailbox(user), &message);
    }
}

/// Dovecot asks for a certificate and refuses a bad one; it does not insist on having one.
#[test]
fn dovecot_checks_the_clients_certificate() {
    let (made, other) = (Certificates::new(), Certificates::new());
    let ask =
        format!("ssl_ca = <{}\nssl_verify_client_cert = yes\nssl_require_crl = no", made.certificate("ca"));
    let Some(dovecot) = dovecot_with_tls(&made, &ask) else { return };
    let authority = made.certificate("ca");
    let with = |certificates: &Certificates| {
        let shown = [certificates.certificate("client"), certificates.key("client")];
        let client = to(&dovecot.tcp()).args(["-t", "ann", "--tls", "starttls", "--tls-ca", &authority]);
        client.args(["--tls-cert", &shown[0], "--tls-key", &shown[1]]).run()
    };
    with(&made).exits(0);
    with(&other).exits(75).outcomes(&["deferred"]);
    assert_eq!(dovecot.mailbox("ann").len(), 1);
}

#[test]
fn cyrus_insists_on_the_clients_certificate() {
    let made = Certificates::new();
    let tls = format!(
        "tls_server_cert: {}\ntls_server_key: {}\ntls_client_ca_file: {}\ntls_client_certs: require",
        made.certificate("server"),
        made.key("server"),
        made.certificate("ca")
    );
    let Some(cyrus) = Cyrus::start(&CYRUS_MAILBOXES, &tls) else { return };
    let (authority, password) = (made.certificate("ca"), Password::new(POSTMAN.1));
    let client = || {
        let client = to(&cyrus.tcp()).args(["-t", "ann", "--tls", "starttls", "--tls-ca", &authority]);
        client.args(["--user", POSTMAN.0, "--password-file", &password.path()])
    };
    client().run().exits(75).outcomes(&["deferred"]);
    client()
        .args(["--tls-cert", &made.certificate("client"), "--tls-key", &made.key("client")])
        .run()
        .exits(0);
    assert_eq!(cyrus.mailbox("user/ann").len(), 1);
}

/// A file that holds a password and that nobody else can read.
struct Password(TempDir);

impl Password {
    fn new(password: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let made = Self(folder);
        fs::write(made.path(), format!("{password}\n")).unwrap();
        fs::set_permissions(made.path(), fs::Permissions::from_mode(0o600)).unwrap();
        made
    }

    fn path(&self) -> String {
        let path: PathBuf = self.0.path().join("password");
        path.to_str().unwrap().to_owned()
    }
}

#[test]
fn cyrus_authenticates_us() {
    let Some(cyrus) = Cyrus::start(&CYRUS_MAILBOXES, "") else { return };
    let password = Password::new(POSTMAN.1);
    let mechanisms = ["", "scram-sha-256", "scram-sha-1", "cram-md5", "plain", "login"];
    for mechanism in mechanisms {
        let mut client = to(&cyrus.tcp()).args(["-t", "ann", "--user", POSTMAN.0, "--auth-insecure"]);
        if !mechanism.is_empty() {
            client = client.args(["--auth", mechanism]);
        }
        let ran = client.args(["--password-file", &password.path(), "--debug"]).run();
        assert_eq!(ran.code(), 0, "{mechanism}: {}", ran.stderr);
        assert!(!ran.stderr.contains(POSTMAN.1), "{}", ran.stderr);
        let used = if mechanism.is_empty() { "SCRAM-SHA-256".into() } else { mechanism.to_uppercase() };
        assert!(ran.stderr.contains(&format!("AUTH {used}")), "{used}: {}", ran.stderr);
    }
    assert_eq!(cyrus.mailbox("user/ann").len(), mechanisms.len());
}

#[test]
fn cyrus_does_not_believe_us() {
    let Some(cyrus) = Cyrus::start(&CYRUS_MAILBOXES, "") else { return };
    let password = Password::new("wrong horse");
    for mechanism in ["scram-sha-256", "cram-md5", "plain", "login"] {
        let client = to(&cyrus.tcp()).args(["-t", "ann", "--user", POSTMAN.0, "--auth-insecure"]);
        let ran = client.args(["--auth", mechanism, "--password-file", &password.path()]).run().exits(75);
        assert!(ran.stderr.starts_with("4.7.0 "), "{mechanism}: {}", ran.stderr);
        ran.outcomes(&["deferred"]).stages(&["auth"]);
    }
    assert!(cyrus.mailbox("user/ann").is_empty());
}

#[test]
fn cyrus_takes_no_clear_password_without_leave() {
    let Some(cyrus) = Cyrus::start(&CYRUS_MAILBOXES, "sasl_mech_list: PLAIN LOGIN") else { return };
    let password = Password::new(POSTMAN.1);
    let client =
        to(&cyrus.tcp()).args(["-t", "ann", "--user", POSTMAN.0, "--password-file", &password.path()]);
    let ran = client.run().exits(75).says("4.7.0", "");
    ran.outcomes(&["deferred"]).stages(&["auth"]);
    assert!(cyrus.mailbox("user/ann").is_empty());
}

#[test]
fn cyrus_takes_a_clear_password_by_tls() {
    let made = Certificates::new();
    let tls =
        format!("tls_server_cert: {}\ntls_server_key: {}", made.certificate("server"), made.key("server"));
    let Some(cyrus) = Cyrus::start(&CYRUS_MAILBOXES, &tls) else { return };
    let password = Password::new(POSTMAN.1);
    for mechanism in ["plain", "login", "scram-sha-256"] {
        let client =
            to(&cyrus.tcp()).args(["-t", "ann", "--tls", "starttls", "--tls-ca", &made.certificate("ca")]);
        let client =
            client.args(["--user", POSTMAN.0, "--auth", mechanism, "--password-file", &password.path()]);
        client.run().exits(0);
    }
    assert_eq!(cyrus.mailbox("user/ann").len(), 3);
}

#[test]
fn cyrus_ignores_the_quota_when_asked_to() {
    let Some(cyrus) = Cyrus::start(&CYRUS_MAILBOXES, "") else { return };
    let message = message("x".repeat(1500));
    to(&cyrus.socket()).typed("-t full").input(message.as_slice()).run().exits(75);
    to(&cyrus.socket()).typed("-t full --rcpt-param IGNOREQUOTA").input(message.as_slice()).run().exits(0);
    holds(&cyrus.mailbox("user/full"), &message);
}

#[test]
fn dovecot_takes_chunks_and_lines() {
    let Some(dovecot) = Dovecot::start(&["ann", "bob"], "") else { return };
    let message = message(".\n..\n.leading\nGrüße\n.");
    for (user, options, command) in [("ann", "", "BDAT "), ("bob", "--no-chunking", "DATA")] {
        let client = to(&dovecot.tcp()).typed(options).args(["-t", user, "--debug"]);
        let ran = client.input(message.as_slice()).run();
        assert_eq!(ran.code(), 0, "{}", ran.stderr);
        assert!(ran.stderr.contains(command), "{command}: {}", ran.stderr);
        holds(&dovecot.mailbox(user), &message);
    }
}

/// Dovecot 2.3 never lets go of a session that ends in the middle of a chunk for nobody. With as many as it may
/// have, nothing would be delivered any more.
#[test]
fn dovecot_survives_large_messages_for_nobody() {
    let more = "service lmtp {\n  process_limit = 2\n}\n";
    let Some(dovecot) = Dovecot::start(&["ann"], more) else { return };
    for octets in [60_000, 300_000, 3_000_000, 6_000_000] {
        let large = message("0123456789\n".repeat(octets / 11));
        for place in [dovecot.socket(), dovecot.tcp()] {
            to(&place).typed("-t nobody").input(large.as_slice()).run().exits(67);
        }
    }
    to(&dovecot.tcp()).typed("-t ann --timeout 5").input(HELLO).run().exits(0);
}

/// More than a chunk of CRLF lines, which is sent from the file; what is left out is behind the first octets.
#[test]
fn dovecot_takes_chunks_from_a_file() {
    let Some(dovecot) = Dovecot::start(&["ann", "bob"], "") else { return };
    let text = message("0123456789\r\n".repeat(600_000));
    let lines = String::from_utf8(text).unwrap().replace("\r\n", "\n").replace('\n', "\r\n");
    let (header, body) = lines.split_once("\r\n\r\n").unwrap();
    let mut file = tempfile::NamedTempFile::new().unwrap();
    write!(file, "{header}\r\nBcc: bob\r\n\r\n{body}").unwrap();
    for place in [dovecot.tcp(), dovecot.socket()] {
        to(&place).args([file.path()]).run().exits(0);
    }
    for mailbox in ["ann", "bob"].map(|user| dovecot.mailbox(user)) {
        assert_eq!(mailbox.len(), 2);
        mailbox.iter().for_each(|received| same(&received.message, lines.as_bytes()));
    }
}

/// Behind a proxy Dovecot wants to know for whom a session is: `haproxy = yes`, in clear and with TLS.
#[test]
fn dovecot_is_told_of_the_client_by_the_proxy_protocol() {
    let made = Certificates::new();
    for (ssl, options) in [("no", &[][..]), ("yes", &["--tls", "implicit", "--tls-insecure"])] {
        let listener = format!(
            "
haproxy_trusted_networks = 127.0.0.0/8
ssl = yes
ssl_cert = <{}
ssl_key = <{}
service lmtp {{
  inet_listener behind_a_proxy {{
    address = 127.0.0.1
    port = @TLS_PORT@
    haproxy = yes
    ssl = {ssl}
  }}
}}
",
            made.certificate("server"),
            made.key("server")
        );
        let Some(dovecot) = Dovecot::start(&["ann"], &listener) else { return };
        for (proxy, client) in
            [("192.0.2.7:4711", "192.0.2.7"), ("2001:db8::7", "2001:db8::7"), ("local", "127.0.0.1")]
        {
            to(&dovecot.tls()).typed("-t ann --proxy").args([proxy]).args(options).run().exits(0);
            let log = dovecot.log();
            assert!(log.contains(&format!("Connect from {client}")), "{proxy}: {log}");
        }
        assert_eq!(dovecot.mailbox("ann").len(), 3);
        to(&dovecot.tls()).typed("-t ann --timeout 5").args(options).run().exits(75);
    }
}

#[test]
fn dovecot_believes_a_trusted_network() {
    let Some(dovecot) = Dovecot::start(&["ann"], "login_trusted_networks = 127.0.0.0/8") else { return };
    to(&dovecot.tcp()).typed("--xclient ADDR=192.0.2.7 -t ann").run().exits(0);
    let added = &dovecot.mailbox("ann")[0].added;
    assert!(added.contains("([192.0.2.7])"), "{added}");
}

/// Dovecot offers XCLIENT to those it trusts only: a wrong address is not let in without a word.
#[test]
fn dovecot_does_not_believe_others() {
    let Some(dovecot) = Dovecot::start(&["ann"], "") else { return };
    to(&dovecot.tcp()).typed("--xclient ADDR=192.0.2.7 -t ann").run().exits(75).says("4.7.0", "XCLIENT");
    assert!(dovecot.mailbox("ann").is_empty());
}

#[test]
fn dovecot_cannot_deliver_to_international_addresses() {
    let Some(dovecot) = Dovecot::start(&["ann"], "") else { return };
    let ran = to(&dovecot.tcp()).typed("-t jörg@example.net -t ann").run();
    assert_eq!(verdicts(&ran), ["failed mail 553 5.6.7", "delivered delivery 250 2.0.0"]);
    ran.exits(65).says("5.6.7", "jörg@example.net");
}

#[test]
fn smtp_server_delivers_to_international_addresses() {
    let Some(server) = SmtpServer::start(&json!({"authOptional": true})) else { return };
    let ran = to(&server.tcp()).typed("-t jörg@exämple.net").input(message("Grüße\n")).run().exits(0);
    assert!(ran.report()[0]["text"].as_str().unwrap().contains("jörg@exämple.net"), "{}", ran.stdout);
}

#[test]
fn smtp_sink_is_asked_for_notifications() {
    let Some(sink) = SmtpSink::start("") else { return };
    let client = to(&sink.tcp()).typed("-t ann@example.net --ret hdrs --envid QQ+1=2 --notify failure,delay");
    client.typed("--orcpt rfc822;first+last@example.net").run().exits(0);
    let kept = sink.kept().remove(0);
    assert!(kept.contains("X-Mail-Args: <sender@example.net>"), "{kept}");
    assert!(kept.contains(" RET=HDRS ENVID=QQ+2B1+3D2"), "{kept}");
    assert!(kept.contains(" NOTIFY=FAILURE,DELAY ORCPT=rfc822;first+2Blast@example.net"), "{kept}");
}

#[test]
fn smtp_server_authenticates_us() {
    let made = Certificates::new();
    let read = |path: String| fs::read_to_string(path).unwrap();
    let Some(server) = SmtpServer::start(&json!({
        "key": read(made.key("server")),
        "cert": read(made.certificate("server")),
        "authMethods": ["PLAIN", "LOGIN", "CRAM-MD5"],
        "maxVersion": "TLSv1.2",
    })) else {
        return;
    };
    let (authority, password) = (made.certificate("ca"), Password::new(POSTMAN.1));
    let client =
        || to(&server.tcp()).args(["-t", "ann@example.net", "--tls", "starttls", "--tls-ca", &authority]);
    for mechanism in ["plain", "login", "cram-md5"] {
        let client = client().args(["--user", POSTMAN.0, "--auth", mechanism]);
        client.args(["--password-file", &password.path()]).run().exits(0);
    }
    let ran = client().run();
    assert_eq!(verdicts(&ran), ["failed mail 530 null"], "without authentication");
    ran.exits(77);
    assert_eq!(server.kept().len(), 3);
    same(&server.kept()[0], &canonical(HELLO));
}

/// What the first probe of a new Dovecot meets: a certificate that signs itself.
#[test]
fn a_probe_shows_a_self_signed_certificate_and_why_it_is_not_accepted() {
    let made = Certificates::new();
    let Some(dovecot) = dovecot_showing(&made, "ca", "") else { return };
    for (place, mode) in [(dovecot.tcp(), "starttls"), (dovecot.tls(), "implicit")] {
        let probe = || Client::new().args(place.options()).args(["--probe", "--tls", mode]);
        let ran = probe().run().exits(75);
        assert!(ran.stderr.starts_with("4.7.0 "), "{}", ran.stderr);
        for line in ["certificate  CN=the test's authority", "  verified   no: ", "time         connect"] {
            assert!(ran.stdout.contains(line), "{line}: {}", ran.stdout);
        }
        let ran = probe().args(["--report", "json"]).run().exits(75);
        let found: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
        assert_eq!(
            (&found["tls"]["verified"], &found["tls"]["fingerprint"]),
            (&json!(false), &json!(made.fingerprint("ca").trim()))
        );
        assert_eq!(found["extensions"].is_object(), mode == "starttls", "{found}");
    }
}

#[test]
fn every_server_answers_a_probe() {
    if let Some(dovecot) = Dovecot::start(&["ann"], "") {
        let ran = Client::new().args(dovecot.tcp().options()).args(["--probe"]).run().exits(0);
        assert!(ran.stdout.contains("CHUNKING"), "{}", ran.stdout);
        let ran = Client::new().args(dovecot.tcp().options()).args(["--vrfy", "ann"]).run().exits(0);
        assert!(ran.stdout.contains("252"), "{}", ran.stdout);
    }
    if let Some(cyrus) = Cyrus::start(&CYRUS_MAILBOXES, "") {
        let ran = Client::new().args(cyrus.socket().options()).args(["--probe"]).run().exits(0);
        assert!(ran.stdout.contains("IGNOREQUOTA"), "{}", ran.stdout);
        Client::new().args(cyrus.socket().options()).args(["--noop"]).run().exits(0);
    }
}
