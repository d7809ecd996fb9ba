//! What is learnt of a server on the way to a session, whether one comes about or not: for a probe.

use std::time::{Duration, Instant};

use lmtp_send::lmtp::{Reply, Session, Stage};

use super::Listener;
use crate::transport::{Facts, Link, Tls};

/// What a server has shown of itself, as far as it came. All of it may be shown: secrets have been taken out.
#[derive(Debug, Default)]
pub struct Findings {
    /// The address behind the server's name, once there was a connection.
    pub address: Option<String>,
    /// The first reply.
    pub greeting: Option<String>,
    /// The server's own name, from the reply to LHLO.
    pub domain: Option<String>,
    /// What it offers, from the same reply: keywords with what stands behind them.
    pub extensions: Option<Vec<(String, String)>>,
    /// What TLS came to, and why the server is not verified, if it is not.
    pub tls: Option<(Facts, Result<(), String>)>,
    /// How long each step took, in their order; the last one may have failed.
    pub steps: Vec<(Stage, Duration)>,
}

impl Findings {
    /// There is a connection to `server`.
    pub(super) fn connected(&mut self, link: &Link, server: &str) {
        let address = link.peer().map_or_else(|| server.to_owned(), |address| address.to_string());
        self.address = Some(address);
    }

    /// TLS has been tried.
    pub(super) fn encrypted(&mut self, link: &Link, tls: Option<&Tls>) {
        self.tls = tls.and_then(|tls| link.verdict(tls));
    }

    /// The first reply came.
    pub(super) fn greeted(&mut self, reply: &Reply) {
        self.greeting = Some(reply.to_string());
    }

    /// LHLO was answered, perhaps more than once.
    pub(super) fn introduced(&mut self, session: &mut Session<Link, Listener>, tls: Option<&Tls>) {
        let shown = |text: &str| session.redact(text);
        self.greeting = Some(shown(&session.greeting().to_string()));
        self.domain = Some(shown(session.extensions().domain()));
        self.extensions = Some(session.extensions().iter().map(|(k, a)| (shown(k), shown(a))).collect());
        self.encrypted(session.transport(), tls);
    }
}

/// Takes the time of each step.
pub struct Watch {
    since: Instant,
}

impl Watch {
    pub fn start() -> Self {
        Self { since: Instant::now() }
    }

    /// The step `stage` has ended now.
    pub fn step(&mut self, steps: &mut Vec<(Stage, Duration)>, stage: Stage) {
        self.step_at(steps, stage, Instant::now());
    }

    /// The step `stage` has ended at `now`.
    pub fn step_at(&mut self, steps: &mut Vec<(Stage, Duration)>, stage: Stage, now: Instant) {
        steps.push((stage, now.saturating_duration_since(self.since)));
        self.since = now;
    }
}
