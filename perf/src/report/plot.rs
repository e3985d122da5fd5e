//! Charts as inline SVG: lines over two axes, and bars with whiskers. Colours come from the page's classes.

use super::element::{Element, el};
use super::format::{number, tick_number, tick_time};

/// How values become places on an axis.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scale {
    /// Evenly.
    Linear,
    /// By the decade.
    Log,
}

/// One axis of a line chart.
#[derive(Clone, Debug)]
pub struct Axis {
    /// What is on it, with its unit.
    pub title: String,
    /// How.
    pub scale: Scale,
    /// The ends.
    pub range: (f64, f64),
    /// Where a grid line is, and what it says.
    pub ticks: Vec<(f64, String)>,
}

/// One line.
#[derive(Clone, Debug)]
pub struct Series {
    /// Whose.
    pub name: String,
    /// Its colour's class.
    pub class: String,
    /// From left to right.
    pub points: Vec<(f64, f64)>,
    /// Smallest and largest at each x, drawn as a band; may be empty.
    pub band: Vec<(f64, f64, f64)>,
}

/// A bar with a whisker.
#[derive(Clone, Debug)]
pub struct Bar {
    /// Whose.
    pub name: String,
    /// Its colour's class.
    pub class: String,
    /// Median, smallest, largest.
    pub value: (f64, f64, f64),
}

/// Bars that belong together.
#[derive(Clone, Debug)]
pub struct Group {
    /// Above them.
    pub title: String,
    /// From top to bottom.
    pub bars: Vec<Bar>,
}

impl Axis {
    /// Times on a log axis around all values: whole decades are cut at 1, 2 and 5.
    pub fn log_time(title: &str, values: impl Iterator<Item = f64>) -> Option<Axis> {
        let (low, high) = ends(values.filter(|v| *v > 0.0))?;
        let steps = steps_of_decades(low, high);
        let first = steps.iter().rposition(|s| *s <= low)?;
        let last = steps.iter().position(|s| *s >= high)?;
        let within = steps.get(first..=last)?;
        let few = within.len() <= 9;
        let ticks = within.iter().filter(|s| few || is_decade(**s));
        Some(Axis {
            title: title.to_owned(),
            scale: Scale::Log,
            range: (*within.first()?, *within.last()?),
            ticks: ticks.map(|s| (*s, tick_time(*s))).collect(),
        })
    }

    /// Numbers from zero to above the largest, evenly.
    pub fn from_zero(title: &str, values: impl Iterator<Item = f64>) -> Option<Axis> {
        let (_, high) = ends(values)?;
        let step = round_step(high / 5.0);
        let steps = (high / step).ceil().max(1.0) as u32;
        let ticks = (0..=steps).map(|i| f64::from(i) * step);
        Some(Axis {
            title: title.to_owned(),
            scale: Scale::Linear,
            range: (0.0, step * f64::from(steps)),
            ticks: ticks.map(|t| (t, tick_number(t))).collect(),
        })
    }

    /// From 0 to 1; clamped.
    fn place(&self, value: f64) -> f64 {
        let (from, to) = self.range;
        let share = match self.scale {
            Scale::Linear => (value - from) / (to - from),
            Scale::Log => (value / from).ln() / (to / from).ln(),
        };
        if share.is_finite() {
            share.clamp(0.0, 1.0)
        } else {
            0.0
        }
    }
}

fn ends(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    let values = values.filter(|v| v.is_finite());
    values.fold(None, |ends, v| match ends {
        None => Some((v, v)),
        Some((low, high)) => Some((v.min(low), v.max(high))),
    })
}

fn steps_of_decades(low: f64, high: f64) -> Vec<f64> {
    let from = low.log10().floor() as i32;
    let to = high.log10().ceil() as i32;
    let decades = (from..=to).map(|e| 10_f64.powi(e));
    decades.flat_map(|d| [d, 2.0 * d, 5.0 * d]).collect()
}

fn is_decade(value: f64) -> bool {
    (value.log10() - value.log10().round()).abs() < 1e-6
}

