//! Whether a packet can be a service's at all, by its ports: ordinary traffic leaves here without
//! one hash lookup.

use super::{Tables, parse::Parsed};
use crate::hook::Hook;

/// Whether a packet may belong to a flow or a frontend.
///
/// Where clients' packets come in, that is a frontend's port as destination, or a reply to one of
/// the source ports that we choose. Where replies leave, it is a backend's port as source.
#[inline(always)]
pub fn may_be_ours<A: Copy, T: Tables>(tables: &T, hook: Hook, parsed: &Parsed<A>) -> bool {
    let (_, source) = parsed.source();
    let (_, destination) = parsed.destination();
    if hook.faces_clients() {
        tables.has_frontend_port(destination)
            || (tables.snat_ports().contains(destination) && tables.has_backend_port(source))
    } else {
        tables.has_backend_port(source)
    }
}
