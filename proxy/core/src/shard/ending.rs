//! Pins that end: the server is asked whether a session still has what it is pinned for, and the session gives its backend back
//! when it has nothing any more.
//!
//! The question is put like a request of the client's own: what the client says meanwhile goes behind it and need not wait for more than
//! the answer.

use core::time::Duration;

use super::Shard;
use crate::ids::{ConnId, Now};
use crate::pins::{PinReason, Pins};
use crate::seam::Trace;

impl Shard {
    /// Nothing of a pinned session is under way: asks its server what it still has, if there is reason to.
    pub(super) fn ask_about_pins(&mut self, id: ConnId, backend: ConnId) {
        let draining = self.draining;
        let Some(client) = self.client(id) else {
            return;
        };
        if draining || client.bereaved || client.conversation.stray_ready() {
            return;
        }
        let pins = client.holds();
        let Some(asked) = client.ends.ask(pins) else {
            return;
        };
        let mut question = Vec::new();
        client.conversation.ask(asked, &mut question);
        self.stats.pin_questions += 1;
        self.send(backend, question);
    }

    /// The server has answered what a session still has.
    pub(super) fn pins_answered(&mut self, now: Now, id: ConnId, backend: ConnId, still: Pins) {
        let Some(client) = self.client(id) else {
            return;
        };
        let ended = client.ends.answered(still);
        // A cancel that would have hit the question.
        let cancel =
            core::mem::take(&mut client.cancel_when_lent) && !client.conversation.owes_nothing();
        self.unpin(now, id, ended);
        if ended.has(PinReason::TemporaryObject)
            && let Some(backend) = self.backend(backend)
        {
            // What was prepared meanwhile may have meant the session's own tables.
            backend.held.doubt_all();
        }
        if cancel {
            self.stats.cancels += 1;
            self.send_errand(now, backend);
        }
    }

    /// The server has discarded what some reasons were for.
    pub(super) fn pins_discarded(&mut self, now: Now, id: ConnId, mut discarded: Pins) {
        let Some(client) = self.client(id) else {
            return;
        };
        if client.conversation.names_natively() {
            // Which of them are left is not known here.
            discarded.remove(PinReason::PreparedStatement);
        }
        let ended = client.ends.discarded(discarded);
        self.unpin(now, id, ended);
    }

    /// A session does not have these reasons any more.
    fn unpin(&mut self, now: Now, id: ConnId, ended: Pins) {
        let Some(client) = self.client(id) else {
            return;
        };
        let ended = ended.both(client.pins);
        if ended.is_empty() {
            return;
        }
        client.pins = client.pins.without(ended);
        let free = client.pins.is_empty();
        self.stats.pinned -= u64::from(free);
        for reason in ended.iter() {
            self.note_end(now, id, reason);
        }
    }

    /// A pin is over, by itself or with its session.
    pub(super) fn count_held(&mut self, reason: PinReason, held: Duration) {
        if let Some(sum) = self.stats.pins_held_ns.get_mut(reason as usize) {
            *sum = sum.saturating_add(u64::try_from(held.as_nanos()).unwrap_or(u64::MAX));
        }
    }

    fn note_end(&mut self, now: Now, id: ConnId, reason: PinReason) {
        if let Some(count) = self.stats.pins_ended.get_mut(reason as usize) {
            *count += 1;
        }
        let Some(client) = self.client(id) else {
            return;
        };
        let held = now.since(client.ends.ended(reason).unwrap_or(now));
        let profile = client.profile.clone();
        self.count_held(reason, held);
        self.trace(Trace::Unpinned {
            conn: id,
            reason,
            profile,
            held,
        });
    }
}
