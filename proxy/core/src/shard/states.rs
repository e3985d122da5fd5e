//! Settings that follow a client from backend to backend: a backend with others is brought to them in front of the client's first
//! request, in the same write, and every client is told what its server reports, whichever it is.
//!
//! A backend that refuses (its server takes no value any more that it took before) leaves a failed transaction, in which it refuses the
//! client's requests too; the client is closed and the backend mended. So no request ever runs with settings that are not its
//! client's.

use std::sync::Arc;

use super::backends::pids;
use super::{Conn, Shard};
use crate::backend::Parameter;
use crate::ids::{ConnId, Now};
use crate::pins::PinReason;
use crate::profile::Known;
use crate::session::Client;
use crate::wire::{
    FromServer, Lent, Parameters, Replayed, SessionState, errors, explains, parameter_status,
    write_replay,
};

impl Shard {
    /// A client has just got this backend: brings it to the client's settings. What is to be sent in front of everything else is
    /// put aside for [`Shard::with_replay`]. If there is nothing to bring it to, the client is told at once what the server
    /// reports.
    pub(super) fn bring_settings(&mut self, id: ConnId, backend_id: ConnId) {
        let Some((Conn::Backend(backend), Conn::Client(client))) =
            self.table.pair_mut(backend_id, id)
        else {
            return;
        };
        let wanted = client.conversation.session_state();
        if same(wanted, backend.holds.as_ref()) {
            let news = news_for(client, &backend.known, &backend.drift);
            client.told = Some(Arc::clone(&backend.known));
            return self.send(id, news);
        }
        self.replay.clear();
        write_replay(
            &mut self.replay,
            backend.holds.as_deref(),
            wanted.map(|state| &**state),
        );
        backend.replaying = true;
        client.conversation.start_replay();
        self.stats.replays += 1;
    }

    /// What was put aside goes in front of `bytes`.
    pub(super) fn with_replay(&mut self, bytes: &mut Vec<u8>) {
        if !self.replay.is_empty() {
            bytes.splice(0..0, self.replay.iter().copied());
            self.replay.clear();
        }
    }

    /// What a backend says that has been asked to take over its client's settings.
    pub(super) fn answers_to_replay(
        &mut self,
        now: Now,
        id: ConnId,
        client_id: ConnId,
        bytes: &[u8],
    ) {
        let shard = self.id;
        let Some((Conn::Backend(backend), Conn::Client(client))) =
            self.table.pair_mut(id, client_id)
        else {
            return;
        };
        let mut heard: Vec<Parameter> = Vec::new();
        let pids = pids(backend, shard, client_id);
        let mut lent = Lent {
            held: &mut backend.held,
            on_parameter: &mut |name, value| heard.push((name.into(), value.into())),
            pids,
        };
        let mut read = client.conversation.server(bytes, &mut lent);
        let before = read.replayed.as_ref().map_or(heard.len(), |r| r.parameters);
        let behind = heard.split_off(before.min(heard.len()));
        for (name, value) in heard {
            backend.reported(&name, &value);
        }
        if let Some(replayed) = read.replayed.take() {
            if let Some(why) = &replayed.refused {
                return self.replay_refused(now, client_id, why);
            }
            self.replay_done(now, id, client_id, &replayed, &mut read);
        }
        if let Some(backend) = self.backend(id) {
            for (name, value) in behind {
                backend.reported(&name, &value);
            }
        }
        self.pass_answers(now, id, client_id, read);
    }

    /// The backend has its client's settings: the client is told what it does not know, in front of its first answer.
    fn replay_done(
        &mut self,
        now: Now,
        id: ConnId,
        client_id: ConnId,
        replayed: &Replayed,
        read: &mut FromServer,
    ) {
        if let Some((Conn::Backend(backend), Conn::Client(client))) =
            self.table.pair_mut(id, client_id)
        {
            backend.replaying = false;
            backend.holds = client.conversation.session_state().map(Arc::clone);
        }
        // What it has not set itself is the server's new word.
        self.settle_drift(id);
        let Some((Conn::Backend(backend), Conn::Client(client))) =
            self.table.pair_mut(id, client_id)
        else {
            return;
        };
        let news = news_for(client, &backend.known, &backend.drift);
        client.told = Some(Arc::clone(&backend.known));
        let cancel = core::mem::take(&mut client.cancel_when_lent);
        if let Some(edit) = read.edits.iter_mut().find(|e| e.to == replayed.at) {
            edit.instead.splice(0..0, news);
        }
        if cancel {
            self.send_errand(now, id);
        }
    }

