//! Follows both directions of a logged-in session: what may go on, what is owed, whether the backend may go.
//!
//! Bytes come in as the network cut them; all of them are parsed at once, and nothing is kept that need not be. The machine
//! knows nothing of connections, pools or waiting: the shard asks it. Logins are not its business.
//!
//! Sources: PostgreSQL manual, "Message Flow" and "Message Formats"; servers of several versions where it is silent.

mod asked;
mod client;
mod copying;
mod era;
mod exchange;
mod late;
mod message;
mod naming;
mod owed;
mod plain;
mod results;
mod said;
mod server;
mod settings;
mod shown;
mod steering;
mod unnamed;

#[cfg(test)]
mod tests;

pub use asked::{ClientEnd, FromClient};
pub use exchange::TxStatus;
pub use said::{Edit, FromServer, Lent, Replayed};
pub use shown::Pids;

use asked::Context;
use client::ClientStream;
use exchange::Exchange;
use owed::Kind;
use server::ServerStream;

use super::frames::Frames;
use super::ledger::SessionState;
use super::question::write_question;
use super::statements::{Catalog, Desk, Held};
use std::sync::Arc;

use super::startup::Parameters;
use crate::limits::REPLIES_OWED_MAX;
use crate::pins::Pins;

/// One session, both directions. Lives in every client, so it is small and has no heap while nothing is under way.
#[derive(Debug)]
pub struct Conversation {
    exchange: Exchange,
    client: ClientStream,
    server: ServerStream,
}

const _: () = assert!(size_of::<Conversation>() <= 160);

impl Default for Conversation {
    fn default() -> Conversation {
        Conversation::new()
    }
}

impl Conversation {
    /// A session that has just logged in and has no backend.
    #[must_use]
    pub const fn new() -> Conversation {
        Conversation {
            exchange: Exchange::new(),
            client: ClientStream::new(),
            server: ServerStream::new(),
        }
    }

    /// Reads all of `bytes` from the client. What it answers goes to the lent backend, or is copied and waits for one.
    ///
    /// Also to be called, with no bytes, after [`FromServer::resume_client`] and after [`Conversation::fail_pending`] when
    /// [`Conversation::resumable`].
    ///
    /// Without a desk: named statements stay the server's and pin the session.
    pub fn client(&mut self, bytes: &[u8]) -> FromClient {
        let mut context = Context {
            desk: None,
            made: Vec::new(),
        };
        self.client.read(&mut self.exchange, &mut context, bytes)
    }

    /// The same, with named statements shared.
    pub fn client_sharing(&mut self, bytes: &[u8], desk: &mut Desk<'_>) -> FromClient {
        self.with_desk(desk, |talk, context| {
            talk.client.read(&mut talk.exchange, context, bytes)
        })
    }

    /// A backend has been lent, and some of what was to be sent so far was [`FromClient::by_name`]: `bytes` is all of it; it is
    /// read once more, and what comes of it is to be sent instead.
    pub fn client_again(&mut self, bytes: &[u8], desk: &mut Desk<'_>) -> FromClient {
        self.with_desk(desk, |talk, context| {
            talk.client.again(&mut talk.exchange, context, bytes)
        })
    }

    fn with_desk(
        &mut self,
        desk: &mut Desk<'_>,
        read: impl FnOnce(&mut Conversation, &mut Context<'_, '_>) -> FromClient,
    ) -> FromClient {
        let made = core::mem::take(desk.made);
        let mut context = Context {
            desk: Some(desk),
            made,
        };
        let mut out = read(self, &mut context);
        if !self.server.in_message() {
            // Else behind the message that the client is in the middle of.
            out.answer = self.exchange.take_answers().unwrap_or_default();
        }
        let mut made = context.made;
        made.clear();
        *desk.made = made;
        out
    }

