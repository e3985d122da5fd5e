//! Habits with settings that weir brings to whichever backend serves the client: alone, in transactions, with savepoints, by both
//! protocols; and looks at them later, when others have had the backend.

use super::Writer;
use crate::wire;

const NAMES: [&str; 7] = [
    "application_name",
    "TimeZone",
    "DateStyle",
    "search_path",
    "work_mem",
    "timezone",
    "\"statement_timeout\"",
];

impl Writer {
    /// A statement that changes a setting for the session.
    fn change(&mut self) -> String {
        let name = *self.rng.pick(&NAMES);
        let value = match name {
            "\"statement_timeout\"" => "'5000'".to_owned(),
            // Values that many have in common, so that states are equal now and then.
            _ if self.rng.chance(60) => {
                format!("'{}'", self.rng.pick(&["one", "two", "UTC", "three"]))
            }
            _ => "'#'".to_owned(),
        };
        let text = match self.rng.below(12) {
            0 => format!("reset {name} /* # */"),
            1 => "reset all /* # */".to_owned(),
            2 => format!("set {name} to default"),
            3 => format!("set nonsense = {value} /* # */"),
            _ => format!("set {name} = {value} /* # */"),
        };
        self.fill(&text)
    }

    fn send_change(&mut self) {
        let sql = self.change();
        let bytes = match self.rng.below(12) {
            8..12 => self.other_ways(&sql),
            0 => wire::cat(&[
                &wire::parse("", &sql),
                &wire::bind("", "", &[]),
                &wire::execute("", 0),
                &wire::sync(),
            ]),
            1 => {
                let other = self.batch("select '#'", None);
                let mine = self.batch(&sql, None);
                let failing = self.rng.chance(30);
                let last = self.batch(
                    if failing {
                        "select 1/0 /* # */"
                    } else {
                        "select '#'"
                    },
                    None,
                );
                wire::cat(&[&other, &mine, &last, &wire::sync()])
            }
            2 if self.rng.chance(30) => wire::cat(&[
                // Bound in a later batch.
                &wire::parse("", &sql),
                &wire::sync(),
                &wire::bind("", "", &[]),
                &wire::execute("", 0),
                &wire::sync(),
            ]),
            _ => wire::query(&sql),
        };
        let cycles = wire::split_messages(&bytes)
            .0
            .iter()
            .filter(|m| matches!(m[0], b'Q' | b'S'))
            .count();
        self.send(bytes, cycles as u32);
    }

    /// The same as one statement of several, by a named statement, by a function; and what undoes it all.
    fn other_ways(&mut self, sql: &str) -> Vec<u8> {
        match self.rng.below(4) {
            // Several of one query, an error undoes them all.
            0 => {
                let other = self.change();
                let last = *self
                    .rng
                    .pick(&["select '#'", "select 1/0 /* # */", "commit /* # */"]);
                let last = self.fill(last);
                wire::query(&format!("{sql}; {other}; {last}"))
            }
            // Parsed once, run later, perhaps twice.
            1 => {
                let run = wire::cat(&[
                    &wire::bind("", "set", &[]),
                    &wire::execute("", 0),
                    &wire::sync(),
                ]);
                let again = if self.rng.chance(50) { &run[..] } else { b"" };
                wire::cat(&[
                    &wire::parse("set", sql),
                    &wire::sync(),
                    &run,
                    again,
                    &wire::close(b'S', "set"),
                    &wire::sync(),
                ])
            }
            2 => {
                let name = *self.rng.pick(&NAMES[..5]);
                let value = *self.rng.pick(&["one", "two", "UTC", "#"]);
                let sql = format!("select set_config('{name}', '{value}', false) /* # */");
                wire::query(&self.fill(&sql))
            }
            _ if self.rng.chance(30) => wire::query(&self.fill("discard all /* # */")),
            _ => wire::query(sql),
        }
    }

    fn look(&mut self) {
        let name = *self.rng.pick(&NAMES[..5]);
        self.query(&format!("show {name} /* # */"));
    }

    pub(super) fn replayed(&mut self) {
        for _ in 0..self.rng.range(1, 3) {
            self.send_change();
            if self.rng.chance(40) {
                self.pause(3_000_000);
            }
            match self.rng.below(4) {
                0 => self.look(),
                1 => self.shared_statements(),
                2 => self.query("rollback /* # */; select '#'"),
                _ => self.query("select '#'"),
            }
        }
        self.pause(3_000_000);
        self.look();
    }

    pub(super) fn replayed_in_transaction(&mut self) {
        self.query("begin /* # */");
        for _ in 0..self.rng.range(1, 8) {
            let point = *self.rng.pick(&["s1", "s2"]);
            match self.rng.below(12) {
                0..=3 => self.send_change(),
                4 => self.query(&format!("savepoint {point} /* # */")),
                5 => self.query(&format!("rollback to {point} /* # */")),
                6 => self.query(&format!("release {point} /* # */")),
                7 => self.query("set local work_mem = '#'"),
                8 => self.query("set local \"TimeZone\" = '#'"),
                9 => self.query("select 1/0 /* # */"),
                10 => self.query("savepoint s1 /* # */; select '#'"),
                _ => self.look(),
            }
        }
        let end = *self.rng.pick(&[
            "commit /* # */",
            "commit /* # */",
            "rollback /* # */",
            "end /* # */",
            "rollback /* # */; begin /* # */; commit /* # */",
        ]);
        if self.rng.chance(10) {
            let bytes = wire::cat(&[&self.batch(end, None), &wire::sync()]);
            self.send(bytes, 1);
        } else {
            self.query(end);
        }
        if self.rng.chance(50) {
            self.pause(3_000_000);
        }
        self.look();
        self.look();
    }
}
