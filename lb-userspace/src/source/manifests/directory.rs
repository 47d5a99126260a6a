//! The files of a directory taken together: which count, which object comes from which, and the
//! snapshot that they make.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    document::{Content, Object},
    file::File,
};
use crate::{
    control::{ControlPlane, Missing, Objects, Outcome, StoreError},
    model::{Kind, ObjectRef, Position, Problem, ServiceName},
    source::Snapshot,
};

/// What a directory holds, with the objects as they are written.
#[derive(Clone, Debug, Default)]
pub struct Examined {
    /// What would be in force, and what is wrong.
    pub snapshot: Snapshot,
    /// The objects that are right by themselves.
    pub objects: Objects,
    /// Where they stand.
    places: BTreeMap<ObjectRef, (PathBuf, Option<Position>)>,
}

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

    /// Everything that its files put in force, and everything that is wrong. Fails, and has changed
    /// nothing, if what Services are given can't be written down.
    pub(super) fn snapshot(&self, control: &mut ControlPlane) -> Result<Snapshot, StoreError> {
        self.examine(control).map(|examined| examined.snapshot)
    }

    /// The same with the objects that it is made of, and where they stand.
    pub(super) fn examine(&self, control: &mut ControlPlane) -> Result<Examined, StoreError> {
        let mut problems: Vec<Problem> =
            self.files.values().flat_map(File::problems).cloned().collect();
        let missing = missing(&problems);
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

        let mut objects = Objects::default();
        for (_, object) in origins.values() {
            match object.content.clone() {
                Content::Service(one) => drop(objects.services.insert(one.name.clone(), one)),
                Content::Slice(slice) => objects.slices.push(slice),
                Content::Endpoints(one) => drop(objects.endpoints.insert(one.service.clone(), one)),
                Content::Pod(pod) => drop(objects.pods.insert(pod.name.clone(), pod)),
                Content::Node(node) => drop(objects.nodes.insert(node.name.clone(), node)),
            }
        }
        let Outcome { model, refused, pending } = control.admit(&objects, &missing)?;
        problems.extend(refused.into_iter().map(|conflict| {
            let origin = origins.get(&conflict.object);
            let mut problem = Problem::of_object(conflict.object.clone(), &conflict.invalid);
            if model.services.keys().any(|name| ObjectRef::from(name) == conflict.object) {
                problem.message.push_str(" (the object stays in force as it last was right)");
            }
            match origin {
                Some((file, object)) => problem.found_in(file, object.position),
                None => problem,
            }
        }));
        problems.sort();
        let place = |(reference, (file, object)): (&ObjectRef, (&Path, &Object))| {
            (reference.clone(), (file.to_owned(), object.position))
        };
        let places = origins.into_iter().map(place).collect();
        Ok(Examined {
            snapshot: Snapshot { model: Arc::new(model), problems, pending },
            objects,
            places,
        })
    }
}

impl Examined {
    /// The problem with the file and the place of its object, if it is one of these.
    pub fn place(&self, problem: Problem) -> Problem {
        match problem.object.as_ref().and_then(|object| self.places.get(object)) {
            Some((file, position)) => problem.found_in(file, *position),
            None => problem,
        }
    }
}

/// Services that may be there although they are not among the objects: those that are wrong, and any at all
/// where something can't be read.
fn missing(problems: &[Problem]) -> Missing {
    let named = |problem: &Problem| {
        let object = problem.object.as_ref()?;
        Some(
            (object.kind == Kind::Service)
                .then(|| ServiceName::new(&object.namespace, &object.name)),
        )
    };
    let all: Option<Vec<_>> = problems.iter().map(named).collect();
    all.map_or(Missing::Unknown, |names| Missing::Named(names.into_iter().flatten().collect()))
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
