//! What is in force when flags, file and defaults differ.

use std::{fs, path::Path};

use super::*;
use crate::commands::{Cli, ReadError};

fn write(text: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), text).unwrap();
    file
}

fn config(path: &Path, more: &[&str]) -> Result<Config, ReadError> {
    let path = path.to_str().unwrap();
    let cli = Cli::read_from(["lb", "config", "--config", path].iter().chain(more))?;
    Ok(cli.into_config().expect("the verb is config"))
}

fn shown(config: &Config, name: &str) -> (String, String) {
    let one = config.effective.iter().find(|one| one.name == name).unwrap();
    (one.value.to_string(), one.origin.clone())
}

#[test]
fn flags_win_over_the_file_and_the_file_over_defaults() {
    let file = write(
        "manifests: /etc/lb\nuplinks: [eth0, eth1]\nxdp: generic\ntcpTimeout: 60\nxdpTransmit: true\n",
    );
    let flags = ["--xdp", "off", "--uplink", "wg0", "--xdp-transmit=false"];
    let config = config(file.path(), &flags).unwrap();
    let place = |line: u32| format!("{}:{line}", file.path().display());
    for (name, value, origin) in [
        ("manifests", "\"/etc/lb\"", place(1)),
        ("uplinks", "[\"wg0\"]", "--uplink".to_owned()),
        ("xdp", "\"off\"", "--xdp".to_owned()),
        ("tcpTimeout", "60", place(4)),
        ("xdpTransmit", "false", "--xdp-transmit".to_owned()),
        ("tc", "\"auto\"", "default".to_owned()),
        ("serviceCidrs", "[]", "default".to_owned()),
    ] {
        assert_eq!(shown(&config, name), (value.to_owned(), origin), "{name}");
    }
    assert_eq!(config.settings.uplinks, ["wg0"]);
    assert_eq!(config.settings.timeouts.tcp_timeout, 60);
    assert_eq!(config.settings.manifests, Path::new("/etc/lb"));
    assert!(!config.settings.xdp_transmit);
}

#[test]
fn what_is_shown_is_a_file_that_says_the_same() {
    let file = write("manifests: \"/etc/a: b\"\nnodeName: \"7\"\nserviceCidrs: [10.96.0.0/12]\n");
    let first = config(file.path(), &["--lb-pool", "internal=10.20.0.0/24"]).unwrap();
    let again = write(&yaml(&first.effective).unwrap());
    let second = config(again.path(), &[]).unwrap();
    let values = |config: &Config| {
        let all = config.effective.iter().map(|one| (one.name.clone(), one.value.clone()));
        all.collect::<Vec<_>>()
    };
    assert_eq!(values(&first), values(&second));
    assert_eq!(shown(&second, "lbPools").0, "[\"internal=10.20.0.0/24\"]");
}

#[test]
fn what_must_be_said_may_be_said_in_either() {
    let file = write("xdp: native\n");
    let ReadError::Usage(error) = config(file.path(), &[]).unwrap_err() else { panic!() };
    assert!(error.to_string().contains("--manifests"), "{error}");
    assert!(config(file.path(), &["--manifests", "."]).is_ok());
    assert!(config(write("manifests: .\n").path(), &[]).is_ok());
}

#[test]
fn a_file_that_is_not_there_or_wrong_is_named() {
    let error = config(Path::new("/nowhere/lb.yaml"), &[]).unwrap_err();
    assert!(error.to_string().contains("/nowhere/lb.yaml"), "{error}");
    let error = config(write("upLink: [eth0]\n").path(), &[]).unwrap_err();
    assert!(error.to_string().contains("did you mean `uplinks`?"), "{error}");
}

#[test]
fn every_option_is_documented_with_its_flag_and_its_default() {
    let text = include_str!("../../../../docs/configuration.md");
    let file = write("manifests: .\n");
    let config = config(file.path(), &[]).unwrap();
    let run = Cli::run_command();
    let mut rows = text.lines().filter(|line| line.starts_with("| `"));
    for (one, field) in config.effective.iter().zip(fields(&run)) {
        let flag = field.arg.get_long().unwrap();
        let default = match &one.value {
            _ if one.name == "manifests" => String::new(),
            Value::Null => "the host's name".to_owned(),
            Value::String(text) => format!("`{text}`"),
            other => format!("`{other}`"),
        };
        let wanted = format!("| `{}` | `--{flag}` | {default} | ", one.name);
        let row = rows.next().unwrap_or_default();
        assert!(row.starts_with(&wanted), "wanted, in this order: {wanted}\nthere is: {row}");
        assert!(row.len() > wanted.len() + 10, "{row} says nothing");
    }
    assert_eq!(rows.next(), None, "options that there are not");
}
