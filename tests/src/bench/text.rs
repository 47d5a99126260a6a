//! Numbers as people read them: three digits that count, and the spread beside the median.

use super::Cell;

/// A cell of a table: `38.1 (37.5–39.0)`.
pub fn cell(cell: &Cell) -> String {
    match cell {
        Cell::Figure(figure) if figure.rounds.len() > 1 => {
            // The spread is written as finely as the median, so that they can be compared at sight.
            let are_whole = figure.rounds.iter().all(|&round| is_whole(round));
            let decimals = if are_whole { 0 } else { decimals(figure.median) };
            let [median, lowest, highest] = [figure.median, figure.lowest, figure.highest]
                .map(|value| with_decimals(value, decimals));
            let to = if figure.lowest < 0.0 { " to " } else { "–" };
            format!("{median} ({lowest}{to}{highest})")
        }
        Cell::Figure(figure) => number(figure.median),
        Cell::Number(value) => number(*value),
        Cell::Text(text) => text.clone(),
        Cell::Absent => "–".to_owned(),
    }
}

/// Three digits that count, thousands apart, whole numbers as they are: `0.0381`, `38.1`, `3,812,345`, `64`.
pub fn number(value: f64) -> String {
    with_decimals(value, if is_whole(value) { 0 } else { decimals(value) })
}

/// What stands at an axis: short, without zeros that say nothing: `0`, `2.5`, `200k`, `1M`.
pub fn tick(value: f64) -> String {
    let (value, suffix) = match value.abs() {
        size if size >= 999_999.5 => (value / 1e6, "M"),
        size if size >= 999.5 => (value / 1e3, "k"),
        _ => (value, ""),
    };
    let text = with_decimals(value, 3.max(decimals(value)));
    let text = if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    };
    // A tick that missed zero by a rounding.
    let text = if text == "-0" { "0".to_owned() } else { text };
    text + suffix
}

/// Whether it is a whole number, but for what calculating left over.
fn is_whole(value: f64) -> bool {
    (value - value.round()).abs() <= value.abs() * 1e-9
}

/// How many digits after the point make three that count.
fn decimals(value: f64) -> usize {
    let size = value.abs();
    let limits = [100.0, 10.0, 1.0, 0.1, 0.01, 0.001];
    if size == 0.0 {
        return 0;
    }
    limits.iter().position(|&limit| size >= limit).unwrap_or(limits.len())
}

fn with_decimals(value: f64, decimals: usize) -> String {
    let text = format!("{:.decimals$}", value.abs());
    let whole_length = text.find('.').unwrap_or(text.len());
    let (whole, fraction) = text.split_at(whole_length);
    let mut spaced = String::new();
    for (place, digit) in whole.chars().enumerate() {
        if place > 0 && (whole.len() - place).is_multiple_of(3) {
            spaced.push(',');
        }
        spaced.push(digit);
    }
    let is_zero = text.chars().all(|digit| matches!(digit, '0' | '.'));
    let sign = if value < 0.0 && !is_zero { "-" } else { "" };
    format!("{sign}{spaced}{fraction}")
}

#[cfg(test)]
mod tests {
    use anyhow::Result;

    use super::*;
    use crate::bench::Figure;

    #[test]
    fn numbers_have_three_digits_that_count() {
        let cases = [
            (0.0, "0"),
            (0.038_123, "0.0381"),
            (3.812, "3.81"),
            (38.12, "38.1"),
            (-381.4, "-381"),
            (3_812_345.6, "3,812,346"),
            (64.0, "64"),
            (6.0 + 1e-14, "6"),
            (100_000.0, "100,000"),
        ];
        for (value, text) in cases {
            assert_eq!(number(value), text, "{value}");
        }
    }

    #[test]
    fn the_spread_is_as_fine_as_the_median() -> Result<()> {
        let figure = Figure::of(vec![38.123, 37.5, 139.04])?;
        assert_eq!(cell(&figure.clone().into()), "38.1 (37.5–139.0)");
        assert_eq!(cell(&Figure::of(vec![7.0, 6.0, 22.0])?.into()), "7 (6–22)");
        assert_eq!(cell(&Figure::of(vec![38.123])?.into()), "38.1");
        assert_eq!(cell(&figure.less(&figure).into()), "0 (0–0)");
        let below = figure.map(|value| -value);
        assert_eq!(cell(&below.into()), "-38.1 (-139.0 to -37.5)");
        assert_eq!(cell(&Cell::Absent), "–");
        Ok(())
    }

    #[test]
    fn ticks_are_short() {
        let cases = [
            (0.0, "0"),
            (-1e-17, "0"),
            (2.5, "2.5"),
            (0.05, "0.05"),
            (150.0, "150"),
            (1_200.0, "1.2k"),
            (200_000.0, "200k"),
            (1_500_000.0, "1.5M"),
            (-20_000.0, "-20k"),
        ];
        for (value, text) in cases {
            assert_eq!(tick(value), text, "{value}");
        }
    }
}
