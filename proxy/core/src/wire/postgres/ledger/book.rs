//! One session's ledger: what it has asked for, what the server has done of it, what has been committed.
//!
//! PostgreSQL's rules: a setting made in a transaction holds from there on, is gone when the transaction or the savepoint is rolled
//! back, and lasts when it commits; a statement outside a transaction block, and a batch up to its Sync, are transactions of
//! their own. Whether a transaction has committed is told by the server's command tags, never by what was asked. Whatever can't be
//! followed exactly is *lost*: the session must keep its backend.

use std::collections::VecDeque;
use std::sync::Arc;

use super::{Bound, Fact, SessionState, Setting, current, quoted, reading};
use crate::limits::{
    SETTING_CHANGES_MAX, SETTINGS_PER_SESSION_BYTES_MAX, SETTINGS_PER_SESSION_MAX,
};
use crate::pins::{BEYOND_RESET, PinReason, Pins};
use crate::sql::postgres::settings::{Change, Discard, Point, policy};
use crate::wire::Parameters;

/// What the session's next Bind of the unnamed statement runs.
#[derive(Debug, Default)]
struct Batch {
    /// The unnamed statement was parsed in this batch; what it does.
    parsed: Option<Option<Fact>>,
    /// It changes settings and has not been bound.
    unbound: bool,
    /// What the unnamed portal does.
    bound: Option<Fact>,
    /// It changes settings and has not been executed.
    unrun: bool,
}

/// One session's ledger.
#[derive(Debug, Default)]
pub struct Ledger {
    /// What was settled last.
    state: Option<Arc<SessionState>>,
    /// Committed since.
    committed: Vec<Change>,
    /// In the open transaction, before its first savepoint.
    open: Vec<Change>,
    /// Its savepoints, and what was done since each. Those before the first change are not here.
    points: Vec<(Box<[u8]>, Vec<Change>)>,
    /// What was asked, by the number of the request.
    asked: VecDeque<(u32, Fact)>,
    batch: Batch,
    /// The unnamed statement may be one that changes settings and was parsed in an earlier batch.
    unnamed_sets: bool,
    /// A statement was prepared under settings that are not committed.
    prepared_open: bool,
    /// A request of this segment has failed.
    failed: bool,
    /// Some ROLLBACK was done: of the whole transaction if none is open at the segment's end, else of nobody knows what.
    unclear: bool,
    lost: bool,
    /// What is lost is discarded, if the transaction at hand does not fail.
    recovers: bool,
    /// What a `DISCARD` has ended, if the transaction at hand does not fail.
    discarded: Pins,
    /// What one has ended.
    ended: Pins,
}

impl Ledger {
    /// What was settled last.
    #[must_use]
    pub fn state(&self) -> Option<&Arc<SessionState>> {
        self.state.as_ref()
    }

