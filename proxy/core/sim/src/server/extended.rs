//! The extended protocol and the function call.

use super::exec::{parameter_count, result_column};
use super::parts::{Failure, Portal, Statement, Way};
use super::session::Session;
use super::{Shared, mark};
use crate::wire;

fn malformed() -> Failure {
    Failure::new("08P01", "invalid message format")
}

fn no_portal(name: &str) -> Failure {
    Failure::new("34000", format!("portal \"{name}\" does not exist"))
}

impl Session {
    pub(super) fn extended(
        &mut self,
        shared: &mut Shared,
        kind: u8,
        body: &[u8],
    ) -> Result<(), Failure> {
        self.state.enter();
        match kind {
            b'P' => self.parse(shared, body),
            b'B' => self.bind(shared, body),
            b'D' => self.describe(body),
            b'E' => self.execute_message(shared, body),
            b'F' => self.call(shared, body),
            _ => self.close_message(body),
        }
    }

    fn parse(&mut self, shared: &mut Shared, body: &[u8]) -> Result<(), Failure> {
        let (name, rest) = wire::cstr(body).ok_or_else(malformed)?;
        let (sql, _) = wire::cstr(rest).ok_or_else(malformed)?;
        let owner = mark(sql).map(|m| m.0);
        if name.is_empty() {
            self.unnamed = None;
        }
        self.watch(shared, owner, sql);
        self.check_failed(sql)?;
        super::exec::check_syntax(sql)?;
        let sql = sql.to_owned();
        let statement = Statement { sql, owner };
        if name.is_empty() {
            self.unnamed = Some(statement);
        } else if self.statements.contains_key(name) {
            return Err(Failure::new(
                "42P05",
                format!("prepared statement \"{name}\" already exists"),
            ));
        } else {
            self.statements.insert(name.to_owned(), statement);
        }
        self.say(&wire::message(b'1', b""));
        Ok(())
    }

    fn statement(&self, name: &str) -> Result<Statement, Failure> {
        if name.is_empty() {
            let none = || Failure::new("26000", "unnamed prepared statement does not exist");
            return self.unnamed.clone().ok_or_else(none);
        }
        let text = format!("prepared statement \"{name}\" does not exist");
        let found = self.statements.get(name).cloned();
        found.ok_or_else(|| Failure::new("26000", text))
    }

    fn bind(&mut self, shared: &mut Shared, body: &[u8]) -> Result<(), Failure> {
        let (portal, rest) = wire::cstr(body).ok_or_else(malformed)?;
        let (name, rest) = wire::cstr(rest).ok_or_else(malformed)?;
        let parameters = bound_parameters(rest).ok_or_else(malformed)?;
        let Statement { sql, owner } = self.statement(name)?;
        let binder = parameters.iter().find_map(|p| mark(p)).map(|m| m.0);
        // A text that says whose it is, is only ever used by that one, under whatever name.
        if binder.is_some() && owner.is_some() && binder != owner {
            shared.violation(format!("client {binder:?} binds {sql:?}"));
        }
        self.watch(shared, binder.or(owner), &sql);
        self.check_failed(&sql)?;
        if parameters.len() != parameter_count(&sql) {
            return Err(Failure::new(
                "08P01",
                "bind message supplies a wrong number of parameters",
            ));
        }
        let made = Portal {
            sql,
            parameters,
            rows: None,
            tag: String::new(),
        };
        self.portals.insert(portal.to_owned(), made);
        self.say(&wire::message(b'2', b""));
        Ok(())
    }

    fn describe(&mut self, body: &[u8]) -> Result<(), Failure> {
        let (name, _) = wire::cstr(body.get(1..).unwrap_or_default()).ok_or_else(malformed)?;
        let sql = if body.first() == Some(&b'S') {
            let sql = self.statement(name)?.sql;
            // A server refuses only what has rows. What it says of the rest is not compared: through weir the statement may
            // have to be prepared first, which a failed transaction forbids.
            self.check_failed(&sql)?;
            let count = parameter_count(&sql);
            let mut types = (count as u16).to_be_bytes().to_vec();
            types.extend((0..count).flat_map(|_| 25u32.to_be_bytes()));
            self.say(&wire::message(b't', &types));
            sql
        } else {
            let portal = self.portals.get(name);
            portal
                .map(|p| p.sql.clone())
                .ok_or_else(|| no_portal(name))?
        };
        match result_column(&sql) {
            Some(column) => self.say(&wire::row_description(&[&column])),
            None => self.say(&wire::message(b'n', b"")),
        }
        Ok(())
    }

    fn execute_message(&mut self, shared: &mut Shared, body: &[u8]) -> Result<(), Failure> {
        let (name, rest) = wire::cstr(body).ok_or_else(malformed)?;
        let max = rest
            .get(..4)
            .and_then(|b| b.try_into().ok())
            .map_or(0, u32::from_be_bytes);
        let portal = self
            .portals
            .get(name)
            .cloned()
            .ok_or_else(|| no_portal(name))?;
        if portal.rows.is_some() {
            self.give_rows(name, max);
        } else if portal.sql.trim().is_empty() {
            self.say(&wire::message(b'I', b""));
        } else {
            let way = Way::Portal(name.to_owned(), max);
            self.start(shared, &portal.sql, portal.parameters, way);
        }
        Ok(())
    }

    fn close_message(&mut self, body: &[u8]) -> Result<(), Failure> {
        let (name, _) = wire::cstr(body.get(1..).unwrap_or_default()).ok_or_else(malformed)?;
        if body.first() == Some(&b'P') {
            self.portals.remove(name);
        } else if name.is_empty() {
            self.unnamed = None;
        } else {
            self.statements.remove(name);
        }
        self.say(&wire::message(b'3', b""));
        Ok(())
    }

    fn call(&mut self, shared: &mut Shared, body: &[u8]) -> Result<(), Failure> {
        let text = String::from_utf8_lossy(body);
        let (client, number) = mark(&text).ok_or_else(malformed)?;
        let sql = format!("select 'c{client}_{number}'");
        self.check_failed(&sql)?;
        self.start(shared, &sql, Vec::new(), Way::Call);
        Ok(())
    }
}

fn bound_parameters(rest: &[u8]) -> Option<Vec<String>> {
    let formats = u16::from_be_bytes(rest.get(..2)?.try_into().ok()?) as usize;
    let mut rest = rest.get(2 + 2 * formats..)?;
    let count = u16::from_be_bytes(rest.get(..2)?.try_into().ok()?);
    rest = &rest[2..];
    let mut found = Vec::new();
    for _ in 0..count {
        let length = u32::from_be_bytes(rest.get(..4)?.try_into().ok()?) as usize;
        found.push(String::from_utf8_lossy(rest.get(4..4 + length)?).into_owned());
        rest = &rest[4 + length..];
    }
    Some(found)
}
