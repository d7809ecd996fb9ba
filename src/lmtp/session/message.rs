//! The message, by DATA or in chunks, and its end.

use std::mem;

use super::super::content::Content;
use super::super::wire::{Encoder, Form};
use super::super::{Cause, SessionError, Stage, TransactionId, Transport};
use super::envelope::GROUP;
use super::transaction_state::{Phase, TransactionState, Transfer};
use super::{Due, Event, Observer, Session, command};
use crate::block::Block;
use crate::io_error::words;

/// How much of a message is read and written at a time, in octets.
const BLOCK: usize = 128 * 1024;
/// How many octets a message has at most that is encoded before the server waits for it.
const AHEAD: u64 = 64 * 1024;
/// How many octets of the message a chunk holds at most (RFC 3030 §2): few replies, and an early word of refusal.
const CHUNK: u64 = 4 * 1024 * 1024;

impl<T: Transport, O: Observer> Session<T, O> {
    /// Encodes a short message that goes by DATA, for when the server waits for it. Where that fails it is left to be
    /// read, and what is wrong told, in its turn.
    pub(super) fn encode_ahead(&mut self, content: &mut dyn Content) {
        let last =
            self.transactions.back().filter(|t| t.phase == Phase::Envelope && t.transfer == Transfer::Data);
        let Some(id) = last.filter(|_| content.octets() <= AHEAD).map(|t| t.id) else { return };
        let Encoded { mut wire, .. } = mem::take(&mut self.link.encoded);
        let mut raw = self.block(content.octets());
        wire.clear();
        if let Some(octets) = encode(content, &mut raw, &mut wire) {
            self.link.encoded = Encoded { of: Some(id), octets, wire };
        }
        self.link.block = raw;
    }

    /// `false`: it was not sent to its end, since nobody was left to receive it.
    pub(super) fn try_send_message(
        &mut self,
        id: TransactionId,
        content: &mut dyn Content,
    ) -> Result<bool, SessionError> {
        if self.link.encoded.of.take_if(|of| *of == id).is_some() {
            self.send_encoded(id, content.octets())
        } else {
            self.send_as_it_is_read(id, content)
        }
    }

