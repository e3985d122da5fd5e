//! The page as a whole: what was reached on top, then each scenario, then where and how it was measured.

use super::element::{Element, el};
use super::format::number;
use super::scenario::{Colours, section};
use crate::model::{Report, Scenario, Verdict};

/// Nothing may be loaded from anywhere, whatever stands in a report.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'";

/// The page: one file that needs no other.
pub fn html(report: &Report) -> String {
    let colours = Colours::new(report.subjects.iter().map(|s| s.name.as_str()).collect());
    let head = el("head")
        .add(el("meta").attr("charset", "utf-8"))
        .add(
            el("meta")
                .attr("http-equiv", "Content-Security-Policy")
                .attr("content", POLICY),
        )
        .add(
            el("meta")
                .attr("name", "viewport")
                .attr("content", "width=device-width, initial-scale=1"),
        )
        .add(el("title").text(format!("weir performance, {}", day(report))))
        .add(el("style").raw(include_str!("page.css")));
    let body = el("body")
        .add(header(report))
        .add(
            el("main")
                .add(verdicts(report))
                .add(key(report, &colours))
                .all(report.scenarios.iter().map(|s| section(s, &colours)))
                .add(method(report)),
        )
        .add(el("div").attr("id", "tip").attr("hidden", ""))
        .add(el("script").raw(include_str!("page.js")));
    format!(
        "<!doctype html>\n{}\n",
        el("html").attr("lang", "en").add(head).add(body)
    )
}

fn day(report: &Report) -> &str {
    report.started.get(..10).unwrap_or(&report.started)
}

fn header(report: &Report) -> Element {
    let machine = &report.machine;
    let facts = [
        (
            "when",
            report.started.replace('T', " ").replace('Z', " UTC"),
        ),
        (
            "machine",
            format!(
                "{}, {} CPUs, {} GiB, {}, Linux {}",
                machine.cpu,
                machine.cpus,
                number(machine.memory_mib as f64 / 1024.0),
                machine.system,
                machine.kernel
            ),
        ),
        ("revision", report.revision.clone()),
        ("length", format!("{} s", number(report.seconds))),
    ];
    let mut list = el("dl").class("facts");
    for (name, value) in facts {
        list = list.add(el("div").add(el("dt").text(name)).add(el("dd").text(value)));
    }
    el("header")
        .add(el("h1").text("weir performance report"))
        .add(list)
        .add(el("pre").text(format!("$ {}", report.command)))
}

fn verdicts(report: &Report) -> Element {
    let all = || report.scenarios.iter().flat_map(|s| &s.verdicts);
    let held = all().filter(|v| v.held).count();
    let section = el("section").attr("id", "verdicts");
    if all().next().is_none() {
        return section.add(el("p").text("This run answers none of the figures to reach."));
    }
    let head = ["", "figure", "scenario"].map(|t| el("th").text(t));
    let heads = ["measured", "spread", "to reach"].map(|t| el("th").class("n").text(t));
    let head = el("tr").all(head).all(heads).add(el("th"));
    let lines = report
        .scenarios
        .iter()
        .flat_map(|s| s.verdicts.iter().map(move |v| verdict(s, v)));
    section
        .add(el("h2").text(format!("{held} of {} figures reached", all().count())))
        .add(
            el("div").class("wide").add(
                el("table")
                    .class("verdicts")
                    .add(el("thead").add(head))
                    .add(el("tbody").all(lines)),
            ),
        )
}

fn verdict(scenario: &Scenario, verdict: &Verdict) -> Element {
    let (mark, word) = if verdict.held {
        ("✓", "held")
    } else {
        ("✗", "missed")
    };
    let unit = &verdict.unit;
    let sign = if verdict.at_least { "≥" } else { "≤" };
    let link = el("a")
        .attr("href", format!("#s-{}", scenario.name))
        .text(&scenario.name);
    el("tr")
        .class(word)
        .add(el("td").class("mark").attr("title", word).text(mark))
        .add(el("td").text(&verdict.figure))
        .add(el("td").add(link))
        .add(
            el("td")
                .class("n strong")
                .text(format!("{} {unit}", number(verdict.value))),
        )
        .add(el("td").class("n").text(format!(
            "{} – {}",
            number(verdict.spread.0),
            number(verdict.spread.1)
        )))
        .add(
            el("td")
                .class("n")
                .text(format!("{sign} {}", number(verdict.bound))),
        )
        .add(el("td").add(gauge(verdict)))
}

