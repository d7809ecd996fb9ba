//! From a destination to a session that takes transactions: connection, TLS, greeting, LHLO, AUTH, XCLIENT.

use std::cell::RefCell;
use std::process::ExitStatus;
use std::rc::Rc;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use lmtp_send::lmtp::auth::{Mechanism, NoMechanism};
use lmtp_send::lmtp::{Cause, Event, Insecure, Session, SessionError, Stage, Transport};

pub use super::findings::Findings;
use super::findings::Watch;
use super::{Listener, Reporter};
use crate::exit::Kind;
use crate::job::{Credentials, Job, Start};
use crate::local_error::LocalError;
use crate::stop::Stop;
use crate::transport::{Destination, Handshake, Link, Note, TimeLimits, Tls, Unreachable, connect};

/// A session, and the server that it is with.
pub type OpenedSession = (Session<Link, Listener>, Arc<str>);

/// Why there is no session, and with which server.
pub type Unopened = (LocalError, Option<Arc<str>>);

/// Opens a session with the first destination that accepts one; each before it is a warning.
///
/// # Errors
///
/// The last [`LocalError`], with the server that it was with; its text names all of them.
pub fn first(
    job: &Job,
    deadline: Instant,
    stop: &Arc<Stop>,
    reporter: &mut dyn Reporter,
) -> Result<OpenedSession, Unopened> {
    first_found(job, deadline, stop, reporter, &mut Findings::default())
}

/// As [`first`]; `findings` has then what the last server that was tried has shown of itself.
///
/// # Errors
///
/// As [`first`].
pub fn first_found(
    job: &Job,
    deadline: Instant,
    stop: &Arc<Stop>,
    reporter: &mut dyn Reporter,
    findings: &mut Findings,
) -> Result<OpenedSession, Unopened> {
    let mut failed = (LocalError::new(Kind::Bug, Stage::Connect, "no destination"), None);
    let mut refused: Vec<String> = Vec::new();
    for destination in &job.session.destinations {
        let server: Arc<str> = destination.to_string().into();
        match open(job, destination, deadline, stop, reporter, findings) {
            Ok(session) => {
                refused.iter().for_each(|text| reporter.warning(text));
                return Ok((session, server));
            }
            Err(error) => {
                refused.push(error.text.clone());
                failed = (error, Some(server));
            }
        }
        if stop.is_requested() {
            break;
        }
    }
    if refused.len() > 1 {
        failed.0.text = refused.join("; ");
    }
    Err(failed)
}

/// Opens a session with `destination`.
///
/// # Errors
///
/// [`LocalError`] naming the server and what to look at.
fn open(
    job: &Job,
    destination: &Destination,
    deadline: Instant,
    stop: &Arc<Stop>,
    reporter: &mut dyn Reporter,
    findings: &mut Findings,
) -> Result<Session<Link, Listener>, LocalError> {
    let opening = Opening { job, destination, deadline, stop, server: destination.to_string() };
    match opening.run(reporter, true, findings) {
        // Opportunistic TLS is better than none and worse than mail that does not arrive.
        Err(error) if opening.starts() == Some(Start::IfOffered) && is_about_tls(&error) => {
            reporter.warning(&format!("{}; sent without TLS", error.text));
            opening.run(reporter, false, findings)
        }
        result => result,
    }
}

/// Whether a session in clear may go where this one did not. 421 says nothing of TLS: the server takes no mail now.
fn is_about_tls(error: &LocalError) -> bool {
    let is_closing = error.reply.as_ref().is_some_and(|reply| reply.code() == 421);
    error.stage == Stage::Tls && matches!(error.kind, Kind::Denied | Kind::Lost) && !is_closing
}

struct Opening<'a> {
    job: &'a Job,
    destination: &'a Destination,
    deadline: Instant,
    stop: &'a Arc<Stop>,
    server: String,
}

