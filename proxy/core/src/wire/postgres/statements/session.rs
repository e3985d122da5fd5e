//! What one session's own statement names mean, and which answers about statements are still to come.
//!
//! A name means something from the moment its Parse is sent; what an error skips never happened. So there are two parts: what the
//! server has confirmed, and a queue of what was asked, in the order in which the answers come.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::Catalog;
use super::catalog::{Content, Hash};
use super::held::Held;
use crate::limits::{STATEMENTS_PER_SESSION_BYTES_MAX, STATEMENTS_PER_SESSION_MAX};
use crate::pins::Pins;

/// Something about statements whose answer has not come.
#[derive(Clone, Debug)]
pub enum Asked {
    /// The session's Parse: sent under the content's name.
    Parse(Box<[u8]>, Arc<Content>),
    /// The session's Parse of what the backend holds already: weir answers.
    Known(Box<[u8]>, Arc<Content>),
    /// The session's Close: weir answers, the backend keeps the statement.
    Close(Box<[u8]>),
    /// weir's Parse, since the session uses what this backend has not prepared yet.
    Ours(Hash),
    /// weir's Close, to make room or to be sure.
    Evict(Hash),
    /// The session's Describe of a content that nobody has described yet.
    Describe(Arc<Content>),
    /// weir's Describe behind its Parse, since the content's result may be another one by now.
    Probe(Arc<Content>),
    /// weir's Parse under the session's own name, or its Close of that name: from now on the server keeps the names.
    Native,
}

/// What a name means to the session.
#[derive(Clone, Debug)]
pub enum Meaning {
    /// Nothing: the server will say so.
    Nothing,
    /// This content.
    Content(Arc<Content>),
    /// It can't be told before the server has answered an earlier batch.
    Unknown,
}

/// What a server has confirmed of a name.
#[derive(Debug)]
struct Named {
    content: Arc<Content>,
    /// Grows with every name given.
    order: u64,
}

/// One session's names.
#[derive(Default, Debug)]
pub struct Statements {
    names: HashMap<Box<[u8]>, Named>,
    /// Names given so far.
    given: u64,
    bytes: usize,
    asked: VecDeque<(u32, Asked)>,
    /// Counts batches: grows with every Sync.
    batch: u32,
    /// The server keeps this session's names itself.
    native: bool,
    /// What came of a Probe, for the message that waited for it: whether the result is what it was.
    probed: Option<(Hash, bool)>,
    /// Answers of weir's own that are due now.
    answers: Vec<u8>,
}

impl Statements {
    /// What `name` means to the client's next message.
    #[must_use]
    pub fn meaning(&self, name: &[u8]) -> Meaning {
        for (batch, asked) in self.asked.iter().rev() {
            let found = match asked {
                Asked::Parse(n, content) | Asked::Known(n, content) if **n == *name => {
                    Meaning::Content(Arc::clone(content))
                }
                Asked::Close(n) if **n == *name => Meaning::Nothing,
                _ => continue,
            };
            return if *batch == self.batch {
                found
            } else {
                Meaning::Unknown
            };
        }
        match self.names.get(name) {
            Some(named) => Meaning::Content(Arc::clone(&named.content)),
            None => Meaning::Nothing,
        }
    }

    /// What the session calls a content: the name given last among those whose answers are still to come, else the one given last.
    #[must_use]
    pub fn own_name(&self, hash: Hash) -> Option<&[u8]> {
        let asked = self.asked.iter().rev().find_map(|(_, asked)| match asked {
            Asked::Parse(name, content) | Asked::Known(name, content) if content.hash() == hash => {
                Some(&**name)
            }
            _ => None,
        });
        let named = || {
            let all = self.names.iter();
            let same = all.filter(|(_, named)| named.content.hash() == hash);
            same.max_by_key(|(_, named)| named.order)
                .map(|(name, _)| &**name)
        };
        asked.or_else(named)
    }

    /// Whether a Parse or Close of this content was sent in an earlier batch and not answered yet.
    #[must_use]
    pub fn asked_earlier(&self, hash: Hash) -> bool {
        self.asked.iter().any(|(batch, asked)| {
            let same = match asked {
                Asked::Parse(_, content) => content.hash() == hash,
                Asked::Ours(h) | Asked::Evict(h) => *h == hash,
                Asked::Known(..)
                | Asked::Close(_)
                | Asked::Describe(_)
                | Asked::Probe(_)
                | Asked::Native => false,
            };
            same && *batch != self.batch
        })
    }

