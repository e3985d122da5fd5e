//! Why a session keeps its backend: the pin reasons and the set of them.
//!
//! This room only names the reasons, and says about them what the documentation does. What statement brings which reason is
//! decided in [`crate::sql`]; what a pin does to lending is decided in [`crate::session`].

/// What is said about a reason in `docs/pinning.md`.
#[derive(Clone, Copy, Debug)]
pub struct About {
    /// What brings it.
    pub what: &'static str,
    /// Why it can't be shared.
    pub why: &'static str,
    /// When it ends, besides with the session.
    pub until: &'static str,
    /// How to do without.
    pub instead: &'static str,
}

macro_rules! reasons {
    ($( $(#[$doc:meta])* $name:ident = $bit:expr, $text:expr,
        $what:expr, $why:expr, $until:expr, $instead:expr; )*) => {
        /// One reason why a session keeps its backend. The text is the same in logs, metrics and docs.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum PinReason { $( $(#[$doc])* $name = $bit, )* }

        impl PinReason {
            /// Every reason, in the order of the documentation.
            pub const ALL: &'static [PinReason] = &[ $( PinReason::$name, )* ];

            /// The reason's name in logs, metrics (label `reason`) and docs.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $( PinReason::$name => $text, )* }
            }

            /// What is said about it in the docs.
            #[must_use]
            pub const fn about(self) -> About {
                match self {
                    $( PinReason::$name => About {
                        what: $what, why: $why, until: $until, instead: $instead,
                    }, )*
                }
            }
        }
    };
}

const ALL_ONLY: &str = "`DISCARD ALL`";
const ASKED: &str =
    "the server says that the session has none any more; weir asks when one may have ended";
const NEVER: &str = "–";

reasons! {
    /// A setting that can't be followed, see [`crate::sql::postgres::settings`].
    Setting = 0, "setting",
        "`SET`, `RESET`, `set_config()` of a setting or in a form that weir can't follow (see below)",
        "only its server connection knows the value", ALL_ONLY,
        "`SET`, `SET LOCAL` or `set_config()` with plain literals; settings in the startup packet or by `ALTER ROLE`";
    /// The server reported a changed parameter (`ParameterStatus`) that no statement in sight explains.
    ParameterChanged = 1, "parameter_changed",
        "the server reports a changed parameter that no statement in sight explains (a function with `set_config`)",
        "only its server connection knows the value", ALL_ONLY, "`SET` in a statement of its own";
    /// Names of statements that the server keeps: `PREPARE` in SQL, and what can't be shared.
    PreparedStatement = 2, "prepared_statement",
        "`PREPARE`, `EXECUTE`, `DEALLOCATE` of such a statement, a look at `pg_prepared_statements`; too many or too large named statements",
        "the names are the server's", ALL_ONLY, "named statements of the protocol, as drivers prepare them: they are shared";
    /// An unnamed statement that was parsed in one round trip to be bound in a later one.
    UnnamedStatement = 3, "unnamed_statement",
        "the unnamed statement, parsed in one round trip to be bound in a later one",
        "a server connection has one unnamed statement", "another Parse or a simple query replaces it",
        "Parse, Bind and Execute in one round trip, or a named statement";
    /// `CREATE TEMP …`, `SELECT … INTO TEMP`, `CREATE … pg_temp.…`.
    TemporaryObject = 4, "temporary_object",
        "`CREATE TEMP …`, `SELECT … INTO TEMP`, anything in `pg_temp`", "it exists on its server connection only", ASKED,
        "`ON COMMIT DROP`, or `DROP` or `DISCARD TEMP` when done; common table expressions, unlogged tables";
    /// `LISTEN`.
    Listen = 5, "listen",
        "`LISTEN`", "notifications come on its server connection", ASKED,
        "one connection that listens for all; `UNLISTEN` when done";
    /// Session advisory locks.
    AdvisoryLock = 6, "advisory_lock",
        "`pg_advisory_lock`, `pg_try_advisory_lock` and their `_shared` forms", "the lock is its server connection's", ASKED,
        "`pg_advisory_xact_lock` and its like, which end with the transaction";
    /// `DECLARE … WITH HOLD`.
    HoldCursor = 7, "hold_cursor",
        "`DECLARE … WITH HOLD`", "the rows are kept by its server connection", ASKED,
        "a cursor within a transaction; `CLOSE` when done";
    /// `LOAD`, `CREATE EXTENSION`, and other statements that load code into the server process.
    Load = 8, "load",
        "`LOAD`, `CREATE EXTENSION`, functions in C and the like", "code stays loaded in its server process", NEVER,
        "`session_preload_libraries` by `ALTER ROLE`; migrations on a connection of their own";
    /// `nextval`, `setval`, `currval`, `lastval`.
    Sequence = 9, "sequence",
        "`nextval`, `setval`, `currval`, `lastval`; in sessions of a kind that has asked for `currval` before, also adding rows",
        "`currval` and `lastval` answer what its server connection remembers, and no server can be asked whether it does",
        "`DISCARD SEQUENCES`, `DISCARD ALL`", "`INSERT … RETURNING`, identity columns";
    /// `setseed()`.
    RandomSeed = 10, "random_seed",
        "`setseed()`", "`random()` goes on from it, and nothing takes it back", NEVER, "a random number of the client's own";
    /// `DISCARD ALL` that could not be followed.
    Discard = 11, "discard",
        "`DISCARD ALL` in a named statement or in a text that can't be read for sure", "what it undoes is not known to weir",
        ALL_ONLY, "`DISCARD ALL` as a statement of its own, which pins nothing";
    /// `DO`, `CALL`, or a function that is not one of PostgreSQL's own: what it does to the session can't be known.
    UnknownCode = 12, "unknown_code",
        "`DO`, `CALL`, functions that are not PostgreSQL's own", "what they do to the session can't be seen", NEVER,
        "plain statements; views instead of functions";
    /// A statement longer than [`crate::limits::LONG_STATEMENT_MAX`], passed through unread; or a long one that should have been read before.
    LargeStatement = 13, "large_statement",
        "a statement of more than 256 KiB; or a long one that should have been read before it went on", "what it does is not seen, or not in time", NEVER,
        "parameters instead of literals; `COPY`";
    /// A statement that the lexer does not know, or can't read to its end.
    UnknownStatement = 14, "unknown_statement",
        "a statement that weir does not know, or can't read to its end", "what it does can't be seen", NEVER,
        "plain PostgreSQL statements";
    /// A function called through the function-call message.
    FunctionCall = 15, "function_call",
        "the protocol's function call, but for large objects", "what the function does can't be seen", NEVER, "`SELECT`";
}

