//! What a session holds: settings, temporary tables, listens, cursors, its transaction. And who left it there.

use std::collections::BTreeMap;

use crate::wire;

/// Settings that a server reports when they change.
const REPORTED: [&str; 4] = [
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
    pub settings: BTreeMap<String, String>,
    /// Settings made by `set local`, in front of those.
    pub local: BTreeMap<String, String>,
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

    /// Weir's question what the session still has: of what it names, that which is there.
    pub fn still(&self, question: &str) -> String {
        let found = [
            ("temporary_object", !self.live.tables.is_empty()),
            ("listen", !self.live.channels.is_empty()),
            ("advisory_lock", !self.locks.is_empty()),
            ("hold_cursor", !self.cursors.is_empty()),
        ];
        let asked = |name: &str| question.contains(&format!("THEN '{name}'"));
        let mut names: Vec<&str> = Vec::new();
        names.extend(
            found
                .iter()
                .filter(|(n, there)| *there && asked(n))
                .map(|(n, _)| *n),
        );
        names.join(" ")
    }

    /// A statement starts: at least an implicit transaction is open.
    pub fn enter(&mut self) {
        if self.tx == Tx::Idle {
            self.tx = Tx::Implicit;
            self.saved = Some(self.live.clone());
        }
    }

    pub fn setting(&self, name: &str) -> Option<&str> {
        let live = &self.live;
        let value = live.local.get(name).or_else(|| live.settings.get(name));
        value
            .or_else(|| self.defaults.get(name))
            .map(String::as_str)
    }

    /// Its name as the server spells it.
    pub fn spelled(&self, name: &str) -> Option<String> {
        let name = name.trim_matches('"');
        let mut known = self.defaults.keys();
        known.find(|k| k.eq_ignore_ascii_case(name)).cloned()
    }

    /// All settings as statements see them.
    pub fn all_settings(&self) -> BTreeMap<String, String> {
        let names = self.defaults.keys();
        names
            .map(|n| (n.clone(), self.setting(n).unwrap_or_default().to_owned()))
            .collect()
    }

    /// Changes a setting, until the end of the transaction or of the session; the bytes are what is reported.
    pub fn set(&mut self, name: &str, value: &str, local: bool) -> Vec<u8> {
        let mut target = self.live.clone();
        if local {
            target.local.insert(name.to_owned(), value.to_owned());
        } else {
            target.local.remove(name);
            target.settings.insert(name.to_owned(), value.to_owned());
        }
        self.live_becomes(target)
    }

    /// Takes settings back to the login's values; all, or one.
    pub fn reset(&mut self, name: Option<&str>) -> Vec<u8> {
        let mut target = self.live.clone();
        let stays = |n: &String| name.is_some_and(|name| n != name);
        target.settings.retain(|n, _| stays(n));
        target.local.retain(|n, _| stays(n));
        self.live_becomes(target)
    }

    /// Ends the transaction. Answers what is reported and, when it was committed, rows and notifications.
    pub fn end(&mut self, commit: bool) -> (Vec<u8>, Transactional) {
        let saved = self.saved.take().unwrap_or_default();
        self.tx = Tx::Idle;
        self.tx_owner = None;
        self.savepoints.clear();
        let mut done = Transactional::default();
        let mut target = if commit { self.live.clone() } else { saved };
        let (pending, notes) = (
            core::mem::take(&mut target.pending),
            core::mem::take(&mut target.notes),
        );
        if commit {
            (done.pending, done.notes) = (pending, notes);
        }
        target.local.clear();
        (self.live_becomes(target), done)
    }

    /// Goes back to a savepoint.
    pub fn back_to(&mut self, name: &str) -> Option<Vec<u8>> {
        let at = self.savepoints.iter().rposition(|(n, _)| n == name)?;
        self.savepoints.truncate(at + 1);
        let saved = self.savepoints[at].1.clone();
        let reported = self.live_becomes(saved);
        self.tx = Tx::Block;
        Some(reported)
    }

    /// Forgets a savepoint and those after it.
    pub fn release(&mut self, name: &str) -> bool {
        let at = self.savepoints.iter().rposition(|(n, _)| n == name);
        at.map(|at| self.savepoints.truncate(at)).is_some()
    }

    fn live_becomes(&mut self, target: Transactional) -> Vec<u8> {
        let before = REPORTED.map(|name| self.setting(name).map(str::to_owned));
        self.live = target;
        let mut out = Vec::new();
        for (name, before) in REPORTED.iter().zip(before) {
            let now = self.setting(name);
            if now != before.as_deref() {
                out.extend(wire::parameter_status(name, now.unwrap_or_default()));
            }
        }
        out
    }

    /// Something here that `owner` did not leave, in words. Settings may be there for whoever has the same: what statements see of them
    /// is compared, see [`super::Shared::seen`].
    pub fn foreign(&self, owner: Owner) -> Option<String> {
        let other = |o: &Owner| o.is_some() && *o != owner;
        let name = |what: &str, name: Option<&String>| name.map(|n| format!("{what} {n}"));
        let live = &self.live;
        let table = live.tables.iter().find(|(_, o)| other(o));
        let channel = live.channels.iter().find(|(_, o)| other(o));
        let lock = self.locks.iter().find(|(_, o)| other(o));
        let cursor = self.cursors.iter().find(|(_, (_, o))| other(o));
        let currval = self.currvals.iter().find(|(_, (_, o))| other(o));
        name("table", table.map(|t| t.0))
            .or_else(|| name("channel", channel.map(|c| c.0)))
            .or_else(|| lock.map(|l| format!("lock {}", l.0)))
            .or_else(|| name("cursor", cursor.map(|c| c.0)))
            .or_else(|| name("currval", currval.map(|c| c.0)))
            .or_else(|| {
                (self.tx != Tx::Idle && other(&self.tx_owner)).then(|| "transaction".to_owned())
            })
    }
}