/// The next of 1, 2, 5 times a power of ten.
fn round_step(least: f64) -> f64 {
    if least.is_nan() || least <= 0.0 {
        return 1.0;
    }
    let decade = 10_f64.powf(least.log10().floor());
    let fits = [1.0, 2.0, 5.0, 10.0].into_iter().map(|m| m * decade);
    fits.into_iter()
        .find(|s| *s >= least * 0.999)
        .unwrap_or(decade * 10.0)
}

/// Where the plot is within a line chart of 640 by 320.
const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 320.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 100.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 46.0;

/// A line chart; lines carry their names at their right ends.
pub fn lines(label: &str, x: &Axis, y: &Axis, series: &[Series]) -> Element {
    let place = Place { x, y };
    let mut svg = el("svg")
        .class("chart lines")
        .attr("viewBox", format!("0 0 {WIDTH} {HEIGHT}"))
        .attr("role", "img")
        .attr("aria-label", label);
    svg = grid(svg, &place);
    for one in series {
        if !one.band.is_empty() {
            svg = svg.add(band(&place, one));
        }
    }
    // The subject that the page is about lies on top of the others.
    let (top, below): (Vec<_>, Vec<_>) = series.iter().partition(|s| s.class == "weir");
    svg = svg.all(below.into_iter().chain(top).map(|one| path(&place, one)));
    svg = svg.all(end_labels(&place, series));
    svg.add(
        el("line")
            .class("hair")
            .at("y1", TOP)
            .at("y2", HEIGHT - BOTTOM),
    )
}

struct Place<'a> {
    x: &'a Axis,
    y: &'a Axis,
}

impl Place<'_> {
    fn at(&self, (x, y): (f64, f64)) -> (f64, f64) {
        (self.across(x), self.down(y))
    }

    fn across(&self, x: f64) -> f64 {
        LEFT + self.x.place(x) * (WIDTH - LEFT - RIGHT)
    }

    fn down(&self, y: f64) -> f64 {
        HEIGHT - BOTTOM - self.y.place(y) * (HEIGHT - TOP - BOTTOM)
    }
}

fn grid(mut svg: Element, place: &Place<'_>) -> Element {
    let (right, low) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
    for (value, text) in &place.y.ticks {
        let y = place.down(*value);
        svg = svg.add(segment("grid", (LEFT, y), (right, y))).add(label(
            "tick end",
            (LEFT - 8.0, y + 4.0),
            text,
        ));
    }
    for (value, text) in &place.x.ticks {
        let x = place.across(*value);
        svg = svg.add(segment("grid", (x, TOP), (x, low))).add(label(
            "tick middle",
            (x, low + 17.0),
            text,
        ));
    }
    let middle = (LEFT + right) / 2.0;
    svg.add(segment("axis", (LEFT, low), (right, low)))
        .add(label(
            "title middle",
            (middle, HEIGHT - 8.0),
            &place.x.title,
        ))
        .add(label("title middle", (0.0, 0.0), &place.y.title).attr(
            "transform",
            format!("translate(12 {}) rotate(-90)", (TOP + low) / 2.0),
        ))
}

fn segment(class: &str, from: (f64, f64), to: (f64, f64)) -> Element {
    el("line")
        .class(class)
        .at("x1", from.0)
        .at("y1", from.1)
        .at("x2", to.0)
        .at("y2", to.1)
}

fn label(class: &str, (x, y): (f64, f64), text: &str) -> Element {
    el("text").class(class).at("x", x).at("y", y).text(text)
}

fn dots(points: impl Iterator<Item = (f64, f64)>) -> String {
    let texts: Vec<String> = points.map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
    texts.join(" ")
}

