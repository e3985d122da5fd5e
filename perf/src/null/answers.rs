//! What the null server says to each message. No sockets here.

use std::collections::HashMap;

use crate::wire;

/// Bytes of one row of a large result.
const ROW: usize = 8 << 10;
/// Bytes of a large result that are made at a time.
const CHUNK: usize = 256 << 10;

/// Parameters that PostgreSQL reports at the start, with values of a PostgreSQL 15.
const PARAMETERS: [(&str, &str); 13] = [
    ("application_name", ""),
    ("client_encoding", "UTF8"),
    ("DateStyle", "ISO, MDY"),
    ("default_transaction_read_only", "off"),
    ("in_hot_standby", "off"),
    ("integer_datetimes", "on"),
    ("IntervalStyle", "postgres"),
    ("is_superuser", "off"),
    ("server_encoding", "UTF8"),
    ("server_version", "15.0"),
    ("session_authorization", "weir"),
    ("standard_conforming_strings", "on"),
    ("TimeZone", "UTC"),
];

/// RowDescription of one column of text.
const ROW_DESCRIPTION: &[u8] =
    b"T\0\0\0\x1d\0\x01null\0\0\0\0\0\0\0\0\0\0\x19\xff\xff\xff\xff\xff\xff\0\0";
/// The row `1`.
const ROW_ONE: &[u8] = b"D\0\0\0\x0b\0\x01\0\0\0\x011";
const SELECT_ONE: &[u8] = b"C\0\0\0\x0dSELECT 1\0";
const NO_DATA: &[u8] = b"n\0\0\0\x04";
const PARSE_COMPLETE: &[u8] = b"1\0\0\0\x04";
const BIND_COMPLETE: &[u8] = b"2\0\0\0\x04";
const CLOSE_COMPLETE: &[u8] = b"3\0\0\0\x04";
const EMPTY_QUERY: &[u8] = b"I\0\0\0\x04";
/// CopyInResponse and CopyOutResponse: text, one column.
const COPY_IN: &[u8] = b"G\0\0\0\x09\0\0\x01\0\0";
const COPY_OUT: &[u8] = b"H\0\0\0\x09\0\0\x01\0\0";

