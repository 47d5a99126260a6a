//! What the controller tells `lb status` beside the maps.

use std::process;

use anyhow::Result;

use super::Controller;
use crate::{
    model::Problem,
    state::{ServiceObject, ServiceState, State},
};

impl Controller {
    /// Writes the state file anew.
    pub(super) fn tell(&self) -> Result<()> {
        let services = self.writer.services().map(|(key, id)| ServiceState {
            id,
            service: key.service.to_string(),
            port: key.port.clone(),
            protocol: key.protocol.to_string(),
            family: key.family.to_string(),
        });
        let state = State {
            pid: process::id(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            attached: self.hookup.attached().cloned().collect(),
            health: self.health.told(),
            notes: self.notes.iter().cloned().collect(),
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
}
