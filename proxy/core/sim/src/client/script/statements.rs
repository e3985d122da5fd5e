//! Habits with named statements of the extended protocol, whose texts many clients have in common.

use super::Writer;
use crate::wire;

/// Texts that every client uses; the last one can't be prepared.
const TEXTS: [&str; 6] = [
    "select $1 /* one */",
    "select $1 /* two */",
    "select $1 /* three */",
    "insert into acct values ($1)",
    "select 'same'",
    "frobnicate $1",
];

impl Writer {
    fn name(&mut self) -> String {
        format!("p{}", self.rng.below(4))
    }

    fn parameters(&mut self, text: usize) -> Vec<String> {
        if TEXTS[text].contains("$1") {
            vec![self.mark()]
        } else {
            Vec::new()
        }
    }

    /// Parses, uses, describes and closes by chance, in batches of one message or several: names that are there already, names
    /// that are not, errors in the middle.
    pub(super) fn shared_statements(&mut self) {
        let in_transaction = self.rng.chance(25);
        if in_transaction {
            self.query("begin /* # */");
        }
        let (mut bytes, mut cycles) = (Vec::new(), 0);
        for _ in 0..self.rng.range(1, 12) {
            let name = self.name();
            let text = self.rng.index(TEXTS.len());
            match self.rng.below(10) {
                0..=2 => {
                    if self.rng.chance(70) {
                        bytes.extend(wire::close(b'S', &name));
                    }
                    bytes.extend(wire::parse(&name, TEXTS[text]));
                }
                3 => bytes.extend(wire::describe(b'S', &name)),
                4 => bytes.extend(wire::close(b'S', &name)),
                _ => {
                    let parameters = self.parameters(text);
                    let parameters: Vec<&str> = parameters.iter().map(String::as_str).collect();
                    bytes.extend(wire::bind("", &name, &parameters));
                    bytes.extend(wire::execute("", 0));
                }
            }
            if self.rng.chance(60) {
                bytes.extend(wire::sync());
                cycles += 1;
                if self.rng.chance(70) {
                    self.send(core::mem::take(&mut bytes), cycles);
                    cycles = 0;
                }
            }
        }
        bytes.extend(wire::sync());
        self.send(bytes, cycles + 1);
        if in_transaction {
            let end = *self.rng.pick(&["commit /* # */", "rollback /* # */"]);
            self.query(end);
        }
    }

    /// What was prepared in the protocol is used in SQL, and the other way round.
    pub(super) fn statements_in_sql(&mut self) {
        if self.rng.chance(70) {
            return self.shared_statements();
        }
        let name = self.name();
        for _ in 0..self.rng.range(1, 3) {
            let sql = match self.rng.below(4) {
                0 => format!("prepare {name} as select '#'"),
                1 => format!("deallocate {name} /* # */"),
                2 => "discard all /* # */".to_owned(),
                _ => format!("execute {name} /* # */"),
            };
            self.query(&sql);
            self.shared_statements();
        }
    }

    /// The driver's own way of closing.
    pub(super) fn deallocating(&mut self) {
        self.shared_statements();
        let name = self.name();
        let sql = match self.rng.below(3) {
            0 => "deallocate all /* # */".to_owned(),
            1 => format!("deallocate \"{name}\" /* # */"),
            _ => format!("deallocate prepare {name} /* # */"),
        };
        self.query(&sql);
        self.shared_statements();
    }
}
