//! What a benchmark found, and its files. How the text looks is in `tables`, the drawing in `chart`.

use std::{
    fmt::Display,
    fs, io,
    os::unix::fs::{MetadataExt as _, chown},
    path::{Path, PathBuf},
    time::SystemTime,
};

use anyhow::{Context as _, Result, ensure};
use serde::Serialize;

use super::{Context, Machine, Section, chart, tables};

/// The version of the JSON's layout.
const FORMAT: u32 = 1;

/// What a benchmark writes: `NAME.json`, `NAME.md`, and `NAME.svg` if a section is drawn.
const EXTENSIONS: [&str; 3] = ["json", "md", "svg"];

/// What a benchmark found.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The benchmark's name, and that of its files.
    pub bench: String,
    /// What it is about.
    pub title: String,
    pub(super) settings: Vec<Setting>,
    pub(super) sections: Vec<Section>,
    pub(super) marks: Vec<Mark>,
    pub(super) notes: Vec<String>,
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct Setting {
    pub(super) what: String,
    pub(super) value: String,
}

/// What a figure was to be, and what it is.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Mark {
    pub(super) what: String,
    pub(super) wanted: String,
    pub(super) got: String,
    pub(super) met: bool,
}

/// A report with where and when its figures were taken: all that the JSON holds.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Record<'a> {
    format: u32,
    /// The end of the benchmark, in UTC.
    pub(super) taken: String,
    pub(super) rounds: usize,
    pub(super) quick: bool,
    pub(super) machine: Machine,
    #[serde(flatten)]
    pub(super) report: &'a Report,
}

impl Report {
    /// An empty one.
    pub fn new(bench: &str, title: &str) -> Self {
        Self {
            bench: bench.to_owned(),
            title: title.to_owned(),
            settings: Vec::new(),
            sections: Vec::new(),
            marks: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// Says how it was measured, for example `frames`: `UDP, 64 bytes`.
    pub fn setting(&mut self, what: &str, value: impl Display) {
        self.settings.push(Setting { what: what.to_owned(), value: value.to_string() });
    }

    /// Adds a table.
    pub fn section(&mut self, section: Section) {
        self.sections.push(section);
    }

    /// Holds a figure against what it was to be. One that was missed is said, and is no error.
    pub fn mark(&mut self, what: &str, wanted: &str, got: impl Display, met: bool) {
        let (what, wanted) = (what.to_owned(), wanted.to_owned());
        self.marks.push(Mark { what, wanted, got: got.to_string(), met });
    }

    /// Adds a paragraph after the tables.
    pub fn note(&mut self, text: impl Display) {
        self.notes.push(text.to_string());
    }

    /// Prints it and writes its files. Refuses a report that isn't whole, see [`Section`].
    pub fn finish(&self, context: &Context) -> Result<()> {
        ensure!(!self.sections.is_empty(), "the report has no figures");
        for section in &self.sections {
            section.check()?;
        }
        let record = Record {
            format: FORMAT,
            taken: humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
            rounds: context.rounds,
            quick: context.quick,
            machine: Machine::here(),
            report: self,
        };
        let json = serde_json::to_string_pretty(&record).context("making the JSON")? + "\n";
        let drawing = chart::draw(&self.title, &self.sections).context("drawing")?;

        create_directory(&context.out)
            .with_context(|| format!("creating {}", context.out.display()))?;
        write(&context.out, &self.bench, "json", &json)?;
        write(&context.out, &self.bench, "md", &tables::markdown(&record))?;
        if let Some(drawing) = drawing {
            write(&context.out, &self.bench, "svg", &drawing)?;
        }
        println!("{}", tables::terminal(&record));
        Ok(())
    }
}

/// Removes the files of a benchmark, if there are any.
pub fn remove(directory: &Path, bench: &str) -> Result<()> {
    for extension in EXTENSIONS {
        let path = path(directory, bench, extension);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("removing {}", path.display()));
            }
            _ => {}
        }
    }
    Ok(())
}

fn path(directory: &Path, bench: &str, extension: &str) -> PathBuf {
    directory.join(format!("{bench}.{extension}"))
}

/// Writes a file. It belongs to whom the directory belongs: benchmarks run as root, and people want to
/// remove what is in their `target`.
fn write(directory: &Path, bench: &str, extension: &str, text: &str) -> Result<()> {
    let path = path(directory, bench, extension);
    let written = fs::write(&path, text).and_then(|()| give_away(&path, directory));
    written.with_context(|| format!("writing {}", path.display()))
}

fn create_directory(directory: &Path) -> io::Result<()> {
    if directory.is_dir() {
        return Ok(());
    }
    let parent = match directory.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    create_directory(parent)?;
    fs::create_dir(directory)?;
    give_away(directory, parent)
}

/// To whom `like` belongs.
fn give_away(path: &Path, like: &Path) -> io::Result<()> {
    let owner = fs::metadata(like)?;
    chown(path, Some(owner.uid()), Some(owner.gid()))
}
