//! One transaction: MAIL, RCPT, DATA, the message and its end.

use super::super::content::Content;
use super::super::wire::{Encoder, Form};
use super::super::{
    Cause, EnhancedCode, Outcome, Parameter, Reply, SessionError, Settlement, Stage, TransactionId, Transport,
};
use super::{Body, DataReply, Due, Event, Observer, Session, State, Transaction, Verb};

/// How much of a message is read and written at a time, in octets.
const BLOCK: usize = 128 * 1024;
/// How many octets of the message a chunk holds at most (RFC 3030 §2): few replies, and an early word of refusal.
const CHUNK: u64 = 4 * 1024 * 1024;
/// The octets of a message that goes by BDAT in the flight of its envelope: so many are handed over at once, and
/// the chunk is whole when it turns out to be for nobody. Dovecot 2.3 never lets go of a session that ends in the
/// middle of such a chunk. A longer message waits for the replies to RCPT, which takes little beside sending it.
const PIPELINED_BDAT: u64 = 64 * 1024;
/// How many octets of commands are put together before they are written.
const GROUP: usize = 32 * 1024;

impl<T: Transport, O: Observer> Session<T, O> {
    pub(super) fn try_begin(
        &mut self,
        ticket: TransactionId,
        transaction: &Transaction<'_>,
    ) -> Result<(), SessionError> {
        // While the server waits for a message, whatever else is sent would be taken for it.
        if self.flights.iter().any(|f| f.go && f.end.is_none()) {
            let why = "the message before this one has not been sent".to_owned();
            return Err(SessionError { stage: Stage::Data, cause: Cause::Unreadable(why) });
        }
        self.check_in_step()?;
        self.refuse_unsuited(ticket, transaction);
        if !self.is_pending(ticket) {
            self.forget_settled();
            return Ok(());
        }
        let chunks = self.chunks(transaction);
        let hold = self.flights.back_mut().is_some_and(|flight| {
            flight.chunks = chunks;
            flight.pipelined_bdat = chunks.is_some() && transaction.octets <= PIPELINED_BDAT;
            flight.confirm_envelope
        });
        if hold {
            // What is asked first has to be known for certain.
            while !self.due.is_empty() {
                self.try_read_reply()?;
            }
        }
        self.awaiting_resync |= self.due.iter().any(|d| matches!(d, Due::Delivery(..) | Due::Last(_)));
        self.reset();
        self.in_turn()?;
        self.dirty = true;
        let mail = self.mail_line(transaction);
        self.command(&mail, Due::Mail(ticket));
        self.in_turn()?;
        for (i, recipient) in transaction.recipients.iter().enumerate() {
            if self.flight(ticket).is_some_and(|f| f.recipients.get(i) == Some(&State::Waiting)) {
                let line = with_parameters(format!("RCPT TO:<{recipient}>"), transaction.rcpt);
                self.command(&line, Due::Rcpt(ticket, i));
                self.flights.back_mut().into_iter().for_each(|f| f.asked += 1);
                self.in_turn()?;
            }
        }
        let wanted = self.pipelining() || self.flight(ticket).is_some_and(|f| f.first_accepted.is_some());
        if wanted && !hold && chunks.is_none() {
            self.command("DATA", Due::Data(ticket));
        }
        Ok(())
    }

    /// Octets that nobody asked for, before a command is sent that could take them for its answer.
    fn check_in_step(&mut self) -> Result<(), SessionError> {
        if !self.due.is_empty() || self.begun == 1 {
            return Ok(());
        }
        self.take_pending(Stage::Mail)?;
        if !self.reader.has_input() {
            return Ok(());
        }
        let reply = self.reply(Stage::Mail)?;
        let cause = if reply.code() == 421 { Cause::Closing(reply) } else { Cause::OutOfPlace(reply) };
        Err(SessionError { stage: Stage::Mail, cause })
    }

