//! From the greeting to the first transaction.

use super::super::{Cause, Extensions, Failure, Reply, Stage, Transport};
use super::Session;

impl<T: Transport> Session<T> {
    pub(super) fn greet(&mut self) -> Result<Reply, Failure> {
        let reply = self.reply(Stage::Greeting)?;
        match reply.code() {
            220 => Ok(reply),
            _ => Err(Failure { stage: Stage::Greeting, cause: Cause::NotWelcome(reply) }),
        }
    }

    pub(super) fn lhlo(&mut self, name: &str) -> Result<(), Failure> {
        self.say(&format!("LHLO {name}"));
        let reply = self.reply(Stage::Lhlo)?;
        if reply.is_positive() {
            self.extensions = Extensions::parse(&reply);
            return Ok(());
        }
        let cause = if reply.code() == 421 {
            Cause::Closing(reply)
        } else {
            let smtp = self.greeting.text().to_ascii_uppercase().contains("SMTP");
            Cause::NotLmtp { reply, smtp }
        };
        Err(Failure { stage: Stage::Lhlo, cause })
    }
}
