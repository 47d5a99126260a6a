//! The verbs of `lb`, one a file: arguments typed at the edge, work done elsewhere.

mod check;
mod config;
mod events;
mod plan;
mod run;
mod settings;
mod status;

use std::{env, ffi::OsString, path::PathBuf, process::ExitCode};

use clap::{Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand, ValueEnum};

use crate::dataplane::Pins;
use settings::{
    CONFIG,
    file::{ConfigError, ConfigFile},
};

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
    Check(check::Check),
    Plan(plan::Plan),
    Config(Box<config::Config>),
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

/// The form of what is printed.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum Output {
    /// For people
    #[default]
    Table,
    /// For programs
    Json,
}

/// What was to be done can't be understood.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// There is a mistake on the command line, or only help was wanted.
    #[error(transparent)]
    Usage(#[from] clap::Error),
    /// The configuration file can't be used.
    #[error(transparent)]
    File(#[from] ConfigError),
}

impl Cli {
    /// Reads the command line, and the file that it names with `--config`.
    pub fn read() -> Result<Self, ReadError> {
        Self::read_from(env::args_os())
    }

    fn read_from(
        arguments: impl IntoIterator<Item = impl Into<OsString> + Clone>,
    ) -> Result<Self, ReadError> {
        let arguments: Vec<OsString> = arguments.into_iter().map(Into::into).collect();
        let mut command = Self::command();
        let file = match config_file(&arguments) {
            Some((verb, path)) => {
                let file = ConfigFile::read(&path, &Self::run_command())?;
                command = command.mut_subcommand(verb, |verb| file.apply(verb));
                file
            }
            None => ConfigFile::default(),
        };
        let matches = command.try_get_matches_from(&arguments)?;
        let mut cli = Self::from_arg_matches(&matches)?;
        if let (Command::Config(config), Some((_, matches))) =
            (&mut cli.command, matches.subcommand())
        {
            config.learn(&Self::run_command(), matches, &file);
        }
        Ok(cli)
    }

    /// The command whose options a configuration file may have.
    fn run_command() -> clap::Command {
        let run = Self::command().find_subcommand("run").cloned();
        run.unwrap_or_else(|| clap::Command::new("run"))
    }

    /// Carries the command out.
    pub fn execute(self) -> anyhow::Result<ExitCode> {
        match self.command {
            Command::Run(run) => run.execute()?,
            Command::Check(check) => return check.execute(),
            Command::Plan(plan) => plan.execute()?,
            Command::Config(config) => config.execute()?,
            Command::Status(status) => status.execute()?,
            Command::Events(events) => events.execute()?,
        }
        Ok(ExitCode::SUCCESS)
    }

    #[cfg(test)]
    fn into_config(self) -> Option<config::Config> {
        match self.command {
            Command::Config(config) => Some(*config),
            _ => None,
        }
    }
}

/// The verb and the file that `--config` names, if the command line makes sense but for what may stand
/// in that file.
fn config_file(arguments: &[OsString]) -> Option<(String, PathBuf)> {
    let mut command = Cli::command();
    let verbs: Vec<String> =
        command.get_subcommands().map(|verb| verb.get_name().to_owned()).collect();
    for verb in verbs {
        command = command.mut_subcommand(verb, |verb| verb.mut_args(|arg| arg.required(false)));
    }
    let matches = command.try_get_matches_from(arguments).ok()?;
    let (verb, matches) = matches.subcommand()?;
    let path = matches.try_get_one::<PathBuf>(CONFIG).ok()??;
    Some((verb.to_owned(), path.clone()))
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
