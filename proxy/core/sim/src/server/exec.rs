//! What statements do: a small language that looks like SQL, because weir reads it as SQL.

use std::collections::VecDeque;

use super::Shared;
use super::parts::{Failure, Outcome, Running, Statement, is_replay};
use super::session::Session;
use super::state::{Owner, Tx};
use crate::wire;

type Done = Result<Outcome, Failure>;

fn tag(text: &str) -> Done {
    Ok(Outcome::Tag(text.to_owned()))
}

fn row(column: &str, value: &str) -> Done {
    rows(column, vec![value.to_owned()])
}

fn rows(column: &str, values: Vec<String>) -> Done {
    Ok(Outcome::Rows {
        column: column.to_owned(),
        rows: values.into(),
        tag: "SELECT #".to_owned(),
    })
}

/// The first text in single quotes.
fn quoted(sql: &str) -> &str {
    sql.split('\'').nth(1).unwrap_or_default()
}

/// Without comments; weir's own statements, which shout, in small letters.
fn plain(sql: &str) -> String {
    let sql = sql.split("/*").next().unwrap_or_default().trim();
    for (shouted, said) in [
        ("SELECT ", "select "),
        ("SET ", "set "),
        ("RESET ", "reset "),
    ] {
        if let Some(rest) = sql.strip_prefix(shouted) {
            return format!("{said}{rest}");
        }
    }
    let shouted = sql.bytes().all(|b| !b.is_ascii_lowercase());
    if shouted {
        sql.to_ascii_lowercase()
    } else {
        sql.to_owned()
    }
}

fn word(sql: &str, n: usize) -> &str {
    let word = sql.split_whitespace().nth(n).unwrap_or_default();
    word.trim_end_matches(['(', ')', ',', ';'])
}

fn inside(sql: &str) -> &str {
    sql.split(['(', ')']).nth(1).unwrap_or_default()
}

/// How many parameters a statement has.
pub(super) fn parameter_count(sql: &str) -> usize {
    (1..10)
        .take_while(|n| sql.contains(&format!("${n}")))
        .count()
}

/// The column that a statement gives, if it gives rows.
pub(super) fn result_column(sql: &str) -> Option<String> {
    let sql = plain(sql);
    let column = match word(&sql, 0) {
        "select" if sql.starts_with("select pg_sleep") => "pg_sleep",
        "select" if sql.starts_with("select pg_advisory") => "lock",
        "select" | "fetch" | "execute" => "?column?",
        "show" => word(&sql, 1),
        _ => return None,
    };
    Some(column.to_owned())
}

/// What a parser refuses.
pub(super) fn check_syntax(sql: &str) -> Result<(), Failure> {
    const WORDS: &str = " select insert begin start commit end rollback savepoint release set show reset discard create drop \
        listen unlisten notify prepare execute deallocate declare fetch close copy do ";
    let sql = plain(sql);
    let first = word(&sql, 0);
    if first.is_empty() || WORDS.contains(&format!(" {first} ")) {
        return Ok(());
    }
    Err(Failure::new(
        "42601",
        format!("syntax error at or near \"{first}\""),
    ))
}

impl Session {
    pub(super) fn execute(&mut self, shared: &mut Shared, running: &Running) -> Done {
        check_syntax(&running.sql)?;
        let sql = plain(&running.sql);
        self.check_failed(&sql)?;
        match word(&sql, 0) {
            "select" => self.select(shared, &sql, running),
            "insert" => {
                if let Some(owner) = running.owner {
                    let bound = running.parameters.first().cloned();
                    let value = bound.unwrap_or_else(|| quoted(&sql).to_owned());
                    self.state.live.pending.push((owner, value));
                }
                tag("INSERT 0 1")
            }
            "begin" | "start" | "commit" | "end" | "rollback" | "savepoint" | "release" => {
                self.transaction(shared, &sql, running)
            }
            "set" | "reset"
                if is_replay(&running.sql) && shared.rng.chance(shared.config.fickle) =>
            {
                Err(Failure::new("22023", "invalid value for parameter"))
            }
            "set" | "show" | "reset" => self.settings(&sql),
            "copy" if sql.contains("nowhere") => {
                Err(Failure::new("42P01", "relation \"nowhere\" does not exist"))
            }
            "copy" if sql.contains("from stdin") => Ok(Outcome::CopyIn),
            "copy" => Ok(Outcome::CopyOut(self.visible(shared, running))),
            "discard" => self.discard(shared, running),
            "do" => tag("DO"),
            _ => self.objects(&sql, running),
        }
    }

