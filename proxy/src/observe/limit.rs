//! How many lines of one event a second: the rest is counted, so that a storm can't fill the disk.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use weir_core::limits::LOG_LINES_PER_SECOND;

/// The lines of one event in the second that runs.
struct Window {
    began: Instant,
    lines: u32,
    suppressed: u64,
}

/// All events. Their names are literals of the code, so that there are few.
#[derive(Default)]
pub struct Limits {
    windows: HashMap<&'static str, Window>,
}

impl Limits {
    /// Whether one more line of `event` may be written.
    pub fn admit(&mut self, event: &'static str, now: Instant) -> bool {
        let window = self.windows.entry(event).or_insert(Window {
            began: now,
            lines: 0,
            suppressed: 0,
        });
        if now.duration_since(window.began) >= Duration::from_secs(1) {
            window.began = now;
            window.lines = 0;
        }
        if window.lines < LOG_LINES_PER_SECOND {
            window.lines += 1;
            return true;
        }
        window.suppressed += 1;
        false
    }

    /// Events with suppressed lines, and how many since the last call.
    pub fn take_suppressed(&mut self) -> Vec<(&'static str, u64)> {
        let mut taken: Vec<_> = self
            .windows
            .iter_mut()
            .filter(|(_, w)| w.suppressed > 0)
            .map(|(event, w)| (*event, core::mem::take(&mut w.suppressed)))
            .collect();
        taken.sort_unstable();
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_storm_is_cut_by_event_and_second() {
        let (mut limits, start) = (Limits::default(), Instant::now());
        let admitted = (0..1000).filter(|_| limits.admit("a", start)).count();
        assert_eq!(admitted, LOG_LINES_PER_SECOND as usize);
        assert!(limits.admit("b", start));
        assert_eq!(
            limits.take_suppressed(),
            [("a", 1000 - u64::from(LOG_LINES_PER_SECOND))]
        );
        assert_eq!(limits.take_suppressed(), []);
        assert!(!limits.admit("a", start + Duration::from_millis(999)));
        assert!(limits.admit("a", start + Duration::from_secs(1)));
    }
}
