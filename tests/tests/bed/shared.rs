//! One standard bed that tests take in turns: loading the programs is nearly all that a test costs,
//! and takes seconds where the processor is emulated. A test finds it as if it were new. What lives
//! outside the tables (routes, neighbours, settings of interfaces) is not made anew: a test that
//! changes that has a bed of its own, or undoes it.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use anyhow::Result;

use super::{Backend, Bed, SETTINGS, SIZES, services::desired};

/// Runs a test in the bed, which lives for as long as a test has it or waits for it. One in which a
/// test has failed is not used again.
pub fn in_shared_bed(test: impl FnOnce(&mut Bed) -> Result<()>) -> Result<()> {
    loop {
        let bed = current()?;
        // A test may have failed in it meanwhile.
        let Ok(mut bed) = bed.lock() else { continue };
        let _inside = bed.namespace().enter()?;
        bed.renew()?;
        return test(&mut bed);
    }
}

static CURRENT: Mutex<Weak<Mutex<Bed>>> = Mutex::new(Weak::new());

/// Keeps the bed, if there is one, for tests to come, while a test runs in another.
pub fn keep_shared() -> Option<Arc<Mutex<Bed>>> {
    CURRENT.lock().unwrap_or_else(PoisonError::into_inner).upgrade()
}

/// The bed of the tests that run now, or a new one.
fn current() -> Result<Arc<Mutex<Bed>>> {
    let mut current = CURRENT.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(bed) = current.upgrade().filter(|bed| !bed.is_poisoned()) {
        return Ok(bed);
    }
    let bed = Arc::new(Mutex::new(Bed::make(&SIZES, |_| Ok(()))?));
    *current = Arc::downgrade(&bed);
    Ok(bed)
}

impl Bed {
    /// Makes the tables what they were when the bed was new.
    fn renew(&mut self) -> Result<()> {
        self.tables.set_settings(SETTINGS);
        self.apply(&desired(Backend::hosts))?;
        let tables = &self.tables;
        tables.new_flows_v4.remove(&keys(tables.new_flows_v4.elements()?))?;
        tables.new_flows_v6.remove(&keys(tables.new_flows_v6.elements()?))?;
        tables.flows_v4.remove(&keys(tables.flows_v4.elements()?))?;
        tables.flows_v6.remove(&keys(tables.flows_v6.elements()?))?;
        tables.affinity_v4.remove(&keys(tables.affinity_v4.elements()?))?;
        tables.affinity_v6.remove(&keys(tables.affinity_v6.elements()?))?;
        Ok(())
    }
}

fn keys<K: Copy, V>(elements: Vec<(K, V)>) -> Vec<K> {
    elements.into_iter().map(|(key, _)| key).collect()
}
