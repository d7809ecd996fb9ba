//! One transaction: MAIL, RCPT, DATA, the message and its end.

use super::super::content::Content;
use super::super::wire::{Encoder, Form};
use super::super::{Cause, EnhancedCode, Event, Failure, Fate, Outcome, Reply, Stage, Transport};
use super::{Due, Go, Session, State, Transaction};

/// How much of a message is read and written at a time, in octets.
const BLOCK: usize = 128 * 1024;
/// How many octets of commands are put together before they are written.
const GROUP: usize = 32 * 1024;

impl<T: Transport> Session<T> {
    pub(super) fn try_begin(&mut self, ticket: u64, transaction: &Transaction<'_>) -> Result<(), Failure> {
        self.check_in_step()?;
        self.refuse_unsuited(ticket, transaction);
        if !self.owes(ticket) {
            self.forget_settled();
            return Ok(());
        }
        self.overlapping |= self.due.iter().any(|d| matches!(d, Due::Delivery(..)));
        if self.dirty {
            self.command("RSET", Due::Reset);
            self.in_turn()?;
        }
        self.dirty = true;
        let mail = self.mail_line(transaction);
        self.command(&mail, Due::Mail(ticket));
        self.in_turn()?;
        for (i, recipient) in transaction.recipients.iter().enumerate() {
            if self.flight(ticket).is_some_and(|f| f.recipients.get(i) == Some(&State::Waiting)) {
                self.command(&format!("RCPT TO:<{recipient}>"), Due::Rcpt(ticket, i));
                self.in_turn()?;
            }
        }
        let wanted = self.pipelining() || self.flight(ticket).is_some_and(|f| f.accepted > 0);
        if wanted && !transaction.all_or_nothing {
            self.command("DATA", Due::Data(ticket));
        }
        Ok(())
    }

    /// Octets that nobody asked for, before a command is sent that could take them for its answer.
    fn check_in_step(&mut self) -> Result<(), Failure> {
        if !self.due.is_empty() || self.begun == 1 {
            return Ok(());
        }
        self.take_pending(Stage::Mail)?;
        if !self.reader.has_input() {
            return Ok(());
        }
        let reply = self.reply(Stage::Mail)?;
        let cause = if reply.code() == 421 { Cause::Closing(reply) } else { Cause::OutOfPlace(reply) };
        Err(Failure { stage: Stage::Mail, cause })
    }

    /// Settles the recipients for whom this server will not do.
    fn refuse_unsuited(&mut self, ticket: u64, transaction: &Transaction<'_>) {
        let utf8 = self.extensions.offers("SMTPUTF8");
        let everyone = if let Some(limit) = self.extensions.size_limit().filter(|&l| transaction.octets > l) {
            let text =
                format!("the message has {} octets and the server takes at most {limit}", transaction.octets);
            Some(Reply::new(552, EnhancedCode::new(5, 3, 4), &text))
        } else if !utf8 && (transaction.smtputf8 || !transaction.reverse_path.as_str().is_ascii()) {
            Some(no_smtputf8("the sender's address or --smtputf8 needs"))
        } else {
            None
        };
        for (i, recipient) in transaction.recipients.iter().enumerate() {
            let refusal = everyone.clone().or_else(|| {
                (!utf8 && !recipient.is_ascii()).then(|| no_smtputf8("this recipient's address needs"))
            });
            if let Some(reply) = refusal {
                self.settle(ticket, i, Fate::Known(Outcome::Unsuited(reply)));
            }
        }
    }

    /// MAIL with what the server offers: SIZE (RFC 1870 §6), BODY (RFC 6152 §2), SMTPUTF8 (RFC 6531 §3.4).
    fn mail_line(&self, transaction: &Transaction<'_>) -> String {
        let mut line = format!("MAIL FROM:<{}>", transaction.reverse_path);
        if self.extensions.offers("SIZE") {
            line.push_str(&format!(" SIZE={}", transaction.octets));
        }
        if self.extensions.offers("8BITMIME") {
            line.push_str(" BODY=8BITMIME");
        }
        let needs_utf8 = transaction.smtputf8
            || !transaction.reverse_path.as_str().is_ascii()
            || transaction.recipients.iter().any(|r| !r.is_ascii());
        if needs_utf8 && self.extensions.offers("SMTPUTF8") {
            line.push_str(" SMTPUTF8");
        }
        for parameter in transaction.parameters {
            line.push(' ');
            line.push_str(parameter.as_str());
        }
        line
    }

