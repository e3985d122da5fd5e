//! What comes out of a client's bytes, and what reading them needs. The terms of the client's direction; no decisions.

use super::super::statements::Desk;
use crate::pins::Pins;

/// Why the client's stream is over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ClientEnd {
    /// Terminate: the client leaves. The message is not forwarded.
    Terminate,
    /// Not the protocol; says what is wrong.
    Violation(&'static str),
}

/// What came out of some bytes of a client.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct FromClient {
    /// Goes to the server before the range: bytes kept from earlier calls, and messages that weir put in. Usually empty.
    pub head: Vec<u8>,
    /// The range of the given bytes that goes to the server after `head` starts here.
    pub start: usize,
    /// One past the range's last byte. Bytes outside the range are kept for later calls, in `head`, or meant for nobody.
    pub end: usize,
    /// Something of it needs a server.
    pub needs_server: bool,
    /// What its statements leave on the session.
    pub pins: Pins,
    /// The shape of the first statement that pins for a reason which the session does not have yet.
    pub shape: Option<Box<str>>,
    /// Reasons for which its statements may take away what is there.
    pub ends: Pins,
    /// One of its statements is a `DISCARD` whose effects are followed.
    pub discards: bool,
    /// One of its statements asks what the session did before (`currval`, `lastval`).
    pub reads_sequence: bool,
    /// One of its statements adds rows, and may advance a sequence unseen.
    pub feeds_sequence: bool,
    /// The stream is over. What comes before still counts.
    pub end_of: Option<ClientEnd>,
    /// At least one request that will be answered was in it.
    pub new_requests: bool,
    /// No backend is lent, and what is to be sent depends on which one will be: see [`super::Conversation::client_again`].
    pub by_name: bool,
    /// Goes to the client at once: answers of weir's own. Usually empty.
    pub answer: Vec<u8>,
}

impl Context<'_, '_> {
    /// The named statement that is bound does something to settings or to the transaction.
    pub(super) fn binds_followed(&self) -> bool {
        self.desk
            .as_deref()
            .is_some_and(|desk| desk.traits.followed)
    }
}

/// What reading needs besides the stream and the exchange.
pub(super) struct Context<'a, 'd> {
    /// `None`: statements are not shared, the server keeps all names.
    pub(super) desk: Option<&'a mut Desk<'d>>,
    /// What weir puts in front of, or instead of, the message at hand.
    pub(super) made: Vec<u8>,
}
