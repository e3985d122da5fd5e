//! Deterministic simulator of weir's core: many clients, model servers, faults, one seed.
//!
//! One seed makes one world: shards of the real core, a shell that delays, splits and reorders as a real one may, clients with
//! scripts, a PostgreSQL server at the byte level. The oracles: every client saw what it would have seen alone on a server
//! (`judge`); nobody met anybody else's state ([`server`]); limits and books hold at every step; everything ends.
//! The same seed gives the same world, step by step.

pub mod client;
pub mod fuzz;
mod judge;
mod net;
pub mod notation;
mod pipes;
pub mod rng;
mod run;
pub mod scram;
pub mod server;
mod shell;
pub mod wire;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};

/// A deliberate defect between core and world: the oracles must see it, or they are worth nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sabotage {
    /// A result goes to another client.
    Misroute,
    /// Bytes are lost.
    Drop,
    /// Bytes come twice.
    Duplicate,
    /// Mending does not mend.
    DeafDiscard,
    /// A cancel goes to another session.
    CancelOther,
    /// More permits arrive than were granted.
    ExtraGrant,
    /// A connection is never read again once reading was switched off.
    DeafRead,
}

impl Sabotage {
    /// All of them.
    pub const ALL: &'static [Sabotage] = &[
        Sabotage::Misroute,
        Sabotage::Drop,
        Sabotage::Duplicate,
        Sabotage::DeafDiscard,
        Sabotage::CancelOther,
        Sabotage::ExtraGrant,
        Sabotage::DeafRead,
    ];
}

/// How one world went.
#[derive(Debug, Default)]
pub struct Outcome {
    /// What must not be; empty when all is well.
    pub violations: Vec<String>,
    /// The last steps, when they were asked for.
    pub log: Vec<String>,
    /// Steps taken.
    pub steps: u64,
    /// A digest of everything that happened; equal for equal seeds.
    pub digest: u64,
    /// Request cycles that clients got through.
    pub cycles: u64,
    /// Clients that played their script to its end.
    pub finished: u64,
}

/// Runs the world of a seed. `verbose`: keep a log of all steps.
#[must_use]
pub fn run_seed(seed: u64, sabotage: Option<Sabotage>, verbose: bool) -> Outcome {
    let ran = catch_unwind(AssertUnwindSafe(|| world_of(seed, sabotage, verbose)));
    ran.unwrap_or_else(|cause| {
        let text = cause.downcast_ref::<String>().cloned();
        let text = text.or_else(|| cause.downcast_ref::<&str>().map(|s| (*s).to_owned()));
        Outcome {
            violations: vec![format!("panic: {}", text.unwrap_or_default())],
            ..Outcome::default()
        }
    })
}

fn world_of(seed: u64, sabotage: Option<Sabotage>, verbose: bool) -> Outcome {
    let mut run = run::Run::new(seed, sabotage, verbose);
    run.go();
    if run.sound() {
        judge::final_state(&mut run);
    }
    if run.sound() {
        judge::clients(&mut run);
    }
    run.outcome()
}
