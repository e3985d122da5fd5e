//! The phases of a run as its caller sees them.

use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::bail;

use super::run::Run;
use super::{Moment, Pace};

/// How often the threads are looked at.
const LOOK: Duration = Duration::from_millis(5);
/// How often the fleet's growth is told.
const TELL: Duration = Duration::from_millis(250);
/// Failures in a row, with nobody up, after which nobody is expected to come up.
const HOPELESS: usize = 8;

/// Goes through all phases; returns when the measured part started, on the run's clock.
///
/// # Errors
/// The fleet did not come up, or a thread has failed.
pub fn through(run: &Run, watch: &mut dyn FnMut(Moment)) -> anyhow::Result<u64> {
    if !matches!(run.spec.pace, Pace::Storm { .. }) {
        fleet(run, watch)?;
    }
    watch(Moment::Connected);
    // A little later than now, so that all threads know of it when it comes.
    let start = run.now() + 2 * super::run::nanos(LOOK);
    run.start.store(start, Ordering::Release);
    let (from, until) = run.measured(start);
    sleep_until(run.instant(from));
    watch(Moment::Measuring);
    progress(run, run.instant(from), run.instant(until), watch);
    watch(Moment::Measured);
    while !over(run) {
        thread::sleep(LOOK);
    }
    Ok(from)
}

fn over(run: &Run) -> bool {
    run.finished.load(Ordering::Acquire) >= run.threads || run.stop.load(Ordering::Acquire)
}

fn fleet(run: &Run, watch: &mut dyn FnMut(Moment)) -> anyhow::Result<()> {
    let wanted = run.spec.connections;
    let started = Instant::now();
    let planned = wanted as f64 / run.spec.connect_rate.max(0.001);
    let limit = Duration::from_secs_f64((30.0 + 2.0 * planned).min(1e9)) + run.spec.timeout;
    let mut told = started;
    loop {
        let up = run.up.load(Ordering::Acquire);
        if up >= wanted {
            return Ok(());
        }
        let failed = run.failed.load(Ordering::Relaxed);
        let to = run.spec.to;
        if run.stop.load(Ordering::Acquire) {
            bail!("{}", run.last_failure());
        }
        if up == 0 && failed >= HOPELESS.min(wanted * 2) {
            bail!("nobody could log in to {to}: {}", run.last_failure());
        }
        if started.elapsed() > limit {
            let why = run.last_failure();
            bail!(
                "only {up} of {wanted} clients could log in to {to} within {limit:.0?}; the last failure: {why}"
            );
        }
        if told.elapsed() >= TELL {
            told = Instant::now();
            watch(Moment::Connecting(up));
        }
        thread::sleep(LOOK);
    }
}

/// Tells once a second how far it is, until the measured part ends: at its time, or when a bounded storm has passed.
fn progress(run: &Run, from: Instant, until: Instant, watch: &mut dyn FnMut(Moment)) {
    let mut next = from + Duration::from_secs(1);
    loop {
        let look = if run.bounded_storm() {
            Instant::now() + LOOK
        } else {
            next
        };
        sleep_until(look.min(next).min(until));
        if over(run) || Instant::now() >= until {
            return;
        }
        if Instant::now() >= next {
            watch(Moment::Progress(run.all_done()));
            next += Duration::from_secs(1);
        }
    }
}

fn sleep_until(at: Instant) {
    thread::sleep(at.saturating_duration_since(Instant::now()));
}
