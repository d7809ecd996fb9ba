//! Against a server in memory, with certificates made for the occasion.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, CustomExtension, DnType, IsCa, KeyPair, SanType,
};
use rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{ProtocolVersion, ServerConfig, ServerConnection, SupportedProtocolVersion};

use crate::lmtp::{Moved, Stage, Transport};

use super::*;
use crate::client::Timeouts;
use crate::client::socket::Socket;

type Authority = CertifiedIssuer<'static, KeyPair>;

/// An authority that signs.
fn authority(name: &str) -> Authority {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// What a certificate for a host is made of.
fn leaf(host: &str) -> CertificateParams {
    CertificateParams::new(vec![host.to_owned()]).unwrap()
}

/// A certificate and its key, as a server or a client holds them.
struct Holder {
    certificate: CertificateDer<'static>,
    pem: String,
    key: KeyPair,
}

impl Holder {
    fn signed(params: CertificateParams, by: &Authority) -> Self {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, by).unwrap();
        Self { certificate: certificate.der().clone(), pem: certificate.pem(), key }
    }

    fn self_signed(params: CertificateParams) -> Self {
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        Self { certificate: certificate.der().clone(), pem: certificate.pem(), key }
    }

    fn key_der(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::try_from(self.key.serialize_der()).unwrap()
    }

    fn server(&self) -> ServerConnection {
        self.server_of(&[&rustls::version::TLS13, &rustls::version::TLS12])
    }

    fn server_of(&self, versions: &[&'static SupportedProtocolVersion]) -> ServerConnection {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(provider).with_protocol_versions(versions).unwrap();
        let builder = builder.with_no_client_auth();
        let config = builder.with_single_cert(vec![self.certificate.clone()], self.key_der()).unwrap();
        ServerConnection::new(Arc::new(config)).unwrap()
    }

    /// A server that wants to see a certificate that `by` has signed.
    fn server_with_clients(&self, by: &Authority) -> ServerConnection {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add(by.der().clone()).unwrap();
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
        let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let builder = builder.unwrap().with_client_cert_verifier(verifier.build().unwrap());
        let config = builder.with_single_cert(vec![self.certificate.clone()], self.key_der()).unwrap();
        ServerConnection::new(Arc::new(config)).unwrap()
    }
}

/// A server that shows a certificate of which it has not the key.
#[derive(Debug)]
struct Impostor(Arc<CertifiedKey>);

impl ResolvesServerCert for Impostor {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }
}

fn impostor(shows: &Holder, has: &Holder, version: &'static SupportedProtocolVersion) -> ServerConnection {
    let key = rustls::crypto::ring::sign::any_supported_type(&has.key_der()).unwrap();
    let certified = CertifiedKey::new(vec![shows.certificate.clone()], key);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider).with_protocol_versions(&[version]).unwrap();
    let config = builder.with_no_client_auth().with_cert_resolver(Arc::new(Impostor(Arc::new(certified))));
    ServerConnection::new(Arc::new(config)).unwrap()
}

/// Moves ciphertext in pieces of at most `piece` octets until neither side has any.
fn exchange(client: &mut TlsStream, server: &mut ServerConnection, piece: usize) -> Result<(), TlsError> {
    loop {
        let out = client.ciphertext();
        let out = out[..out.len().min(piece)].to_vec();
        let mut rest = &out[..];
        while !rest.is_empty() {
            server.read_tls(&mut rest).unwrap();
            // What the server thinks of it, it says in an alert.
            let _ = server.process_new_packets();
        }
        client.sent(out.len());
        let mut back = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut back).unwrap();
        }
        for piece in back.chunks(piece) {
            assert_eq!(client.feed(piece)?, piece.len());
        }
        if out.is_empty() && back.is_empty() {
            return Ok(());
        }
    }
}

/// The handshake with `server` at `host`.
fn handshake(options: &TlsOptions, host: &str, server: &mut ServerConnection) -> Result<TlsStream, TlsError> {
    let mut client = TlsStream::new(&options.configure()?, options.server_name(host)?)?;
    assert!(client.is_handshaking() && client.facts().is_none());
    assert_eq!(client.write(b"too early"), 0);
    exchange(&mut client, server, 1000)?;
    assert!(!client.is_handshaking() && !server.is_handshaking());
    Ok(client)
}

