//! A client has left while it had a backend: the query is cancelled, the transaction rolled back, the session reset, in that order,
//! all in bounded time. Else the backend is closed.

use super::Shard;
use crate::backend::{Aftermath, Break, State, Used};
use crate::ids::{ConnId, Now};
use crate::limits::MEND_TIMEOUT;
use crate::pins::BEYOND_RESET;
use crate::session::{AtGate, Client};
use crate::wire::{Damage, Frames, Mend, Mended, parse_parameter};

impl Shard {
    /// The client is gone from the table already.
    pub(super) fn break_off(&mut self, now: Now, id: ConnId, client: &Client) {
        self.unlend(id);
        if client.gate == AtGate::Inside
            && let Some(identity) = Self::identity_of(client)
        {
            self.release_gate(now, &identity);
        }
        let aftermath = self.aftermath(id, client);
        let Some(backend) = self.backend(id) else {
            return;
        };
        let busy = !client.conversation.owes_nothing() && !client.conversation.only_asking();
        let under_way = backend.errand.is_some();
        match aftermath {
            None => self.give_back(now, id),
            Some(Aftermath::Close(why)) if !busy && !under_way => {
                if client.conversation.mid_request() {
                    // A goodbye would be read as the rest of the client's message, and might complete a statement.
                    backend.state = State::Breaking(Break {
                        after: Aftermath::Close(why),
                        frames: Frames::default(),
                    });
                } else {
                    backend.state = State::Parked;
                }
                self.close_backend(now, id, why);
            }
            Some(Aftermath::Mend(damage)) if !busy && !under_way => {
                self.start_mending(now, id, damage, client.conversation.server_frames());
            }
            Some(after) => {
                backend.state = State::Breaking(Break {
                    after,
                    frames: client.conversation.server_frames(),
                });
                backend.deadline = Some(now.after(MEND_TIMEOUT));
                self.arm_backend(now, id);
                if !under_way {
                    self.send_errand(now, id);
                }
            }
        }
    }

    /// What has to be done to a backend that this client leaves behind; `None`: nothing.
    fn aftermath(&mut self, id: ConnId, client: &Client) -> Option<Aftermath> {
        let talk = &client.conversation;
        if talk.mid_request() {
            return Some(Aftermath::Close("client left in the middle of a message"));
        }
        if client.bereaved {
            return Some(Aftermath::Close("the server ended the session"));
        }
        if !client.pins.both(BEYOND_RESET).is_empty() {
            return Some(Aftermath::Close("client left state that no reset undoes"));
        }
        let drifted = !self.holds_as_said(id, client);
        // Weir's own question is as good as answered.
        let busy = !talk.settled() && !talk.only_asking();
        let transaction = busy || !talk.idle();
        let state = !client.holds().is_empty() || drifted || self.leaves_state(client);
        if !busy && !transaction && !state && !talk.stray_ready() {
            return None;
        }
        Some(Aftermath::Mend(Damage {
            busy,
            transaction,
            state,
        }))
    }

    /// Nobody's cancel request is on its way any more: do what was put off for it.
    pub(super) fn after_errand(&mut self, now: Now, id: ConnId) {
        let Some(backend) = self.backend(id) else {
            return;
        };
        backend.errand = None;
        match core::mem::replace(&mut backend.state, State::Parked) {
            State::Parked => self.give_back(now, id),
            State::Breaking(Break {
                after: Aftermath::Mend(damage),
                frames,
            }) => self.start_mending(now, id, damage, frames),
            State::Breaking(Break {
                after: Aftermath::Close(why),
                frames,
            }) => {
                // Not with a goodbye: the server may be in the middle of a message of the client's.
                backend.state = State::Breaking(Break {
                    after: Aftermath::Close(why),
                    frames,
                });
                self.close_backend(now, id, why);
            }
            other @ (State::Opening(_)
            | State::Idle
            | State::Lent(_)
            | State::Leaving
            | State::Mending(_)) => backend.state = other,
        }
    }

    /// Rolls back and resets what nobody has; `frames` knows where its stream stands.
    pub(super) fn start_mending(&mut self, now: Now, id: ConnId, damage: Damage, frames: Frames) {
        let nonce = self.random_u64();
        let (damage, chores) = self.chores(id, damage);
        let Some(backend) = self.backend(id) else {
            return;
        };
        backend.deadline = Some(now.after(MEND_TIMEOUT));
        if backend.errand.is_some() {
            backend.state = State::Breaking(Break {
                after: Aftermath::Mend(damage),
                frames,
            });
        } else {
            backend.soiled = false;
            if chores.reset_query.is_some() {
                // Which statements it has closed is not known.
                backend.held.doubt_all();
            }
            // What is reset here is as new, whoever had it.
            if damage.state {
                backend.used = Used::ByNobody;
                backend.held.clear();
                backend.holds = None;
                backend.replaying = false;
            }
            let (mend, bytes) = Mend::start(damage, &chores, nonce, frames);
            backend.state = State::Mending(Box::new(mend));
            self.send(id, bytes);
        }
        self.arm_backend(now, id);
    }

    /// What a client that has left had asked for: nobody wants it, but it must be read to know where the stream stands.
    pub(super) fn breaking_received(&mut self, now: Now, id: ConnId, bytes: &[u8]) {
        let Some(backend) = self.backend(id) else {
            return;
        };
        let State::Breaking(breaking) = &mut backend.state else {
            return;
        };
        let mut changed = Vec::new();
        let fed = breaking.frames.feed(bytes, |kind, body| {
            if kind == b'S'
                && let Some((name, value)) = parse_parameter(body)
            {
                changed.push((name.to_vec(), value.to_vec()));
            }
            true
        });
        for (name, value) in changed {
            backend.reported(&name, &value);
        }
        if fed.is_err() {
            self.close_backend(now, id, "malformed server message");
        }
    }

    pub(super) fn mending_received(&mut self, now: Now, id: ConnId, bytes: &[u8]) {
        let Some(backend) = self.backend(id) else {
            return;
        };
        let mut state = core::mem::replace(&mut backend.state, State::Parked);
        let mended = match &mut state {
            State::Mending(mend) => {
                mend.feed(bytes, &mut |name, value| backend.reported(name, value))
            }
            _ => Mended::NotYet,
        };
        backend.state = state;
        match mended {
            Mended::NotYet => {}
            Mended::Clean => {
                self.settle_drift(id);
                self.give_back(now, id);
            }
            Mended::Hopeless(why) => self.close_backend(now, id, why),
        }
    }
}
