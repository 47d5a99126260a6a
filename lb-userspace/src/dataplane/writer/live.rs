//! What the maps say of one service.

use std::collections::{BTreeMap, BTreeSet};

use lb_common::tables::{AffinityRule, BackendRef, Selection, SelectionKind, Service};

use crate::{
    compile::{BackendKey, DesiredService, Frontend, Otherwise, Table},
    dataplane::{FoundService, Tables, algorithm, areas::Area},
};

/// What the maps say of a service.
#[derive(Debug, Default)]
pub struct Live {
    /// Its number.
    pub id: u32,
    /// Its backends.
    pub backends: BTreeMap<BackendKey, BackendRef>,
    /// The weights of those that have another one than 1; not known of an earlier run.
    pub weights: Option<BTreeMap<BackendKey, u16>>,
    /// Its selections, by the numbers of their kinds.
    pub selections: [Placed; 3],
    /// Its affinity.
    pub affinity: AffinityRule,
    /// The frontends that lead to it, or led to it before another got them.
    pub frontends: BTreeSet<Frontend>,
}

/// A selection table, and where its slots lie. Of one service, equal tables share an area.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Placed {
    /// The table.
    pub table: Table,
    /// Its place.
    pub area: Area,
    /// It is an earlier run's: of the table only the algorithm is known, and the slots as they lie there.
    pub found: bool,
}

impl Live {
    /// Its line.
    pub fn line(&self) -> Service {
        let [all, internal, external] = &self.selections;
        Service {
            all: all.selection(),
            internal: internal.selection(),
            external: external.selection(),
            affinity: self.affinity,
        }
    }
}

impl Placed {
    fn selection(&self) -> Selection {
        match (self.area.len, self.table.otherwise) {
            (0, Otherwise::Refuse) => Selection::EMPTY,
            (0, Otherwise::Drop) => Selection::NONE_HERE,
            (len, _) => Selection::new(self.area.base, len)
                .unwrap_or(Selection::EMPTY)
                .by(algorithm::number(self.table.algorithm)),
        }
    }

    /// Whether it says what a table says: what becomes of clients without slots is nothing to one with some.
    pub fn says(&self, wanted: &Table) -> bool {
        let found = &self.table;
        if wanted.slots.is_empty() || found.slots.is_empty() {
            return wanted.slots == found.slots && wanted.otherwise == found.otherwise;
        }
        if self.found {
            return found.algorithm == wanted.algorithm && *wanted.layout() == found.slots;
        }
        found.algorithm == wanted.algorithm && lie_alike(found, wanted)
    }

    fn found(
        tables: &Tables,
        selection: Selection,
        names: &BTreeMap<BackendRef, BackendKey>,
    ) -> Self {
        if selection.is_empty() {
            let none_here = selection == Selection::NONE_HERE;
            let otherwise = if none_here { Otherwise::Drop } else { Otherwise::Refuse };
            return Self { table: Table { otherwise, ..Table::default() }, ..Self::default() };
        }
        let area = Area { base: selection.base(), len: selection.len() };
        // A slot that names no backend of the service makes the table differ from any desired one.
        let slots = (area.base..area.base.saturating_add(area.len))
            .take_while(|slot| *slot < tables.slots.len())
            .filter_map(|slot| names.get(&tables.slots.load(slot)).copied())
            .collect();
        // An unknown algorithm's table is made anew, too.
        let known = algorithm::named(selection.algorithm());
        let slots = if known.is_some() { slots } else { Vec::new() };
        let algorithm = known.unwrap_or_default();
        Self { table: Table { slots, algorithm, ..Table::default() }, area, found: true }
    }
}

/// The areas of tables, each once.
pub fn areas(placed: &[Placed]) -> Vec<Area> {
    let mut areas: Vec<Area> = Vec::new();
    for one in placed {
        if !areas.contains(&one.area) {
            areas.push(one.area);
        }
    }
    areas
}

/// A service's desired tables, by the numbers of their kinds.
pub fn wanted(desired: &DesiredService) -> [&Table; 3] {
    SelectionKind::ALL.map(|kind| match kind {
        SelectionKind::All => &desired.all,
        SelectionKind::Internal => &desired.internal,
        SelectionKind::External => &desired.external,
    })
}

/// Whether two tables are one in memory, if it is one algorithm's.
pub fn lie_alike(one: &Table, other: &Table) -> bool {
    one.slots == other.slots && one.weights == other.weights
}

/// A service of an earlier run as this one's.
pub fn live_again(tables: &Tables, id: u32, found: &FoundService) -> Live {
    let backends: BTreeMap<BackendKey, BackendRef> =
        found.backends.iter().map(|backend| (backend.key, backend.reference)).collect();
    let names: BTreeMap<BackendRef, BackendKey> =
        found.backends.iter().map(|backend| (backend.reference, backend.key)).collect();
    let line = &found.line;
    Live {
        id,
        weights: None,
        backends,
        selections: [line.all, line.internal, line.external]
            .map(|selection| Placed::found(tables, selection, &names)),
        affinity: line.affinity,
        frontends: found.frontends.keys().copied().collect(),
    }
}
