//! A certificate authority of the test's own, with a certificate for the server and one for the client.

use std::path::PathBuf;

use super::{Account, Home, said};

/// Certificates, keys and the authority's certificate, as PEM files that every account can read.
pub struct Certificates {
    home: Home,
}

impl Certificates {
    /// Makes the authority, `server` for `localhost` and 127.0.0.1, and `client`.
    pub fn new() -> Self {
        let home = Home::new(Account::plain());
        let made = Self { home };
        made.issue(
            "ca",
            &["-subj", "/CN=the test's authority", "-addext", "keyUsage=critical,keyCertSign,cRLSign"],
        );
        let names = "subjectAltName=DNS:localhost,DNS:mx.example.net,IP:127.0.0.1";
        made.issue_signed("server", &["-subj", "/CN=localhost", "-addext", names]);
        made.issue_signed("client", &["-subj", "/CN=postman", "-addext", "extendedKeyUsage=clientAuth"]);
        made
    }

    /// Makes `name` with a certificate that verifies itself only: of version 1, as `openssl x509 -req -signkey`
    /// makes them without more options.
    pub fn issue_version_1(&self, name: &str) {
        let request = self.file(name, "csr");
        let (certificate, key) = (self.certificate(name), self.key(name));
        let new = ["req", "-new", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost"];
        self.home.run("openssl", &[&new[..], &["-out", &request, "-keyout", &key]].concat(), "");
        let sign = ["x509", "-req", "-signkey", &key, "-in", &request, "-out", &certificate];
        self.home.run("openssl", &sign, "");
    }

    /// Makes `name` with a certificate that has a critical extension of nobody's.
    pub fn issue_with_unknown_extension(&self, name: &str) {
        self.issue(name, &["-subj", "/CN=localhost", "-addext", "1.3.6.1.4.1.55555.1=critical,DER:0500"]);
    }

    /// Makes `name` with a key whose signatures are unknown to the program.
    pub fn issue_with_unknown_key(&self, name: &str) {
        self.issue(name, &["-subj", "/CN=localhost", "-pkeyopt", "ec_paramgen_curve:P-521"]);
    }

    /// The certificate `ca`, `server` or `client`.
    pub fn certificate(&self, name: &str) -> String {
        self.file(name, "pem")
    }

    /// The key of `server` or `client`.
    pub fn key(&self, name: &str) -> String {
        self.file(name, "key")
    }

    /// The certificate's SHA-256 fingerprint, in hexadecimal with colons.
    pub fn fingerprint(&self, name: &str) -> String {
        let certificate = self.certificate(name);
        let line = said("openssl", ["x509", "-noout", "-fingerprint", "-sha256", "-in", &certificate]);
        line.split_once('=').unwrap().1.to_owned()
    }

    fn issue_signed(&self, name: &str, more: &[&str]) {
        let (authority, key) = (self.certificate("ca"), self.key("ca"));
        let signed = ["-CA", &authority, "-CAkey", &key, "-addext", "basicConstraints=critical,CA:FALSE"];
        self.issue(name, &[&signed, more].concat());
    }

    fn issue(&self, name: &str, more: &[&str]) {
        let (certificate, key) = (self.certificate(name), self.key(name));
        let new =
            ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30"];
        let files = ["-out", &certificate, "-keyout", &key];
        self.home.run("openssl", &[&new, files.as_slice(), more].concat(), "");
    }

    fn file(&self, name: &str, kind: &str) -> String {
        let path: PathBuf = self.home.path(&format!("{name}.{kind}"));
        path.to_str().unwrap().to_owned()
    }
}
