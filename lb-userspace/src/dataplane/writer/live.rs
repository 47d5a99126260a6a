//! What the maps say of one service.

use std::collections::BTreeMap;

use lb_common::tables::{BackendRef, Selection};

use crate::{
    compile::BackendKey,
    dataplane::{FoundService, Tables, areas::Area},
};

/// What the maps say of a service.
#[derive(Debug, Default)]
pub struct Live {
    /// Its number.
    pub id: u32,
    /// Its backends.
    pub backends: BTreeMap<BackendKey, BackendRef>,
    /// The slots for clients inside the cluster, and where they lie.
    pub internal: (Vec<BackendKey>, Area),
    /// The same for clients outside it; equal slots share an area.
    pub external: (Vec<BackendKey>, Area),
}

/// A service of an earlier run as this one's.
pub fn live_again(tables: &Tables, id: u32, found: &FoundService) -> Live {
    let names: BTreeMap<BackendRef, BackendKey> =
        found.backends.iter().map(|backend| (backend.reference, backend.key)).collect();
    let table = |selection: Selection| {
        let area = Area { base: selection.base(), len: selection.len() };
        // A slot that names no backend of the service makes the table differ from any desired one.
        let slots = (area.base..area.base.saturating_add(area.len))
            .take_while(|slot| *slot < tables.slots.len())
            .filter_map(|slot| names.get(&tables.slots.load(slot)).copied())
            .collect();
        (slots, area)
    };
    Live {
        id,
        backends: found.backends.iter().map(|backend| (backend.key, backend.reference)).collect(),
        internal: table(found.line.internal),
        external: table(found.line.external),
    }
}

/// The selection of an area.
pub fn selection(area: Area) -> Selection {
    Selection::new(area.base, area.len).unwrap_or(Selection::EMPTY)
}
