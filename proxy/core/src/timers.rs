//! Every wait of a shard in one structure: one timer for each connection.
//!
//! A connection knows by itself what it is waiting for; its timer only says when to look. A deadline that moves later (a
//! client that is active again) leaves the timer as it is: it fires, the connection finds nothing due and is armed again. So a
//! query costs no work here.

use std::collections::BTreeSet;

use crate::ids::{ConnId, Now};

/// Timers by due time.
#[derive(Default)]
pub struct Timers {
    due: BTreeSet<(Now, ConnId)>,
}

/// One connection's timer.
#[derive(Default, Clone, Copy, Debug)]
pub struct Timer(Option<Now>);

impl Timers {
    /// Makes sure that `conn` is looked at, at `at` or before.
    pub fn arm(&mut self, conn: ConnId, timer: &mut Timer, at: Now) {
        match timer.0 {
            Some(armed) if armed <= at => return,
            Some(armed) => {
                self.due.remove(&(armed, conn));
            }
            None => {}
        }
        self.due.insert((at, conn));
        timer.0 = Some(at);
    }

    /// Forgets the timer of a connection that ends.
    pub fn disarm(&mut self, conn: ConnId, timer: &mut Timer) {
        if let Some(armed) = timer.0.take() {
            self.due.remove(&(armed, conn));
        }
    }

    /// Takes the next connection that is due. Its [`Timer`] must be told with [`Timer::fired`].
    pub fn pop(&mut self, now: Now) -> Option<ConnId> {
        let &(at, conn) = self.due.first()?;
        if at > now {
            return None;
        }
        self.due.pop_first();
        Some(conn)
    }

    /// When the next one is due.
    #[must_use]
    pub fn next(&self) -> Option<Now> {
        self.due.first().map(|(at, _)| *at)
    }
}

impl Timer {
    /// The timer has gone off and is not armed any more.
    pub fn fired(&mut self) {
        self.0 = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conn(slot: u32) -> ConnId {
        ConnId {
            slot,
            generation: 0,
        }
    }

    #[test]
    fn fires_in_order_and_only_when_due() {
        let (mut timers, mut a, mut b) = (Timers::default(), Timer::default(), Timer::default());
        timers.arm(conn(1), &mut a, Now(20));
        timers.arm(conn(2), &mut b, Now(10));
        assert_eq!(timers.next(), Some(Now(10)));
        assert_eq!(timers.pop(Now(9)), None);
        assert_eq!(timers.pop(Now(30)), Some(conn(2)));
        assert_eq!(timers.pop(Now(30)), Some(conn(1)));
        assert_eq!(timers.pop(Now(30)), None);
    }

    #[test]
    fn an_earlier_deadline_replaces_a_later_one_and_not_the_other_way_round() {
        let (mut timers, mut a) = (Timers::default(), Timer::default());
        timers.arm(conn(1), &mut a, Now(20));
        timers.arm(conn(1), &mut a, Now(30));
        assert_eq!(timers.next(), Some(Now(20)));
        timers.arm(conn(1), &mut a, Now(10));
        assert_eq!(timers.next(), Some(Now(10)));
        timers.disarm(conn(1), &mut a);
        assert_eq!(timers.next(), None);
    }
}
