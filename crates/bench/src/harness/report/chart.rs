//! Pictures, drawn as text: no font, no library and no display is needed.

use plotters::coord::Shift;
use plotters::prelude::*;

use super::super::table::amount;

/// A picture, or why there is none.
pub(super) type Drawn = Result<String, String>;

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

const WIDTH: u32 = 1_000;
const LEGEND: i32 = 270;
/// What the names before the bars take.
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
}

/// Where what is along the lower edge.
pub(super) struct Axis {
    pub(super) ticks: Vec<(f64, String)>,
}

/// Cool colours for ours, warm ones for the others, black for the limit.
fn colours(series: &[Series]) -> Vec<RGBColor> {
    const OURS: [RGBColor; 8] = [
        RGBColor(0, 90, 200),
        RGBColor(0, 160, 140),
        RGBColor(120, 60, 200),
        RGBColor(60, 170, 230),
        RGBColor(30, 120, 60),
        RGBColor(150, 130, 230),
        RGBColor(10, 50, 110),
        RGBColor(120, 200, 90),
    ];
    const OTHERS: [RGBColor; 12] = [
        RGBColor(220, 60, 40),
        RGBColor(240, 140, 20),
        RGBColor(190, 20, 110),
        RGBColor(160, 110, 60),
        RGBColor(230, 110, 140),
        RGBColor(130, 130, 20),
        RGBColor(110, 30, 30),
        RGBColor(150, 150, 150),
        RGBColor(250, 190, 80),
        RGBColor(120, 80, 80),
        RGBColor(240, 100, 200),
        RGBColor(200, 170, 140),
    ];
    let (mut ours, mut others) = (OURS.iter().cycle(), OTHERS.iter().cycle());
    let colour = |series: &Series| {
        let from = if series.name.starts_with("tombolo") { &mut ours } else { &mut others };
        if series.limit { BLACK } else { from.next().copied().unwrap_or(BLACK) }
    };
    series.iter().map(colour).collect()
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
pub(super) fn lines(title: &str, what: &str, axis: &Axis, series: &mut [Series]) -> Drawn {
    draw(title, what, axis, series, true)
}

/// Curves, without whiskers.
pub(super) fn curves(title: &str, what: &str, axis: &Axis, series: &mut [Series]) -> Drawn {
    draw(title, what, axis, series, false)
}

fn draw(title: &str, what: &str, axis: &Axis, series: &mut [Series], marked: bool) -> Drawn {
    let points = || series.iter().flat_map(|one| &one.points);
    let least = points().map(|point| point.2).fold(f64::INFINITY, f64::min).max(1.0);
    let most = points().map(|point| point.3).fold(least * 2.0, f64::max);
    let left = axis.ticks.iter().map(|tick| tick.0).fold(f64::INFINITY, f64::min);
    let right = axis.ticks.iter().map(|tick| tick.0).fold(left + 0.5, f64::max);
    if !left.is_finite() {
        return Err("there is nothing in it".to_owned());
    }
    // From above to below, as in the picture on its left.
    let begins = |one: &Series| one.points.first().map_or(0.0, |point| point.1);
    series.sort_by(|one, other| begins(other).total_cmp(&begins(one)));
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
        let colours = colours(series);
        for (one, &colour) in series.iter().zip(&colours) {
            let line = one.points.iter().map(|&(at, value, ..)| (at, value));
            let style = colour.stroke_width(if one.limit { 3 } else { 2 });
            chart.draw_series(LineSeries::new(line.clone(), style)).map_err(told)?;
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
        for (row, (one, &colour)) in series.iter().zip(&colours).enumerate() {
            let y = 20 + LINE * row as i32;
            let stroke = colour.stroke_width(4);
            legend.draw(&PathElement::new(vec![(0, y), (22, y)], stroke)).map_err(told)?;
            legend.draw(&Text::new(label(one), (30, y - 7), (FONT, 14))).map_err(told)?;
        }
        root.present().map_err(told)?;
    }
    Ok(svg)
}

fn label(series: &Series) -> String {
    if series.limit { format!("{} (the limit)", series.name) } else { series.name.clone() }
}

/// A bar for each subject, from the least to the greatest, with its value.
pub(super) fn bars(title: &str, what: &str, unit: &str, series: &[Series]) -> Drawn {
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
            let ours = one.name.starts_with("tombolo");
            let colour = match (one.limit, ours) {
                (true, _) => RGBColor(60, 60, 60),
                (_, true) => RGBColor(0, 90, 200),
                _ => RGBColor(230, 130, 60),
            };
            let bar = [(NAMES, y), (scale(value), y + 16)];
            area.draw(&Rectangle::new(bar, colour.filled())).map_err(told)?;
            let whisker = vec![(scale(least), y + 8), (scale(most), y + 8)];
            area.draw(&PathElement::new(whisker, BLACK.stroke_width(1))).map_err(told)?;
            area.draw(&Text::new(label(one), (10, y), (FONT, 14))).map_err(told)?;
            let at = (scale(most.max(value)) + 8, y);
            area.draw(&Text::new(amount(value, unit), at, (FONT, 14))).map_err(told)?;
        }
        root.present().map_err(told)?;
    }
    Ok(svg)
}

/// White, with the title and what is shown above the rest.
fn framed<'a>(root: &Area<'a>, title: &str, what: &str) -> Result<Area<'a>, String> {
    root.fill(&WHITE).map_err(told)?;
    root.draw(&Text::new(title.to_owned(), (10, 8), (FONT, 19))).map_err(told)?;
    let grey = TextStyle::from((FONT, 14)).color(&RGBColor(90, 90, 90));
    root.draw(&Text::new(what.to_owned(), (10, 32), grey)).map_err(told)?;
    Ok(root.split_vertically(54).1)
}
