//! Bars that lie: a group a row, a bar a column, the value at its end, whiskers from the lowest to the highest
//! round. Names of rows are often long, and beside lying bars there is room for them.

use anyhow::Result;
use plotters::{prelude::*, style::text_anchor::HPos};

use super::{Area, GRID, INK, LABEL, MARGIN, WIDTH, colour, label, text_width, value_range, write};
use crate::bench::{
    section::{Cell, Section},
    text,
};

/// Pixels, of a bar and between two groups.
const BAR: u32 = 18;
const GAP: u32 = 10;
/// For the axis and what it is about.
const AXIS: u32 = 44;
const BELOW: u32 = 24;
/// Beside the highest value, for the figure: part of its length.
const HEADROOM: f64 = 0.15;

/// How high the plot is.
pub fn height(section: &Section) -> u32 {
    let [rows, columns] = [section.rows.len(), section.columns.len()]
        .map(|count| u32::try_from(count).unwrap_or(u32::MAX / (BAR * 100)));
    rows * (columns * BAR + GAP) + AXIS + BELOW
}

/// Draws the section.
pub fn draw(area: &Area, section: &Section) -> Result<()> {
    let widest = section.rows.iter().map(|row| text_width(&row.name)).max().unwrap_or(0);
    let names = (widest + MARGIN).min(WIDTH.cast_signed() / 2);
    // A unit of the vertical axis is a pixel of it, downwards.
    let down = f64::from(height(section) - AXIS - BELOW);
    let (low, high) = value_range(section, HEADROOM);
    let mut chart = ChartBuilder::on(area)
        .margin_left(names)
        .margin_right(MARGIN)
        .margin_bottom(BELOW)
        .x_label_area_size(AXIS)
        .build_cartesian_2d(low..high, down..0.0)?;
    chart
        .configure_mesh()
        .disable_y_mesh()
        .disable_y_axis()
        .light_line_style(TRANSPARENT)
        .bold_line_style(GRID)
        .axis_style(INK)
        .x_labels(8)
        .x_label_formatter(&|value| text::tick(*value))
        .x_label_style(label())
        .x_desc(section.legend())
        .axis_desc_style(label())
        .draw()?;

    if low < 0.0 {
        chart.draw_series([PathElement::new(vec![(0.0, down), (0.0, 0.0)], INK)])?;
    }
    let mut top = 0.0;
    for row in &section.rows {
        let group = f64::from(BAR) * count(section.columns.len());
        let (x, y) = chart.backend_coord(&(low, top + f64::midpoint(f64::from(GAP), group)));
        let (left, above) = area.get_base_pixel();
        write(area, &row.name, (x - left - 8, y - above), LABEL, HPos::Right)?;
        for (index, cell) in row.cells.iter().enumerate() {
            let upper = top + f64::from(GAP) / 2.0 + f64::from(BAR) * count(index);
            let middle = upper + f64::from(BAR) / 2.0;
            let mut end = 0.0_f64;
            if let Some([lowest, median, highest]) = cell.span() {
                let corners = [(0.0, upper + 2.0), (median, upper + f64::from(BAR) - 2.0)];
                chart.draw_series([Rectangle::new(corners, colour(index).filled())])?;
                let stroke = |from, to| PathElement::new(vec![from, to], INK.stroke_width(1));
                let cap = |at| stroke((at, middle - 4.0), (at, middle + 4.0));
                if lowest < highest {
                    let whisker = stroke((lowest, middle), (highest, middle));
                    chart.draw_series([whisker, cap(lowest), cap(highest)])?;
                }
                end = median.max(highest).max(0.0);
            }
            let (x, y) = chart.backend_coord(&(end, middle));
            write(area, &beside(cell), (x - left + 6, y - above), LABEL - 1, HPos::Left)?;
        }
        top += f64::from(GAP) + group;
    }
    Ok(())
}

/// What stands at the end of a bar, or in its place.
fn beside(cell: &Cell) -> String {
    match cell {
        Cell::Figure(figure) => text::number(figure.median),
        other => text::cell(other),
    }
}

fn count(number: usize) -> f64 {
    u32::try_from(number).map_or(f64::INFINITY, f64::from)
}
