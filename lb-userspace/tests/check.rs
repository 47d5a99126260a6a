//! `lb check` as it is run: what it prints, and its exit status.

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use serde_json::Value;
use tempfile::TempDir;

const GOOD: &str = "\
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  clusterIP: 10.96.0.1
  ports: [{port: 80}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-1, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
ports: [{port: 8080}]
endpoints: [{addresses: [10.1.0.1]}]
";

fn directory(text: &str) -> TempDir {
    let directory = TempDir::new().expect("a directory");
    fs::write(directory.path().join("web.yaml"), text).expect("a manifest");
    directory
}

fn check(directory: &Path, more: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lb"));
    command.arg("check").arg(directory).args(more).output().expect("lb runs")
}

/// Exit status and output.
fn said(text: &str, more: &[&str]) -> (Option<i32>, String) {
    let directory = directory(text);
    let output = check(directory.path(), more);
    let place = format!("{}/", directory.path().display());
    (output.status.code(), String::from_utf8_lossy(&output.stdout).replace(&place, ""))
}

#[test]
fn good_manifests_are_fine() {
    let fine = "1 Service, 1 EndpointSlice, 0 Pods: 0 problems, 0 warnings\n";
    assert_eq!(said(GOOD, &["--strict"]), (Some(0), fine.to_owned()));
}

#[test]
fn warnings_count_only_if_that_is_wanted() {
    let text = GOOD.replace("[{addresses: [10.1.0.1]}]", "[]");
    let expected = "warning: web.yaml:1:1: Service default/web: spec: has no endpoints: clients are refused\n1 \
                    Service, 1 EndpointSlice, 0 Pods: 0 problems, 1 warning\n";
    assert_eq!(said(&text, &[]), (Some(0), expected.to_owned()));
    assert_eq!(said(&text, &["--strict"]), (Some(1), expected.to_owned()));
}

#[test]
fn all_problems_are_told_with_file_object_field_and_reason() {
    let text =
        GOOD.replace("port: 80}", "port: 0, nodePort: 1}").replace("[10.1.0.1]", "[127.0.0.1]");
    let (status, text) = said(&text, &[]);
    assert_eq!(status, Some(1));
    for part in [
        "problem: web.yaml:6:18: Service default/web: spec.ports[0].port: Invalid value: 0",
        "EndpointSlice default/web-1: endpoints[0].addresses[0]: Invalid value: \"127.0.0.1\"",
    ] {
        assert!(text.contains(part), "{part} in\n{text}");
    }
}

#[test]
fn what_lb_run_would_refuse_for_its_flags_is_a_problem() {
    let (status, text) = said(GOOD, &["--service-cidr", "10.97.0.0/16"]);
    assert_eq!(status, Some(1), "{text}");
    assert!(text.contains("The range of valid IPs is 10.97.0.0/16"), "{text}");
    let open = GOOD.replace("  clusterIP: 10.96.0.1\n", "");
    assert_eq!(said(&open, &[]).0, Some(1), "nothing to choose from");
    assert_eq!(said(&open, &["--service-cidr", "10.97.0.0/16", "--strict"]).0, Some(0));
}

#[test]
fn the_directory_and_ranges_may_stand_in_the_configuration_file() {
    let directory = directory(&GOOD.replace("  clusterIP: 10.96.0.1\n", ""));
    let file = directory.path().join("config");
    let text = format!("manifests: {}\nserviceCidrs: [10.97.0.0/16]\n", directory.path().display());
    fs::write(&file, text).expect("a file");
    let mut command = Command::new(env!("CARGO_BIN_EXE_lb"));
    let output = command.arg("check").arg("--config").arg(&file).output().expect("lb runs");
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn programs_are_told_the_same_in_parts() {
    let (status, text) = said(&GOOD.replace("port: 80}", "port: 0}"), &["-o", "json"]);
    assert_eq!(status, Some(1));
    let report: Value = serde_json::from_str(&text).expect("JSON");
    let problem = &report["problems"][0];
    assert_eq!(problem["line"], 6, "{text}");
    assert_eq!(problem["kind"], "Service");
    assert_eq!(problem["namespace"], "default");
    assert_eq!(problem["name"], "web");
    assert_eq!(problem["field"], "spec.ports[0].port");
    assert_eq!(report["objects"]["services"], 0);
    assert_eq!(report["objects"]["endpointSlices"], 1);
}

#[test]
fn mistakes_of_the_caller_have_their_own_exit_status() {
    let command = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lb"));
        command.arg("check").args(arguments).output().expect("lb runs")
    };
    assert_eq!(command(&[]).status.code(), Some(2));
    let output = command(&["/nowhere/at/all"]);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("no manifests at /nowhere/at/all"), "{said}");
}
