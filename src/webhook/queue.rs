//! Which message of an endpoint is sent next: the order, and what waits for another attempt. Knows neither the database
//! nor the network.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::time::Instant;

use super::endpoint::Order;
use super::message::{Cursor, Message};

/// Messages of one endpoint, from being read to being done with.
pub struct Queue {
    order: Order,
    /// Read and not looked at yet, in the order of the log.
    fresh: VecDeque<Message>,
    /// Those that wait for their time, or for others.
    waiting: BTreeMap<i64, Message>,
    /// Of those, the ones that wait for nothing but their time.
    due: BTreeSet<(Instant, i64)>,
    /// By key: those that wait for one that is under way or due, in order.
    behind: HashMap<String, VecDeque<i64>>,
    /// Messages that were taken and are not in the delivery log, under way or waiting: where the endpoint stood before.
    unrecorded: BTreeMap<i64, Cursor>,
    /// The last probe was to be one that waits, the next is to be one of the log.
    probed_waiting: bool,
}

impl Queue {
    pub fn new(order: Order) -> Self {
        Self {
            order,
            fresh: VecDeque::new(),
            waiting: BTreeMap::new(),
            due: BTreeSet::new(),
            behind: HashMap::new(),
            unrecorded: BTreeMap::new(),
            probed_waiting: false,
        }
    }

    pub fn order(&self) -> Order {
        self.order
    }

    /// Messages that are read and not sent.
    pub fn fresh(&self) -> usize {
        self.fresh.len()
    }

