//! Maglev's tables (Eisenbud and others 2016, section 3.4): each endpoint has an order of its own in which it
//! wants the slots; they take turns, and each takes the first that is free. Where an endpoint comes or goes, few
//! slots change between the others.

use std::{cmp::Reverse, collections::BinaryHeap, net::IpAddr};

use lb_common::{
    addr::{Address as _, Ipv6},
    hash::{Hasher, NO_KEY},
};

use super::desired::BackendKey;

/// Lengths of tables, all prime, and of how many endpoints each is at most: a hundred slots for each, until that
/// would be too many, then ten. They are far apart, because nearly all clients move from one to the next.
const LENGTHS: [(u32, usize); 6] = [
    (1_021, 10),
    (4_093, 40),
    (16_381, 163),
    (65_537, 6_553),
    (262_139, 26_213),
    (1_048_573, usize::MAX),
];

/// An endpoint on its way through the slots.
struct Claimant {
    key: BackendKey,
    weight: u64,
    /// Where it looks next.
    next: u32,
    /// How far it goes from there.
    skip: u32,
    /// How many slots it has.
    claimed: u64,
}

/// The table of these endpoints, whatever order they come in; empty if there are none. A weight must not be 0.
pub(super) fn table(endpoints: &[BackendKey], weight: impl Fn(usize) -> u16) -> Vec<BackendKey> {
    let (len, _) =
        LENGTHS.into_iter().find(|(_, most)| endpoints.len() <= *most).unwrap_or(LENGTHS[5]);
    let claimant = |(at, key): (usize, &BackendKey)| Claimant::new(*key, weight(at), len);
    let mut claimants: Vec<Claimant> = endpoints.iter().enumerate().map(claimant).collect();
    claimants.sort_unstable_by_key(|one| one.key);
    let Some(heaviest) = claimants.iter().map(|one| one.weight).max() else {
        return Vec::new();
    };
    // In which round each takes its next slot: the heaviest in every one.
    let mut turns: BinaryHeap<Reverse<(u64, usize)>> =
        claimants.iter().enumerate().map(|(at, one)| Reverse((one.round(heaviest), at))).collect();
    let mut slots: Vec<Option<BackendKey>> = vec![None; len as usize];
    for _ in 0..len {
        let Some(Reverse((_, at))) = turns.pop() else { break };
        let claimant = &mut claimants[at];
        while slots[claimant.next as usize].is_some() {
            claimant.go_on(len);
        }
        slots[claimant.next as usize] = Some(claimant.key);
        claimant.claimed += 1;
        turns.push(Reverse((claimant.round(heaviest), at)));
    }
    slots.into_iter().flatten().collect()
}

impl Claimant {
    /// By its address alone, so that all ports of a Service lead a client to the same endpoint, and without a
    /// secret, so that all nodes do.
    fn new(key: BackendKey, weight: u16, len: u32) -> Self {
        let mut hasher = Hasher::new(NO_KEY);
        let address = match key.address {
            IpAddr::V4(address) => Ipv6::mapped(address.into()),
            IpAddr::V6(address) => address.into(),
        };
        address.hash(&mut hasher);
        let hash = hasher.finish(2);
        #[expect(clippy::cast_possible_truncation, reason = "the lower half is what is asked for")]
        let (low, high) = (hash as u32, (hash >> 32) as u32);
        let (next, skip) = (low % len, 1 + high % (len - 1));
        Self { key, weight: weight.into(), next, skip, claimed: 0 }
    }

    /// The round in which it takes its next slot.
    const fn round(&self, heaviest: u64) -> u64 {
        ((self.claimed + 1) * heaviest).div_ceil(self.weight)
    }

    const fn go_on(&mut self, len: u32) {
        self.next = (self.next + self.skip) % len;
    }
}

#[cfg(test)]
mod tests;
