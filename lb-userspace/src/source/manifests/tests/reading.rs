//! What is read from a directory, and what is said of mistakes in it.

use std::{os::unix::fs::symlink, path::Path};

use super::*;
use crate::source::manifests::SourceError;

/// Files, what they put in force, and what is wrong with them.
struct Case<'a> {
    files: &'a [(&'a str, &'a str)],
    services: &'a [&'a str],
    problems: &'a [&'a str],
}

#[track_caller]
fn check(case: &Case) {
    let bed = Bed::new();
    case.files.iter().for_each(|(name, text)| bed.write(name, text));
    let (snapshot, _source) = bed.open();
    assert_eq!(services(&snapshot), case.services);
    assert_eq!(problems(&bed, &snapshot), case.problems);
}

#[test]
fn the_sample_manifests_are_in_force() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/manifests");
    let (snapshot, _source) = ManifestSource::open(&path).unwrap();
    let snapshot = snapshot.without_problems().unwrap();
    assert_eq!(services(&snapshot), ["web=10", "dns=53"]);
    assert_eq!(snapshot.model.slices.len(), 1);
}

#[test]
fn files_of_other_names_and_objects_of_other_kinds_are_passed_over() {
    check(&Case {
        files: &[
            ("a.yaml", &service("a", 1)),
            ("b.yml", &service("b", 2)),
            ("c.json", r#"{"apiVersion": "apps/v1", "kind": "Deployment"}"#),
            ("d.yaml", "apiVersion: serving.knative.dev/v1\nkind: Service\n"),
            ("e.yaml~", "{"),
            (".f.yaml", "{"),
            ("README", "{"),
        ],
        services: &["a=1", "b=2"],
        problems: &[],
    });
}

#[test]
fn one_bad_object_is_named_by_file_line_and_field_and_disturbs_no_other() {
    let bad = service("b", 2).replace("port: 80", "port: 80\n    nodePort: 29999");
    let bad = bad.replace("spec:", "spec:\n  type: NodePort");
    check(&Case {
        files: &[("a.yaml", &[service("a", 1), bad, service("c", 3)].join("---\n"))],
        services: &["a=1", "c=3"],
        problems: &[
            "a.yaml:10:1: Service default/b: spec.ports[0].nodePort: Invalid value: 29999: \
             provided port is not in the valid range. The range of valid ports is 30000-32767",
        ],
    });
}

#[test]
fn a_file_that_is_no_yaml_is_named_with_its_line_and_disturbs_no_other() {
    check(&Case {
        files: &[("a.yaml", &service("a", 1)), ("b.yaml", "kind: Service\n  name: b\n")],
        services: &["a=1"],
        problems: &[
            "b.yaml:2:7: mapping values are not allowed in this context (nothing of the file is \
             in force)",
        ],
    });
}

#[test]
fn wrong_types_and_misspelt_fields_are_shown_where_they_stand() {
    check(&Case {
        files: &[
            ("a.yaml", &service("a", 1).replace("80", "eighty")),
            ("b.yaml", &service("b", 2).replace("clusterIP", "clusterIp")),
            ("c.yaml", "kind: Service\n"),
            ("d.yaml", "- 1\n"),
            ("e.yaml", "apiVersion: v1\n"),
        ],
        services: &[],
        problems: &[
            "a.yaml:8:11: Service default/a: spec.ports[0].port: invalid type: string \"eighty\", \
             expected i32",
            "b.yaml:6:14: Service default/b: spec.clusterIp: unknown field; correct its name or \
             remove it",
            "c.yaml:1:1: `apiVersion` is missing, for example `v1`",
            "d.yaml:1:1: expected an object with `apiVersion` and `kind`",
            "e.yaml:1:1: `kind` is missing, for example `Service`",
        ],
    });
}

#[test]
fn an_object_in_two_files_counts_as_the_first_has_it() {
    check(&Case {
        files: &[
            ("b.yaml", &service("a", 2)),
            ("a.yaml", &[service("a", 1), service("a", 3)].join("---\n")),
        ],
        services: &["a=1"],
        problems: &[
            "a.yaml:10:1: Service default/a: stands twice in this file; the first one counts; \
             remove one",
            "b.yaml:1:1: Service default/a: stands in a.yaml already, and that one counts; remove \
             one",
        ],
    });
}

#[test]
fn a_conflict_between_two_objects_names_the_place_of_the_one_that_loses() {
    check(&Case {
        files: &[("a.yaml", &service("z", 1)), ("z.yaml", &service("a", 1))],
        services: &["a=1"],
        problems: &[
            "a.yaml:1:1: Service default/z: spec.clusterIPs[0]: Invalid value: \"10.96.0.1\": \
             provided IP is already allocated, to Service default/a; choose another one",
        ],
    });
}

#[test]
fn lists_of_one_kind_need_no_kind_in_their_items() {
    let list = "\
apiVersion: v1
kind: ServiceList
items:
- metadata: {name: a}
  spec: {clusterIP: 10.96.0.1, ports: [{port: 80}]}
- metadata: {name: b}
  spec: {clusterIP: 10.96.0.2, ports: [{port: 0}]}
";
    check(&Case {
        files: &[("a.yaml", list)],
        services: &["a=1"],
        problems: &[
            "a.yaml:7:47: Service default/b: spec.ports[0].port: Invalid value: 0: must be \
             between 1 and 65535, inclusive",
        ],
    });
}

#[test]
fn problems_are_an_error_to_those_who_want_none() {
    let bed = Bed::new();
    bed.write("a.yaml", "{");
    let (snapshot, _source) = bed.open();
    let error = snapshot.without_problems().unwrap_err();
    assert_eq!(error.0.len(), 1);
    assert!(error.to_string().contains("a.yaml:"), "{error}");
}

#[test]
fn a_directory_that_is_none_is_an_error_that_says_what_to_do() {
    let bed = Bed::new();
    bed.write("a.yaml", "");
    let missing = ManifestSource::open(&bed.file("nowhere")).unwrap_err();
    assert!(matches!(missing, SourceError::Missing { .. }), "{missing}");
    assert!(missing.to_string().ends_with("create it or name another one"), "{missing}");
    let file = ManifestSource::open(&bed.file("a.yaml")).unwrap_err();
    assert!(matches!(file, SourceError::NotADirectory { .. }), "{file}");
}

#[test]
fn a_file_that_is_no_text_is_named() {
    let bed = Bed::new();
    fs::write(bed.file("a.yaml"), [0xff, 0xfe, 0x00]).unwrap();
    let (snapshot, _source) = bed.open();
    let expected = "a.yaml: is not UTF-8 text (nothing of the file is in force)";
    assert_eq!(problems(&bed, &snapshot), [expected]);
}

#[test]
fn directories_and_dangling_links_are_no_manifests() {
    let bed = Bed::new();
    fs::create_dir(bed.file("a.yaml")).unwrap();
    symlink("nowhere", bed.file("b.yaml")).unwrap();
    let (snapshot, _source) = bed.open();
    assert_eq!(snapshot, Snapshot::default());
}
