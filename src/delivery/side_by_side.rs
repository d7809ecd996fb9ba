//! Several workers, each with a connection of its own, and one owner of the report.
//!
//! The workers share the intake; what they have to tell goes through a channel that holds a few things only, so
//! that a report that is slow to be written slows them down.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use lmtp_send::io_error::words;

use super::worker::Worker;
use super::{Listener, Listeners, Measure, Record, Reporter, Run};

/// How many things may wait to be told.
const WAITING: usize = 64;

/// What a worker has the reporter do.
enum Call {
    Record(Record),
    Warning(String),
    Measure(Measure),
}

/// A worker's way to the reporter.
struct Teller<'a> {
    run: &'a Run<'a>,
    sender: SyncSender<Call>,
    listeners: Listeners,
}

impl Teller<'_> {
    fn send(&self, call: Call) {
        // The reporter has ended: what is not told to it counts as lost.
        if self.sender.send(call).is_err() {
            self.run.lose_report();
        }
    }
}

impl Reporter for Teller<'_> {
    fn record(&mut self, record: Record) -> bool {
        self.send(Call::Record(record));
        !self.run.is_report_lost()
    }

    fn warning(&mut self, text: &str) {
        self.send(Call::Warning(text.to_owned()));
    }

    fn listener(&self, server: &str) -> Listener {
        (self.listeners)(server)
    }

    fn listeners(&self) -> Listeners {
        Listeners::clone(&self.listeners)
    }

    fn measure(&mut self, measure: Measure) {
        self.send(Call::Measure(measure));
    }
}

/// Has `workers` do what there is to do, as many of them as the system lets us have, and tells `reporter`.
pub fn work(run: &Run<'_>, workers: usize, reporter: &mut dyn Reporter) {
    let (sender, receiver) = sync_channel(WAITING);
    let listeners = reporter.listeners();
    thread::scope(|scope| {
        let mut started = 0;
        for _ in 0..workers {
            let (sender, listeners) = (sender.clone(), Listeners::clone(&listeners));
            let task = move || Worker::new(run, &mut Teller { run, sender, listeners }).work();
            match thread::Builder::new().spawn_scoped(scope, task) {
                Ok(_) => started += 1,
                Err(e) if started > 0 => {
                    reporter.warning(&format!("only {started} sessions in parallel: {}", words(&e)));
                    break;
                }
                Err(_) => break,
            }
        }
        drop(sender);
        tell(run, &receiver, reporter);
        if started == 0 {
            Worker::new(run, reporter).work();
        }
    });
}

/// Tells what comes until all workers have ended.
fn tell(run: &Run<'_>, receiver: &Receiver<Call>, reporter: &mut dyn Reporter) {
    for call in receiver {
        match call {
            Call::Record(record) => {
                if !reporter.record(record) {
                    run.lose_report();
                }
            }
            Call::Warning(text) => reporter.warning(&text),
            Call::Measure(measure) => reporter.measure(measure),
        }
    }
}