    /// Every answer has come.
    #[must_use]
    pub fn settled(&self) -> bool {
        self.asked.is_empty()
    }

    /// Every answer that an earlier batch asked for has come.
    #[must_use]
    pub fn settled_before_this_batch(&self) -> bool {
        self.asked
            .front()
            .is_none_or(|(batch, _)| *batch == self.batch)
    }

    /// The last answers that are to come were asked for in this batch: a Sync has not been sent yet.
    #[must_use]
    pub fn asked_in_this_batch(&self) -> bool {
        self.asked
            .back()
            .is_some_and(|(batch, _)| *batch == self.batch)
    }

    /// Whether a further statement of so many bytes is within the session's bounds.
    #[must_use]
    pub fn has_room(&self, bytes: usize) -> bool {
        self.names.len() + self.asked.len() < STATEMENTS_PER_SESSION_MAX
            && self.bytes + bytes <= STATEMENTS_PER_SESSION_BYTES_MAX
    }

    /// The server keeps this session's names itself.
    #[must_use]
    pub fn is_native(&self) -> bool {
        self.native
    }

    /// What running any of them may leave on the session.
    #[must_use]
    pub fn pins(&self) -> Pins {
        let mut pins = Pins::NONE;
        for named in self.names.values() {
            pins.add(named.content.traits().pins);
        }
        pins
    }

    /// From now on the server keeps the names.
    pub fn go_native(&mut self) {
        self.native = true;
    }

    /// Names and contents, as the server has confirmed them, in the order in which they were given.
    #[must_use]
    pub fn confirmed(&self) -> Vec<(Box<[u8]>, Arc<Content>)> {
        let mut all: Vec<_> = self.names.iter().collect();
        all.sort_unstable_by_key(|(_, named)| named.order);
        all.into_iter()
            .map(|(name, named)| (name.clone(), Arc::clone(&named.content)))
            .collect()
    }

