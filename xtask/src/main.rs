//! Everything a developer does with this workspace, one verb a module. Only the choice of the verb
//! is here.

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;

mod bench;
mod build;
mod ci;
mod command;
mod demo;
mod fuzz;
mod lint;
mod programs;
mod root;
mod run;
mod setup;
mod tally;
mod test;
mod tidy;
mod vm;
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
    Vm(vm::Options),
    Programs(programs::Options),
    Bench(bench::Options),
    Fuzz(fuzz::Options),
    Lint(lint::Options),
    Tidy(tidy::Options),
    Ci(ci::Options),
}

fn main() -> ExitCode {
    let ended = match Verb::parse() {
        Verb::Build(options) => done(build::run(&options)),
        Verb::Run(options) => run::run(&options),
        Verb::Demo(options) => done(demo::run(&options)),
        Verb::Setup(options) => done(setup::run(&options)),
        Verb::Test(options) => done(test::run(&options)),
        Verb::Vm(options) => vm::run(&options),
        Verb::Programs(options) => done(programs::run(&options)),
        Verb::Bench(options) => bench::run(&options),
        Verb::Fuzz(options) => done(fuzz::run(&options)),
        Verb::Lint(options) => done(lint::run(&options)),
        Verb::Tidy(options) => done(tidy::run(&options)),
        Verb::Ci(options) => done(ci::run(&options)),
    };
    match ended {
        Ok(status) => status,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Of a verb that has no exit status of its own.
fn done(result: Result<()>) -> Result<ExitCode> {
    result.map(|()| ExitCode::SUCCESS)
}
