//! Mail between threads: values put down by anyone, taken by the shard that they are for. Not on the query path.

use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};

use weir_core::ids::{ConnId, ShardId};
use weir_core::seam::Mail;
use weir_core::settings::Settings;

use crate::io::Waker;
use crate::tls::TlsContexts;
use crate::tls::session::Session;

/// What a shard may be told.
pub(crate) enum Letter<B> {
    /// From another shard's core.
    Mail { from: ShardId, body: Mail },
    /// A backend comes over, with its socket and TLS state.
    Moved {
        body: B,
        fd: OwnedFd,
        tls: Option<Box<Session>>,
    },
    /// A backend was lost on its way.
    MoveFailed { body: B },
    /// A password hash is done.
    Hashed {
        conn: ConnId,
        salted_password: [u8; 32],
    },
    /// A new configuration.
    Reload {
        settings: Arc<Settings>,
        tls: TlsContexts,
    },
    /// Accept no one, close clients as they become idle.
    Drain,
    /// End the thread.
    Stop,
}

/// Where letters for one shard lie.
pub(crate) struct Mailbox<B> {
    letters: Mutex<Vec<Letter<B>>>,
    waker: Waker,
}

impl<B> Mailbox<B> {
    pub(crate) fn new(waker: Waker) -> Mailbox<B> {
        Mailbox {
            letters: Mutex::new(Vec::new()),
            waker,
        }
    }

    /// Puts a letter down and wakes the shard if it may be asleep.
    pub(crate) fn put(&self, letter: Letter<B>) {
        let mut letters = self.letters.lock().unwrap_or_else(PoisonError::into_inner);
        let first = letters.is_empty();
        letters.push(letter);
        drop(letters);
        if first {
            self.waker.wake();
        }
    }

    /// Takes all letters, in the order in which they came, into `into`, which must be empty.
    pub(crate) fn take(&self, into: &mut Vec<Letter<B>>) {
        let mut letters = self.letters.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::swap(&mut *letters, into);
    }
}