    /// Messages that were taken and wait.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    pub fn holds(&self, sequence: i64) -> bool {
        self.waiting.contains_key(&sequence)
    }

    /// Adds what was read from the log.
    pub fn push(&mut self, message: Message) {
        self.fresh.push_back(message);
    }

    /// Adds what waits in the delivery log, in the order of sequences, before anything is taken.
    pub fn restore(&mut self, message: Message, due: Instant) {
        self.enter(message, due);
    }

    /// Forgets what is read and not taken. Where the endpoint stands then, if that changes anything.
    pub fn rewind(&mut self) -> Option<Cursor> {
        let first = self.fresh.front().map(|message| message.before);
        self.fresh.clear();
        first
    }

    /// Where the endpoint stands: all before has been recorded. `read`: what has been read.
    pub fn cursor(&self, read: Cursor) -> Cursor {
        let unrecorded = self.unrecorded.first_key_value().map(|(_, before)| *before);
        unrecorded.or_else(|| self.fresh.front().map(|message| message.before)).unwrap_or(read)
    }

    /// The next one to send; of those that can be sent, the one that is longest due, or else the next of the log.
    pub fn take(&mut self, now: Instant, most_waiting: usize) -> Option<Message> {
        if let Some((at, sequence)) = self.due.first().copied().filter(|(at, _)| *at <= now) {
            self.due.remove(&(at, sequence));
            return self.waiting.remove(&sequence);
        }
        self.next_of_log(most_waiting)
    }

    fn next_of_log(&mut self, most_waiting: usize) -> Option<Message> {
        loop {
            let blocked = self.key(self.fresh.front()?).is_some_and(|key| self.behind.contains_key(&key));
            if blocked && (self.order == Order::Fifo || self.waiting.len() >= most_waiting) {
                return None;
            }
            let message = self.fresh.pop_front()?;
            self.unrecorded.insert(message.sequence, message.before);
            match self.key(&message) {
                Some(key) if blocked => {
                    self.behind.entry(key).or_default().push_back(message.sequence);
                    self.waiting.insert(message.sequence, message);
                }
                Some(key) => {
                    self.behind.insert(key, VecDeque::new());
                    return Some(message);
                }
                None => return Some(message),
            }
        }
    }

    /// One to try an endpoint with that took nothing: by turns the one that is due first, though it may not be yet, and
    /// the next of the log, since it may be one message alone that is never taken.
    pub fn probe(&mut self, most_waiting: usize) -> Option<Message> {
        self.probed_waiting = !self.probed_waiting;
        match self.probed_waiting {
            true => self.soonest().or_else(|| self.next_of_log(most_waiting)),
            false => self.next_of_log(most_waiting).or_else(|| self.soonest()),
        }
    }

    fn soonest(&mut self) -> Option<Message> {
        let (_, sequence) = self.due.pop_first()?;
        self.waiting.remove(&sequence)
    }

    /// All that waits for its time is due now: the endpoint is back.
    pub fn hasten(&mut self, now: Instant) {
        self.due = std::mem::take(&mut self.due).into_iter().map(|(at, sequence)| (at.min(now), sequence)).collect();
    }

    /// When the next one becomes due, of those that only wait for their time.
    pub fn next_due(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at)
    }

    /// Puts back what is to be sent again.
    pub fn retry(&mut self, message: Message, due: Instant) {
        self.due.insert((due, message.sequence));
        self.waiting.insert(message.sequence, message);
    }

    /// A message that was taken is done with: those behind it may go.
    pub fn done(&mut self, message: &Message, now: Instant) {
        let Some(key) = self.key(message) else { return };
        let next = self.behind.get_mut(&key).and_then(VecDeque::pop_front);
        match next {
            Some(sequence) => {
                self.due.insert((now, sequence));
            }
            None => {
                self.behind.remove(&key);
            }
        }
    }

    /// A message is in the delivery log now.
    pub fn recorded(&mut self, sequence: i64) {
        self.unrecorded.remove(&sequence);
        if let Some(message) = self.waiting.get_mut(&sequence) {
            message.recorded = true;
        }
    }

    /// Those that wait and are not in the delivery log.
    pub fn unrecorded(&self) -> impl Iterator<Item = &Message> {
        self.unrecorded.keys().filter_map(|sequence| self.waiting.get(sequence))
    }

    fn enter(&mut self, message: Message, due: Instant) {
        let sequence = message.sequence;
        match self.key(&message) {
            Some(key) => match self.behind.get_mut(&key) {
                Some(behind) => behind.push_back(sequence),
                None => {
                    self.behind.insert(key, VecDeque::new());
                    self.due.insert((due, sequence));
                }
            },
            None => {
                self.due.insert((due, sequence));
            }
        }
        self.waiting.insert(sequence, message);
    }

    /// Messages of one key wait for each other.
    fn key(&self, message: &Message) -> Option<String> {
        match self.order {
            Order::Parallel => None,
            Order::Record => message.record.clone(),
            Order::Fifo => Some(String::new()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use chrono::Utc;

    use super::*;

    fn message(sequence: i64, record: &str) -> Message {
        Message {
            sequence,
            id: format!("msg_{sequence}"),
            kind: "user.changed".into(),
            position: sequence,
            previous_position: sequence - 1,
            notice: None,
            generation: 1,
            record: Some(record.into()),
            created_at: Utc::now(),
            attempts: 0,
            first_attempt_at: None,
            next_attempt_at: None,
            content: None,
            before: at(sequence - 1),
            recorded: false,
        }
    }

    fn at(sequence: i64) -> Cursor {
        Cursor { position: sequence, notice: 0, sequence, last_position: sequence }
    }

    fn queue(order: Order, records: &[&str]) -> Queue {
        let mut queue = Queue::new(order);
        for (n, record) in records.iter().enumerate() {
            queue.push(message(n as i64 + 1, record));
        }
        queue
    }

    fn sequence(message: Option<Message>) -> Option<i64> {
        message.map(|message| message.sequence)
    }

    #[test]
    fn in_parallel_nothing_waits() {
        let now = Instant::now();
        let mut queue = queue(Order::Parallel, &["a", "a", "b"]);
        let first = queue.take(now, 10).unwrap();
        assert_eq!(sequence(queue.take(now, 10)), Some(2));
        let later = now + Duration::from_secs(5);
        queue.retry(first, later);
        assert_eq!((sequence(queue.take(now, 10)), sequence(queue.take(now, 10))), (Some(3), None));
        assert_eq!((queue.next_due(), sequence(queue.take(later, 10))), (Some(later), Some(1)));
    }

    #[test]
    fn an_endpoint_is_tried_with_what_failed_and_with_what_is_new() {
        let now = Instant::now();
        let mut queue = queue(Order::Parallel, &["a", "b", "c"]);
        let first = queue.take(now, 10).unwrap();
        queue.retry(first, now + Duration::from_secs(5));
        let tried: Vec<_> = std::iter::from_fn(|| sequence(queue.probe(10))).collect();
        assert_eq!(tried, [1, 2, 3]);
        let mut queue = self::queue(Order::Fifo, &["a", "b"]);
        for _ in 0..3 {
            let first = queue.probe(10).unwrap();
            assert_eq!(first.sequence, 1);
            queue.retry(first, now);
        }
    }

    #[test]
    fn by_record_only_the_same_record_waits() {
        let now = Instant::now();
        let mut queue = queue(Order::Record, &["a", "a", "b", "a"]);
        let first = queue.take(now, 10).unwrap();
        assert_eq!(sequence(queue.take(now, 10)), Some(3));
        assert_eq!((sequence(queue.take(now, 10)), queue.waiting()), (None, 2));
        let later = now + Duration::from_secs(5);
        queue.retry(first, later);
        assert_eq!(sequence(queue.take(now, 10)), None, "not before the failed one");
        let first = queue.take(later, 10).unwrap();
        queue.done(&first, later);
        let second = queue.take(later, 10).unwrap();
        assert_eq!((second.sequence, sequence(queue.take(later, 10))), (2, None));
        queue.done(&second, later);
        assert_eq!(sequence(queue.take(later, 10)), Some(4));
    }

    #[test]
    fn what_waits_is_bounded() {
        let now = Instant::now();
        let mut queue = queue(Order::Record, &["a", "a", "a", "b"]);
        queue.take(now, 1).unwrap();
        assert_eq!((sequence(queue.take(now, 1)), queue.waiting(), queue.fresh()), (None, 1, 2));
    }

    #[test]
    fn first_in_is_first_out() {
        let now = Instant::now();
        let mut queue = queue(Order::Fifo, &["a", "b"]);
        let first = queue.take(now, 10).unwrap();
        assert_eq!((sequence(queue.take(now, 10)), queue.waiting()), (None, 0));
        queue.retry(first, now);
        let first = queue.take(now, 10).unwrap();
        assert_eq!(first.sequence, 1);
        queue.done(&first, now);
        assert_eq!(sequence(queue.take(now, 10)), Some(2));
    }

    #[test]
    fn what_is_not_recorded_holds_the_cursor() {
        let now = Instant::now();
        let mut queue = queue(Order::Parallel, &["a", "b", "c"]);
        assert_eq!(queue.cursor(at(9)), at(0));
        let (first, second) = (queue.take(now, 10).unwrap(), queue.take(now, 10).unwrap());
        queue.done(&second, now);
        queue.recorded(2);
        assert_eq!(queue.cursor(at(9)), at(0), "the first is under way");
        queue.done(&first, now);
        queue.recorded(1);
        assert_eq!(queue.cursor(at(9)), at(2), "the third is not taken");
        assert_eq!(queue.rewind(), Some(at(2)));
        assert_eq!((queue.rewind(), queue.cursor(at(9))), (None, at(9)));
    }

    #[test]
    fn what_waited_before_a_restart_keeps_its_order() {
        let now = Instant::now();
        let later = now + Duration::from_secs(1);
        let mut queue = queue(Order::Record, &[]);
        for (n, record) in [(1, "a"), (2, "b"), (3, "a")] {
            queue.restore(message(n, record), later);
        }
        queue.push(message(4, "a"));
        assert_eq!(sequence(queue.take(now, 10)), None);
        let (first, second) = (queue.take(later, 10).unwrap(), queue.take(later, 10).unwrap());
        assert_eq!((first.sequence, second.sequence, sequence(queue.take(later, 10))), (1, 2, None));
        queue.done(&first, later);
        let third = queue.take(later, 10).unwrap();
        assert_eq!((third.sequence, sequence(queue.take(later, 10))), (3, None));
    }
}
