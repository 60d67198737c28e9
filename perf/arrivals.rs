//! What came to one endpoint, and whether that is what was promised.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::receivers::Message;

/// What came to one endpoint.
#[derive(Default)]
pub struct Arrivals {
    /// First receipts, by sequence.
    first: BTreeMap<i64, Message>,
    /// Sequences in the order of their first receipts.
    arrivals: Vec<i64>,
    pub accepted: HashSet<i64>,
    /// All up to this sequence were accepted.
    whole: i64,
    /// The first one that came before all those before it were accepted.
    early: Option<i64>,
    /// Accepted more than once.
    pub again: usize,
    pub failed: usize,
}

impl Arrivals {
    /// Takes in what came, in its order. An error when it is not the same as before.
    pub fn add(&mut self, message: Message) -> Result<(), String> {
        let sequence = message.sequence;
        match self.first.get(&sequence) {
            Some(first) => {
                let same = |m: &Message| (m.id.clone(), m.kind.clone(), m.timestamp, m.position, m.previous_position);
                if same(first) != same(&message) {
                    return Err(format!("sequence {sequence} came with two contents: {first:?}, {message:?}"));
                }
            }
            None => {
                self.arrivals.push(sequence);
                if sequence > self.whole + 1 {
                    self.early = self.early.or(Some(sequence));
                }
                self.first.insert(sequence, message.clone());
            }
        }
        match message.accepted {
            true => self.again += usize::from(!self.accepted.insert(sequence)),
            false => self.failed += 1,
        }
        while self.accepted.contains(&(self.whole + 1)) {
            self.whole += 1;
        }
        Ok(())
    }

    /// What does not hold, of the positions of all events and an order: `fifo`, `record` or another.
    pub fn check(&self, order: &str, events: &[i64]) -> Result<(), String> {
        if self.accepted.len() != events.len() {
            return Err(format!("{} of {} events came", self.accepted.len(), events.len()));
        }
        let mut previous = 0;
        for ((n, position), message) in events.iter().enumerate().zip(self.first.values()) {
            let chain = (message.sequence, message.position, message.previous_position);
            let expected = (n as i64 + 1, *position, previous);
            if chain != expected {
                return Err(format!("sequence, position and the one before are {chain:?}, not {expected:?}"));
            }
            previous = *position;
        }
        let ids: HashSet<&str> = self.first.values().map(|message| message.id.as_str()).collect();
        if ids.len() != events.len() {
            return Err("two messages have the same id".to_owned());
        }
        match order {
            "fifo" => {
                if let Some(sequence) = self.early {
                    return Err(format!("{sequence} came before all those before it were accepted"));
                }
                ascending(self.arrivals.iter().copied())
            }
            "record" => {
                let mut records: HashMap<&str, Vec<i64>> = HashMap::new();
                for sequence in &self.arrivals {
                    let record = self.first[sequence].data.sourced_id.as_deref().unwrap_or_default();
                    records.entry(record).or_default().push(*sequence);
                }
                records.into_values().try_for_each(|sequences| ascending(sequences.into_iter()))
            }
            _ => Ok(()),
        }
    }
}

fn ascending(sequences: impl Iterator<Item = i64>) -> Result<(), String> {
    let mut before = 0;
    for sequence in sequences {
        if sequence < before {
            return Err(format!("{sequence} came after {before}"));
        }
        before = sequence;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::receivers::Data;

    /// Positions of the events: there are gaps, as of what a filter leaves out.
    const EVENTS: [i64; 4] = [3, 4, 7, 9];

    /// Records of the events.
    const RECORDS: [&str; 4] = ["a", "b", "a", "b"];

    fn message(sequence: usize, accepted: bool) -> Message {
        Message {
            endpoint: 0,
            received_at: Default::default(),
            accepted,
            id: format!("msg_{sequence}"),
            kind: "org.changed".to_owned(),
            timestamp: Default::default(),
            sequence: sequence as i64,
            position: EVENTS[sequence - 1],
            previous_position: if sequence == 1 { 0 } else { EVENTS[sequence - 2] },
            data: Data { challenge: None, sourced_id: Some(RECORDS[sequence - 1].to_owned()) },
        }
    }

    /// Of these sequences, all accepted.
    fn all(sequences: &[usize]) -> Vec<Message> {
        sequences.iter().map(|sequence| message(*sequence, true)).collect()
    }

    fn judged(order: &str, messages: Vec<Message>) -> Result<(), String> {
        let mut arrivals = Arrivals::default();
        messages.into_iter().try_for_each(|message| arrivals.add(message))?;
        arrivals.check(order, &EVENTS)
    }

    #[track_caller]
    fn assert_found(order: &str, messages: Vec<Message>, says: &str) {
        let found = judged(order, messages).unwrap_err();
        assert!(found.contains(says), "{order}: {found}");
    }

    #[test]
    fn what_is_promised_passes() {
        let again = [vec![message(1, false), message(1, false)], all(&[1, 2, 2, 3, 2, 4])].concat();
        for order in ["parallel", "record", "fifo"] {
            assert_eq!(judged(order, again.clone()), Ok(()));
        }
        assert_eq!(judged("record", all(&[2, 1, 4, 3])), Ok(()));
        assert_eq!(judged("parallel", all(&[4, 3, 2, 1])), Ok(()));
    }

    #[test]
    fn what_is_missing_is_found() {
        for order in ["parallel", "record", "fifo"] {
            assert_found(order, all(&[1, 2, 4]), "3 of 4 events came");
            assert_found(order, [all(&[1, 2, 3]), vec![message(4, false)]].concat(), "3 of 4 events came");
        }
    }

    #[test]
    fn what_is_out_of_order_is_found() {
        assert_found("fifo", all(&[1, 3, 2, 4]), "3 came before");
        // One that was not accepted yet is passed by the next.
        let passed = [vec![message(1, true), message(2, false)], all(&[3, 2, 4])].concat();
        assert_found("fifo", passed, "3 came before");
        assert_found("record", all(&[3, 1, 2, 4]), "1 came after 3");
    }

    #[test]
    fn a_broken_chain_is_found() {
        let broken = |change: fn(&mut Message)| {
            let mut messages = all(&[1, 2, 3, 4]);
            change(&mut messages[2]);
            messages
        };
        for order in ["parallel", "record", "fifo"] {
            assert_found(order, broken(|message| message.previous_position = 3), "(3, 7, 3), not (3, 7, 4)");
            assert_found(order, broken(|message| message.position = 8), "(3, 8, 4), not (3, 7, 4)");
            assert_found(order, broken(|message| message.id = "msg_2".to_owned()), "same id");
            // A number that was passed over, and one that two messages have.
            let mut gap = all(&[1, 2, 3, 4]);
            gap[3].sequence = 9;
            assert_found(order, gap, "(9, 9, 7), not (4, 9, 7)");
            assert_found(order, broken(|message| message.sequence = 2), "two contents");
        }
    }
}