/// How the handshake goes, in words.
fn verdict(options: &TlsOptions, host: &str, mut server: ServerConnection) -> String {
    handshake(options, host, &mut server).map_or_else(|error| error.to_string(), |_| "verified".to_owned())
}

/// `text` in a file.
fn file(text: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

/// Verifies by the authorities in `file`.
fn trusting(file: &tempfile::NamedTempFile) -> TlsOptions {
    TlsOptions { verify: Verify::Chain { ca: Some(file.path().to_owned()) }, ..TlsOptions::default() }
}

fn verifying(verify: Verify) -> TlsOptions {
    TlsOptions { verify, ..TlsOptions::default() }
}

const UNKNOWN: &str = "the server's certificate is not verified: it is not signed by a trusted CA; --tls-ca FILE sets the CAs to trust";
const BAD_SIGNATURE: &str =
    "the server's certificate is not verified: a signature is wrong, of its CA or of the server";

#[test]
fn a_certificate_is_verified_by_authority_date_and_name() {
    let ours = authority("ours");
    let (ca, other_ca) = (file(&ours.pem()), file(&authority("other").pem()));
    let renewed_ca = file(&authority("ours").pem());
    let good = Holder::signed(leaf("mail.example.net"), &ours);
    assert_eq!(verdict(&trusting(&ca), "mail.example.net", good.server()), "verified");
    assert_eq!(verdict(&trusting(&ca), "MAIL.example.net.", good.server()), "verified");
    assert_eq!(verdict(&trusting(&other_ca), "mail.example.net", good.server()), UNKNOWN);
    assert_eq!(verdict(&trusting(&renewed_ca), "mail.example.net", good.server()), BAD_SIGNATURE);
    assert_eq!(
        verdict(&trusting(&ca), "mx.example.net", good.server()),
        "the server's certificate is not verified: it is not for mx.example.net but for mail.example.net; \
         --tls-name sets another name to expect"
    );
    let named = TlsOptions { name: Some("mail.example.net".into()), ..trusting(&ca) };
    assert_eq!(verdict(&named, "10.0.0.1", good.server()), "verified");

    let mut old = leaf("mail.example.net");
    old.not_after = rcgen::date_time_ymd(2020, 1, 1);
    let said = verdict(&trusting(&ca), "mail.example.net", Holder::signed(old, &ours).server());
    assert!(said.starts_with("the server's certificate is not verified: it expired "), "{said}");
    assert!(said.ends_with(" days ago"), "{said}");
    let mut new = leaf("mail.example.net");
    new.not_before = rcgen::date_time_ymd(3020, 1, 1);
    let said = verdict(&trusting(&ca), "mail.example.net", Holder::signed(new, &ours).server());
    assert!(said.contains("it will not be valid for another "), "{said}");
}

#[test]
fn a_certificate_without_alternative_names_is_told_apart() {
    let ours = authority("ours");
    let mut bare = CertificateParams::new(Vec::new()).unwrap();
    bare.distinguished_name.push(DnType::CommonName, "mail.example.net");
    let mut of_a_person = bare.clone();
    of_a_person.subject_alt_names.push(SanType::Rfc822Name("joe@example.net".try_into().unwrap()));
    for params in [bare, of_a_person] {
        let server = Holder::signed(params, &ours).server();
        let said = verdict(&trusting(&file(&ours.pem())), "mail.example.net", server);
        assert!(
            said.ends_with("it is not for mail.example.net: it has no host names (subjectAltName)"),
            "{said}"
        );
    }
}

#[test]
fn addresses_are_names_too() {
    let ours = authority("ours");
    let mut params = leaf("mail.example.net");
    params.subject_alt_names =
        ["127.0.0.1", "::1", "fe80::1"].map(|ip| SanType::IpAddress(ip.parse().unwrap())).to_vec();
    let server = Holder::signed(params, &ours);
    let ca = file(&ours.pem());
    for host in ["127.0.0.1", "::1", "[::1]", "[fe80::1%eth0]", "fe80::1%2"] {
        assert_eq!(verdict(&trusting(&ca), host, server.server()), "verified", "{host}");
    }
    let said = verdict(&trusting(&ca), "127.0.0.2", server.server());
    assert!(said.contains("it is not for 127.0.0.2 but for 127.0.0.1, ::1, fe80::1;"), "{said}");
}

#[test]
fn a_self_signed_certificate_is_trusted_where_it_is_given() {
    let own = "the server's certificate is not verified: it is self-signed, or a CA's own, and not trusted: trust it with --tls-ca, or pin it with --tls-fingerprint";
    for (is_ca, of_twin) in [
        (IsCa::NoCa, BAD_SIGNATURE),
        (IsCa::ExplicitNoCa, BAD_SIGNATURE),
        (IsCa::Ca(BasicConstraints::Unconstrained), own),
    ] {
        let mut params = leaf("mail.example.net");
        params.is_ca = is_ca;
        let server = Holder::self_signed(params.clone());
        let ca = file(&server.pem);
        assert_eq!(verdict(&trusting(&ca), "mail.example.net", server.server()), "verified");
        let said = verdict(&trusting(&ca), "mx.example.net", server.server());
        assert!(said.contains("it is not for mx.example.net but for mail.example.net"), "{said}");

        let twin = Holder::self_signed(params.clone());
        assert_eq!(verdict(&trusting(&ca), "mail.example.net", twin.server()), of_twin);

        params.not_after = rcgen::date_time_ymd(2020, 1, 1);
        let old = Holder::self_signed(params);
        let said = verdict(&trusting(&file(&old.pem)), "mail.example.net", old.server());
        assert!(said.contains("it expired "), "{said}");
    }
}

#[test]
fn a_pin_is_for_one_certificate_and_no_other() {
    let mut params = leaf("elsewhere.example.org");
    params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    let server = Holder::self_signed(params);
    let other = Holder::self_signed(leaf("mail.example.net"));
    let (right, wrong) = (Fingerprint::of(&server.certificate), Fingerprint::of(&other.certificate));
    assert_eq!(verdict(&verifying(Verify::Pin(right)), "mail.example.net", server.server()), "verified");
    assert_eq!(
        verdict(&verifying(Verify::Pin(wrong)), "mail.example.net", server.server()),
        format!("the server's certificate is not verified: its fingerprint is {right}, not {wrong}")
    );
}

#[test]
fn nothing_verified_still_encrypts_whatever_the_server_is_called() {
    let server = Holder::self_signed(leaf("elsewhere.example.org"));
    for host in ["mail.example.net", "dovecot_1", "/run/dovecot/lmtp", "", "b\u{fc}cher.example", "-x-"] {
        assert_eq!(verdict(&verifying(Verify::Nothing), host, server.server()), "verified", "{host}");
    }
    let ca = file(&server.pem);
    let said = verdict(&trusting(&ca), "/run/dovecot/lmtp", server.server());
    assert_eq!(said, "'/run/dovecot/lmtp' cannot be a name in a certificate");
}

#[test]
fn a_certificate_without_its_key_is_never_accepted() {
    let ours = authority("ours");
    let real = Holder::signed(leaf("mail.example.net"), &ours);
    let thief = Holder::self_signed(leaf("mail.example.net"));
    let pin = Verify::Pin(Fingerprint::of(&real.certificate));
    let ca = file(&ours.pem());
    for options in [trusting(&ca), verifying(pin), verifying(Verify::Nothing)] {
        for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
            let said = verdict(&options, "mail.example.net", impostor(&real, &thief, version));
            assert_eq!(said, BAD_SIGNATURE, "{options:?}");
        }
    }
}