    fn send_as_it_is_read(
        &mut self,
        id: TransactionId,
        content: &mut dyn Content,
    ) -> Result<bool, SessionError> {
        let chunks = match self.progress(id).map(|t| t.transfer) {
            Some(Transfer::Chunks { form, .. }) => Some(form),
            Some(Transfer::Data) | None => None,
        };
        // What is in its wire form already needs no encoder, which would only look for what to change.
        let as_it_is = chunks == Some(Form::Binary) || (chunks.is_some() && content.is_wire_form());
        let form = if as_it_is { Form::Binary } else { chunks.unwrap_or(Form::Data) };
        let counted = if as_it_is { content.raw_octets() } else { content.octets() };
        let mut sending = Sending { id, chunked: chunks.is_some(), counted, announced: 0, timed: 0 };
        let mut encoder = Encoder::new(form);
        let mut raw = self.block(counted);
        content.rewind().map_err(unreadable)?;
        let mut from_file = as_it_is && self.link.transport.sends_files();
        loop {
            if !self.is_pending(id) || self.progress(id).is_none_or(TransactionState::all_refused) {
                self.abandon();
                return Ok(false);
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
            let read = content.read(raw.room()).map_err(unreadable)?;
            if read == 0 {
                break;
            }
            // A message that goes on beyond what was counted would end in its middle for the server.
            if done >= counted {
                return Err(changed(counted, counted + 1));
            }
            if self.link.queued() > GROUP {
                self.write_block()?;
            }
            let place = self.link.out.len();
            encoder.encode(raw.first(read), &mut self.link.out);
            self.head_chunk(&mut sending, (place, done), encoder.octets());
            if encoder.octets() > counted {
                break;
            }
        }
        let (place, done) = (self.link.out.len(), encoder.octets());
        encoder.finish(&mut self.link.out);
        let found = encoder.octets();
        self.head_chunk(&mut sending, (place, done), found);
        if found != counted {
            return Err(changed(counted, found));
        }
        self.link.block = raw;
        self.observer.observe(Event::SentMessage(found));
        self.end_message(id, sending.chunked).map(|()| true)
    }

    /// As [`try_send_message`](Self::try_send_message), where the message is at hand as it is sent.
    fn send_encoded(&mut self, id: TransactionId, counted: u64) -> Result<bool, SessionError> {
        if !self.is_pending(id) || self.progress(id).is_none_or(TransactionState::all_refused) {
            self.abandon();
            return Ok(false);
        }
        self.observer.observe(Event::Sending { octets: 0, of: counted });
        let Encoded { octets, wire, .. } = &self.link.encoded;
        let found = *octets;
        self.link.out.extend_from_slice(wire);
        if found != counted {
            return Err(changed(counted, found));
        }
        self.observer.observe(Event::SentMessage(found));
        self.end_message(id, false).map(|()| true)
    }

    /// Room for what is read at a time of a message of `octets`: to be given back.
    fn block(&mut self, octets: u64) -> Block {
        let room = BLOCK.min(usize::try_from(octets).unwrap_or(BLOCK)).max(1);
        let block = mem::take(&mut self.link.block);
        if block.len() < room { Block::new(room) } else { block }
    }

    /// Sends the message's octets from `done` on, as many as are taken and not the last ones, from the file in
    /// which they stand; how many. `None`: that cannot be done, they have to be read.
    fn send_from_file(
        &mut self,
        sending: &mut Sending,
        content: &mut dyn Content,
        done: u64,
    ) -> Result<Option<u64>, SessionError> {
        self.head_chunk(sending, (self.link.out.len(), done), done + 1);
        // A block has the time of one, however many pieces it goes in.
        if done >= sending.timed {
            sending.timed = done + BLOCK as u64;
            self.link.transport.enter(Stage::Data);
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
        let Sending { id, chunked, counted, announced: begins, .. } = *sending;
        if !chunked || begins >= after || begins >= counted {
            return;
        }
        // Without PIPELINING, the next chunk would have to wait for the reply to this one.
        let size = if self.pipelining() { CHUNK } else { counted };
        let octets = size.min(counted - begins);
        let last = begins + octets == counted;
        let line = command::bdat(octets, last);
        self.observer.observe(Event::Sent(&line));
        let place = place + usize::try_from(begins - from).unwrap_or(0);
        self.link.out.splice(place..place, line.bytes().chain(*b"\r\n"));
        self.owed.push(if last { Due::Last(id) } else { Due::Chunk(id) });
        sending.announced += octets;
    }

    /// Writes what has been encoded, listening for a server that answers before the message's end.
    fn write_block(&mut self) -> Result<(), SessionError> {
        self.link.transport.enter(Stage::Data);
        self.flush()
    }

    /// The final dot: from here on the message counts as sent as soon as the dot is handed over.
    fn end_message(&mut self, id: TransactionId, chunked: bool) -> Result<(), SessionError> {
        if !chunked {
            self.link.transport.enter(Stage::Data);
            self.link.take_pending(Stage::Data)?;
            if self.link.reader.has_input() {
                return Err(self.heard_early(None, SessionError { stage: Stage::Data, cause: Cause::Closed }));
            }
            self.say(".");
            self.owed.push(Due::Last(id));
        }
        let end = self.link.end();
        (self.needs_reset, self.has_carried) = (false, true);
        self.progress_mut(id).into_iter().for_each(|t| t.phase = Phase::Delivery { end });
        Ok(())
    }
}

/// A message that was encoded before the server waited for it.
#[derive(Default)]
pub(super) struct Encoded {
    /// The transaction that it is for; `None`: there is none.
    of: Option<TransactionId>,
    /// Its octets as they are counted.
    octets: u64,
    /// As it is sent by DATA.
    wire: Vec<u8>,
}

/// Appends all of `content` to `wire`, as it is sent by DATA; returns its octets as they are counted. `None`: it cannot be
/// read, or is longer than was counted.
fn encode(content: &mut dyn Content, raw: &mut Block, wire: &mut Vec<u8>) -> Option<u64> {
    let mut encoder = Encoder::new(Form::Data);
    content.rewind().ok()?;
    while let read @ 1.. = content.read(raw.room()).ok()? {
        encoder.encode(raw.first(read), wire);
        if encoder.octets() > content.octets() {
            return None;
        }
    }
    encoder.finish(wire);
    Some(encoder.octets())
}

/// A message on its way.
struct Sending {
    id: TransactionId,
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
    SessionError { stage: Stage::Data, cause: Cause::Unreadable(words(&error)) }
}

fn changed(counted: u64, found: u64) -> SessionError {
    SessionError { stage: Stage::Data, cause: Cause::Changed { counted, found } }
}
