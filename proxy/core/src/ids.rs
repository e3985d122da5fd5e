//! Names of things: connections, shards, groups, instants.
//!
//! A connection is named by slot and generation, never by reference. A stale name is answered with "gone", not a panic.

/// A connection of one shard: a client, a backend or a cancel errand. Slots are reused, generations are not (they wrap
/// after 2^32 reuses of one slot).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct ConnId {
    /// Index into the shard's table; small and dense, so a shell can index its own table with it.
    pub slot: u32,
    /// How often the slot has been used before.
    pub generation: u32,
}

/// One thread on one core, numbered from 0. At most [`crate::limits::SHARDS_MAX`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct ShardId(pub u16);

/// A target group, by its place in [`crate::settings::Settings::groups`]. Places keep their meaning over a reload.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct GroupId(pub u16);

/// A listener, by its place in [`crate::settings::Settings::listeners`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct ListenerId(pub u16);

/// An instant: nanoseconds on one monotonic clock that all shards of a process share.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord, Default)]
pub struct Now(pub u64);

impl Now {
    /// The instant `by` later; saturates at the end of time.
    #[must_use]
    pub fn after(self, by: core::time::Duration) -> Now {
        Now(self
            .0
            .saturating_add(u64::try_from(by.as_nanos()).unwrap_or(u64::MAX)))
    }

    /// Time from `earlier` to here; zero when `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Now) -> core::time::Duration {
        core::time::Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}
