//! Whether every shard is alive, and the service manager's watchdog, which hears so only then.

use std::rc::Rc;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use weir_core::limits::HEARTBEAT;

use super::{Control, notify};
use crate::config::LogLevel;

/// A shard without a heartbeat for this long hangs.
const STALLED: Duration = HEARTBEAT.saturating_mul(4);

/// One shard's last heartbeat.
#[derive(Clone, Copy, Debug)]
struct Pulse {
    beat: u64,
    moved: Instant,
    reported: bool,
}

/// Watches for ever.
pub(super) async fn watch(control: Rc<Control>) {
    let watchdog = sd_notify::watchdog_enabled();
    let interval = watchdog.map_or(HEARTBEAT, |w| {
        (w / 3).clamp(Duration::from_millis(10), HEARTBEAT)
    });
    let mut pulses = Vec::new();
    loop {
        let stalled = look(&mut pulses, &control.running.heartbeats(), Instant::now());
        for shard in stalled {
            let text = format!(
                "no heartbeat for {} s; it hangs or its core is overloaded",
                STALLED.as_secs()
            );
            let fields = [("shard", shard.into()), ("reason", (&text).into())];
            control.log.say(LogLevel::Error, "shard_stalled", &fields);
        }
        if watchdog.is_some() && alive(&pulses, Instant::now()) {
            notify(&control.log, &[sd_notify::NotifyState::Watchdog]);
        }
        sleep(interval).await;
    }
}

/// Notes what has moved; answers which shards have just been found hanging.
fn look(pulses: &mut Vec<Pulse>, beats: &[u64], now: Instant) -> Vec<u64> {
    pulses.resize(
        beats.len(),
        Pulse {
            beat: 0,
            moved: now,
            reported: false,
        },
    );
    let mut stalled = Vec::new();
    for (number, (pulse, beat)) in (0u64..).zip(pulses.iter_mut().zip(beats)) {
        if pulse.beat != *beat {
            *pulse = Pulse {
                beat: *beat,
                moved: now,
                reported: false,
            };
        } else if now.duration_since(pulse.moved) >= STALLED && !pulse.reported {
            pulse.reported = true;
            stalled.push(number);
        }
    }
    stalled
}

fn alive(pulses: &[Pulse], now: Instant) -> bool {
    pulses.iter().all(|p| now.duration_since(p.moved) < STALLED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shard_that_stands_still_is_told_once_and_ends_the_watchdog() {
        let (mut pulses, start) = (Vec::new(), Instant::now());
        assert!(look(&mut pulses, &[1, 1], start).is_empty());
        let later = start + STALLED;
        assert!(alive(&pulses, start + STALLED / 2));
        assert_eq!(look(&mut pulses, &[1, 2], later), [0]);
        assert!(!alive(&pulses, later));
        assert!(look(&mut pulses, &[1, 3], later + STALLED / 2).is_empty());
        assert!(look(&mut pulses, &[2, 4], later + STALLED).is_empty());
        assert!(alive(&pulses, later + STALLED));
    }
}