    fn visible(&self, shared: &Shared, running: &Running) -> Vec<String> {
        let owner = running.owner.unwrap_or_default();
        let mut found = shared.rows.get(&owner).cloned().unwrap_or_default();
        let own = self.state.live.pending.iter().filter(|(o, _)| *o == owner);
        found.extend(own.map(|(_, row)| row.clone()));
        found
    }

    fn select(&mut self, shared: &mut Shared, sql: &str, running: &Running) -> Done {
        let rest = sql.strip_prefix("select ").unwrap_or_default();
        if rest.starts_with("1/0") {
            return Err(Failure::new("22012", "division by zero"));
        }
        if rest.starts_with("pg_sleep") {
            return row("pg_sleep", "");
        }
        if rest.starts_with("pg_catalog.concat_ws(") {
            return row("concat_ws", &self.state.still(rest));
        }
        if rest.starts_with("current_user") {
            return row("?column?", &format!("{}@{}", self.user, self.database));
        }
        if rest.starts_with("v from acct") {
            let found = self.visible(shared, running);
            return rows("?column?", found);
        }
        if ["pg_advisory", "nextval", "currval"]
            .iter()
            .any(|f| rest.starts_with(f))
        {
            return self.functions(shared, rest, running);
        }
        if rest.starts_with("set_config") {
            let parts: Vec<&str> = rest.split('\'').collect();
            let (Some(name), Some(value)) = (parts.get(1), parts.get(3)) else {
                return Err(Failure::new("42601", "syntax error"));
            };
            let reported = self.state.set(name, value, false);
            self.say(&reported);
            return row("?column?", value);
        }
        if let Some(table) = sql.split(" from tt_").nth(1) {
            let table = format!("tt_{}", word(table, 0));
            if !self.state.live.tables.contains_key(&table) {
                return Err(Failure::new(
                    "42P01",
                    format!("relation \"{table}\" does not exist"),
                ));
            }
        }
        if let Some(series) = sql.split("generate_series(1, ").nth(1) {
            let count: usize = series
                .split(')')
                .next()
                .and_then(|n| n.parse().ok())
                .unwrap_or(0);
            let text = quoted(sql);
            return rows(
                "?column?",
                (0..count).map(|i| format!("{text}:{i}")).collect(),
            );
        }
        match running.parameters.first() {
            Some(bound) => row("?column?", bound),
            None => row("?column?", quoted(sql)),
        }
    }

    fn functions(&mut self, shared: &mut Shared, rest: &str, running: &Running) -> Done {
        if rest.starts_with("pg_advisory_unlock") {
            let key: u64 = inside(rest).parse().unwrap_or(0);
            let held = self.state.locks.remove(&key).is_some();
            if held {
                shared.locks.remove(&key);
            }
            return row("lock", if held { "t" } else { "f" });
        }
        if rest.starts_with("pg_advisory") {
            let key: u64 = inside(rest).parse().unwrap_or(0);
            // Keys are the client's own, so somebody else's session that holds it is a leak.
            if shared.locks.get(&key).is_some_and(|s| *s != self.sock) {
                shared.violation(format!(
                    "client {:?} finds its lock {key} held elsewhere",
                    running.owner
                ));
            }
            shared.locks.insert(key, self.sock);
            self.state.locks.insert(key, running.owner);
            return row("lock", "");
        }
        let name = quoted(rest).to_owned();
        if rest.starts_with("nextval") {
            let value = shared.sequences.entry(name.clone()).or_insert(0);
            *value += 1;
            let text = value.to_string();
            self.state.currvals.insert(name, (*value, running.owner));
            return row("?column?", &text);
        }
        match self.state.currvals.get(&name) {
            Some((value, _)) => row("?column?", &value.to_string()),
            None => Err(Failure::new(
                "55000",
                format!("currval of sequence \"{name}\" is not yet defined in this session"),
            )),
        }
    }