/// The measured value against its bound: the bound stands at two thirds of the width.
fn gauge(verdict: &Verdict) -> Element {
    let full = verdict.bound * 1.5;
    let place = |v: f64| {
        let share = v / full;
        if share.is_finite() {
            share.clamp(0.0, 1.0) * 120.0
        } else {
            0.0
        }
    };
    let (value, bound) = (place(verdict.value), place(verdict.bound));
    let rect = |class: &str, x: f64, y: f64, width: f64, height: f64| {
        el("rect")
            .class(class)
            .at("x", x)
            .at("y", y)
            .at("width", width)
            .at("height", height)
    };
    let (low, high) = (place(verdict.spread.0), place(verdict.spread.1));
    el("svg")
        .class("gauge")
        .attr("viewBox", "0 0 120 16")
        .attr("aria-hidden", "true")
        .add(rect("rail", 0.0, 5.0, 120.0, 6.0).attr("rx", 3))
        .add(rect("fill", 0.0, 5.0, value.max(1.0), 6.0).attr("rx", 3))
        .add(rect("range", low, 7.0, (high - low).max(1.0), 2.0))
        .add(rect("bound", bound - 1.0, 0.0, 2.0, 16.0))
}

/// What was measured: the colours' key and the settings at once.
fn key(report: &Report, colours: &Colours<'_>) -> Element {
    let lines = report.subjects.iter().map(|subject| {
        el("tr")
            .add(
                el("td")
                    .add(el("i").class(&format!("key {}", colours.of(&subject.name))))
                    .text(&subject.name),
            )
            .add(el("td").text(&subject.version))
            .add(el("td").add(el("code").text(&subject.settings)))
    });
    let head = ["subject", "version", "settings"].map(|t| el("th").text(t));
    el("section").add(el("h2").text("What was measured")).add(
        el("div").class("wide").add(
            el("table")
                .add(el("thead").add(el("tr").all(head)))
                .add(el("tbody").all(lines)),
        ),
    )
}

fn method(report: &Report) -> Element {
    let lines = [
        "All subjects of a round ran one after the other, with the same client in front of the same server; a figure is the median over rounds, and its spread the smallest and the largest of them. Ratios are paired within a round.",
        "Latency counts from the time at which a query was due, not from when it could be sent. A curve is the median of the rounds, the band around it their range.",
        "CPU time is that of all threads and processes of the proxy, user and kernel, in the same round as the latency.",
    ];
    el("section")
        .add(el("h2").text("How it was measured"))
        .add(el("ul").all(lines.map(|l| el("li").text(l))))
        .add(el("p").text("The same run again:"))
        .add(el("pre").text(format!("$ {}", report.command)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixture;

    #[test]
    fn the_page_needs_nothing_from_outside() {
        let page = html(&fixture::report(1.0));
        for word in ["http://", "https://", "src=", "url(", "@import", "<link"] {
            assert!(!page.contains(word), "{word}");
        }
        assert!(page.contains("5 of 6 figures reached"));
        assert!(page.contains("Memory over clients") && page.contains("Memory over time"));
        assert!(page.contains("Connect to ready by percentile"));
        assert!(!page.contains("NaN") && !page.contains("inf\""));
    }

    #[test]
    fn nothing_in_a_report_becomes_markup() {
        let mut report = fixture::report(1.0);
        let nasty = "</script></style><img onerror=\"x\">'".to_owned();
        report.command.clone_from(&nasty);
        report.revision.clone_from(&nasty);
        report.machine.cpu.clone_from(&nasty);
        for subject in &mut report.subjects {
            subject.settings.clone_from(&nasty);
        }
        for scenario in &mut report.scenarios {
            scenario.name.clone_from(&nasty);
            scenario.title.clone_from(&nasty);
            scenario.notes.push(nasty.clone());
            for cell in &mut scenario.cells {
                cell.variant.clone_from(&nasty);
                cell.subject.clone_from(&nasty);
                cell.load.errors.insert(nasty.clone(), 1);
            }
            for verdict in &mut scenario.verdicts {
                verdict.figure.clone_from(&nasty);
                verdict.unit.clone_from(&nasty);
            }
        }
        let page = html(&report);
        assert!(!page.contains("<img"));
        assert_eq!(page.matches("</script>").count(), 1);
        assert_eq!(page.matches("</style>").count(), 1);
    }

    #[test]
    fn an_empty_report_is_a_page_too() {
        let mut report = fixture::report(1.0);
        report.scenarios.clear();
        assert!(html(&report).contains("none of the figures"));
        report = fixture::report(1.0);
        for scenario in &mut report.scenarios {
            scenario.cells.clear();
        }
        assert!(html(&report).ends_with("</html>\n"));
    }
}