    /// No statement has a name.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.names.is_empty() && self.asked.is_empty()
    }

    /// Notes what was asked, behind everything before it.
    pub fn ask(&mut self, asked: Asked) {
        self.asked.push_back((self.batch, asked));
    }

    /// The client's batch ends.
    pub fn sync(&mut self) {
        self.batch = self.batch.wrapping_add(1);
        self.probed = None;
    }

    /// The oldest question's answer says what the result is, by this digest.
    pub fn described(&mut self, result: u128) {
        match self.asked.front() {
            Some((_, Asked::Describe(content))) => {
                content.described(result);
            }
            Some((_, Asked::Probe(content))) => {
                self.probed = Some((content.hash(), content.described(result)));
            }
            _ => {}
        }
    }

    /// What has come of a Probe of this content: whether its result is what it was. Asked once.
    pub fn take_probed(&mut self, hash: Hash) -> Option<bool> {
        let (of, same) = self.probed.take()?;
        (of == hash).then_some(same)
    }

    /// The answer to the oldest question has come, and is good.
    pub fn answered(&mut self, held: &mut Held) {
        match self.asked.pop_front() {
            Some((_, Asked::Parse(name, content))) => {
                held.confirmed(content.hash());
                self.name(name, content);
            }
            Some((_, Asked::Known(name, content))) => self.name(name, content),
            Some((_, Asked::Close(name))) => self.forget(&name),
            Some((_, Asked::Ours(hash))) => held.confirmed(hash),
            Some((_, Asked::Evict(hash))) => held.left(hash),
            // Of another result than the content's: it is for nobody.
            Some((_, Asked::Probe(content))) if self.has_changed(&content) => {
                held.doubt(content.hash());
            }
            Some((_, Asked::Native | Asked::Describe(_) | Asked::Probe(_))) | None => {}
        }
    }

    /// The oldest question was answered with an error, or skipped behind one.
    pub fn failed(&mut self, held: &mut Held) {
        match self.asked.pop_front() {
            Some((_, Asked::Parse(_, content))) => held.refused(content.hash()),
            Some((_, Asked::Ours(hash))) => held.refused(hash),
            Some((_, Asked::Evict(hash))) => held.stayed(hash),
            Some((_, Asked::Native)) => self.native = false,
            Some((
                _,
                Asked::Known(..) | Asked::Close(_) | Asked::Describe(_) | Asked::Probe(_),
            ))
            | None => {}
        }
    }

    fn has_changed(&self, content: &Content) -> bool {
        self.probed == Some((content.hash(), false))
    }

    fn name(&mut self, name: Box<[u8]>, content: Arc<Content>) {
        self.bytes += content.len();
        self.given += 1;
        let order = self.given;
        if let Some(was) = self.names.insert(name, Named { content, order }) {
            self.bytes -= was.content.len().min(self.bytes);
        }
    }

    /// The name means nothing any more.
    pub fn forget(&mut self, name: &[u8]) {
        if let Some(was) = self.names.remove(name) {
            self.bytes -= was.content.len().min(self.bytes);
        }
    }

    /// No name means anything any more, to a server that keeps the names itself neither.
    pub fn forget_all(&mut self) {
        self.names.clear();
        self.bytes = 0;
        self.native = false;
    }

    /// What the backend answers will not be heard: what was asked is in doubt.
    pub fn abandon(&mut self, held: &mut Held) {
        for (_, asked) in self.asked.drain(..) {
            match asked {
                Asked::Parse(_, content) => held.doubt(content.hash()),
                Asked::Ours(hash) | Asked::Evict(hash) => held.doubt(hash),
                Asked::Known(..)
                | Asked::Close(_)
                | Asked::Describe(_)
                | Asked::Probe(_)
                | Asked::Native => {}
            }
        }
    }

    /// A server has refused a plan since tables have changed. It does not say whose: all contents of this session are retired,
    /// which costs no more than preparing them anew when the session parses them again.
    pub fn retire(&self, catalog: &mut Catalog) {
        for named in self.names.values() {
            catalog.retire(&named.content);
        }
    }

    /// An answer of weir's own is due now.
    pub fn say(&mut self, answer: &[u8]) {
        self.answers.extend_from_slice(answer);
    }

    /// Answers of weir's own that are due now.
    pub fn take_answers(&mut self) -> Option<Vec<u8>> {
        (!self.answers.is_empty()).then(|| core::mem::take(&mut self.answers))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use super::super::catalog::Traits;

    fn content(catalog: &mut Catalog, text: &str) -> Arc<Content> {
        catalog.intern(text.as_bytes(), Traits::default()).unwrap()
    }

    fn means(statements: &Statements, name: &str) -> Option<Hash> {
        match statements.meaning(name.as_bytes()) {
            Meaning::Content(content) => Some(content.hash()),
            Meaning::Nothing => None,
            Meaning::Unknown => panic!("{name} is unknown"),
        }
    }

    #[test]
    fn a_name_means_what_was_asked_last_and_then_what_was_answered() {
        let (mut catalog, mut held, mut statements) =
            (Catalog::default(), Held::default(), Statements::default());
        let (one, two) = (content(&mut catalog, "1"), content(&mut catalog, "2"));
        statements.ask(Asked::Parse(b"s"[..].into(), Arc::clone(&one)));
        assert_eq!(means(&statements, "s"), Some(one.hash()));
        statements.ask(Asked::Close(b"s"[..].into()));
        assert_eq!(means(&statements, "s"), None);
        statements.ask(Asked::Parse(b"s"[..].into(), Arc::clone(&two)));
        assert_eq!(means(&statements, "s"), Some(two.hash()));
        statements.sync();
        assert!(matches!(statements.meaning(b"s"), Meaning::Unknown));
        statements.answered(&mut held);
        statements.failed(&mut held);
        statements.failed(&mut held);
        assert_eq!(means(&statements, "s"), Some(one.hash()));
        statements.forget_all();
        assert_eq!(means(&statements, "s"), None);
        assert!(statements.is_empty() && statements.bytes == 0);
    }

    #[test]
    fn names_are_kept_in_the_order_in_which_they_were_given() {
        let (mut catalog, mut held, mut statements) =
            (Catalog::default(), Held::default(), Statements::default());
        let one = content(&mut catalog, "1");
        let names = [b"c", b"a", b"b", b"a"];
        for name in names {
            statements.forget(name);
            statements.ask(Asked::Parse(name[..].into(), Arc::clone(&one)));
            assert_eq!(statements.own_name(one.hash()), Some(&name[..]));
            statements.answered(&mut held);
        }
        let order: Vec<_> = statements.confirmed().into_iter().map(|(n, _)| n).collect();
        assert!(order.iter().map(|n| &**n).eq([b"c", b"b", b"a"]));
        assert_eq!(statements.own_name(one.hash()), Some(&b"a"[..]));
        assert_eq!(statements.own_name(0), None);
    }
}
