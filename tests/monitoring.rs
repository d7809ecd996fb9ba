//! The probe: what a server says of itself, for people, for programs and for monitoring.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::disasters::tls::sealed::{Certificates, End, Sealed};
use crate::scripted::{Client, Peer, Played, Ran, Server};

/// A session up to LHLO's reply.
fn greets(peer: &mut Peer) -> Played {
    peer.say("220 mailbox LMTP ready")?;
    peer.expect("LHLO {any}")?;
    peer.say_all(&["250-mailbox.example.net", "250-SIZE 1000", "250-AUTH PLAIN", "250 AUTH LOGIN"])
}

/// A session that is asked for two recipients, of which the second is answered by `reply`.
fn answers(reply: &'static str) -> impl FnOnce(&mut Peer) -> Played + Send {
    move |peer| {
        greets(peer)?;
        peer.expect("MAIL FROM:<me@example.net>")?;
        peer.say("250 2.1.0 ok")?;
        peer.expect("RCPT TO:<a@example.net>")?;
        peer.say("250 2.1.5 ok")?;
        peer.expect("RCPT TO:<b@example.net>")?;
        peer.say(reply)?;
        peer.expect("RSET")?;
        peer.say("250 ok")?;
        leaves(peer)
    }
}

fn leaves(peer: &mut Peer) -> Played {
    peer.quit(&[])
}

fn nobody_asked(peer: &mut Peer) -> Played {
    greets(peer)?;
    leaves(peer)
}

const ENVELOPE: &str = "-f me@example.net -t a@example.net -t b@example.net";

/// What a probe of such a server comes to.
fn probed(server: Server, options: &str) -> Ran {
    let ran = Client::to(&server).typed("--probe").typed(options).run();
    server.finish();
    ran
}

fn object(ran: &Ran) -> Value {
    assert_eq!(ran.stdout.lines().count(), 1, "{}", ran.stdout);
    serde_json::from_str(&ran.stdout).unwrap()
}

