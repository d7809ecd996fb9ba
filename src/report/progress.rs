//! For work that takes long: how far it has got, and what is waited for. One line on the terminal, or in a log one
//! every ten seconds.
//!
//! - Nothing is shown of what is done within a second, nor of a wait of less than two.
//! - The line is overwritten by the next one, and cleared away before anything else is written.
//! - A terminal that shows nothing of what is typed belongs to a program that asks for a password; one in whose
//!   background this process runs, to somebody else. Neither is written to.
//!
//! - A log has a line only for several messages, and only behind the first of them: what a mail system reads of a
//!   message's failure stays the first line.
//!
//! It exists only where there is a terminal, or such a log is wanted: a run without either pays nothing for it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use lmtp_send::lmtp::{Event, printable};
use rustix::process::getpgrp;
use rustix::stdio::stderr;
use rustix::termios::{LocalModes, tcgetattr, tcgetpgrp, tcgetwinsize};

use crate::delivery::Measure;
use crate::stop::{Wait, Watcher};
use crate::wait::write_at_once;

/// How long work may take before anything is shown of it.
const SILENCE: Duration = Duration::from_secs(1);
/// How long something may be waited for before that is shown.
const SHOWN_AFTER: Duration = Duration::from_secs(2);
/// How often a log has a line.
const EVERY: Duration = Duration::from_secs(10);
/// How often the line on the terminal is renewed.
const PAUSE: Duration = Duration::from_millis(200);
/// Moves to the beginning of the line and clears it (ECMA-48, EL).
const CLEAR: &str = "\r\x1b[K";
/// The width of a terminal that does not tell its own.
const COLUMNS: usize = 80;

/// What is shown to whoever sits at the terminal, or reads the log.
pub struct Progress {
    state: Mutex<State>,
}

/// How it is shown.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Style {
    /// A line on the terminal that is overwritten.
    Terminal,
    /// Lines that stay, one in each such time.
    Log(Duration),
}

/// What is known of the run.
struct State {
    style: Style,
    began: Instant,
    messages: MessageCounts,
    threads: HashMap<ThreadId, Activity>,
    /// When the line that stands on the terminal, or the last one in the log, was written.
    shown: Option<Instant>,
}

/// Counts for many messages.
#[derive(Default)]
struct MessageCounts {
    /// How many there are; 0: nobody knows.
    expected: u64,
    taken: u64,
    done: u64,
    octets: u64,
    /// Recipients.
    not_delivered: u64,
}

/// What a thread does.
#[derive(Default)]
struct Activity {
    wait: Option<Wait>,
    /// The wait had begun, and could be shown, before it was set: it is one that is interrupted for a moment.
    is_resumed: bool,
    sending: Option<MessageProgress>,
}

/// A message that is on its way.
#[derive(Clone, Copy)]
struct MessageProgress {
    octets: u64,
    of: u64,
    began: Instant,
}

impl Progress {
    /// On the terminal, from now on.
    pub fn on_terminal() -> Arc<Self> {
        Self::new(Style::Terminal)
    }

    /// In a log, from now on.
    pub fn in_log() -> Arc<Self> {
        Self::new(Style::Log(EVERY))
    }

    fn new(style: Style) -> Arc<Self> {
        Arc::new(Self { state: Mutex::new(State::new(style, Instant::now())) })
    }

    /// Notes what happened in a session of this thread.
    pub fn note(&self, event: &Event<'_>) {
        let now = Instant::now();
        let mut state = self.lock();
        state.note(event, thread::current().id(), now);
        write(state.due(now));
    }

    /// Counts what was measured.
    pub fn measure(&self, measure: Measure) {
        let mut state = self.lock();
        if let Measure::Expected(messages) = measure {
            state.messages.expected = messages;
        } else if measure == Measure::Message {
            state.messages.taken += 1;
        }
    }

