//! Sends a message to a program that speaks LMTP on its standard input and output. Any other stream works the same way.
//!
//!     cargo run --example over_a_program                         # to this example itself, as a server
//!     cargo run --example over_a_program you doveadm exec lmtp

#![allow(clippy::print_stdout, reason = "an example shows something")]

mod server;

use std::collections::HashSet;
use std::env;
use std::io::{self, Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use lmtp_send::{Client, Envelope};

/// The two pipes as one stream.
struct Pipes(ChildStdout, ChildStdin);

impl Read for Pipes {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.read(buf)
    }
}

impl Write for Pipes {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.1.write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.1.flush()
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let (recipient, mut command) = match arguments.as_slice() {
        [word] if word == "serve" => return Ok(server::serve(Standard, &mut HashSet::new())?),
        [recipient, program, rest @ ..] => {
            let mut command = Command::new(program);
            command.args(rest);
            (recipient.as_str(), command)
        }
        _ => {
            let mut command = Command::new(env::current_exe()?);
            command.arg("serve");
            ("joe@example.net", command)
        }
    };

    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let envelope = Envelope::parse("<>", recipient)?;
    let outcomes = Client::over(pipes(&mut child)?).send(&envelope, "Subject: hello\n\nHello.\n")?;
    for outcome in outcomes {
        println!("{recipient}: {outcome}");
    }
    println!("the program ended with {}", child.wait()?);
    Ok(())
}

fn pipes(child: &mut Child) -> io::Result<Pipes> {
    let missing = || io::Error::other("no pipe");
    Ok(Pipes(child.stdout.take().ok_or_else(missing)?, child.stdin.take().ok_or_else(missing)?))
}

/// Standard input and output as one stream, for the server's side.
struct Standard;

impl Read for Standard {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        io::stdin().read(buf)
    }
}

impl Write for Standard {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        io::stdout().write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stdout().flush()
    }
}
