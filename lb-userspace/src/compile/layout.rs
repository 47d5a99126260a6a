//! Selection tables as they lie in memory: how often each endpoint stands there, and in which order.
//!
//! Made only for tables that are written: what is compiled stays as short as the endpoints are many.

use std::borrow::Cow;

use super::{
    desired::{BackendKey, Otherwise, Table},
    maglev,
};
use crate::model::Algorithm;

/// How many slots a table with weights has at most, or [`EACH`] for every endpoint if that is more.
const LONGEST: u64 = 4096;
/// See there.
const EACH: u64 = 64;

impl Table {
    /// A table of these endpoints. Those without weight get no flows.
    pub fn of(
        algorithm: Algorithm,
        mut endpoints: Vec<(BackendKey, u16)>,
        otherwise: Otherwise,
    ) -> Self {
        endpoints.retain(|(_, weight)| *weight > 0);
        let common = endpoints.iter().fold(0, |common, (_, weight)| gcd(common, *weight));
        let (slots, mut weights): (Vec<_>, Vec<u16>) =
            endpoints.into_iter().map(|(key, weight)| (key, weight / common)).unzip();
        if weights.iter().all(|weight| *weight == 1) {
            weights = Vec::new();
        }
        Self { slots, weights, algorithm, otherwise }
    }

    /// The slots as they lie in memory.
    pub fn layout(&self) -> Cow<'_, [BackendKey]> {
        let weight = |at: usize| self.weights.get(at).copied().unwrap_or(1);
        match self.algorithm {
            Algorithm::Maglev => Cow::Owned(maglev::table(&self.slots, weight)),
            // Their weights stand beside the endpoints: each is looked at once.
            Algorithm::LeastConnection
            | Algorithm::ShortestExpectedDelay
            | Algorithm::NeverQueue => Cow::Borrowed(&self.slots),
            _ if self.weights.is_empty() => Cow::Borrowed(&self.slots),
            _ => Cow::Owned(interleaved(&self.slots, &counts(&self.weights))),
        }
    }
}

const fn gcd(one: u16, other: u16) -> u16 {
    if other == 0 { one } else { gcd(other, one % other) }
}

/// How often each endpoint stands in the table. Weights that would make it too long are scaled and rounded, but
/// none to nothing.
fn counts(weights: &[u16]) -> Vec<u64> {
    let sum: u64 = weights.iter().copied().map(u64::from).sum();
    let longest = LONGEST.max(EACH * weights.len() as u64);
    let weights = weights.iter().copied().map(u64::from);
    if sum <= longest {
        return weights.collect();
    }
    weights.map(|weight| ((weight * longest + sum / 2) / sum).max(1)).collect()
}

/// Each endpoint as often as it is to stand there, at even distances: taken in turn, an endpoint's flows come apart.
fn interleaved(slots: &[BackendKey], counts: &[u64]) -> Vec<BackendKey> {
    let mut places: Vec<(u64, usize)> = Vec::new();
    for (at, count) in counts.iter().enumerate() {
        // The middles of equal parts of the whole.
        places.extend((0..*count).map(|number| ((2 * number + 1) * (1 << 32) / (2 * count), at)));
    }
    places.sort_unstable();
    places.into_iter().map(|(_, at)| slots[at]).collect()
}

#[cfg(test)]
mod tests;
