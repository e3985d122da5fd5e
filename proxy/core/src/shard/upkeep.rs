//! What the operator wants to be done to backends besides lending them: `init_query`, `reset_query`, `server_idle_check`, and the resets that
//! `session_pinning_filters` make necessary.
//!
//! A session that is not pinned although it leaves something behind gives its backend back like any other, but nobody gets it before it is
//! reset: what is left is lost to the session, and not seen by another one.

use super::{Conn, Shard};
use crate::ids::{ConnId, GroupId, Now};
use crate::limits::SERVER_IDLE_CHECK_TIMEOUT;
use crate::pins::{PinReason, Pins};
use crate::session::Client;
use crate::settings::Upkeep;
use crate::wire::{Chores, Damage};

/// Not something that is left, but something that takes an `init_query` back.
const DISCARD: Pins = Pins::of(PinReason::Discard);

impl Shard {
    fn upkeep(&self, group: GroupId) -> Option<&Upkeep> {
        Some(&self.group(group)?.lending.upkeep)
    }

    // ---- session_pinning_filters ---------------------------------------------------------------------------------

    /// A session is about to be pinned: notes those reasons that must not pin, and answers the others.
    pub(super) fn excuse(&mut self, id: ConnId, pins: Pins) -> Pins {
        let Some(Conn::Client(client)) = self.table.get(id) else {
            return pins;
        };
        let unpinned = self.upkeep(client.group).map_or(Pins::NONE, |u| u.unpinned);
        let excused = pins.both(unpinned);
        if !excused.is_empty() {
            self.stats.pins_excused += 1;
            if let Some(client) = self.client(id) {
                client.left.add(excused);
            }
        }
        pins.without(excused)
    }

    /// Whether a client that is gone leaves something that it was not pinned for.
    pub(super) fn leaves_state(&self, client: &Client) -> bool {
        let set = client.conversation.has_set();
        self.counts(client.group, client.left, set)
    }

    /// Whether a backend that is given back must be reset before anyone else has it: for what is `left` on it, or because its client has
    /// `set` something that leads back to what the server, not the `init_query`, has set.
    pub(super) fn must_be_reset(&mut self, id: ConnId, left: Pins, set: bool) -> bool {
        let Some(group) = self.backend(id).map(|b| b.group) else {
            return false;
        };
        self.counts(group, left, set)
    }

    fn counts(&self, group: GroupId, left: Pins, set: bool) -> bool {
        let undone = set || !left.both(DISCARD).is_empty();
        let init = || self.upkeep(group).is_some_and(|u| u.init_query.is_some());
        !left.without(DISCARD).is_empty() || (undone && init())
    }

    // ---- init_query and reset_query ------------------------------------------------------------------------------

    pub(super) fn is_reset_at_return(&self, group: GroupId) -> bool {
        self.upkeep(group).is_some_and(|u| u.reset_query.is_some())
    }

    /// What is to be run on a backend that is mended, and what is damaged then.
    pub(super) fn chores(&mut self, id: ConnId, damage: Damage) -> (Damage, Chores) {
        let mut damage = damage;
        let Some(backend) = self.backend(id) else {
            return (damage, Chores::default());
        };
        let (group, soiled, holds) = (backend.group, backend.soiled, backend.holds.is_some());
        let Some(upkeep) = self.upkeep(group) else {
            return (damage, Chores::default());
        };
        let mut reset_query = upkeep.reset_query.clone().filter(|_| soiled);
        if let Some(text) = &reset_query {
            let all = text.trim_matches(|c: char| c.is_whitespace() || c == ';');
            if all.eq_ignore_ascii_case("discard all") {
                // Weir's own reset is the same, and it knows what is gone then.
                (damage.state, reset_query) = (true, None);
            } else {
                // What it does to the settings of the session is not known.
                damage.state |= holds;
            }
        }
        let new = damage.state || reset_query.is_some();
        let chores = Chores {
            init_query: upkeep.init_query.clone().filter(|_| new),
            reset_query,
        };
        (damage, chores)
    }

    // ---- server_idle_check ---------------------------------------------------------------------------------------

    /// Whether nothing has been heard of an idle backend for so long that its server may have gone without a word.
    pub(super) fn is_silent(&mut self, now: Now, group: GroupId, id: ConnId) -> bool {
        let Some(most) = self.upkeep(group).and_then(|u| u.server_idle_check) else {
            return false;
        };
        self.backend(id)
            .is_some_and(|b| now.since(b.heard_at) > most)
    }

    /// A backend has been asked for a sign of life.
    pub(super) fn expect_sign_of_life(&mut self, now: Now, id: ConnId) {
        self.stats.idle_checks += 1;
        if let Some(backend) = self.backend(id) {
            backend.deadline = Some(now.after(SERVER_IDLE_CHECK_TIMEOUT));
        }
        self.arm_backend(now, id);
    }

    /// It has given none. Those that have been silent as long will hardly do better, and to ask them one after the other would take too
    /// long.
    pub(super) fn no_sign_of_life(&mut self, now: Now, id: ConnId) {
        let Some(group) = self.backend(id).map(|b| b.group) else {
            return;
        };
        let idle: Vec<ConnId> = self
            .pool(group)
            .map(|p| p.idle.iter().map(|i| i.backend).collect())
            .unwrap_or_default();
        for other in idle {
            if self.is_silent(now, group, other) {
                self.close_backend_quietly(now, other, "silent as long as one that is dead");
            }
        }
        self.close_backend(now, id, "no answer to server_idle_check");
    }
}
