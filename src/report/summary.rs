//! What a run came to: messages, recipients by outcome, octets, time, and the latency of the replies.

use std::fmt::Write;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::{Repetition, Report};
use crate::cli::SummaryFormat;
use crate::delivery::{Listener, Listeners, Measure, Record, Reporter};
use crate::exit::Class;

/// Parts into which each doubling of a latency is divided: a percentile is at most 9 % too high.
const PARTS: u32 = 8;
/// Parts in all: from a microsecond to half a day.
const BUCKETS: usize = 36 * PARTS as usize;

/// What a run came to, as far as it has been counted.
pub struct Summary {
    messages: u64,
    /// Those that were begun.
    begun: u64,
    octets: u64,
    sessions: u64,
    delivered: u64,
    deferred: u64,
    failed: u64,
    uncertain: u64,
    latency: Latency,
    time: Duration,
}

/// How many replies took how long.
struct Latency {
    counts: Vec<u64>,
    longest: Duration,
}

#[derive(Serialize)]
struct JsonSummary {
    messages: u64,
    delivered: u64,
    deferred: u64,
    failed: u64,
    uncertain: u64,
    octets: u64,
    seconds: f64,
    messages_per_second: f64,
    sessions: u64,
    latency: Option<Percentiles>,
    to_go_on: Option<String>,
}

/// In seconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
struct Percentiles {
    p50: f64,
    p90: f64,
    p99: f64,
    max: f64,
}

/// Counts what a report is told.
pub struct Tally<'a> {
    report: &'a mut Report,
    summary: Summary,
    began: Instant,
}

impl<'a> Tally<'a> {
    /// Counts from now on what `report` is told.
    pub fn new(report: &'a mut Report) -> Self {
        Self { report, summary: Summary::default(), began: Instant::now() }
    }

    /// What was counted until now.
    pub fn finish(mut self) -> Summary {
        self.summary.time = self.began.elapsed();
        self.summary
    }
}

impl Reporter for Tally<'_> {
    fn record(&mut self, record: Record) -> bool {
        self.summary.count(self.report.judge(&record.conclusion).class);
        self.summary.messages += u64::from(record.is_message && record.is_last);
        self.report.record(record)
    }

    fn warning(&mut self, text: &str) {
        self.report.warning(text);
    }

    fn listener(&self, server: &str) -> Listener {
        self.report.listener(server)
    }

    fn listeners(&self) -> Listeners {
        self.report.listeners()
    }

    fn measure(&mut self, measure: Measure) {
        self.summary.measure(measure);
        self.report.measure(measure);
    }
}

impl Default for Summary {
    fn default() -> Self {
        let latency = Latency { counts: Vec::new(), longest: Duration::ZERO };
        Self {
            messages: 0,
            begun: 0,
            octets: 0,
            sessions: 0,
            delivered: 0,
            deferred: 0,
            failed: 0,
            uncertain: 0,
            latency,
            time: Duration::ZERO,
        }
    }
}

impl Summary {
    /// The summary, in the form asked for, or for people where there were several messages.
    pub fn words(&self, format: Option<SummaryFormat>, repetition: &Repetition<'_>) -> Option<String> {
        let by_itself = (self.messages > 1).then_some(SummaryFormat::Text);
        format.or(by_itself).map(|format| self.lines(format, repetition))
    }

    /// Counts what was measured.
    fn measure(&mut self, measure: Measure) {
        match measure {
            Measure::Expected(_) => {}
            Measure::Session => self.sessions += 1,
            Measure::Message => self.begun += 1,
            Measure::Octets(octets) => self.octets += octets,
            Measure::Reply(time) => self.latency.count(time),
        }
    }

    /// Counts a recipient.
    fn count(&mut self, class: Class) {
        match class {
            Class::Delivered => self.delivered += 1,
            Class::Deferred => self.deferred += 1,
            Class::Failed => self.failed += 1,
            Class::Uncertain => self.uncertain += 1,
        }
    }

    /// The lines.
    fn lines(&self, format: SummaryFormat, repetition: &Repetition<'_>) -> String {
        match format {
            SummaryFormat::Json => self.json(repetition),
            SummaryFormat::Text => self.text(repetition),
        }
    }

    fn rate(&self) -> f64 {
        self.begun as f64 / self.time.as_secs_f64().max(1e-6)
    }

    fn json(&self, repetition: &Repetition<'_>) -> String {
        let json = JsonSummary {
            messages: self.messages,
            delivered: self.delivered,
            deferred: self.deferred,
            failed: self.failed,
            uncertain: self.uncertain,
            octets: self.octets,
            seconds: rounded(self.time.as_secs_f64()),
            messages_per_second: rounded(self.rate()),
            sessions: self.sessions,
            latency: self.latency.percentiles(),
            // Whoever reads it need not read what else is said.
            to_go_on: self.to_go_on(repetition, repetition.warning()),
        };
        serde_json::to_string(&json).unwrap_or_default()
    }

