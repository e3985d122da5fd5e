//! A client's words on their way through its conversation: with the books of shared statements at hand, and into as few pieces as
//! possible.

use super::{Conn, Shard};
use crate::ids::ConnId;
use crate::limits::{DRAFT_MAX, DRAFT_MERGE};
use crate::seam::Op;
use crate::wire::{Conversation, Desk, FromClient, Traits};

impl Shard {
    /// Reads what a client said.
    pub(super) fn read_client(&mut self, id: ConnId, bytes: &[u8]) -> Option<FromClient> {
        let lent = self.client(id)?.lent;
        self.at_desk(id, lent, |talk, desk| talk.client_sharing(bytes, desk))
    }

    /// Reads again what a client said before it had this backend.
    fn read_again(&mut self, backend_id: ConnId, id: ConnId, bytes: &[u8]) -> Option<FromClient> {
        let mut read = self.at_desk(id, Some(backend_id), |talk, desk| {
            talk.client_again(bytes, desk)
        })?;
        if read.feeds_sequence {
            self.mind_sequences(id, &read);
        }
        self.note_pins(id, &read);
        self.send(id, core::mem::take(&mut read.answer));
        Some(read)
    }

    /// A client's conversation, with the books at hand.
    fn at_desk(
        &mut self,
        id: ConnId,
        lent: Option<ConnId>,
        read: impl FnOnce(&mut Conversation, &mut Desk<'_>) -> FromClient,
    ) -> Option<FromClient> {
        let (client, held) = match lent {
            None => match self.table.get_mut(id)? {
                Conn::Client(client) => (client, None),
                _ => return None,
            },
            Some(backend) => match self.table.pair_mut(backend, id)? {
                (Conn::Backend(backend), Conn::Client(client)) => (client, Some(&mut backend.held)),
                _ => return None,
            },
        };
        let mut desk = Desk {
            catalog: &mut self.catalog,
            pinned: held.is_some() && !client.pins.is_empty(),
            pins: {
                let mut known = client.pins;
                known.add(client.left);
                known
            },
            held,
            traits: Traits::default(),
            familiar: &mut self.familiar,
            long: &self.long,
            spare: &mut self.spare,
            made: &mut self.made,
        };
        Some(read(&mut client.conversation, &mut desk))
    }

    /// Sends what a client said that has just got its backend.
    pub(super) fn send_first(
        &mut self,
        backend: ConnId,
        id: ConnId,
        read: FromClient,
        bytes: &[u8],
    ) {
        if !read.by_name {
            return self.send_on(backend, read, bytes, 0);
        }
        let body = bytes.get(read.start..read.end).unwrap_or(&[]);
        if read.head.is_empty() {
            let offset = read.start;
            self.give_spare(read.head);
            if let Some(again) = self.read_again(backend, id, body) {
                self.send_on(backend, again, body, offset);
            }
        } else {
            let all = [&read.head[..], body].concat();
            self.send_again(backend, id, &all);
        }
    }

    /// Sends what a client said, and was kept, before it had this backend.
    pub(super) fn send_again(&mut self, backend: ConnId, id: ConnId, bytes: &[u8]) {
        if let Some(mut read) = self.read_again(backend, id, bytes) {
            let body = bytes.get(read.start..read.end).unwrap_or(&[]);
            read.head.extend_from_slice(body);
            self.with_replay(&mut read.head);
            self.send(backend, read.head);
        }
    }

    /// The room comes back, unless what is there is larger or this has grown out of proportion.
    pub(super) fn give_spare(&mut self, room: Vec<u8>) {
        if room.capacity() > self.spare.capacity() && room.capacity() <= 4 * DRAFT_MAX {
            self.spare = room;
        }
    }

    /// Sends on what came of `bytes`, which lie at `offset` of the bytes at hand. Little ones are copied into one piece with
    /// what goes in front of them: a second piece costs more than the copy.
    pub(super) fn send_on(&mut self, to: ConnId, read: FromClient, bytes: &[u8], offset: usize) {
        let (mut head, start, end) = (read.head, read.start, read.end);
        self.with_replay(&mut head);
        if head.is_empty() {
            self.give_spare(head);
            return self.forward(to, offset + start, offset + end);
        }
        let body = bytes.get(start..end).unwrap_or(&[]);
        let merge = body.len() <= DRAFT_MERGE;
        if head.len() > DRAFT_MAX {
            self.send(to, head);
            return self.forward(to, offset + start, offset + end);
        }
        let from = self.draft.len();
        self.draft.extend_from_slice(&head);
        if merge {
            self.draft.extend_from_slice(body);
        }
        head.clear();
        self.give_spare(head);
        self.op(Op::SendDraft {
            to,
            start: from,
            end: self.draft.len(),
        });
        if !merge {
            self.forward(to, offset + start, offset + end);
        }
    }
}