    /// Counts a recipient, who is the `last` of a message or not.
    pub fn count(&self, delivered: bool, last: bool) {
        let now = Instant::now();
        let mut state = self.lock();
        state.messages.done += u64::from(last);
        state.messages.not_delivered += u64::from(!delivered);
        write(state.due(now));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watcher for Progress {
    fn set(&self, wait: Option<Wait>) -> Option<Wait> {
        let is_resumed = wait.as_ref().is_some_and(|wait| wait.since.elapsed() >= SHOWN_AFTER);
        let mut state = self.lock();
        let activity = state.threads.entry(thread::current().id()).or_default();
        let was_resumed = std::mem::replace(&mut activity.is_resumed, is_resumed);
        let before = std::mem::replace(&mut activity.wait, wait);
        // What a line says of the wait before is not true any more, unless that goes on after a moment: a line that
        // is cleared and written ten times a second flickers.
        if !state.is_many() && !is_resumed && !was_resumed {
            write(state.cleared());
        }
        before
    }

    fn tick(&self) {
        let now = Instant::now();
        write(self.lock().due(now));
    }

    fn clear(&self) {
        write(self.lock().cleared());
    }
}

impl State {
    fn new(style: Style, began: Instant) -> Self {
        let messages = MessageCounts::default();
        Self { style, began, messages, threads: HashMap::new(), shown: None }
    }

    fn note(&mut self, event: &Event<'_>, thread: ThreadId, now: Instant) {
        let activity = self.threads.entry(thread).or_default();
        if let Event::Sending { octets, of } = *event {
            let began = activity.sending.map_or(now, |sending| sending.began);
            activity.sending = Some(MessageProgress { octets, of, began });
            activity.wait.iter_mut().for_each(|wait| wait.since = now);
        } else {
            activity.sending = None;
        }
        if let Event::SentMessage(octets) = event {
            self.messages.octets += octets;
        }
    }

    /// What is to be written at `now`, if anything.
    fn due(&mut self, now: Instant) -> Option<String> {
        match self.style {
            Style::Terminal => self.due_on_terminal(now),
            Style::Log(every) => self.due_in_log(every, now),
        }
    }

    fn due_in_log(&mut self, every: Duration, now: Instant) -> Option<String> {
        let last = self.shown.unwrap_or(self.began);
        if now.saturating_duration_since(last) < every || !self.is_many() || self.messages.done == 0 {
            return None;
        }
        let line = self.line(now)?;
        self.shown = Some(now);
        let since = clock((now - self.began).as_secs_f64().floor());
        Some(format!("progress after {since}: {}\n", printable(line.as_bytes())))
    }

    fn due_on_terminal(&mut self, now: Instant) -> Option<String> {
        if self.shown.is_some_and(|shown| now - shown < PAUSE) {
            return None;
        }
        match self.line(now).filter(|_| is_ours()) {
            Some(line) => {
                self.shown = Some(now);
                let width = columns().saturating_sub(1);
                Some(format!("{CLEAR}{}", printable(line.as_bytes()).chars().take(width).collect::<String>()))
            }
            None => self.cleared(),
        }
    }

    fn cleared(&mut self) -> Option<String> {
        if self.style != Style::Terminal {
            return None;
        }
        self.shown.take().map(|_| CLEAR.to_owned())
    }

    fn is_many(&self) -> bool {
        self.messages.expected > 1 || self.messages.taken > 1
    }

    /// What there is to say at `now`.
    fn line(&self, now: Instant) -> Option<String> {
        if self.threads.values().filter_map(|t| t.wait.as_ref()).any(|wait| wait.what.is_empty()) {
            return None;
        }
        let many = (self.is_many() && now - self.began >= SILENCE).then(|| self.many(now));
        let parts: Vec<String> = many.into_iter().chain(self.sending(now)).chain(self.wait(now)).collect();
        (!parts.is_empty()).then(|| parts.join("; "))
    }

    fn many(&self, now: Instant) -> String {
        let MessageCounts { expected, done, octets, not_delivered, .. } = self.messages;
        let elapsed = (now - self.began).as_secs_f64().max(1e-3);
        let rate = done as f64 / elapsed;
        let sent = octets + self.threads.values().filter_map(|t| t.sending).map(|s| s.octets).sum::<u64>();
        let of = if expected > 0 { format!(" of {expected}") } else { String::new() };
        let mut text = format!("{done}{of} messages, {}, {}/s", size(sent), short(rate));
        if not_delivered > 0 {
            text += &format!(", {not_delivered} not delivered");
        }
        if done > 0 && expected > done {
            text += &format!(", {} left", clock((expected - done) as f64 / rate));
        }
        text
    }

    /// The one message that is on its way, if it takes long.
    fn sending(&self, now: Instant) -> Option<String> {
        let mut all = self.threads.values().filter_map(|t| t.sending);
        let (Some(MessageProgress { octets, of, began }), None) = (all.next(), all.next()) else {
            return None;
        };
        let elapsed = now - began;
        if elapsed < SILENCE {
            return None;
        }
        let rate = octets as f64 / elapsed.as_secs_f64();
        let left = if rate > 0.0 && of >= octets { clock((of - octets) as f64 / rate) } else { "?".into() };
        let percent = octets.saturating_mul(100) / of.max(1);
        Some(format!("{percent} % of {}, {}/s, {left} left", size(of), size(rate as u64)))
    }

    /// What has been waited for the longest, where everybody waits.
    fn wait(&self, now: Instant) -> Option<String> {
        let waits: Vec<&Wait> = self.threads.values().filter_map(|t| t.wait.as_ref()).collect();
        if waits.iter().any(|wait| now.saturating_duration_since(wait.since) < SHOWN_AFTER) {
            return None;
        }
        let wait = waits.into_iter().min_by_key(|wait| wait.since)?;
        let seconds = (now - wait.since).as_secs();
        let time = if seconds < 60 { format!("{seconds} s") } else { clock(seconds as f64) };
        Some(format!("{}, {time}", wait.what))
    }
}

/// Octets in the unit that suits them.
fn size(octets: u64) -> String {
    let octets = octets as f64;
    let kib = octets / 1024.0;
    if kib < 1.0 {
        format!("{octets} octets")
    } else if kib < 1024.0 {
        format!("{kib:.1} KiB")
    } else if kib < 1024.0 * 1024.0 {
        format!("{:.1} MiB", kib / 1024.0)
    } else {
        format!("{:.1} GiB", kib / 1024.0 / 1024.0)
    }
}

fn short(rate: f64) -> String {
    if rate < 10.0 { format!("{rate:.1}") } else { format!("{rate:.0}") }
}

/// Minutes and seconds, or hours, minutes and seconds.
fn clock(seconds: f64) -> String {
    let seconds = seconds.ceil() as u64;
    let (minutes, seconds) = (seconds / 60, seconds % 60);
    match minutes / 60 {
        0 => format!("{minutes}:{seconds:02}"),
        hours => format!("{hours}:{:02}:{seconds:02}", minutes % 60),
    }
}

/// Whether the terminal is ours to write to.
fn is_ours() -> bool {
    let echoes = tcgetattr(stderr()).is_ok_and(|modes| modes.local_modes.contains(LocalModes::ECHO));
    echoes && tcgetpgrp(stderr()).map_or(true, |group| group == getpgrp())
}

fn columns() -> usize {
    let columns = tcgetwinsize(stderr()).map_or(0, |size| usize::from(size.ws_col));
    if columns == 0 { COLUMNS } else { columns }
}

fn write(text: Option<String>) {
    if let Some(text) = text {
        write_at_once(text.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is said `ms` after the beginning, when `happened` has.
    fn said(ms: u64, happened: impl FnOnce(&mut State, Instant, ThreadId)) -> Option<String> {
        let began = Instant::now();
        let mut state = State::new(Style::Terminal, began);
        happened(&mut state, began, thread::current().id());
        state.line(began + Duration::from_millis(ms))
    }

    #[test]
    fn one_long_message_is_shown_after_a_second() {
        let sent = |ms, octets| {
            said(ms, |state, began, thread| {
                state.note(&Event::Sending { octets: 0, of: 4 << 20 }, thread, began);
                let later = began + Duration::from_millis(ms);
                state.note(&Event::Sending { octets, of: 4 << 20 }, thread, later);
            })
        };
        assert_eq!(sent(900, 1 << 20), None);
        assert_eq!(sent(2000, 2 << 20).as_deref(), Some("50 % of 4.0 MiB, 1.0 MiB/s, 0:02 left"));
        let over = said(2000, |state, began, thread| {
            state.note(&Event::Sending { octets: 0, of: 4 << 20 }, thread, began);
            state.note(&Event::SentMessage(4 << 20), thread, began);
        });
        assert_eq!(over, None);
    }

    #[test]
    fn many_messages_are_counted() {
        let counted = |ms, expected| {
            said(ms, |state, _, _| {
                state.messages =
                    MessageCounts { expected, taken: 41, done: 40, octets: 5 << 10, not_delivered: 3 };
            })
        };
        assert_eq!(counted(900, 100), None);
        assert_eq!(
            counted(4000, 4000).as_deref(),
            Some("40 of 4000 messages, 5.0 KiB, 10/s, 3 not delivered, 6:36 left")
        );
        assert_eq!(counted(8000, 0).as_deref(), Some("40 messages, 5.0 KiB, 5.0/s, 3 not delivered"));
    }

    #[test]
    fn a_log_has_a_line_each_time_that_many_messages_take_so_long() {
        let began = Instant::now();
        let mut state = State::new(Style::Log(Duration::from_secs(10)), began);
        let mut said = |ms, expected, done| {
            state.messages =
                MessageCounts { expected, taken: done, done, octets: done << 10, not_delivered: 0 };
            assert_eq!(state.cleared(), None, "nothing is to be cleared away");
            state.due(began + Duration::from_millis(ms))
        };
        assert_eq!(said(9_900, 400, 99), None);
        assert_eq!(said(11_000, 1, 1), None, "one message is none of many");
        assert_eq!(said(11_500, 400, 0), None, "the first line is a message's");
        let line = "progress after 0:12: 120 of 400 messages, 120.0 KiB, 10/s, 0:28 left\n";
        assert_eq!(said(12_000, 400, 120).as_deref(), Some(line));
        assert_eq!(said(21_900, 400, 200), None, "ten seconds after the last");
        let line = "progress after 0:22: 220 of 400 messages, 220.0 KiB, 10/s, 0:18 left\n";
        assert_eq!(said(22_000, 400, 220).as_deref(), Some(line));
    }

    #[test]
    fn a_wait_is_shown_after_two_seconds_and_with_many_threads_when_all_wait() {
        let waits = |ms, other: Option<u64>| {
            said(ms, |state, began, this| {
                let wait = |what: &str, since| Activity {
                    wait: Some(Wait { what: what.into(), since }),
                    ..Activity::default()
                };
                state.threads.insert(this, wait("mailbox:24: waiting for the greeting", began));
                if let Some(ms) = other {
                    let thread = thread::spawn(|| ()).thread().id();
                    state.threads.insert(thread, wait("another", began + Duration::from_millis(ms)));
                }
            })
        };
        assert_eq!(waits(1900, None), None);
        assert_eq!(waits(2100, None).as_deref(), Some("mailbox:24: waiting for the greeting, 2 s"));
        assert_eq!(waits(125_000, None).as_deref(), Some("mailbox:24: waiting for the greeting, 2:05"));
        assert_eq!(waits(3000, Some(1500)), None);
        assert_eq!(waits(4000, Some(1500)).as_deref(), Some("mailbox:24: waiting for the greeting, 4 s"));
    }

    #[test]
    fn a_message_that_does_not_move_is_waited_for_since_it_moved() {
        let at = |ms| {
            said(ms, |state, began, thread| {
                let wait = Wait { what: "mailbox:24: sending the message".into(), since: began };
                state.threads.insert(thread, Activity { wait: Some(wait), ..Activity::default() });
                state.note(&Event::Sending { octets: 0, of: 2 << 20 }, thread, began);
                let moved = began + Duration::from_secs(4);
                state.note(&Event::Sending { octets: 1 << 20, of: 2 << 20 }, thread, moved);
            })
        };
        assert_eq!(at(5000).as_deref(), Some("50 % of 2.0 MiB, 204.8 KiB/s, 0:05 left"));
        assert_eq!(
            at(8000).as_deref(),
            Some("50 % of 2.0 MiB, 128.0 KiB/s, 0:08 left; mailbox:24: sending the message, 4 s")
        );
    }

    #[test]
    fn a_person_who_types_is_not_disturbed() {
        let line = said(9000, |state, began, thread| {
            state.messages = MessageCounts { expected: 9, ..MessageCounts::default() };
            let wait = Wait { what: String::new(), since: began };
            state.threads.insert(thread, Activity { wait: Some(wait), ..Activity::default() });
        });
        assert_eq!(line, None);
    }
}
