//! The one table: what an outcome or an error of ours means as an exit code (sysexits(3)) and as an enhanced status
//! code (RFC 3463). The only file with such a number.
//!
//! Two scopes. A **verdict** is what the server said to MAIL, RCPT, DATA or the message; it decides by its
//! code. Everything else says nothing about the recipient and never bounces mail: it is 75, the only code
//! that Postfix, Exim, OpenSMTPD, chasquid and qmail all try again.

use lmtp_send::lmtp::{Cause, EnhancedCode, Outcome, Reply, SessionError, Stage};

use crate::cli::{ExitStyle, Uncertain};

/// EX_OK.
pub const OK: u8 = 0;
/// EX_USAGE.
pub const USAGE: u8 = 64;
const DATAERR: u8 = 65;
const NOINPUT: u8 = 66;
const NOUSER: u8 = 67;
const NOHOST: u8 = 68;
const UNAVAILABLE: u8 = 69;
const SOFTWARE: u8 = 70;
const OSERR: u8 = 71;
const IOERR: u8 = 74;
/// EX_TEMPFAIL.
pub const TEMPFAIL: u8 = 75;
const PROTOCOL: u8 = 76;
const NOPERM: u8 = 77;
const CONFIG: u8 = 78;

/// What went wrong without a verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// What was typed means nothing.
    Usage,
    /// No recipients, or an invalid address or parameter.
    Envelope,
    /// An invalid header field, or an empty message.
    Message,
    /// FILE missing or unreadable.
    NoInput,
    /// A file or a program of the configuration is wrong or missing.
    Config,
    /// A bug.
    Bug,
    /// The host's name does not exist.
    NoSuchHost,
    /// There is no connection, or no session on it.
    Unreachable,
    /// The session was lost, timed out, or closed with 421.
    Lost,
    /// The server does not speak LMTP, or not as it must.
    Protocol,
    /// Access denied, by the system or by the server's security.
    Denied,
    /// The message could not be read to its end, or the report not written.
    InputOutput,
    /// No memory, processes, files or disk.
    Exhausted,
    /// Stopped by a signal.
    Stopped,
    /// A signal ended the run of several messages before this one's turn came.
    NotBegun,
}

impl Kind {
    /// The code for mail systems, the code for scripts, the enhanced status code's subject and detail.
    fn row(self) -> (u8, u8, u16, u16) {
        match self {
            Kind::Usage => (USAGE, USAGE, 5, 4),
            Kind::Envelope => (DATAERR, DATAERR, 1, 3),
            Kind::Message => (DATAERR, DATAERR, 6, 0),
            Kind::NoInput => (NOINPUT, NOINPUT, 3, 0),
            Kind::Config => (TEMPFAIL, CONFIG, 3, 5),
            Kind::Bug => (TEMPFAIL, SOFTWARE, 3, 0),
            Kind::NoSuchHost => (TEMPFAIL, NOHOST, 4, 3),
            Kind::Unreachable => (TEMPFAIL, TEMPFAIL, 4, 1),
            Kind::Lost => (TEMPFAIL, TEMPFAIL, 4, 2),
            Kind::Protocol => (TEMPFAIL, PROTOCOL, 5, 0),
            Kind::Denied => (TEMPFAIL, NOPERM, 7, 0),
            Kind::InputOutput => (TEMPFAIL, IOERR, 3, 0),
            Kind::Exhausted => (TEMPFAIL, OSERR, 3, 0),
            Kind::Stopped | Kind::NotBegun => (TEMPFAIL, TEMPFAIL, 3, 0),
        }
    }

    /// Whether the server is in trouble, or we are.
    fn state(self) -> ServiceState {
        match self {
            Kind::NoSuchHost | Kind::Unreachable | Kind::Lost | Kind::Protocol | Kind::Denied => {
                ServiceState::Critical
            }
            Kind::Usage
            | Kind::Envelope
            | Kind::Message
            | Kind::NoInput
            | Kind::Config
            | Kind::Bug
            | Kind::InputOutput
            | Kind::Exhausted
            | Kind::Stopped
            | Kind::NotBegun => ServiceState::Unknown,
        }
    }