/// What a statement does.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Statement {
    /// The one row `1`.
    One,
    /// A row with this text.
    Literal(Vec<u8>),
    /// Only a tag.
    Tag(&'static str),
    /// A tag, and the transaction status after it.
    Turn(&'static str, u8),
    /// So many bytes in rows.
    Bytes(u64),
    /// So many bytes by COPY.
    CopyOut(u64),
    /// COPY from the client.
    CopyIn,
    /// An error with this SQLSTATE.
    Error(String),
    /// Nothing.
    Empty,
}

/// A large result under way.
struct Large {
    left: u64,
    copy: bool,
    /// ReadyForQuery follows: it was asked for by Query.
    simple: bool,
}

/// One client's session.
pub struct Session {
    /// `I`, `T` or `E`.
    status: u8,
    /// COPY from the client is under way; true: ReadyForQuery follows its end.
    copying: Option<bool>,
    /// Messages are ignored up to Sync.
    broken: bool,
    statements: HashMap<Vec<u8>, (Statement, u16)>,
    portal: Statement,
    large: Option<Large>,
    /// Queries so far that take a query's time.
    pub worked: u64,
}

/// Messages whose bodies are read: all but CopyData.
#[must_use]
pub fn wanted(kind: u8) -> bool {
    kind != b'd'
}

/// What a client gets that logs in.
pub fn welcome(process: u32, out: &mut Vec<u8>) {
    out.extend_from_slice(b"R\0\0\0\x08\0\0\0\0");
    for (name, value) in PARAMETERS {
        wire::message(out, b'S', |b| {
            wire::text(b, name.as_bytes());
            wire::text(b, value.as_bytes());
        });
    }
    wire::message(out, b'K', |b| {
        b.extend_from_slice(&process.to_be_bytes());
        b.extend_from_slice(&process.wrapping_mul(0x9E37_79B1).to_be_bytes());
    });
    ready(b'I', out);
}

impl Default for Session {
    fn default() -> Session {
        Session {
            status: b'I',
            copying: None,
            broken: false,
            statements: HashMap::new(),
            portal: Statement::Empty,
            large: None,
            worked: 0,
        }
    }
}

impl Session {
    /// Whether a large result is under way: no message may be answered before it has ended.
    #[must_use]
    pub fn large(&self) -> bool {
        self.large.is_some()
    }

    /// Appends the answer to one message.
    pub fn answer(&mut self, kind: u8, body: &[u8], out: &mut Vec<u8>) {
        if let Some(simple) = self.copying {
            return self.during_copy(kind, simple, out);
        }
        if kind == b'S' {
            self.broken = false;
            return ready(self.status, out);
        }
        if self.broken {
            return;
        }
        match kind {
            b'Q' => self.query(body.strip_suffix(b"\0").unwrap_or(body), out),
            b'P' => self.parse(body, out),
            b'B' => self.bind(body, out),
            b'D' => self.describe(body, out),
            b'E' => {
                let portal = self.portal.clone();
                self.execute(&portal, false, out);
            }
            b'C' => {
                if let Some((b'S', name)) = body.split_first() {
                    self.statements.remove(until_nul(name).0);
                }
                out.extend_from_slice(CLOSE_COMPLETE);
            }
            _ => {}
        }
    }

    fn during_copy(&mut self, kind: u8, simple: bool, out: &mut Vec<u8>) {
        match kind {
            b'c' => command_complete("COPY 1", out),
            b'f' => self.error("57014", "COPY from stdin failed", !simple, out),
            // As PostgreSQL does: a client may have sent them before it knew of the COPY.
            _ => return,
        }
        self.copying = None;
        if simple {
            ready(self.status, out);
        }
    }

    fn query(&mut self, sql: &[u8], out: &mut Vec<u8>) {
        let mut rest = sql;
        loop {
            let (one, behind) = split_statement(rest);
            let statement = classify(one);
            self.execute(&statement, true, out);
            if self.copying.is_some() || self.large.is_some() {
                return;
            }
            if behind.trim_ascii().is_empty() || matches!(statement, Statement::Error(_)) {
                break;
            }
            rest = behind;
        }
        ready(self.status, out);
    }

    fn parse(&mut self, body: &[u8], out: &mut Vec<u8>) {
        let (name, rest) = until_nul(body);
        let (sql, _) = until_nul(rest);
        let known = (classify(sql), parameters(sql));
        self.statements.insert(name.to_vec(), known);
        out.extend_from_slice(PARSE_COMPLETE);
    }

    fn bind(&mut self, body: &[u8], out: &mut Vec<u8>) {
        let (_, rest) = until_nul(body);
        let (name, _) = until_nul(rest);
        match self.statements.get(name) {
            Some((statement, _)) => {
                self.portal.clone_from(statement);
                out.extend_from_slice(BIND_COMPLETE);
            }
            None => self.no_statement(out),
        }
    }

    fn no_statement(&mut self, out: &mut Vec<u8>) {
        self.error("26000", "there is no such prepared statement", true, out);
    }

    fn describe(&mut self, body: &[u8], out: &mut Vec<u8>) {
        let described = match body.split_first() {
            Some((b'S', name)) => {
                let Some((statement, count)) = self.statements.get(until_nul(name).0) else {
                    return self.no_statement(out);
                };
                wire::message(out, b't', |b| {
                    b.extend_from_slice(&count.to_be_bytes());
                    // All are text.
                    (0..*count).for_each(|_| b.extend_from_slice(&25u32.to_be_bytes()));
                });
                statement
            }
            _ => &self.portal,
        };
        out.extend_from_slice(if has_rows(described) {
            ROW_DESCRIPTION
        } else {
            NO_DATA
        });
    }

    /// Runs a statement. In the simple protocol its rows are described.
    fn execute(&mut self, statement: &Statement, simple: bool, out: &mut Vec<u8>) {
        if simple && has_rows(statement) {
            out.extend_from_slice(ROW_DESCRIPTION);
        }
        match statement {
            Statement::One => {
                self.worked += 1;
                out.extend_from_slice(ROW_ONE);
                out.extend_from_slice(SELECT_ONE);
            }
            Statement::Literal(text) => {
                row(text, out);
                out.extend_from_slice(SELECT_ONE);
            }
            Statement::Tag(tag) => command_complete(tag, out),
            Statement::Turn(tag, status) => {
                self.status = *status;
                command_complete(tag, out);
            }
            Statement::Bytes(left) => self.begin_large(*left, false, simple),
            Statement::CopyOut(left) => {
                out.extend_from_slice(COPY_OUT);
                self.begin_large(*left, true, simple);
            }
            Statement::CopyIn => {
                out.extend_from_slice(COPY_IN);
                self.copying = Some(simple);
            }
            Statement::Error(code) => self.error(code, "as asked for", !simple, out),
            Statement::Empty => out.extend_from_slice(EMPTY_QUERY),
        }
    }

    fn begin_large(&mut self, left: u64, copy: bool, simple: bool) {
        self.large = Some(Large { left, copy, simple });
    }

    /// Appends the next part of a large result, and its end when that has come.
    pub fn more(&mut self, out: &mut Vec<u8>) {
        let Some(large) = &mut self.large else {
            return;
        };
        let enough = out.len() + CHUNK;
        while large.left > 0 && out.len() < enough {
            let size = large.left.min(ROW as u64) as usize;
            large.left -= size as u64;
            if large.copy {
                wire::message(out, b'd', |b| line(size, b));
            } else {
                wire::message(out, b'D', |b| {
                    b.extend_from_slice(&[0, 1]);
                    wire::untyped_value(b, |b| b.resize(b.len() + size, b'x'));
                });
            }
        }
        if large.left > 0 {
            return;
        }
        if large.copy {
            out.extend_from_slice(wire::COPY_DONE);
        }
        command_complete(if large.copy { "COPY 1" } else { "SELECT 1" }, out);
        if large.simple {
            ready(self.status, out);
        }
        self.large = None;
    }

    fn error(&mut self, code: &str, text: &str, until_sync: bool, out: &mut Vec<u8>) {
        if self.status == b'T' {
            self.status = b'E';
        }
        self.broken = until_sync;
        wire::message(out, b'E', |b| {
            for (field, value) in [(b'S', "ERROR"), (b'V', "ERROR"), (b'C', code), (b'M', text)] {
                b.push(field);
                wire::text(b, value.as_bytes());
            }
            b.push(0);
        });
    }
}

fn has_rows(statement: &Statement) -> bool {
    matches!(
        statement,
        Statement::One | Statement::Literal(_) | Statement::Bytes(_)
    )
}

fn ready(status: u8, out: &mut Vec<u8>) {
    out.extend_from_slice(&[b'Z', 0, 0, 0, 5, status]);
}

fn row(text: &[u8], out: &mut Vec<u8>) {
    wire::message(out, b'D', |b| {
        b.extend_from_slice(&[0, 1]);
        wire::untyped_value(b, |b| b.extend_from_slice(text));
    });
}

fn line(size: usize, out: &mut Vec<u8>) {
    out.resize(out.len() + size - 1, b'x');
    out.push(b'\n');
}

fn command_complete(tag: &str, out: &mut Vec<u8>) {
    wire::message(out, b'C', |b| wire::text(b, tag.as_bytes()));
}

fn until_nul(bytes: &[u8]) -> (&[u8], &[u8]) {
    let at = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
    (&bytes[..at], bytes.get(at + 1..).unwrap_or(&[]))
}

/// The first statement of a text, and the rest behind its semicolon. Quotes are minded, comments and dollar quotes not.
fn split_statement(sql: &[u8]) -> (&[u8], &[u8]) {
    let mut quote = None;
    for (i, b) in sql.iter().enumerate() {
        match (quote, b) {
            (None, b'\'' | b'"') => quote = Some(*b),
            (None, b';') => return (&sql[..i], &sql[i + 1..]),
            (Some(q), b) if q == *b => quote = None,
            _ => {}
        }
    }
    (sql, &[])
}

fn classify(sql: &[u8]) -> Statement {
    let sql = sql.trim_ascii();
    let end = sql
        .iter()
        .position(|b| !b.is_ascii_alphanumeric() && *b != b'_')
        .unwrap_or(sql.len());
    let (word, rest) = sql.split_at(end);
    let rest = rest.trim_ascii();
    let mut lower = [0; 16];
    let Some(first) = lower.get_mut(..word.len()) else {
        return Statement::One;
    };
    first.copy_from_slice(word);
    first.make_ascii_lowercase();
    match &*first {
        b"" if sql.is_empty() => Statement::Empty,
        b"select" => literal(rest).map_or(Statement::One, Statement::Literal),
        b"begin" | b"start" => Statement::Turn("BEGIN", b'T'),
        b"commit" | b"end" => Statement::Turn("COMMIT", b'I'),
        b"rollback" if starts_with_word(rest, b"to") => Statement::Turn("ROLLBACK", b'T'),
        b"rollback" | b"abort" => Statement::Turn("ROLLBACK", b'I'),
        b"discard" => Statement::Tag("DISCARD ALL"),
        b"deallocate" if starts_with_word(rest, b"all") => Statement::Tag("DEALLOCATE ALL"),
        b"copy" => copy(rest),
        b"null_bytes" => Statement::Bytes(number(rest)),
        b"null_error" => Statement::Error(error_code(rest)),
        other => tag(other).map_or(Statement::One, Statement::Tag),
    }
}

/// Statements that answer with a tag alone.
fn tag(word: &[u8]) -> Option<&'static str> {
    Some(match word {
        b"set" => "SET",
        b"reset" => "RESET",
        b"deallocate" => "DEALLOCATE",
        b"savepoint" => "SAVEPOINT",
        b"release" => "RELEASE",
        b"listen" => "LISTEN",
        b"unlisten" => "UNLISTEN",
        b"notify" => "NOTIFY",
        b"insert" => "INSERT 0 1",
        b"update" => "UPDATE 1",
        b"delete" => "DELETE 1",
        b"create" => "CREATE TABLE",
        b"drop" => "DROP TABLE",
        b"truncate" => "TRUNCATE TABLE",
        b"lock" => "LOCK TABLE",
        b"close" => "CLOSE CURSOR",
        b"declare" => "DECLARE CURSOR",
        b"analyze" => "ANALYZE",
        b"vacuum" => "VACUUM",
        _ => return None,
    })
}

