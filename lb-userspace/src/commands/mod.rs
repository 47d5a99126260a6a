//! The verbs of `lb`, one a file: arguments typed at the edge, work done elsewhere.

mod events;
mod run;
mod status;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::dataplane::Pins;

/// A load balancer for Linux nodes: Kubernetes Services in the kernel.
#[derive(Debug, Parser)]
#[command(name = "lb", version, about, propagate_version = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(Box<run::Run>),
    Status(status::Status),
    Events(events::Events),
}

/// Which of the instances on this machine is meant.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Instance")]
#[expect(clippy::struct_field_names, reason = "the names are those of the options")]
struct Instance {
    /// Name of the instance; several can run on one machine, in network namespaces of their own
    #[arg(long, default_value = "lb", value_parser = instance_name)]
    instance: String,

    /// Where bpffs is mounted; maps and links are pinned in a directory with the instance's name
    #[arg(long, default_value = "/sys/fs/bpf", value_name = "DIR")]
    bpffs: PathBuf,

    /// Where the instance tells `lb status` its services' names
    #[arg(long, default_value = "/run/lb", value_name = "DIR")]
    run_dir: PathBuf,
}

impl Instance {
    /// Fails if it is not there, running or not.
    fn must_be_loaded(&self, pins: &Pins) -> anyhow::Result<()> {
        anyhow::ensure!(
            pins.hold_maps(),
            "no lb named {} is loaded here ({} has no pins); start one with lb run, or say which with --instance",
            self.instance,
            pins.maps().display()
        );
        Ok(())
    }

    fn state_file(&self) -> PathBuf {
        self.run_dir.join(format!("{}.json", self.instance))
    }
}

/// A name that can be a directory's.
fn instance_name(text: &str) -> Result<String, String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if text.is_empty() || text.len() > 63 || !text.chars().all(allowed) {
        return Err("use 1 to 63 letters, digits, '-' and '_'".to_owned());
    }
    Ok(text.to_owned())
}

impl Cli {
    /// Carries the command out.
    pub fn execute(self) -> anyhow::Result<()> {
        match self.command {
            Command::Run(run) => run.execute(),
            Command::Status(status) => status.execute(),
            Command::Events(events) => events.execute(),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn an_instance_name_can_be_a_directory() {
        assert!(instance_name("lb-2").is_ok());
        for bad in ["", "a/b", "..", "a b"] {
            assert!(instance_name(bad).is_err(), "{bad:?}");
        }
    }
}