/// Of version 1, as `openssl x509 -req -signkey` makes them; and its key.
const VERSION_1: [&str; 2] = [
    "-----BEGIN CERTIFICATE-----
MIIBMDCB1wIULaAhlQlijyOeP6vkUN8vEk9gSUswCgYIKoZIzj0EAwIwGzEZMBcG
A1UEAwwQbWFpbC5leGFtcGxlLm5ldDAeFw0yNjExMjUxNzE2MDBaFw0yNjExMjgx
NzE2MDBaMBsxGTAXBgNVBAMMEG1haWwuZXhhbXBsZS5uZXQwWTATBgcqhkjOPQIB
BggqhkjOPQMBBwNCAAR2tFw7h/wEwalNRHcec0YyNo0k6qnDz3kTi8tivf7d20tD
QUlZ+tkPRR6/NEQPgD5snd7y0lurpqaVpeWpiGebMAoGCCqGSM49BAMCA0gAMEUC
IQDz8xuymgfPy2K3eR1v73HRmeyephHNASvmdJcB/5BfwQIgY9iqH/eYEHzfskod
OWP4UKwLWQH0F1gALgGjYfvHSwo=
-----END CERTIFICATE-----
",
    "-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgzPPrt5C72sW7XLrk
IW3zdqFB5POkP3CoBxqOlcZuvEmhRANCAAR2tFw7h/wEwalNRHcec0YyNo0k6qnD
z3kTi8tivf7d20tDQUlZ+tkPRR6/NEQPgD5snd7y0lurpqaVpeWpiGeb
-----END PRIVATE KEY-----
",
];

