//! The contents of statements that sessions of one shard use, each kept once.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use super::digest::digest;
use crate::limits::{STATEMENT_CONTENTS_BYTES_MAX, STATEMENT_CONTENTS_SWEEP};
use crate::pins::Pins;
use crate::sql::postgres::Schema;
use crate::wire::postgres::messages;

/// Tells contents apart: the first half of a SHA-256, so that nobody can make two texts that share a name.
pub type Hash = u128;

/// What names begin with that weir gives to statements on servers.
pub const NAME_PREFIX: &[u8] = b"weir_";

/// Bytes of a name on a server: the prefix and 32 hexadecimal digits, below PostgreSQL's 63.
pub const NAME_LEN: usize = NAME_PREFIX.len() + 32;

/// What executing a statement may do, as far as its text tells.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Traits {
    /// It adds rows, which may take values from sequences.
    pub feeds_sequence: bool,
    /// What it may do to the meaning of other texts.
    pub schema: Schema,
    /// What it may leave on its session.
    pub pins: Pins,
    /// What it may take away.
    pub ends: Pins,
    /// What it does to settings or to the transaction is followed, if nothing else speaks against it.
    pub followed: bool,
}

/// Text and parameter types of a statement.
#[derive(PartialEq, Eq)]
pub struct Content {
    hash: Hash,
    /// The hash that it would have if it had never been retired.
    key: Hash,
    /// The body of its Parse message behind the name: text, NUL, parameter types.
    tail: Box<[u8]>,
    traits: Traits,
    /// The era in which it was first parsed.
    era: u128,
    /// It is one session's alone, which parsed it under settings that pass with a transaction.
    own: bool,
    /// What its result's columns were when a session asked.
    result: OnceLock<u128>,
}

impl core::fmt::Debug for Content {
    /// Without the text: it may hold a secret.
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Content({:032x})", self.hash)
    }
}

impl Content {
    /// Tells it from every other content.
    #[must_use]
    pub fn hash(&self) -> Hash {
        self.hash
    }

    /// What executing it may do.
    #[must_use]
    pub fn traits(&self) -> Traits {
        self.traits
    }

    /// A server has described its result, by this digest. Answers whether it is what it was before.
    pub fn described(&self, result: u128) -> bool {
        *self.result.get_or_init(|| result) == result
    }

    /// Whether sessions may know what its result's columns are.
    #[must_use]
    pub fn is_described(&self) -> bool {
        self.result.get().is_some()
    }

    /// Bytes of its text and parameter types.
    #[must_use]
    pub fn len(&self) -> usize {
        self.tail.len()
    }

    /// Its text.
    #[must_use]
    pub fn text(&self) -> &[u8] {
        self.tail.split(|b| *b == 0).next().unwrap_or_default()
    }

    /// Whether there is nothing, which no Parse message has.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tail.is_empty()
    }

    /// Writes a Parse message under `name`.
    pub fn write_parse(&self, out: &mut Vec<u8>, name: &[u8]) {
        messages::parse(out, name, &self.tail);
    }
}

/// The name of a content on servers.
#[must_use]
pub fn name_of(hash: Hash) -> [u8; NAME_LEN] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut name = [0; NAME_LEN];
    let (prefix, digits) = name.split_at_mut(NAME_PREFIX.len());
    prefix.copy_from_slice(NAME_PREFIX);
    for (digit, byte) in digits.chunks_exact_mut(2).zip(hash.to_be_bytes()) {
        if let [high, low] = digit {
            *high = DIGITS.get(usize::from(byte >> 4)).copied().unwrap_or(b'0');
            *low = DIGITS.get(usize::from(byte & 15)).copied().unwrap_or(b'0');
        }
    }
    name
}

/// The content that a name of weir's stands for; `None`: it is no such name.
#[must_use]
pub fn hash_of(name: &[u8]) -> Option<Hash> {
    let digits = name.strip_prefix(NAME_PREFIX)?;
    if digits.len() != 32 {
        return None;
    }
    digits.iter().try_fold(0, |hash: Hash, digit| {
        let value = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(hash << 4 | Hash::from(value))
    })
}