#[test]
fn a_probe_is_one_object() {
    let server = Server::tcp(answers("550 5.1.1 no such user"));
    let name = server.name().to_owned();
    let ran = probed(server, &format!("--report json {ENVELOPE}"));
    let found = object(&ran);
    assert_eq!((ran.code(), &found["exit"]), (67, &67.into()), "{found}");
    for (field, value) in [
        ("server", name.as_str()),
        ("address", &name),
        ("greeting", "220 mailbox LMTP ready"),
        ("domain", "mailbox.example.net"),
    ] {
        assert_eq!(found[field], value, "{found}");
    }
    assert_eq!((&found["extensions"]["SIZE"], &found["tls"]), (&"1000".into(), &Value::Null), "{found}");
    let offered = found["extensions"]["AUTH"].as_str().unwrap();
    assert!(offered.contains("PLAIN") && offered.contains("LOGIN"), "{found}");
    for step in ["connect", "greeting", "lhlo", "mail", "rcpt"] {
        assert!(found["times"][step].as_f64().is_some_and(|time| time < 5.0), "{step}: {found}");
    }
    let recipients = found["recipients"].as_array().unwrap();
    let said: Vec<String> = recipients
        .iter()
        .map(|one| format!("{} {} {} {}", one["recipient"], one["code"], one["enhanced"], one["exit"]))
        .collect();
    assert_eq!(said, [r#""a@example.net" 250 "2.1.5" 0"#, r#""b@example.net" 550 "5.1.1" 67"#]);
    assert_eq!((&found["sender"]["sender"], &found["error"]), (&"me@example.net".into(), &Value::Null));
}

#[test]
fn a_probe_that_fails_is_one_object_too() {
    let ran = probed(
        Server::tcp(|peer| peer.say("421 4.3.2 not now").and_then(|()| peer.close())),
        "--report json",
    );
    let found = object(&ran);
    assert_eq!((ran.code(), &found["exit"]), (75, &75.into()), "{found}");
    assert_eq!(
        (&found["greeting"], &found["domain"]),
        (&"421 4.3.2 not now".into(), &Value::Null),
        "{found}"
    );
    assert!(found["address"].is_string() && found["times"]["greeting"].is_number(), "{found}");
    assert_eq!(
        (&found["error"]["stage"], &found["error"]["code"]),
        (&"greeting".into(), &421.into()),
        "{found}"
    );
    assert!(ran.stderr.starts_with("4.3.2 "), "{}", ran.stderr);
}

/// Whatever a probe fails at, what was learnt before that is shown: in JSON, and on the page.
#[test]
fn a_probe_shows_what_it_learnt_before_it_failed() {
    fn not_lmtp(peer: &mut Peer) -> Played {
        peer.say("220 mailbox ESMTP ready")?;
        peer.expect("LHLO {any}")?;
        peer.say("500 5.5.1 what?")?;
        leaves(peer)
    }
    fn no_auth(peer: &mut Peer) -> Played {
        greets(peer)?;
        peer.expect("AUTH PLAIN {any}")?;
        peer.say("535 5.7.8 no")?;
        leaves(peer)
    }
    fn gone_at_rcpt(peer: &mut Peer) -> Played {
        greets(peer)?;
        peer.expect("MAIL FROM:<me@example.net>")?;
        peer.say("250 2.1.0 ok")?;
        peer.expect("RCPT TO:<a@example.net>")?;
        peer.say("421 4.3.2 closing")?;
        peer.close()
    }
    let home = tempfile::tempdir().unwrap();
    let password = home.path().join("password");
    fs::write(&password, "secret\n").unwrap();
    let login = format!("-u joe --auth plain --auth-insecure --password-file {}", password.display());
    type Script = fn(&mut Peer) -> Played;
    for (script, options, stage, greeting, domain, times) in [
        (not_lmtp as Script, "", "lhlo", "220 mailbox ESMTP ready", None, "connect greeting lhlo"),
        (
            no_auth,
            login.as_str(),
            "auth",
            "220 mailbox LMTP ready",
            Some("mailbox.example.net"),
            "connect greeting lhlo auth",
        ),
        (
            nobody_asked,
            "--tls starttls --tls-insecure",
            "tls",
            "220 mailbox LMTP ready",
            Some("mailbox.example.net"),
            "connect greeting lhlo tls",
        ),
        (
            gone_at_rcpt,
            ENVELOPE,
            "rcpt",
            "220 mailbox LMTP ready",
            Some("mailbox.example.net"),
            "connect greeting lhlo mail",
        ),
    ] {
        for form in ["json", "text"] {
            let ran = probed(Server::tcp(script), &format!("--report {form} {options}"));
            assert_eq!(ran.code(), 75, "{}", ran.stderr);
            assert!(!ran.stderr.is_empty());
            if form == "text" {
                for line in
                    ["server       127.0.0.1:", &format!("greeting     {greeting}"), "time         connect"]
                {
                    assert!(ran.stdout.contains(line), "{line}: {}", ran.stdout);
                }
                assert_eq!(ran.stdout.contains("extensions   SIZE 1000"), domain.is_some(), "{}", ran.stdout);
                continue;
            }
            let found = object(&ran);
            assert_eq!(found["error"]["stage"], stage, "{found}");
            assert_eq!((&found["greeting"], found["domain"].as_str()), (&greeting.into(), domain), "{found}");
            assert_eq!(found["extensions"].is_object(), domain.is_some(), "{found}");
            let steps: Vec<&str> = found["times"].as_object().unwrap().keys().map(String::as_str).collect();
            let mut expected: Vec<&str> = times.split(' ').collect();
            expected.sort_unstable();
            let mut steps = steps;
            steps.sort_unstable();
            assert_eq!(steps, expected, "{found}");
        }
    }
}

/// A certificate that is not accepted is what the reader wants to see most.
#[test]
fn a_probe_shows_the_certificate_that_it_does_not_accept() {
    let other = Certificates::path("other.pem").display().to_string();
    let pinned = format!("--tls-fingerprint {}", "00".repeat(32));
    for (mode, options, why) in [
        ("implicit", format!("--tls implicit --tls-ca {other}"), "a signature is wrong"),
        ("starttls", format!("--tls starttls --tls-ca {other}"), "a signature is wrong"),
        ("starttls", format!("--tls starttls {pinned}"), "its fingerprint is "),
    ] {
        for form in ["json", "text"] {
            let sealed =
                Sealed::tcp(mode, End::Notified, |peer| greets(peer).map_or(Ok(()), |()| leaves(peer)));
            let client = Client::new().args(&sealed.place).typed("--probe --report").args([form]);
            let ran = client.typed(&options).run().exits(75);
            let _ = sealed.server.outcome();
            if form == "text" {
                assert!(ran.stdout.contains(&format!("  verified   no: {why}")), "{}", ran.stdout);
                assert!(ran.stdout.contains("  names      127.0.0.1, mailbox.example.net"), "{}", ran.stdout);
                continue;
            }
            let found = object(&ran);
            assert!(found["address"].is_string() && found["times"]["tls"].is_number(), "{found}");
            assert_eq!(found["extensions"].is_object(), mode == "starttls", "{found}");
            let tls = &found["tls"];
            assert_eq!((&tls["verified"], &tls["version"]), (&false.into(), &"TLSv1.3".into()), "{tls}");
            assert!(tls["reason"].as_str().is_some_and(|reason| reason.starts_with(why)), "{tls}");
            assert_eq!(tls["not_after"], "4096-01-01T00:00:00Z", "{tls}");
        }
    }
}

#[test]
fn a_probe_is_a_page_with_the_times_last() {
    let ran = probed(Server::tcp(answers("450 4.2.1 not now")), ENVELOPE);
    assert_eq!(ran.code(), 75, "{}", ran.stderr);
    let beginnings = [
        "server       127.0.0.1:",
        "greeting     220 mailbox LMTP ready",
        "domain       mailbox.example.net",
        "extensions   SIZE 1000",
        "             AUTH PLAIN",
        "             AUTH LOGIN",
        "TLS          none",
        "accepts      sender <me@example.net>: 250 2.1.0 ok",
        "accepts      <a@example.net>: 250 2.1.5 ok",
        "defers       <b@example.net>: 450 4.2.1 not now",
        "time         connect",
        "             greeting",
        "             lhlo",
        "             mail",
        "             rcpt",
        "             rcpt",
        "             all",
    ];
    let lines: Vec<&str> = ran.stdout.lines().filter(|line| !line.contains("AUTH PLAIN LOGIN")).collect();
    if lines.len() == beginnings.len() {
        lines.iter().zip(beginnings).for_each(|(line, begins)| assert!(line.starts_with(begins), "{line}"));
    } else {
        // Where the lines of AUTH are put together.
        assert_eq!(lines.len(), beginnings.len() - 2, "{}", ran.stdout);
    }
}

#[test]
fn monitoring_is_told_in_one_line() {
    for (reply, options, code, line) in [
        ("250 2.1.5 ok", "", 0, "LMTP OK - 127.0.0.1:"),
        ("450 4.2.1 greylisted | later", "", 1, "LMTP WARNING - 4.2.1 127.0.0.1:"),
        ("550 5.1.1 no such user", "", 2, "LMTP CRITICAL - 5.1.1 127.0.0.1:"),
        ("550 5.1.1 no such user", "--soft-bounce", 2, "LMTP CRITICAL - 5.1.1 127.0.0.1:"),
        ("250 2.1.5 ok", "--warning 0.001", 1, "LMTP WARNING - 127.0.0.1:"),
        ("250 2.1.5 ok", "--warning 0.001 --critical 0.002", 2, "LMTP CRITICAL - 127.0.0.1:"),
        ("250 2.1.5 ok", "--warning 60 --critical 100", 0, "LMTP OK - 127.0.0.1:"),
        ("250 2.1.5 ok", "--warning-days 10", 1, "LMTP WARNING - 127.0.0.1:"),
    ] {
        let server = Server::tcp(move |peer| {
            peer.pause(Duration::from_millis(5));
            answers(reply)(peer)
        });
        let ran = probed(server, &format!("--exit-style monitor {options} {ENVELOPE}"));
        told(&ran, code, line);
        let figures = ran.stdout.split_once(" | ").unwrap().1;
        assert!(!figures.contains('|') && figures.starts_with("time=0."), "{}", ran.stdout);
        assert!(figures.contains(" lhlo=0.") && figures.contains(" rcpt=0."), "{figures}");
        if options.contains("100") {
            assert!(figures.contains("s;60;100;0 "), "{figures}");
        }
    }
}

/// One line on standard output, nothing on standard error, and a plugin's exit code.
#[track_caller]
fn told(ran: &Ran, code: i32, line: &str) {
    assert_eq!((ran.code(), ran.stderr.as_str()), (code, ""), "{}", ran.stdout);
    assert!(ran.stdout.starts_with(line), "{}", ran.stdout);
    assert_eq!(ran.stdout.lines().count(), 1, "{}", ran.stdout);
}

#[test]
fn monitoring_is_told_of_every_failure() {
    let silent = |peer: &mut Peer| peer.silence();
    told(&probed(Server::tcp(silent), "--exit-style monitor --timeout 0.3"), 2, "LMTP CRITICAL - 4.4.2 ");
    let refusing = |peer: &mut Peer| peer.say("554 5.3.2 go away").and_then(|()| leaves(peer));
    told(&probed(Server::tcp(refusing), "--exit-style monitor"), 2, "LMTP CRITICAL - ");
    let gone = |peer: &mut Peer| {
        greets(peer)?;
        peer.expect("MAIL FROM:<me@example.net>")?;
        peer.close()
    };
    told(
        &probed(Server::tcp(gone), &format!("--exit-style monitor {ENVELOPE}")),
        2,
        "LMTP CRITICAL - 4.4.2 ",
    );
    for (options, line) in [
        ("--probe --no-such-option", "LMTP UNKNOWN - unexpected argument '--no-such-option'"),
        ("--probe --warning soon", "LMTP UNKNOWN - invalid value 'soon'"),
        ("--probe --noop", "LMTP UNKNOWN - 5.5.4 --exit-style monitor needs --probe"),
        ("-f me@example.net -t a@example.net", "LMTP UNKNOWN - 5.5.4 --exit-style monitor needs --probe"),
        ("--probe -t not/an@address@", "LMTP UNKNOWN - 5.1.3 "),
        ("--probe --tls starttls --tls-ca /nonexistent", "LMTP UNKNOWN - 4.3.5 cannot read /nonexistent"),
    ] {
        let server = Server::unused();
        let ran = Client::to(&server).typed("--exit-style monitor").typed(options).run();
        server.finish();
        told(&ran, 3, line);
    }
}

/// What cannot be understood ends as the style has it wherever that is said, and soft bounces only where they are typed.
#[test]
fn what_cannot_be_understood_ends_in_the_style_of_the_settings() {
    let home = tempfile::tempdir().unwrap();
    let file = |text: &str| {
        let path = home.path().join("config.toml");
        fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let profiled = "[profile.watch]\nexit-style = 'monitor'\n";
    for (settings, style, words, code) in [
        ("", "monitor", "--probe --no-such-option", 3),
        ("", "monitor", "--probe --warning 3 --critical 2", 3),
        ("", "qmail", "--no-such-option", 100),
        ("", "shell", "--no-such-option", 64),
        ("exit-style = 'monitor'\n", "", "--probe --no-such-option", 3),
        ("exit-style = 'qmail'\n", "monitor", "--probe --no-such-option", 3),
        ("exit-style = 'qmail'\n", "", "--exit-style mta --no-such-option", 64),
        ("exit-style = 'shell'\nnonsense = 1\n", "", "", 78),
        ("exit-style = 'qmail'\nnonsense = 1\n", "", "", 111),
        ("exit-style = 'monitor'\nnonsense = 1\n", "", "--probe", 3),
        ("exit-style = 'shell'\nport = \n", "", "", 78),
        (profiled, "", "--profile watch --probe --no-such-option", 3),
        ("soft-bounce = true\n", "", "--no-such-option", 64),
        ("", "", "--soft-bounce --no-such-option", 75),
    ] {
        let server = Server::unused();
        let mut client = Client::to(&server).args(["--config", &file(settings)]).typed(words);
        if !style.is_empty() {
            client = client.env("LMTP_SEND_EXIT_STYLE", style);
        }
        let ran = client.run();
        server.finish();
        assert_eq!(ran.code(), code, "{settings} {style} {words}: {} {}", ran.stdout, ran.stderr);
        if code == 3 {
            told(&ran, 3, "LMTP UNKNOWN - ");
        }
    }
}

#[test]
fn thresholds_are_for_monitoring() {
    for (words, said) in [
        ("--probe --warning 1", "need --probe --exit-style monitor"),
        ("--probe --warning-days 9", "need --probe --exit-style monitor"),
        ("-t a@example.net --critical 1", "need --probe --exit-style monitor"),
    ] {
        let server = Server::unused();
        let ran = Client::to(&server).typed(words).run().exits(64);
        server.finish();
        assert!(ran.stderr.contains(said), "{words}: {}", ran.stderr);
    }
    let server = Server::unused();
    let ran = Client::to(&server).typed("--probe --exit-style monitor --warning 3 --critical 2").run();
    server.finish();
    told(&ran, 3, "LMTP UNKNOWN - --warning must not be above --critical");
    // The settings may hold them for other runs.
    let server = Server::tcp(nobody_asked);
    let ran = Client::to(&server).env("LMTP_SEND_WARNING", "1").typed("--probe").run().exits(0);
    server.finish();
    assert!(ran.stdout.contains("greeting"), "{}", ran.stdout);
}

#[test]
fn monitoring_looks_at_the_certificate() {
    for (options, code, line) in [
        ("--tls-insecure --warning-days 10", 0, "LMTP OK - "),
        ("--tls-insecure --warning-days 4000000", 1, "LMTP WARNING - the certificate expires in "),
        ("--tls-ca @other.pem", 2, "LMTP CRITICAL - "),
    ] {
        let sealed = Sealed::tcp("implicit", End::Notified, |peer| {
            // Who does not trust the certificate may be gone before this is said.
            greets(peer).map_or(Ok(()), |()| leaves(peer))
        });
        let other = Certificates::path("other.pem").display().to_string();
        let options = options.replace("@other.pem", &other);
        let client = Client::new().args(&sealed.place).typed("--probe --exit-style monitor --tls implicit");
        let ran = client.typed(&options).run();
        // The session that is not begun is no failure of the script.
        let _ = sealed.server.outcome();
        told(&ran, code, line);
        assert!(ran.stdout.contains(" certificate_days="), "{}", ran.stdout);
    }
}

#[test]
fn a_probe_verifies_the_chain_for_the_report_only() {
    let ours = Certificates::path("ours.pem").display().to_string();
    for (mode, options, verified) in [
        ("implicit", "--tls implicit --tls-insecure", false),
        ("starttls", "--tls opportunistic", false),
        ("starttls", "--tls opportunistic --tls-ca @ours", true),
        ("starttls", "--tls starttls --tls-ca @ours", true),
    ] {
        for form in ["json", "text"] {
            let sealed = Sealed::tcp(mode, End::Notified, nobody_asked);
            let client = Client::new().args(&sealed.place).typed("--probe --report").args([form]);
            let ran = client.typed(&options.replace("@ours", &ours)).run().exits(0);
            sealed.server.finish();
            if form == "text" {
                let line = if verified {
                    "  verified   yes"
                } else {
                    "  verified   no: it is not signed by a trusted CA"
                };
                assert!(ran.stdout.contains(line), "{}", ran.stdout);
                assert!(ran.stdout.contains("  names      127.0.0.1, mailbox.example.net"), "{}", ran.stdout);
                continue;
            }
            let tls = object(&ran)["tls"].clone();
            assert_eq!((&tls["verified"], tls["reason"].is_null()), (&verified.into(), verified), "{tls}");
            assert_eq!(tls["names"], serde_json::json!(["127.0.0.1", "mailbox.example.net"]), "{tls}");
            assert_eq!(tls["version"], "TLSv1.3", "{tls}");
            for field in ["subject", "issuer", "cipher"] {
                assert!(tls[field].as_str().is_some_and(|text| !text.is_empty()), "{field}: {tls}");
            }
            assert_eq!(
                (&tls["not_after"], tls["fingerprint"].as_str().unwrap().len()),
                (&"4096-01-01T00:00:00Z".into(), 95)
            );
        }
    }
}

/// The lines that the manual has below `tested as NAME`.
fn printed(name: &str) -> String {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("man/monitoring.roff")).unwrap();
    let (_, below) = page.split_once(&format!(".\\\" tested as {name}\n.EX\n")).unwrap();
    below.split_once("\n.EE").unwrap().0.replace("\\-", "-").replace("\\e", "\\").replace("\\&", "")
}

fn program() -> &'static str {
    env!("CARGO_BIN_EXE_lmtp-send")
}

fn in_shell(script: &str) -> Ran {
    Client::in_shell(script).run()
}

#[test]
fn the_manuals_command_for_nagios_works_as_it_stands() {
    let server = Server::tcp(nobody_asked);
    let definition = printed("nagios").replace("\\\n", "");
    let (_, line) = definition.split_once("command_line").unwrap();
    let line = line.lines().next().unwrap().trim();
    let line = line.replace("/usr/bin/lmtp-send", program()).replace("$HOSTADDRESS$", server.name());
    let ran = in_shell(&line.replace("$ARG1$", "5").replace("$ARG2$", "10"));
    server.finish();
    told(&ran, 0, "LMTP OK - ");
}

#[test]
fn the_manuals_command_for_icinga_works_as_it_stands() {
    let server = Server::tcp(nobody_asked);
    let definition = printed("icinga");
    let quoted = |line: &str| line.split('"').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>();
    let lines: Vec<Vec<String>> = definition.lines().map(quoted).filter(|words| !words.is_empty()).collect();
    let command = lines.iter().find(|words| words[0] == "/usr/bin/lmtp-send").unwrap();
    let mut arguments = command[1..].to_vec();
    for pair in lines.iter().filter(|words| words[0].starts_with("--")) {
        let value = match pair[1].as_str() {
            "$address$" => server.name(),
            "$lmtp_port$" => "24",
            "$lmtp_tls$" => "off",
            "$lmtp_warning_days$" => continue,
            _ => "10",
        };
        arguments.extend([pair[0].clone(), value.to_owned()]);
    }
    let ran = Client::of(Command::new(program())).args(arguments).run();
    server.finish();
    told(&ran, 0, "LMTP OK - ");
}

#[test]
fn the_manuals_lines_for_prometheus_work_as_they_stand() {
    if !Command::new("jq").arg("--version").output().is_ok_and(|ran| ran.status.success()) {
        println!("SKIPPED: jq is not installed");
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let script =
        printed("prometheus").replace("/var/lib/prometheus/node-exporter", home.path().to_str().unwrap());
    let metrics = |place: &str, option: &str| {
        let script = script
            .replace("lmtp-send --host mailbox.example.net", &format!("{} {option} {place}", program()));
        in_shell(&script);
        fs::read_to_string(home.path().join("lmtp.prom")).unwrap()
    };
    let server = Server::tcp(nobody_asked);
    let name = server.name().to_owned();
    let up = metrics(&name, "--host");
    server.finish();
    assert!(up.starts_with("lmtp_probe_success 1\nlmtp_probe_seconds 0."), "{up}");
    let sealed = Sealed::tcp("implicit", End::Notified, nobody_asked);
    let secured = metrics(&sealed.place[1], "--tls implicit --tls-insecure --host");
    sealed.server.finish();
    assert!(secured.ends_with("\nlmtp_certificate_expiry 67090118400\n"), "{secured}");
    let down = metrics("/nonexistent/socket", "--socket");
    let seconds = down.strip_prefix("lmtp_probe_success 0\nlmtp_probe_seconds ").unwrap();
    assert!(seconds.trim().parse::<f64>().is_ok_and(|seconds| seconds < 5.0), "{down}");
}
