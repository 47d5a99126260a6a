//! One manifest file: what it holds, and what it last held when it was right.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::document::{Contents, Object};
use crate::{
    model::{ObjectRef, Problem},
    yaml,
};

/// A file as it was last seen.
#[derive(Debug)]
pub(super) struct File {
    path: PathBuf,
    /// `None`: it couldn't be read.
    bytes: Option<Vec<u8>>,
    objects: Vec<Object>,
    problems: Vec<Problem>,
}

impl File {
    /// A file of which nothing is known yet.
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, bytes: None, objects: Vec::new(), problems: Vec::new() }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// What it puts in force.
    pub(super) fn objects(&self) -> &[Object] {
        &self.objects
    }

    /// What is wrong with it.
    pub(super) fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// Looks at it again. Objects that are wrong now stay as they last were right. False: it is gone.
    pub(super) fn refresh(&mut self) -> bool {
        match fs::read(&self.path) {
            Ok(bytes) if self.bytes.as_ref() == Some(&bytes) => {}
            Ok(bytes) => {
                self.take(&bytes);
                self.bytes = Some(bytes);
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => return false,
            Err(error) => {
                self.bytes = None;
                self.keep_all(Problem::of_file(&self.path, format!("can't be read: {error}")));
            }
        }
        true
    }

    /// Takes what it holds now.
    pub(super) fn take(&mut self, bytes: &[u8]) {
        // `command > file` leaves the file empty until the command has something to say.
        if bytes.is_empty() && !self.objects.is_empty() {
            let message = "is empty; remove the file to remove what it held";
            return self.keep_all(Problem::of_file(&self.path, message));
        }
        let Ok(text) = std::str::from_utf8(bytes) else {
            return self.keep_all(Problem::of_file(&self.path, "is not UTF-8 text"));
        };
        match yaml::read(text) {
            Ok(documents) => {
                let mut contents = Contents::default();
                for document in &documents {
                    contents.read(document);
                }
                self.replace(contents);
            }
            Err(error) => {
                let problem = Problem::of_file(&self.path, error.message);
                self.keep_all(problem.found_in(&self.path, error.position));
            }
        }
    }

    fn keep_all(&mut self, mut problem: Problem) {
        problem.message.push_str(if self.objects.is_empty() {
            " (nothing of the file is in force)"
        } else {
            " (what the file last held stays in force)"
        });
        self.problems = vec![problem];
    }

    fn replace(&mut self, contents: Contents) {
        let Contents { mut objects, refused, problems } = contents;
        let old = std::mem::take(&mut self.objects);
        let stays = |object: &Object| {
            refused.contains(&object.reference) && !names(&objects).any(|n| *n == object.reference)
        };
        let kept: Vec<_> = old.into_iter().filter(stays).collect();
        let note = |mut problem: Problem| {
            if names(&kept).any(|name| problem.object.as_ref() == Some(name)) {
                problem.message.push_str(" (the object stays in force as it last was right)");
            }
            let position = problem.position;
            problem.found_in(&self.path, position)
        };
        self.problems = problems.into_iter().map(note).collect();
        objects.extend(kept);
        self.objects = objects;
    }
}

fn names(objects: &[Object]) -> impl Iterator<Item = &ObjectRef> {
    objects.iter().map(|object| &object.reference)
}
