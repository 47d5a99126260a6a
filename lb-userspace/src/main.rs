//! The `lb` binary.

use std::{
    io::{self, IsTerminal as _},
    process::ExitCode,
};

use lb_userspace::commands::{Cli, ReadError};
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    let cli = match Cli::read() {
        Ok(cli) => cli,
        Err(ReadError::Usage(error)) => error.exit(),
        Err(ReadError::File(error)) => return failed(&error.into()),
    };
    tracing_subscriber::fmt()
        .with_env_filter(
            EnvFilter::builder()
                .with_default_directive(tracing::level_filters::LevelFilter::INFO.into())
                .from_env_lossy(),
        )
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .with_target(false)
        .init();
    match cli.execute() {
        Ok(code) => code,
        Err(error) => failed(&error),
    }
}

fn failed(error: &anyhow::Error) -> ExitCode {
    eprintln!("lb: {error:#}");
    ExitCode::FAILURE
}
