//! What the operator is told: which interfaces are served and why, what is not as one might expect, and the state file.

use std::{collections::BTreeSet, process};

use anyhow::Result;

use super::Controller;
use crate::{
    devices::{self, Classified, DeviceError, Devices, Forwarding, Selection},
    model::Problem,
    state::{ServiceObject, ServiceState, SettingsState, State, UplinkState},
};

const NO_UPLINK: &str = "there is no uplink: no default route, and no address of the node on an interface towards \
                         other machines; name one with --uplink, or wait until there is one";

/// What the interfaces are. Those that can't be served although they would be uplinks are noted.
pub(super) fn interfaces(
    devices: &Devices,
    selection: &Selection,
    notes: &mut BTreeSet<String>,
) -> Result<Classified, DeviceError> {
    let mut interfaces = devices::classify(devices, selection)?;
    let unservable = devices::without_unservable(&mut interfaces)?;
    let strange = interfaces.unsupported.values();
    let strange = strange.map(|name| {
        format!("{name} carries neither Ethernet frames nor plain IP packets, and is not served")
    });
    for note in unservable.iter().map(ToString::to_string).chain(strange) {
        if notes.insert(note.clone()) {
            tracing::warn!("{note}");
        }
    }
    Ok(interfaces)
}

/// Says which uplinks came and went.
pub(super) fn tell_uplinks(before: &Classified, after: &Classified) {
    for (index, uplink) in &after.uplinks {
        if !before.uplinks.contains_key(index) {
            tracing::info!(uplink = uplink.name, why = %uplink.reason, "is an uplink");
        }
    }
    for (index, uplink) in &before.uplinks {
        if !after.uplinks.contains_key(index) {
            tracing::info!(uplink = uplink.name, "is no uplink any more");
        }
    }
    if after.uplinks.is_empty() && !before.uplinks.is_empty() {
        tracing::warn!("{NO_UPLINK}");
    }
}

impl Controller {
    pub(super) fn warn_of_settings(&self) {
        for uplink in self.interfaces.uplinks.values() {
            let forwarding = match Forwarding::read(&uplink.name) {
                Ok(forwarding) => forwarding,
                Err(error) => {
                    tracing::warn!(%error, "can't tell whether packets are forwarded");
                    continue;
                }
            };
            for (family, forwards) in [("ipv4", forwarding.v4), ("ipv6", forwarding.v6)] {
                if forwards == Some(false) {
                    tracing::warn!(
                        setting = format!("net.{family}.conf.{}.forwarding", uplink.name),
                        "is 0: node ports will not reach endpoints on other nodes; set it to 1"
                    );
                }
            }
        }
    }

    /// Writes the state file anew.
    pub(super) fn tell(&self) -> Result<()> {
        let services = self.writer.services().map(|(key, id)| ServiceState {
            id,
            service: key.service.to_string(),
            port: key.port.clone(),
            protocol: key.protocol.to_string(),
            family: key.family.to_string(),
        });
        let uplinks = self.interfaces.uplinks.iter().map(|(index, uplink)| UplinkState {
            interface: uplink.name.clone(),
            ifindex: *index,
            why: uplink.reason.to_string(),
        });
        let nothing = self.interfaces.uplinks.is_empty().then(|| NO_UPLINK.to_owned());
        let state = State {
            pid: process::id(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            attached: self.hookup.attached().cloned().collect(),
            health: self.health.told(),
            sockets: self.socket_state(),
            notes: self.notes.iter().cloned().chain(nothing).collect(),
            uplinks: uplinks.collect(),
            settings: self.settings_told(),
            services: services.collect(),
            objects: ServiceObject::all(&self.snapshot),
            problems: self
                .snapshot
                .problems
                .iter()
                .chain(&self.conflicts)
                .map(Problem::to_string)
                .collect(),
        };
        Ok(state.write(&self.options.state_file)?)
    }

    fn settings_told(&self) -> SettingsState {
        SettingsState {
            node_name: self.options.node_name.clone(),
            node_addresses: self.interfaces.node_addresses.clone(),
            primary_addresses: self.interfaces.primary.clone(),
            nodeport_addresses: self.options.node_ports_on.to_string(),
            service_cidrs: self.options.service_ranges.iter().map(ToString::to_string).collect(),
            node_port_range: self.options.node_ports.to_string(),
            lb_pools: self.options.pools.iter().map(ToString::to_string).collect(),
        }
    }
}
