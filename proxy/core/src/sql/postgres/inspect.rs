//! What a text of one or more statements may leave on its session: statement by statement, by their first words.
//!
//! Which parts of a statement call functions is read in `scan`.

use super::calls::Context;
use super::cursor::Cursor;
use super::keywords::{Category, Keyword};
use super::lexer::{Kind, Token};
use super::scan::{Scan, Sequences};
use super::settings::policy;
use crate::pins::{ASKABLE, PinReason, Pins};

/// What a text may do to its session.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Facts {
    /// Every reason to keep the backend after the transaction, of all statements together.
    pub pins: Pins,
    /// Reasons for which one of the statements may take away what is there.
    pub ends: Pins,
    /// How many statements the text holds; empty ones don't count.
    pub statements: u32,
    /// What all statements together have to do with the session's memory of sequences.
    pub sequences: Sequences,
    /// What one of them may do to the meaning of texts that servers have read before.
    pub schema: Schema,
    /// One of the statements is a `DISCARD`.
    pub discards: bool,
    /// One of the statements ends a transaction, also one that has failed, or goes back to a savepoint.
    pub ends_transaction: bool,
}

/// What a text may do to the meaning of other texts.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Schema {
    /// It changes something that is there (`ALTER`, `DROP`, `CREATE OR REPLACE`).
    pub redefines: bool,
    /// It makes something, which is gone again if the transaction is rolled back.
    pub creates: bool,
    /// It rolls back.
    pub undoes: bool,
    /// It changes, until the transaction ends, a setting that texts may be read with (`SET LOCAL`).
    pub passing: bool,
}

/// Reads the text of a Query or Parse message, without its final NUL. Any bytes: what can't be read for sure pins with
/// [`PinReason::UnknownStatement`]. Takes time in proportion to the length, and no memory.
#[must_use]
pub fn inspect(text: &[u8]) -> Facts {
    let mut inspection = Inspection {
        cursor: Cursor::new(text),
        facts: Facts::default(),
    };
    loop {
        let token = inspection.cursor.advance();
        match token.kind {
            Kind::End => break,
            Kind::Semicolon => {}
            _ => {
                inspection.facts.statements = inspection.facts.statements.saturating_add(1);
                inspection.statement(token);
            }
        }
    }
    Facts {
        pins: inspection.cursor.pins(),
        ends: inspection.cursor.ends(),
        ..inspection.facts
    }
}

struct Inspection<'t> {
    cursor: Cursor<'t>,
    facts: Facts,
}

