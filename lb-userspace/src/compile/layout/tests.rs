//! Weights as they lie in memory.

use std::{collections::BTreeMap, net::IpAddr};

use proptest::prelude::*;

use super::*;

fn key(number: usize) -> BackendKey {
    let number = u8::try_from(number).unwrap();
    BackendKey { address: IpAddr::from([10, 0, 0, number]), port: 80 }
}

fn table(algorithm: Algorithm, weights: &[u16]) -> Table {
    let endpoints = weights.iter().enumerate().map(|(at, weight)| (key(at), *weight)).collect();
    Table::of(algorithm, endpoints, Otherwise::Refuse)
}

fn shown(table: &Table) -> Vec<usize> {
    let endpoints: Vec<BackendKey> = (0..16).map(key).collect();
    let number = |slot: &BackendKey| endpoints.iter().position(|key| key == slot).unwrap();
    table.layout().iter().map(number).collect()
}

#[test]
fn weights_are_repeated_at_even_distances_without_their_common_divisor() {
    for algorithm in [Algorithm::Random, Algorithm::RoundRobin, Algorithm::SourceHash] {
        assert_eq!(shown(&table(algorithm, &[1, 1, 1])), [0, 1, 2]);
        assert_eq!(shown(&table(algorithm, &[7, 7])), [0, 1], "weighing the same is not weighing");
        assert_eq!(shown(&table(algorithm, &[30, 10])), [0, 0, 1, 0]);
        assert_eq!(shown(&table(algorithm, &[2, 1, 1])), [0, 1, 2, 0]);
    }
}

#[test]
fn an_endpoint_without_weight_is_not_in_the_table() {
    let table = table(Algorithm::Random, &[0, 5, 0]);
    assert_eq!((shown(&table), table.weights.len()), (vec![1], 0));
    let none = super::tests::table(Algorithm::Maglev, &[0, 0]);
    assert!(none.slots.is_empty() && none.layout().is_empty());
}

#[test]
fn who_compares_endpoints_has_each_of_them_once() {
    for algorithm in
        [Algorithm::LeastConnection, Algorithm::ShortestExpectedDelay, Algorithm::NeverQueue]
    {
        assert_eq!(shown(&table(algorithm, &[3, 1])), [0, 1]);
    }
}

#[test]
fn the_other_algorithms_use_a_weighted_table_of_maglevs() {
    let layout = shown(&table(Algorithm::Maglev, &[3, 1]));
    assert_eq!(layout.len(), 1_021);
    let light = layout.iter().filter(|slot| **slot == 1).count();
    assert!((254..=257).contains(&light), "{light}");
}

proptest! {
    /// What is promised: right to a fiftieth of itself and a 4,096th of the whole.
    #[test]
    fn shares_are_those_of_the_weights_and_tables_stay_short(
        weights in prop::collection::vec(1_u16.., 1..200),
    ) {
        let table = table(Algorithm::RoundRobin, &weights);
        let layout = table.layout();
        let bound = 4_096.max(64 * weights.len()) + weights.len();
        prop_assert!(layout.len() <= bound, "{} of {bound}", layout.len());
        let mut counts: BTreeMap<BackendKey, f64> = BTreeMap::new();
        for slot in layout.iter() {
            *counts.entry(*slot).or_default() += 1.0;
        }
        let sum: f64 = weights.iter().copied().map(f64::from).sum();
        #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
        let len = layout.len() as f64;
        for (at, weight) in weights.iter().enumerate() {
            let (wanted, got) = (f64::from(*weight) / sum, counts[&key(at)] / len);
            prop_assert!((got - wanted).abs() <= wanted / 50.0 + 1.0 / 4_096.0, "{got} of {wanted}");
        }
    }
}
