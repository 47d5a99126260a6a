//! Everything that fuzzing has found, and the seeds that it began with, through their targets again.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use lb_fuzz_targets::TARGETS;
use proptest::{
    collection::vec,
    prelude::*,
    sample::{Index, select},
    test_runner::TestRunner,
};

/// The crate in cargo-fuzz's layout.
fn fuzz() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The files of a directory, or the directories.
fn entries(directory: &Path) -> BTreeSet<PathBuf> {
    let entries =
        fs::read_dir(directory).unwrap_or_else(|e| panic!("{}: {e}", directory.display()));
    entries.map(|entry| entry.expect("an entry").path()).collect()
}

#[test]
fn every_file_of_the_corpus_goes_through_its_target() {
    for (name, check) in TARGETS {
        let files = entries(&fuzz().join("corpus").join(name));
        assert!(files.len() >= 8, "{name} has {} files", files.len());
        for file in files {
            let bytes = fs::read(&file).expect("a file of the corpus");
            // The panic doesn't say which file; the output of a failing test does.
            println!("{}", file.display());
            check(&bytes);
        }
    }
}

#[test]
fn every_target_has_a_program_and_a_corpus_and_there_are_no_others() {
    let expected: BTreeSet<_> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    for place in ["corpus", "fuzz_targets"] {
        let found = entries(&fuzz().join(place));
        let found: BTreeSet<_> = found
            .iter()
            .filter_map(|path| path.file_stem())
            .map(|name| name.to_string_lossy().into_owned())
            .collect();
        assert_eq!(found, expected, "{place}");
    }
}

/// What libFuzzer does, without its eyes: bytes replaced, the end cut off, another file behind it. More of
/// it with `PROPTEST_CASES`.
#[test]
fn files_of_the_corpus_that_are_changed_are_withstood_too() {
    for (name, check) in TARGETS {
        let files = entries(&fuzz().join("corpus").join(name));
        let files: Vec<_> = files.iter().map(|file| fs::read(file).expect("a file")).collect();
        let changes = vec(any::<(Index, u8)>(), 0..8);
        let mutated = (select(files.clone()), select(files), changes, any::<(bool, Index)>())
            .prop_map(|(mut bytes, other, changes, (cut, at))| {
                if bytes.is_empty() {
                    return other;
                }
                if cut {
                    bytes.truncate(at.index(bytes.len()));
                    bytes.extend(other);
                }
                let length = bytes.len();
                for (at, value) in changes.iter().filter(|_| length > 0) {
                    bytes[at.index(length)] = *value;
                }
                bytes
            });
        let result = TestRunner::default().run(&mutated, |bytes| {
            check(&bytes);
            Ok(())
        });
        result.unwrap_or_else(|error| panic!("{name}: {error}"));
    }
}
