//! The drawing of a report: its charted sections, one below the other, as SVG. Which figures stand in them is
//! the section's business; here is where things go on the page.

mod bars;
mod lines;

use anyhow::Result;
use plotters::{
    coord::Shift,
    prelude::*,
    style::text_anchor::{HPos, Pos, VPos},
};

use super::section::{Chart, Section};

/// Part of the page, in pixels.
type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// Pixels. A letter is about this wide at the size that labels have: fonts are the reader's.
const LETTER: i32 = 7;
const WIDTH: u32 = 960;
const MARGIN: i32 = 20;
const TITLE: u32 = 44;
const SECTION_TITLE: i32 = 30;
const LEGEND_LINE: i32 = 20;

/// What text looks like. Sizes are the library's, of which the SVG gets four fifths.
const FONT: &str = "sans-serif";
const LABEL: i32 = 16;
const INK: RGBColor = RGBColor(34, 34, 34);
const GRID: RGBColor = RGBColor(225, 225, 225);

/// Colours that also those tell apart who see few (Okabe and Ito), the column's number being the index.
const COLOURS: [RGBColor; 7] = [
    RGBColor(0, 114, 178),
    RGBColor(230, 159, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
    RGBColor(213, 94, 0),
    RGBColor(120, 120, 120),
];

/// Draws the sections that are to be drawn, if there are any.
pub fn draw(title: &str, sections: &[Section]) -> Result<Option<String>> {
    let charted: Vec<_> = sections.iter().filter(|it| it.chart != Chart::None).collect();
    if charted.is_empty() {
        return Ok(None);
    }
    let height = TITLE + charted.iter().map(|section| section_height(section)).sum::<u32>();
    let mut svg = String::new();
    {
        let page = SVGBackend::with_string(&mut svg, (WIDTH, height)).into_drawing_area();
        page.fill(&WHITE)?;
        let (head, mut rest) = page.split_vertically(TITLE);
        write(&head, title, (MARGIN, 26), 26, HPos::Left)?;
        for section in charted {
            let (area, below) = rest.split_vertically(section_height(section));
            draw_section(&area, section)?;
            rest = below;
        }
        page.present()?;
    }
    Ok(Some(svg))
}

fn draw_section(area: &Area, section: &Section) -> Result<()> {
    write(area, &section.title, (MARGIN, 14), 20, HPos::Left)?;
    for (index, (column, (x, line))) in
        section.columns.iter().zip(legend_places(&section.columns)).enumerate()
    {
        let y = SECTION_TITLE + LEGEND_LINE * line + LEGEND_LINE / 2;
        area.draw(&Rectangle::new([(x, y - 6), (x + 12, y + 6)], colour(index).filled()))?;
        write(area, column, (x + 18, y), LABEL, HPos::Left)?;
    }
    let (_, plot) = area.split_vertically(head_height(section));
    match &section.chart {
        Chart::Bars => bars::draw(&plot, section),
        Chart::Lines { x } => lines::draw(&plot, section, x),
        Chart::None => Ok(()),
    }
}

fn section_height(section: &Section) -> u32 {
    let plot = match section.chart {
        Chart::Bars => bars::height(section),
        Chart::Lines { .. } => lines::HEIGHT,
        Chart::None => 0,
    };
    head_height(section).cast_unsigned() + plot
}

/// Title and legend.
fn head_height(section: &Section) -> i32 {
    let last_line = legend_places(&section.columns).last().map_or(0, |(_, line)| line);
    SECTION_TITLE + LEGEND_LINE * (last_line + 1) + 6
}

/// Where the columns' names stand: left edge and line.
fn legend_places(columns: &[String]) -> impl Iterator<Item = (i32, i32)> {
    let (mut x, mut line) = (MARGIN, 0);
    columns.iter().map(move |column| {
        let width = 18 + text_width(column) + 24;
        if x > MARGIN && x + width > WIDTH.cast_signed() {
            (x, line) = (MARGIN, line + 1);
        }
        let place = (x, line);
        x += width;
        place
    })
}

fn colour(index: usize) -> RGBColor {
    COLOURS[index % COLOURS.len()]
}

/// About how wide a label is.
fn text_width(text: &str) -> i32 {
    i32::try_from(text.chars().count()).unwrap_or(i32::MAX / 2 / LETTER) * LETTER
}

fn label() -> TextStyle<'static> {
    (FONT, LABEL).into_font().color(&INK)
}

/// Text of one line, its middle at this height.
fn write(area: &Area, text: &str, at: (i32, i32), size: i32, edge: HPos) -> Result<()> {
    let style = (FONT, size).into_font().color(&INK).pos(Pos::new(edge, VPos::Center));
    Ok(area.draw_text(text, &style, at)?)
}

/// From zero, or the lowest value below it, to a little above the highest, so that what stands beside it has
/// room. Never empty.
fn value_range(section: &Section, headroom: f64) -> (f64, f64) {
    let cells = section.rows.iter().flat_map(|row| &row.cells);
    let spans = cells.filter_map(super::section::Cell::span);
    let (low, high) = spans.fold((0.0_f64, 0.0_f64), |(low, high), [lowest, _, highest]| {
        (low.min(lowest), high.max(highest))
    });
    if low < high { (low * 1.05, high * (1.0 + headroom)) } else { (0.0, 1.0) }
}