    /// The kind of error that a session's failure is.
    #[must_use]
    pub fn of(failure: &SessionError) -> Self {
        match &failure.cause {
            Cause::NotWelcome(_) => Kind::Unreachable,
            Cause::Closed
            | Cause::Lost(..)
            | Cause::TimedOut(_)
            | Cause::Closing(_)
            | Cause::TooFewReplies => Kind::Lost,
            Cause::Stopped => Kind::Stopped,
            Cause::NotSecure { .. } => Kind::Denied,
            Cause::NotLmtp { .. } | Cause::Injected | Cause::Malformed(_) | Cause::OutOfPlace(_) => {
                Kind::Protocol
            }
            Cause::Changed { .. } | Cause::Unreadable(_) => Kind::InputOutput,
            // What is not known here says nothing about a recipient.
            Cause::Misuse(_) | _ => Kind::Bug,
        }
    }
}

/// What monitoring makes of a probe, the worst last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ServiceState {
    /// All is well.
    Ok,
    /// Something will have to be looked at.
    Warning,
    /// Nothing is known about the server: the failure is ours.
    Unknown,
    /// The server does not do its service.
    Critical,
}

impl ServiceState {
    /// The word in the line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            ServiceState::Ok => "OK",
            ServiceState::Warning => "WARNING",
            ServiceState::Unknown => "UNKNOWN",
            ServiceState::Critical => "CRITICAL",
        }
    }

    /// The plugin's exit code.
    #[must_use]
    pub fn exit(self) -> u8 {
        match self {
            ServiceState::Ok => 0,
            ServiceState::Warning => 1,
            ServiceState::Critical => 2,
            ServiceState::Unknown => 3,
        }
    }

    /// The state of an exit code in the style for monitoring.
    #[must_use]
    pub fn of_exit(exit: u8) -> Self {
        let all = [ServiceState::Ok, ServiceState::Warning, ServiceState::Critical];
        all.into_iter().find(|state| state.exit() == exit).unwrap_or(ServiceState::Unknown)
    }
}

/// What is to be done about a recipient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Nothing.
    Delivered,
    /// Try again.
    Deferred,
    /// Do not try again.
    Failed,
    /// Nobody knows whether it was delivered.
    Uncertain,
}

impl Class {
    /// The word in the report.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Class::Delivered => "delivered",
            Class::Deferred => "deferred",
            Class::Failed => "failed",
            Class::Uncertain => "uncertain",
        }
    }
}

/// What an outcome comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// What is to be done.
    pub class: Class,
    /// The exit code if this outcome decides, in the style asked for.
    pub exit: u8,
    /// The server's own enhanced status code, else that of the table.
    pub status: EnhancedCode,
    /// Whether it is to be tried again: this decides before what failed.
    pub again: bool,
}

/// How outcomes are turned into exit codes.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    /// Whom the exit code is for.
    pub style: ExitStyle,
    /// How a lost reply counts.
    pub uncertain: Uncertain,
    /// Every code but 0 is 75.
    pub soft_bounce: bool,
}

impl Policy {
    /// What `outcome` comes to.
    #[must_use]
    pub fn judge(&self, outcome: &Outcome) -> Judgement {
        match outcome {
            Outcome::Delivered(reply) => self.delivered(reply.enhanced()),
            Outcome::Refused { stage, reply } => self.verdict(*stage, reply),
            Outcome::Unsuited(reply) => self.verdict(Stage::Mail, reply),
            Outcome::Unanswered(failure) => self.judge_local_error(Kind::of(failure), failure.reply()),
            Outcome::Uncertain(failure) => self.uncertain(failure),
        }
    }

    /// What a delivery comes to; `own` is what the server called it.
    #[must_use]
    pub fn delivered(&self, own: Option<EnhancedCode>) -> Judgement {
        let status = own.unwrap_or(EnhancedCode::new(2, 0, 0));
        Judgement { class: Class::Delivered, exit: OK, status, again: false }
    }

