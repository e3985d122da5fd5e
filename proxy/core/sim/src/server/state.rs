//! What a session holds: settings, temporary tables, listens, cursors, its transaction. And who left it there.

use std::collections::{BTreeMap, BTreeSet};

use crate::wire;

/// Settings that a server reports when they change.
const REPORTED: &[&str] = &[
    "application_name",
    "TimeZone",
    "DateStyle",
    "client_encoding",
];

/// Who left something: a client's mark, or nobody (the login itself).
pub(super) type Owner = Option<u32>;

/// Where a session is with its transaction.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) enum Tx {
    #[default]
    Idle,
    /// Lasts until Sync or the end of the query string.
    Implicit,
    /// Begun by `begin`.
    Block,
    /// Broken; only its end is accepted.
    Failed,
}

/// What a rollback brings back.
#[derive(Clone, Debug, Default)]
pub(super) struct Transactional {
    /// Settings that differ from the login's.
    pub settings: BTreeMap<String, (String, Owner)>,
    pub tables: BTreeMap<String, Owner>,
    pub channels: BTreeMap<String, Owner>,
    /// Rows not committed yet.
    pub pending: Vec<(u32, String)>,
    /// Notifications not sent yet.
    pub notes: Vec<(String, String)>,
}

/// A session's state.
#[derive(Clone, Debug, Default)]
pub(super) struct State {
    /// Values from the login.
    pub defaults: BTreeMap<String, String>,
    pub live: Transactional,
    pub saved: Option<Transactional>,
    pub savepoints: Vec<(String, Transactional)>,
    /// Settings made by `set local`.
    pub local: BTreeSet<String>,
    pub locks: BTreeMap<u64, Owner>,
    /// Held cursors and their row.
    pub cursors: BTreeMap<String, (String, Owner)>,
    pub currvals: BTreeMap<String, (u64, Owner)>,
    pub tx: Tx,
    pub tx_owner: Owner,
}

impl State {
    /// The status byte of ReadyForQuery.
    pub fn status(&self) -> u8 {
        match self.tx {
            Tx::Idle | Tx::Implicit => b'I',
            Tx::Block => b'T',
            Tx::Failed => b'E',
        }
    }

    /// A statement starts: at least an implicit transaction is open.
    pub fn enter(&mut self) {
        if self.tx == Tx::Idle {
            self.tx = Tx::Implicit;
            self.saved = Some(self.live.clone());
        }
    }

    pub fn setting(&self, name: &str) -> Option<&str> {
        let set = self.live.settings.get(name).map(|(v, _)| v.as_str());
        set.or_else(|| self.defaults.get(name).map(String::as_str))
    }

    /// Changes a setting; the bytes are what is reported.
    pub fn set(&mut self, name: &str, value: &str, owner: Owner) -> Vec<u8> {
        let before = self.setting(name).map(str::to_owned);
        let made = (value.to_owned(), owner);
        self.live.settings.insert(name.to_owned(), made);
        self.report(name, before.as_deref())
    }

    /// Takes settings back to the login's values; all, or one.
    pub fn reset(&mut self, name: Option<&str>) -> Vec<u8> {
        let names: Vec<String> = match name {
            Some(name) => vec![name.to_owned()],
            None => self.live.settings.keys().cloned().collect(),
        };
        let mut out = Vec::new();
        for name in names {
            let before = self.setting(&name).map(str::to_owned);
            self.live.settings.remove(&name);
            out.extend(self.report(&name, before.as_deref()));
        }
        out
    }

    fn report(&self, name: &str, before: Option<&str>) -> Vec<u8> {
        let now = self.setting(name);
        if REPORTED.contains(&name) && now != before {
            return wire::parameter_status(name, now.unwrap_or_default());
        }
        Vec::new()
    }

    /// Ends the transaction. Answers what is reported and, when it was committed, rows and notifications.
    pub fn end(&mut self, commit: bool) -> (Vec<u8>, Transactional) {
        let saved = self.saved.take().unwrap_or_default();
        self.tx = Tx::Idle;
        self.tx_owner = None;
        self.savepoints.clear();
        let local = core::mem::take(&mut self.local);
        let mut done = Transactional::default();
        let mut target = saved.settings.clone();
        if commit {
            done.pending = core::mem::take(&mut self.live.pending);
            done.notes = core::mem::take(&mut self.live.notes);
            target = self.live.settings.clone();
            for name in &local {
                match saved.settings.get(name) {
                    Some(old) => target.insert(name.clone(), old.clone()),
                    None => target.remove(name),
                };
            }
        } else {
            self.live.tables = saved.tables;
            self.live.channels = saved.channels;
            self.live.pending.clear();
            self.live.notes.clear();
        }
        (self.settings_become(target), done)
    }

    /// Goes back to a savepoint.
    pub fn back_to(&mut self, name: &str) -> Option<Vec<u8>> {
        let at = self.savepoints.iter().rposition(|(n, _)| n == name)?;
        self.savepoints.truncate(at + 1);
        let saved = self.savepoints[at].1.clone();
        let reported = self.settings_become(saved.settings.clone());
        self.live = saved;
        self.tx = Tx::Block;
        Some(reported)
    }

    fn settings_become(&mut self, target: BTreeMap<String, (String, Owner)>) -> Vec<u8> {
        let old = core::mem::replace(&mut self.live.settings, target);
        let mut out = Vec::new();
        for name in REPORTED {
            let before = old.get(*name).map(|(v, _)| v.clone());
            let before = before.or_else(|| self.defaults.get(*name).cloned());
            out.extend(self.report(name, before.as_deref()));
        }
        out
    }

    /// Something here that `owner` did not leave, in words.
    pub fn foreign(&self, owner: Owner) -> Option<String> {
        let other = |o: &Owner| o.is_some() && *o != owner;
        let name = |what: &str, name: Option<&String>| name.map(|n| format!("{what} {n}"));
        let live = &self.live;
        let setting = live.settings.iter().find(|(_, (_, o))| other(o));
        let table = live.tables.iter().find(|(_, o)| other(o));
        let channel = live.channels.iter().find(|(_, o)| other(o));
        let lock = self.locks.iter().find(|(_, o)| other(o));
        let cursor = self.cursors.iter().find(|(_, (_, o))| other(o));
        let currval = self.currvals.iter().find(|(_, (_, o))| other(o));
        name("setting", setting.map(|s| s.0))
            .or_else(|| name("table", table.map(|t| t.0)))
            .or_else(|| name("channel", channel.map(|c| c.0)))
            .or_else(|| lock.map(|l| format!("lock {}", l.0)))
            .or_else(|| name("cursor", cursor.map(|c| c.0)))
            .or_else(|| name("currval", currval.map(|c| c.0)))
            .or_else(|| {
                (self.tx != Tx::Idle && other(&self.tx_owner)).then(|| "transaction".to_owned())
            })
    }
}