    fn transaction(&mut self, shared: &mut Shared, sql: &str, running: &Running) -> Done {
        match (word(sql, 0), self.state.tx) {
            ("begin" | "start", Tx::Block | Tx::Failed) => {
                self.warn("25001", "there is already a transaction in progress");
                tag("BEGIN")
            }
            ("begin" | "start", _) => {
                self.state.tx = Tx::Block;
                self.state.tx_owner = running.owner;
                tag("BEGIN")
            }
            ("savepoint", Tx::Block) => {
                let live = self.state.live.clone();
                self.state.savepoints.push((word(sql, 1).to_owned(), live));
                tag("SAVEPOINT")
            }
            ("release", Tx::Block) => {
                if !self.state.release(word(sql, 1)) {
                    return Err(Failure::new("3B001", "savepoint does not exist"));
                }
                tag("RELEASE")
            }
            ("rollback", Tx::Block | Tx::Failed) if word(sql, 1) == "to" => {
                match self.state.back_to(word(sql, 2)) {
                    Some(reported) => {
                        self.say(&reported);
                        tag("ROLLBACK")
                    }
                    None => Err(Failure::new("3B001", "savepoint does not exist")),
                }
            }
            ("savepoint" | "release", _) => Err(Failure::new(
                "25P01",
                "can only be used in transaction blocks",
            )),
            ("commit" | "end", Tx::Failed) | ("rollback", Tx::Block | Tx::Failed) => {
                self.end_transaction(shared, false);
                tag("ROLLBACK")
            }
            ("rollback", _) => {
                self.warn("25P01", "there is no transaction in progress");
                self.end_transaction(shared, false);
                tag("ROLLBACK")
            }
            (_, before) => {
                if before != Tx::Block {
                    self.warn("25P01", "there is no transaction in progress");
                }
                self.end_transaction(shared, true);
                tag("COMMIT")
            }
        }
    }

    fn warn(&mut self, code: &str, text: &str) {
        self.say(&wire::error(b'N', "WARNING", code, text));
    }

    fn settings(&mut self, sql: &str) -> Done {
        let unknown = |name: &str| {
            Failure::new(
                "42704",
                format!("unrecognized configuration parameter \"{name}\""),
            )
        };
        match word(sql, 0) {
            "show" => {
                let name = word(sql, 1);
                let spelled = self.state.spelled(name).ok_or_else(|| unknown(name))?;
                let value = self.state.setting(&spelled).unwrap_or_default();
                let rows = VecDeque::from([value.to_owned()]);
                Ok(Outcome::Rows {
                    column: name.to_owned(),
                    rows,
                    tag: "SHOW".to_owned(),
                })
            }
            "reset" => {
                let name = word(sql, 1);
                let reported = if name == "all" {
                    self.state.reset(None)
                } else {
                    let name = self.state.spelled(name).ok_or_else(|| unknown(name))?;
                    self.state.reset(Some(&name))
                };
                self.say(&reported);
                tag("RESET")
            }
            _ => {
                let local = word(sql, 1) == "local";
                let name = word(sql, 1 + usize::from(local));
                let name = self.state.spelled(name).ok_or_else(|| unknown(name))?;
                let reported = if sql.ends_with("default") {
                    self.state.reset(Some(&name))
                } else {
                    self.state.set(&name, quoted(sql), local)
                };
                self.say(&reported);
                tag("SET")
            }
        }
    }

