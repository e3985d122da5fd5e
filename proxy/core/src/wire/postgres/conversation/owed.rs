//! Replies owed: a queue with one byte for each message whose answer has not come yet.
//!
//! This room stores and orders; what an entry means for the exchange is decided in [`super::exchange`].

use std::collections::VecDeque;

/// Entries kept without a heap: two batches of a driver fit, and a client with nothing in flight stays small.
const INLINE: usize = 10;

/// What was sent to the server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// Simple query; ends with ReadyForQuery.
    Query,
    /// Function call; ends with ReadyForQuery.
    Function,
    /// Sync; ends with ReadyForQuery.
    Sync,
    /// Parse of a named statement.
    Parse,
    /// Parse of the unnamed statement.
    ParseUnnamed,
    /// Bind.
    Bind,
    /// Close of a portal or a named statement.
    Close,
    /// Close of the unnamed statement.
    CloseUnnamed,
    /// Close of the unnamed statement that weir itself put in; the answer is swallowed.
    OurClose,
    /// Parse of a named statement, under its content's name.
    SharedParse,
    /// Parse of a named statement that the backend has: not sent, weir answers.
    KnownParse,
    /// Close of a named statement: not sent, weir answers.
    KnownClose,
    /// Parse of a shared statement that weir itself put in; the answer is swallowed, an error is the client's.
    OurParse,
    /// Close of a shared statement that weir itself put in; the answer is swallowed.
    Evict,
    /// Close or Parse of one of the session's own names that weir itself put in, in the middle of a batch of the client's; the
    /// answer is swallowed, an error is the client's.
    Native,
    /// The same in a batch of weir's own; an error is swallowed too.
    NativeQuiet,
    /// Sync of a batch of weir's own; the answer is swallowed.
    OurSync,
    /// One of the messages that begin the transaction in which a backend is brought to the session's settings; each has one answer, which
    /// is swallowed.
    OurBegin,
    /// The query that brings a backend to the session's settings; all of its answer is swallowed.
    OurQuery,
    /// The query that asks whether the session still has what it is pinned for; all of its answer is swallowed.
    OurQuestion,
    /// Describe of a statement or a portal.
    Describe,
    /// Describe of a shared statement whose result is to be remembered.
    SharedDescribe,
    /// Describe of a shared statement that weir itself put in; the answer is swallowed, an error is the client's.
    Probe,
    /// Execute.
    Execute,
    /// CopyDone: no answer of its own, but it ends a COPY.
    CopyDone,
    /// CopyFail: no answer of its own, but it ends a COPY.
    CopyFail,
}

impl Kind {
    /// Whether the message has an answer that ReadyForQuery ends.
    pub(super) const fn ends_ready(self) -> bool {
        matches!(self, Kind::Query | Kind::Function | Kind::Sync)
    }

    /// Whether the message ends a COPY from the client and is ignored elsewhere.
    pub(super) const fn is_copy_end(self) -> bool {
        matches!(self, Kind::CopyDone | Kind::CopyFail)
    }

    /// Whether weir answers the message itself, in its place among the server's answers; says what.
    pub(super) const fn known_answer(self) -> Option<&'static [u8]> {
        match self {
            Kind::KnownParse => Some(b"1\0\0\0\x04"),
            Kind::KnownClose => Some(b"3\0\0\0\x04"),
            _ => None,
        }
    }

    /// Whether the message has an entry among what was asked about statements.
    pub(super) const fn is_asked(self) -> bool {
        matches!(
            self,
            Kind::SharedParse
                | Kind::KnownParse
                | Kind::KnownClose
                | Kind::OurParse
                | Kind::Evict
                | Kind::Native
                | Kind::NativeQuiet
                | Kind::SharedDescribe
                | Kind::Probe
        )
    }

    /// Whether the answer says what a shared statement's result is.
    pub(super) const fn is_described(self) -> bool {
        matches!(self, Kind::SharedDescribe | Kind::Probe)
    }

    /// Whether a server message of type `tag`, being the answer to this one, is for weir alone.
    pub(super) const fn swallows(self, tag: u8) -> bool {
        matches!(
            (self, tag),
            (Kind::OurClose | Kind::Evict, b'3')
                | (Kind::OurParse, b'1')
                | (Kind::Probe, b't' | b'T' | b'n')
                | (Kind::Native, b'1' | b'3')
                | (Kind::NativeQuiet, b'1' | b'3' | b'E')
                | (Kind::OurSync, b'Z')
                | (Kind::OurBegin, b'1' | b'2' | b'C' | b'E' | b'S' | b'N')
                | (Kind::OurQuery, b'C' | b'I' | b'E' | b'S' | b'N' | b'Z')
                | (Kind::OurQuestion, b'T' | b'D' | b'C' | b'E' | b'N' | b'Z')
        )
    }

    /// Whether the message is one of those that bring a backend to the session's settings.
    pub(super) const fn replays(self) -> bool {
        matches!(self, Kind::OurBegin | Kind::OurQuery)
    }

    /// Whether the message creates or destroys the unnamed statement.
    const fn changes_unnamed(self) -> bool {
        matches!(
            self,
            Kind::Query
                | Kind::OurQuestion
                | Kind::ParseUnnamed
                | Kind::CloseUnnamed
                | Kind::OurClose
        )
    }
}