impl Inspection<'_> {
    /// Reads one statement from its first token to its end, the semicolon included.
    fn statement(&mut self, first: Token) {
        if first.keyword == Keyword::Explain {
            return self.explain();
        }
        self.plain_statement(first);
    }

    fn plain_statement(&mut self, first: Token) {
        match first.keyword {
            Keyword::Alter | Keyword::Drop => self.facts.schema.redefines = true,
            Keyword::Create => self.facts.schema.creates = true,
            Keyword::Rollback | Keyword::Abort => self.facts.schema.undoes = true,
            _ => {}
        }
        match first.keyword {
            Keyword::Drop => self.cursor.end(Pins::of(PinReason::TemporaryObject)),
            Keyword::Unlisten => self.cursor.end(Pins::of(PinReason::Listen)),
            Keyword::Close => self.cursor.end(Pins::of(PinReason::HoldCursor)),
            _ => {}
        }
        match first.keyword {
            Keyword::Select | Keyword::Insert | Keyword::Update | Keyword::Delete => {
                self.scan(Context::Query, first)
            }
            Keyword::Merge | Keyword::With | Keyword::Values | Keyword::Table => {
                self.scan(Context::Query, first)
            }
            Keyword::Plain if first.kind == Kind::Open => self.scan(Context::Query, first),
            Keyword::Declare => self.scan(Context::Declare, first),
            Keyword::Copy => self.scan(Context::Copy, first),
            Keyword::Begin
            | Keyword::Commit
            | Keyword::End
            | Keyword::Rollback
            | Keyword::Abort => {
                self.facts.ends_transaction |= first.keyword != Keyword::Begin;
                self.skip(first);
            }
            Keyword::Savepoint | Keyword::Release => self.skip(first),
            Keyword::Start => self.start(),
            Keyword::Set => self.set(),
            Keyword::Reset => self.pin_and_skip(PinReason::Setting, first),
            Keyword::Create => self.create(),
            Keyword::Alter => self.alter(),
            Keyword::Prepare => self.prepare(),
            Keyword::Execute | Keyword::Deallocate => {
                self.pin_and_skip(PinReason::PreparedStatement, first)
            }
            Keyword::Listen => self.pin_and_skip(PinReason::Listen, first),
            Keyword::Load => self.pin_and_skip(PinReason::Load, first),
            Keyword::Discard => self.discard(),
            Keyword::Do | Keyword::Call | Keyword::Import => {
                self.pin_and_skip(PinReason::UnknownCode, first)
            }
            keyword if leaves_nothing(keyword) => self.skip(first),
            _ => self.pin_and_skip(PinReason::UnknownStatement, first),
        }
    }

    /// A statement that calls functions: reads it to its end.
    fn scan(&mut self, context: Context, current: Token) {
        let found = Scan::new(context).statement(&mut self.cursor, current);
        self.facts.sequences.read |= found.read;
        self.facts.sequences.fed |= found.fed;
    }

    /// A statement that calls none: passes over it.
    fn skip(&mut self, mut current: Token) {
        while !matches!(current.kind, Kind::End | Kind::Semicolon) {
            current = self.cursor.advance();
        }
    }

    fn pin_and_skip(&mut self, reason: PinReason, current: Token) {
        self.cursor.pin(reason);
        self.skip(current);
    }

    /// `EXPLAIN ANALYZE` runs its statement; one without runs nothing but is read all the same.
    fn explain(&mut self) {
        let mut token = self.cursor.advance();
        if token.kind == Kind::Open {
            token = self.cursor.advance();
            if token.kind == Kind::Open || begins_query(token.keyword) {
                // No options: a query in parentheses.
                return self.scan(Context::Query, token);
            }
            while !matches!(token.kind, Kind::Close | Kind::Semicolon | Kind::End) {
                token = self.cursor.advance();
            }
            if token.kind == Kind::Close {
                token = self.cursor.advance();
            }
        }
        while matches!(
            token.keyword,
            Keyword::Analyze | Keyword::Analyse | Keyword::Verbose
        ) {
            token = self.cursor.advance();
        }
        self.plain_statement(token);
    }

    /// `DISCARD`: only `ALL` changes what others would have to follow.
    fn discard(&mut self) {
        self.facts.discards = true;
        let what = self.cursor.advance();
        match what.keyword {
            Keyword::Temp | Keyword::Temporary => {
                self.cursor.end(Pins::of(PinReason::TemporaryObject));
                self.skip(what);
            }
            Keyword::Plans | Keyword::Sequences => self.skip(what),
            _ => {
                self.cursor.end(ASKABLE);
                self.pin_and_skip(PinReason::Discard, what);
            }
        }
    }

    fn start(&mut self) {
        let second = self.cursor.advance();
        if second.keyword == Keyword::Transaction {
            self.skip(second);
        } else {
            self.pin_and_skip(PinReason::UnknownStatement, second);
        }
    }

    /// `SET`: what ends with the transaction leaves nothing. `LOCAL`, `TRANSACTION` and `CONSTRAINTS` may also be the first part
    /// of a setting's name (`SET local.tenant = 1`), which lasts.
    fn set(&mut self) {
        let second = self.cursor.advance();
        if !matches!(
            second.keyword,
            Keyword::Local | Keyword::Transaction | Keyword::Constraints
        ) {
            return self.pin_and_skip(PinReason::Setting, second);
        }
        let third = self.cursor.advance();
        let ends = match second.keyword {
            Keyword::Local => begins_name(third),
            Keyword::Constraints => begins_name(third) || third.keyword == Keyword::All,
            _ => matches!(
                third.keyword,
                Keyword::Isolation
                    | Keyword::Read
                    | Keyword::Not
                    | Keyword::Deferrable
                    | Keyword::Snapshot
            ),
        };
        if ends {
            if second.keyword == Keyword::Local {
                let name = self.cursor.bytes(third).to_ascii_lowercase();
                self.facts.schema.passing |= policy::is_reading(&name);
            }
            self.skip(third)
        } else {
            self.pin_and_skip(PinReason::Setting, third)
        }
    }

    fn prepare(&mut self) {
        let second = self.cursor.advance();
        if second.keyword != Keyword::Transaction {
            self.cursor.pin(PinReason::PreparedStatement);
            return self.scan(Context::Query, second);
        }
        let third = self.cursor.advance();
        if third.kind == Kind::Constant {
            self.facts.ends_transaction = true;
            self.skip(third);
        } else {
            // A statement called `transaction`.
            self.cursor.pin(PinReason::PreparedStatement);
            self.scan(Context::Query, third);
        }
    }

    fn create(&mut self) {
        let mut token = self.cursor.advance();
        // What comes before the object's kind. The cursor sees to TEMP.
        while matches!(
            token.keyword,
            Keyword::Or
                | Keyword::Replace
                | Keyword::Local
                | Keyword::Global
                | Keyword::Temp
                | Keyword::Temporary
                | Keyword::Unlogged
                | Keyword::Unique
                | Keyword::Recursive
        ) {
            self.facts.schema.redefines |= token.keyword == Keyword::Replace;
            token = self.cursor.advance();
        }
        match token.keyword {
            Keyword::Table | Keyword::Materialized | Keyword::Schema => {
                self.scan(Context::CreateTable, token)
            }
            Keyword::Index => self.scan(Context::CreateIndex, token),
            Keyword::Function | Keyword::Procedure => self.function(token),
            Keyword::User => self.user(),
            // A conversion is called once when it is made.
            Keyword::Conversion | Keyword::Default => {
                self.pin_and_skip(PinReason::UnknownCode, token)
            }
            Keyword::Access | Keyword::Trusted => self.pin_and_skip(PinReason::Load, token),
            keyword if loads_code(keyword) => self.pin_and_skip(PinReason::Load, token),
            keyword if holds_no_running_code(keyword) => self.skip(token),
            Keyword::Cast | Keyword::Constraint | Keyword::Transform => self.skip(token),
            _ => self.pin_and_skip(PinReason::UnknownStatement, token),
        }
    }

    fn alter(&mut self) {
        let token = self.cursor.advance();
        match token.keyword {
            Keyword::Table | Keyword::Domain => self.scan(Context::Alter, token),
            Keyword::User => self.user(),
            keyword if loads_code(keyword) => self.pin_and_skip(PinReason::Load, token),
            keyword if holds_no_running_code(keyword) => self.skip(token),
            Keyword::Function
            | Keyword::Procedure
            | Keyword::Routine
            | Keyword::Schema
            | Keyword::System => self.skip(token),
            Keyword::Conversion | Keyword::Default | Keyword::Index | Keyword::Large => {
                self.skip(token)
            }
            Keyword::Materialized => self.skip(token),
            _ => self.pin_and_skip(PinReason::UnknownStatement, token),
        }
    }

    /// `CREATE USER` is a role; `CREATE USER MAPPING` calls the foreign data wrapper.
    fn user(&mut self) {
        let token = self.cursor.advance();
        if token.keyword == Keyword::Mapping {
            self.cursor.pin(PinReason::Load);
        }
        self.skip(token);
    }

    /// `CREATE FUNCTION`: its body is not run, but the language's validator is, which loads a C function's library.
    fn function(&mut self, mut current: Token) {
        while !matches!(current.kind, Kind::End | Kind::Semicolon) {
            let language = current.keyword == Keyword::Language;
            current = self.cursor.advance();
            if language && !self.is_own_language(current) {
                self.cursor.pin(PinReason::Load);
            }
        }
    }

    fn is_own_language(&self, token: Token) -> bool {
        const OWN: [&str; 2] = ["sql", "plpgsql"];
        if token.kind != Kind::Constant {
            return OWN.iter().any(|name| self.cursor.is(token, name));
        }
        // An old spelling: the name in a string.
        let bytes = self.cursor.bytes(token);
        let inner = bytes
            .strip_prefix(b"'")
            .and_then(|rest| rest.strip_suffix(b"'"));
        OWN.iter().any(|name| inner == Some(name.as_bytes()))
    }
}

