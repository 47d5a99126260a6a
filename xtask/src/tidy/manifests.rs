//! Rules for the members' manifests: versions and lints stand in the workspace's.

use anyhow::{Context as _, Result};
use toml::{Table, Value};

use super::Fault;

/// Checks one member's manifest.
pub fn check(file: &str, text: &str) -> Result<Vec<Fault>> {
    let manifest: Table = text.parse().with_context(|| format!("parsing {file}"))?;
    let fault = |what: String| Fault { file: file.to_owned(), line: 0, what };
    let mut faults = Vec::new();
    let per_target = manifest.get("target").and_then(Value::as_table);
    let per_target = per_target.into_iter().flat_map(Table::values).filter_map(Value::as_table);
    for table in per_target.chain([&manifest]) {
        for (section, name) in foreign_versions(table) {
            let what = format!(
                "{section}.{name}: versions stand in the workspace; say `workspace = true`"
            );
            faults.push(fault(what));
        }
    }
    if !inherits(manifest.get("lints")) {
        faults.push(fault("[lints] doesn't say `workspace = true`".to_owned()));
    }
    Ok(faults)
}

fn foreign_versions(table: &Table) -> impl Iterator<Item = (&'static str, &String)> {
    let sections = ["dependencies", "dev-dependencies", "build-dependencies"];
    sections.into_iter().flat_map(|section| {
        let entries = table.get(section).and_then(Value::as_table).into_iter().flatten();
        let foreign = entries.filter(|(_, entry)| !inherits(Some(entry)));
        foreign.map(move |(name, _)| (section, name))
    })
}

fn inherits(entry: Option<&Value>) -> bool {
    entry.and_then(|entry| entry.get("workspace")).and_then(Value::as_bool) == Some(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "[dependencies]\nx = { workspace = true }\n[lints]\nworkspace = true\n";

    #[test]
    fn inherited_versions_are_right() -> Result<()> {
        assert_eq!(check("a", GOOD)?, []);
        Ok(())
    }

    #[test]
    fn own_versions_are_faults_in_every_section() -> Result<()> {
        for section in ["dev-dependencies", "build-dependencies", "target.'cfg(unix)'.dependencies"]
        {
            let faults = check("a", &format!("{GOOD}[{section}]\ny = \"1\"\n"))?;
            assert_eq!(faults.len(), 1, "{section}");
        }
        Ok(())
    }

    #[test]
    fn a_manifest_without_the_lints_is_a_fault() -> Result<()> {
        assert_eq!(check("a", "[package]\nname = \"a\"\n")?.len(), 1);
        Ok(())
    }
}
