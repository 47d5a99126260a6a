//! How many flows of each backend are open, as the programs count it for the algorithms that compare backends, and
//! how the counts are put right.
//!
//! The programs count without atomic operations, learn of no flow that is evicted, and of a flow without
//! an end only by its silence. Whoever walks the flow tables knows better.

use lb_common::tables::{BackendRef, Load};

use super::{Tables, census::Census};

/// What the counts were before the flows were walked.
#[derive(Debug)]
pub struct Loads(Vec<(BackendRef, u32)>);

impl Tables {
    /// How busy a backend is.
    pub fn load(&self, backend: u32) -> Load {
        self.loads.load(backend)
    }

    /// What the counts of all backends are.
    pub fn loads(&self) -> Loads {
        let reference = |id, generation| BackendRef { id, generation };
        let backends = self.backends();
        Loads(
            backends.map(|(id, one)| (reference(id, one.generation), self.load(id).open)).collect(),
        )
    }

    /// Puts the counts right by what was found in the flow tables since. What the programs have counted
    /// meanwhile is kept.
    pub fn put_loads_right(&self, before: &Loads, census: &Census) {
        for (backend, counted) in &before.0 {
            let open = census.open(*backend);
            if open != *counted {
                self.loads.change(backend.id, |load| {
                    load.open = (load.open + open).saturating_sub(*counted);
                });
            }
        }
    }
}
