//! The live display: a small table that is redrawn on a terminal, plain lines elsewhere.

use std::io::IsTerminal;
use std::time::Duration;

use super::storm::Figures;
use crate::weir::Weir;

/// What was shown last.
pub struct Display {
    terminal: bool,
    drawn: usize,
    committed: u64,
    shown_at: Duration,
}

impl Display {
    /// A display on standard output.
    pub fn new() -> Display {
        Display {
            terminal: std::io::stdout().is_terminal(),
            drawn: 0,
            committed: 0,
            shown_at: Duration::ZERO,
        }
    }

    /// Shows the figures of this moment.
    pub fn show(&mut self, at: Duration, weir: &Weir, at_server: u64, figures: &Figures) {
        let metric = |name: &str| {
            weir.metric(name)
                .map_or_else(|_| "?".to_owned(), |v| format!("{v:.0}"))
        };
        let committed = figures.committed();
        let rate =
            (committed - self.committed) as f64 / (at - self.shown_at).as_secs_f64().max(0.001);
        let (through, direct) = figures.recent();
        self.committed = committed;
        self.shown_at = at;
        let rows = [
            ("seconds", format!("{:.0}", at.as_secs_f64())),
            ("clients under way", figures.alive().to_string()),
            ("clients at weir", metric("weir_client_connections")),
            ("waiting", metric("weir_clients_waiting")),
            ("server connections", at_server.to_string()),
            ("in use", metric("weir_backend_lent")),
            ("transactions", committed.to_string()),
            ("a second", format!("{rate:.0}")),
            ("p50 through weir", through),
            ("p50 direct", direct),
            ("failed", figures.failures().to_string()),
        ];
        if self.terminal {
            self.redraw(&rows);
        } else {
            let cells: Vec<String> = rows
                .iter()
                .map(|(name, value)| format!("{name} {value}"))
                .collect();
            println!("{}", cells.join(", "));
        }
    }

    fn redraw(&mut self, rows: &[(&str, String)]) {
        if self.drawn > 0 {
            print!("\x1b[{}A", self.drawn);
        }
        for (name, value) in rows {
            println!("\x1b[2K  {name:<20} {value:>12}");
        }
        self.drawn = rows.len();
    }
}
