//! What weir says of itself: log lines ([`log`]) and the metrics page ([`metrics`]). Nothing here decides anything, and
//! nothing here ever makes a shard wait.

mod escape;
mod limit;
pub mod log;
pub mod metrics;
pub mod pins;
mod time;
pub mod trace;
