//! Which shared statements one backend has prepared.

use std::collections::HashMap;

use super::catalog::Hash;
use crate::limits::STATEMENTS_PER_BACKEND_MAX;

/// What a backend's book says of one content.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Holding {
    /// Not prepared.
    Absent,
    /// A Parse is under way.
    Asked,
    /// Prepared.
    There,
    /// A Close is under way, to make room.
    Leaving,
    /// It may be there or not.
    Doubtful,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    holding: Holding,
    /// When it was last used, by [`Held::clock`].
    used: u64,
}

/// One backend's book. Nothing on the heap until the first named statement.
#[derive(Default, Debug)]
pub struct Held {
    book: Option<Box<Book>>,
}

#[derive(Default, Debug)]
struct Book {
    entries: HashMap<Hash, Entry>,
    clock: u64,
}

impl Held {
    /// What is known of a content; counts as a use of it.
    pub fn look(&mut self, hash: Hash) -> Holding {
        let Some(book) = self.book.as_deref_mut() else {
            return Holding::Absent;
        };
        book.clock += 1;
        match book.entries.get_mut(&hash) {
            Some(entry) => {
                entry.used = book.clock;
                entry.holding
            }
            None => Holding::Absent,
        }
    }

    /// A Parse has been sent.
    pub fn asked(&mut self, hash: Hash) {
        self.set(hash, Holding::Asked);
    }

    /// The Parse has been answered well.
    pub fn confirmed(&mut self, hash: Hash) {
        self.set(hash, Holding::There);
    }

    fn set(&mut self, hash: Hash, holding: Holding) {
        let book = self.book.get_or_insert_default();
        book.clock += 1;
        let used = book.clock;
        book.entries.insert(hash, Entry { holding, used });
    }

    /// The Parse has failed, or was skipped behind an error.
    pub fn refused(&mut self, hash: Hash) {
        self.change(hash, |was| match was {
            Holding::Asked => None,
            other => Some(other),
        });
    }

    /// A Close has been sent.
    pub fn leaving(&mut self, hash: Hash) {
        self.change(hash, |_| Some(Holding::Leaving));
    }

    /// The Close has been answered.
    pub fn left(&mut self, hash: Hash) {
        self.change(hash, |was| match was {
            // Asked for again behind the Close.
            Holding::Asked => Some(Holding::Asked),
            _ => None,
        });
    }

    /// The Close was skipped behind an error, and a Parse behind it too.
    pub fn stayed(&mut self, hash: Hash) {
        self.change(hash, |_| Some(Holding::Doubtful));
    }

    /// It can't be told any more whether the content is there.
    pub fn doubt(&mut self, hash: Hash) {
        self.set(hash, Holding::Doubtful);
    }

    /// It can't be told any more of any content.
    pub fn doubt_all(&mut self) {
        for entry in self.book.iter_mut().flat_map(|b| b.entries.values_mut()) {
            entry.holding = Holding::Doubtful;
        }
    }

    fn change(&mut self, hash: Hash, to: impl FnOnce(Holding) -> Option<Holding>) {
        let Some(book) = self.book.as_deref_mut() else {
            return;
        };
        let Some(entry) = book.entries.get_mut(&hash) else {
            return;
        };
        match to(entry.holding) {
            Some(holding) => entry.holding = holding,
            None => {
                book.entries.remove(&hash);
            }
        }
    }

    /// The content to close before another one is prepared: the one whose last use is the longest ago, when there is no room.
    #[must_use]
    pub fn to_evict(&self) -> Option<Hash> {
        let book = self.book.as_deref()?;
        if book.entries.len() < STATEMENTS_PER_BACKEND_MAX {
            return None;
        }
        let settled = book
            .entries
            .iter()
            .filter(|(_, e)| matches!(e.holding, Holding::There | Holding::Doubtful));
        settled.min_by_key(|(_, e)| e.used).map(|(hash, _)| *hash)
    }

    /// Everything that may be there.
    #[must_use]
    pub fn all(&self) -> Vec<Hash> {
        let mut all: Vec<Hash> = self
            .book
            .iter()
            .flat_map(|b| b.entries.keys().copied())
            .collect();
        all.sort_unstable();
        all
    }

    /// The backend has been reset.
    pub fn clear(&mut self) {
        self.book = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_recently_used_makes_room() {
        let mut held = Held::default();
        for hash in 0..STATEMENTS_PER_BACKEND_MAX as Hash {
            assert_eq!(held.to_evict(), None);
            held.asked(hash);
            held.confirmed(hash);
        }
        assert_eq!(held.to_evict(), Some(0));
        assert_eq!(held.look(0), Holding::There);
        assert_eq!(held.to_evict(), Some(1));
        held.leaving(1);
        assert_eq!(held.to_evict(), Some(2));
        held.left(1);
        assert_eq!(held.to_evict(), None);
    }

    #[test]
    fn a_refused_parse_leaves_nothing_and_a_skipped_close_a_doubt() {
        let mut held = Held::default();
        held.asked(1);
        held.refused(1);
        assert_eq!(held.look(1), Holding::Absent);
        held.asked(1);
        held.confirmed(1);
        held.refused(1);
        assert_eq!(held.look(1), Holding::There);
        held.leaving(1);
        held.asked(1);
        held.left(1);
        assert_eq!(held.look(1), Holding::Asked);
        held.confirmed(1);
        held.leaving(1);
        held.stayed(1);
        assert_eq!(held.look(1), Holding::Doubtful);
    }
}
