//! Functions by their share, as text.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use super::callgrind::Counts;
use super::stacks::{Origin, Stacks};

/// Shares of samples by whose code it is, then functions: in themselves, and with what they call.
pub fn of_stacks(stacks: &Stacks, most: usize) -> String {
    let all = stacks.samples.max(1) as f64;
    let mut own: BTreeMap<&str, u64> = BTreeMap::new();
    let mut with: BTreeMap<&str, u64> = BTreeMap::new();
    let mut origins: BTreeMap<Origin, u64> = BTreeMap::new();
    for (stack, samples) in &stacks.stacks {
        if let Some(last) = stack.last() {
            *own.entry(&last.name).or_default() += samples;
            *origins.entry(last.origin).or_default() += samples;
        }
        // A function that calls itself is counted once for each stack; threads are no functions.
        let names: BTreeSet<&str> = stack.iter().skip(1).map(|f| f.name.as_str()).collect();
        for name in names {
            *with.entry(name).or_default() += samples;
        }
    }
    let share = |n: u64| n as f64 / all * 100.0;
    let mut out = format!("{} samples:", stacks.samples);
    for (origin, samples) in &origins {
        let _ = write!(out, " {} {:.1} %,", origin.name(), share(*samples));
    }
    out.pop();
    out.push_str("\n\n   self  with callees  function\n");
    let mut lines: Vec<(&str, u64)> = with.iter().map(|(n, s)| (*n, *s)).collect();
    let own_of = |name: &str| own.get(name).copied().unwrap_or(0);
    lines.sort_by_key(|(name, with)| (std::cmp::Reverse(own_of(name)), std::cmp::Reverse(*with)));
    for (name, with) in lines.into_iter().take(most) {
        let _ = writeln!(
            out,
            "{:>5.1} %  {:>10.1} %  {name}",
            share(own_of(name)),
            share(with)
        );
    }
    out
}

/// Functions by their own instructions, per query.
pub fn of_counts(counts: &Counts, queries: f64, most: usize) -> String {
    let per = |n: u64| n as f64 / queries.max(1.0);
    let all = counts.instructions.max(1) as f64;
    let mut lines: Vec<(&String, u64)> = counts.functions.iter().map(|(n, c)| (n, *c)).collect();
    lines.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
    let mut out = format!(
        "{:.1} instructions and {:.2} allocations per query\n\n  share  per query  function\n",
        per(counts.instructions),
        per(counts.allocations)
    );
    for (name, cost) in lines.into_iter().take(most) {
        let share = cost as f64 / all * 100.0;
        let _ = writeln!(out, "{share:>5.1} %  {:>9.1}  {name}", per(cost));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::stacks::tests::SCRIPT;
    use super::*;

    #[test]
    fn shares_add_up() {
        let text = of_stacks(&Stacks::parse(SCRIPT), 3);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "3 samples: core 66.7 %, kernel 33.3 %");
        assert_eq!(
            lines[3],
            " 66.7 %        66.7 %  weir_core::shard::clients::<impl weir_core::shard::Shard>::requests"
        );
        assert_eq!(lines[4], " 33.3 %        33.3 %  tcp_sendmsg");
        assert_eq!(lines[5], "  0.0 %        66.7 %  [libc.so.6]");
        assert_eq!(lines.len(), 6);
    }

    #[test]
    fn instructions_are_per_query() {
        let counts = Counts {
            instructions: 3000,
            allocations: 20,
            functions: [("a".to_owned(), 1000), ("b".to_owned(), 2000)].into(),
        };
        let text = of_counts(&counts, 10.0, 1);
        assert!(text.starts_with("300.0 instructions and 2.00 allocations per query\n"));
        assert!(text.ends_with(" 66.7 %      200.0  b\n"), "{text}");
    }
}
