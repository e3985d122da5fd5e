//! The table of connections: slots with generations, so that a stale name finds nothing.

use crate::ids::ConnId;

struct Slot<T> {
    generation: u32,
    value: Option<T>,
}

/// Slots that are used again, under a new generation each time.
pub struct Table<T> {
    slots: Vec<Slot<T>>,
    free: Vec<u32>,
    len: usize,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Table {
            slots: Vec::new(),
            free: Vec::new(),
            len: 0,
        }
    }
}

impl<T> Table<T> {
    /// Puts a value in and names it.
    pub fn insert(&mut self, value: T) -> ConnId {
        self.len += 1;
        if let Some(slot) = self.free.pop()
            && let Some(entry) = self.slots.get_mut(slot as usize)
        {
            entry.value = Some(value);
            return ConnId {
                slot,
                generation: entry.generation,
            };
        }
        let slot = u32::try_from(self.slots.len()).unwrap_or(u32::MAX);
        self.slots.push(Slot {
            generation: 0,
            value: Some(value),
        });
        ConnId {
            slot,
            generation: 0,
        }
    }

    /// The value of that name, if it is still there.
    #[must_use]
    pub fn get(&self, id: ConnId) -> Option<&T> {
        let entry = self.slots.get(id.slot as usize)?;
        if entry.generation == id.generation {
            entry.value.as_ref()
        } else {
            None
        }
    }

    /// The value of that name, if it is still there.
    pub fn get_mut(&mut self, id: ConnId) -> Option<&mut T> {
        let entry = self.slots.get_mut(id.slot as usize)?;
        if entry.generation == id.generation {
            entry.value.as_mut()
        } else {
            None
        }
    }

    /// Two different values at once.
    pub fn pair_mut(&mut self, a: ConnId, b: ConnId) -> Option<(&mut T, &mut T)> {
        let [left, right] = self
            .slots
            .get_disjoint_mut([a.slot as usize, b.slot as usize])
            .ok()?;
        if left.generation != a.generation || right.generation != b.generation {
            return None;
        }
        Some((left.value.as_mut()?, right.value.as_mut()?))
    }

    /// Takes a value out while keeping its name; to be put back with [`Table::put_back`] before anything else happens.
    pub fn take(&mut self, id: ConnId) -> Option<T> {
        let entry = self.slots.get_mut(id.slot as usize)?;
        if entry.generation == id.generation {
            entry.value.take()
        } else {
            None
        }
    }

    /// Puts back what was taken with [`Table::take`].
    pub fn put_back(&mut self, id: ConnId, value: T) {
        if let Some(entry) = self.slots.get_mut(id.slot as usize)
            && entry.generation == id.generation
        {
            entry.value = Some(value);
        }
    }

    /// Takes a value out; its name is stale from here on.
    pub fn remove(&mut self, id: ConnId) -> Option<T> {
        let entry = self.slots.get_mut(id.slot as usize)?;
        if entry.generation != id.generation {
            return None;
        }
        let value = entry.value.take()?;
        entry.generation = entry.generation.wrapping_add(1);
        self.free.push(id.slot);
        self.len -= 1;
        Some(value)
    }

    /// The name of what is in a slot now.
    #[must_use]
    pub fn at(&self, slot: u32) -> Option<ConnId> {
        let entry = self.slots.get(slot as usize)?;
        entry.value.as_ref().map(|_| ConnId {
            slot,
            generation: entry.generation,
        })
    }

    /// The names of all that is in.
    pub fn ids(&self) -> impl Iterator<Item = ConnId> {
        (0u32..)
            .zip(&self.slots)
            .filter(|(_, e)| e.value.is_some())
            .map(|(slot, e)| ConnId {
                slot,
                generation: e.generation,
            })
    }

    /// How many are in.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether none is in.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stale_name_finds_nothing() {
        let mut table = Table::default();
        let a = table.insert("a");
        assert_eq!(table.remove(a), Some("a"));
        let b = table.insert("b");
        assert_eq!(a.slot, b.slot);
        assert_eq!(table.get(a), None);
        assert_eq!(table.remove(a), None);
        assert_eq!(table.get(b), Some(&"b"));
        assert_eq!(table.at(b.slot), Some(b));
        let c = table.insert("c");
        assert!(table.pair_mut(b, c).is_some());
        assert!(table.pair_mut(a, c).is_none());
        assert!(table.pair_mut(c, c).is_none());
        table.remove(c);
        assert_eq!(table.len(), 1);
        assert_eq!(table.ids().collect::<Vec<_>>(), vec![b]);
    }
}