fn starts_with_word(text: &[u8], word: &[u8]) -> bool {
    text.get(..word.len())
        .is_some_and(|t| t.eq_ignore_ascii_case(word))
        && text
            .get(word.len())
            .is_none_or(|b| !b.is_ascii_alphanumeric())
}

/// A single text literal and nothing else.
fn literal(text: &[u8]) -> Option<Vec<u8>> {
    let inner = text.strip_prefix(b"'")?.strip_suffix(b"'")?;
    let mut value = Vec::with_capacity(inner.len());
    let mut bytes = inner.iter();
    while let Some(b) = bytes.next() {
        if *b == b'\'' && bytes.next() != Some(&b'\'') {
            return None;
        }
        value.push(*b);
    }
    Some(value)
}

/// `… FROM STDIN`, or `(null_bytes N) TO STDOUT`.
fn copy(rest: &[u8]) -> Statement {
    let lower = rest.to_ascii_lowercase();
    let has = |word: &[u8]| lower.windows(word.len()).any(|w| w == word);
    if has(b"from stdin") {
        return Statement::CopyIn;
    }
    let at = lower.windows(10).position(|w| w == b"null_bytes");
    Statement::CopyOut(at.map_or(0, |at| number(lower[at + 10..].trim_ascii_start())))
}

fn number(text: &[u8]) -> u64 {
    text.iter()
        .take_while(|b| b.is_ascii_digit())
        .fold(0u64, |n, b| {
            n.saturating_mul(10).saturating_add(u64::from(b - b'0'))
        })
}

fn error_code(text: &[u8]) -> String {
    let code = String::from_utf8_lossy(text.get(..5).unwrap_or(b"P0001"));
    code.into_owned()
}

/// How many parameters a statement has: the largest `$n`.
fn parameters(sql: &[u8]) -> u16 {
    let starts = sql.iter().enumerate().filter(|(_, b)| **b == b'$');
    let numbers = starts.map(|(i, _)| number(&sql[i + 1..]));
    numbers
        .max()
        .and_then(|n| u16::try_from(n).ok())
        .unwrap_or(0)
}

#[cfg(test)]
#[path = "answers_tests.rs"]
mod tests;
