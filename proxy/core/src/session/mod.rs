//! One client: where it is in its life, what it waits for, what pins it.
//!
//! The books of one session, no more: what its bytes mean is the wire's business, who lends it a backend the shard's.
//! (Its ledger of settings that can be replayed is part of the wire's conversation, since it follows the server's answers.)

mod ends;

pub use ends::Ends;

use std::net::IpAddr;
use std::sync::Arc;

use crate::ids::{ConnId, GroupId, ListenerId, Now};
use crate::pins::{PinReason, Pins};
use crate::profile::{Known, Profile};
use crate::settings::TimeLimits;
use crate::timers::Timer;
use crate::wire::{ClientLogin, Conversation, Parameters};

/// Why a client is not being read; it is read when no bit is set.
pub mod hush {
    /// It waits for a backend and has said enough.
    pub const WAITING: u8 = 1;
    /// Its backend does not take more at present.
    pub const BACKEND_FULL: u8 = 2;
    /// Too many of its requests are unanswered.
    pub const OWED: u8 = 4;
}

/// Where a client is in its life.
pub enum Phase {
    /// Proving who it is.
    Login(Box<ClientLogin>),
    /// Proven, but no server of its profile has been asked yet what it says to clients.
    Joining,
    /// At work.
    Ready,
}

/// A wait for a backend.
#[derive(Clone, Copy, Debug)]
pub struct Wait {
    /// Tells this wait from earlier ones of the same client.
    pub ticket: u32,
    /// Since when.
    pub since: Now,
    /// In the pool's queue (else still at the gate of `max_borrowed_connections`).
    pub queued: bool,
}

/// Where the client stands with `max_borrowed_connections`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AtGate {
    /// No need, or not yet.
    Outside,
    /// Has asked.
    Asked,
    /// May hold a backend, or holds one.
    Inside,
}

/// One client.
pub struct Client {
    /// Where it came in.
    pub listener: ListenerId,
    /// Who serves it.
    pub group: GroupId,
    /// Where it comes from.
    pub peer: IpAddr,
    /// Its phase.
    pub phase: Phase,
    /// When it was accepted.
    pub accepted_at: Now,
    /// When it last said something or was last answered in full.
    pub active_at: Now,
    /// How long it may keep its backend for one transaction.
    pub limits: TimeLimits,
    /// When its present transaction may have begun: since then there has been one all the time, if there is one.
    pub began_at: Now,
    /// Its transaction has lasted too long: since when its statement has been being cancelled.
    pub overran_at: Option<Now>,
    /// Secret of its cancel key; short keys are its first four bytes.
    pub secret: [u8; 32],
    /// Speaks a protocol with long cancel keys.
    pub long_key: bool,
    /// What backends can serve it; known after login.
    pub profile: Option<Arc<Profile>>,
    /// The server parameters that it has been told.
    pub told: Option<Arc<Known>>,
    /// What it has been told since then and differs.
    pub heard: Parameters,
    /// What its byte stream is in the middle of.
    pub conversation: Conversation,
    /// The backend it has.
    pub lent: Option<ConnId>,
    /// Its wait for one.
    pub wait: Option<Wait>,
    /// Counts waits.
    pub tickets: u32,
    /// Where it stands with `max_borrowed_connections`.
    pub gate: AtGate,
    /// Requests that wait for a backend.
    pub pending: Vec<u8>,
    /// What of them is sent depends on the backend.
    pub pending_by_name: bool,
    /// Why it keeps its backend.
    pub pins: Pins,
    /// Since when, and what may end it.
    pub ends: Ends,
    /// What it has left on its backend without being pinned for it: the backend is reset before anyone else has it.
    pub left: Pins,
    /// Why it is not being read: bits of [`hush`].
    pub hush: u8,
    /// Its socket is full: its backend is not being read.
    pub congested: bool,
    /// What it asks depends on what the session did before: a backend that others have used is reset first.
    pub wants_fresh: bool,
    /// A cancel request came while it waited, for requests that can't be answered without a server.
    pub cancel_when_lent: bool,
    /// The backend has said goodbye and the client has been told.
    pub bereaved: bool,
    /// Its timer.
    pub timer: Timer,
}

impl Client {
    /// A client that has just connected.
    #[must_use]
    pub fn new(
        listener: ListenerId,
        group: GroupId,
        peer: IpAddr,
        login: ClientLogin,
        secret: [u8; 32],
        now: Now,
    ) -> Client {
        Client {
            listener,
            group,
            peer,
            phase: Phase::Login(Box::new(login)),
            accepted_at: now,
            active_at: now,
            limits: TimeLimits::default(),
            began_at: now,
            overran_at: None,
            secret,
            long_key: false,
            profile: None,
            told: None,
            heard: Parameters::new(),
            conversation: Conversation::new(),
            lent: None,
            wait: None,
            tickets: 0,
            gate: AtGate::Outside,
            pending: Vec::new(),
            pending_by_name: false,
            pins: Pins::NONE,
            ends: Ends::default(),
            left: Pins::NONE,
            hush: 0,
            congested: false,
            wants_fresh: false,
            cancel_when_lent: false,
            bereaved: false,
            timer: Timer::default(),
        }
    }

    /// Logged in, or at least proven.
    #[must_use]
    pub fn proven(&self) -> bool {
        !matches!(self.phase, Phase::Login(_))
    }

    /// Why it keeps its backend when its present requests are answered.
    #[must_use]
    pub fn holds(&self) -> Pins {
        let mut pins = self.pins;
        if self.conversation.holds_unnamed() {
            pins.add(Pins::of(PinReason::UnnamedStatement));
        }
        pins
    }

    /// A new wait.
    pub fn begin_wait(&mut self, now: Now) -> u32 {
        self.tickets = self.tickets.wrapping_add(1);
        self.wait = Some(Wait {
            ticket: self.tickets,
            since: now,
            queued: false,
        });
        self.tickets
    }

    /// The cancel secret as the client knows it.
    #[must_use]
    pub fn cancel_secret(&self) -> &[u8] {
        if self.long_key {
            &self.secret
        } else {
            self.secret.get(..4).unwrap_or(&[])
        }
    }

    /// Since when weir has waited for it to say something: since `now`, if weir does not.
    #[must_use]
    pub fn silent_since(&self, now: Now) -> Now {
        if self.quiet() { self.active_at } else { now }
    }

    /// Nothing of it is under way: it could be closed without harm.
    #[must_use]
    pub fn quiet(&self) -> bool {
        self.wait.is_none() && self.pending.is_empty() && self.conversation.owes_nothing()
    }
}
