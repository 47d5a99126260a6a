//! Processes that listen on node ports: what comes from outside for such a port never reaches them.

use std::collections::BTreeSet;

use comfy_table::Table;

use super::table;
use crate::{
    dataplane::FoundService,
    model::Protocol,
    sockets::{self, Listening, Namespace, SocketsError},
    state::ServiceObject,
};

/// Who listens on a served node port, in the namespace of the process that serves it; if there is none, in
/// this one's.
pub fn listeners<'a>(
    pid: Option<u32>,
    objects: &[ServiceObject],
    services: impl Iterator<Item = &'a FoundService>,
) -> Result<Vec<Listening>, SocketsError> {
    let numbers: BTreeSet<u16> =
        objects.iter().flat_map(|object| object.node_ports.values().copied()).collect();
    let frontends = services.flat_map(|service| service.frontends.keys());
    let served = frontends.filter(|frontend| numbers.contains(&frontend.port));
    let served: BTreeSet<(Protocol, u16)> =
        served.map(|frontend| (frontend.protocol, frontend.port)).collect();
    let namespace = pid.map_or_else(Namespace::own, Namespace::of_process)?;
    sockets::listeners(&namespace, &served)
}

/// Sockets, a row each.
pub fn rows(listeners: &[Listening]) -> Table {
    let mut table = table(&["LISTENS ON A NODE PORT", "PROTOCOL", "PROCESSES"]);
    for one in listeners {
        let processes: Vec<_> = one.processes.iter().map(ToString::to_string).collect();
        let processes = if processes.is_empty() { "-".to_owned() } else { processes.join("\n") };
        table.add_row(vec![one.address.to_string(), one.protocol.to_string(), processes]);
    }
    table
}