/// Statements that leave nothing, and call nothing that their text names.
fn leaves_nothing(keyword: Keyword) -> bool {
    matches!(
        keyword,
        Keyword::Show
            | Keyword::Fetch
            | Keyword::Move
            | Keyword::Close
            | Keyword::Unlisten
            | Keyword::Lock
            | Keyword::Notify
            | Keyword::Checkpoint
            | Keyword::Vacuum
            | Keyword::Analyze
            | Keyword::Analyse
            | Keyword::Reindex
            | Keyword::Cluster
            | Keyword::Refresh
            | Keyword::Truncate
            | Keyword::Comment
            | Keyword::Grant
            | Keyword::Revoke
            | Keyword::Drop
            | Keyword::Security
            | Keyword::Reassign
    )
}

/// Objects whose making or changing loads a library or calls one.
fn loads_code(keyword: Keyword) -> bool {
    matches!(
        keyword,
        Keyword::Extension
            | Keyword::Language
            | Keyword::Procedural
            | Keyword::Foreign
            | Keyword::Server
    )
}

/// Objects that can be made and changed, where neither runs an expression of the text.
fn holds_no_running_code(keyword: Keyword) -> bool {
    matches!(
        keyword,
        Keyword::View
            | Keyword::Aggregate
            | Keyword::Collation
            | Keyword::Database
            | Keyword::Domain
            | Keyword::Event
            | Keyword::Group
            | Keyword::Operator
            | Keyword::Policy
            | Keyword::Publication
            | Keyword::Role
            | Keyword::Rule
            | Keyword::Sequence
            | Keyword::Statistics
            | Keyword::Subscription
            | Keyword::Tablespace
            | Keyword::Text
            | Keyword::Trigger
            | Keyword::Type
    )
}

fn begins_query(keyword: Keyword) -> bool {
    matches!(
        keyword,
        Keyword::Select | Keyword::With | Keyword::Values | Keyword::Table
    )
}

/// Whether a token may be a setting's or constraint's name, and not what follows one.
fn begins_name(token: Token) -> bool {
    match token.kind {
        Kind::Quoted => true,
        Kind::Word => token.keyword.category() != Category::Reserved,
        _ => false,
    }
}

#[cfg(test)]
mod tests;
