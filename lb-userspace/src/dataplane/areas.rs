//! Room for selection tables in the array of slots: contiguous areas, given out first-fit, taken
//! back, and given out again only after no program can still be reading them.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Instant,
};

use super::ids::QUARANTINE;

/// A run of slots.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Area {
    /// The first slot.
    pub base: u32,
    /// How many.
    pub len: u32,
}

/// The free areas of an array.
#[derive(Debug)]
pub struct Areas {
    capacity: u32,
    /// Base → length, no two adjacent.
    free: BTreeMap<u32, u32>,
    resting: VecDeque<(Instant, Area)>,
}

impl Areas {
    /// An array of `capacity` slots, all free.
    pub fn new(capacity: u32) -> Self {
        Self { capacity, free: BTreeMap::from([(0, capacity)]), resting: VecDeque::new() }
    }

    /// How many slots there are in all.
    pub const fn capacity(&self) -> u32 {
        self.capacity
    }

    /// Takes an area of this length; `None` if no free run is as long.
    pub fn take(&mut self, len: u32, now: Instant) -> Option<Area> {
        while let Some((freed, area)) = self.resting.front().copied()
            && now.duration_since(freed) >= QUARANTINE
        {
            self.resting.pop_front();
            self.release(area);
        }
        let (base, free) =
            self.free.iter().find(|(_, free)| **free >= len).map(|(base, free)| (*base, *free))?;
        self.free.remove(&base);
        if free > len {
            self.free.insert(base + len, free - len);
        }
        Some(Area { base, len })
    }

    /// Marks an area as taken that was found in use; false if it isn't free as a whole.
    pub fn reserve(&mut self, area: Area) -> bool {
        let Some((&base, &len)) = self.free.range(..=area.base).next_back() else {
            return false;
        };
        let (end, area_end) = (base + len, area.base + area.len);
        if area_end > end {
            return false;
        }
        self.free.remove(&base);
        if base < area.base {
            self.free.insert(base, area.base - base);
        }
        if area_end < end {
            self.free.insert(area_end, end - area_end);
        }
        true
    }

    /// Takes an area back.
    pub fn give_back(&mut self, area: Area, now: Instant) {
        if area.len > 0 {
            self.resting.push_back((now, area));
        }
    }

    fn release(&mut self, area: Area) {
        let Area { mut base, mut len } = area;
        if let Some((&before, &before_len)) = self.free.range(..base).next_back()
            && before + before_len == base
        {
            self.free.remove(&before);
            base = before;
            len += before_len;
        }
        if let Some(after_len) = self.free.remove(&(base + len)) {
            len += after_len;
        }
        self.free.insert(base, len);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn freed_neighbours_become_one_area_after_their_rest() {
        let now = Instant::now();
        let mut areas = Areas::new(8);
        let [a, b, c] = [3, 3, 2].map(|len| areas.take(len, now).unwrap());
        assert!(areas.take(1, now).is_none());
        for area in [b, a, c] {
            areas.give_back(area, now);
        }
        assert!(areas.take(8, now).is_none());
        assert_eq!(areas.take(8, now + QUARANTINE), Some(Area { base: 0, len: 8 }));
    }

    #[test]
    fn an_area_found_in_use_is_not_given() {
        let now = Instant::now();
        let mut areas = Areas::new(8);
        assert!(areas.reserve(Area { base: 2, len: 3 }));
        assert!(!areas.reserve(Area { base: 4, len: 1 }));
        assert_eq!(areas.take(3, now), Some(Area { base: 5, len: 3 }));
        assert_eq!(areas.take(2, now), Some(Area { base: 0, len: 2 }));
        assert_eq!(areas.take(1, now), None);
    }

    proptest! {
        #[test]
        fn no_slot_is_given_twice(steps in prop::collection::vec((1_u32..9, any::<prop::sample::Index>(), any::<bool>()), 1..200)) {
            let mut now = Instant::now();
            let mut areas = Areas::new(64);
            let mut held: Vec<Area> = Vec::new();
            for (len, which, free) in steps {
                now += QUARANTINE;
                if free && !held.is_empty() {
                    let area = held.swap_remove(which.index(held.len()));
                    areas.give_back(area, now);
                } else if let Some(area) = areas.take(len, now) {
                    prop_assert!(area.base + area.len <= 64);
                    for other in &held {
                        prop_assert!(area.base + area.len <= other.base || other.base + other.len <= area.base);
                    }
                    held.push(area);
                }
            }
        }
    }
}