    fn text(&self, repetition: &Repetition<'_>) -> String {
        let mut text = format!(
            "{} messages, {} octets, {:.1} s, {:.0} messages/s, {} session{}\n",
            self.messages,
            self.octets,
            self.time.as_secs_f64(),
            self.rate(),
            self.sessions,
            if self.sessions == 1 { "" } else { "s" }
        );
        let _ = write!(
            text,
            "recipients: {} delivered, {} deferred, {} failed, {} uncertain",
            self.delivered, self.deferred, self.failed, self.uncertain
        );
        if let Some(Percentiles { p50, p90, p99, max }) = self.latency.percentiles() {
            let ms = |seconds: f64| seconds * 1e3;
            let _ = write!(
                text,
                "\nreplies: half within {:.1} ms, 90 % within {:.1}, 99 % within {:.1}, all within {:.1}",
                ms(p50),
                ms(p90),
                ms(p99),
                ms(max)
            );
        }
        if let Some(words) = self.to_go_on(repetition, None) {
            let _ = write!(text, "\n{words}");
        }
        text
    }

    /// What to do about those who are left, and what whoever does it is to know.
    fn to_go_on(&self, repetition: &Repetition<'_>, warning: Option<String>) -> Option<String> {
        let left = self.deferred + self.uncertain;
        (left > 0).then(|| {
            let warning = warning.map(|text| format!("; warning: {text}")).unwrap_or_default();
            let left = format!("left: {left} recipients, deferred or uncertain in the report{warning}");
            if repetition.has_ledger {
                format!("{left}; {}", repetition.command())
            } else {
                format!("{left}; a run with --ledger DIR can be repeated, and continues with only these")
            }
        })
    }
}

fn rounded(number: f64) -> f64 {
    (number * 1e6).round() / 1e6
}

impl Latency {
    fn count(&mut self, time: Duration) {
        if self.counts.is_empty() {
            self.counts = vec![0; BUCKETS];
        }
        let micros = (time.as_secs_f64() * 1e6).max(1.0);
        let bucket = (micros.log2() * f64::from(PARTS)).floor() as usize;
        if let Some(count) = self.counts.get_mut(bucket.min(BUCKETS - 1)) {
            *count += 1;
        }
        self.longest = self.longest.max(time);
    }

    fn percentiles(&self) -> Option<Percentiles> {
        let all: u64 = self.counts.iter().sum();
        (all > 0).then(|| Percentiles {
            p50: self.within(all, 0.5),
            p90: self.within(all, 0.9),
            p99: self.within(all, 0.99),
            max: rounded(self.longest.as_secs_f64()),
        })
    }

    /// The time, in seconds, within which that share of `all` came.
    fn within(&self, all: u64, share: f64) -> f64 {
        let wanted = (all as f64 * share).ceil() as u64;
        let mut seen = 0;
        let reached = |count: &u64| {
            seen += count;
            seen >= wanted
        };
        let bucket = self.counts.iter().position(reached).unwrap_or(0);
        let end = 2_f64.powf((bucket + 1) as f64 / f64::from(PARTS)) / 1e6;
        rounded(end.min(self.longest.as_secs_f64()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_right_within_a_part() {
        let mut latency = Latency { counts: Vec::new(), longest: Duration::ZERO };
        assert_eq!(latency.percentiles(), None);
        (1..=1000).for_each(|ms| latency.count(Duration::from_millis(ms)));
        let Percentiles { p50, p90, p99, max } = latency.percentiles().unwrap();
        for (found, exact) in [(p50, 0.5), (p90, 0.9), (p99, 0.99), (max, 1.0)] {
            assert!((exact..exact * 1.1).contains(&found) || found == max, "{found} {exact}");
        }
        latency.count(Duration::from_secs(1 << 40));
        latency.count(Duration::ZERO);
        assert!(latency.percentiles().is_some(), "nothing is too long or too short");
    }

    #[test]
    fn what_is_left_is_said() {
        let mut summary = Summary { messages: 2, time: Duration::from_secs(2), ..Summary::default() };
        [
            Measure::Session,
            Measure::Message,
            Measure::Message,
            Measure::Octets(30),
            Measure::Reply(Duration::from_millis(2)),
        ]
        .into_iter()
        .for_each(|measure| summary.measure(measure));
        summary.count(Class::Delivered);
        assert!(!summary.lines(SummaryFormat::Text, &Repetition::default()).contains("left"));
        summary.count(Class::Uncertain);
        let text = summary.lines(SummaryFormat::Text, &Repetition::default());
        assert!(text.starts_with("2 messages, 30 octets, 2.0 s, 1 messages/s, 1 session\n"), "{text}");
        assert!(text.contains("left: 1 recipients"), "{text}");
        let unrecorded = Repetition {
            has_ledger: true,
            unrecorded: Some("cannot write the ledger"),
            ..Repetition::default()
        };
        let json = summary.lines(SummaryFormat::Json, &unrecorded);
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        let (words, command) = json["to_go_on"].as_str().unwrap().split_once("to continue:\n").unwrap();
        assert!(
            words.contains("warning: cannot write the ledger; a repeated run may send second copies"),
            "{words}"
        );
        assert!(!command.contains('\n'), "{command}");
        assert_eq!(json["messages_per_second"], 1.0);
        assert_eq!(json["latency"]["max"], 0.002);
        assert_eq!(json["uncertain"], 1);
    }
}
