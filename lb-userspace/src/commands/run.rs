//! `lb run`: loads, attaches, and keeps the tables as the manifests and the node say, until it is
//! told to stop.

use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::Args;
use tokio::signal::unix::{SignalKind, signal};

use super::settings::{ConfigArgument, Settings};
use crate::{
    control::ControlPlane,
    controller::{Controller, Options},
    dataplane::{Pins, tell_of_bind},
    devices::DeviceWatch,
    privileges,
    source::manifests::ManifestSource,
};

/// How often expired flows are collected.
const COLLECT_EVERY: Duration = Duration::from_secs(10);

/// Serve the Services of a directory of manifests on this node
///
/// Reads Services and their endpoint slices as ordinary Kubernetes YAML or JSON, watches the directory,
/// and translates packets in the kernel accordingly. Everything is detached when it is stopped with
/// SIGINT or SIGTERM. When it is killed, the kernel goes on as it was, and the next start takes over.
#[derive(Debug, Args)]
pub struct Run {
    #[command(flatten)]
    _file: ConfigArgument,

    #[command(flatten)]
    settings: Settings,
}

impl Run {
    /// Runs until a signal comes.
    pub fn execute(self) -> Result<()> {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("can't start the runtime")?
            .block_on(self.serve())
    }

    async fn serve(self) -> Result<()> {
        let mut interrupt = signal(SignalKind::interrupt()).context("can't wait for SIGINT")?;
        let mut terminate = signal(SignalKind::terminate()).context("can't wait for SIGTERM")?;

        privileges::check()?;
        let Settings { cluster, instance, .. } = &self.settings;
        let control = cluster.control()?;
        let node_name = cluster.node_name()?;
        let store = self.settings.state_dir.join(format!("{}.redb", instance.instance));
        let control = ControlPlane::open(control, &store)?;
        let (snapshot, mut source) = ManifestSource::open_with(&self.settings.manifests, control)?;
        let snapshot = snapshot
            .without_problems()
            .context("the manifests are not right; nothing was attached")?;
        let (devices, mut watch) = DeviceWatch::open().await?;
        let options = Options {
            selection: self.settings.selection(),
            xdp: self.settings.xdp,
            xdp_transmit: self.settings.xdp_transmit,
            tc: self.settings.tc,
            sockets: self.settings.socket_lb,
            cgroup: self.settings.cgroup.0.clone(),
            node_name,
            service_ranges: cluster.service_ranges.clone(),
            node_ports: cluster.node_port_range,
            node_ports_on: cluster.nodeport_addresses.clone(),
            pools: cluster.pools.clone(),
            timeouts: self.settings.timeouts.timeouts(),
            sample_events: self.settings.sample_events,
            sizes: self.settings.sizes.sizes(),
            health: self.settings.health.options(),
            state_file: instance.state_file(),
        };
        let pins = Pins::of(&instance.bpffs, &instance.instance);
        let mut controller = Controller::start(options, pins, snapshot, &devices)?;

        let mut checks = controller.news_of_checks();
        let mut binds = controller.refused_binds()?;
        let mut collect = tokio::time::interval(COLLECT_EVERY);
        loop {
            tokio::select! {
                snapshot = source.changed() => controller.set_services(snapshot),
                change = watch.changed() => {
                    if change.paths_moved {
                        controller.move_paths();
                    }
                    if let Some(devices) = change.devices {
                        controller.set_devices(&devices);
                    }
                }
                Ok(()) = checks.changed() => controller.tell_checks(),
                bind = binds.next() => {
                    tell_of_bind(&bind.context("can't read who was refused a node port")?);
                }
                _ = collect.tick() => controller.collect(),
                _ = interrupt.recv() => break,
                _ = terminate.recv() => break,
            }
        }
        controller.stop()
    }
}
