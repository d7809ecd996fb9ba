//! When a deferred recipient is tried again: attempts, verdict, deadline → delay. Pure.
//!
//! Only what is certainly not delivered is tried again: an uncertain recipient never is, nor one in whose place a
//! 421 came behind the message's end, for a copy may exist.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

use lmtp_send::lmtp::{Outcome, Stage};

use super::Conclusion;
use crate::exit::{Class, Kind, Policy};

/// The pause before the second attempt; each later one is twice as long.
const FIRST: Duration = Duration::from_secs(1);
/// The longest pause.
const LONGEST: Duration = Duration::from_secs(300);

/// How often, and how long, deferred recipients are tried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retry {
    /// How many attempts may follow the first; `None`: as many as there is time for, if there is any.
    pub times: Option<u32>,
    /// How long after the message was taken in an attempt may still begin.
    pub within: Option<Duration>,
}

impl Retry {
    /// Whether anything is tried again at all.
    fn is_wanted(&self) -> bool {
        self.times.is_some() || self.within.is_some()
    }

    /// How long to wait before the next attempt, after `attempts` of them and `elapsed` since the message was
    /// taken in; `None`: there is none. `deadline` is the message's own limit, and `random` between 0 and 1.
    #[must_use]
    pub fn delay(
        &self,
        attempts: u32,
        elapsed: Duration,
        deadline: Duration,
        random: f64,
    ) -> Option<Duration> {
        if !self.is_wanted() || self.times.is_some_and(|times| attempts > times) {
            return None;
        }
        let doubled = 1_u32.checked_shl(attempts.saturating_sub(1)).unwrap_or(u32::MAX);
        let longest = FIRST.saturating_mul(doubled).min(LONGEST);
        let delay = longest.mul_f64(0.5 + random.clamp(0.0, 1.0) / 2.0);
        let limit = self.within.map_or(deadline, |within| within.min(deadline));
        (elapsed.saturating_add(delay) < limit).then_some(delay)
    }
}

/// Whether another attempt may help, and cannot deliver a second copy.
#[must_use]
pub fn is_worth_another(policy: &Policy, conclusion: &Conclusion) -> bool {
    match conclusion {
        Conclusion::Outcome(Outcome::Unanswered(error)) if error.copy_may_exist() => false,
        Conclusion::Outcome(outcome) => policy.judge(outcome).class == Class::Deferred,
        Conclusion::Earlier => false,
        Conclusion::LocalError(error) => {
            let again = policy.judge_local_error(error.kind, error.reply.as_ref()).class == Class::Deferred;
            again
                && error.stage != Stage::Input
                && !matches!(error.kind, Kind::Stopped | Kind::NotBegun | Kind::Bug)
        }
    }
}

/// A number between 0 and 1, another each time.
pub fn random() -> f64 {
    let number = RandomState::new().build_hasher().finish();
    f64::from(u32::try_from(number >> 32).unwrap_or(0)) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use lmtp_send::lmtp::{Cause, EnhancedCode, Reply, SessionError};

    use super::*;
    use crate::cli::{ExitStyle, Uncertain};
    use crate::local_error::LocalError;

    const fn secs(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn pauses_grow_within_the_limits() {
        let often = Retry { times: Some(3), within: None };
        let long = Retry { times: None, within: Some(secs(60)) };
        for (retry, attempts, elapsed, random, expected) in [
            (Retry::default(), 1, 0, 1.0, None),
            (often, 1, 0, 1.0, Some(1.0)),
            (often, 1, 0, 0.0, Some(0.5)),
            (often, 2, 0, 1.0, Some(2.0)),
            (often, 3, 0, 1.0, Some(4.0)),
            (often, 4, 0, 1.0, None),
            (often, 3, 897, 1.0, None),
            (long, 5, 30, 1.0, Some(16.0)),
            (long, 5, 50, 1.0, None),
            (Retry { times: None, within: Some(secs(10_000)) }, 40, 0, 1.0, Some(300.0)),
            (Retry { times: None, within: Some(secs(10_000)) }, 40, 700, 1.0, None),
        ] {
            let delay = retry.delay(attempts, secs(elapsed), secs(900), random);
            assert_eq!(delay.map(|d| d.as_secs_f64()), expected, "{retry:?} {attempts} {elapsed}");
        }
    }

    #[test]
    fn what_may_have_been_delivered_is_not_sent_again() {
        let policy = Policy { style: ExitStyle::Mta, uncertain: Uncertain::Defer, soft_bounce: false };
        let lost = |stage| SessionError { stage, cause: Cause::Closed };
        let closing = |stage| SessionError {
            stage,
            cause: Cause::Closing(Reply::new(421, EnhancedCode::new(4, 3, 2), "shutting down")),
        };
        let local = |kind, stage| Conclusion::LocalError(LocalError::new(kind, stage, ""));
        for (conclusion, expected) in [
            (Conclusion::Outcome(Outcome::Unanswered(lost(Stage::Rcpt))), true),
            (Conclusion::Outcome(Outcome::Uncertain(lost(Stage::Delivery))), false),
            (Conclusion::Outcome(Outcome::Unanswered(closing(Stage::Rcpt))), true),
            (Conclusion::Outcome(Outcome::Unanswered(closing(Stage::Delivery))), false),
            (local(Kind::Unreachable, Stage::Connect), true),
            (Conclusion::Earlier, false),
            (local(Kind::Stopped, Stage::Connect), false),
            (local(Kind::NotBegun, Stage::Connect), false),
            (local(Kind::Bug, Stage::Connect), false),
            (local(Kind::InputOutput, Stage::Input), false),
            (local(Kind::NoInput, Stage::Input), false),
        ] {
            assert_eq!(is_worth_another(&policy, &conclusion), expected, "{conclusion:?}");
        }
    }
}
