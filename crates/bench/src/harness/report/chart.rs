//! Draws charts as text. It needs no font, library or display.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use plotters::coord::Shift;
use plotters::prelude::*;

use super::super::table::amount;

/// A picture, or why there is none.
pub(super) type Drawn = Result<String, String>;

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

const WIDTH: u32 = 1_000;
const LEGEND: i32 = 270;
/// The width of the names before the bars.
const NAMES: i32 = 390;
const LINE: i32 = 19;
const FONT: &str = "sans-serif";

/// A subject's points: where, how much, and between what.
pub(super) struct Series {
    pub(super) name: String,
    pub(super) points: Vec<(f64, f64, f64, f64)>,
    limit: bool,
}

impl Series {
    pub(super) fn new(name: &str, limit: bool) -> Self {
        Self { name: name.to_owned(), points: Vec::new(), limit }
    }

    fn width(&self) -> u32 {
        if is_ours(&self.name) { 3 } else { 1 }
    }

    fn font(&self) -> FontDesc<'static> {
        let style = if is_ours(&self.name) { FontStyle::Bold } else { FontStyle::Normal };
        (FONT, 14).into_font().style(style)
    }
}

/// Where what is along the lower edge.
pub(super) struct Axis {
    pub(super) ticks: Vec<(f64, String)>,
}

/// A colour for each subject, the same in every picture of a report: cool ones
/// for ours, warm ones for the others.
pub(super) struct Palette(Vec<String>);

impl Palette {
    /// Those that are in most of the pictures come first: where there are more
    /// subjects than colours, their colours are nobody else's.
    pub(super) fn new<'a>(subjects: impl Iterator<Item = &'a String>) -> Self {
        let mut often: BTreeMap<&str, usize> = BTreeMap::new();
        subjects.for_each(|name| *often.entry(name).or_default() += 1);
        let mut names: Vec<(&str, usize)> = often.into_iter().collect();
        names.sort_by_key(|&(_, times)| Reverse(times));
        Self(names.into_iter().map(|(name, _)| name.to_owned()).collect())
    }

    fn colour(&self, name: &str) -> RGBColor {
        // Neither vanishes on white, nor on a dark page.
        const OURS: [RGBColor; 10] = [
            RGBColor(20, 100, 220),
            RGBColor(0, 160, 140),
            RGBColor(140, 80, 210),
            RGBColor(60, 170, 230),
            RGBColor(50, 140, 80),
            RGBColor(150, 130, 230),
            RGBColor(70, 110, 180),
            RGBColor(120, 200, 90),
            RGBColor(90, 150, 170),
            RGBColor(100, 90, 255),
        ];
        const OTHERS: [RGBColor; 14] = [
            RGBColor(220, 60, 40),
            RGBColor(240, 140, 20),
            RGBColor(200, 40, 120),
            RGBColor(160, 110, 60),
            RGBColor(230, 110, 140),
            RGBColor(150, 150, 40),
            RGBColor(170, 60, 60),
            RGBColor(140, 140, 140),
            RGBColor(250, 190, 80),
            RGBColor(150, 100, 100),
            RGBColor(240, 100, 200),
            RGBColor(200, 170, 140),
            RGBColor(190, 90, 20),
            RGBColor(210, 200, 60),
        ];
        let before = self.0.iter().take_while(|other| *other != name);
        let place = before.filter(|other| is_ours(other) == is_ours(name)).count();
        let colours: &[RGBColor] = if is_ours(name) { &OURS } else { &OTHERS };
        colours[place % colours.len()]
    }
}

pub(super) fn is_ours(name: &str) -> bool {
    name.starts_with("tombolo")
}

/// Has a picture follow the reader's preference for dark pages.
fn themed(svg: &str) -> String {
    const STYLE: &str = "<style>@media (prefers-color-scheme:dark){\
        svg rect[fill=\"#FFFFFF\"]{fill:#16181c}svg [fill=\"#000000\"]{fill:#ddd}\
        svg [stroke=\"#000000\"]{stroke:#ddd}svg [fill=\"#5A5A5A\"]{fill:#aaa}}</style>";
    svg.replacen('>', &format!(">{STYLE}"), 1)
}

/// A power of ten, or what it stands for.
fn brief(value: f64) -> String {
    match value {
        1e9.. => format!("{} G", value / 1e9),
        1e6.. => format!("{} M", value / 1e6),
        1e3.. => format!("{} k", value / 1e3),
        _ => format!("{value}"),
    }
}

