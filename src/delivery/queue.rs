//! What is to be sent next of messages that were taken in: transactions that are waiting, some for a later time.

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

/// More messages that wait to be tried again than these, and no new ones are taken in.
const MANY: usize = 1000;

/// A message for some of its recipients: one transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// The message's number.
    pub mail: usize,
    /// The places of the recipients in the message's list.
    pub recipients: Vec<usize>,
}

/// Transactions that are waiting.
#[derive(Debug, Default)]
pub struct Queue {
    ready: VecDeque<Batch>,
    /// By the time before which they are not sent, and the message.
    later: BTreeMap<(Instant, usize), Vec<usize>>,
}

impl Queue {
    /// Another message's turn comes behind those that are waiting.
    pub fn push(&mut self, batch: Batch) {
        self.ready.push_back(batch);
    }

    /// What is left of a message that was begun goes before other messages.
    pub fn push_first(&mut self, batch: Batch) {
        self.ready.push_front(batch);
    }

    /// The same for `recipients`, each with its message: those of one message that stand together are one batch.
    pub fn push_all_first(&mut self, recipients: &[(usize, usize)]) {
        for same in recipients.chunk_by(|a, b| a.0 == b.0).rev() {
            let Some(&(mail, _)) = same.first() else { continue };
            self.push_first(Batch {
                mail,
                recipients: same.iter().map(|(_, recipient)| *recipient).collect(),
            });
        }
    }

    /// A recipient is not sent to before `at`, or when others of the same message are.
    pub fn push_later(&mut self, mail: usize, recipient: usize, at: Instant) {
        let at = self.later.keys().find(|(_, other)| *other == mail).map_or(at, |(at, _)| *at);
        let recipients = self.later.entry((at, mail)).or_default();
        if let Err(place) = recipients.binary_search(&recipient) {
            recipients.insert(place, recipient);
        }
    }

    /// The next transaction that may be sent at `now`.
    pub fn pop(&mut self, now: impl FnOnce() -> Instant) -> Option<Batch> {
        self.ready.pop_front().or_else(|| {
            let due = self.later.first_entry()?;
            let (at, mail) = *due.key();
            (at <= now()).then(|| Batch { mail, recipients: due.remove() })
        })
    }

    /// The next transaction that waits for its time, whatever that is.
    pub fn pop_later(&mut self) -> Option<Batch> {
        self.later.pop_first().map(|((_, mail), recipients)| Batch { mail, recipients })
    }

    /// When the first that waits for its time may be sent.
    pub fn next_due(&self) -> Option<Instant> {
        self.later.first_key_value().map(|((at, _), _)| *at)
    }

    /// Whether nothing can be sent now.
    pub fn is_empty(&self) -> bool {
        self.ready.is_empty()
    }

    /// Whether so many wait for their time that no new message is to be taken in.
    pub fn is_full(&self) -> bool {
        self.later.len() >= MANY
    }

    /// A recipient that waits for its time waits no longer.
    pub fn withdraw(&mut self, mail: usize, recipient: usize) {
        let Some((key, recipients)) = self.later.iter_mut().find(|((_, other), _)| *other == mail) else {
            return;
        };
        let key = *key;
        if let Ok(place) = recipients.binary_search(&recipient) {
            recipients.remove(place);
        }
        if recipients.is_empty() {
            self.later.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn batch(mail: usize, recipients: &[usize]) -> Batch {
        Batch { mail, recipients: recipients.to_vec() }
    }

    #[test]
    fn what_was_begun_goes_first_and_in_order() {
        let mut queue = Queue::default();
        queue.push(batch(3, &[0]));
        queue.push_all_first(&[(1, 4), (1, 5), (2, 0), (1, 6)]);
        let order: Vec<Batch> = std::iter::from_fn(|| queue.pop(Instant::now)).collect();
        assert_eq!(order, [batch(1, &[4, 5]), batch(2, &[0]), batch(1, &[6]), batch(3, &[0])]);
    }

    #[test]
    fn what_is_for_later_waits_and_goes_together() {
        let mut queue = Queue::default();
        let start = Instant::now();
        let at = |secs| start + Duration::from_secs(secs);
        queue.push_later(1, 7, at(5));
        queue.push_later(2, 0, at(3));
        queue.push_later(1, 2, at(9));
        queue.push_later(3, 0, at(4));
        queue.push_later(1, 3, at(4));
        queue.push_later(1, 2, at(4));
        [(1, 3), (3, 0), (3, 1), (4, 0)].iter().for_each(|(mail, i)| queue.withdraw(*mail, *i));
        assert!(queue.is_empty());
        assert_eq!(queue.pop(|| at(2)), None);
        assert_eq!(queue.next_due(), Some(at(3)));
        assert_eq!(queue.pop(|| at(5)), Some(batch(2, &[0])));
        assert_eq!(queue.pop(|| at(5)), Some(batch(1, &[2, 7])));
        assert_eq!((queue.pop(|| at(9)), queue.next_due()), (None, None));
    }
}
