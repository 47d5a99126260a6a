//! The configuration file. Which options there are, and what they may be, is known from the flags of
//! `lb run`: a value of the file becomes the default of its flag. So flags win over the file, and the file over defaults.

use std::{
    any::TypeId,
    collections::BTreeMap,
    error::Error as _,
    fmt, fs, io,
    path::{Path, PathBuf},
};

use clap::{
    Arg, ArgAction, Command, Id,
    error::{ContextKind, ContextValue},
};
use serde_json::Value;

use super::CONFIG;
use crate::{
    model::{Position, Problem},
    yaml::{self, Tree},
};

/// An option by its name in the file.
#[derive(Debug)]
pub struct Field {
    /// The flag's name in camel case, in the plural if it may be given several times.
    pub name: String,
    /// The flag.
    pub arg: Arg,
}

/// What values of an option look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Number,
    Bool,
    Text,
}

/// A file that is right by itself.
#[derive(Debug, Default)]
pub struct ConfigFile {
    /// Values by the flags' ids.
    given: BTreeMap<Id, Given>,
}

/// What the file says of an option.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Given {
    /// As one would write it on the command line; several for what may be given several times.
    texts: Vec<String>,
    /// File and line.
    pub place: String,
}

/// The file can't be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It can't be read.
    #[error("can't read the configuration file {}; is --config right?", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It says something that nobody understands.
    #[error("the configuration is not right:\n{}", Lines(.0))]
    Wrong(Vec<Problem>),
}

struct Lines<'a>(&'a [Problem]);

impl fmt::Display for Lines<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            write!(f, "{}{problem}", if index == 0 { "" } else { "\n" })?;
        }
        Ok(())
    }
}

/// The options that a file may have: those of this command, in its order.
pub fn fields(command: &Command) -> Vec<Field> {
    let options = command.get_arguments().filter(|arg| arg.get_id() != CONFIG);
    options.filter_map(|arg| Some(Field { name: name(arg)?, arg: arg.clone() })).collect()
}

fn name(arg: &Arg) -> Option<String> {
    let mut words = arg.get_long()?.split('-');
    let mut name = words.next()?.to_owned();
    for word in words {
        name.push_str(&word[..1].to_uppercase());
        name.push_str(&word[1..]);
    }
    if is_list(arg) {
        name.push('s');
    }
    Some(name)
}

fn is_list(arg: &Arg) -> bool {
    matches!(arg.get_action(), ArgAction::Append)
}

impl Field {
    /// Whether it may be given several times.
    pub fn is_list(&self) -> bool {
        is_list(&self.arg)
    }

    /// A text of the command line as the file has it.
    pub fn value(&self, text: &str) -> Value {
        match self.form() {
            Form::Text => Value::from(text),
            // What clap has taken is a number or a bool.
            Form::Number | Form::Bool => serde_json::from_str(text).unwrap_or(Value::Null),
        }
    }

    fn form(&self) -> Form {
        let kind = self.arg.get_value_parser().type_id();
        if kind == TypeId::of::<u32>() {
            Form::Number
        } else if kind == TypeId::of::<bool>() {
            Form::Bool
        } else {
            Form::Text
        }
    }

    /// What a value of the file would be on the command line.
    fn texts(&self, value: &Tree) -> Result<Vec<String>, (Option<Position>, String)> {
        let one = |value: &Tree| self.text(value).map_err(|message| (value.position(), message));
        if !self.is_list() {
            return one(value).map(|text| vec![text]);
        }
        if !value.is_list() {
            let message = "expected a list, as in [a, b]; [] is an empty one";
            return Err((value.position(), message.to_owned()));
        }
        value.items().iter().map(one).collect()
    }

    fn text(&self, value: &Tree) -> Result<String, String> {
        let text = match (self.form(), value.scalar()) {
            (Form::Number, Some(Value::Number(number))) => number.to_string(),
            (Form::Bool, Some(Value::Bool(yes))) => yes.to_string(),
            (Form::Text, Some(Value::String(text))) => text.clone(),
            (Form::Number, _) => return Err("expected a whole number".to_owned()),
            (Form::Bool, _) => return Err("expected true or false".to_owned()),
            (Form::Text, Some(Value::Null)) => {
                return Err("has no value; write one, or remove the line".to_owned());
            }
            (Form::Text, Some(_)) => return Err("expected text; put it in quotes".to_owned()),
            (Form::Text, None) => return Err("expected one value".to_owned()),
        };
        self.check(&text).map(|()| text)
    }

