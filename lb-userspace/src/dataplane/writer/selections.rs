//! Selection tables: built in a fresh area, then published by the service's line.

use std::{collections::BTreeMap, time::Instant};

use lb_common::tables::{BackendRef, Selection};

use super::{
    Changes, Writer,
    live::{Live, Placed, areas, lie_alike, wanted},
};
use crate::{
    compile::{BackendKey, DesiredService},
    dataplane::{DataplaneError, Tables, areas::Area},
};

impl Writer {
    /// Publishes the selections if they differ from what is there.
    pub(super) fn store_tables(
        &mut self,
        tables: &Tables,
        desired: &DesiredService,
        live: &mut Live,
        changes: &mut Changes,
        now: Instant,
    ) -> Result<bool, DataplaneError> {
        let wanted = wanted(desired);
        let same = wanted.iter().zip(&live.selections).all(|(new, old)| old.says(new));
        if same {
            for (placed, table) in
                live.selections.iter_mut().zip(wanted).filter(|(old, _)| old.found)
            {
                (placed.table, placed.found) = (table.clone(), false);
            }
            return Ok(false);
        }
        let mut built: Vec<Placed> = Vec::new();
        for table in wanted {
            let known = built.iter().find(|other| lie_alike(&other.table, table));
            let area = match known {
                Some(other) => other.area,
                None => match self.build(tables, &table.layout(), &live.backends, now) {
                    Ok(area) => {
                        changes.slots += area.len as usize;
                        area
                    }
                    Err(error) => {
                        // Nothing refers to those before it yet: without this one they are free again.
                        for area in areas(&built) {
                            self.areas.give_back(area, now);
                        }
                        return Err(error);
                    }
                },
            };
            built.push(Placed { table: table.clone(), area, found: false });
        }
        let old = areas(&live.selections);
        if let Ok(selections) = built.try_into() {
            live.selections = selections;
        }
        tables.services.store(live.id, &live.line());
        for area in old {
            self.areas.give_back(area, now);
        }
        Ok(true)
    }

    /// Writes a table into a fresh area.
    fn build(
        &mut self,
        tables: &Tables,
        slots: &[BackendKey],
        backends: &BTreeMap<BackendKey, BackendRef>,
        now: Instant,
    ) -> Result<Area, DataplaneError> {
        if slots.is_empty() {
            return Ok(Area::default());
        }
        let full = |capacity| DataplaneError::Full {
            what: "slots of selection tables",
            wanted: u32::try_from(slots.len()).unwrap_or(u32::MAX),
            capacity,
            option: "--max-slots",
        };
        let len = u32::try_from(slots.len())
            .ok()
            .filter(|len| *len <= Selection::MAX_LEN)
            .ok_or(full(Selection::MAX_LEN))?;
        let area = self.areas.take(len, now).ok_or(full(self.areas.capacity()))?;
        for (slot, backend) in (area.base..).zip(slots) {
            // Every slot names one of the service's own backends, which are stored before.
            tables.slots.store(slot, &backends.get(backend).copied().unwrap_or_default());
        }
        Ok(area)
    }
}
