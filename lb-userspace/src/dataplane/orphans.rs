//! Sockets that were given an endpoint when they connected, and whose endpoint is gone since. The kernel knows
//! the backend of each; that its line has another generation by now says that it is gone, also if that happened
//! while nobody looked.

use std::{collections::BTreeSet, net::SocketAddr};

use bytemuck::Pod;
use lb_common::{
    addr::{Address, Ipv4, Ipv6},
    tables::{SocketKey, Translated},
    wire::Protocol as WireProtocol,
};

use super::{DataplaneError, Pins, Tables, hash_table::HashTable, tables::table};
use crate::model::Protocol;

/// The tables of sockets.
#[derive(Debug)]
pub struct SocketTables {
    v4: HashTable<SocketKey<Ipv4>, Translated<Ipv4>>,
    v6: HashTable<SocketKey<Ipv6>, Translated<Ipv6>>,
}

/// A socket whose endpoint is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Orphan {
    /// What is spoken.
    pub protocol: Protocol,
    /// The kernel's number of the socket.
    pub cookie: u64,
    /// Where the endpoint was.
    pub remote: SocketAddr,
}

impl SocketTables {
    /// Opens the pinned maps of an instance.
    pub fn open(pins: &Pins) -> Result<Self, DataplaneError> {
        Ok(Self { v4: table(pins, "SOCKETS_V4")?, v6: table(pins, "SOCKETS_V6")? })
    }

    /// Takes the sockets whose endpoint is gone out of the tables.
    pub fn take_orphans(&self, tables: &Tables) -> Result<BTreeSet<Orphan>, DataplaneError> {
        let mut orphans = take(&self.v4, tables)?;
        orphans.append(&mut take(&self.v6, tables)?);
        Ok(orphans)
    }
}

fn take<A: Address>(
    sockets: &HashTable<SocketKey<A>, Translated<A>>,
    tables: &Tables,
) -> Result<BTreeSet<Orphan>, DataplaneError>
where
    SocketKey<A>: Pod,
    Translated<A>: Pod,
{
    let mut gone = Vec::new();
    sockets.for_each(|key, translated| {
        let backend = translated.backend;
        let line = tables.backend(backend.id);
        if line.is_none_or(|line| line.generation != backend.generation) {
            gone.push(*key);
        }
    })?;
    sockets.remove(&gone)?;
    Ok(gone.iter().filter_map(orphan).collect())
}

fn orphan<A: Address>(key: &SocketKey<A>) -> Option<Orphan> {
    let protocol = match WireProtocol(key.protocol) {
        WireProtocol::TCP => Protocol::Tcp,
        WireProtocol::UDP => Protocol::Udp,
        _ => return None,
    };
    let remote = SocketAddr::new(key.address.to_ip(), key.port.to_host());
    Some(Orphan { protocol, cookie: key.cookie.number(), remote })
}
