//! Sections of a report: a table of figures in one unit, and how it is drawn. How tables are printed is in
//! `tables`, how they are drawn in `chart`.

use std::fmt::Display;

use anyhow::{Result, ensure};
use serde::Serialize;

use super::Figure;

/// Which way is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Better {
    /// Rates.
    Higher,
    /// Times, sizes.
    Lower,
}

/// What stands in a table.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Cell {
    /// Measured in rounds.
    Figure(Figure),
    /// Counted once.
    Number(f64),
    /// Why there is no figure, or something that isn't one.
    Text(String),
    /// Nothing: it doesn't exist, or wasn't measured.
    Absent,
}

/// How a section is drawn.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Chart {
    /// A group a row, a bar a column, with whiskers from the lowest to the highest round.
    Bars,
    /// A line a column. The rows' names are numbers above zero, on a logarithmic axis.
    Lines {
        /// What these numbers are.
        x: String,
    },
    /// Not at all.
    None,
}

/// A table of figures in one unit.
#[derive(Clone, Debug, Serialize)]
pub struct Section {
    pub(super) title: String,
    pub(super) unit: String,
    pub(super) better: Better,
    pub(super) chart: Chart,
    pub(super) columns: Vec<String>,
    pub(super) rows: Vec<Row>,
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct Row {
    pub(super) name: String,
    pub(super) cells: Vec<Cell>,
}

impl Section {
    /// An empty one, which is not drawn.
    pub fn new(title: &str, unit: &str, better: Better, columns: &[&str]) -> Self {
        Self {
            title: title.to_owned(),
            unit: unit.to_owned(),
            better,
            chart: Chart::None,
            columns: columns.iter().map(|&column| column.to_owned()).collect(),
            rows: Vec::new(),
        }
    }

    /// Says how it is drawn.
    #[must_use]
    pub fn chart(mut self, chart: Chart) -> Self {
        self.chart = chart;
        self
    }

    /// Adds a row, with a cell for each column.
    pub fn row(&mut self, name: impl Display, cells: Vec<Cell>) {
        self.rows.push(Row { name: name.to_string(), cells });
    }

    /// The unit, and which way is good.
    pub(super) fn legend(&self) -> String {
        let better = match self.better {
            Better::Higher => "higher is better",
            Better::Lower => "lower is better",
        };
        if self.unit.is_empty() { better.to_owned() } else { format!("{}, {better}", self.unit) }
    }

    /// Refuses what can't be reported truly: cells without a column, figures that are none, and lines whose
    /// places on the axis aren't numbers.
    pub(super) fn check(&self) -> Result<()> {
        let title = &self.title;
        ensure!(!self.rows.is_empty() && !self.columns.is_empty(), "{title}: there are no figures");
        for row in &self.rows {
            let (name, cells) = (&row.name, row.cells.len());
            let columns = self.columns.len();
            ensure!(cells == columns, "{title}, {name}: {cells} cells for {columns} columns");
            for (column, cell) in self.columns.iter().zip(&row.cells) {
                ensure!(cell.is_finite(), "{title}, {name}, {column}: not a finite number");
            }
            if matches!(self.chart, Chart::Lines { .. }) {
                ensure!(
                    row.position().is_some(),
                    "{title}, {name}: not a number above zero, so it has no place on the axis"
                );
            }
        }
        Ok(())
    }
}

impl Row {
    /// The row's place on a logarithmic axis, if its name is a number: `10,000`, `10k` and `1M` are.
    pub(super) fn position(&self) -> Option<f64> {
        let name = self.name.replace(',', "");
        let factor = match name.chars().last()? {
            'k' | 'K' => 1e3,
            'M' => 1e6,
            _ => 1.0,
        };
        let number: f64 = name.trim_end_matches(['k', 'K', 'M']).trim_end().parse().ok()?;
        let position = number * factor;
        (position.is_finite() && position > 0.0).then_some(position)
    }
}

impl Cell {
    fn is_finite(&self) -> bool {
        match self {
            Self::Figure(figure) => figure.is_finite(),
            Self::Number(number) => number.is_finite(),
            Self::Text(_) | Self::Absent => true,
        }
    }

    /// Lowest, median, highest, if it has a value.
    pub(super) fn span(&self) -> Option<[f64; 3]> {
        match self {
            Self::Figure(figure) => Some([figure.lowest, figure.median, figure.highest]),
            Self::Number(number) => Some([*number; 3]),
            Self::Text(_) | Self::Absent => None,
        }
    }
}

impl From<Figure> for Cell {
    fn from(figure: Figure) -> Self {
        Self::Figure(figure)
    }
}

impl From<&Figure> for Cell {
    fn from(figure: &Figure) -> Self {
        Self::Figure(figure.clone())
    }
}

impl From<f64> for Cell {
    fn from(number: f64) -> Self {
        Self::Number(number)
    }
}

impl From<u32> for Cell {
    fn from(number: u32) -> Self {
        Self::Number(number.into())
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl<T: Into<Self>> From<Option<T>> for Cell {
    fn from(cell: Option<T>) -> Self {
        cell.map_or(Self::Absent, Into::into)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn section(chart: Chart, name: &str, cells: Vec<Cell>) -> Section {
        let mut section = Section::new("costs", "ns", Better::Lower, &["hit", "miss"]).chart(chart);
        section.row(name, cells);
        section
    }

    #[test]
    fn a_section_that_can_not_be_reported_truly_is_refused() -> Result<()> {
        let good = || vec![Cell::from(1.0), Cell::Absent];
        section(Chart::Bars, "XDP", good()).check()?;
        section(Chart::Lines { x: "flows".into() }, "1,000", good()).check()?;
        let faults = [
            section(Chart::Bars, "XDP", vec![1.0.into()]),
            section(Chart::Bars, "XDP", vec![f64::NAN.into(), 1.0.into()]),
            section(
                Chart::None,
                "XDP",
                vec![1.0.into(), Figure::of(vec![0.0])?.map(f64::ln).into()],
            ),
            section(Chart::Lines { x: "flows".into() }, "many", good()),
            section(Chart::Lines { x: "flows".into() }, "0", good()),
            Section::new("empty", "ns", Better::Lower, &["hit"]),
        ];
        for fault in faults {
            assert!(fault.check().is_err(), "{fault:?}");
        }
        Ok(())
    }

    #[test]
    fn numbers_as_people_write_them_have_their_place_on_the_axis() {
        let position = |name: &str| Row { name: name.into(), cells: vec![] }.position();
        for (name, place) in [("64", 64.0), ("10,000", 1e4), ("100K", 1e5), ("1M", 1e6)] {
            assert_eq!(position(name), Some(place), "{name}");
        }
        for name in ["", "k", "-1", "1 flow"] {
            assert_eq!(position(name), None, "{name}");
        }
    }
}