    /// Without PIPELINING, waits for what the last command is owed; else writes only full groups.
    fn in_turn(&mut self) -> Result<(), Failure> {
        if self.pipelining() {
            return if self.out.len() - self.out_at > GROUP { self.flush() } else { Ok(()) };
        }
        while !self.due.is_empty() {
            self.try_step()?;
        }
        Ok(())
    }

    pub(super) fn try_go(&mut self) -> Result<Go, Failure> {
        let Some(ticket) = self.flights.back().map(|f| f.ticket) else { return Ok(Go::Nothing) };
        self.answers(ticket)?;
        let Some(flight) = self.flight(ticket) else { return Ok(Go::Nothing) };
        if flight.all_or_nothing && !flight.go {
            if flight.unsettled < flight.recipients.len() {
                self.flights.retain(|f| f.ticket != ticket);
                return Ok(Go::Cancelled);
            }
            self.command("DATA", Due::Data(ticket));
            self.answers(ticket)?;
        }
        let Some(flight) = self.flight(ticket) else { return Ok(Go::Nothing) };
        match (flight.go, flight.unsettled) {
            (true, 1..) => Ok(Go::Ahead),
            (true, 0) => {
                self.end_nothing(ticket);
                Ok(Go::Nothing)
            }
            (false, _) => Ok(Go::Nothing),
        }
    }

    /// Waits for the replies to the commands of `ticket`.
    fn answers(&mut self, ticket: u64) -> Result<(), Failure> {
        let owed = |d: &Due| matches!(d, Due::Mail(t) | Due::Rcpt(t, _) | Due::Data(t) if *t == ticket);
        while self.due.iter().any(owed) {
            self.try_step()?;
        }
        Ok(())
    }

    /// DATA was answered 354 though nobody was accepted: a lone dot ends it, no reply is owed for that, and
    /// since some servers send one all the same the session ends. Where MAIL was refused too, a server
    /// could take the dot for a message: the connection is dropped.
    fn end_nothing(&mut self, ticket: u64) {
        let refused = self.flight(ticket).is_none_or(|f| f.refused);
        if !refused {
            self.say(".");
            self.quit();
        }
        self.open = false;
        self.flights.retain(|f| f.ticket != ticket);
    }

    pub(super) fn try_content(&mut self, content: &mut dyn Content) -> Result<(), Failure> {
        let Some(ticket) = self.flights.back().filter(|f| f.go).map(|f| f.ticket) else { return Ok(()) };
        let unreadable =
            |e: std::io::Error| Failure { stage: Stage::Data, cause: Cause::Unreadable(e.to_string()) };
        let counted = content.octets();
        let mut encoder = Encoder::new(Form::Data);
        let mut raw = vec![0; BLOCK.min(usize::try_from(counted).unwrap_or(BLOCK)).max(1)];
        content.rewind().map_err(unreadable)?;
        loop {
            let read = content.read(&mut raw).map_err(unreadable)?;
            if read == 0 {
                break;
            }
            self.write_block()?;
            encoder.encode(raw.get(..read).unwrap_or_default(), &mut self.out);
            if encoder.octets() > counted {
                break;
            }
        }
        encoder.finish(&mut self.out);
        let found = encoder.octets();
        if found != counted {
            return Err(Failure { stage: Stage::Data, cause: Cause::Changed { counted, found } });
        }
        (self.observer)(Event::SentMessage(found));
        self.end_message(ticket)
    }

    /// Writes what has been encoded, listening for a server that answers before the message's end.
    fn write_block(&mut self) -> Result<(), Failure> {
        self.transport.enter(Stage::Data);
        self.flush()
    }

    /// The final dot: from here on the message counts as sent as soon as the dot is handed over.
    fn end_message(&mut self, ticket: u64) -> Result<(), Failure> {
        self.transport.enter(Stage::Data);
        self.take_pending(Stage::Data)?;
        if self.reader.has_input() {
            return Err(self.heard_early(None, Failure { stage: Stage::Data, cause: Cause::Closed }));
        }
        self.say(".");
        let end = self.sent + (self.out.len() - self.out_at) as u64;
        self.dirty = false;
        let Some(flight) = self.flights.iter_mut().find(|f| f.ticket == ticket) else { return Ok(()) };
        flight.end = Some(end);
        self.due.extend(flight.awaiting().map(|i| Due::Delivery(ticket, i)));
        Ok(())
    }
}

fn no_smtputf8(who: &str) -> Reply {
    let text = format!("{who} SMTPUTF8, which the server does not offer");
    Reply::new(553, EnhancedCode::new(5, 6, 7), &text)
}
