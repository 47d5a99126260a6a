//! Empty tables are filled: compiled from the model's objects and written into real maps.

use std::{sync::Arc, time::Instant};

use anyhow::{Result, ensure};
use lb_tests::bench::{Context, Figure, Named};
use lb_userspace::{
    compile::{Compiler, NodeFacts},
    model::Model,
};

use super::{
    data::Size,
    maps::{Maps, sizes},
    milliseconds,
};

/// How long it took, in milliseconds.
pub struct Filled {
    /// How many services.
    pub size: Size,
    /// To find out what the tables should say.
    pub compiling: Figure,
    /// Both that and writing it.
    pub both: Figure,
}

struct Case {
    size: Size,
    model: Arc<Model>,
    compiling: Vec<f64>,
}

impl Named for Case {
    fn name(&self) -> String {
        format!("{} services", self.size)
    }
}

/// Fills tables of these sizes in turn.
pub fn measure(context: &Context, all: &[Size]) -> Result<Vec<Filled>> {
    let cases = all.iter().map(|&size| {
        let model = Arc::new(size.model()?);
        Ok(Case { size, model, compiling: Vec::new() })
    });
    let mut cases = cases.collect::<Result<Vec<_>>>()?;
    let both = context.interleave("filling tables", &mut cases, Case::fill)?;
    let filled = cases.iter().zip(both).map(|(case, both)| {
        // The first round isn't recorded.
        let compiling = Figure::of(case.compiling[1..].to_vec())?;
        Ok(Filled { size: case.size, compiling, both })
    });
    filled.collect()
}

impl Case {
    fn fill(&mut self) -> Result<f64> {
        let mut maps = Maps::new(&sizes(self.size))?;
        let began = Instant::now();
        let mut compiler = Compiler::default();
        let touched = compiler.follow(&self.model, &NodeFacts::default());
        let compiling = milliseconds(began.elapsed());
        let changes = maps.apply(&compiler, &touched)?;
        let both = milliseconds(began.elapsed());
        ensure!(
            changes.frontends == self.size.services as usize
                && changes.backends == self.size.all_endpoints() as usize
                && maps.tables.backends().count() == changes.backends,
            "not everything was written: {changes:?}"
        );
        self.compiling.push(compiling);
        Ok(both)
    }
}
