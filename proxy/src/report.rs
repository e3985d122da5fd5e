//! What shards and the rest of the process share in both directions: where targets are, and where to say what happens.

use std::net::SocketAddr;
use std::sync::{Arc, RwLock};

use weir_core::seam::Trace;

/// Addresses of each group's target; whoever resolves names keeps it fresh.
pub type TargetAddresses = Arc<RwLock<Vec<Vec<SocketAddr>>>>;

/// How much a note matters.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Level {
    /// Good to know.
    Info,
    /// Someone should look.
    Warn,
    /// Something does not work.
    Error,
}

/// Where shards say what happens. Must never block.
pub trait Sink: Send + Sync {
    /// Something that the core reports.
    fn trace(&self, shard: u16, trace: &Trace);
    /// Something that the shell reports: an event's name and a text.
    fn note(&self, level: Level, event: &'static str, text: String);
}
