//! What comes out of a server's bytes, and what reading them needs. The terms of the server's direction; no decisions.

use super::super::statements::Held;
use super::shown;
use crate::pins::Pins;

/// What came out of some bytes of a server.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct FromServer {
    /// The server has told the client that it ends the connection (severity FATAL or PANIC).
    pub fatal: bool,
    /// The stream can't be followed any more; says why. The backend must be closed.
    pub violation: Option<&'static str>,
    /// ReadyForQuery messages for the client.
    pub cycles: u32,
    /// A ReadyForQuery said that no transaction is open.
    pub rested: bool,
    /// ErrorResponse messages.
    pub errors: u32,
    /// Goes to the client before anything of the given bytes: the start of a header that earlier bytes ended with. Usually empty.
    pub head: Vec<u8>,
    /// Of the given bytes, those before this one go to the client; what follows is half a header, or not to be believed.
    pub end: usize,
    /// Where, in order, not all of the bytes before `end` go to the client, or more than them. Usually empty.
    pub edits: Vec<Edit>,
    /// A plan was refused since its tables have changed: the session's statements are to be retired.
    pub stale_plan: bool,
    /// A transaction has ended that may have changed what texts mean: a new era begins for statements.
    pub redefined: bool,
    /// The server has answered [`super::Conversation::ask`]: what the session still has, which is everything where the answer does not say.
    pub still: Option<Pins>,
    /// The backend has answered whether it takes over the session's settings.
    pub replayed: Option<Replayed>,
    /// Why the backend does not take over the session's settings; goes into [`FromServer::replayed`].
    pub(super) refused: Option<Box<str>>,
    /// What client messages were kept back for is answered: call [`super::Conversation::client`], without bytes if need be.
    pub resume_client: bool,
}

/// A backend's answer to a replay of settings.
#[derive(Debug, PartialEq, Eq)]
pub struct Replayed {
    /// Where, in the given bytes, the answer ends; nothing of it goes to the client.
    pub at: usize,
    /// How many ParameterStatus messages of the given bytes come before.
    pub parameters: usize,
    /// Why it does not.
    pub refused: Option<Box<str>>,
}

/// A place in a server's bytes that is not forwarded as it is.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Edit {
    /// Bytes from here …
    pub from: usize,
    /// … to here go to nobody.
    pub to: usize,
    /// These go to the client instead.
    pub instead: Vec<u8>,
}

/// What a conversation needs of the lent backend.
pub struct Lent<'a> {
    /// Its book of statements.
    pub held: &'a mut Held,
    /// Gets name and value of each ParameterStatus.
    pub on_parameter: &'a mut dyn FnMut(&[u8], &[u8]),
    /// What the server calls this connection in notifications, and what it is to be called to the client.
    pub pids: Option<shown::Pids>,
}

impl FromServer {
    /// `from..to` of the given bytes goes to nobody.
    pub(super) fn skip(&mut self, from: usize, to: usize) {
        match self.edits.last_mut() {
            _ if from == to => {}
            Some(last) if last.to == from && last.instead.is_empty() => last.to = to,
            _ => self.edits.push(Edit {
                from,
                to,
                instead: Vec::new(),
            }),
        }
    }

    /// At `at` of the given bytes something of weir's own goes to the client.
    pub(super) fn insert(&mut self, at: usize, bytes: Vec<u8>) {
        match self.edits.last_mut() {
            Some(last) if last.to == at => last.instead.extend(bytes),
            _ => self.edits.push(Edit {
                from: at,
                to: at,
                instead: bytes,
            }),
        }
    }
}
