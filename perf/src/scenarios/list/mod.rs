//! The scenarios: what each sends to whom, and which figures it answers.

mod crowd;
mod latency;
mod queue;
mod soak;
mod state;
mod storm;
mod stream;
mod throughput;

use std::time::Duration;

use super::plan::Plan;
use crate::subjects::Kind;

/// How much of everything.
#[derive(Clone, Copy, Debug)]
pub struct Scale {
    /// The important cells only, small.
    pub quick: bool,
    /// Rounds.
    pub rounds: u32,
    /// Measured part of a cell.
    pub cell: Duration,
    /// Length of the soak.
    pub soak: Duration,
    /// CPUs of this machine.
    pub cpus: usize,
    /// Descriptors that a process may have.
    pub descriptors: usize,
}

/// A scenario by its name.
pub struct Entry {
    /// As on the command line.
    pub name: &'static str,
    /// One line for people.
    pub title: &'static str,
    /// Whether `--quick` runs it, and whether a run without names does.
    pub when: When,
    /// Makes its plan.
    pub plan: fn(&Scale) -> Plan,
}

/// When a scenario runs without being named.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum When {
    /// In the quick run and in the long one.
    Always,
    /// In the long one.
    Long,
    /// Only by name.
    Named,
}

/// All scenarios, in the order in which a long run does them.
pub const ALL: &[Entry] = &[
    entry(
        "throughput",
        throughput::TITLE,
        When::Always,
        throughput::plan,
    ),
    entry("added-latency", latency::TITLE, When::Always, latency::plan),
    entry(
        "syscalls",
        throughput::SYSCALLS_TITLE,
        When::Long,
        throughput::syscalls,
    ),
    entry(
        "pgbench-like",
        throughput::PGBENCH_TITLE,
        When::Long,
        throughput::pgbench,
    ),
    entry("ten-thousand", crowd::TITLE, When::Always, crowd::plan),
    entry("storm", storm::TITLE, When::Always, storm::plan),
    entry("fairness", queue::TITLE, When::Long, queue::plan),
    entry("state", state::TITLE, When::Long, state::plan),
    entry("scaling", queue::SCALING_TITLE, When::Long, queue::scaling),
    entry("large", stream::TITLE, When::Long, stream::plan),
    entry("slow-readers", stream::SLOW_TITLE, When::Long, stream::slow),
    entry("soak", soak::TITLE, When::Named, soak::plan),
    entry(
        "smoke",
        throughput::SMOKE_TITLE,
        When::Named,
        throughput::smoke,
    ),
];

const fn entry(
    name: &'static str,
    title: &'static str,
    when: When,
    plan: fn(&Scale) -> Plan,
) -> Entry {
    Entry {
        name,
        title,
        when,
        plan,
    }
}

/// weir and what its users would use instead.
const SIDE_BY_SIDE: &[Kind] = &[Kind::Direct, Kind::Weir, Kind::PgBouncer];
/// The same with who forwards bytes only, and weir's other shell.
const EVERYBODY: &[Kind] = &[
    Kind::Direct,
    Kind::Weir,
    Kind::WeirEpoll,
    Kind::PgBouncer,
    Kind::HaProxy,
    Kind::Odyssey,
    Kind::BareRelay,
];
const DIRECT: &str = "direct";
const WEIR: &str = "weir";
const EPOLL: &str = "weir-epoll";
const BOUNCER: &str = "pgbouncer";
const HAPROXY: &str = "haproxy";
const RELAY: &str = "bare-relay";

#[cfg(test)]
mod tests {
    use super::*;

    fn scale(quick: bool) -> Scale {
        Scale {
            quick,
            rounds: 2,
            cell: Duration::from_secs(2),
            soak: Duration::from_secs(60),
            cpus: 4,
            descriptors: 65_536,
        }
    }

    #[test]
    fn plans_are_sound() {
        for (entry, quick) in ALL.iter().flat_map(|e| [(e, false), (e, true)]) {
            let plan = (entry.plan)(&scale(quick));
            assert_eq!((plan.name, plan.title), (entry.name, entry.title));
            assert!(!plan.variants.is_empty() && plan.rounds > 0 && !plan.says.is_empty());
            let mut names: Vec<&str> = plan.variants.iter().map(|v| v.name.as_str()).collect();
            names.sort_unstable();
            let count = names.len();
            names.dedup();
            assert_eq!(names.len(), count, "{}: a variant twice", plan.name);
            for variant in &plan.variants {
                assert!(variant.shape.active <= variant.shape.connections);
                assert!(
                    !variant.subjects.is_empty(),
                    "{} {}",
                    plan.name,
                    variant.name
                );
            }
            // Nothing was measured: nothing may be said to have held.
            assert!((plan.judge)(&[]).is_empty());
        }
    }

    #[test]
    fn the_quick_run_is_quick() {
        let quick = ALL.iter().filter(|e| e.when == When::Always);
        let all: Duration = quick
            .map(|e| {
                super::super::plan::length(&(e.plan)(&scale(true)), |v| {
                    // Odyssey is in few distributions.
                    v.subjects.iter().filter(|k| **k != Kind::Odyssey).count()
                })
            })
            .sum();
        assert!(all < Duration::from_secs(150), "{all:?}");
    }
}