/// The queue. The first entries live in a small ring; what does not fit there goes to a heap that is given back as soon as
/// it is empty.
#[derive(Debug)]
pub(super) struct Owed {
    ring: [Kind; INLINE],
    first: u8,
    count: u8,
    /// The number of the entry at the front: all entries are numbered.
    number: u32,
    /// Entries that change the unnamed statement.
    changers: u32,
    /// Entries that ReadyForQuery ends.
    cycles: u32,
    #[expect(
        clippy::box_collection,
        reason = "unboxed it would be a fifth of the room that a whole conversation may take"
    )]
    spill: Option<Box<VecDeque<Kind>>>,
}

impl Owed {
    pub(super) const fn new() -> Owed {
        Owed {
            ring: [Kind::Query; INLINE],
            first: 0,
            count: 0,
            number: 0,
            changers: 0,
            cycles: 0,
            spill: None,
        }
    }

    pub(super) fn len(&self) -> usize {
        usize::from(self.count) + self.spill.as_ref().map_or(0, |s| s.len())
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.count == 0 && self.spill.is_none()
    }

    /// Whether the fate of the unnamed statement depends on an answer that has not come.
    pub(super) const fn changes_unnamed(&self) -> bool {
        self.changers > 0
    }

    /// Whether the end of a batch, or a simple query, is still to be answered.
    pub(super) const fn ends_ready(&self) -> bool {
        self.cycles > 0
    }

    /// Entries that ReadyForQuery ends.
    pub(super) const fn cycles(&self) -> usize {
        self.cycles as usize
    }

    /// The entry `at` places behind the front.
    pub(super) fn get(&self, at: usize) -> Option<Kind> {
        let inline = usize::from(self.count);
        if at < inline {
            return self.ring.get(self.place(at)).copied();
        }
        self.spill.as_ref()?.get(at - inline).copied()
    }

    /// The number of the entry at the front.
    pub(super) const fn front_number(&self) -> u32 {
        self.number
    }

    /// The number that the next entry will have.
    pub(super) fn next_number(&self) -> u32 {
        let len = u32::try_from(self.len()).unwrap_or(u32::MAX);
        self.number.wrapping_add(len)
    }

    pub(super) fn front(&self) -> Option<Kind> {
        self.get(0)
    }

    pub(super) fn push(&mut self, kind: Kind) {
        self.changers += u32::from(kind.changes_unnamed());
        self.cycles += u32::from(kind.ends_ready());
        if let Some(spill) = &mut self.spill {
            spill.push_back(kind);
            return;
        }
        let place = self.place(usize::from(self.count));
        match self.ring.get_mut(place) {
            Some(slot) if usize::from(self.count) < INLINE => {
                *slot = kind;
                self.count += 1;
            }
            _ => self.spill = Some(Box::new(VecDeque::from([kind]))),
        }
    }

    /// Puts an entry in front of all others; must not be one that changes the unnamed statement or that ReadyForQuery ends for the
    /// client.
    pub(super) fn push_front(&mut self, kind: Kind) {
        if usize::from(self.count) == INLINE
            && let Some(last) = self.get(INLINE - 1)
        {
            self.spill.get_or_insert_default().push_front(last);
            self.count -= 1;
        }
        self.first = self.first.checked_sub(1).unwrap_or(INLINE as u8 - 1);
        self.count += 1;
        self.number = self.number.wrapping_sub(1);
        let place = self.place(0);
        if let Some(slot) = self.ring.get_mut(place) {
            *slot = kind;
        }
    }

    pub(super) fn pop(&mut self) -> Option<Kind> {
        let kind = self.take_front()?;
        self.number = self.number.wrapping_add(1);
        self.changers -= u32::from(kind.changes_unnamed());
        self.cycles -= u32::from(kind.ends_ready());
        Some(kind)
    }