    /// Something could not be followed: what the session has set is known to its backend alone.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.lost
    }

    /// Nothing has been set, nor is anything under way.
    #[must_use]
    pub fn is_blank(&self) -> bool {
        self.state.is_none() && self.is_settled() && !self.lost
    }

    /// Nothing has changed since the last settling, nor is anything under way.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.committed.is_empty() && !self.is_open() && self.asked.is_empty() && !self.lost
    }

    /// The transaction has changed something.
    fn is_open(&self) -> bool {
        !self.open.is_empty() || !self.points.is_empty()
    }

    fn lose(&mut self) {
        let state = self.state.take();
        *self = Ledger {
            state,
            lost: true,
            ..Ledger::default()
        };
    }

    /// The backend is about to be reset: what was settled last is all that the session has.
    pub fn forgive(&mut self) {
        *self = Ledger {
            state: self.state.take(),
            ..Ledger::default()
        };
    }

    // ---- what the client sends -----------------------------------------------------------------------------------

    /// A request was sent.
    pub fn ask(&mut self, number: u32, fact: Fact) {
        if self.lost && !matches!(fact, Fact::Discard(_)) {
            // What is done behind a DISCARD would be lost again.
            self.asked.clear();
            self.recovers = false;
            return;
        }
        let waiting = self.asked.len() + self.open.len() + self.points.len();
        if waiting + self.committed.len() >= SETTING_CHANGES_MAX {
            return self.lose();
        }
        self.asked.push_back((number, fact));
    }

    /// The unnamed statement was parsed.
    pub fn parse(&mut self, fact: Option<Fact>) {
        self.batch.unbound = sets(fact.as_ref());
        self.unnamed_sets |= self.batch.unbound;
        self.batch.parsed = Some(fact);
    }

    /// Something was bound, to the unnamed portal or another. `false`: it may change settings when nobody will notice.
    #[must_use]
    pub fn bind(&mut self, from: Bound, to_unnamed: bool) -> bool {
        let fact = match (from, &self.batch.parsed) {
            (Bound::Named(fact), _) => fact,
            (Bound::Unnamed, Some(fact)) => {
                self.batch.unbound = false;
                fact.clone()
            }
            (Bound::Unnamed, None) if self.unnamed_sets => return false,
            (Bound::Unnamed, None) => None,
        };
        let sets = sets(fact.as_ref());
        if to_unnamed {
            self.batch.unrun = sets;
            self.batch.bound = fact;
        }
        to_unnamed || !sets
    }

    /// The unnamed portal is executed by this request.
    pub fn execute(&mut self, number: u32) {
        self.batch.unrun = false;
        if let Some(fact) = self.batch.bound.clone() {
            self.ask(number, fact);
        }
    }

    /// The batch ends. `false`: a statement that changes settings was parsed in it and may be run later.
    #[must_use]
    pub fn end_batch(&mut self) -> bool {
        let batch = core::mem::take(&mut self.batch);
        !batch.unbound && !batch.unrun
    }

    /// Nothing of what was asked has been or will be answered.
    pub fn forget_asked(&mut self) {
        self.asked.clear();
        self.batch = Batch::default();
        self.unnamed_sets = false;
    }

    // ---- what the server answers ---------------------------------------------------------------------------------

    /// A request, or one statement of it, has been done; `tag` is its command tag.
    pub fn completed(&mut self, number: u32, tag: &[u8]) {
        let fact = self.answered(number);
        if let Some(Fact::Discard(what)) = fact {
            return self.discard(what);
        }
        if self.lost {
            return;
        }
        match (fact, tag) {
            (Some(Fact::Changes(changes)), b"SET" | b"RESET" | b"SELECT 1") if !self.unclear => {
                self.latest().extend(changes)
            }
            (Some(Fact::Changes(_)), _) => self.lose(),
            (_, b"COMMIT" | b"PREPARE TRANSACTION") => self.commit(),
            (Some(Fact::Point(Point::End)), b"ROLLBACK") => self.roll_back(),
            (Some(Fact::Point(Point::BackTo(name))), b"ROLLBACK") => self.back_to(&name),
            (Some(Fact::Point(Point::Savepoint(name))), b"SAVEPOINT") if self.is_open() => {
                self.points.push((name, Vec::new()));
            }
            (Some(Fact::Point(Point::Release(name))), b"RELEASE") => self.release(&name),
            (None, b"ROLLBACK") => self.unclear = self.is_open(),
            (None, b"SAVEPOINT" | b"RELEASE") if self.is_open() => self.lose(),
            _ => {}
        }
    }

    fn discard(&mut self, what: Discard) {
        match what {
            Discard::Sequences => self.discarded.add(Pins::of(PinReason::Sequence)),
            Discard::All => {
                self.discarded.add(Pins::ALL.without(BEYOND_RESET));
                if self.lost {
                    self.recovers = true;
                } else {
                    self.latest().push(Change::Discard);
                }
            }
        }
    }

    /// A request has given some of its rows, and will not be heard of again.
    pub fn suspended(&mut self, number: u32) {
        if self.answered(number).is_some_and(|fact| fact.sets()) {
            self.lose();
        }
    }

    /// A request has failed.
    pub fn failed(&mut self, number: u32) {
        self.answered(number);
        self.failed = true;
    }

    /// A segment has been answered, all requests before `number` are; `idle`: no transaction is open.
    pub fn ready(&mut self, number: u32, idle: bool) {
        self.drop_before(number);
        let (failed, unclear) = (self.failed, self.unclear);
        (self.failed, self.unclear) = (false, false);
        self.end_discard(idle, failed);
        if idle && (failed || unclear) {
            self.roll_back();
        } else if idle {
            self.commit();
        } else if unclear {
            self.lose();
        }
    }

    fn end_discard(&mut self, idle: bool, failed: bool) {
        if failed {
            (self.discarded, self.recovers) = (Pins::NONE, false);
        } else if idle {
            self.ended.add(core::mem::take(&mut self.discarded));
            if core::mem::take(&mut self.recovers) {
                (self.lost, self.state) = (false, None);
            }
        }
    }

    /// Reasons to pin that are gone: the server has discarded what they were for.
    pub fn take_ended(&mut self) -> Pins {
        core::mem::take(&mut self.ended)
    }

    /// What the request, or its next statement, does.
    fn answered(&mut self, number: u32) -> Option<Fact> {
        self.drop_before(number);
        let (asked, fact) = self.asked.front_mut()?;
        if *asked != number {
            return None;
        }
        if let Fact::Several(facts) = fact {
            let next = facts.pop_front().flatten();
            if facts.is_empty() {
                self.asked.pop_front();
            }
            return next;
        }
        self.asked.pop_front().map(|(_, fact)| fact)
    }

    /// Requests that were skipped behind an error.
    fn drop_before(&mut self, number: u32) {
        while let Some((asked, _)) = self.asked.front()
            && asked.wrapping_sub(number).cast_signed() < 0
        {
            self.asked.pop_front();
        }
    }

    /// Changes since the latest savepoint.
    fn latest(&mut self) -> &mut Vec<Change> {
        match self.points.last_mut() {
            Some((_, changes)) => changes,
            None => &mut self.open,
        }
    }

    fn commit(&mut self) {
        if self.unclear {
            return self.lose();
        }
        self.committed.append(&mut self.open);
        for (_, mut changes) in core::mem::take(&mut self.points) {
            self.committed.append(&mut changes);
        }
        self.prepared_open = false;
    }

    fn roll_back(&mut self) {
        let undone = self.is_open();
        self.open.clear();
        self.points.clear();
        self.undone(undone);
    }

    /// A savepoint that is not known was set before the first change.
    fn back_to(&mut self, name: &[u8]) {
        let undone = self.is_open();
        match self.points.iter().rposition(|(n, _)| **n == *name) {
            Some(at) => {
                self.points.truncate(at + 1);
                self.latest().clear();
            }
            None => {
                self.open.clear();
                self.points.clear();
            }
        }
        self.undone(undone);
    }

    /// Statements that were prepared under what is undone now have been read in another way than they would be now.
    fn undone(&mut self, any: bool) {
        if any && self.prepared_open {
            self.lose();
        }
    }

    fn release(&mut self, name: &[u8]) {
        let at = self
            .points
            .iter()
            .rposition(|(n, _)| **n == *name)
            .unwrap_or(0);
        let released = self.points.split_off(at.min(self.points.len()));
        for (_, mut changes) in released {
            self.latest().append(&mut changes);
        }
    }

    // ---- how statements are read ---------------------------------------------------------------------------------

    /// Whether a change may change how statements are read from now on.
    #[must_use]
    pub fn changes_reading(&self, change: &Change) -> bool {
        match change {
            Change::Set(name, _) | Change::Reset(name) => policy::is_reading(name),
            Change::ResetAll | Change::Discard => {
                self.state.as_ref().is_some_and(|s| !s.reading.is_empty())
                    || self.committed.iter().any(is_reading)
                    || self.open_changes().any(is_reading)
            }
        }
    }

    /// Whether what a request does can't be followed for the sake of what was done before: what becomes of a role when the session's user
    /// is changed, and changed back, depends on the server's version.
    #[must_use]
    pub fn meets_role(&self, fact: &Fact) -> bool {
        let is = |change: &Change, wanted: &[u8]| match change {
            Change::Set(name, _) | Change::Reset(name) => **name == *wanted,
            Change::ResetAll | Change::Discard => false,
        };
        if !fact.changes().any(|c| is(c, policy::SESSION_USER)) {
            return false;
        }
        let mut all = self
            .committed
            .iter()
            .chain(self.open_changes())
            .chain(fact.changes());
        self.state.as_ref().is_some_and(|s| s.sets(policy::ROLE))
            || all.any(|c| is(c, policy::ROLE))
    }

    /// The settings under which a statement that is prepared now is read; empty: those of a new session.
    #[must_use]
    pub fn reading(&mut self) -> Box<[u8]> {
        if self.committed.is_empty() && !self.is_open() && self.asked.is_empty() {
            return self
                .state
                .as_ref()
                .map(|s| s.reading.clone())
                .unwrap_or_default();
        }
        let open = self.open_changes().any(is_reading);
        self.prepared_open |= open;
        let mut settings = self.settings();
        for change in self.committed.iter().chain(self.open_changes()) {
            apply(&mut settings, change);
        }
        reading(settings.iter().map(|s| (&*s.name, &*s.value)))
    }

    /// Changes that may be undone.
    fn open_changes(&self) -> impl Iterator<Item = &Change> {
        let asked = self.asked.iter().flat_map(|(_, fact)| fact.changes());
        let points = self.points.iter().flat_map(|(_, changes)| changes);
        self.open.iter().chain(points).chain(asked)
    }

    fn settings(&self) -> Vec<Setting> {
        self.state
            .as_ref()
            .map(|s| s.settings.clone())
            .unwrap_or_default()
    }

    // ---- settling ------------------------------------------------------------------------------------------------

    /// No transaction is open and nothing under way: what has been committed becomes the state. `known` and `drift` are what the server
    /// reports now.
    pub fn settle(&mut self, known: &Parameters, drift: &Parameters) {
        self.forget_asked();
        if self.is_open() {
            return self.lose();
        }
        if self.committed.is_empty() || self.lost {
            return;
        }
        let mut settings = self.settings();
        for change in self.committed.drain(..) {
            apply(&mut settings, &change);
        }
        for setting in settings.iter_mut().filter(|s| s.reported.is_none()) {
            let Some(reported) = current(known, drift, &setting.name) else {
                continue;
            };
            if *setting.name == *b"datestyle" {
                // What was written may name one half alone; the other is what was there before.
                setting.value = quoted(reported);
            }
            setting.reported = Some(reported.into());
        }
        let bytes: usize = settings.iter().map(|s| s.name.len() + s.value.len()).sum();
        let unsure = |s: &Setting| *s.name == *b"datestyle" && s.reported.is_none();
        if settings.len() > SETTINGS_PER_SESSION_MAX
            || bytes > SETTINGS_PER_SESSION_BYTES_MAX
            || settings.iter().any(unsure)
        {
            return self.lose();
        }
        self.state = (!settings.is_empty()).then(|| Arc::new(SessionState::new(settings)));
    }
}

