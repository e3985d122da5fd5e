//! One scenario's section of the page: what it asks, its plots, its table, its notes.

use super::curves;
use super::element::{Element, el};
use super::format::number;
use super::plot::{Axis, Bar, Group, Scale, Series, bars, lines};
use super::summary::{Metric, Row, rows, variants};
use crate::model::{Cell, Curve, Scenario};

/// Gives every subject the class of its colour.
pub struct Colours<'a> {
    names: Vec<&'a str>,
}

impl<'a> Colours<'a> {
    /// Colours stay the same through the whole page; weir and `direct` look the same in every report.
    pub fn new(names: Vec<&'a str>) -> Colours<'a> {
        Colours { names }
    }

    /// The class of a subject.
    pub fn of(&self, subject: &str) -> String {
        match subject {
            "weir" => "weir".to_owned(),
            "direct" => "direct".to_owned(),
            other if is_weir(other) => "weir2".to_owned(),
            _ => {
                let others = self.names.iter().filter(|n| **n != "direct" && !is_weir(n));
                let place = others.clone().position(|n| *n == subject);
                format!("c{}", place.unwrap_or(0) % 7)
            }
        }
    }
}

fn is_weir(subject: &str) -> bool {
    subject.starts_with("weir")
}

/// Clients from which on memory per client says something: below, it is what allocators happen to hold.
const CLIENTS_FOR_MEMORY: u64 = 200;

/// The section.
pub fn section(scenario: &Scenario, colours: &Colours<'_>) -> Element {
    let rows = rows(scenario);
    let mut section = el("section")
        .attr("id", format!("s-{}", scenario.name))
        .add(
            el("h2")
                .add(el("code").text(&scenario.name))
                .text(" ")
                .text(&scenario.title),
        )
        .add(el("p").text(&scenario.says));
    let figures = figures(scenario, &rows, colours);
    if !figures.is_empty() {
        section = section.add(el("div").class("figures").all(figures));
    }
    section = section.add(table(&rows, colours));
    let notes: Vec<Element> = notes(scenario, &rows).map(|n| el("li").text(n)).collect();
    if !notes.is_empty() {
        section = section.add(el("ul").class("notes").all(notes));
    }
    section
}

fn figures(scenario: &Scenario, rows: &[Row<'_>], colours: &Colours<'_>) -> Vec<Element> {
    let latency = percentiles("Latency", scenario, rows, colours, |c| &c.load.latency);
    let storm = scenario
        .cells
        .iter()
        .any(|c| c.load.connect.count * 2 > c.load.done);
    let connect = if storm {
        percentiles("Connect to ready", scenario, rows, colours, |c| {
            &c.load.connect
        })
    } else {
        Vec::new()
    };
    let crowd = scenario
        .cells
        .iter()
        .any(|c| c.load.connections >= CLIENTS_FOR_MEMORY);
    let memory = crowd.then(|| {
        grouped(
            "Memory per client",
            "KiB per client",
            Metric::Memory,
            rows,
            colours,
        )
    });
    let unit = if storm {
        "µs per client"
    } else {
        "µs per query"
    };
    let cpu = grouped("CPU time of the proxy", unit, Metric::Cpu, rows, colours);
    latency
        .into_iter()
        .chain(connect)
        .chain(cpu)
        .chain(memory.flatten())
        .chain(over_clients(rows, colours))
        .chain(over_time(rows, colours))
        .collect()
}

fn figure(caption: &str, svg: Element) -> Element {
    el("figure").add(el("figcaption").text(caption)).add(svg)
}

/// One percentile chart for each variant.
fn percentiles(
    what: &str,
    scenario: &Scenario,
    rows: &[Row<'_>],
    colours: &Colours<'_>,
    curve: impl Fn(&Cell) -> &Curve,
) -> Vec<Element> {
    let mut out = Vec::new();
    for variant in variants(scenario) {
        let own = rows.iter().filter(|r| r.variant == variant);
        let series: Vec<Series> = own
            .filter_map(|row| {
                let rounds: Vec<&Curve> = row.cells.iter().map(|c| curve(c)).collect();
                curves::series(row.subject, &colours.of(row.subject), &rounds)
            })
            .collect();
        let values = series.iter().flat_map(|s| s.points.iter().map(|p| p.1));
        let y = Axis::log_time(&what.to_lowercase(), values);
        if let (Some(x), Some(y)) = (curves::quantile_axis(&series), y) {
            let caption = format!("{what} by percentile, {variant}");
            out.push(figure(&caption, lines(&caption, &x, &y, &series)));
        }
    }
    out
}

/// Bars of one metric, a group for each variant.
fn grouped(
    caption: &str,
    unit: &str,
    metric: Metric,
    rows: &[Row<'_>],
    colours: &Colours<'_>,
) -> Option<Element> {
    let mut groups: Vec<Group> = Vec::new();
    for row in rows {
        let Some(figure) = row.figure(metric) else {
            continue;
        };
        let bar = Bar {
            name: row.subject.to_owned(),
            class: colours.of(row.subject),
            value: (figure.median, figure.low, figure.high),
        };
        match groups.last_mut().filter(|g| g.title == row.variant) {
            Some(group) => group.bars.push(bar),
            None => groups.push(Group {
                title: row.variant.to_owned(),
                bars: vec![bar],
            }),
        }
    }
    let svg = bars(caption, unit, &groups)?;
    Some(figure(
        &format!("{caption}, {unit}: median and spread of rounds"),
        svg,
    ))
}

/// Resident memory over connected clients, where variants differ in clients.
fn over_clients(rows: &[Row<'_>], colours: &Colours<'_>) -> Option<Element> {
    let mut series: Vec<Series> = Vec::new();
    for row in rows {
        let Some(cell) = row.cells.first() else {
            continue;
        };
        let Some(usage) = cell.usage.as_ref().filter(|_| cell.load.connections > 0) else {
            continue;
        };
        let point = (cell.load.connections as f64, usage.rss_kib as f64 / 1024.0);
        match series.iter_mut().find(|s| s.name == row.subject) {
            Some(one) => one.points.push(point),
            None => series.push(line(row, colours, vec![point])),
        }
    }
    for one in &mut series {
        one.points.sort_by(|a, b| a.0.total_cmp(&b.0));
    }
    let differ = series
        .iter()
        .any(|s| s.points.first().map(|p| p.0) != s.points.last().map(|p| p.0));
    if !differ {
        return None;
    }
    linear("Memory over clients", "connected clients", &series)
}

/// Resident memory while the load ran.
fn over_time(rows: &[Row<'_>], colours: &Colours<'_>) -> Option<Element> {
    let series: Vec<Series> = rows
        .iter()
        .filter_map(|row| {
            let usages = row.cells.iter().filter_map(|c| c.usage.as_ref());
            let longest = usages.max_by_key(|u| u.rss_over_time.len())?;
            let points = longest.rss_over_time.iter();
            let points: Vec<_> = points.map(|(s, kib)| (*s, *kib as f64 / 1024.0)).collect();
            (points.len() > 1).then(|| line(row, colours, points))
        })
        .collect();
    linear("Memory over time", "seconds", &series)
}

fn line(row: &Row<'_>, colours: &Colours<'_>, points: Vec<(f64, f64)>) -> Series {
    Series {
        name: row.subject.to_owned(),
        class: colours.of(row.subject),
        points,
        band: Vec::new(),
    }
}

fn linear(caption: &str, x_title: &str, series: &[Series]) -> Option<Element> {
    let all = || series.iter().flat_map(|s| s.points.iter());
    let x = Axis::from_zero(x_title, all().map(|p| p.0))?;
    let y = Axis::from_zero("resident memory, MiB", all().map(|p| p.1))?;
    debug_assert_eq!(x.scale, Scale::Linear);
    Some(figure(caption, lines(caption, &x, &y, series)))
}

fn table(rows: &[Row<'_>], colours: &Colours<'_>) -> Element {
    let head = ["variant", "subject"].map(|t| el("th").text(t));
    let heads = Metric::ALL.map(|m| el("th").class("n").text(m.name()));
    let ends = ["p99.9", "max", "errors", "generator busy"].map(|t| el("th").class("n").text(t));
    let head = el("tr").all(head).all(heads).all(ends);
    let mut variant = "";
    let mut body = Vec::new();
    for row in rows {
        let first = row.variant != variant;
        variant = row.variant;
        body.push(table_row(row, colours, first));
    }
    el("div").class("wide").add(
        el("table")
            .class("cells")
            .add(el("thead").add(head))
            .add(el("tbody").all(body)),
    )
}

fn table_row(row: &Row<'_>, colours: &Colours<'_>, first: bool) -> Element {
    let mut line = el("tr")
        .class(if first { "first" } else { "next" })
        .add(el("td").text(if first { row.variant } else { "" }))
        .add(
            el("td")
                .add(el("i").class(&format!("key {}", colours.of(row.subject))))
                .text(row.subject),
        );
    for metric in Metric::ALL {
        let mut cell = el("td").class("n");
        cell = match row.figure(metric) {
            Some(f) => cell
                .attr(
                    "title",
                    format!(
                        "{} to {}, {} rounds",
                        metric.show(f.low),
                        metric.show(f.high),
                        f.rounds
                    ),
                )
                .text(metric.show(f.median)),
            None => cell.text("–"),
        };
        line = line.add(cell);
    }
    line.all(tail(row).map(|text| el("td").class("n").text(text)))
}

/// The last columns: far quantiles, errors by code, the generator's own load.
fn tail(row: &Row<'_>) -> [String; 4] {
    let worst = |f: fn(&Cell) -> f64| {
        let values = row.cells.iter().filter(|c| c.load.latency.count > 0);
        values.map(|c| f(c)).max_by(f64::total_cmp)
    };
    let time = |v: Option<f64>| v.map_or_else(|| "–".to_owned(), super::format::time);
    let mut codes: Vec<String> = Vec::new();
    for cell in &row.cells {
        for code in cell.load.errors.keys() {
            if !codes.contains(code) {
                codes.push(code.clone());
            }
        }
    }
    let errors = match row.errors() {
        0 => "0".to_owned(),
        n => format!("{n} ({})", codes.join(", ")),
    };
    let busy = worst(|c| c.load.generator_busy).unwrap_or(0.0);
    [
        time(worst(|c| c.load.latency.p999)),
        time(worst(|c| c.load.latency.max)),
        errors,
        format!("{} %", number((busy * 100.0).round())),
    ]
}

fn notes<'a>(scenario: &'a Scenario, rows: &'a [Row<'a>]) -> impl Iterator<Item = String> + 'a {
    let limits = rows.iter().filter_map(|r| {
        let why = r.bottleneck()?;
        Some(format!(
            "{}, {}: these figures show the generator: {why}",
            r.subject, r.variant
        ))
    });
    limits.chain(scenario.notes.iter().cloned())
}
