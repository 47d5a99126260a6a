//! Both halves work on a real directory: what is read from it, and what is noticed.

mod control;
mod reading;
mod watching;

use std::{fs, path::PathBuf, time::Duration};

use tempfile::TempDir;

use super::ManifestSource;
use crate::{model::ServiceName, source::Snapshot};

/// A directory to put manifests into.
struct Bed {
    root: TempDir,
}

impl Bed {
    fn new() -> Self {
        let bed = Self { root: TempDir::new().unwrap() };
        fs::create_dir(bed.path()).unwrap();
        bed
    }

    fn path(&self) -> PathBuf {
        self.root.path().join("manifests")
    }

    fn file(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.file(name), text).unwrap();
    }

    fn open(&self) -> (Snapshot, ManifestSource) {
        ManifestSource::open(&self.path()).unwrap()
    }
}

/// A Service as people write it, with a cluster IP that ends in `host`.
fn service(name: &str, host: u8) -> String {
    format!(
        "apiVersion: v1\nkind: Service\nmetadata:\n  name: {name}\nspec:\n  clusterIP: \
         10.96.0.{host}\n  ports:\n  - port: 80\n"
    )
}

/// The Services in force, as `name=last byte of the cluster IP`.
fn services(snapshot: &Snapshot) -> Vec<String> {
    let services = snapshot.model.services.iter();
    let shown = services.map(|(ServiceName { name, .. }, service)| {
        let address = service.cluster_ips[0].to_string();
        format!("{name}={}", address.rsplit('.').next().unwrap())
    });
    shown.collect()
}

/// The problems, without the directory's path.
fn problems(bed: &Bed, snapshot: &Snapshot) -> Vec<String> {
    let directory = format!("{}/", bed.path().display());
    let shown = snapshot.problems.iter();
    shown.map(|problem| problem.to_string().replace(&directory, "")).collect()
}

/// Follows a source until a snapshot is as wanted; fails after a time that only a fault needs.
async fn until(
    source: &mut ManifestSource,
    mut snapshot: Snapshot,
    wanted: impl Fn(&Snapshot) -> bool,
) -> Snapshot {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    while !wanted(&snapshot) {
        match tokio::time::timeout_at(deadline, source.changed()).await {
            Ok(next) => snapshot = next,
            Err(elapsed) => panic!("never came ({elapsed}); last was {snapshot:#?}"),
        }
    }
    snapshot
}