    fn take_front(&mut self) -> Option<Kind> {
        if self.count > 0 {
            let kind = self.front();
            self.first = (self.first + 1) % INLINE as u8;
            self.count -= 1;
            return kind;
        }
        let spill = self.spill.as_mut()?;
        let kind = spill.pop_front();
        if spill.is_empty() {
            self.spill = None;
        }
        kind
    }

    /// Takes out the `count` entries right behind the front; the front stays.
    pub(super) fn remove_behind_front(&mut self, count: usize) {
        let Some(front) = self.front() else { return };
        for _ in 0..count {
            self.pop();
        }
        self.set_front(front);
    }

    fn set_front(&mut self, kind: Kind) {
        let Some(before) = self.front() else { return };
        self.changers -= u32::from(before.changes_unnamed());
        self.changers += u32::from(kind.changes_unnamed());
        self.cycles -= u32::from(before.ends_ready());
        self.cycles += u32::from(kind.ends_ready());
        let place = self.place(0);
        if self.count > 0 {
            if let Some(slot) = self.ring.get_mut(place) {
                *slot = kind;
            }
        } else if let Some(slot) = self.spill.as_mut().and_then(|s| s.front_mut()) {
            *slot = kind;
        }
    }

    pub(super) fn clear(&mut self) {
        *self = Owed::new();
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = Kind> + '_ {
        let inline = (0..usize::from(self.count)).filter_map(|at| self.get(at));
        inline.chain(self.spill.iter().flat_map(|s| s.iter().copied()))
    }

    fn place(&self, at: usize) -> usize {
        (usize::from(self.first) + at) % INLINE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KINDS: [Kind; 5] = [
        Kind::Query,
        Kind::Sync,
        Kind::Bind,
        Kind::CopyDone,
        Kind::Parse,
    ];

    #[test]
    fn keeps_order_through_ring_and_heap_and_gives_the_heap_back() {
        let mut owed = Owed::new();
        let mut model = VecDeque::new();
        let mut seed = 7_u32;
        for step in 0..20_000_u32 {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            // Swings between filling and draining so that both parts get full and empty.
            let filling = (step / 150) % 2 == 0;
            if (seed >> 16) % 4 < if filling { 3 } else { 1 } {
                let kind = KINDS[(seed >> 20) as usize % KINDS.len()];
                owed.push(kind);
                model.push_back(kind);
            } else {
                assert_eq!(owed.pop(), model.pop_front());
            }
            assert_eq!(owed.len(), model.len());
            assert_eq!(owed.is_empty(), model.is_empty());
            let changers = model.iter().filter(|k| k.changes_unnamed()).count();
            assert_eq!(owed.changers as usize, changers);
            let cycles = model.iter().filter(|k| k.ends_ready()).count();
            assert_eq!(owed.cycles as usize, cycles);
            assert_eq!(owed.get(model.len()), None);
            if step % 97 == 0 {
                assert!(owed.iter().eq(model.iter().copied()));
            }
        }
        while owed.pop().is_some() {}
        assert!(owed.spill.is_none());
    }

    #[test]
    fn an_entry_goes_in_front_of_all_others_and_keeps_their_numbers() {
        for before in [0, 1, INLINE - 1, INLINE, INLINE + 5] {
            for popped in [0, 1, 3] {
                let mut owed = Owed::new();
                for _ in 0..before + popped {
                    owed.push(Kind::Bind);
                }
                for _ in 0..popped {
                    owed.pop();
                }
                let (first, next) = (owed.front_number(), owed.next_number());
                owed.push_front(Kind::OurQuery);
                assert_eq!(owed.len(), before + 1);
                assert_eq!(owed.next_number(), next);
                assert_eq!(owed.pop(), Some(Kind::OurQuery));
                assert_eq!(owed.front_number(), first);
                let left: Vec<Kind> = core::iter::from_fn(|| owed.pop()).collect();
                assert_eq!(left, vec![Kind::Bind; before]);
                assert!(owed.is_empty());
            }
        }
    }

    #[test]
    fn takes_entries_out_behind_the_front() {
        for before in [0, 1, INLINE - 2, INLINE - 1, INLINE, INLINE + 5] {
            let mut owed = Owed::new();
            for _ in 0..before {
                owed.push(Kind::Bind);
            }
            for kind in [Kind::Query, Kind::Sync, Kind::CopyDone, Kind::Parse] {
                owed.push(kind);
            }
            for _ in 0..before {
                owed.pop();
            }
            owed.remove_behind_front(2);
            assert!(owed.iter().eq([Kind::Query, Kind::Parse]), "{before}");
            assert_eq!(owed.changers, 1);
        }
    }
}