/// Contents in use. One that no session has any more goes at the next sweep.
///
/// A content belongs to the *era* in which its text was first parsed. An era ends when something may have changed what texts
/// mean: who parses an equal text later must not get what a server made of it before, so it is a content of another name.
#[derive(Default, Debug)]
pub struct Catalog {
    /// Tells this shard's events from those of others.
    shard: u64,
    /// By the hash of text and types alone.
    contents: HashMap<Hash, Entry>,
    bytes: usize,
    /// Contents that were put in, or found no room, since unused ones were last looked for.
    since_sweep: usize,
    /// The sum of all events so far, which does not depend on their order: shards that have heard of the same events give equal
    /// names.
    era: u128,
    /// Events of this shard so far.
    events: u64,
    /// The sum of those that the other shards have not been told of.
    news: Option<u128>,
}

#[derive(Debug)]
struct Entry {
    content: Arc<Content>,
    /// It has an era of its own, or servers have refused its plans: the next Parse of the same text is a new content.
    odd: Option<Odd>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Odd {
    /// Servers have refused its plans.
    Retired,
    /// It came after one that was retired.
    Successor,
}

impl Catalog {
    /// The catalog of one of the shards.
    #[must_use]
    pub fn of_shard(shard: u16) -> Catalog {
        Catalog {
            shard: shard.into(),
            ..Catalog::default()
        }
    }

    /// The content of a Parse message whose body behind the name is `tail`; `None` when all room is taken by contents in use.
    pub fn intern(&mut self, tail: &[u8], traits: Traits) -> Option<Arc<Content>> {
        self.intern_under(b"", tail, traits)
    }

    /// The same, for a session that reads it under settings of its own. The same text under others is another content, for a server reads
    /// literals and names when it prepares a statement.
    pub fn intern_under(
        &mut self,
        reading: &[u8],
        tail: &[u8],
        traits: Traits,
    ) -> Option<Arc<Content>> {
        let key = digest(tail, reading, None);
        match self.contents.get(&key) {
            Some(entry) if entry.content.era == self.era && entry.odd != Some(Odd::Retired) => {
                return Some(Arc::clone(&entry.content));
            }
            Some(entry) if entry.content.era == self.era => {
                let generation = self.era.wrapping_add(self.event());
                let hash = digest(tail, reading, Some(generation));
                return Some(self.put(key, hash, tail, traits, Some(Odd::Successor)));
            }
            Some(_) => {
                let hash = self.name_in_era(key, tail, reading);
                return Some(self.put(key, hash, tail, traits, None));
            }
            None => {}
        }
        self.take_room(tail.len())?;
        let hash = self.name_in_era(key, tail, reading);
        Some(self.put(key, hash, tail, traits, None))
    }

    /// The content of a Parse message that nobody else's is equal to: it is read under settings that pass with the transaction.
    pub fn intern_alone(&mut self, tail: &[u8], traits: Traits) -> Option<Arc<Content>> {
        self.take_room(tail.len())?;
        let hash = digest(tail, b"", Some(self.era.wrapping_add(self.event())));
        let content = self.content(hash, hash, tail, traits, true);
        Some(self.keep(content, None))
    }

    /// Whether nothing may have changed what texts mean since this content was first parsed, as far as this shard has heard.
    #[must_use]
    pub fn is_of_this_era(&self, content: &Content) -> bool {
        content.era == self.era && !content.own
    }

    /// Room for a new content of so many bytes; `None`: it is all taken by contents in use.
    fn take_room(&mut self, bytes: usize) -> Option<()> {
        self.since_sweep += 1;
        if self.is_sweep_due(bytes) {
            self.sweep();
        }
        if self.bytes + bytes > STATEMENT_CONTENTS_BYTES_MAX {
            return None;
        }
        self.bytes += bytes;
        Some(())
    }

    fn name_in_era(&self, key: Hash, tail: &[u8], reading: &[u8]) -> Hash {
        match self.era {
            0 => key,
            era => digest(tail, reading, Some(era)),
        }
    }

