//! Clients that keep a backend for too long: idle in a transaction, or with a transaction that lasts.
//!
//! A client's clock runs while it has a backend and is in the middle of anything: a transaction, a request, a batch without its Sync. It costs a
//! query nothing but a comparison: the client's timer is armed when it gets a backend, and stands there until it goes off, whatever
//! the client does meanwhile; only then is looked what became of the transaction.
//!
//! A transaction over its limit is ended as gently as can be: its statement is cancelled, as if the client had asked for it. Then a statement of its own
//! is over, and the session goes on; a transaction block has failed, and the client has to roll it back. One that does neither, or can't be
//! cancelled (a COPY whose client sends nothing), is closed.

use super::{Conn, Shard};
use crate::ids::{ConnId, Now};
use crate::limits::TRANSACTION_GRACE;
use crate::seam::Trace;
use crate::session::Client;
use crate::settings::TimeLimits;
use crate::wire::errors;

/// What a client has overstepped.
pub(super) enum Overtime {
    /// `idle_in_transaction_timeout`.
    Idle,
    /// `transaction_timeout`.
    Transaction,
    /// The time to end a transaction that was over its limit.
    Grace,
}

/// When a client has kept its backend for too long, if it has one and is in the middle of something.
pub(super) fn deadline(now: Now, client: &Client) -> Option<(Now, Overtime)> {
    if client.lent.is_none() || client.conversation.releasable() {
        return None;
    }
    let limits = client.limits;
    let idle = limits
        .idle_in_transaction
        .map(|limit| (client.silent_since(now).after(limit), Overtime::Idle));
    let whole = match client.overran_at {
        Some(at) => Some((at.after(TRANSACTION_GRACE), Overtime::Grace)),
        None => limits
            .transaction
            .map(|limit| (client.began_at.after(limit), Overtime::Transaction)),
    };
    [idle, whole]
        .into_iter()
        .flatten()
        .min_by_key(|(at, _)| *at)
}

impl Shard {
    /// The limits of a user.
    pub(super) fn limits_of(&self, user: &str) -> TimeLimits {
        let user = self.settings.users.get(user);
        user.map(|u| u.limits).unwrap_or_default()
    }

    /// The configuration has changed.
    pub(super) fn renew_limits(&mut self, id: ConnId) {
        let Some(profile) = self.client(id).and_then(|c| c.profile.clone()) else {
            return;
        };
        let limits = self.limits_of(&profile.user);
        if let Some(client) = self.client(id) {
            client.limits = limits;
        }
    }

    /// A client that has a backend says something: if it was not in the middle of anything, that is a beginning.
    pub(super) fn note_begin(&mut self, now: Now, id: ConnId) {
        let Some(client) = self.client(id) else {
            return;
        };
        if client.conversation.releasable() {
            client.began_at = now;
            self.arm_limits(now, id);
        }
    }

    /// Something of a client's begins now: sees to it that it is looked at when it can be over a limit for the first time.
    pub(super) fn arm_limits(&mut self, now: Now, id: ConnId) {
        if let Some(Conn::Client(client)) = self.table.get_mut(id)
            && let Some(limit) = client.limits.shorter()
        {
            self.timers.arm(id, &mut client.timer, now.after(limit));
        }
    }

    /// A client is over a limit.
    pub(super) fn overtime(&mut self, now: Now, id: ConnId, what: Overtime) {
        let Some(client) = self.client(id) else {
            return;
        };
        let limits = client.limits;
        match what {
            Overtime::Idle => {
                let error = errors::idle_in_transaction_timeout(
                    limits.idle_in_transaction.unwrap_or_default(),
                );
                self.stats.idle_in_transaction_timeouts += 1;
                self.trace_overtime(id, "idle_in_transaction_timeout", false);
                self.end_client(now, id, Some(&error), "idle_in_transaction_timeout reached");
            }
            Overtime::Transaction => {
                self.stats.transaction_timeouts += 1;
                if self.client(id).is_some_and(|c| c.quiet()) {
                    self.end_transaction(now, id, limits);
                } else {
                    self.cancel_transaction(now, id);
                }
            }
            Overtime::Grace => self.end_transaction(now, id, limits),
        }
    }

    /// Its server is at work: what runs is cancelled, and the client hears of it from there.
    fn cancel_transaction(&mut self, now: Now, id: ConnId) {
        self.trace_overtime(id, "transaction_timeout", true);
        if let Some(client) = self.client(id) {
            client.overran_at = Some(now);
        }
        self.cancel_client(now, id);
        self.arm_client(now, id);
    }

    /// There is nothing to cancel, or it has not helped.
    fn end_transaction(&mut self, now: Now, id: ConnId, limits: TimeLimits) {
        let error = errors::transaction_timeout(limits.transaction.unwrap_or_default());
        self.trace_overtime(id, "transaction_timeout", false);
        self.end_client(now, id, Some(&error), "transaction_timeout reached");
    }

    fn trace_overtime(&mut self, id: ConnId, limit: &'static str, cancelled: bool) {
        self.trace(Trace::OverLimit {
            conn: id,
            limit,
            cancelled,
        });
    }
}