/// Mail must not go in clear, or nowhere, because of a certificate that nobody asked to verify.
#[test]
fn a_certificate_that_no_chain_could_hold_serves_where_none_is_asked_for() {
    let mut odd = leaf("mail.example.net");
    let mut extension = CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 55555, 1], vec![5, 0]);
    extension.set_criticality(true);
    odd.custom_extensions.push(extension);
    let old = Holder {
        certificate: CertificateDer::from_pem_slice(VERSION_1[0].as_bytes()).unwrap(),
        pem: VERSION_1[0].to_owned(),
        key: KeyPair::from_pem(VERSION_1[1]).unwrap(),
    };
    let thief = Holder::self_signed(leaf("mail.example.net"));
    for (server, why) in [
        (Holder::self_signed(odd), "it has a critical extension that is not supported"),
        (old, "it is an X.509 version 1 certificate, which has no host names; --tls-fingerprint can pin it"),
    ] {
        let pin = Verify::Pin(Fingerprint::of(&server.certificate));
        for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
            for verify in [pin.clone(), Verify::Nothing] {
                let genuine = impostor(&server, &server, version);
                let said = verdict(&verifying(verify.clone()), "mail.example.net", genuine);
                assert_eq!(said, "verified", "{verify:?} {version:?}");
                let stolen = impostor(&server, &thief, version);
                let said = verdict(&verifying(verify.clone()), "mail.example.net", stolen);
                assert_eq!(said, BAD_SIGNATURE, "{verify:?} {version:?}");
            }
            let ca = file(&thief.pem);
            let said = verdict(&trusting(&ca), "mail.example.net", impostor(&server, &server, version));
            assert_eq!(said, format!("the server's certificate is not verified: {why}"));
        }
    }
}

#[test]
fn the_facts_are_what_was_agreed_on() {
    let server = Holder::self_signed(leaf("mail.example.net"));
    for (version, name, cipher) in [
        (&rustls::version::TLS13, "TLSv1.3", "TLS_AES_256_GCM_SHA384"),
        (&rustls::version::TLS12, "TLSv1.2", "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"),
    ] {
        let mut peer = server.server_of(&[version]);
        let client = handshake(&verifying(Verify::Nothing), "mail.example.net", &mut peer).unwrap();
        let fingerprint = Fingerprint::of(&server.certificate);
        let facts = client.facts().unwrap();
        let line = facts.to_string();
        assert!(line.starts_with(&format!("{name}, {cipher}, CN=")), "{line}");
        assert!(
            line.contains("(mail.example.net), signed by CN=") && line.contains(", valid to 4096-"),
            "{line}"
        );
        assert_eq!((facts.version, facts.cipher.as_str(), facts.fingerprint), (name, cipher, fingerprint));
        assert_eq!(facts.certificate.unwrap().names, ["mail.example.net"]);
        assert_ne!(peer.protocol_version(), Some(ProtocolVersion::TLSv1_0));
        assert_eq!(peer.server_name(), Some("mail.example.net"));
    }
}

