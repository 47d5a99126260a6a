//! `lb events`: what happened to single packets, as it happens: flows that began, packets that were
//! dropped and why, endpoints that did not answer. What one of them means is `events/line.rs`.

mod line;

use std::{
    io::{self, Write as _},
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow, bail};
use clap::{Args, ValueEnum};
use tokio::signal::unix::{SignalKind, signal};

use super::{Instance, settings::ConfigArgument};
use crate::dataplane::{Events as Ring, Pins, Tables};
use line::Names;

/// How often the ring buffer is looked at. To be woken for every event would cost the packets more.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Show flows that begin and packets that are dropped, as it happens
///
/// One in so many of them is told of: as many as lb run was told with --sample-events, or with --every for as
/// long as this runs. One lb events at a time can read an instance's events.
#[derive(Debug, Args)]
pub struct Events {
    /// Tell of one in N packets while this runs, whatever lb run was told
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    every: Option<u32>,

    /// Form of the output
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,

    #[command(flatten)]
    _file: ConfigArgument,

    #[command(flatten)]
    instance: Instance,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum Output {
    /// A line each, for people
    #[default]
    Text,
    /// An object each, one a line, for programs
    Json,
}

impl Events {
    /// Prints until a signal comes or nobody listens any more.
    pub fn execute(self) -> Result<()> {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("can't start the runtime")?
            .block_on(self.watch())
    }

    async fn watch(self) -> Result<()> {
        let mut interrupt = signal(SignalKind::interrupt()).context("can't wait for SIGINT")?;
        let mut terminate = signal(SignalKind::terminate()).context("can't wait for SIGTERM")?;
        let pins = Pins::of(&self.instance.bpffs, &self.instance.instance);
        self.instance.must_be_loaded(&pins)?;
        let tables = Tables::open(&pins)?;
        let mut ring = Ring::open(&pins)?;
        let before = tables.sample_events();
        if self.every.is_none() && before == 0 {
            bail!(
                "events are off; say of how many packets one is to be told, with --every N here or --sample-events N of lb run"
            );
        }
        let mut names = Names::new(&tables, self.instance.state_file())?;
        tables.set_sample_events(self.every.unwrap_or(before));
        let mut look = tokio::time::interval(LOOK_EVERY);
        let outcome = loop {
            tokio::select! {
                _ = look.tick() => match self.print(&mut ring, &mut names) {
                    Err(error) if is_closed(&error) => break Ok(()),
                    Err(error) => break Err(error),
                    Ok(()) if !pins.hold_maps() => break Err(anyhow!("lb was stopped")),
                    Ok(()) => {}
                },
                _ = interrupt.recv() => break Ok(()),
                _ = terminate.recv() => break Ok(()),
            }
        };
        tables.set_sample_events(before);
        outcome
    }

    fn print(&self, ring: &mut Ring, names: &mut Names<'_>) -> Result<()> {
        let mut out = io::stdout().lock();
        while let Some(sample) = ring.read()? {
            let line = names.line(&sample)?;
            match self.output {
                Output::Text => writeln!(out, "{line}")?,
                Output::Json => writeln!(out, "{}", serde_json::to_string(&line)?)?,
            }
        }
        out.flush()?;
        Ok(())
    }
}

/// Whether nobody reads what is printed any more.
fn is_closed(error: &anyhow::Error) -> bool {
    let kind = error.downcast_ref::<io::Error>().map(io::Error::kind);
    kind == Some(io::ErrorKind::BrokenPipe)
}
