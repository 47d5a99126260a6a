//! Changes of a directory while it is watched.

use std::{
    fs::File,
    io::Write,
    os::unix::fs::symlink,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use super::*;

/// A Service of which `number` is what may change.
fn service(name: &str, number: u8) -> String {
    let plain = super::service(name, name.as_bytes()[0]);
    plain.replace("spec:", &format!("spec:\n  externalIPs: [192.0.2.{number}]"))
}

/// The Services in force, as `name=number`.
fn services(snapshot: &Snapshot) -> Vec<String> {
    let services = snapshot.model.services.iter();
    let shown = services.map(|(ServiceName { name, .. }, service)| {
        let address = service.traffic.external_ips[0].to_string();
        format!("{name}={}", address.rsplit('.').next().unwrap())
    });
    shown.collect()
}

#[tokio::test]
async fn files_that_are_added_changed_and_removed_take_effect() {
    let bed = Bed::new();
    bed.write("a.yaml", &service("a", 1));
    let (snapshot, mut source) = bed.open();
    bed.write("b.yaml", &service("b", 2));
    let snapshot = until(&mut source, snapshot, |s| services(s) == ["a=1", "b=2"]).await;
    bed.write("b.yaml", &service("b", 3));
    let snapshot = until(&mut source, snapshot, |s| services(s) == ["a=1", "b=3"]).await;
    fs::remove_file(bed.file("a.yaml")).unwrap();
    let snapshot = until(&mut source, snapshot, |s| services(s) == ["b=3"]).await;
    fs::rename(bed.file("b.yaml"), bed.file("b.off")).unwrap();
    until(&mut source, snapshot, |s| services(s).is_empty()).await;
}

#[tokio::test]
async fn a_rename_over_a_file_takes_effect() {
    let bed = Bed::new();
    bed.write("a.yaml", &service("a", 1));
    let (snapshot, mut source) = bed.open();
    bed.write(".a.yaml.new", &service("a", 2));
    fs::rename(bed.file(".a.yaml.new"), bed.file("a.yaml")).unwrap();
    until(&mut source, snapshot, |s| services(s) == ["a=2"]).await;
}

#[tokio::test]
async fn a_file_that_breaks_keeps_what_it_held_until_it_is_mended() {
    let bed = Bed::new();
    bed.write("a.yaml", &service("a", 1));
    let (snapshot, mut source) = bed.open();
    bed.write("a.yaml", "kind: [");
    let snapshot = until(&mut source, snapshot, |s| !s.problems.is_empty()).await;
    assert_eq!(services(&snapshot), ["a=1"]);
    let problem = &problems(&bed, &snapshot)[0];
    assert!(problem.starts_with("a.yaml:1:"), "{problem}");
    assert!(problem.ends_with("(what the file last held stays in force)"), "{problem}");
    bed.write("a.yaml", &service("a", 2));
    let snapshot = until(&mut source, snapshot, |s| services(s) == ["a=2"]).await;
    assert_eq!(problems(&bed, &snapshot), [""; 0]);
}

#[tokio::test]
async fn an_object_that_breaks_stays_as_it_was_while_others_of_its_file_change() {
    let bed = Bed::new();
    let both = |a: String, b: String| [a, b].join("---\n");
    bed.write("a.yaml", &both(service("a", 1), service("b", 1)));
    bed.write("a.yaml", &both(service("a", 1), service("b", 2)));
    let (snapshot, mut source) = bed.open();
    bed.write("a.yaml", &both(service("a", 5).replace("80", "0"), service("b", 6)));
    let snapshot = until(&mut source, snapshot, |s| !s.problems.is_empty()).await;
    assert_eq!(services(&snapshot), ["a=1", "b=6"]);
    assert_eq!(
        problems(&bed, &snapshot),
        ["a.yaml:9:11: Service default/a: spec.ports[0].port: Invalid value: 0: must be between \
             1 and 65535, inclusive (the object stays in force as it last was right)"]
    );
    bed.write("a.yaml", &service("b", 6));
    let snapshot = until(&mut source, snapshot, |s| s.problems.is_empty()).await;
    assert_eq!(services(&snapshot), ["b=6"]);
}

#[tokio::test]
async fn a_file_that_was_emptied_keeps_what_it_held() {
    let bed = Bed::new();
    bed.write("a.yaml", &service("a", 1));
    let (snapshot, mut source) = bed.open();
    bed.write("a.yaml", "");
    let snapshot = until(&mut source, snapshot, |s| !s.problems.is_empty()).await;
    assert_eq!(services(&snapshot), ["a=1"]);
    bed.write("a.yaml", "# nothing any more\n");
    let snapshot = until(&mut source, snapshot, |s| services(s).is_empty()).await;
    assert_eq!(problems(&bed, &snapshot), [""; 0]);
}

#[tokio::test]
async fn a_mounted_config_map_is_followed_when_its_link_is_swapped() {
    let bed = Bed::new();
    let version = |directory: &str, host| {
        fs::create_dir(bed.file(directory)).unwrap();
        bed.write(&format!("{directory}/a.yaml"), &service("a", host));
    };
    version("..1", 1);
    symlink("..1", bed.file("..data")).unwrap();
    symlink("..data/a.yaml", bed.file("a.yaml")).unwrap();
    let (snapshot, mut source) = bed.open();
    assert_eq!(services(&snapshot), ["a=1"]);
    version("..2", 2);
    symlink("..2", bed.file("..data_tmp")).unwrap();
    fs::rename(bed.file("..data_tmp"), bed.file("..data")).unwrap();
    until(&mut source, snapshot, |s| services(s) == ["a=2"]).await;
}

#[tokio::test]
async fn a_directory_that_disappears_stays_in_force_and_is_followed_when_it_is_back() {
    let bed = Bed::new();
    bed.write("a.yaml", &service("a", 1));
    let (snapshot, mut source) = bed.open();
    fs::remove_dir_all(bed.path()).unwrap();
    // Files go before their directory does, and that may be seen.
    let snapshot = until(&mut source, snapshot, |s| !s.problems.is_empty()).await;
    let problem = snapshot.problems[0].to_string();
    assert!(problem.contains("no such directory; create it"), "{problem}");
    fs::create_dir(bed.path()).unwrap();
    bed.write("b.yaml", &service("b", 2));
    let snapshot = until(&mut source, snapshot, |s| services(s) == ["b=2"]).await;
    let snapshot = until(&mut source, snapshot, |s| s.problems.is_empty()).await;
    bed.write("b.yaml", &service("b", 3));
    until(&mut source, snapshot, |s| services(s) == ["b=3"]).await;
}

#[tokio::test]
async fn a_directory_that_is_moved_away_stays_in_force_whole() {
    let bed = Bed::new();
    bed.write("a.yaml", &service("a", 1));
    let (snapshot, mut source) = bed.open();
    fs::rename(bed.path(), bed.root.path().join("elsewhere")).unwrap();
    let snapshot = until(&mut source, snapshot, |s| !s.problems.is_empty()).await;
    assert_eq!(services(&snapshot), ["a=1"]);
    fs::rename(bed.root.path().join("elsewhere"), bed.path()).unwrap();
    let snapshot = until(&mut source, snapshot, |s| s.problems.is_empty()).await;
    assert_eq!(services(&snapshot), ["a=1"]);
}

#[tokio::test]
async fn a_link_to_a_directory_is_followed_when_it_is_replaced() {
    let bed = Bed::new();
    let other = bed.root.path().join("other");
    fs::create_dir(&other).unwrap();
    bed.write("a.yaml", &service("a", 1));
    fs::write(other.join("a.yaml"), service("a", 2)).unwrap();
    let link = bed.root.path().join("current");
    symlink("manifests", &link).unwrap();
    let (snapshot, mut source) = ManifestSource::open(&link).unwrap();
    assert_eq!(services(&snapshot), ["a=1"]);
    symlink("other", bed.root.path().join("next")).unwrap();
    fs::rename(bed.root.path().join("next"), &link).unwrap();
    let snapshot = until(&mut source, snapshot, |s| services(s) == ["a=2"]).await;
    fs::write(other.join("a.yaml"), service("a", 3)).unwrap();
    until(&mut source, snapshot, |s| services(s) == ["a=3"]).await;
}

#[tokio::test]
async fn a_change_is_seen_although_another_file_is_written_without_end() {
    let bed = Bed::new();
    bed.write("a.yaml", &service("a", 1));
    let (snapshot, mut source) = bed.open();
    let enough = Arc::new(AtomicBool::new(false));
    let noise = {
        let (enough, path) = (enough.clone(), bed.file("noise.txt"));
        thread::spawn(move || {
            while !enough.load(Ordering::Relaxed) {
                File::create(&path).unwrap().write_all(b"x").unwrap();
                thread::yield_now();
            }
        })
    };
    bed.write("a.yaml", &service("a", 2));
    until(&mut source, snapshot, |s| services(s) == ["a=2"]).await;
    enough.store(true, Ordering::Relaxed);
    noise.join().unwrap();
}

#[tokio::test]
async fn waiting_may_be_given_up_and_taken_up_again() {
    let bed = Bed::new();
    let (snapshot, mut source) = bed.open();
    let given_up = tokio::time::timeout(Duration::from_millis(1), source.changed()).await;
    assert!(given_up.is_err(), "nothing had changed, and reading changes nothing");
    bed.write("a.yaml", &service("a", 1));
    until(&mut source, snapshot, |s| services(s) == ["a=1"]).await;
}
