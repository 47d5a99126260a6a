//! Tests of what a run of a benchmark promises: its files, and that a failed one leaves none.

use std::{fs, path::Path, sync::atomic::Ordering};

use anyhow::{Result, bail, ensure};
use serde_json::{Value, json};

use super::{Better, Cell, Chart, Context, Figure, Report, Section, run};

/// A report with everything in it that can be.
fn whole(_: &Context) -> Result<Report> {
    let mut report = Report::new("sample", "What <samples> & \"others\" cost");
    report.setting("frames", "UDP, 64 bytes");
    let mut bars = Section::new("Established | flows", "ns", Better::Lower, &["XDP & TC", "peer"])
        .chart(Chart::Bars);
    bars.row("hit", vec![Figure::of(vec![38.0, 37.0, 41.0])?.into(), 310.into()]);
    bars.row("not ours", vec![Cell::Absent, "no such path".into()]);
    report.section(bars);
    let mut lines = Section::new("By flows", "Mpps", Better::Higher, &["lb"])
        .chart(Chart::Lines { x: "flows at once".into() });
    lines.row(1, vec![Figure::of(vec![3.9, 4.1])?.into()]);
    lines.row("1,000,000", vec![Figure::of(vec![1.9, 2.1])?.into()]);
    report.section(lines);
    report.mark("hit, hot", "≤ 40 ns", "38 ns", true);
    report.mark("miss", "≤ 120 ns", "130 ns", false);
    report.note("Measured while nothing else ran.");
    Ok(report)
}

fn context(out: &Path) -> Context {
    Context::new(3, false, out.to_owned())
}

fn files(directory: &Path) -> Result<Vec<String>> {
    let entries = fs::read_dir(directory)?;
    let names = entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
    let mut names = names.collect::<Result<Vec<_>>>()?;
    names.sort();
    Ok(names)
}

#[test]
fn the_json_holds_all_rounds_and_where_and_when_they_were_taken() -> Result<()> {
    let out = tempfile::tempdir()?;
    run(&context(out.path()), "sample", whole)?;
    let read: Value = serde_json::from_str(&fs::read_to_string(out.path().join("sample.json"))?)?;
    assert_eq!(read["format"], 1);
    assert_eq!(read["bench"], "sample");
    assert_eq!((&read["rounds"], &read["quick"]), (&json!(3), &json!(false)));
    assert_eq!(read["settings"], json!([{ "what": "frames", "value": "UDP, 64 bytes" }]));
    assert_eq!(
        read["sections"][0],
        json!({
            "title": "Established | flows", "unit": "ns", "better": "lower", "chart": "bars",
            "columns": ["XDP & TC", "peer"],
            "rows": [
                { "name": "hit", "cells": [
                    { "median": 38.0, "lowest": 37.0, "highest": 41.0, "rounds": [38.0, 37.0, 41.0] },
                    310.0,
                ] },
                { "name": "not ours", "cells": [null, "no such path"] },
            ],
        })
    );
    assert_eq!(read["sections"][1]["chart"], json!({ "lines": { "x": "flows at once" } }));
    assert_eq!(read["marks"][1]["met"], false);
    assert_eq!(read["notes"][0], "Measured while nothing else ran.");
    let release = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    assert_eq!(read["machine"]["kernel"], release.trim());
    let taken = read["taken"].as_str().unwrap_or_default();
    assert!(humantime::parse_rfc3339(taken).is_ok() && taken.ends_with('Z'), "{taken}");
    Ok(())
}

#[test]
fn the_drawing_is_xml_with_all_labels() -> Result<()> {
    let out = tempfile::tempdir()?;
    run(&context(out.path()), "sample", whole)?;
    let svg = fs::read_to_string(out.path().join("sample.svg"))?;
    let document = roxmltree::Document::parse(&svg)?;
    assert_eq!(document.root_element().tag_name().name(), "svg");
    let texts: Vec<_> =
        document.descendants().filter_map(|node| Some(node.text()?.trim())).collect();
    let labels = [
        "What <samples> & \"others\" cost",
        "Established | flows",
        "XDP & TC",
        "hit",
        "310",
        "no such path",
        "ns, lower is better",
        "flows at once",
        "Mpps, higher is better",
        "1,000,000",
    ];
    for label in labels {
        assert!(texts.contains(&label), "{label} is not in {texts:?}");
    }
    Ok(())
}

