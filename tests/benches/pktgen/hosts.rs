//! `pktgen` between two hosts: the generator sends out of a real interface to a host that runs `lb`, and
//! counts what comes back to the endpoints, which are this host.

use std::net::{IpAddr, SocketAddr};

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;
use lb_tests::{
    bench::{Better, Context, Report, Section},
    lab::cast::Mac,
};

use super::{FLOWS, generator};
use crate::{
    rig::{Rig, Sink, plan::Check, stream::FIRST_PORT},
    transit::Offer,
};

/// Which other host, if any.
#[derive(Args, Debug)]
#[command(next_help_heading = "pktgen between two hosts")]
pub struct Hosts {
    /// Send out of this interface instead of through namespaces
    #[arg(long, value_name = "IF", requires_all = ["peer", "address", "source"])]
    interface: Option<String>,
    /// The link-layer address of the host that runs lb
    #[arg(long, value_name = "MAC", requires = "interface")]
    peer: Option<String>,
    /// What is asked for: a node port or a cluster IP, as ADDRESS:PORT
    #[arg(long, value_name = "SOCKET", requires = "interface")]
    address: Option<SocketAddr>,
    /// The client's address
    #[arg(long, value_name = "IP", requires = "interface")]
    source: Option<IpAddr>,
    /// The port of the endpoints, whose addresses are behind the same interface
    #[arg(long, value_name = "PORT", requires = "interface", default_value_t = 8080)]
    endpoint_port: u16,
}

/// Another host.
pub struct Host {
    offer: Offer,
    endpoint_port: u16,
}

impl Hosts {
    /// The host that was named.
    pub fn named(&self) -> Result<Option<Host>> {
        let (Some(interface), Some(peer), Some(destination), Some(source)) =
            (&self.interface, &self.peer, self.address, self.source)
        else {
            return Ok(None);
        };
        ensure!(
            source.is_ipv4() && destination.is_ipv4(),
            "--source and --address must be IPv4 addresses"
        );
        let offer = Offer {
            interface: interface.clone(),
            next_hop: mac(peer)?,
            source,
            destination,
            ports: (FIRST_PORT, FIRST_PORT + u16::try_from(FLOWS - 1)?),
            length: 64,
        };
        Ok(Some(Host { offer, endpoint_port: self.endpoint_port }))
    }
}

impl Host {
    /// Sends, and counts what comes back.
    pub fn measure(&self, context: &Context, report: &mut Report) -> Result<()> {
        let Self { offer, endpoint_port } = self;
        report.setting("from", format_args!("{} at {}", offer.source, offer.interface));
        report.setting("to", format_args!("{} at {}", offer.destination, offer.next_hop));
        let mut rig = Rig::load(1)?;
        rig.expect(&[Check {
            at: 34,
            mask: 0xffff_u32.to_be(),
            value: u32::from(*endpoint_port).to_be(),
        }])?;
        let _sink = rig.attach_here("count", &offer.interface)?;
        let frames = if context.quick { 1_000_000 } else { 10_000_000 };
        let figures = context.interleave("between hosts", &mut ["sent", "back"], |what| {
            if *what == "back" {
                rig.forget_seen()?;
            }
            let sent = generator::send(offer, frames)?;
            #[expect(clippy::cast_precision_loss, reason = "some million frames")]
            let rate = |frames: u64| frames as f64 / sent.elapsed.as_secs_f64() / 1e6;
            if *what == "sent" {
                return Ok(rate(sent.frames));
            }
            let seen = rig.seen(Sink::Count)?;
            if seen.expected == 0 {
                bail!(
                    "of {} frames none came back to port {endpoint_port}: endpoints must be routed \
                     to this host's {}, and lb run on the other",
                    sent.frames,
                    offer.interface
                );
            }
            Ok(rate(seen.expected))
        })?;
        let mut section = Section::new("Between two hosts", "Mpps", Better::Higher, &["rate"]);
        for (what, figure) in ["sent", "translated and back"].into_iter().zip(figures) {
            section.row(what, vec![figure.into()]);
        }
        report.section(section);
        report.note("The generator and the sink share a host; what isn't back was lost on the way, or too much.");
        Ok(())
    }
}

/// Reads `02:00:00:00:00:01`.
fn mac(text: &str) -> Result<Mac> {
    let bytes: Option<Vec<u8>> =
        text.split(':').map(|byte| u8::from_str_radix(byte, 16).ok()).collect();
    let bytes: Option<[u8; 6]> = bytes.and_then(|bytes| bytes.try_into().ok());
    bytes
        .map(Mac)
        .with_context(|| format!("--peer {text} is no link-layer address like 02:00:00:00:00:01"))
}
