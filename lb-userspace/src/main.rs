//! The `lb` binary.

use std::{io, process::ExitCode};

use clap::Parser as _;
use lb_userspace::commands::Cli;
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    let cli = Cli::parse();
    tracing_subscriber::fmt()
        .with_env_filter(
            EnvFilter::builder()
                .with_default_directive(tracing::level_filters::LevelFilter::INFO.into())
                .with_env_var("LB_LOG")
                .from_env_lossy(),
        )
        .with_writer(io::stderr)
        .with_target(false)
        .init();
    match cli.execute() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("lb: {error:#}");
            ExitCode::FAILURE
        }
    }
}
