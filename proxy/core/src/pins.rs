//! Why a session keeps its backend: the pin reasons and the set of them.
//!
//! This room only names the reasons. What statement brings which reason is decided in [`crate::sql`]; what a pin does
//! to lending is decided in [`crate::session`].

macro_rules! reasons {
    ($( $(#[$doc:meta])* $name:ident = $bit:expr, $text:expr; )*) => {
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
        }
    };
}

reasons! {
    /// `SET`, `RESET`, `SET SESSION CHARACTERISTICS`, `SET ROLE`, `set_config(.., false)`.
    Setting = 0, "setting";
    /// The server reported a changed parameter (`ParameterStatus`) that no statement in sight explains.
    ParameterChanged = 1, "parameter_changed";
    /// A named statement of the extended protocol, or `PREPARE`.
    PreparedStatement = 2, "prepared_statement";
    /// An unnamed statement that was parsed in one round trip to be bound in a later one.
    UnnamedStatement = 3, "unnamed_statement";
    /// `CREATE TEMP …`, `SELECT … INTO TEMP`, `CREATE … pg_temp.…`.
    TemporaryObject = 4, "temporary_object";
    /// `LISTEN` (and `UNLISTEN`, whose effect is on session state).
    Listen = 5, "listen";
    /// Session advisory locks.
    AdvisoryLock = 6, "advisory_lock";
    /// `DECLARE … WITH HOLD`.
    HoldCursor = 7, "hold_cursor";
    /// `LOAD`, `CREATE EXTENSION`, and other statements that load code into the server process.
    Load = 8, "load";
    /// `nextval`, `setval`, `currval`, `lastval`.
    Sequence = 9, "sequence";
    /// `setseed()`.
    RandomSeed = 10, "random_seed";
    /// `DISCARD`.
    Discard = 11, "discard";
    /// `DO`, `CALL`, or a function that is not one of PostgreSQL's own: what it does to the session can't be known.
    UnknownCode = 12, "unknown_code";
    /// A statement longer than [`crate::limits::LONG_STATEMENT_MAX`], passed through unread; or a long one that should have been read before.
    LargeStatement = 13, "large_statement";
    /// A statement that the lexer does not know, or can't read to its end.
    UnknownStatement = 14, "unknown_statement";
    /// A function called through the function-call message.
    FunctionCall = 15, "function_call";
}

/// Reasons that end when what they are for is gone, which the server can be asked about: see [`crate::wire::write_question`].
pub const ASKABLE: Pins = Pins(
    Pins::of(PinReason::TemporaryObject).0
        | Pins::of(PinReason::Listen).0
        | Pins::of(PinReason::AdvisoryLock).0
        | Pins::of(PinReason::HoldCursor).0,
);

/// Reasons that no reset undoes: what the session has done may live on in the server process, so the backend is closed.
pub const BEYOND_RESET: Pins = Pins(
    Pins::of(PinReason::Load).0
        | Pins::of(PinReason::RandomSeed).0
        | Pins::of(PinReason::UnknownCode).0
        | Pins::of(PinReason::FunctionCall).0
        | Pins::of(PinReason::LargeStatement).0
        | Pins::of(PinReason::UnknownStatement).0,
);

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
