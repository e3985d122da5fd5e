//! A client's words on their way through its conversation: with the books of shared statements at hand, and into as few pieces as
//! possible.

use super::{Conn, Shard};
use crate::ids::ConnId;
use crate::limits::{DRAFT_MAX, DRAFT_MERGE};
use crate::seam::Op;
use crate::wire::{Desk, FromClient, Traits};

impl Shard {
    /// Reads what a client said.
    pub(super) fn read_client(&mut self, id: ConnId, bytes: &[u8]) -> Option<FromClient> {
        let lent = self.client(id)?.lent;
        let (spare, made) = (&mut self.spare, &mut self.made);
        let catalog = &mut self.catalog;
        let Some(backend_id) = lent else {
            let Some(Conn::Client(client)) = self.table.get_mut(id) else {
                return None;
            };
            let mut desk = Desk {
                catalog,
                held: None,
                pinned: false,
                traits: Traits::default(),
                spare,
                made,
            };
            return Some(client.conversation.client_sharing(bytes, &mut desk));
        };
        let (Conn::Backend(backend), Conn::Client(client)) = self.table.pair_mut(backend_id, id)?
        else {
            return None;
        };
        let mut desk = Desk {
            catalog,
            held: Some(&mut backend.held),
            pinned: !client.pins.is_empty(),
            traits: Traits::default(),
            spare,
            made,
        };
        Some(client.conversation.client_sharing(bytes, &mut desk))
    }

    /// Reads again what a client said before it had this backend.
    fn read_again(&mut self, backend_id: ConnId, id: ConnId, bytes: &[u8]) -> Option<FromClient> {
        let (Conn::Backend(backend), Conn::Client(client)) = self.table.pair_mut(backend_id, id)?
        else {
            return None;
        };
        let mut desk = Desk {
            catalog: &mut self.catalog,
            held: Some(&mut backend.held),
            pinned: !client.pins.is_empty(),
            traits: Traits::default(),
            spare: &mut self.spare,
            made: &mut self.made,
        };
        let mut read = client.conversation.client_again(bytes, &mut desk);
        if read.feeds_sequence {
            self.mind_sequences(id, &read);
        }
        self.pin_fresh(id, read.pins);
        self.send(id, core::mem::take(&mut read.answer));
        Some(read)
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