    fn put(
        &mut self,
        key: Hash,
        hash: Hash,
        tail: &[u8],
        traits: Traits,
        odd: Option<Odd>,
    ) -> Arc<Content> {
        let content = self.content(key, hash, tail, traits, false);
        self.keep(content, odd)
    }

    fn content(
        &self,
        key: Hash,
        hash: Hash,
        tail: &[u8],
        traits: Traits,
        own: bool,
    ) -> Arc<Content> {
        Arc::new(Content {
            hash,
            key,
            tail: tail.into(),
            traits,
            era: self.era,
            own,
            result: OnceLock::new(),
        })
    }

    fn keep(&mut self, content: Arc<Content>, odd: Option<Odd>) -> Arc<Content> {
        let entry = Entry {
            content: Arc::clone(&content),
            odd,
        };
        self.contents.insert(content.key, entry);
        content
    }

    /// A server has refused to run a plan of this content since its tables have changed: who parses the text again gets a
    /// statement of a new name, as a new statement on a connection of one's own would be.
    pub fn retire(&mut self, content: &Content) {
        if let Some(entry) = self.contents.get_mut(&content.key)
            && entry.content.hash == content.hash
        {
            entry.odd = Some(Odd::Retired);
        }
    }

    /// Something may have changed what texts mean: a new era.
    pub fn renew(&mut self) {
        let event = self.event();
        self.era = self.era.wrapping_add(event);
        self.news = Some(self.news.unwrap_or_default().wrapping_add(event));
    }

    /// What the other shards are to hear of.
    pub fn take_news(&mut self) -> Option<u128> {
        self.news.take()
    }

    /// Another shard's news.
    pub fn heard(&mut self, news: u128) {
        self.era = self.era.wrapping_add(news);
    }

    /// A number that no other event has.
    fn event(&mut self) -> u128 {
        self.events += 1;
        let name = [self.shard.to_be_bytes(), self.events.to_be_bytes()].concat();
        digest(&name, b"", None)
    }

    /// Not more often than in proportion to what there is, so that sweeping costs a constant share of what is put in.
    fn is_sweep_due(&self, more: usize) -> bool {
        self.bytes + more > STATEMENT_CONTENTS_SWEEP
            && self.since_sweep.saturating_mul(2) > self.contents.len()
    }

    fn sweep(&mut self) {
        let mut odd = false;
        self.contents.retain(|_, entry| {
            let used = Arc::strong_count(&entry.content) > 1;
            odd |= !used && entry.odd.is_some();
            used
        });
        if odd {
            // What is forgotten must not come back under the name that was retired.
            self.renew();
        }
        self.bytes = self.contents.values().map(|e| e.content.len()).sum();
        self.since_sweep = 0;
    }

    /// Bytes of all contents.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_texts_are_one_content_and_types_count() {
        let mut catalog = Catalog::default();
        let one = catalog
            .intern(b"select $1\0\0\0", Traits::default())
            .unwrap();
        let same = catalog
            .intern(b"select $1\0\0\0", Traits::default())
            .unwrap();
        let typed = catalog
            .intern(b"select $1\0\0\x01\0\0\0\x17", Traits::default())
            .unwrap();
        assert!(Arc::ptr_eq(&one, &same));
        assert_ne!(one.hash(), typed.hash());
        assert_eq!(catalog.bytes(), one.len() + typed.len());
        let name = name_of(one.hash());
        assert!(name.starts_with(NAME_PREFIX) && name.len() < 64);
        assert_eq!(hash_of(&name), Some(one.hash()));
        assert_eq!(hash_of(&name.to_ascii_uppercase()), None);
        assert_eq!(hash_of(&name[1..]), None);
        assert_eq!(hash_of(&name[..NAME_LEN - 1]), None);
        assert_ne!(name, name_of(typed.hash()));
    }

