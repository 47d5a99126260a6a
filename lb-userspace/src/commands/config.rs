//! `lb config`: what `lb run` would run with, given the same flags and file, and where each value comes from.

use std::{fmt::Write as _, iter};

use anyhow::{Context as _, Result};
use clap::{ArgMatches, Args, Command, ValueEnum, parser::ValueSource};
use serde_json::{Map, Value};

use super::settings::{
    ConfigArgument, Settings,
    file::{ConfigFile, fields},
};

/// Show the configuration that lb run would have with the same flags and file
///
/// What it prints can be used as a file for --config.
#[derive(Debug, Args)]
pub struct Config {
    /// Form of the output
    #[arg(short, long, value_enum, default_value_t)]
    output: Form,

    #[command(flatten)]
    _file: ConfigArgument,

    #[command(flatten)]
    settings: Settings,

    /// The flags that were given, and the file.
    #[arg(skip)]
    effective: Vec<Effective>,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum Form {
    /// With where each value comes from
    #[default]
    Yaml,
    /// For programs
    Json,
}

/// An option as it is in force.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Effective {
    name: String,
    value: Value,
    origin: String,
}

impl Config {
    /// Takes note of where values come from.
    pub fn learn(&mut self, run: &Command, matches: &ArgMatches, file: &ConfigFile) {
        self.effective = effective(run, matches, file);
    }

    /// Prints the configuration.
    pub fn execute(mut self) -> Result<()> {
        self.settings.cluster.control()?;
        let node_name = self.settings.cluster.node_name()?;
        for one in &mut self.effective {
            if one.name == NODE_NAME && one.value.is_null() {
                one.value = node_name.clone().into();
                "the host's name".clone_into(&mut one.origin);
            }
        }
        match self.output {
            Form::Yaml => print!("{}", yaml(&self.effective)?),
            Form::Json => {
                let pairs = self.effective.into_iter().map(|one| (one.name, one.value));
                println!("{}", serde_json::to_string_pretty(&pairs.collect::<Map<_, _>>())?);
            }
        }
        Ok(())
    }
}

/// The option whose default is a fact of the machine.
const NODE_NAME: &str = "nodeName";

fn effective(run: &Command, matches: &ArgMatches, file: &ConfigFile) -> Vec<Effective> {
    let options = fields(run).into_iter().map(|field| {
        let id = field.arg.get_id();
        let texts = matches.get_raw(id.as_str()).into_iter().flatten();
        let mut values = texts.map(|text| field.value(&text.to_string_lossy()));
        let value =
            if field.is_list() { values.collect() } else { values.next().unwrap_or(Value::Null) };
        let flag = field.arg.get_long().unwrap_or_default();
        let origin = match (matches.value_source(id.as_str()), file.given(id)) {
            (Some(ValueSource::CommandLine), _) => format!("--{flag}"),
            (_, Some(given)) => given.place.clone(),
            (_, None) => "default".to_owned(),
        };
        Effective { name: field.name, value, origin }
    });
    options.collect()
}

fn yaml(options: &[Effective]) -> Result<String> {
    let mut text = String::new();
    for one in options {
        // Each value on its line as JSON, which is YAML.
        let value = serde_json::to_string(&one.value).context("can't write a value")?;
        let line = format!("{}: {value}", one.name);
        let gap: String = iter::repeat_n(' ', 40_usize.saturating_sub(line.len())).collect();
        // Writing to a string can't fail.
        let _ = writeln!(text, "{line}{gap} # {}", one.origin);
    }
    Ok(text)
}

#[cfg(test)]
mod tests;
