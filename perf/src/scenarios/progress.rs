//! What a run says on standard error while it runs: one line that is written over on a terminal, one line for each cell
//! elsewhere.

use std::io::{IsTerminal, Write, stderr};
use std::time::Duration;

use crate::load::Moment;
use crate::model::Cell;

/// Counts cells and tells what each does.
pub struct Progress {
    done: usize,
    all: usize,
    live: bool,
    scenario: String,
    label: String,
    last: u64,
}

impl Progress {
    /// For so many cells.
    pub fn new(all: usize) -> Progress {
        Progress {
            done: 0,
            all,
            live: stderr().is_terminal(),
            scenario: String::new(),
            label: String::new(),
            last: 0,
        }
    }

    /// So many cells more.
    pub fn more(&mut self, cells: usize) {
        self.all += cells;
    }

    /// A line of its own.
    pub fn say(&self, text: &str) {
        self.clear();
        eprintln!("{text}");
    }

    /// The next cell begins.
    pub fn begin(&mut self, scenario: &str, variant: &str, subject: &str, round: u32) {
        self.done += 1;
        self.last = 0;
        self.scenario = format!("[{}/{}] {scenario}", self.done, self.all);
        self.label = label(&self.scenario, variant, subject, round);
        self.show("starting");
    }

    /// The load tells of itself.
    pub fn at(&mut self, moment: Moment) {
        match moment {
            Moment::Connecting(n) => self.show(&format!("{} connected", thousands(n as f64))),
            Moment::Connected => self.show("connected"),
            Moment::Measuring => self.show("measuring"),
            Moment::Progress(done) => {
                let more = done.saturating_sub(self.last);
                self.last = done;
                self.show(&format!("{}/s", thousands(more as f64)));
            }
            Moment::Measured => {}
        }
    }

    /// The cell has ended.
    pub fn end(&mut self, cell: &Cell) {
        self.clear();
        // Not always what began: a cell of clients beside the load is one of another variant.
        let label = label(&self.scenario, &cell.variant, &cell.subject, cell.round);
        eprintln!("{label}: {}", summary(cell));
    }

    /// The cell has failed.
    pub fn failed(&mut self, error: &anyhow::Error) {
        self.clear();
        eprintln!("{}: FAILED: {error:#}", self.label);
    }

    fn show(&self, text: &str) {
        if self.live {
            eprint!("\r\x1b[K{}: {text}", self.label);
            let _ = stderr().flush();
        }
    }

    fn clear(&self) {
        if self.live {
            eprint!("\r\x1b[K");
        }
    }
}

fn label(scenario: &str, variant: &str, subject: &str, round: u32) -> String {
    format!("{scenario} {variant} {subject} round {}", round + 1)
}

/// One cell in a few words.
fn summary(cell: &Cell) -> String {
    let load = &cell.load;
    let rate = load.done as f64 / load.seconds.max(1e-9);
    let mut parts = vec![format!("{}/s", thousands(rate))];
    if load.latency.count > 0 {
        parts.push(format!("p50 {:.0} µs", load.latency.p50));
        parts.push(format!("p99 {:.0} µs", load.latency.p99));
    }
    if let Some(usage) = &cell.usage {
        parts.push(format!("CPU {:.1} µs", usage.cpu_us_per_query));
        if let Some(calls) = usage.system_calls_per_query {
            parts.push(format!("{calls:.2} calls"));
        }
    }
    let errors: Vec<String> = load
        .errors
        .iter()
        .map(|(code, n)| format!("{code} ×{n}"))
        .collect();
    if !errors.is_empty() {
        parts.push(format!("ERRORS {}", errors.join(", ")));
    }
    parts.join(", ")
}

/// `31,200`.
fn thousands(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// `3 minutes`, `40 seconds`.
pub fn about(length: Duration) -> String {
    match length.as_secs() {
        0..100 => format!("{} seconds", length.as_secs().max(1)),
        secs => format!("{} minutes", (secs + 30) / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_for_people() {
        assert_eq!(thousands(31_200.4), "31,200");
        assert_eq!(thousands(999.0), "999");
        assert_eq!(thousands(1_000_000.0), "1,000,000");
        assert_eq!(about(Duration::from_secs(42)), "42 seconds");
        assert_eq!(about(Duration::from_secs(200)), "3 minutes");
    }
}