impl Opening<'_> {
    fn starts(&self) -> Option<Start> {
        self.job.session.tls.as_ref().map(|(start, _)| *start)
    }

    fn tls(&self) -> Option<&Tls> {
        self.job.session.tls.as_ref().map(|(_, tls)| tls)
    }

    /// Opens a session, encrypted if it is to be and, where that is left to the server, if `encrypt`.
    fn run(
        &self,
        reporter: &mut dyn Reporter,
        encrypt: bool,
        findings: &mut Findings,
    ) -> Result<Session<Link, Listener>, LocalError> {
        *findings = Findings::default();
        let mut watch = Watch::start();
        let listener = Rc::new(RefCell::new(reporter.listener(&self.server)));
        let done = self.open(&listener, findings, &mut watch).and_then(|mut session| {
            let done = self.prepare(&mut session, encrypt, (reporter, &listener), (findings, &mut watch));
            if self.job.questions.probe {
                findings.introduced(&mut session, self.tls());
            }
            done.map(|()| session)
        });
        if let Err(failed) = &done {
            watch.step(&mut findings.steps, failed.stage);
        }
        done
    }

    /// Connects, and says LHLO.
    fn open(
        &self,
        listener: &Rc<RefCell<Listener>>,
        findings: &mut Findings,
        watch: &mut Watch,
    ) -> Result<Session<Link, Listener>, LocalError> {
        let mut link = self.connect(&mut |text| self.note(listener, text))?;
        watch.step(&mut findings.steps, Stage::Connect);
        let probes = self.job.questions.probe;
        if probes {
            findings.connected(&link, &self.server);
        }
        if self.starts() == Some(Start::AtOnce) {
            link.enter(Stage::Tls);
            let secured = link.secure();
            if probes {
                findings.encrypted(&link, self.tls());
            }
            secured.map_err(|e| self.insecure(e))?;
            self.tell_tls(&link, listener);
            watch.step(&mut findings.steps, Stage::Tls);
        }
        let greeted = Rc::new(RefCell::new(None));
        let (first, heard) = (Rc::clone(&greeted), Rc::clone(listener));
        let observer: Listener = Box::new(move |event: Event<'_>| {
            if let Event::Received(reply) = event
                && let Ok(mut first) = first.try_borrow_mut()
                && first.is_none()
            {
                *first = Some((Instant::now(), probes.then(|| reply.clone())));
            }
            (heard.borrow_mut())(event);
        });
        let ended = link.ended();
        let session = Session::open_observed(link, &self.job.session.lhlo, observer);
        if let Some((at, reply)) = greeted.take() {
            watch.step_at(&mut findings.steps, Stage::Greeting, at);
            reply.iter().for_each(|reply| findings.greeted(reply));
        }
        let session =
            session.map_err(|failure| self.explained(&failure, ended.as_deref().and_then(OnceLock::get)))?;
        watch.step(&mut findings.steps, Stage::Lhlo);
        Ok(session)
    }

    /// What stands between LHLO and the first transaction: STARTTLS, AUTH, XCLIENT.
    fn prepare(
        &self,
        session: &mut Session<Link, Listener>,
        encrypt: bool,
        (reporter, listener): (&mut dyn Reporter, &RefCell<Listener>),
        (findings, watch): (&mut Findings, &mut Watch),
    ) -> Result<(), LocalError> {
        let failed = |failure: SessionError| self.failed(&failure);
        let offered = session.extensions().offers("STARTTLS");
        if self.starts() == Some(Start::Required)
            || (encrypt && offered && self.starts() == Some(Start::IfOffered))
        {
            session.starttls().map_err(failed)?;
            self.tell_tls(session.transport(), listener);
            watch.step(&mut findings.steps, Stage::Tls);
        }
        self.tell_unverified(session, reporter);
        if let Some(credentials) = &self.job.session.credentials {
            let done = authenticate(session, credentials);
            left(session, done).map_err(failed)?;
            watch.step(&mut findings.steps, Stage::Auth);
        }
        let done = self.introduce(session);
        left(session, done).map_err(failed)?;
        if !self.job.session.pipelining {
            session.forgo("PIPELINING");
        }
        Ok(())
    }

    /// Says something about the connection in the transcript, if anybody reads it.
    fn note(&self, listener: &RefCell<Listener>, text: &dyn Fn() -> String) {
        if self.job.output.verbosity >= 2 {
            (listener.borrow_mut())(Event::Note(&text()));
        }
    }

    /// Says so where the server may be anybody.
    fn tell_unverified(&self, session: &mut Session<Link, Listener>, reporter: &mut dyn Reporter) {
        let Some((start, tls)) = &self.job.session.tls else { return };
        if tls.verifies() || !session.transport().is_encrypted() {
            return;
        }
        let option = if *start == Start::IfOffered { "--tls opportunistic" } else { "--tls-insecure" };
        let server = &self.server;
        reporter.warning(&format!(
            "{server}: encrypted, but the server's certificate was not verified ({option})"
        ));
    }

    /// What TLS came to, for the transcript.
    fn tell_tls(&self, link: &Link, listener: &RefCell<Listener>) {
        if let Some(facts) = link.facts() {
            let verified = if self.tls().is_some_and(Tls::verifies) { "verified" } else { "not verified" };
            self.note(listener, &|| format!("{facts}, {verified}"));
        }
    }

    fn connect(&self, note: Note<'_>) -> Result<Link, LocalError> {
        let handshake = self.job.session.tls.as_ref().map(|(_, tls)| self.identity(tls)).transpose()?;
        let limits = TimeLimits::new(self.job.session.timeouts, self.deadline);
        let link = connect(self.destination, self.job.session.network, limits, self.stop, note);
        let mut link = link.map_err(|e| self.unreachable(&e))?;
        link.watch(self.stop, &self.server);
        log::debug!("connected to {}", self.server);
        if let Some(proxy) = self.job.session.proxy {
            let lost = |e| self.failed(&SessionError::from_io(Stage::Connect, &e));
            link.announce(proxy).map_err(lost)?;
        }
        if let Some(handshake) = handshake {
            link.set_tls(handshake);
        }
        Ok(link)
    }

    fn identity(&self, tls: &Tls) -> Result<Handshake, LocalError> {
        let wrong =
            |e| LocalError::new(Kind::Denied, Stage::Tls, format!("{}: {e}; give --tls-name", self.server));
        tls.for_host(self.destination.host()).map_err(wrong)
    }

    /// XCLIENT, to servers that offer it to us.
    fn introduce(&self, session: &mut Session<Link, Listener>) -> Result<(), SessionError> {
        if self.job.session.xclient.is_empty() {
            return Ok(());
        }
        let refused =
            |why: String| SessionError { stage: Stage::Lhlo, cause: Cause::NotSecure { why, reply: None } };
        let Some(known) = session.extensions().argument("XCLIENT") else {
            return Err(refused("--xclient: the server does not offer XCLIENT to this client".into()));
        };
        let name = |attribute: &str| attribute.split('=').next().unwrap_or_default().to_ascii_uppercase();
        let is_known = |attribute: &str| known.split(' ').any(|k| k.eq_ignore_ascii_case(&name(attribute)));
        if let Some(attribute) = self.job.session.xclient.iter().find(|attribute| !is_known(attribute)) {
            return Err(refused(format!("--xclient {attribute}: the server accepts only {known}")));
        }
        session.xclient(&self.job.session.xclient)
    }

    fn failed(&self, failure: &SessionError) -> LocalError {
        LocalError {
            kind: Kind::of(failure),
            stage: failure.stage,
            text: format!("{}: {failure}", self.server),
            reply: failure.reply().cloned(),
        }
    }

    /// What there is to look at where no session came about.
    fn explained(&self, failure: &SessionError, ended: Option<&ExitStatus>) -> LocalError {
        let mut error = self.failed(failure);
        let is_over = matches!(failure.cause, Cause::Closed | Cause::Lost(..));
        if let Some(status) = ended.filter(|_| is_over) {
            error.text =
                format!("{}: the program ended ({status}) while {}", self.server, failure.stage.phrase());
        } else if failure.stage == Stage::Greeting && matches!(failure.cause, Cause::TimedOut(_)) {
            error.text += self.silence();
        } else if self.job.session.proxy.is_some() && matches!(failure.cause, Cause::NotLmtp { .. }) {
            // It takes the header for commands.
            error.text += "; it may not expect the PROXY protocol (--proxy)";
        }
        error
    }

    /// What a server may be waiting for that does not greet.
    fn silence(&self) -> &'static str {
        match (self.destination, self.starts()) {
            (Destination::Exec(_) | Destination::Sink(_), _) => "",
            (_, Some(Start::AtOnce)) => "; it may expect the PROXY protocol (--proxy)",
            _ => "; it may expect TLS from the first octet (--tls implicit) or the PROXY protocol (--proxy)",
        }
    }

    fn insecure(&self, error: Insecure) -> LocalError {
        match error {
            Insecure::NotVerified(why) => {
                LocalError::new(Kind::Denied, Stage::Tls, format!("{}: {why}", self.server))
            }
            Insecure::Lost(error) => self.failed(&SessionError::from_io(Stage::Tls, &error)),
        }
    }

    fn unreachable(&self, error: &Unreachable) -> LocalError {
        let kind = match error {
            Unreachable::NoSuchHost(_) => Kind::NoSuchHost,
            Unreachable::LookUp(_) | Unreachable::Connect(_) => Kind::Unreachable,
            Unreachable::Denied(_) => Kind::Denied,
            Unreachable::NoProgram(_) => Kind::Config,
            Unreachable::Exhausted(_) => Kind::Exhausted,
            Unreachable::Stopped => Kind::Stopped,
        };
        LocalError::new(kind, Stage::Connect, format!("{}: cannot connect: {error}", self.server))
    }
}