    /// What an error comes to; `reply` is the one that caused it, if one did.
    #[must_use]
    pub fn judge_local_error(&self, kind: Kind, reply: Option<&Reply>) -> Judgement {
        let (mta, shell, subject, detail) = kind.row();
        let again = mta == TEMPFAIL;
        let code = if self.style == ExitStyle::Shell { shell } else { mta };
        let class = if again { Class::Deferred } else { Class::Failed };
        let own = reply.and_then(Reply::enhanced).filter(|e| again == (e.class == 4));
        let table = EnhancedCode::new(if again { 4 } else { 5 }, subject, detail);
        let exit = if self.style == ExitStyle::Monitor { kind.state().exit() } else { self.styled(code) };
        Judgement { class, exit, status: own.unwrap_or(table), again }
    }

    fn uncertain(&self, failure: &SessionError) -> Judgement {
        let code = match self.uncertain {
            Uncertain::Defer => TEMPFAIL,
            Uncertain::Deliver => OK,
            Uncertain::Fail => UNAVAILABLE,
        };
        let (_, _, subject, detail) = Kind::of(failure).row();
        let digit = if code == UNAVAILABLE { 5 } else { 4 };
        let status = EnhancedCode::new(digit, subject, detail);
        Judgement { class: Class::Uncertain, exit: self.styled(code), status, again: code == TEMPFAIL }
    }

    fn verdict(&self, stage: Stage, reply: &Reply) -> Judgement {
        let code = verdict(stage, reply);
        let again = code == TEMPFAIL;
        let own = reply.enhanced().filter(|e| again == (e.class == 4));
        let class = if again { Class::Deferred } else { Class::Failed };
        Judgement { class, exit: self.styled(code), status: own.unwrap_or(table_status(code)), again }
    }

    /// `code` in the style asked for.
    #[must_use]
    pub fn styled(&self, code: u8) -> u8 {
        if self.style == ExitStyle::Monitor {
            return state(code).exit();
        }
        let code = if self.soft_bounce && code != OK { TEMPFAIL } else { code };
        match (self.style, code) {
            (ExitStyle::Mta | ExitStyle::Shell | ExitStyle::Monitor, _) | (ExitStyle::Qmail, OK) => code,
            (ExitStyle::Qmail, TEMPFAIL) => 111,
            (ExitStyle::Qmail, _) => 100,
        }
    }

    /// The class that a diagnostic's enhanced status code must have beside the exit code `exit`.
    #[must_use]
    pub fn agreeing(&self, status: EnhancedCode, exit: u8) -> EnhancedCode {
        let class = match exit {
            OK => 2,
            code if code == self.styled(TEMPFAIL) => 4,
            _ => 5,
        };
        EnhancedCode { class, ..status }
    }
}

/// What a verdict is to monitoring.
fn state(code: u8) -> ServiceState {
    match code {
        OK => ServiceState::Ok,
        TEMPFAIL => ServiceState::Warning,
        USAGE => ServiceState::Unknown,
        _ => ServiceState::Critical,
    }
}

/// The sysexits code of a refusal at `stage`.
fn verdict(stage: Stage, reply: &Reply) -> u8 {
    let bare = reply.enhanced().is_none();
    if reply.is_temporary(stage) {
        return TEMPFAIL;
    }
    if let Some(code) = reply.enhanced().and_then(verdict_by_status) {
        return code;
    }
    match reply.code() {
        550 | 551 | 553 if bare && stage == Stage::Rcpt => NOUSER,
        556 => NOHOST,
        501 => DATAERR,
        500 | 502 | 503 | 504 | 555 => PROTOCOL,
        530 | 534 | 535 | 538 => NOPERM,
        _ => UNAVAILABLE,
    }
}

/// The code that an enhanced status code decides by itself.
fn verdict_by_status(status: EnhancedCode) -> Option<u8> {
    match (status.subject, status.detail) {
        (1, 1 | 6 | 10) => Some(NOUSER),
        (1, 2 | 8) => Some(NOHOST),
        (1, _) | (3, 4) | (6, _) => Some(DATAERR),
        (5, _) => Some(PROTOCOL),
        (7, _) => Some(NOPERM),
        (2..=4, _) => Some(UNAVAILABLE),
        _ => None,
    }
}

/// The enhanced status code that stands for a verdict's exit code.
fn table_status(code: u8) -> EnhancedCode {
    let (class, subject, detail) = match code {
        NOUSER => (5, 1, 1),
        NOHOST => (5, 1, 2),
        DATAERR => (5, 6, 0),
        PROTOCOL => (5, 5, 0),
        NOPERM => (5, 7, 0),
        TEMPFAIL => (4, 0, 0),
        _ => (5, 0, 0),
    };
    EnhancedCode::new(class, subject, detail)
}