fn sets(fact: Option<&Fact>) -> bool {
    fact.is_some_and(Fact::sets)
}

fn is_reading(change: &Change) -> bool {
    match change {
        Change::Set(name, _) | Change::Reset(name) => policy::is_reading(name),
        Change::ResetAll | Change::Discard => true,
    }
}

fn apply(settings: &mut Vec<Setting>, change: &Change) {
    let (name, value) = match change {
        Change::ResetAll => return settings.retain(|s| policy::is_identity(&s.name)),
        Change::Discard => return settings.clear(),
        Change::Set(name, value) => (name, Some(value)),
        Change::Reset(name) => (name, None),
    };
    if **name == *policy::SESSION_USER {
        settings.retain(|s| *s.name != *policy::ROLE);
    }
    let at = settings.binary_search_by(|s| s.name.cmp(name));
    let setting = |value: &[u8]| Setting {
        name: name.clone(),
        value: value.into(),
        reported: None,
    };
    match (at, value) {
        (Ok(at), Some(value)) => {
            if let Some(old) = settings.get_mut(at) {
                *old = setting(value);
            }
        }
        (Ok(at), None) => {
            settings.remove(at);
        }
        (Err(at), Some(value)) => settings.insert(at, setting(value)),
        (Err(_), None) => {}
    }
}

#[cfg(test)]
mod tests;
