//! `max_borrowed_connections`, seen from a client's shard: asking its identity's home shard, by mail where that is another one.

use super::{Conn, Shard};
use crate::ids::{ConnId, GroupId, Now};
use crate::pool::gate::{Asker, GateWord, Identity};
use crate::seam::{Mail, Op};
use crate::session::{AtGate, Client};

impl Shard {
    pub(super) fn gated(&self, group: GroupId) -> bool {
        self.gate_limit(group).is_some()
    }

    fn gate_limit(&self, group: GroupId) -> Option<u32> {
        self.group(group)?.lending.max_borrowed_connections
    }

    pub(super) fn identity_of(client: &Client) -> Option<Identity> {
        let profile = client.profile.as_ref()?;
        Some(Identity {
            group: client.group,
            user: profile.user.clone(),
            peer: client.peer,
        })
    }

    pub(super) fn identity(&mut self, id: ConnId) -> Option<Identity> {
        Self::identity_of(self.client(id)?)
    }

    /// Asks for a waiting client; whether it may go on at once.
    pub(super) fn ask_gate(&mut self, now: Now, id: ConnId) -> bool {
        let shard = self.id;
        let Some(client) = self.client(id) else {
            return false;
        };
        let Some(identity) = Self::identity_of(client) else {
            return false;
        };
        let Some(wait) = client.wait else {
            return false;
        };
        if client.gate == AtGate::Inside {
            return true;
        }
        client.gate = AtGate::Asked;
        let asker = Asker {
            shard,
            client: id,
            ticket: wait.ticket,
        };
        self.gate_word(now, identity, GateWord::Ask(asker));
        // The answer may have come at once, and with it the way into the queue.
        false
    }

    /// A client that waits no longer, or has left: its permission goes to the next one.
    pub(super) fn leave_gate(&mut self, now: Now, id: ConnId, client: &Client) {
        let Some(identity) = Self::identity_of(client) else {
            return;
        };
        match (client.gate, client.wait) {
            (AtGate::Asked, Some(wait)) => {
                let asker = Asker {
                    shard: self.id,
                    client: id,
                    ticket: wait.ticket,
                };
                self.gate_word(now, identity, GateWord::Leave(asker));
            }
            (AtGate::Inside, _) => self.release_gate(now, &identity),
            _ => {}
        }
    }

    pub(super) fn release_gate(&mut self, now: Now, identity: &Identity) {
        self.gate_word(now, identity.clone(), GateWord::Release);
    }

    /// Brings a word to the identity's home, which may be here.
    fn gate_word(&mut self, now: Now, identity: Identity, word: GateWord) {
        let home = identity.home(self.shards);
        if home == self.id {
            self.gate_heard(now, identity, word);
        } else {
            self.op(Op::Mail {
                to: home,
                body: Mail::Gate(identity, word),
            });
        }
    }

    pub(super) fn gate_heard(&mut self, now: Now, identity: Identity, word: GateWord) {
        let limit = self.gate_limit(identity.group);
        match word {
            GateWord::Ask(asker) => {
                if self.gate.ask(&identity, asker, limit) {
                    self.open_gate(now, identity, asker);
                }
            }
            GateWord::Release => {
                if let Some(next) = self.gate.release(&identity, limit) {
                    self.open_gate(now, identity, next);
                }
            }
            GateWord::Leave(asker) => {
                // If it was not waiting any more, its permission is on its way to it and will be released there.
                self.gate.leave(&identity, asker);
            }
            GateWord::Open(asker) => self.gate_opened(now, &identity, asker),
        }
    }

    fn open_gate(&mut self, now: Now, identity: Identity, asker: Asker) {
        if asker.shard == self.id {
            self.gate_opened(now, &identity, asker);
        } else {
            self.op(Op::Mail {
                to: asker.shard,
                body: Mail::Gate(identity, GateWord::Open(asker)),
            });
        }
    }

    fn gate_opened(&mut self, now: Now, identity: &Identity, asker: Asker) {
        let awaited = match self.table.get_mut(asker.client) {
            Some(Conn::Client(c))
                if c.gate == AtGate::Asked && c.wait.is_some_and(|w| w.ticket == asker.ticket) =>
            {
                c.gate = AtGate::Inside;
                true
            }
            _ => false,
        };
        if awaited {
            self.enqueue(now, asker.client);
        } else {
            self.release_gate(now, identity);
        }
    }
}