#[test]
fn the_markdown_holds_the_tables() -> Result<()> {
    let out = tempfile::tempdir()?;
    run(&context(out.path()), "sample", whole)?;
    let text = fs::read_to_string(out.path().join("sample.md"))?;
    let rows = text.lines().map(|line| {
        line.trim_matches('|').split(" | ").map(str::trim).collect::<Vec<_>>().join(" | ")
    });
    let rows: Vec<_> = rows.collect();
    for row in [
        "ns, lower is better | XDP & TC | peer",
        "hit | 38 (37–41) | 310",
        "not ours | – | no such path",
        "- ✔ hit, hot: wanted ≤ 40 ns, got 38 ns",
        "- ✘ miss: wanted ≤ 120 ns, got 130 ns",
    ] {
        assert!(rows.iter().any(|it| it == row), "{row} is not in\n{text}");
    }
    Ok(())
}

#[test]
fn a_benchmark_that_fails_leaves_no_file_of_an_earlier_run() -> Result<()> {
    let out = tempfile::tempdir()?;
    let context = context(out.path());
    run(&context, "sample", whole)?;
    fs::write(out.path().join("other.json"), "")?;
    assert_eq!(files(out.path())?, ["other.json", "sample.json", "sample.md", "sample.svg"]);
    let failed = run(&context, "sample", |_| bail!("the sink saw nothing"));
    assert_eq!(failed.map_err(|error| error.to_string()), Err("the sink saw nothing".to_owned()));
    assert_eq!(files(out.path())?, ["other.json"]);
    Ok(())
}

#[test]
fn a_benchmark_that_panics_leaves_no_file_either() -> Result<()> {
    let out = tempfile::tempdir()?;
    let context = context(out.path());
    run(&context, "sample", whole)?;
    let path = out.path().to_owned();
    let ended = std::thread::spawn(move || run(&self::context(&path), "sample", |_| panic!("oh")));
    assert!(ended.join().is_err());
    assert_eq!(files(out.path())?, [""; 0]);
    Ok(())
}

#[test]
fn a_report_that_is_not_whole_is_refused_and_leaves_no_file() -> Result<()> {
    let out = tempfile::tempdir()?;
    let context = context(out.path());
    let empty = run(&context, "sample", |_| Ok(Report::new("sample", "nothing")));
    assert!(empty.is_err());
    let infinite = run(&context, "sample", |context| {
        let mut report = whole(context)?;
        let mut section = Section::new("ratios", "", Better::Higher, &["lb"]);
        section.row("marginal", vec![f64::INFINITY.into()]);
        report.section(section);
        Ok(report)
    });
    let text = infinite.map_err(|error| error.to_string());
    assert_eq!(text, Err("ratios, marginal, lb: not a finite number".to_owned()));
    let misnamed = run(&context, "other", whole);
    assert!(misnamed.is_err());
    assert_eq!(files(out.path())?, [""; 0]);
    Ok(())
}

#[test]
fn an_interrupted_benchmark_leaves_no_file_and_says_so() -> Result<()> {
    let out = tempfile::tempdir()?;
    let context = context(out.path());
    let flag = context.interrupted();
    let ended = run(&context, "sample", |context| {
        flag.store(true, Ordering::Relaxed);
        let report = whole(context)?;
        ensure!(context.check().is_ok(), "something broke because of the signal");
        Ok(report)
    });
    assert_eq!(ended.map_err(|error| error.to_string()), Err("interrupted".to_owned()));
    assert_eq!(files(out.path())?, [""; 0]);
    Ok(())
}