/// Reasons that end when what they are for is gone, which the server can be asked about: see [`crate::wire::write_question`].
pub const ASKABLE: Pins = Pins::all_of(&[
    PinReason::TemporaryObject,
    PinReason::Listen,
    PinReason::AdvisoryLock,
    PinReason::HoldCursor,
]);

/// Reasons that no reset undoes: what the session has done may live on in the server process, so the backend is closed.
pub const BEYOND_RESET: Pins = Pins::all_of(&[
    PinReason::Load,
    PinReason::RandomSeed,
    PinReason::UnknownCode,
    PinReason::FunctionCall,
    PinReason::LargeStatement,
    PinReason::UnknownStatement,
]);

/// A set of pin reasons: one bit each, by the reason's number.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Pins(pub u32);

impl Pins {
    /// No reason at all.
    pub const NONE: Pins = Pins(0);

    /// Every reason there can be.
    pub const ALL: Pins = Pins(u32::MAX);

    /// The set that holds one reason.
    #[must_use]
    pub const fn of(reason: PinReason) -> Pins {
        Pins(1 << reason as u8)
    }

    /// The set that holds these reasons.
    #[must_use]
    pub const fn all_of(reasons: &[PinReason]) -> Pins {
        let mut all = Pins::NONE;
        let mut rest = reasons;
        while let [reason, others @ ..] = rest {
            all.add(Pins::of(*reason));
            rest = others;
        }
        all
    }

    /// Whether nothing pins.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether `reason` is in the set.
    #[must_use]
    pub const fn has(self, reason: PinReason) -> bool {
        self.0 & (1 << reason as u8) != 0
    }

    /// Adds every reason of `other`.
    pub const fn add(&mut self, other: Pins) {
        self.0 |= other.0;
    }

    /// Takes one reason out.
    pub const fn remove(&mut self, reason: PinReason) {
        self.0 &= !(1 << reason as u8);
    }

    /// The reasons of `self` that are not in `other`.
    #[must_use]
    pub const fn without(self, other: Pins) -> Pins {
        Pins(self.0 & !other.0)
    }

    /// The reasons that are in both.
    #[must_use]
    pub const fn both(self, other: Pins) -> Pins {
        Pins(self.0 & other.0)
    }

    /// The reasons in the set.
    pub fn iter(self) -> impl Iterator<Item = PinReason> {
        PinReason::ALL.iter().copied().filter(move |r| self.has(*r))
    }
}

#[cfg(test)]
mod tests;
