//! Lines over a logarithmic axis: one a column, a point a row, whiskers from the lowest to the highest round.

use anyhow::Result;
use plotters::{prelude::*, style::text_anchor::HPos};

use super::{Area, GRID, INK, LABEL, MARGIN, colour, label, text_width, value_range, write};
use crate::bench::{section::Section, text};

/// How high the plot is.
pub const HEIGHT: u32 = 380;

/// Beside the first and the last point, as a factor: the axis has a length also if there is one point.
const MARGIN_FACTOR: f64 = 1.5;
/// How far a whisker's ends reach to each side, as a part of the axis.
const CAP: f64 = 0.005;

/// Draws the section; `x` says what the rows' names count.
pub fn draw(area: &Area, section: &Section, x: &str) -> Result<()> {
    let places = || section.rows.iter().filter_map(super::super::section::Row::position);
    let first = places().fold(f64::INFINITY, f64::min) / MARGIN_FACTOR;
    let last = places().fold(0.0, f64::max) * MARGIN_FACTOR;
    let (low, high) = value_range(section, 0.05);
    let mut chart = ChartBuilder::on(area)
        .margin_left(MARGIN / 2)
        .margin_right(MARGIN)
        .margin_bottom(24)
        .margin_top(8)
        .x_label_area_size(44)
        .y_label_area_size(84)
        .build_cartesian_2d((first..last).log_scale(), low..high)?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(GRID)
        .axis_style(INK)
        .disable_x_mesh()
        .x_label_formatter(&|_| String::new())
        .set_tick_mark_size(LabelAreaPosition::Bottom, 0)
        .y_label_formatter(&|value| text::tick(*value))
        .label_style(label())
        .x_desc(x)
        .y_desc(section.legend())
        .axis_desc_style(label())
        .draw()?;

    // Ticks where something was measured, not where the library would put them; the first ones, if there is no
    // room for all.
    let mut free_from = i32::MIN;
    let mut ticks: Vec<_> =
        section.rows.iter().filter_map(|row| Some((row.position()?, &row.name))).collect();
    ticks.sort_by(|(one, _), (other, _)| one.total_cmp(other));
    for (place, name) in ticks {
        chart.draw_series([PathElement::new(vec![(place, low), (place, high)], GRID)])?;
        let (x, y) = chart.backend_coord(&(place, low));
        let width = text_width(name);
        if x - width / 2 >= free_from {
            let (left, above) = area.get_base_pixel();
            write(area, name, (x - left, y - above + 14), LABEL, HPos::Center)?;
            free_from = x + width / 2 + MARGIN / 2;
        }
    }

    let aside = (last / first).powf(CAP);
    for (index, _) in section.columns.iter().enumerate() {
        let mut points: Vec<_> = section
            .rows
            .iter()
            .filter_map(|row| Some((row.position()?, row.cells.get(index)?.span()?)))
            .collect();
        points.sort_by(|(one, _), (other, _)| one.total_cmp(other));
        let colour = colour(index);
        let medians = points.iter().map(|&(x, [_, median, _])| (x, median));
        chart.draw_series(LineSeries::new(medians.clone(), colour.stroke_width(2)))?;
        chart.draw_series(medians.map(|point| Circle::new(point, 4, colour.filled())))?;
        for (x, [lowest, _, highest]) in points {
            let stroke = |from, to| PathElement::new(vec![from, to], colour.stroke_width(1));
            let cap = |at| stroke((x / aside, at), (x * aside, at));
            if lowest < highest {
                let whisker = stroke((x, lowest), (x, highest));
                chart.draw_series([whisker, cap(lowest), cap(highest)])?;
            }
        }
    }
    Ok(())
}