fn told(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// Lines from case to case, over logarithms, with whiskers.
pub(super) fn lines(
    title: &str,
    what: &str,
    axis: &Axis,
    series: &mut [Series],
    palette: &Palette,
) -> Drawn {
    draw(title, what, axis, series, (palette, true))
}

/// Curves, without whiskers.
pub(super) fn curves(
    title: &str,
    what: &str,
    axis: &Axis,
    series: &mut [Series],
    palette: &Palette,
) -> Drawn {
    draw(title, what, axis, series, (palette, false))
}

fn draw(
    title: &str,
    what: &str,
    axis: &Axis,
    series: &mut [Series],
    (palette, marked): (&Palette, bool),
) -> Drawn {
    let points = || series.iter().flat_map(|one| &one.points);
    let least = points().map(|point| point.2).fold(f64::INFINITY, f64::min).max(1.0);
    let most = points().map(|point| point.3).fold(least * 2.0, f64::max);
    let left = axis.ticks.iter().map(|tick| tick.0).fold(f64::INFINITY, f64::min);
    let right = axis.ticks.iter().map(|tick| tick.0).fold(left + 0.5, f64::max);
    if !left.is_finite() {
        return Err("there is nothing in it".to_owned());
    }
    // In every picture in the same order: the limit, ours, the others.
    let order = |one: &Series| (!one.limit, !is_ours(&one.name), one.name.clone());
    series.sort_by_key(order);
    let height = 500.max(90 + LINE * series.len() as i32) as u32;
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, (WIDTH, height)).into_drawing_area();
        let area = framed(&root, title, what)?;
        let (area, legend) = area.split_horizontally(WIDTH as i32 - LEGEND);
        let mut chart = ChartBuilder::on(&area)
            .margin(10)
            .x_label_area_size(30)
            .y_label_area_size(60)
            .build_cartesian_2d(left - 0.1..right + 0.1, (least / 1.3..most * 1.3).log_scale())
            .map_err(told)?;
        chart
            .configure_mesh()
            .disable_x_mesh()
            .x_labels(0)
            .y_label_formatter(&|value| if marked { brief(*value) } else { amount(*value, "ns") })
            .light_line_style(WHITE.mix(0.0))
            .bold_line_style(BLACK.mix(0.1))
            .label_style((FONT, 13))
            .draw()
            .map_err(told)?;
        // Ours are drawn over the others.
        for one in series.iter().rev() {
            let colour = palette.colour(&one.name);
            let line = one.points.iter().map(|&(at, value, ..)| (at, value));
            let style = colour.stroke_width(one.width());
            if one.limit {
                chart
                    .draw_series(DashedLineSeries::new(line.clone(), 8, 4, style))
                    .map_err(told)?;
            } else {
                chart.draw_series(LineSeries::new(line.clone(), style)).map_err(told)?;
            }
            if marked {
                let whisker = |&(at, _, least, most): &(f64, f64, f64, f64)| {
                    PathElement::new(vec![(at, least), (at, most)], colour.stroke_width(1))
                };
                chart.draw_series(one.points.iter().map(whisker)).map_err(told)?;
                let dot = |point| Circle::new(point, 3, colour.filled());
                chart.draw_series(line.map(dot)).map_err(told)?;
            }
        }
        // The axis by hand: its ticks are names.
        for (at, name) in &axis.ticks {
            let (x, y) = chart.backend_coord(&(*at, least / 1.3));
            root.draw(&Text::new(name.clone(), (x - 4 * name.len() as i32 / 2, y + 8), (FONT, 13)))
                .map_err(told)?;
        }
        for (row, one) in series.iter().enumerate() {
            let y = 20 + LINE * row as i32;
            let stroke = palette.colour(&one.name).stroke_width(2 + one.width());
            let ends = if one.limit { vec![(0, 8), (14, 22)] } else { vec![(0, 22)] };
            for (from, to) in ends {
                let dash = PathElement::new(vec![(from, y), (to, y)], stroke);
                legend.draw(&dash).map_err(told)?;
            }
            legend.draw(&Text::new(label(one), (30, y - 7), one.font())).map_err(told)?;
        }
        root.present().map_err(told)?;
    }
    Ok(themed(&svg))
}

fn label(series: &Series) -> String {
    if series.limit { format!("{} (the limit)", series.name) } else { series.name.clone() }
}