/// The line itself carries what the pointer shows: places and values.
fn path(place: &Place<'_>, series: &Series) -> Element {
    let places: Vec<_> = series.points.iter().map(|p| place.at(*p)).collect();
    let values: Vec<String> = series
        .points
        .iter()
        .map(|p| format!("{:.4}", p.1))
        .collect();
    let line = el("polyline")
        .class(&format!("line {}", series.class))
        .attr("data-name", &series.name)
        .attr("data-values", values.join(" "))
        .attr("points", dots(places.iter().copied()));
    match places.as_slice() {
        // A line of one point is invisible: the marker is all there is.
        [_] | [] => el("g").add(line).all(markers(&places, &series.class)),
        few if few.len() <= 6 => el("g").add(line).all(markers(&places, &series.class)),
        _ => line,
    }
}

fn markers(places: &[(f64, f64)], class: &str) -> Vec<Element> {
    let dot = |(x, y): &(f64, f64)| {
        el("circle")
            .class(&format!("dot {class}"))
            .at("cx", *x)
            .at("cy", *y)
            .attr("r", 3.5)
    };
    places.iter().map(dot).collect()
}

fn band(place: &Place<'_>, series: &Series) -> Element {
    let low = series.band.iter().map(|b| place.at((b.0, b.1)));
    let high = series.band.iter().rev().map(|b| place.at((b.0, b.2)));
    el("polygon")
        .class(&format!("band {}", series.class))
        .attr("points", dots(low.chain(high)))
}

/// Names at the right ends, pushed apart where they would overlap.
fn end_labels(place: &Place<'_>, series: &[Series]) -> Vec<Element> {
    let ends = series
        .iter()
        .filter_map(|s| Some((place.at(*s.points.last()?), s)));
    let mut ends: Vec<_> = ends.collect();
    ends.sort_by(|a, b| a.0.1.total_cmp(&b.0.1));
    let wanted: Vec<f64> = ends.iter().map(|(at, _)| at.1).collect();
    let spread = apart(&wanted, 15.0, (TOP + 6.0, HEIGHT - BOTTOM - 2.0));
    let mut out = Vec::new();
    for ((at, one), y) in ends.iter().zip(spread) {
        let left = WIDTH - RIGHT + 14.0;
        out.push(segment(
            &format!("leader {}", one.class),
            *at,
            (left - 3.0, y),
        ));
        out.push(label(
            &format!("name {}", one.class),
            (left, y + 4.0),
            &one.name,
        ));
    }
    out
}

/// Moves sorted places so that neighbours are `gap` apart and all stay within `range`.
fn apart(wanted: &[f64], gap: f64, range: (f64, f64)) -> Vec<f64> {
    let mut places = Vec::with_capacity(wanted.len());
    let mut least = range.0;
    for y in wanted {
        let y = y.max(least);
        places.push(y);
        least = y + gap;
    }
    let mut most = range.1;
    for y in places.iter_mut().rev() {
        *y = y.min(most);
        most = *y - gap;
    }
    places
}

const BAR: f64 = 16.0;
const ROW: f64 = 22.0;
const NAMES: f64 = 110.0;

/// Horizontal bars in groups on one scale from zero, each with its value and, where it has a spread, a whisker.
pub fn bars(label_text: &str, unit: &str, groups: &[Group]) -> Option<Element> {
    let all = groups.iter().flat_map(|g| &g.bars);
    let axis = Axis::from_zero(unit, all.map(|b| b.value.2))?;
    let rows: usize = groups.iter().map(|g| g.bars.len()).sum();
    let height = rows as f64 * ROW + groups.len() as f64 * 30.0 + 40.0;
    let scale = |v: f64| NAMES + axis.place(v) * (WIDTH - NAMES - 70.0);
    let mut svg = el("svg")
        .class("chart bars")
        .attr("viewBox", format!("0 0 {WIDTH} {height}"))
        .attr("role", "img")
        .attr("aria-label", label_text);
    let low = height - 40.0;
    for (value, text) in &axis.ticks {
        let x = scale(*value);
        svg = svg.add(segment("grid", (x, 22.0), (x, low))).add(label(
            "tick middle",
            (x, low + 16.0),
            text,
        ));
    }
    svg = svg.add(label(
        "title middle",
        (scale(axis.range.1 / 2.0), height - 6.0),
        unit,
    ));
    let mut y = 0.0;
    for group in groups {
        svg = svg.add(label("group", (0.0, y + 18.0), &group.title));
        y += 26.0;
        for one in &group.bars {
            svg = svg.add(bar(one, y, &scale));
            y += ROW;
        }
        y += 4.0;
    }
    Some(svg)
}