    fn replay_refused(&mut self, now: Now, client: ConnId, why: &str) {
        self.stats.replays_refused += 1;
        self.end_client(
            now,
            client,
            Some(&errors::settings_refused(why)),
            "the server refused its settings",
        );
    }

    /// A client is about to give this backend back: what it has set becomes its state, and the backend's. `false`: the server reports
    /// something that the client's settings don't explain, so it can't.
    pub(super) fn settle_settings(&mut self, id: ConnId, backend_id: ConnId) -> bool {
        let Some((Conn::Backend(backend), Conn::Client(client))) =
            self.table.pair_mut(backend_id, id)
        else {
            return true;
        };
        let (known, drift) = (&backend.known.parameters, &backend.drift);
        client.conversation.settle_settings(known, drift);
        let lost = client.conversation.settings_lost();
        let state = client.conversation.session_state();
        if lost || !explains(state.map(|s| &**s), known, drift) {
            let reason = if lost {
                PinReason::Setting
            } else {
                PinReason::ParameterChanged
            };
            return self.give_up_settings(id, backend_id, reason);
        }
        if client.heard != *drift {
            client.heard.clone_from(drift);
        }
        if !same(state, backend.holds.as_ref()) {
            backend.holds = state.map(Arc::clone);
        }
        true
    }

    /// The session's settings are known to its backend alone: it keeps it, unless the operator does not want that; then they are lost to
    /// it, and the backend is reset. Whether the backend may go.
    fn give_up_settings(&mut self, id: ConnId, backend_id: ConnId, reason: PinReason) -> bool {
        self.pin_for(id, reason);
        let Some((Conn::Backend(backend), Conn::Client(client))) =
            self.table.pair_mut(backend_id, id)
        else {
            return true;
        };
        if !client.pins.is_empty() {
            return false;
        }
        client.conversation.forgive_settings();
        client.heard.clone_from(&backend.drift);
        true
    }

    /// Whether what the backend's session has set is what it was said to hold, although its client has left without giving it back.
    pub(super) fn holds_as_said(&mut self, backend_id: ConnId, client: &Client) -> bool {
        let Some(backend) = self.backend(backend_id) else {
            return true;
        };
        let state = backend.holds.as_deref();
        !backend.replaying
            && client.conversation.settings_settled()
            && explains(state, &backend.known.parameters, &backend.drift)
    }
}

/// Whether two sessions have the same settings.
fn same(one: Option<&Arc<SessionState>>, other: Option<&Arc<SessionState>>) -> bool {
    match (one, other) {
        (None, None) => true,
        (Some(a), Some(b)) => Arc::ptr_eq(a, b) || a == b,
        _ => false,
    }
}

/// ParameterStatus for what a client does not know of what its server reports: `known`, but for `drift`.
fn news_for(client: &Client, known: &Arc<Known>, drift: &Parameters) -> Vec<u8> {
    let mut news = Vec::new();
    let Some(told) = &client.told else {
        return news;
    };
    if Arc::ptr_eq(told, known) && client.heard == *drift {
        return news;
    }
    let find = |list: &Parameters, name: &[u8]| {
        let entry = list.iter().find(|(n, _)| **n == *name);
        entry.map(|(_, value)| value.clone())
    };
    let more = drift.iter().filter(|(n, _)| known.get(n).is_none());
    for (name, value) in known.parameters.iter().chain(more) {
        let now = find(drift, name).unwrap_or_else(|| value.clone());
        let then = find(&client.heard, name).or_else(|| told.get(name).map(Box::from));
        if then.as_ref() != Some(&now) {
            parameter_status(&mut news, name, &now);
        }
    }
    news
}