    /// Settles the recipients for whom this server will not do.
    fn refuse_unsuited(&mut self, ticket: TransactionId, transaction: &Transaction<'_>) {
        let utf8 = self.extensions.offers("SMTPUTF8");
        let everyone = if let Some(limit) = self.extensions.size_limit().filter(|&l| transaction.octets > l) {
            let text =
                format!("the message has {} octets and the server takes at most {limit}", transaction.octets);
            Some(Reply::new(552, EnhancedCode::new(5, 3, 4), &text))
        } else if transaction.body == Body::Binary && !self.takes_binary() {
            let text = "the message is binary, and the server does not offer BINARYMIME and CHUNKING";
            Some(Reply::new(554, EnhancedCode::new(5, 6, 1), text))
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
                self.settle(ticket, i, Settlement::Known(Outcome::Unsuited(reply)));
            }
        }
    }

    fn takes_binary(&self) -> bool {
        self.extensions.offers("BINARYMIME") && self.extensions.offers("CHUNKING")
    }

    /// MAIL with what the server offers: SIZE (RFC 1870 §6), BODY (RFC 6152 §2), SMTPUTF8 (RFC 6531 §3.4).
    fn mail_line(&self, transaction: &Transaction<'_>) -> String {
        let verb = match transaction.verb {
            Verb::Mail => "MAIL",
            Verb::Send => "SEND",
            Verb::Soml => "SOML",
            Verb::Saml => "SAML",
        };
        let mut line = format!("{verb} FROM:<{}>", transaction.reverse_path);
        if self.extensions.offers("SIZE") {
            line.push_str(&format!(" SIZE={}", transaction.octets));
        }
        match transaction.body {
            Body::Binary => line.push_str(" BODY=BINARYMIME"),
            Body::EightBit if self.extensions.offers("8BITMIME") => line.push_str(" BODY=8BITMIME"),
            Body::SevenBit if self.extensions.offers("8BITMIME") => line.push_str(" BODY=7BIT"),
            Body::EightBit | Body::SevenBit => {}
        }
        let needs_utf8 = transaction.smtputf8
            || !transaction.reverse_path.as_str().is_ascii()
            || transaction.recipients.iter().any(|r| !r.is_ascii());
        if needs_utf8 && self.extensions.offers("SMTPUTF8") {
            line.push_str(" SMTPUTF8");
        }
        with_parameters(line, transaction.mail)
    }

    /// Whether, and in which form, the message goes by BDAT: where it must, and where that saves a turn. It
    /// saves none behind a message whose replies are owed, and 354 marks the place there.
    fn chunks(&self, transaction: &Transaction<'_>) -> Option<Form> {
        let quiet = self.due.is_empty()
            && !self.awaiting_resync
            && !transaction.confirm_envelope
            && !transaction.all_or_nothing;
        match transaction.body {
            Body::Binary => Some(Form::Binary),
            Body::EightBit | Body::SevenBit => {
                (transaction.chunking && quiet && self.extensions.offers("CHUNKING")).then_some(Form::Bdat)
            }
        }
    }

    /// Without PIPELINING, waits for what the last command is owed; else writes only full groups.
    fn in_turn(&mut self) -> Result<(), SessionError> {
        if self.pipelining() {
            return if self.out.len() - self.out_at > GROUP { self.flush() } else { Ok(()) };
        }
        while !self.due.is_empty() {
            self.try_read_reply()?;
        }
        Ok(())
    }

    pub(super) fn try_await_data_reply(&mut self) -> Result<DataReply, SessionError> {
        let Some(ticket) = self.flights.back().map(|f| f.ticket) else { return Ok(DataReply::Nothing) };
        let Some(flight) = self.flight(ticket) else { return Ok(DataReply::Nothing) };
        let (hold, chunked) = (flight.confirm_envelope, flight.chunks.is_some());
        if !flight.pipelined_bdat || hold {
            self.answers(ticket)?;
        }
        let Some(flight) = self.flights.iter_mut().find(|f| f.ticket == ticket) else {
            return Ok(DataReply::Nothing);
        };
        if flight.all_or_nothing && flight.unsettled < flight.recipients.len() {
            self.flights.retain(|f| f.ticket != ticket);
            self.reset();
            return Ok(DataReply::Cancelled);
        }
        flight.go |= chunked && flight.unsettled > 0;
        if hold && !chunked && flight.unsettled > 0 {
            self.command("DATA", Due::Data(ticket));
            self.answers(ticket)?;
        }
        let Some(flight) = self.flight(ticket) else { return Ok(DataReply::Nothing) };
        if hold && flight.unsettled == 0 {
            self.reset();
            return Ok(DataReply::Nothing);
        }
        Ok(if flight.go && flight.unsettled > 0 { DataReply::GoAhead } else { DataReply::Nothing })
    }

    /// The server is to forget what was begun.
    fn reset(&mut self) {
        if std::mem::take(&mut self.dirty) {
            self.command("RSET", Due::Reset);
        }
    }

    /// Waits for the replies to the commands of `ticket`.
    fn answers(&mut self, ticket: TransactionId) -> Result<(), SessionError> {
        let owed = |d: &Due| matches!(d, Due::Mail(t) | Due::Rcpt(t, _) | Due::Data(t) if *t == ticket);
        while self.due.iter().rev().any(owed) {
            self.try_read_reply()?;
        }
        Ok(())
    }

    pub(super) fn try_may_follow(&mut self) -> Result<bool, SessionError> {
        if !self.pipelining() || !self.takes_another() {
            return Ok(false);
        }
        let Some(flight) = self.flights.back() else { return Ok(false) };
        let (ticket, chunked) = (flight.ticket, flight.chunks.is_some());
        // What is held, or can only go in chunks, has no mark to be told from what stands before it.
        if flight.confirm_envelope || flight.chunks == Some(Form::Binary) {
            return Ok(false);
        }
        if chunked {
            self.answers(ticket)?;
        }
        let accepted = self.flight(ticket).is_some_and(|f| f.first_accepted.is_some());
        Ok(self.takes_another() && (!chunked || accepted))
    }

    /// DATA was answered 354 though nobody was accepted: a lone dot ends it, no reply is owed for that, and
    /// since some servers send one all the same the session ends. Where MAIL was refused too, a server
    /// could take the dot for a message: the connection is dropped.
    pub(super) fn end_nothing(&mut self, ticket: TransactionId) {
        let refused = self.flight(ticket).is_none_or(|f| f.refused);
        self.flights.retain(|f| f.ticket != ticket);
        if !refused {
            self.say(".");
            self.quit();
        }
        self.open = false;
    }

    pub(super) fn try_send_message(&mut self, content: &mut dyn Content) -> Result<(), SessionError> {
        let Some(ticket) = self.flights.back().filter(|f| f.go).map(|f| f.ticket) else { return Ok(()) };
        let chunks = self.flight(ticket).and_then(|f| f.chunks);
        // What is in its wire form already needs no encoder, which would only look for what to change.
        let as_it_is = chunks == Some(Form::Binary) || (chunks.is_some() && content.is_wire_form());
        let form = if as_it_is { Form::Binary } else { chunks.unwrap_or(Form::Data) };
        let counted = if as_it_is { content.raw_octets() } else { content.octets() };
        let mut sending = Sending { ticket, chunked: chunks.is_some(), counted, announced: 0, timed: 0 };
        let mut encoder = Encoder::new(form);
        let mut raw = vec![0; BLOCK.min(usize::try_from(counted).unwrap_or(BLOCK)).max(1)];
        content.rewind().map_err(unreadable)?;
        let mut from_file = as_it_is && self.transport.sends_files();
        loop {
            if !self.is_pending(ticket) || self.flight(ticket).is_none_or(|f| f.all_refused()) {
                return self.abandon();
            }
            let done = encoder.octets();
            self.observer.observe(Event::Sending { octets: done, of: counted });
            // The last octets are read, and sent when they are known to be the last.
            if from_file && counted - done > BLOCK as u64 {
                let sent = self.send_from_file(&mut sending, content, done)?;
                from_file = sent.is_some();
                encoder.pass(sent.unwrap_or(0));
                continue;
            }
            let read = content.read(&mut raw).map_err(unreadable)?;
            if read == 0 {
                break;
            }
            // A message that goes on beyond what was counted would end in its middle for the server.
            if done >= counted {
                return Err(changed(counted, counted + 1));
            }
            if self.out.len() - self.out_at > GROUP {
                self.write_block()?;
            }
            let place = self.out.len();
            encoder.encode(raw.get(..read).unwrap_or_default(), &mut self.out);
            self.head_chunk(&mut sending, (place, done), encoder.octets());
            if encoder.octets() > counted {
                break;
            }
        }
        let (place, done) = (self.out.len(), encoder.octets());
        encoder.finish(&mut self.out);
        let found = encoder.octets();
        self.head_chunk(&mut sending, (place, done), found);
        if found != counted {
            return Err(changed(counted, found));
        }
        self.observer.observe(Event::SentMessage(found));
        self.end_message(ticket)
    }

    /// Sends the message's octets from `done` on, as many as are taken and not the last ones, from the file in
    /// which they stand; how many. `None`: that cannot be done, they have to be read.
    fn send_from_file(
        &mut self,
        sending: &mut Sending,
        content: &mut dyn Content,
        done: u64,
    ) -> Result<Option<u64>, SessionError> {
        self.head_chunk(sending, (self.out.len(), done), done + 1);
        // A block has the time of one, however many pieces it goes in.
        if done >= sending.timed {
            sending.timed = done + BLOCK as u64;
            self.transport.enter(Stage::Data);
        }
        self.flush()?;
        let room = (sending.announced - done).min(sending.counted - done - BLOCK as u64);
        let Some(mut stretch) = content.in_file() else { return Ok(None) };
        stretch.octets.end = stretch.octets.end.min(stretch.octets.start + room);
        let written = self.exchange_and_take(Some(&stretch))?.map(|octets| octets as u64);
        content.pass(written.unwrap_or(0));
        Ok(written)
    }

    /// Puts BDAT before the octets that begin a chunk, if any of those between `before` and `after` does:
    /// `before` is a place in `out` and the octet of the message that stands there.
    fn head_chunk(&mut self, sending: &mut Sending, before: (usize, u64), after: u64) {
        let (place, from) = before;
        let Sending { ticket, chunked, counted, announced: begins, .. } = *sending;
        if !chunked || begins >= after || begins >= counted {
            return;
        }
        // Without PIPELINING, the next chunk would have to wait for the reply to this one.
        let size = if self.pipelining() { CHUNK } else { counted };
        let octets = size.min(counted - begins);
        let last = begins + octets == counted;
        let line = format!("BDAT {octets}{}", if last { " LAST" } else { "" });
        self.observer.observe(Event::Sent(&line));
        let place = place + usize::try_from(begins - from).unwrap_or(0);
        self.out.splice(place..place, line.bytes().chain(*b"\r\n"));
        self.due.push_back(if last { Due::Last(ticket) } else { Due::Chunk(ticket) });
        sending.announced += octets;
    }

    /// Nobody is left to receive the message that is being sent: the server is spared the rest.
    fn abandon(&mut self) -> Result<(), SessionError> {
        self.release();
        self.open = false;
        self.discard_output();
        self.due.clear();
        Ok(())
    }

    /// Writes what has been encoded, listening for a server that answers before the message's end.
    fn write_block(&mut self) -> Result<(), SessionError> {
        self.transport.enter(Stage::Data);
        self.flush()
    }

    /// The final dot: from here on the message counts as sent as soon as the dot is handed over.
    fn end_message(&mut self, ticket: TransactionId) -> Result<(), SessionError> {
        let chunked = self.flight(ticket).is_some_and(|f| f.chunks.is_some());
        if !chunked {
            self.transport.enter(Stage::Data);
            self.take_pending(Stage::Data)?;
            if self.reader.has_input() {
                return Err(self.heard_early(None, SessionError { stage: Stage::Data, cause: Cause::Closed }));
            }
            self.say(".");
        }
        let end = self.sent + (self.out.len() - self.out_at) as u64;
        self.dirty = false;
        let Some(flight) = self.flights.iter_mut().find(|f| f.ticket == ticket) else { return Ok(()) };
        flight.end = Some(end);
        if !chunked {
            self.due.push_back(Due::Last(ticket));
        }
        Ok(())
    }
}

/// A message on its way.
struct Sending {
    ticket: TransactionId,
    /// By BDAT.
    chunked: bool,
    /// The octets that it has to have.
    counted: u64,
    /// Those of them that BDAT has announced so far.
    announced: u64,
    /// The time limit that runs is for the octets before this one.
    timed: u64,
}

fn unreadable(error: std::io::Error) -> SessionError {
    SessionError { stage: Stage::Data, cause: Cause::Unreadable(error.to_string()) }
}

fn changed(counted: u64, found: u64) -> SessionError {
    SessionError { stage: Stage::Data, cause: Cause::Changed { counted, found } }
}

fn with_parameters(mut line: String, parameters: &[Parameter]) -> String {
    for parameter in parameters {
        line.push(' ');
        line.push_str(parameter.as_str());
    }
    line
}

fn no_smtputf8(who: &str) -> Reply {
    let text = format!("{who} SMTPUTF8, which the server does not offer");
    Reply::new(553, EnhancedCode::new(5, 6, 7), &text)
}
