//! What a request does to its session's settings, if the server does it.

use std::collections::VecDeque;

use crate::sql::postgres::settings::{Change, Discard, Point};

/// What a request does, if the server does it.
#[derive(Clone, Debug)]
pub enum Fact {
    /// It changes settings.
    Changes(Vec<Change>),
    /// It ends the transaction or moves in it.
    Point(Point),
    /// It discards.
    Discard(Discard),
    /// It is a simple query of several statements: what each of them does, in order.
    Several(VecDeque<Option<Fact>>),
}

impl Fact {
    /// Changes of settings that it makes.
    pub fn changes(&self) -> impl Iterator<Item = &Change> {
        let several = match self {
            Fact::Several(facts) => Some(facts),
            _ => None,
        };
        let inner = several.into_iter().flatten().flatten();
        self.own_changes()
            .iter()
            .chain(inner.flat_map(Fact::own_changes))
    }

    fn own_changes(&self) -> &[Change] {
        match self {
            Fact::Changes(changes) => changes,
            _ => &[],
        }
    }

    /// Whether it must not be run without being noticed.
    pub(super) fn sets(&self) -> bool {
        matches!(
            self,
            Fact::Changes(_) | Fact::Several(_) | Fact::Discard(Discard::All)
        )
    }
}

/// Where a Bind takes what its portal does from.
#[derive(Debug)]
pub enum Bound {
    /// The unnamed statement, or perhaps.
    Unnamed,
    /// A named one, which does this.
    Named(Option<Fact>),
}