#[cfg(test)]
mod tests {
    use lmtp_send::lmtp::reply::ReplyReader;
    use lmtp_send::lmtp::{Malformed, Misuse};

    use super::*;

    const MTA: Policy = Policy { style: ExitStyle::Mta, uncertain: Uncertain::Defer, soft_bounce: false };

    fn reply(code: u16, status: Option<(u8, u16, u16)>) -> Reply {
        let status =
            status.map(|(class, subject, detail)| format!("{class}.{subject}.{detail} ")).unwrap_or_default();
        let mut reader = ReplyReader::default();
        reader.push(format!("{code} {status}x\r\n").as_bytes());
        reader.next_reply().unwrap().unwrap()
    }

    #[test]
    fn verdicts_are_decided_by_their_code() {
        use Stage::{Data, Delivery, Mail, Rcpt};
        for (stage, code, status, exit) in [
            (Rcpt, 450, None, 75),
            (Rcpt, 452, Some((4, 2, 2)), 75),
            (Rcpt, 552, None, 75),
            (Rcpt, 552, Some((5, 2, 2)), 69),
            (Delivery, 552, None, 69),
            (Rcpt, 550, Some((5, 1, 1)), 67),
            (Mail, 550, Some((5, 1, 10)), 67),
            (Rcpt, 550, Some((5, 1, 6)), 67),
            (Rcpt, 550, None, 67),
            (Rcpt, 551, None, 67),
            (Rcpt, 553, None, 67),
            (Mail, 550, None, 69),
            (Delivery, 550, None, 69),
            (Delivery, 553, None, 69),
            (Rcpt, 550, Some((5, 1, 2)), 68),
            (Mail, 550, Some((5, 1, 8)), 68),
            (Rcpt, 556, None, 68),
            (Rcpt, 553, Some((5, 1, 3)), 65),
            (Mail, 552, Some((5, 3, 4)), 65),
            (Delivery, 554, Some((5, 6, 1)), 65),
            (Mail, 501, None, 65),
            (Data, 503, Some((5, 5, 1)), 76),
            (Mail, 500, None, 76),
            (Mail, 502, None, 76),
            (Data, 503, None, 76),
            (Rcpt, 504, None, 76),
            (Mail, 555, None, 76),
            (Delivery, 550, Some((5, 7, 1)), 77),
            (Mail, 530, None, 77),
            (Mail, 534, None, 77),
            (Mail, 535, None, 77),
            (Mail, 538, None, 77),
            (Rcpt, 550, Some((5, 0, 0)), 69),
            (Rcpt, 550, Some((5, 2, 1)), 69),
            (Delivery, 554, Some((5, 3, 0)), 69),
            (Rcpt, 550, Some((5, 4, 4)), 69),
            (Delivery, 554, None, 69),
        ] {
            let outcome = Outcome::Refused { stage, reply: reply(code, status) };
            let judgement = MTA.judge(&outcome);
            assert_eq!(judgement.exit, exit, "{stage:?} {code} {status:?}");
            assert_eq!(judgement.again, exit == 75);
            let status = MTA.agreeing(judgement.status, judgement.exit);
            assert_eq!(status.class, if exit == 75 { 4 } else { 5 });
        }
    }

