//! The texts of `-h` and `--help`, both for 80 columns.

/// The widest line, in characters.
const WIDTH: usize = 80;

/// How the program is called.
pub const USAGE: &str = "\
lmtp-send [OPTIONS] {--host HOST | --socket PATH | --exec COMMAND |
                 --sink DIR} [FILE]...";

/// What `-h` prints.
pub const SHORT: &str = "\
Delivers mail by LMTP and reports the outcome for each recipient

  lmtp-send --sink inbox -t postmaster message.eml
  lmtp-send -S /run/dovecot/lmtp -f me@example.org -t joe -t ann < message.eml
  lmtp-send -H mailbox.example.net:24 --report json message.eml

Usage: lmtp-send [OPTIONS] {--host HOST | --socket PATH | --exec COMMAND |
                 --sink DIR} [FILE]...

  -H, --host HOST[:PORT]  connect by TCP; several hosts are tried in order
  -S, --socket PATH       connect to a Unix-domain socket
  -e, --exec COMMAND      run COMMAND and speak LMTP with it
      --sink DIR          deliver to Maildirs in DIR, for testing
  -f, --from ADDR         sender [default: from the headers]
  -t, --to ADDR           recipient; repeatable [default: from the headers]
      --tls MODE          off, opportunistic, starttls or implicit
  -u, --user NAME         authenticate; --password-file FILE has the password
      --timeout SECS      for the connection and each reply [default: 120]
      --report text|json  report the outcome for each recipient
      --probe             show what the server offers; deliver nothing
      --config FILE       read settings from FILE; see also --show-config
  -v, -vv, -q             print a line for each recipient; the dialogue; nothing

Exit codes: 0 delivered, 64 usage error, 75 try again; others: do not retry.
All options: lmtp-send --help. The manual: man lmtp-send.
";

/// `help`, with the lines that are too long broken: what goes on stands below what it continues.
#[must_use]
pub fn wrapped(help: &str) -> String {
    help.lines().map(|line| wrapped_line(line) + "\n").collect()
}

fn wrapped_line(line: &str) -> String {
    let indent = description(line);
    let (mut lines, mut rest) = (Vec::new(), line.to_owned());
    while rest.chars().count() > WIDTH {
        let most: usize = rest.chars().take(WIDTH + 1).map(char::len_utf8).sum();
        let text = rest.get(indent..most).unwrap_or_default();
        let Some(at) = text.rfind(' ').filter(|at| *at > 0).map(|at| indent + at) else { break };
        let next = format!("{}{}", " ".repeat(indent), rest.get(at + 1..).unwrap_or_default());
        rest.truncate(at);
        lines.push(rest);
        rest = next;
    }
    lines.push(rest);
    lines.join("\n")
}

/// Where the description of an option begins: behind the first two blanks in a row that follow its name.
fn description(line: &str) -> usize {
    let start = line.len() - line.trim_start().len();
    let name = line.get(start..).unwrap_or_default();
    let Some(gap) = name.find("  ").filter(|_| name.starts_with(['-', '[', '<'])) else { return start };
    let behind = name.get(gap..).unwrap_or_default();
    start + gap + behind.len() - behind.trim_start().len()
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::super::Args;
    use super::super::settings::SCHEMA;
    use super::*;

    #[test]
    fn the_short_help_is_a_page_of_a_terminal() {
        assert!(SHORT.lines().count() <= 30, "{}", SHORT.lines().count());
        assert!(SHORT.lines().all(|line| line.len() <= 80), "{SHORT}");
        assert!(SHORT.contains(&format!("Usage: {USAGE}")));
        for word in SHORT.split([' ', '\n']).filter_map(|word| word.strip_prefix("--")) {
            let option = word.trim_matches(|c: char| !c.is_ascii_alphanumeric());
            assert!(option == "help" || SCHEMA.option(option).is_some(), "{option}");
        }
    }

    #[test]
    fn the_long_help_is_complete_and_fits() {
        let help = wrapped(&Args::command().render_long_help().to_string());
        for line in help.lines() {
            assert!(line.chars().count() <= 80, "{line}");
        }
        for definition in SCHEMA.options {
            assert!(help.contains(&format!("--{}", definition.long)), "{}", definition.long);
        }
    }

    #[test]
    fn a_long_line_goes_on_below_its_description() {
        let words = |count: usize| vec!["word"; count].join(" ");
        let line = format!("  -x, --xxxx <A>  {}", words(14));
        let expected = format!("  -x, --xxxx <A>  {}\n                  {}", words(12), words(2));
        assert_eq!(wrapped_line(&line), expected);
        assert_eq!(wrapped_line("short"), "short");
    }
}
