//! The flame graph: one SVG file that needs no other. Width is share of samples, colour is whose code it is; a click zooms.

use std::collections::BTreeMap;

use super::stacks::{Frame, Origin, Stacks};
use crate::report::element::{Element, el};

const WIDTH: f64 = 1200.0;
const MARGIN: f64 = 12.0;
const ROW: f64 = 18.0;
const TOP: f64 = 66.0;

/// Narrower frames are left out: nobody could see or hit them.
const NARROWEST: f64 = 0.4;

/// Width of a character of the font that names are in.
const CHARACTER: f64 = 6.6;

#[derive(Default)]
struct Node<'a> {
    samples: u64,
    callees: BTreeMap<&'a Frame, Node<'a>>,
}

impl<'a> Node<'a> {
    fn add(&mut self, stack: &'a [Frame], samples: u64) {
        self.samples += samples;
        if let Some((frame, rest)) = stack.split_first() {
            self.callees.entry(frame).or_default().add(rest, samples);
        }
    }
}

/// One frame in its place.
struct Place<'a> {
    frame: &'a Frame,
    depth: usize,
    left: f64,
    width: f64,
    samples: u64,
}

/// The file's text.
pub fn svg(stacks: &Stacks, title: &str) -> String {
    let mut root = Node::default();
    for (stack, samples) in &stacks.stacks {
        root.add(stack, *samples);
    }
    let mut places = Vec::new();
    let scale = (WIDTH - 2.0 * MARGIN) / root.samples.max(1) as f64;
    lay_out(&root, 0, MARGIN, scale, &mut places);
    let depth = places.iter().map(|p| p.depth + 1).max().unwrap_or(0);
    let height = TOP + depth as f64 * ROW + MARGIN;
    let frames = places.iter().map(|p| frame(p, height, root.samples));
    let svg = el("svg")
        .attr("xmlns", "http://www.w3.org/2000/svg")
        .attr("viewBox", format!("0 0 {WIDTH} {height}"))
        .attr("width", WIDTH)
        .attr("height", height)
        .add(el("style").raw(include_str!("flame.css")))
        .add(
            el("rect")
                .class("back")
                .attr("width", "100%")
                .attr("height", "100%"),
        )
        .add(text("heading", MARGIN, 24.0, title))
        .add(text("said", MARGIN, 46.0, "").attr("id", "said"))
        .all(key())
        .add(el("g").attr("id", "frames").all(frames))
        .add(el("script").raw(include_str!("flame.js")));
    format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n{svg}\n")
}

/// Callees side by side above their caller, the widest first: what costs most is at the left.
fn lay_out<'a>(node: &Node<'a>, depth: usize, left: f64, scale: f64, out: &mut Vec<Place<'a>>) {
    let mut callees: Vec<(&&Frame, &Node<'a>)> = node.callees.iter().collect();
    callees.sort_by(|a, b| b.1.samples.cmp(&a.1.samples).then(a.0.cmp(b.0)));
    let mut left = left;
    for (frame, callee) in callees {
        let width = callee.samples as f64 * scale;
        if width >= NARROWEST {
            out.push(Place {
                frame,
                depth,
                left,
                width,
                samples: callee.samples,
            });
            lay_out(callee, depth + 1, left, scale, out);
        }
        left += width;
    }
}

fn class(origin: Origin) -> &'static str {
    match origin {
        Origin::Core => "core",
        Origin::Shell => "shell",
        Origin::Tls => "tls",
        Origin::Kernel => "kernel",
        Origin::Other => "other",
    }
}

fn frame(place: &Place<'_>, height: f64, all: u64) -> Element {
    let y = height - MARGIN - (place.depth + 1) as f64 * ROW;
    let share = place.samples as f64 / all.max(1) as f64 * 100.0;
    let name = &place.frame.name;
    el("g")
        .class(&format!("frame {}", class(place.frame.origin)))
        .attr("data-name", name)
        .add(el("title").text(format!("{name}: {} samples, {share:.2} %", place.samples)))
        .add(
            el("rect")
                .at("x", place.left)
                .at("y", y)
                .at("width", (place.width - 0.5).max(0.3))
                .at("height", ROW - 1.0)
                .attr("rx", 1.5),
        )
        .add(text(
            "",
            place.left + 4.0,
            y + 12.5,
            &fitting(name, place.width),
        ))
}

fn text(class: &str, x: f64, y: f64, text: &str) -> Element {
    el("text").class(class).at("x", x).at("y", y).text(text)
}

/// As much of a name as fits; the end of a path says more than its start.
fn fitting(name: &str, width: f64) -> String {
    let room = ((width - 8.0) / CHARACTER).max(0.0) as usize;
    let length = name.chars().count();
    match room {
        0..=3 => String::new(),
        room if length <= room => name.to_owned(),
        room => {
            let end: String = name.chars().skip(length - (room - 1)).collect();
            format!("…{end}")
        }
    }
}

fn key() -> Vec<Element> {
    let mut out = Vec::new();
    for (origin, place) in Origin::ALL.iter().rev().zip(1..) {
        let x = WIDTH - MARGIN - f64::from(place) * 78.0;
        let swatch = el("rect")
            .at("x", x)
            .at("y", 14.0)
            .attr("width", 12)
            .attr("height", 12)
            .attr("rx", 2);
        out.push(el("g").class(class(*origin)).add(swatch));
        out.push(text("said", x + 18.0, 24.0, origin.name()));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::stacks::tests::SCRIPT;
    use super::*;

    #[test]
    fn every_frame_is_there_and_widths_are_shares() {
        let svg = svg(&Stacks::parse(SCRIPT), "throughput & more");
        assert_eq!(svg.matches("class=\"frame ").count(), 8);
        assert!(svg.contains("throughput &amp; more"));
        assert!(svg.contains("<title>tcp_sendmsg: 1 samples, 33.33 %</title>"));
        assert!(svg.contains("&lt;impl weir_core::shard::Shard&gt;"));
        // The widest is at the left: two of three samples of 1176.
        assert!(svg.contains("x=\"12\" y=\"138\" width=\"783.5\""), "{svg}");
        for word in ["https://", "href", "url("] {
            assert!(!svg.contains(word), "{word}");
        }
    }

    #[test]
    fn names_are_cut_at_their_start() {
        assert_eq!(fitting("weir_core::shard", 1000.0), "weir_core::shard");
        assert_eq!(fitting("weir_core::shard::requests", 82.0), "…::requests");
        assert_eq!(fitting("weir_core", 20.0), "");
    }
}
