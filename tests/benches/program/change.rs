//! One endpoint changes: from the model's objects into the maps, and what is written for it.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use lb_tests::bench::Context;
use lb_userspace::{
    compile::{NodeFacts, compile},
    dataplane::Changes,
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
    let mut model = size.model()?;
    maps.apply(&compile(&model, &NodeFacts::default()))?;
    let (mut times, mut most) = (Vec::new(), Changes::default());
    let end = Instant::now() + time;
    for change in 0..wanted {
        if Instant::now() > end {
            break;
        }
        context.check()?;
        let without = 1 - change % 2;
        let slice = Arc::new(size.slice(change / 2 * STRIDE % size.services, without));
        let name = slice.name.clone();

        let began = Instant::now();
        model.slices.insert(name, slice);
        let desired = compile(&model, &NodeFacts::default());
        let changes = maps.apply(&desired)?;
        times.push(began.elapsed());

        ensure!(
            (changes.services, changes.backends, changes.frontends) == (1, 1, 0)
                && changes.slots == (size.endpoints - without) as usize,
            "one endpoint was to change: {changes:?}"
        );
        most = if changes.slots > most.slots { changes } else { most };
    }
    Ok(Changed { size, times: Times::of(times)?, most })
}