    /// Reads all of `bytes` from the lent backend. The client gets [`FromServer::head`] and then the bytes before
    /// [`FromServer::end`], but for [`FromServer::edits`].
    pub fn server(&mut self, bytes: &[u8], lent: &mut Lent<'_>) -> FromServer {
        let mut out = self.server.read(&mut self.exchange, bytes, lent);
        out.resume_client = self.resumable();
        out
    }

    /// A backend has been lent. What the client sent since the last lend is about to go to it.
    pub fn start_lend(&mut self) {
        self.exchange.start_lend();
        self.server = ServerStream::new();
    }

    /// A backend has been lent that is to take over the session's settings: what says so goes to it in front of everything else, and the answer
    /// to nobody; see [`FromServer::replayed`].
    pub fn start_replay(&mut self) {
        self.exchange.start_replay();
    }

    /// Reasons to pin that are gone: the server has discarded what they were for. Each is said once.
    pub fn take_discarded(&mut self) -> Pins {
        match &mut self.exchange.ledger {
            Some(ledger) => ledger.take_ended(),
            None => Pins::NONE,
        }
    }

    /// The server keeps the session's names of statements.
    #[must_use]
    pub fn names_natively(&self) -> bool {
        let statements = self.exchange.statements.as_ref();
        statements.is_some_and(|s| s.is_native())
    }

    /// The lent backend has not answered yet whether it takes over the session's settings.
    #[must_use]
    pub fn replaying(&self) -> bool {
        self.exchange.replaying()
    }

    /// Nothing is under way, and [`Conversation::holds_unnamed`] is not the case: appends a query of weir's own for what the session still
    /// has of what `pins` are for. Its answer goes to nobody, see [`FromServer::still`]; what the client says meanwhile
    /// goes behind it.
    pub fn ask(&mut self, pins: Pins, out: &mut Vec<u8>) {
        self.exchange.unnamed.end();
        self.exchange.owed.push(Kind::OurQuestion);
        write_question(out, pins);
    }

    /// The server is answering [`Conversation::ask`].
    #[must_use]
    pub fn asking(&self) -> bool {
        self.exchange.owed.front() == Some(Kind::OurQuestion)
    }

    /// The same, and nothing that the client has said is under way.
    #[must_use]
    pub fn only_asking(&self) -> bool {
        self.asking() && self.exchange.owed.len() == 1
    }

    /// The session's settings, as they were settled last; `None`: those of a new session.
    #[must_use]
    pub fn session_state(&self) -> Option<&Arc<SessionState>> {
        self.exchange.ledger.as_ref()?.state()
    }

    /// The session's settings are as they were settled last, and the server's session has no others.
    #[must_use]
    pub fn settings_settled(&self) -> bool {
        self.exchange.ledger.as_ref().is_none_or(|l| l.is_settled())
    }

    /// The session's settings could not be followed: they are known to its backend alone.
    #[must_use]
    pub fn settings_lost(&self) -> bool {
        self.exchange.ledger.as_ref().is_some_and(|l| l.is_lost())
    }

    /// The session has set something, now or before.
    #[must_use]
    pub fn has_set(&self) -> bool {
        self.exchange.ledger.is_some()
    }

    /// The backend is about to be reset: what of the session's settings can't be followed is given up.
    pub fn forgive_settings(&mut self) {
        if let Some(ledger) = &mut self.exchange.ledger {
            ledger.forgive();
        }
    }

    /// The backend is about to go: what the session has set becomes its state. The server reports `known`, but for `drift`.
    pub fn settle_settings(&mut self, known: &Parameters, drift: &Parameters) {
        if let Some(ledger) = &mut self.exchange.ledger {
            ledger.settle(known, drift);
        }
    }

    /// The backend is gone, given back or lost. Whatever was under way on it is forgotten.
    pub fn end_lend(&mut self) {
        self.exchange.end_lend();
        self.server = ServerStream::new();
        self.client.drop_rest();
    }