    #[test]
    fn trouble_never_bounces_mail_but_what_was_given_is_wrong() {
        for (kind, mta, shell, status) in [
            (Kind::Usage, 64, 64, "5.5.4"),
            (Kind::Envelope, 65, 65, "5.1.3"),
            (Kind::Message, 65, 65, "5.6.0"),
            (Kind::NoInput, 66, 66, "5.3.0"),
            (Kind::Config, 75, 78, "4.3.5"),
            (Kind::Bug, 75, 70, "4.3.0"),
            (Kind::NoSuchHost, 75, 68, "4.4.3"),
            (Kind::Unreachable, 75, 75, "4.4.1"),
            (Kind::Lost, 75, 75, "4.4.2"),
            (Kind::Protocol, 75, 76, "4.5.0"),
            (Kind::Denied, 75, 77, "4.7.0"),
            (Kind::InputOutput, 75, 74, "4.3.0"),
            (Kind::Exhausted, 75, 71, "4.3.0"),
            (Kind::Stopped, 75, 75, "4.3.0"),
            (Kind::NotBegun, 75, 75, "4.3.0"),
        ] {
            let judgement = MTA.judge_local_error(kind, None);
            assert_eq!((judgement.exit, judgement.status.to_string().as_str()), (mta, status), "{kind:?}");
            assert_eq!(
                Policy { style: ExitStyle::Shell, ..MTA }.judge_local_error(kind, None).exit,
                shell,
                "{kind:?}"
            );
            let qmail = if mta == 75 { 111 } else { 100 };
            assert_eq!(
                Policy { style: ExitStyle::Qmail, ..MTA }.judge_local_error(kind, None).exit,
                qmail,
                "{kind:?}"
            );
            assert_eq!(
                Policy { soft_bounce: true, ..MTA }.judge_local_error(kind, None).exit,
                75,
                "{kind:?}"
            );
        }
    }

    #[test]
    fn monitoring_has_states_of_its_own() {
        for soft_bounce in [false, true] {
            let policy = Policy { style: ExitStyle::Monitor, soft_bounce, ..MTA };
            for (code, state) in [
                (OK, ServiceState::Ok),
                (TEMPFAIL, ServiceState::Warning),
                (NOUSER, ServiceState::Critical),
                (USAGE, ServiceState::Unknown),
            ] {
                assert_eq!(policy.styled(code), state.exit(), "{code}");
            }
            for (kind, exit) in [
                (Kind::Unreachable, 2),
                (Kind::Denied, 2),
                (Kind::Config, 3),
                (Kind::Usage, 3),
                (Kind::Stopped, 3),
            ] {
                assert_eq!(policy.judge_local_error(kind, None).exit, exit, "{kind:?}");
            }
        }
        assert!(
            ServiceState::Critical > ServiceState::Unknown && ServiceState::Unknown > ServiceState::Warning
        );
    }

    #[test]
    fn a_lost_reply_counts_as_is_wished() {
        let lost = Outcome::Uncertain(SessionError { stage: Stage::Delivery, cause: Cause::Closed });
        for (uncertain, exit, status) in [
            (Uncertain::Defer, 75, "4.4.2"),
            (Uncertain::Deliver, 0, "4.4.2"),
            (Uncertain::Fail, 69, "5.4.2"),
        ] {
            let judgement = Policy { uncertain, ..MTA }.judge(&lost);
            assert_eq!((judgement.exit, judgement.class), (exit, Class::Uncertain));
            assert_eq!(judgement.status.to_string(), status);
        }
    }

    #[test]
    fn a_failure_is_trouble_of_its_kind() {
        let closing = reply(421, Some((4, 3, 2)));
        for (cause, kind) in [
            (Cause::Closed, Kind::Lost),
            (Cause::TimedOut(String::new()), Kind::Lost),
            (Cause::Stopped, Kind::Stopped),
            (Cause::Closing(closing.clone()), Kind::Lost),
            (Cause::NotWelcome(closing.clone()), Kind::Unreachable),
            (Cause::NotLmtp { reply: closing.clone(), smtp: true }, Kind::Protocol),
            (Cause::Injected, Kind::Protocol),
            (Cause::Malformed(Malformed::LineTooLong), Kind::Protocol),
            (Cause::OutOfPlace(closing.clone()), Kind::Protocol),
            (Cause::NotSecure { why: String::new(), reply: None }, Kind::Denied),
            (Cause::Changed { counted: 1, found: 2 }, Kind::InputOutput),
            (Cause::Unreadable(String::new()), Kind::InputOutput),
            (Cause::Misuse(Misuse::NotAsked), Kind::Bug),
        ] {
            assert_eq!(Kind::of(&SessionError { stage: Stage::Lhlo, cause }), kind);
        }
        // The server's own status stands before that of the table, if it agrees.
        assert_eq!(MTA.judge_local_error(Kind::Lost, Some(&closing)).status.to_string(), "4.3.2");
        assert_eq!(
            MTA.judge_local_error(Kind::Lost, Some(&reply(554, Some((5, 3, 2))))).status.to_string(),
            "4.4.2"
        );
    }
}
