//! Named statements of the extended protocol, shared by what they say and not by what clients call them.
//!
//! A statement's [`Content`] is its text and parameter types; its name on a server is made from their hash, so every client, every
//! backend and every shard means the same by it. Here are the books: [`Catalog`] (one per shard: contents in use), [`Held`] (one
//! per backend: what it has prepared) and [`session::Statements`] (one per session: what its own names mean). Which message
//! needs which entry is decided in [`super::conversation`].

pub mod catalog;
pub mod digest;
pub mod held;
pub mod session;

pub use catalog::{Catalog, Content, Hash, Traits};
pub use held::{Held, Holding};

use crate::pins::Pins;
use std::sync::Arc;

use super::familiar::Familiar;

/// What a conversation needs of the shard and of the lent backend to share statements.
#[derive(Debug)]
pub struct Desk<'a> {
    /// The shard's contents.
    pub catalog: &'a mut Catalog,
    /// The lent backend's book; `None`: no backend is lent.
    pub held: Option<&'a mut Held>,
    /// The session is pinned, so what a statement means may depend on it (temporary tables, `search_path`): a Parse always
    /// reaches the server.
    pub pinned: bool,
    /// What the session is, or would be, pinned for already.
    pub pins: Pins,
    /// What the statement of the message at hand may do.
    pub traits: Traits,
    /// Texts that need not be read.
    pub familiar: &'a mut Familiar,
    /// Held once by the shard, and once more for each long statement that is collected.
    pub long: &'a Arc<()>,
    /// Room that is lent for what is put in front of messages, and comes back in [`super::conversation::FromClient::head`].
    pub spare: &'a mut Vec<u8>,
    /// The same, for one message.
    pub made: &'a mut Vec<u8>,
}
