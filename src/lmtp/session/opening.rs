//! From the greeting to the first transaction.

use super::super::auth::{self, AuthError, Exchange, Mechanism};
use super::super::{Cause, Extensions, Insecure, Reply, Secret, SessionError, Stage, Transport};
use super::{Event, Observer, Session};

impl<T: Transport, O: Observer> Session<T, O> {
    pub(super) fn greet(&mut self) -> Result<Reply, SessionError> {
        let reply = self.reply(Stage::Greeting)?;
        if reply.code() == 220 {
            return Ok(reply);
        }
        Err(self.leave(SessionError { stage: Stage::Greeting, cause: Cause::NotWelcome(reply) }))
    }

    pub(super) fn lhlo(&mut self) -> Result<(), SessionError> {
        let name = &self.name;
        self.say(&format!("LHLO {name}"));
        let reply = self.reply(Stage::Lhlo)?;
        if reply.is_positive() {
            self.server.extensions = Extensions::parse(&reply);
            return Ok(());
        }
        let cause = if reply.code() == 421 {
            Cause::Closing(reply)
        } else {
            let smtp = self.server.greeting.text().to_ascii_uppercase().contains("SMTP");
            Cause::NotLmtp { reply, smtp }
        };
        Err(self.leave(SessionError { stage: Stage::Lhlo, cause }))
    }

    /// A server that refuses us, or is of no use to us, waits for QUIT before it closes (RFC 5321 §3.1), unless
    /// it closes by itself.
    fn leave(&mut self, failure: SessionError) -> SessionError {
        if failure.reply().is_none_or(|refusal| refusal.code() != 421) {
            self.say("QUIT");
            let _ = self.reply(Stage::Quit);
        }
        failure
    }

    pub(super) fn try_starttls(&mut self) -> Result<(), SessionError> {
        if !self.extensions().offers("STARTTLS") {
            let why = "the server does not offer STARTTLS";
            return Err(self.leave(not_secure(Stage::Tls, why, None)));
        }
        // A reply that is there before the command was not made for it.
        if self.link.reader.has_input() {
            return Err(SessionError { stage: Stage::Tls, cause: Cause::Injected });
        }
        self.say("STARTTLS");
        let reply = self.reply(Stage::Tls)?;
        if reply.code() != 220 {
            return Err(self.leave(refused(Stage::Tls, "the server refused STARTTLS", reply)));
        }
        // The server speaks next only within TLS: whatever is there already was put there by somebody else.
        let connected = self.link.take_pending(Stage::Tls);
        if self.link.reader.has_input() {
            return Err(SessionError { stage: Stage::Tls, cause: Cause::Injected });
        }
        connected?;
        self.link.transport.secure().map_err(insecure)?;
        self.lhlo()
    }

    pub(super) fn try_authenticate(
        &mut self,
        mechanism: Mechanism,
        user: &str,
        password: &Secret,
    ) -> Result<(), SessionError> {
        let failed = |e: AuthError| not_secure(Stage::Auth, &format!("AUTH {}: {e}", mechanism.name()), None);
        let (mut exchange, initial) = match Exchange::start(mechanism, user, password, auth::random_nonce) {
            Ok(started) => started,
            Err(e) => return Err(self.leave(failed(e))),
        };
        self.redactor.hide(password.expose().to_vec().into());
        auth::stems(password).for_each(|stem| self.redactor.hide(stem));
        let verb = format!("AUTH {}", mechanism.name());
        let mut initial = initial.map(|i| auth::encode_initial(&i)).transpose().map_err(failed)?;
        // A command line has 512 octets (RFC 5321 §4.5.3.1.4); a longer response answers an empty challenge.
        match initial.take_if(|i| verb.len() + i.expose().len() < 509) {
            Some(response) => self.say_secret(&format!("{verb} "), &response),
            None => self.say(&verb),
        }
        loop {
            let reply = self.reply(Stage::Auth)?;
            let unsaid = self.link.queued() > 0;
            // It has been handed over, and is not to be found in memory.
            self.link.wipe();
            match reply.code() {
                _ if unsaid => {
                    return Err(SessionError { stage: Stage::Auth, cause: Cause::OutOfPlace(reply) });
                }
                235 => return exchange.finish().map_err(failed),
                334 => {}
                421 => return Err(SessionError { stage: Stage::Auth, cause: Cause::Closing(reply) }),
                _ => {
                    let why = if reply.is_negative() { "is refused" } else { "expected reply 235" };
                    let refused = not_secure(Stage::Auth, &format!("{verb} {why}"), Some(reply));
                    return Err(self.leave(refused));
                }
            }
            let response = match initial.take() {
                Some(response) => Ok(response),
                None => self
                    .challenge(mechanism, &reply)
                    .and_then(|c| exchange.step(&c))
                    .and_then(|r| auth::encode(&r)),
            };
            match response {
                Ok(response) => self.say_secret("", &response),
                Err(e) => {
                    self.say("*");
                    let _ = self.reply(Stage::Auth);
                    return Err(self.leave(failed(e)));
                }
            }
        }
    }

    /// What a 334 asks. LOGIN's prompts are words for people, in base64 or not, and nobody looks at them.
    fn challenge(&mut self, mechanism: Mechanism, reply: &Reply) -> Result<Vec<u8>, AuthError> {
        if mechanism == Mechanism::Login {
            return Ok(Vec::new());
        }
        // A server may say it again.
        Some(reply.text())
            .filter(|text| text.len() > 7)
            .into_iter()
            .for_each(|text| self.redactor.hide(text.into()));
        auth::decode(&reply.text())
    }

    /// A line with a secret in it, which the transcript does not show.
    fn say_secret(&mut self, before: &str, secret: &Secret) {
        self.observer.observe(Event::Sent(&format!("{before}[redacted]")));
        self.redactor.hide(secret.expose().to_vec().into());
        self.link.out.extend_from_slice(before.as_bytes());
        self.link.push_line(secret.expose());
    }

    pub(super) fn try_xclient(&mut self, attributes: &[String]) -> Result<(), SessionError> {
        self.say(&format!("XCLIENT {}", attributes.join(" ")));
        let reply = self.reply(Stage::Lhlo)?;
        if reply.code() != 220 {
            return Err(self.leave(refused(Stage::Lhlo, "the server refused XCLIENT", reply)));
        }
        self.server.greeting = reply;
        self.lhlo()
    }

    pub(super) fn try_ask(&mut self, line: &str) -> Result<Reply, SessionError> {
        self.say(line);
        let reply = self.reply(Stage::Query)?;
        match reply.code() {
            421 => Err(SessionError { stage: Stage::Query, cause: Cause::Closing(reply) }),
            _ => Ok(reply),
        }
    }
}

fn not_secure(stage: Stage, why: &str, reply: Option<Reply>) -> SessionError {
    SessionError { stage, cause: Cause::NotSecure { why: why.to_owned(), reply } }
}

/// What a `reply` other than the one hoped for comes to: 421 closes the session, and says no more.
fn refused(stage: Stage, why: &str, reply: Reply) -> SessionError {
    match reply.code() {
        421 => SessionError { stage, cause: Cause::Closing(reply) },
        _ => not_secure(stage, why, Some(reply)),
    }
}

fn insecure(error: Insecure) -> SessionError {
    match error {
        Insecure::NotVerified(why) => not_secure(Stage::Tls, &why, None),
        Insecure::Lost(error) => SessionError::from_io(Stage::Tls, &error),
    }
}
