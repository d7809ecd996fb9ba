//! A probe for monitoring: a state and one line, as plugins of Nagios, Icinga and their kin have it.
//! <https://nagios-plugins.org/doc/guidelines.html>, "Plugin Output for Nagios" and "Performance data".

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lmtp_send::lmtp::{Stage, printable};

use super::probe::Probe;
use crate::exit::{OK, Policy, ServiceState};
use crate::job::Thresholds;

const SECONDS_OF_A_DAY: u64 = 86_400;

/// The line and the state of a probe.
pub fn line(probe: &Probe, policy: &Policy, thresholds: &Thresholds) -> (String, ServiceState) {
    let mut found = vec![(ServiceState::Ok, said_well(probe))];
    found.extend(failures(probe, policy));
    found.extend(too_slow(probe, thresholds));
    found.extend(certificate(probe, thresholds));
    let state = found.iter().map(|(state, _)| *state).max().unwrap_or(ServiceState::Ok);
    let texts: Vec<String> = found.into_iter().filter(|(of, _)| *of == state).map(|(_, text)| text).collect();
    let figures = figures(probe, thresholds);
    (format!("{} | {figures}", plain(state, &texts.join("; "))), state)
}

/// A line without figures: nothing could be measured.
pub fn plain(state: ServiceState, text: &str) -> String {
    // What stands behind a bar is figures, and a second line is details.
    let text = printable(text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "/").as_bytes());
    format!("LMTP {} - {text}", state.name())
}

fn said_well(probe: &Probe) -> String {
    let mut text = format!("{} answered in {:.3} s", probe.server, probe.total.as_secs_f64());
    if let Some((facts, _)) = &probe.findings.tls {
        text += &format!(", {}", facts.version);
    }
    if let Some(days) = days_left(probe) {
        text += &format!(", certificate valid for {days} days");
    }
    text
}

fn failures(probe: &Probe, policy: &Policy) -> Vec<(ServiceState, String)> {
    let refused = probe.answers.iter().filter_map(|answer| {
        let answer = answer.answer(&probe.server);
        let judgement = answer.judge(policy).filter(|judgement| judgement.exit != OK)?;
        Some((ServiceState::of_exit(judgement.exit), answer.diagnostic(policy, judgement)))
    });
    let failed = probe.failed.iter().map(|error| {
        let judgement = policy.judge_local_error(error.kind, error.reply.as_ref());
        (ServiceState::of_exit(judgement.exit), format!("{} {}", judgement.status, error.text))
    });
    refused.chain(failed).collect()
}

fn too_slow(probe: &Probe, thresholds: &Thresholds) -> Option<(ServiceState, String)> {
    let over = |limit: Option<Duration>| limit.filter(|limit| probe.total > *limit);
    let (state, limit) = over(thresholds.critical)
        .map(|limit| (ServiceState::Critical, limit))
        .or_else(|| over(thresholds.warning).map(|limit| (ServiceState::Warning, limit)))?;
    let (took, limit) = (probe.total.as_secs_f64(), limit.as_secs_f64());
    Some((state, format!("{} answered in {took:.3} s, more than {limit} s", probe.server)))
}

fn certificate(probe: &Probe, thresholds: &Thresholds) -> Option<(ServiceState, String)> {
    let wanted = i64::from(thresholds.days?);
    match days_left(probe) {
        // Why it is not accepted, or not seen, is said already.
        _ if probe.failed.as_ref().is_some_and(|failed| failed.stage == Stage::Tls) => None,
        None if probe.failed.is_some() => None,
        None => Some((ServiceState::Warning, format!("{} shows no certificate", probe.server))),
        Some(days) if days < 0 => {
            Some((ServiceState::Critical, format!("the certificate expired {} days ago", -days)))
        }
        Some(days) if days < wanted => {
            Some((ServiceState::Warning, format!("the certificate expires in {days} days")))
        }
        Some(_) => None,
    }
}

/// Whole days until the certificate expires; below zero when it has.
fn days_left(probe: &Probe) -> Option<i64> {
    let (facts, _) = probe.findings.tls.as_ref()?;
    let expires = facts.certificate.as_ref()?.expires.as_secs();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let days = |from: u64, to: u64| i64::try_from((to - from) / SECONDS_OF_A_DAY).unwrap_or(i64::MAX);
    Some(if expires >= now { days(now, expires) } else { -1 - days(expires, now) })
}

/// `label=value;warning;critical;least`, blanks between.
fn figures(probe: &Probe, thresholds: &Thresholds) -> String {
    let limit =
        |limit: Option<Duration>| limit.map(|limit| limit.as_secs_f64().to_string()).unwrap_or_default();
    let (warning, critical) = (limit(thresholds.warning), limit(thresholds.critical));
    let mut figures = vec![format!("time={:.6}s;{warning};{critical};0", probe.total.as_secs_f64())];
    for (name, time) in probe.times() {
        figures.push(format!("{name}={:.6}s;;;0", time.as_f64().unwrap_or_default()));
    }
    if let Some(days) = days_left(probe) {
        let warning = thresholds.days.map(|days| format!("{days}:")).unwrap_or_default();
        figures.push(format!("certificate_days={days};{warning};0:"));
    }
    figures.join(" ")
}