fn bar(bar: &Bar, y: f64, scale: &impl Fn(f64) -> f64) -> Element {
    let (median, low, high) = bar.value;
    let (end, middle) = (scale(median), y + BAR / 2.0);
    let tip = format!(
        "{}: {} ({} to {})",
        bar.name,
        number(median),
        number(low),
        number(high)
    );
    let mut group = el("g")
        .add(el("title").text(tip))
        .add(label("subject end", (NAMES - 8.0, middle + 4.0), &bar.name))
        .add(
            el("rect")
                .class(&format!("bar {}", bar.class))
                .at("x", NAMES)
                .at("y", y)
                .at("width", (end - NAMES).max(1.0))
                .at("height", BAR)
                .attr("rx", 2),
        );
    if high > low {
        let (from, to) = (scale(low), scale(high));
        group = group
            .add(segment("whisker", (from, middle), (to, middle)))
            .add(segment(
                "whisker",
                (from, middle - 4.0),
                (from, middle + 4.0),
            ))
            .add(segment("whisker", (to, middle - 4.0), (to, middle + 4.0)));
    }
    group.add(label(
        "value",
        (scale(high).max(end) + 7.0, middle + 4.0),
        &number(median),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_hold_all_values_on_round_ends() {
        let axis = Axis::log_time("latency", [46.0, 3_300.0].into_iter()).unwrap();
        assert_eq!(axis.range, (20.0, 5_000.0));
        let texts: Vec<&str> = axis.ticks.iter().map(|t| t.1.as_str()).collect();
        assert_eq!(
            texts,
            [
                "20 µs", "50 µs", "100 µs", "200 µs", "500 µs", "1 ms", "2 ms", "5 ms"
            ]
        );
        let axis = Axis::from_zero("µs", [12.0, 47.0].into_iter()).unwrap();
        assert_eq!(axis.range, (0.0, 50.0));
        assert_eq!(axis.ticks.len(), 6);
        assert!(Axis::log_time("nothing", std::iter::empty()).is_none());
        assert_eq!(
            Axis::from_zero("all zero", [0.0].into_iter())
                .unwrap()
                .range,
            (0.0, 1.0)
        );
    }

    #[test]
    fn places_stay_in_the_picture() {
        let axis = Axis::log_time("t", [10.0, 1_000.0].into_iter()).unwrap();
        assert_eq!(axis.place(10.0), 0.0);
        assert!((axis.place(100.0) - 0.5).abs() < 1e-9);
        for odd in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e9] {
            assert!((0.0..=1.0).contains(&axis.place(odd)), "{odd}");
        }
    }

    #[test]
    fn labels_are_pushed_apart_and_kept_within() {
        let places = apart(&[10.0, 11.0, 12.0, 99.0, 100.0], 15.0, (6.0, 100.0));
        assert!(
            places.windows(2).all(|w| w[1] - w[0] >= 14.99),
            "{places:?}"
        );
        assert!(places[0] >= 6.0 && places[4] <= 100.0, "{places:?}");
    }

    #[test]
    fn a_whisker_spans_the_rounds() {
        let group = Group {
            title: "simple".into(),
            bars: vec![Bar {
                name: "weir & co".into(),
                class: "c1".into(),
                value: (11.0, 10.0, 12.5),
            }],
        };
        let svg = bars("cpu", "µs", &[group]).unwrap().to_string();
        assert_eq!(svg.matches("whisker").count(), 3);
        assert!(
            svg.contains("<title>weir &amp; co: 11.0 (10.0 to 12.5)</title>"),
            "{svg}"
        );
        assert!(bars("none", "µs", &[]).is_none());
    }
}
