//! The graceful stop: no new clients, transactions end, then the process does. Bounded by `drain_timeout`; a second
//! signal ends it at once.

use std::time::Duration;

use tokio::signal::unix::Signal;
use tokio::time::{Instant, sleep};

use super::{Control, first_of, notify};
use crate::config::LogLevel;

/// How often is looked whether everybody has left.
const LOOK: Duration = Duration::from_millis(20);

/// Returns when the process may end.
pub(super) async fn run(control: &Control, terminate: &mut Signal, interrupt: &mut Signal) {
    let timeout = control.config.borrow().process.drain_timeout;
    control.draining.set(true);
    let stopping = [sd_notify::NotifyState::Stopping];
    notify(&control.log, &stopping);
    let seconds = timeout.as_secs_f64().to_string();
    control.log.say_all(
        LogLevel::Info,
        "draining",
        &[("drain_timeout", (&seconds).into())],
    );
    control.running.drain();
    let how = tokio::select! {
        how = everybody_leaves(control, Instant::now() + timeout) => how,
        () = first_of(terminate.recv(), interrupt.recv()) => "second_signal",
    };
    let left: u64 = control.running.stats().iter().map(|s| s.clients).sum();
    let level = if how == "drained" {
        LogLevel::Info
    } else {
        LogLevel::Warn
    };
    let left = if how == "drained" { 0 } else { left };
    control.log.say_all(
        level,
        "stopped",
        &[("reason", how.into()), ("clients_cut", left.into())],
    );
}

async fn everybody_leaves(control: &Control, deadline: Instant) -> &'static str {
    loop {
        if control.running.drained() {
            // The last messages to clients are on their way to the kernel.
            sleep(LOOK * 3).await;
            return "drained";
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return "drain_timeout";
        }
        sleep(left.min(LOOK)).await;
    }
}
