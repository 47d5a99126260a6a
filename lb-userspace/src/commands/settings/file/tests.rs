//! Files as people write them, and what is said of those that are wrong.

use clap::CommandFactory as _;

use super::*;
use crate::commands::Cli;

fn run() -> Command {
    Cli::command().find_subcommand("run").unwrap().clone()
}

fn parse(text: &str) -> Result<ConfigFile, String> {
    let fields = fields(&run());
    ConfigFile::parse(text, Path::new("lb.yaml"), &fields).map_err(|error| error.to_string())
}

#[track_caller]
fn check_wrong(text: &str, expected: &str) {
    let said = parse(text).unwrap_err();
    assert_eq!(said, format!("the configuration is not right:\n{expected}"));
}

#[test]
fn every_option_but_the_files_own_has_a_name_in_it() {
    let names: Vec<String> = fields(&run()).into_iter().map(|field| field.name).collect();
    for name in ["manifests", "uplinks", "serviceCidrs", "lbPools", "xdpTransmit", "tcpTimeout"] {
        assert!(names.iter().any(|one| one == name), "{name} in {names:?}");
    }
    assert_eq!(names.len(), run().get_arguments().count() - 1, "all but --config");
}

#[test]
fn values_become_what_one_would_write_as_flags() {
    let text =
        "uplinks: [eth0, eth1]\nsampleEvents: 10\nxdpTransmit: true\nxdp: generic\nlbPools: []\n";
    let file = parse(text).unwrap();
    let texts = |id: &'static str| file.given(&Id::from(id)).unwrap().texts.clone();
    assert_eq!(texts("uplinks"), ["eth0", "eth1"]);
    assert_eq!(texts("sample_events"), ["10"]);
    assert_eq!(texts("xdp_transmit"), ["true"]);
    assert_eq!(texts("xdp"), ["generic"]);
    assert_eq!(texts("pools"), [""; 0]);
    assert_eq!(file.given(&Id::from("xdp")).unwrap().place, "lb.yaml:4");
    assert!(file.given(&Id::from("tc")).is_none());
    assert!(parse("").unwrap().given.is_empty(), "an empty file says nothing");
    assert!(parse("{\"xdp\": \"off\"}").is_ok(), "JSON is YAML");
}

#[test]
fn unknown_options_are_named_with_their_line_and_the_nearest_known_one() {
    check_wrong(
        "xdp: off\n\nuplnks: [eth0]\n",
        "lb.yaml:1:6: xdp: expected text; put it in quotes\n\
         lb.yaml:3:9: uplnks: unknown option; did you mean `uplinks`?",
    );
    check_wrong(
        "service-cidr: [10.0.0.0/8]\n",
        "lb.yaml:1:15: service-cidr: unknown option; did you mean `serviceCidrs`?",
    );
    check_wrong("zzz: 1\n", "lb.yaml:1:6: zzz: unknown option; lb config shows all that there are");
    check_wrong(
        "config: other.yaml\n",
        "lb.yaml:1:9: config: unknown option; lb config shows all that there are",
    );
}

#[test]
fn wrong_values_are_named_with_what_is_allowed() {
    for (text, expected) in [
        ("xdp: fast\n", "lb.yaml:1:6: xdp: invalid value \"fast\": it can be native, generic, off"),
        (
            "tcpTimeout: 0\n",
            "lb.yaml:1:13: tcpTimeout: invalid value \"0\": 0 is not in 1..=604800",
        ),
        ("tcpTimeout: 1h\n", "lb.yaml:1:13: tcpTimeout: expected a whole number"),
        (
            "tcpTimeout: -1\n",
            "lb.yaml:1:13: tcpTimeout: invalid value \"-1\": -1 is not in 1..=604800",
        ),
        ("xdpTransmit: 1\n", "lb.yaml:1:14: xdpTransmit: expected true or false"),
        (
            "uplinks: eth0\n",
            "lb.yaml:1:10: uplinks: expected a list, as in [a, b]; [] is an empty one",
        ),
        ("uplinks:\n- eth0\n- 7\n", "lb.yaml:3:3: uplinks: expected text; put it in quotes"),
        (
            "serviceCidrs: [10.0.0.0/33]\n",
            "lb.yaml:1:16: serviceCidrs: invalid value \"10.0.0.0/33\": not a range of addresses",
        ),
        ("instance: {a: b}\n", "lb.yaml:1:11: instance: expected one value"),
        (
            "instance: a/b\n",
            "lb.yaml:1:11: instance: invalid value \"a/b\": use 1 to 63 letters, digits, '-' and '_'",
        ),
        ("nodeName:\n", "lb.yaml:1:9: nodeName: has no value; write one, or remove the line"),
    ] {
        let said = parse(text).unwrap_err();
        let lines: Vec<&str> = said.lines().collect();
        assert_eq!(lines.len(), 2, "{said}");
        assert!(lines[1].starts_with(expected), "{text}\n{}\nand not\n{expected}", lines[1]);
    }
}

#[test]
fn what_is_no_map_of_options_is_refused() {
    let expected = "expected one document, with an option on each line, as in `xdp: native`";
    check_wrong("- a\n", &format!("lb.yaml:1:1: {expected}"));
    check_wrong("xdp: native\n---\ntc: auto\n", &format!("lb.yaml:3:1: {expected}"));
    assert!(parse("xdp: native\nxdp: generic\n").unwrap_err().contains("xdp"), "twice");
    assert!(parse("xdp: [\n").is_err());
}
