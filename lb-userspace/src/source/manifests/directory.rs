//! The files of a directory taken together: which count, which object comes from which, and the
//! snapshot that they make.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use super::{
    document::{Content, Object},
    file::File,
};
use crate::{
    model::{Model, ObjectRef, Problem},
    source::Snapshot,
};

/// A directory of manifests as it was last seen.
#[derive(Debug)]
pub(super) struct Directory {
    path: PathBuf,
    /// By path, which is the order in which they count.
    files: BTreeMap<PathBuf, File>,
}

impl Directory {
    /// A directory of which nothing is known yet.
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, files: BTreeMap::new() }
    }

    /// One with a single file, which holds this.
    pub(super) fn holding(path: PathBuf, bytes: &[u8]) -> Self {
        let mut file = File::new(path.clone());
        file.take(bytes);
        Self { path: PathBuf::new(), files: BTreeMap::from([(path, file)]) }
    }

    /// Looks at it again. Fails if it can't be listed, and then nothing has changed.
    pub(super) fn refresh(&mut self) -> io::Result<()> {
        let mut before = std::mem::take(&mut self.files);
        let paths = match manifests(&self.path) {
            Ok(paths) => paths,
            Err(error) => {
                self.files = before;
                return Err(error);
            }
        };
        for path in paths {
            let mut file = before.remove(&path).unwrap_or_else(|| File::new(path.clone()));
            if file.refresh() {
                self.files.insert(path, file);
            }
        }
        Ok(())
    }

    /// Everything that its files put in force, and everything that is wrong.
    pub(super) fn snapshot(&self) -> Snapshot {
        let mut problems: Vec<Problem> =
            self.files.values().flat_map(File::problems).cloned().collect();
        let mut origins: BTreeMap<&ObjectRef, (&Path, &Object)> = BTreeMap::new();
        for file in self.files.values() {
            for object in file.objects() {
                if let Some((first, _)) = origins.get(&object.reference) {
                    problems.push(twice(object, file.path(), first));
                } else {
                    origins.insert(&object.reference, (file.path(), object));
                }
            }
        }

        let mut services = Vec::new();
        let mut slices = Vec::new();
        for (_, object) in origins.values() {
            match &object.content {
                Content::Service(service) => services.push(service.clone()),
                Content::Slice(slice) => slices.push(slice.clone()),
            }
        }
        let (model, conflicts) = Model::assemble(services, slices);
        problems.extend(conflicts.into_iter().map(|conflict| {
            let origin = origins.get(&conflict.object);
            let problem = Problem::of_object(conflict.object.clone(), &conflict.invalid);
            match origin {
                Some((file, object)) => problem.found_in(file, object.position),
                None => problem,
            }
        }));
        problems.sort();
        Snapshot { model, problems }
    }
}

fn twice(object: &Object, file: &Path, first: &Path) -> Problem {
    let message = if file == first {
        "stands twice in this file; the first one counts; remove one".to_owned()
    } else {
        format!("stands in {} already, and that one counts; remove one", first.display())
    };
    let problem = Problem::of_file(file, message).found_in(file, object.position);
    Problem { object: Some(object.reference.clone()), ..problem }
}

/// The manifest files of a directory, links to files included.
fn manifests(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if is_manifest(&path) && !path.is_dir() {
            paths.push(path);
        }
    }
    Ok(paths)
}

/// Whether the name is one of a manifest. Hidden files are editors' and `ConfigMaps`' own.
fn is_manifest(path: &Path) -> bool {
    let extension = path
        .extension()
        .is_some_and(|extension| extension == "yaml" || extension == "yml" || extension == "json");
    let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
    extension && !hidden
}
