//! The limit of open descriptors (RLIMIT_NOFILE), at start and at every reload.

use weir_core::limits;

use crate::config::Config;
use crate::sys;

/// Makes room for every client and server connection that the configuration allows.
///
/// # Errors
/// Names the limit, what is needed, and the way out.
pub fn descriptors(config: &Config) -> Result<(), String> {
    let shards = u64::from(config.process.shards);
    let pools: u64 = config
        .settings
        .groups
        .iter()
        .map(|g| u64::from(g.lending.max_connection_pool_size))
        .sum();
    let spare = u64::from(limits::DESCRIPTORS_SPARE) + config.listeners.len() as u64;
    let needed = u64::from(config.settings.max_client_connections) + pools + spare * (shards + 1);
    // Connections that have not logged in yet come on top; where they do not fit, shards pause accepting.
    let comfortable = needed + shards * u64::from(limits::PENDING_LOGINS_MIN);
    sys::raise_descriptors(comfortable).or_else(|_| sys::raise_descriptors(needed))
}
