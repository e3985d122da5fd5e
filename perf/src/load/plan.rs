//! The bytes of each kind of transaction, made once, so that a query costs a copy and not a format.

use std::time::Duration;

use super::{Spec, Statement, Work};
use crate::wire;

/// Bytes of one CopyData message's body: whole lines of [`COPY_LINE`] bytes.
const COPY_CHUNK: usize = 64 << 10;
/// Bytes of a line of COPY data, with its end: a text for a table of one column.
const COPY_LINE: usize = 1024;

/// What to send.
pub struct Plan {
    transactions: Vec<Transaction>,
    /// Sums of weights up to and with each transaction.
    reach: Vec<u32>,
    /// Sent after the login, one after the other, each until its ReadyForQuery.
    prepare: Vec<Vec<u8>>,
    /// Sent before that; texts of simple queries.
    setup: Vec<String>,
    /// One whole CopyData.
    pub copy_data: Vec<u8>,
}

/// One kind of transaction.
pub struct Transaction {
    /// Each is sent when the one before is answered.
    pub steps: Vec<Step>,
    /// Bytes of COPY data that follow the first step.
    pub copy: u64,
    /// From its start to the request to cancel it.
    pub cancel_after: Option<Duration>,
}

/// One request, up to its ReadyForQuery.
pub enum Step {
    /// Always the same.
    Fixed(Vec<u8>),
    /// Made anew for each execution: some parameter is drawn.
    Drawn {
        /// What comes before the Bind.
        before: Vec<u8>,
        /// The statement's name.
        name: String,
        /// The values.
        parameters: Vec<Parameter>,
        /// What comes after the Bind.
        after: Vec<u8>,
    },
}

/// A parameter's value.
pub enum Parameter {
    /// A text.
    Fixed(String),
    /// A number from 1 to this.
    Random(u64),
}

impl Plan {
    /// The plan of a spec.
    #[must_use]
    pub fn new(spec: &Spec) -> Plan {
        let mut prepare = Vec::new();
        let mut transactions = Vec::new();
        let mut reach = Vec::new();
        let mut sum = 0u32;
        for (i, weighted) in spec.work.iter().enumerate() {
            sum = sum.saturating_add(weighted.weight);
            reach.push(sum);
            transactions.push(transaction(i, &weighted.work, &mut prepare));
        }
        Plan {
            transactions,
            reach,
            prepare,
            setup: spec.setup.clone(),
            copy_data: copy_data(COPY_CHUNK),
        }
    }

    /// Some transactions are cancelled.
    #[must_use]
    pub fn cancels(&self) -> bool {
        self.transactions.iter().any(|t| t.cancel_after.is_some())
    }

    /// Appends what client number `client` says as its first, second … thing after the login. `false`: nothing more.
    #[must_use]
    pub fn introduce(&self, step: usize, client: usize, out: &mut Vec<u8>) -> bool {
        if let Some(text) = self.setup.get(step) {
            wire::query(out, &of_client(text, client));
            return true;
        }
        let parse = self.prepare.get(step - self.setup.len());
        out.extend_from_slice(parse.map_or(&[], |p| p));
        parse.is_some()
    }

    /// Draws a kind of transaction.
    pub fn draw(&self, random: &mut Random) -> usize {
        let Some(&sum) = self.reach.last().filter(|_| self.reach.len() > 1) else {
            return 0;
        };
        let at = random.below(u64::from(sum.max(1)));
        let found = self.reach.partition_point(|r| u64::from(*r) <= at);
        found.min(self.reach.len() - 1)
    }

    /// The transaction of this number.
    #[must_use]
    pub fn transaction(&self, number: usize) -> &Transaction {
        &self.transactions[number]
    }
}

fn transaction(number: usize, work: &Work, prepare: &mut Vec<Vec<u8>>) -> Transaction {
    let (steps, copy) = match work {
        Work::Simple(texts) => (texts.iter().map(|sql| simple(sql)).collect(), 0),
        Work::Cancelled { sql, .. } => (vec![simple(sql)], 0),
        Work::Extended(statement) => {
            let mut before = Vec::new();
            wire::parse(&mut before, "", &statement.sql);
            let after = [wire::DESCRIBE, wire::EXECUTE, wire::SYNC].concat();
            (vec![bound(statement, before, String::new(), after)], 0)
        }
        Work::Prepared(statement) => {
            let name = format!("weir_perf_{number}");
            let mut parse = Vec::new();
            wire::parse(&mut parse, &name, &statement.sql);
            parse.extend_from_slice(wire::SYNC);
            prepare.push(parse);
            let after = [wire::EXECUTE, wire::SYNC].concat();
            (vec![bound(statement, Vec::new(), name, after)], 0)
        }
        Work::CopyIn { sql, bytes } => (vec![simple(sql)], *bytes),
    };
    let cancel_after = match work {
        Work::Cancelled { after, .. } => Some(*after),
        _ => None,
    };
    Transaction {
        steps,
        copy,
        cancel_after,
    }
}

fn simple(sql: &str) -> Step {
    let mut bytes = Vec::new();
    wire::query(&mut bytes, sql);
    Step::Fixed(bytes)
}

