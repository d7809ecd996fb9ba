//! What is to be sent next of messages that were taken in: transactions that are waiting.

use std::collections::VecDeque;

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

    /// The next transaction.
    pub fn pop(&mut self) -> Option<Batch> {
        self.ready.pop_front()
    }

    /// Whether nothing can be sent now.
    pub fn is_empty(&self) -> bool {
        self.ready.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_begun_goes_first_and_in_order() {
        let mut queue = Queue::default();
        queue.push(Batch { mail: 3, recipients: vec![0] });
        queue.push_all_first(&[(1, 4), (1, 5), (2, 0), (1, 6)]);
        let order: Vec<Batch> = std::iter::from_fn(|| queue.pop()).collect();
        let batch = |mail, recipients: &[usize]| Batch { mail, recipients: recipients.to_vec() };
        assert_eq!(order, [batch(1, &[4, 5]), batch(2, &[0]), batch(1, &[6]), batch(3, &[0])]);
    }
}
