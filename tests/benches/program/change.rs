//! One endpoint changes: from the model's objects into the maps, and what is written for it.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use lb_tests::bench::Context;
use lb_userspace::{
    compile::{Compiler, NodeFacts},
    dataplane::Changes,
    model::Model,
};

use super::{
    data::Size,
    maps::{Maps, sizes},
};

/// Services between one that changes and the next.
const STRIDE: u32 = 37;

/// How long changes took, in order of time.
pub struct Times(Vec<Duration>);

/// What was seen of the changes of one size.
pub struct Changed {
    /// How many services.
    pub size: Size,
    /// From objects to maps.
    pub times: Times,
    /// What the largest change wrote.
    pub most: Changes,
}

impl Times {
    /// In any order; not none.
    pub fn of(mut times: Vec<Duration>) -> Result<Self> {
        ensure!(!times.is_empty(), "there was no time for a single change");
        times.sort_unstable();
        Ok(Self(times))
    }

    /// How many changes.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// What so many of a thousand took at most.
    pub fn quantile(&self, of_a_thousand: usize) -> Duration {
        let last = (self.0.len() * of_a_thousand).div_ceil(1000);
        self.0[last.clamp(1, self.0.len()) - 1]
    }
}

/// Makes as many changes as are wanted, or as there is time for: one service after another loses an endpoint, and
/// gets it back.
pub fn measure(context: &Context, size: Size, wanted: u32, time: Duration) -> Result<Changed> {
    let _spinner = context.spinner(&format!("changing endpoints of {size} services"));
    let mut maps = Maps::new(&sizes(size))?;
    let (mut compiler, node) = (Compiler::default(), NodeFacts::default());
    let mut model = Arc::new(size.model()?);
    let touched = compiler.follow(&model, &node);
    maps.apply(&compiler, &touched)?;
    let (mut times, mut most) = (Vec::new(), Changes::default());
    let end = Instant::now() + time;
    for change in 0..wanted {
        if Instant::now() > end {
            break;
        }
        context.check()?;
        let without = 1 - change % 2;
        let slice = Arc::new(size.slice(change / 2 * STRIDE % size.services, without));
        // A source hands on another model, whose other objects are the same.
        let mut next = Model::clone(&model);
        next.slices.insert(slice.name.clone(), slice);
        let next = Arc::new(next);

        let began = Instant::now();
        let touched = compiler.follow(&next, &node);
        let changes = maps.apply(&compiler, &touched)?;
        times.push(began.elapsed());
        model = next;

        ensure!(
            (changes.services, changes.backends, changes.frontends) == (1, 1, 0)
                && changes.slots == (size.endpoints - without) as usize,
            "one endpoint was to change: {changes:?}"
        );
        most = if changes.slots > most.slots { changes } else { most };
    }
    Ok(Changed { size, times: Times::of(times)?, most })
}
