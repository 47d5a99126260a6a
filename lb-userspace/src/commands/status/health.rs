//! Who answers health checks.

use comfy_table::{Cell, Table};

use super::{number, table};
use crate::health::Told;

/// Servers, a row each.
pub fn health(told: &[Told]) -> Table {
    let mut table = table(&["HEALTH CHECKS", "ADDRESS", "LOCAL ENDPOINTS", "STATE"]);
    for one in told {
        let count = one.local_endpoints.and_then(|count| u64::try_from(count).ok());
        let problem = one.problem.as_ref().map(|why| format!("not served: {why}"));
        table.add_row(vec![
            Cell::new(&one.subject),
            Cell::new(one.address),
            count.map_or(Cell::new("-"), number),
            Cell::new(problem.as_deref().unwrap_or("served")),
        ]);
    }
    table
}