#[test]
fn a_client_certificate_is_shown_when_asked_for() {
    let ours = authority("ours");
    let server = Holder::signed(leaf("mail.example.net"), &ours);
    let client = Holder::signed(leaf("client.example.net"), &ours);
    let (certificate, key) = (file(&client.pem), file(&client.key.serialize_pem()));
    let identity = Identity { certificate: certificate.path().into(), key: key.path().into() };
    let with = TlsOptions { identity: Some(identity), ..verifying(Verify::Nothing) };
    let mut peer = server.server_with_clients(&ours);
    handshake(&with, "mail.example.net", &mut peer).unwrap();
    assert_eq!(peer.peer_certificates(), Some(&[client.certificate][..]));

    let said = verdict(&verifying(Verify::Nothing), "mail.example.net", server.server_with_clients(&ours));
    assert_eq!(said, "the server refused TLS: it requires a client certificate (--tls-cert, --tls-key)");
}

#[test]
fn files_that_are_wrong_are_named_before_anything_is_connected() {
    let holder = Holder::self_signed(leaf("mail.example.net"));
    let other = Holder::self_signed(leaf("mail.example.net"));
    let (pem, key, other_key) =
        (file(&holder.pem), file(&holder.key.serialize_pem()), file(&other.key.serialize_pem()));
    let (empty, cut) = (file(""), file(&holder.pem[..holder.pem.len() / 2]));
    let no_der = file("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    let torn = file("-----BEGIN CERTIFICATE\nAAAA\n");
    let scrambled = file(&holder.pem.replacen("MII", "M!I", 1));
    let mut der = tempfile::NamedTempFile::new().unwrap();
    der.write_all(&holder.certificate).unwrap();
    let missing = Path::new("/nonexistent/file.pem");
    let problem = |options: TlsOptions| options.configure().map(|_| ()).unwrap_err().to_string();

    for (ca, why) in [
        (empty.path(), "it contains no certificate in PEM format"),
        (key.path(), "it contains no certificate in PEM format"),
        (no_der.path(), "it contains no usable certificate"),
        (cut.path(), "its line '-----END CERTIFICATE-----' is missing"),
        (torn.path(), "the line '-----BEGIN CERTIFICATE' is not PEM"),
        (scrambled.path(), "the data between BEGIN and END is not base64"),
        (der.path(), "it is in DER format: convert it with openssl x509 -inform der"),
        (missing, "No such file or directory"),
        (Path::new("/"), "Is a directory"),
    ] {
        let said = problem(verifying(Verify::Chain { ca: Some(ca.into()) }));
        assert!(said.contains(&ca.display().to_string()) && said.contains(why), "{said}");
        assert!(!said.contains("os error"), "{said}");
    }
    for (certificate, key, named, why) in [
        (missing, key.path(), missing, "No such file"),
        (pem.path(), missing, missing, "No such file"),
        (empty.path(), key.path(), empty.path(), "no certificate"),
        (pem.path(), pem.path(), pem.path(), "no unencrypted private key in PEM format"),
        (pem.path(), other_key.path(), other_key.path(), "it is not the key for /"),
    ] {
        let identity = Identity { certificate: certificate.into(), key: key.into() };
        let said = problem(TlsOptions { identity: Some(identity), ..verifying(Verify::Nothing) });
        assert!(said.contains(&named.display().to_string()) && said.contains(why), "{said}");
    }
}

#[test]
fn the_systems_authorities_are_in_the_file_that_the_environment_names() {
    assert_eq!(system_roots(Some("/some/file".into())).unwrap(), Path::new("/some/file"));
    if let Ok(file) = system_roots(None) {
        assert!(roots(&file, &certificates(&file).unwrap()).unwrap().len() > 10);
    }
}

/// A connection whose handshake is done.
fn connection() -> (TlsStream, ServerConnection) {
    let mut server = Holder::self_signed(leaf("mail.example.net")).server();
    let client = handshake(&verifying(Verify::Nothing), "mail.example.net", &mut server).unwrap();
    (client, server)
}

#[test]
fn plaintext_goes_both_ways_in_pieces_of_any_size() {
    for piece in [1, 2, 3, 7, 100, 100_000] {
        let (mut client, mut server) = connection();
        assert_eq!(client.write(b"LHLO client\r\n"), 13);
        exchange(&mut client, &mut server, piece).unwrap();
        let mut got = [0; 100];
        let read = server.reader().read(&mut got).unwrap();
        assert_eq!(&got[..read], b"LHLO client\r\n");

        server.writer().write_all(b"250 server\r\n").unwrap();
        exchange(&mut client, &mut server, piece).unwrap();
        let mut got = [0; 5];
        let mut all = Vec::new();
        loop {
            let moved = client.read(&mut got).unwrap();
            assert!(!moved.closed);
            if moved.read == 0 {
                break;
            }
            all.extend_from_slice(&got[..moved.read]);
        }
        assert_eq!(all, b"250 server\r\n");
    }
}

#[test]
fn a_megabyte_passes_and_little_of_it_is_held_back() {
    let (mut client, mut server) = connection();
    let message: Vec<u8> = (0..1_000_000_u32).map(|n| n.to_le_bytes()[1]).collect();
    let (mut given, mut arrived) = (0, Vec::new());
    while arrived.len() < message.len() {
        given += client.write(&message[given..]);
        assert!(given - arrived.len() <= 256 * 1024, "held back: {}", given - arrived.len());
        let out = client.ciphertext().to_vec();
        let out = &out[..out.len().min(4096)];
        let mut rest = out;
        while !rest.is_empty() {
            server.read_tls(&mut rest).unwrap();
            server.process_new_packets().unwrap();
        }
        client.sent(out.len());
        let mut got = vec![0; 65_536];
        let read = server.reader().read(&mut got).unwrap_or(0);
        arrived.extend_from_slice(&got[..read]);
    }
    assert_eq!(arrived, message);
}

#[test]
fn a_flood_from_the_server_waits_until_it_is_read() {
    let (mut client, mut server) = connection();
    let mut flood = Vec::new();
    for _ in 0..20 {
        server.writer().write_all(&[b'x'; 10_000]).unwrap();
        server.write_tls(&mut flood).unwrap();
    }
    let (mut fed, mut all, mut got) = (0, 0, [0; 4096]);
    let mut largest = 0;
    while fed < flood.len() {
        let taken = client.feed(&flood[fed..]).unwrap();
        largest = largest.max(taken);
        fed += taken;
        while let read @ 1.. = client.read(&mut got).unwrap().read {
            all += read;
        }
    }
    client.end().unwrap();
    assert!(matches!(client.read(&mut got), Err(TlsError::Truncated)));
    assert_eq!(all, 200_000);
    assert!(largest < 64 * 1024, "{largest} octets were taken at once");
}

#[test]
fn an_end_is_believed_only_with_the_closure_alert() {
    let (_, mut spare) = connection();
    spare.writer().write_all(b"250 2.0.0 kept\r\n").unwrap();
    let mut whole = Vec::new();
    spare.write_tls(&mut whole).unwrap();
    for cut in [0, 1, whole.len() - 1, whole.len()] {
        let (mut client, mut server) = connection();
        server.writer().write_all(b"250 2.0.0 kept\r\n").unwrap();
        let mut octets = Vec::new();
        server.write_tls(&mut octets).unwrap();
        assert_eq!(client.feed(&octets[..cut]).unwrap(), cut);
        client.end().unwrap();
        let mut got = [0; 100];
        if cut == whole.len() {
            assert_eq!(client.read(&mut got).unwrap(), Moved { written: 0, read: 16, closed: false });
        }
        let error = client.read(&mut got).unwrap_err();
        assert_eq!(error.to_string(), "the TLS connection was cut without being closed", "cut at {cut}");
    }
    let (mut client, mut server) = connection();
    server.writer().write_all(b"221 bye\r\n").unwrap();
    server.send_close_notify();
    exchange(&mut client, &mut server, 10).unwrap();
    let mut got = [0; 100];
    assert_eq!(client.read(&mut got).unwrap().read, 9);
    assert!(client.read(&mut got).unwrap().closed);
    assert_eq!(client.feed(b"250 injected behind the end\r\n").unwrap(), 29);
    client.end().unwrap();
    assert!(client.read(&mut got).unwrap().closed);
}

/// Reads the ciphertext that is there, to the end of the connection or until there is no more; the plaintext.
fn drain(server: &mut ServerConnection, socket: &mut UnixStream) -> Vec<u8> {
    let mut text = Vec::new();
    while server.read_tls(socket).is_ok_and(|read| read > 0) {
        server.process_new_packets().unwrap();
        // It ends as one does of which more may come.
        let _ = server.reader().read_to_end(&mut text);
    }
    text
}

/// What was given up, because the server took no more in time, must not reach it after all: our outcomes say that
/// it did not.
#[test]
fn what_was_given_up_is_not_completed_when_the_connection_is_dropped() {
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let timeouts = Timeouts { reply: Duration::from_secs(60), delivery: Duration::from_millis(200) };
    let stream = Socket::connected(ours, timeouts).unwrap();
    let mut server = Holder::self_signed(leaf("mail.example.net")).server();
    let mut client = thread::scope(|scope| {
        // The client has done with the handshake before the server has heard its last word.
        scope.spawn(|| {
            server.read_tls(&mut theirs).unwrap();
            server.process_new_packets().unwrap();
            while server.wants_write() {
                server.write_tls(&mut theirs).unwrap();
            }
        });
        let options = verifying(Verify::Nothing);
        let name = options.server_name("mail.example.net").unwrap();
        let client = Secured::handshake(stream, &options.configure().unwrap(), name);
        client.unwrap_or_else(|error| panic!("{error}"))
    });
    // The stage with the short limit.
    client.enter(Stage::Delivery);
    let message = vec![b'x'; 4_000_000];
    let mut given = 0;
    let failed = loop {
        match client.exchange(&message[given..], &mut [0; 100]) {
            Ok(moved) => given += moved.written,
            Err(error) => break error,
        }
    };
    assert_eq!(failed.kind(), io::ErrorKind::TimedOut);
    theirs.set_nonblocking(true).unwrap();
    let taken = drain(&mut server, &mut theirs).len();
    drop(client);
    let late = drain(&mut server, &mut theirs).len();
    assert!(0 < taken && taken < given, "{taken} of {given}");
    assert_eq!(late, 0, "it was completed when nobody waited any more");
}

#[test]
fn we_close_with_the_closure_alert() {
    let (mut client, mut server) = connection();
    client.close();
    exchange(&mut client, &mut server, 100).unwrap();
    assert_eq!(server.reader().read(&mut [0; 10]).unwrap(), 0);
}

#[test]
fn a_peer_that_does_not_speak_tls_is_told_apart() {
    for (octets, words) in [
        (
            &b"220 mail.example.net LMTP ready\r\n"[..],
            "the TLS handshake failed: the server's reply is not TLS",
        ),
        (b"HTTP/1.1 400 Bad Request\r\n", "the TLS handshake failed: the server's reply is not TLS"),
        (b"\x15\x03\x01\x00\x02\x02\x28", "the server refused TLS: handshake failure"),
        (b"", "the server closed the connection during the TLS handshake"),
        (b"\x16\x03", "the server closed the connection during the TLS handshake"),
    ] {
        let options = verifying(Verify::Nothing);
        let name = options.server_name("mail.example.net").unwrap();
        let mut client = TlsStream::new(&options.configure().unwrap(), name).unwrap();
        assert!(!client.ciphertext().is_empty());
        let error = client.feed(octets).map(|_| ()).and_then(|()| client.end()).unwrap_err();
        assert_eq!(error.to_string(), words);
    }
}

#[test]
fn what_was_tampered_with_is_never_read() {
    let (mut client, mut server) = connection();
    let mut octets = Vec::new();
    for reply in ["250 2.0.0 first\r\n", "250 2.0.0 second\r\n"] {
        server.writer().write_all(reply.as_bytes()).unwrap();
        server.write_tls(&mut octets).unwrap();
    }
    *octets.last_mut().unwrap() ^= 1;
    let error = client.feed(&octets).unwrap_err();
    assert_eq!(error.to_string(), "the TLS connection is broken: data from the server cannot be decrypted");
    assert!(!client.ciphertext().is_empty(), "the server is told");
    let mut got = [0; 100];
    let read = client.read(&mut got).unwrap().read;
    assert_eq!(&got[..read], b"250 2.0.0 first\r\n");
    assert_eq!(client.read(&mut got).unwrap().read, 0);
}
