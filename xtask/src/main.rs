//! Everything a developer does with this workspace, one verb a module. Only the choice of the verb
//! is here.

use std::process::ExitCode;

use clap::Parser;

mod build;
mod ci;
mod command;
mod demo;
mod lint;
mod root;
mod run;
mod setup;
mod tally;
mod test;
mod tidy;
mod workspace;

/// Developer tasks of the load balancer.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
enum Verb {
    Build(build::Options),
    Run(run::Options),
    Demo(demo::Options),
    Setup(setup::Options),
    Test(test::Options),
    Lint(lint::Options),
    Tidy(tidy::Options),
    Ci(ci::Options),
}

fn main() -> ExitCode {
    let done = match Verb::parse() {
        Verb::Build(options) => build::run(&options),
        Verb::Run(options) => run::run(&options),
        Verb::Demo(options) => demo::run(&options),
        Verb::Setup(options) => setup::run(&options),
        Verb::Test(options) => test::run(&options),
        Verb::Lint(options) => lint::run(&options),
        Verb::Tidy(options) => tidy::run(&options),
        Verb::Ci(options) => ci::run(&options),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