    /// Whether clap takes the text; fails with what is wrong and what is allowed.
    fn check(&self, text: &str) -> Result<(), String> {
        let Some(long) = self.arg.get_long() else { return Ok(()) };
        let alone = Command::new("lb").no_binary_name(true).arg(self.arg.clone().required(false));
        let Err(error) = alone.try_get_matches_from([format!("--{long}={text}")]) else {
            return Ok(());
        };
        let allowed = match (error.get(ContextKind::ValidValue), error.source()) {
            (Some(ContextValue::Strings(all)), _) if !all.is_empty() => {
                format!("it can be {}", all.join(", "))
            }
            (_, Some(source)) => source.to_string(),
            _ => error.kind().to_string(),
        };
        Err(format!("invalid value {text:?}: {allowed}"))
    }
}

impl ConfigFile {
    /// Reads a file with options of this command. Fails with everything that is wrong with it.
    pub fn read(path: &Path, command: &Command) -> Result<Self, ConfigError> {
        let failed = |source| ConfigError::Unreadable { path: path.to_owned(), source };
        let text = fs::read_to_string(path).map_err(failed)?;
        Self::parse(&text, path, &fields(command))
    }

    fn parse(text: &str, path: &Path, fields: &[Field]) -> Result<Self, ConfigError> {
        let wrong = |position, field: Option<&str>, message: String| {
            let problem = Problem::of_file(path, message).found_in(path, position);
            Problem { field: field.map(str::to_owned), ..problem }
        };
        let documents = match yaml::read(text) {
            Ok(documents) => documents,
            Err(error) => {
                return Err(ConfigError::Wrong(vec![wrong(error.position, None, error.message)]));
            }
        };
        if let Some(other) = documents.iter().enumerate().find(|(at, one)| *at > 0 || !one.is_map())
        {
            let message = "expected one document, with an option on each line, as in `xdp: native`";
            return Err(ConfigError::Wrong(vec![wrong(
                other.1.position(),
                None,
                message.to_owned(),
            )]));
        }
        let (mut given, mut problems) = (BTreeMap::new(), Vec::new());
        for (name, value) in documents.iter().flat_map(Tree::members) {
            let Some(field) = fields.iter().find(|field| field.name == *name) else {
                problems.push(wrong(value.position(), Some(name), unknown(name, fields)));
                continue;
            };
            match field.texts(value) {
                Ok(texts) => {
                    let line = value.position().map_or(String::new(), |at| format!(":{}", at.line));
                    let place = format!("{}{line}", path.display());
                    given.insert(field.arg.get_id().clone(), Given { texts, place });
                }
                Err((position, message)) => problems.push(wrong(position, Some(name), message)),
            }
        }
        if problems.is_empty() { Ok(Self { given }) } else { Err(ConfigError::Wrong(problems)) }
    }

    /// The command with what the file says instead of its defaults. What it has no flag for is left out.
    pub fn apply(&self, command: Command) -> Command {
        command.mut_args(|arg| match self.given.get(arg.get_id()) {
            Some(given) if !given.texts.is_empty() => {
                arg.required(false).default_values(given.texts.clone())
            }
            _ => arg,
        })
    }

    /// What it says of an option.
    pub fn given(&self, id: &Id) -> Option<&Given> {
        self.given.get(id)
    }
}

fn unknown(name: &str, fields: &[Field]) -> String {
    let nearest = fields
        .iter()
        .map(|field| (likeness(name, &field.name), field))
        .max_by(|(one, _), (other, _)| one.total_cmp(other));
    match nearest {
        Some((likeness, field)) if likeness > 0.5 => {
            format!("unknown option; did you mean `{}`?", field.name)
        }
        _ => "unknown option; lb config shows all that there are".to_owned(),
    }
}

fn likeness(one: &str, other: &str) -> f64 {
    strsim::normalized_damerau_levenshtein(&one.to_lowercase(), &other.to_lowercase())
}

#[cfg(test)]
mod tests;