fn bound(statement: &Statement, before: Vec<u8>, name: String, after: Vec<u8>) -> Step {
    let parameters: Vec<Parameter> = statement.parameters.iter().map(|p| parameter(p)).collect();
    let step = Step::Drawn {
        before,
        name,
        parameters,
        after,
    };
    if step.draws() {
        return step;
    }
    let mut bytes = Vec::new();
    step.append(&mut bytes, &mut Random::new(1));
    Step::Fixed(bytes)
}

/// A text with `{client%N}` replaced.
fn of_client(text: &str, client: usize) -> String {
    let number = || {
        let (before, rest) = text.split_once("{client%")?;
        let (modulus, after) = rest.split_once('}')?;
        let modulus: usize = modulus.parse().ok()?;
        Some(format!("{before}{}{after}", client.checked_rem(modulus)?))
    };
    number().unwrap_or_else(|| text.to_owned())
}

/// `{random:N}` or a text.
fn parameter(text: &str) -> Parameter {
    text.strip_prefix("{random:")
        .and_then(|rest| rest.strip_suffix('}'))
        .and_then(|n| n.parse().ok())
        .filter(|n| *n > 0)
        .map_or_else(|| Parameter::Fixed(text.to_owned()), Parameter::Random)
}

impl Step {
    fn draws(&self) -> bool {
        match self {
            Step::Fixed(_) => false,
            Step::Drawn { parameters, .. } => {
                parameters.iter().any(|p| matches!(p, Parameter::Random(_)))
            }
        }
    }

    /// Appends the request.
    pub fn append(&self, out: &mut Vec<u8>, random: &mut Random) {
        match self {
            Step::Fixed(bytes) => out.extend_from_slice(bytes),
            Step::Drawn {
                before,
                name,
                parameters,
                after,
            } => {
                out.extend_from_slice(before);
                wire::bind(
                    out,
                    name,
                    parameters.iter().map(|parameter| {
                        let drawn = match parameter {
                            Parameter::Fixed(_) => 0,
                            Parameter::Random(n) => 1 + random.below(*n),
                        };
                        move |out: &mut Vec<u8>| parameter.append(drawn, out)
                    }),
                );
                out.extend_from_slice(after);
            }
        }
    }
}

impl Parameter {
    fn append(&self, drawn: u64, out: &mut Vec<u8>) {
        match self {
            Parameter::Fixed(text) => out.extend_from_slice(text.as_bytes()),
            Parameter::Random(_) => decimal(drawn, out),
        }
    }
}

fn decimal(mut n: u64, out: &mut Vec<u8>) {
    let at = out.len();
    loop {
        out.push(b'0' + (n % 10) as u8);
        n /= 10;
        if n == 0 {
            break;
        }
    }
    out[at..].reverse();
}

/// A CopyData message with `length` bytes of lines; the last line is cut to fit.
#[must_use]
pub fn copy_data(length: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(length + 5);
    wire::message(&mut out, b'd', |b| {
        b.resize(b.len() + length, b'x');
        for end in b.iter_mut().skip(4 + COPY_LINE).step_by(COPY_LINE) {
            *end = b'\n';
        }
        if length > 0 {
            *b.last_mut().unwrap_or(&mut 0) = b'\n';
        }
    });
    out
}

/// A small, fast, repeatable generator of numbers (xorshift64*); nothing here needs a better one.
pub struct Random(u64);

impl Random {
    /// Starts it; each seed gives its own sequence.
    #[must_use]
    pub fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    /// The next 64 bits.
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// From 0 to `bound` - 1.
    pub fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drawn_parameters_stay_in_range_and_differ() {
        let statement = Statement {
            sql: "select $1".to_owned(),
            parameters: vec!["{random:5}".to_owned()],
        };
        let step = bound(&statement, Vec::new(), "s".to_owned(), wire::SYNC.to_vec());
        let mut random = Random::new(3);
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..200 {
            let mut out = Vec::new();
            step.append(&mut out, &mut random);
            // B, length, portal, "s", no formats, one value of length 1, then the value.
            let at = out
                .windows(6)
                .position(|w| w == [0, 1, 0, 0, 0, 1])
                .unwrap()
                + 6;
            seen.insert(out[at] - b'0');
        }
        assert_eq!(seen.into_iter().collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
    }

    #[test]
    fn copy_data_is_lines() {
        for length in [1, 2, 1023, 1024, 1025, 65536] {
            let message = copy_data(length);
            assert_eq!(message.len(), 5 + length);
            let body = &message[5..];
            assert_eq!(body.last(), Some(&b'\n'));
            let longest = body.split(|b| *b == b'\n').map(<[u8]>::len).max();
            assert!(longest < Some(COPY_LINE), "{length}");
        }
    }

    #[test]
    fn clients_introduce_themselves_by_number() {
        assert_eq!(of_client("SET a TO {client%4}", 7), "SET a TO 3");
        for text in ["SET a TO 1", "{client%0}", "{client%x}", "{client%4"] {
            assert_eq!(of_client(text, 7), text);
        }
    }

    #[test]
    fn kinds_are_drawn_by_weight() {
        let plan = Plan {
            transactions: Vec::new(),
            reach: vec![1, 1, 4],
            prepare: Vec::new(),
            setup: Vec::new(),
            copy_data: Vec::new(),
        };
        let mut random = Random::new(9);
        let mut counts = [0u32; 3];
        for _ in 0..4000 {
            counts[plan.draw(&mut random)] += 1;
        }
        assert_eq!(counts[1], 0);
        assert!((800..1200).contains(&counts[0]), "{counts:?}");
    }
}
