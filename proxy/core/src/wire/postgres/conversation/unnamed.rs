//! The unnamed statement of the extended protocol, of which every server process has one.
//!
//! A session must only ever bind the unnamed statement that it parsed itself. A backend that was lent before may hold another
//! session's, and a Parse may fail or be skipped and leave that one in place. So two views are kept: what the server has
//! confirmed, and what the client's next message can rely on.

/// What the client's next message can rely on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Place {
    /// Not there, or another session's.
    Absent,
    /// Parsed earlier in the same batch: when that Parse is skipped, what follows up to the Sync is skipped too.
    Batch,
    /// Parsed in an earlier batch whose fate is not known yet.
    Unknown,
    /// The server has it, and it is this session's.
    Confirmed,
}

/// What has to happen to a Bind or Describe of the unnamed statement.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Use {
    /// It finds this session's statement, or fails together with it.
    Safe,
    /// It would find another session's: close that one first.
    CloseFirst,
    /// It can't be told before the server has answered.
    Wait,
}

/// Both views, and whether the session needs its backend because of the statement.
#[derive(Debug)]
pub(super) struct Unnamed {
    place: Place,
    /// The server has confirmed that the statement is this session's.
    ours: bool,
    /// Parsed in this round trip, not bound since.
    unbound: bool,
    /// A batch ended with the statement unbound, whether that batch has been answered yet or not.
    crossed: bool,
    /// A round trip ended with the statement unbound: it waits for a later Bind.
    held: bool,
}

impl Unnamed {
    pub(super) const fn new() -> Unnamed {
        Unnamed {
            place: Place::Absent,
            ours: false,
            unbound: false,
            crossed: false,
            held: false,
        }
    }

    /// The client parses the statement.
    pub(super) fn parse(&mut self) {
        self.place = Place::Batch;
        self.unbound = true;
        self.crossed = false;
    }

    /// What a Bind or Describe of the statement needs; `open` means that an answer is under way that may change it.
    pub(super) fn wanted(&self, open: bool) -> Use {
        match self.place {
            Place::Batch | Place::Confirmed => Use::Safe,
            Place::Unknown if open => Use::Wait,
            Place::Unknown if self.ours => Use::Safe,
            Place::Unknown | Place::Absent => Use::CloseFirst,
        }
    }

    /// The client binds the statement.
    pub(super) fn bind(&mut self) {
        if self.unbound {
            // Parsed and bound in one round trip: nothing to keep it for.
            self.unbound = false;
            self.held = false;
        }
    }

    /// The client sends what destroys the statement: a simple query or a Close.
    pub(super) fn end(&mut self) {
        self.place = Place::Absent;
        self.unbound = false;
        self.crossed = false;
        self.held = false;
    }

    /// The client's batch ends here.
    pub(super) fn sync(&mut self) {
        if self.place == Place::Batch {
            self.place = Place::Unknown;
        }
        self.crossed |= self.unbound;
    }

    /// The server answered a Parse of the statement, or what destroys it.
    pub(super) fn confirmed(&mut self, there: bool) {
        self.ours = there;
    }

    /// Everything is answered, so the server's view holds; `idle` means that no transaction is open either.
    pub(super) fn settle(&mut self, idle: bool) {
        if self.ours {
            self.place = Place::Confirmed;
        } else {
            self.end();
        }
        // Bound in a later batch that was sent without waiting for the first: there may be more to come, as if it had waited.
        let bound_later = core::mem::take(&mut self.crossed) && !self.unbound;
        if idle && (self.unbound || bound_later) && self.place != Place::Absent {
            self.unbound = false;
            self.held = true;
        }
    }

    /// Whether the backend must be kept for the statement.
    pub(super) const fn holds(&self) -> bool {
        self.held || self.unbound
    }
}