/// A bar for each subject, from the least to the greatest, with its value.
pub(super) fn bars(
    title: &str,
    what: &str,
    unit: &str,
    series: &[Series],
    palette: &Palette,
) -> Drawn {
    let mut series: Vec<&Series> = series.iter().filter(|one| !one.points.is_empty()).collect();
    series.sort_by(|one, other| one.points[0].1.total_cmp(&other.points[0].1));
    let least = series.iter().map(|one| one.points[0].2).fold(f64::INFINITY, f64::min).max(1e-3);
    let most = series.iter().map(|one| one.points[0].3).fold(least * 2.0, f64::max);
    let height = 80 + 26 * series.len() as u32;
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, (WIDTH, height)).into_drawing_area();
        let area = framed(&root, title, what)?;
        let (from, to) = (f64::from(NAMES), f64::from(WIDTH) - 130.0);
        // Over logarithms, and the least is a bar too.
        let scale = |value: f64| {
            let part = (value / (least / 2.0)).ln() / (most / (least / 2.0)).ln();
            (from + (to - from) * part.clamp(0.0, 1.0)) as i32
        };
        for (row, one) in series.iter().enumerate() {
            let (_, value, least, most) = one.points[0];
            let y = 6 + 26 * row as i32;
            let colour = palette.colour(&one.name);
            let bar = [(NAMES, y), (scale(value), y + 16)];
            area.draw(&Rectangle::new(bar, colour.filled())).map_err(told)?;
            let whisker = vec![(scale(least), y + 8), (scale(most), y + 8)];
            area.draw(&PathElement::new(whisker, BLACK.stroke_width(1))).map_err(told)?;
            area.draw(&Text::new(label(one), (10, y), one.font())).map_err(told)?;
            let at = (scale(most.max(value)) + 8, y);
            area.draw(&Text::new(amount(value, unit), at, (FONT, 14))).map_err(told)?;
        }
        root.present().map_err(told)?;
    }
    Ok(themed(&svg))
}

/// White, with the title and what is shown above the rest.
fn framed<'a>(root: &Area<'a>, title: &str, what: &str) -> Result<Area<'a>, String> {
    root.fill(&WHITE).map_err(told)?;
    root.draw(&Text::new(title.to_owned(), (10, 8), (FONT, 19))).map_err(told)?;
    let grey = TextStyle::from((FONT, 14)).color(&RGBColor(90, 90, 90));
    root.draw(&Text::new(what.to_owned(), (10, 32), grey)).map_err(told)?;
    Ok(root.split_vertically(54).1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(name: &str, limit: bool, height: f64) -> Series {
        let mut series = Series::new(name, limit);
        series.points.extend([(1.0, height, height, height), (2.0, height, height, height)]);
        series
    }

    #[test]
    fn a_subject_has_its_colour_and_its_place_in_every_picture() {
        let names = ["raw ring", "tombolo SPSC", "tombolo MPMC", "pipe", "FIFO"].map(str::to_owned);
        let palette = Palette::new(names.iter());
        let colours: Vec<_> = names.iter().map(|name| palette.colour(name)).collect();
        for (n, colour) in colours.iter().enumerate() {
            assert!(!colours[..n].contains(colour), "{}", names[n]);
        }
        let axis = Axis { ticks: vec![(1.0, "1".to_owned()), (2.0, "2".to_owned())] };
        let drawn = |limit: &str, others: [&str; 3]| {
            let mut series = vec![series(limit, true, 5.0)];
            series.extend((2..).zip(others).map(|(n, name)| self::series(name, false, n.into())));
            lines("a title", "", &axis, &mut series, &palette).unwrap()
        };
        let one = drawn("raw ring", ["pipe", "tombolo SPSC", "tombolo MPMC"]);
        let other = drawn("FIFO", ["tombolo SPSC", "tombolo MPMC", "pipe"]);
        for svg in [&one, &other] {
            let places = ["(the limit)", "tombolo MPMC", "tombolo SPSC", "pipe"];
            assert!(places.map(|name| svg.find(name).unwrap()).is_sorted(), "{svg}");
            assert!(svg.contains("prefers-color-scheme:dark"));
            for name in &names[1..4] {
                let RGBColor(red, green, blue) = palette.colour(name);
                assert!(svg.contains(&format!("#{red:02X}{green:02X}{blue:02X}")), "{name}");
            }
        }
    }
}