/// A session that is of no use to us, though the server did nothing wrong, is left in good order.
fn left(session: &mut Session<Link, Listener>, result: Result<(), SessionError>) -> Result<(), SessionError> {
    if result.is_err() {
        session.close();
    }
    result
}

/// Authenticates by the mechanism asked for, else by the strongest that is offered and may be used here.
fn authenticate(
    session: &mut Session<Link, Listener>,
    credentials: &Credentials,
) -> Result<(), SessionError> {
    let impossible =
        |why: String| SessionError { stage: Stage::Auth, cause: Cause::NotSecure { why, reply: None } };
    let Some(offer) = session.extensions().argument("AUTH").map(str::to_owned) else {
        return Err(impossible("authentication was requested, but the server does not offer AUTH".into()));
    };
    let may_be_clear = credentials.insecure || !session.transport().is_clear();
    let none = |why| match why {
        NoMechanism::NotOffered(wanted) => {
            format!("the server does not offer AUTH {}: it offers {offer}", wanted.name())
        }
        NoMechanism::Clear => {
            "the password would be sent unencrypted: use --tls, or allow it with --auth-insecure".into()
        }
        NoMechanism::Unknown | _ => {
            let external = offer.split(' ').any(|name| name.eq_ignore_ascii_case("EXTERNAL"));
            let hint = if external { "; EXTERNAL needs --auth external" } else { "" };
            format!("the server offers no mechanism that lmtp-send supports by itself: {offer}{hint}")
        }
    };
    let chosen = Mechanism::choose(&offer, credentials.mechanism, may_be_clear);
    let mechanism = chosen.map_err(|why| impossible(none(why)))?;
    session.authenticate(mechanism, &credentials.user, &credentials.password)
}
