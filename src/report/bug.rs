//! A bug: what a program says that cannot go on, nor wait for anybody.

use super::syslog::Log;
use super::{line, monitor};
use crate::cli::{ExitStyle, Facility};
use crate::exit::{Kind, Policy, ServiceState};
use crate::wait::write_at_once;

/// Says what has gone wrong, to the `log` of the system as well, and returns the exit code.
pub fn bug(policy: Policy, panic: &str, log: Option<Facility>) -> u8 {
    say(policy, panic, || log.map(Log::open))
}

fn say(policy: Policy, panic: &str, log: impl FnOnce() -> Option<Log>) -> u8 {
    let judgement = policy.judge_local_error(Kind::Bug, None);
    let text = format!("this is a bug of lmtp-send: {}", panic.replace('\n', " "));
    let line = format!("{} {text}", policy.agreeing(judgement.status, judgement.exit));
    if policy.style == ExitStyle::Monitor {
        let line = format!("{}\n", monitor::plain(ServiceState::Unknown, &line));
        let _ = rustix::io::write(rustix::stdio::stdout(), line.as_bytes());
    } else {
        write_at_once(format!("{line}\n").as_bytes());
    }
    if let Some(mut log) = log() {
        log.write(judgement.class, &line::log_of("bug", judgement, &text));
    }
    judgement.exit
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram;

    use super::*;
    use crate::cli::Uncertain;

    #[test]
    fn the_log_hears_of_it() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("log");
        let daemon = UnixDatagram::bind(&path).unwrap();
        for (style, code) in [(ExitStyle::Mta, 75), (ExitStyle::Shell, 70), (ExitStyle::Qmail, 111)] {
            let policy = Policy { style, uncertain: Uncertain::Defer, soft_bounce: false };
            let log = || Some(Log::at(&path, Facility::Mail));
            assert_eq!(say(policy, "panicked at x.rs:1:\nnobody thought of it", log), code);
            let mut line = [0; 200];
            let octets = daemon.recv(&mut line).unwrap();
            let line = str::from_utf8(&line[..octets]).unwrap();
            let said = "bug, dsn=4.3.0, status=deferred (this is a bug of lmtp-send: panicked at x.rs:1: nobody thought of it)";
            assert_eq!(line, format!("<20>lmtp-send[{}]: {said}", std::process::id()));
        }
    }
}
