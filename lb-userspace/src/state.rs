//! What `lb run` tells `lb status` beside the maps: names, which the kernel doesn't know.
//!
//! A file, replaced whole, so that it can be read after `lb run` was killed. It is written when the
//! instance is up, and again with every change.

mod objects;

use std::{
    collections::BTreeSet,
    fs, io,
    net::IpAddr,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{dataplane::Attached, health::Told};
pub use objects::{Ingress, LoadBalancer, ServiceObject};

/// What a running instance tells.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct State {
    /// Its process.
    pub pid: u32,
    /// Its version.
    pub version: String,
    /// What is attached where.
    pub attached: Vec<Attached>,
    /// Who answers health checks.
    #[serde(default)]
    pub health: Vec<Told>,
    /// Uplinks, and why each is one.
    #[serde(default)]
    pub uplinks: Vec<UplinkState>,
    /// The programs at sockets, if they are attached.
    #[serde(default)]
    pub sockets: Option<SocketState>,
    /// What is not as one might expect, such as an uplink without XDP.
    pub notes: Vec<String>,
    /// What it was started with.
    #[serde(default)]
    pub settings: SettingsState,
    /// Services by their number.
    pub services: Vec<ServiceState>,
    /// Services as objects.
    #[serde(default)]
    pub objects: Vec<ServiceObject>,
    /// What is wrong with the manifests.
    pub problems: Vec<String>,
}

/// What an instance makes tables of, beside manifests; as one writes it on the command line.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SettingsState {
    /// The node's name.
    pub node_name: String,
    /// Its addresses, as they are now.
    pub node_addresses: BTreeSet<IpAddr>,
    /// Which of them are primary, unless its Node says so.
    pub primary_addresses: BTreeSet<IpAddr>,
    /// On which of them node ports are served.
    pub nodeport_addresses: String,
    /// Ranges of cluster IPs.
    pub service_cidrs: Vec<String>,
    /// The range of node ports.
    pub node_port_range: String,
    /// Pools of load balancers' addresses.
    pub lb_pools: Vec<String>,
}

/// An uplink.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UplinkState {
    /// Its name.
    pub interface: String,
    /// Its index.
    pub ifindex: u32,
    /// Named, or by which route or address it was detected.
    pub why: String,
}

/// Where the programs at sockets are attached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SocketState {
    /// The cgroup.
    pub cgroup: String,
    /// Sockets in other network namespaces than the node's are left alone.
    pub host_only: bool,
    /// The programs.
    pub programs: Vec<String>,
    /// Sockets that were destroyed because their endpoint was removed, since the start.
    #[serde(default)]
    pub destroyed: u64,
}

/// A service: one port of a Service in one family.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceState {
    /// Its number in the maps.
    pub id: u32,
    /// Namespace and name.
    pub service: String,
    /// The port's name, or its number.
    pub port: String,
    /// `TCP` or `UDP`.
    pub protocol: String,
    /// `IPv4` or `IPv6`.
    pub family: String,
}

/// The state can't be written or read.
#[derive(Debug, Error)]
#[error("can't {action} {}; is --run-dir right, and may this user use it?", path.display())]
pub struct StateError {
    action: &'static str,
    path: PathBuf,
    #[source]
    source: io::Error,
}

impl State {
    /// Replaces the file.
    pub fn write(&self, path: &Path) -> Result<(), StateError> {
        let failed = |source| StateError { action: "write", path: path.to_owned(), source };
        let next = path.with_extension("json.next");
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory).map_err(failed)?;
        }
        let text = serde_json::to_vec_pretty(self).map_err(|error| failed(error.into()))?;
        fs::write(&next, text).map_err(failed)?;
        fs::rename(&next, path).map_err(failed)
    }

    /// Reads the file; `None` if there is none.
    pub fn read(path: &Path) -> Result<Option<Self>, StateError> {
        let failed = |source| StateError { action: "read", path: path.to_owned(), source };
        match fs::read(path) {
            Ok(text) => serde_json::from_slice(&text).map(Some).map_err(|e| failed(e.into())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed(error)),
        }
    }

    /// Removes the file.
    pub fn remove(path: &Path) -> Result<(), StateError> {
        match fs::remove_file(path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(StateError { action: "remove", path: path.to_owned(), source })
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_until_it_is_removed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("run/lb.json");
        let state = State { pid: 7, problems: vec!["one".to_owned()], ..State::default() };
        assert_eq!(State::read(&path).unwrap(), None);
        state.write(&path).unwrap();
        assert_eq!(State::read(&path).unwrap(), Some(state));
        State::remove(&path).unwrap();
        State::remove(&path).unwrap();
        assert_eq!(State::read(&path).unwrap(), None);
    }
}