    /// Nothing is owed, no transaction is open, and neither side is in the middle of anything that this backend is needed
    /// for: it may go, pins and [`Conversation::holds_unnamed`] aside.
    #[must_use]
    pub fn releasable(&self) -> bool {
        self.exchange.at_rest()
            && self.server.at_boundary()
            && !self.client.in_message()
            && !self.client.is_waiting()
    }

    /// No answer is under way.
    #[must_use]
    pub fn owes_nothing(&self) -> bool {
        self.exchange.owed.is_empty()
    }

    /// The transaction, by the server's last word in this lend.
    #[must_use]
    pub fn status(&self) -> TxStatus {
        self.exchange.status
    }

    /// Messages under way. Above [`REPLIES_OWED_MAX`] the client must not be read.
    #[must_use]
    pub fn owed(&self) -> usize {
        let owed = self.exchange.owed.len();
        if self.client.is_waiting() {
            // What comes now is kept in memory, so it had better not come.
            owed.saturating_add(REPLIES_OWED_MAX + 1)
        } else {
            owed
        }
    }

    /// Requests under way that end with ReadyForQuery.
    #[must_use]
    pub fn pending_segments(&self) -> usize {
        self.exchange.owed.cycles()
    }

    /// The session has parsed the unnamed statement to bind it later, so it keeps its backend. Ends by itself: when a later
    /// round trip parses and binds it in one, or destroys it.
    #[must_use]
    pub fn holds_unnamed(&self) -> bool {
        self.exchange.unnamed.holds()
    }

    /// In this lend a COPY failed in a way that leaves open whether the server will send one more ReadyForQuery. A backend
    /// that is given back in this state must be closed, or mended with a request whose answer is unmistakable.
    #[must_use]
    pub fn stray_ready(&self) -> bool {
        self.exchange.stray_ready
    }

    /// The server has a part of a client message and waits for the rest.
    #[must_use]
    pub fn mid_request(&self) -> bool {
        self.client.in_message()
    }

    /// Every request has been answered and every batch ended: only the transaction may be open.
    #[must_use]
    pub fn settled(&self) -> bool {
        let exchange = &self.exchange;
        exchange.owed.is_empty()
            && !exchange.unsynced
            && !exchange.skipping
            && !self.client.is_waiting()
    }

    /// No transaction is open, by the server's last word.
    #[must_use]
    pub fn idle(&self) -> bool {
        self.exchange.status == TxStatus::Idle
    }

    /// The client has a part of a server message and waits for the rest.
    #[must_use]
    pub fn mid_answer(&self) -> bool {
        self.server.in_message() && !self.server.holds_back()
    }

    /// The lent backend's answers will not be heard any more: its book says what is in doubt.
    pub fn abandon(&mut self, held: &mut Held) {
        if let Some(statements) = &mut self.exchange.statements {
            statements.abandon(held);
        }
    }

    /// Something was asked for that may change what texts mean, and whether it has done so can't be told yet.
    #[must_use]
    pub fn may_have_redefined(&self) -> bool {
        self.exchange.era.in_doubt()
    }

    /// After [`FromServer::stale_plan`].
    pub fn retire_statements(&self, catalog: &mut Catalog) {
        if let Some(statements) = &self.exchange.statements {
            statements.retire(catalog);
        }
    }

    /// A reader that goes on where this one stands in the server's stream, for whoever takes the backend over.
    #[must_use]
    pub fn server_frames(&self) -> Frames {
        self.server.frames()
    }

    /// Client messages that were kept back can go on: call [`Conversation::client`].
    #[must_use]
    pub fn resumable(&self) -> bool {
        self.client.is_waiting() && self.exchange.wait_is_over()
    }

    /// No server will get the requests under way, none of which has been sent: answers what the client gets instead, `error`
    /// (a whole ErrorResponse message) for each, and ReadyForQuery where it is due. An extended batch without its Sync gets
    /// the error alone; what follows of it is dropped, and its Sync is a request like any other.
    pub fn fail_pending(&mut self, error: &[u8]) -> Vec<u8> {
        self.client.drop_rest();
        self.exchange.fail(error)
    }
}
