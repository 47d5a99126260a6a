//! Weights of backends, for the algorithms that compare them: they stand beside the counts of open flows.

use std::collections::BTreeMap;

use lb_common::tables::Load;

use super::live::Live;
use crate::{
    compile::{BackendKey, DesiredService},
    dataplane::Tables,
};

/// Gives a service's backends their weights; returns whether any had another.
pub(super) fn store_weights(tables: &Tables, desired: &DesiredService, live: &mut Live) -> bool {
    let wanted = desired.weights.iter().filter(|(backend, _)| live.backends.contains_key(backend));
    let wanted: BTreeMap<BackendKey, u16> = wanted.map(|(key, weight)| (*key, *weight)).collect();
    if live.weights.as_ref() == Some(&wanted) {
        return false;
    }
    for (backend, reference) in &live.backends {
        let weight = wanted.get(backend).copied().unwrap_or(1);
        tables.loads.change(reference.id, |load| *load = Load::of(load.open, weight));
    }
    live.weights.replace(wanted).is_some()
}
