//! Where Services and `EndpointSlices` come from. A source reads objects, has the model check them,
//! and gives whole [`Snapshot`]s; what changed between two is found by whoever needs it.

pub mod manifests;

use std::{collections::BTreeMap, fmt, sync::Arc};

use crate::model::{Model, Problem, ServiceName};

/// All objects of a source at one time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// What is in force.
    pub model: Arc<Model>,
    /// What is not as it was written, sorted by place. An object named here is in force as it last
    /// was right, or not at all.
    pub problems: Vec<Problem>,
    /// Whose load balancer has no address, and why.
    pub pending: BTreeMap<ServiceName, String>,
}

/// A snapshot has problems, and none were to be accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct HasProblems(pub Vec<Problem>);

impl Snapshot {
    /// The snapshot, if nothing in it is wrong; for the start, when an operator is there to read.
    pub fn without_problems(self) -> Result<Self, HasProblems> {
        if self.problems.is_empty() { Ok(self) } else { Err(HasProblems(self.problems)) }
    }
}

impl fmt::Display for HasProblems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "\n" };
            write!(f, "{separator}{problem}")?;
        }
        Ok(())
    }
}