    #[test]
    fn a_retired_content_gets_a_successor_of_another_name() {
        let mut catalog = Catalog::default();
        let old = catalog.intern(b"table t\0\0\0", Traits::default()).unwrap();
        catalog.retire(&old);
        let new = catalog.intern(b"table t\0\0\0", Traits::default()).unwrap();
        assert_ne!(old.hash(), new.hash());
        // Whoever still has the old one and is refused again does not retire the successor.
        catalog.retire(&old);
        assert!(Arc::ptr_eq(
            &new,
            &catalog.intern(b"table t\0\0\0", Traits::default()).unwrap()
        ));
        catalog.retire(&new);
        let third = catalog.intern(b"table t\0\0\0", Traits::default()).unwrap();
        assert!(third.hash() != new.hash() && third.hash() != old.hash());
    }

    #[test]
    fn a_new_era_gives_new_names_and_shards_that_have_heard_the_same_agree() {
        let text = b"table t\0\0\0";
        let name = |catalog: &mut Catalog| catalog.intern(text, Traits::default()).unwrap().hash();
        let (mut one, mut two) = (Catalog::of_shard(1), Catalog::of_shard(2));
        let first = name(&mut one);
        assert_eq!(first, name(&mut two));
        one.renew();
        two.renew();
        let (after_one, after_two) = (name(&mut one), name(&mut two));
        assert!(after_one != first && after_two != first && after_one != after_two);
        let (news_one, news_two) = (one.take_news().unwrap(), two.take_news().unwrap());
        one.heard(news_two);
        two.heard(news_one);
        let both = name(&mut one);
        assert_eq!(both, name(&mut two));
        assert!(both != first && both != after_one && both != after_two);
        assert_eq!((one.take_news(), two.take_news()), (None, None));
        // Forgotten and asked for again, it is the same.
        one.sweep();
        assert_eq!(both, name(&mut one));
        assert_eq!(one.bytes(), text.len());
    }

    #[test]
    fn a_name_that_was_retired_does_not_come_back_when_its_successor_is_forgotten() {
        let mut catalog = Catalog::default();
        let text = b"table t\0\0\0";
        let old = catalog.intern(text, Traits::default()).unwrap();
        catalog.retire(&old);
        catalog.intern(text, Traits::default()).unwrap();
        catalog.sweep();
        let new = catalog.intern(text, Traits::default()).unwrap();
        assert_ne!(old.hash(), new.hash());
    }

    #[test]
    fn contents_that_nobody_has_make_room() {
        let mut catalog = Catalog::default();
        let big = vec![b'x'; 1 << 14];
        let tail = |n: u32| [&n.to_be_bytes()[..], &big].concat();
        let kept: Vec<_> = (0..8)
            .map(|n| catalog.intern(&tail(n), Traits::default()).unwrap())
            .collect();
        for n in 8..20_000 {
            assert!(catalog.intern(&tail(n), Traits::default()).is_some(), "{n}");
            assert!(catalog.bytes() <= STATEMENT_CONTENTS_BYTES_MAX);
        }
        for (n, content) in kept.iter().enumerate() {
            let again = catalog.intern(&tail(n as u32), Traits::default()).unwrap();
            assert!(Arc::ptr_eq(content, &again));
        }
    }

    #[test]
    fn contents_in_use_can_fill_the_room_and_no_more() {
        let mut catalog = Catalog::default();
        let mut kept = Vec::new();
        let refused = (0u32..).find(|n| {
            let tail = [&n.to_be_bytes()[..], &[b'x'; 1 << 14]].concat();
            match catalog.intern(&tail, Traits::default()) {
                Some(content) => {
                    kept.push(content);
                    false
                }
                None => true,
            }
        });
        assert_eq!(
            refused,
            Some((STATEMENT_CONTENTS_BYTES_MAX / ((1 << 14) + 4)) as u32)
        );
        kept.clear();
        let tries = (0..STATEMENT_CONTENTS_BYTES_MAX).find(|_| {
            catalog
                .intern(b"select 1\0\0\0", Traits::default())
                .is_some()
        });
        assert!(tries.is_some_and(|n| n < 4096), "{tries:?}");
    }
}