    fn discard(&mut self, shared: &mut Shared, running: &Running) -> Done {
        if self.state.tx == Tx::Block {
            return Err(Failure::new(
                "25001",
                "DISCARD ALL cannot run inside a transaction block",
            ));
        }
        if shared.config.deaf_discard && running.owner.is_none() {
            return tag("DISCARD ALL");
        }
        let reported = self.state.reset(None);
        self.say(&reported);
        self.statements.clear();
        self.state.live.tables.clear();
        self.state.live.channels.clear();
        self.state.cursors.clear();
        self.state.currvals.clear();
        for key in core::mem::take(&mut self.state.locks).keys() {
            shared.locks.remove(key);
        }
        tag("DISCARD ALL")
    }

    fn objects(&mut self, sql: &str, running: &Running) -> Done {
        let owner = running.owner;
        let name = word(sql, 1).to_owned();
        match word(sql, 0) {
            "create" => {
                self.state
                    .live
                    .tables
                    .insert(word(sql, 3).to_owned(), owner);
                tag("CREATE TABLE")
            }
            "drop" => {
                let table = word(sql, 4);
                if self.state.live.tables.remove(table).is_none() {
                    let text = format!("table \"{table}\" does not exist, skipping");
                    self.say(&wire::error(b'N', "NOTICE", "00000", &text));
                }
                tag("DROP TABLE")
            }
            "listen" => {
                self.state.live.channels.insert(name, owner);
                tag("LISTEN")
            }
            "unlisten" => {
                self.state.live.channels.clear();
                tag("UNLISTEN")
            }
            "notify" => {
                self.state.live.notes.push((name, quoted(sql).to_owned()));
                tag("NOTIFY")
            }
            "prepare" | "execute" | "deallocate" => self.prepared(sql, &name, owner),
            "declare" => {
                self.state
                    .cursors
                    .insert(name, (quoted(sql).to_owned(), owner));
                tag("DECLARE CURSOR")
            }
            "fetch" => match self.state.cursors.get(word(sql, 3)) {
                Some((value, _)) => row("?column?", value),
                None => Err(Failure::new(
                    "34000",
                    format!("cursor \"{}\" does not exist", word(sql, 3)),
                )),
            },
            "close" => {
                self.state.cursors.remove(&name);
                tag("CLOSE CURSOR")
            }
            other => Err(Failure::new(
                "42601",
                format!("syntax error at or near \"{other}\""),
            )),
        }
    }

    fn prepared(&mut self, sql: &str, name: &str, owner: Owner) -> Done {
        let name = match (word(sql, 0), word(sql, 1)) {
            ("deallocate", "prepare") => word(sql, 2),
            _ => name,
        };
        let name = name.trim_matches('"');
        let none = || {
            Failure::new(
                "26000",
                format!("prepared statement \"{name}\" does not exist"),
            )
        };
        match word(sql, 0) {
            "prepare" if self.statements.contains_key(name) => Err(Failure::new(
                "42P05",
                format!("prepared statement \"{name}\" already exists"),
            )),
            "prepare" => {
                let sql = sql.split(" as ").nth(1).unwrap_or_default().to_owned();
                self.statements
                    .insert(name.to_owned(), Statement { sql, owner });
                tag("PREPARE")
            }
            "execute" => match self.statements.get(name) {
                Some(statement) => row("?column?", quoted(&statement.sql)),
                None => Err(none()),
            },
            "deallocate" if name == "all" => {
                self.statements.clear();
                tag("DEALLOCATE ALL")
            }
            _ => match self.statements.remove(name) {
                Some(_) => tag("DEALLOCATE"),
                None => Err(none()),
            },
        }
    }
}
