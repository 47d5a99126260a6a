//! Numbers of services and backends: given out, taken back, and given out again only after no
//! program that saw the old meaning can still be running.

use std::{
    collections::{BTreeSet, VecDeque},
    time::{Duration, Instant},
};

/// How long something that was freed stays unused. A program runs for microseconds.
pub const QUARANTINE: Duration = Duration::from_secs(1);

/// A pool of the numbers below a capacity.
#[derive(Debug)]
pub struct Ids {
    capacity: u32,
    next: u32,
    free: BTreeSet<u32>,
    resting: VecDeque<(Instant, u32)>,
}

impl Ids {
    /// All numbers below `capacity` but those in use.
    pub fn new(capacity: u32, used: &BTreeSet<u32>) -> Self {
        let next = used.last().map_or(0, |last| last + 1);
        let free = (0..next).filter(|id| !used.contains(id)).collect();
        Self { capacity, next, free, resting: VecDeque::new() }
    }

    /// How many numbers there are in all.
    pub const fn capacity(&self) -> u32 {
        self.capacity
    }

    /// The smallest free number.
    pub fn take(&mut self, now: Instant) -> Option<u32> {
        while let Some((freed, id)) = self.resting.front().copied()
            && now.duration_since(freed) >= QUARANTINE
        {
            self.resting.pop_front();
            self.free.insert(id);
        }
        if let Some(id) = self.free.pop_first() {
            return Some(id);
        }
        if self.next < self.capacity {
            self.next += 1;
            return Some(self.next - 1);
        }
        None
    }

    /// Takes a number back.
    pub fn give_back(&mut self, id: u32, now: Instant) {
        self.resting.push_back((now, id));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_rests_before_it_is_given_again() {
        let start = Instant::now();
        let mut ids = Ids::new(2, &BTreeSet::new());
        assert_eq!(ids.take(start), Some(0));
        assert_eq!(ids.take(start), Some(1));
        assert_eq!(ids.take(start), None);
        ids.give_back(0, start);
        assert_eq!(ids.take(start), None);
        assert_eq!(ids.take(start + QUARANTINE), Some(0));
    }

    #[test]
    fn numbers_in_use_are_not_given() {
        let mut ids = Ids::new(4, &BTreeSet::from([0, 2]));
        let now = Instant::now();
        assert_eq!([ids.take(now), ids.take(now), ids.take(now)], [Some(1), Some(3), None]);
    }
}
