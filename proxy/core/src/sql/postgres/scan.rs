//! Reads one statement that may call functions, to its end, and pins what the calls leave.
//!
//! Memory is a few words: what has to be known for each open parenthesis is one bit. Beyond [`DEPTH_MAX`] parentheses the bits
//! are zero, which errs towards a pin.

use super::calls::{self, Context, Meaning, Place};
use super::cursor::{Cursor, Name};
use super::functions::{self, Effect};
use super::keywords::Keyword;
use super::lexer::{Kind, Token};
use crate::pins::{PinReason, Pins};

/// Open parentheses of which something is remembered.
const DEPTH_MAX: u32 = 64;

/// One bit for each open parenthesis.
#[derive(Clone, Copy, Default, Debug)]
struct Bits(u64);

impl Bits {
    fn get(self, depth: u32) -> bool {
        depth < DEPTH_MAX && self.0 & (1 << depth) != 0
    }

    fn put(&mut self, depth: u32, value: bool) {
        if depth < DEPTH_MAX {
            self.0 = self.0 & !(1 << depth) | u64::from(value) << depth;
        }
    }
}

/// An open `set_config(`.
#[derive(Clone, Copy, Debug)]
struct SetConfig {
    depth: u32,
    commas: u32,
}

/// What is known while one statement is read.
#[derive(Debug)]
pub struct Scan {
    context: Context,
    /// Off in the parts of `COPY` that hold no expressions.
    on: bool,
    /// In the query of `COPY (…)`.
    copy_query: bool,
    depth: u32,
    /// Between the queries of a `WITH` list.
    with_lists: Bits,
    /// In a `GROUP BY` list.
    group_lists: Bits,
    /// What the parenthesis opened at this depth encloses is an operand.
    operands: Bits,
    /// What the latest `)` closed is an operand.
    closed_operand: bool,
    set_config: Option<SetConfig>,
    /// `ON CONFLICT` without its `DO` so far.
    conflicts: u32,
    cases: u32,
    merge: bool,
    update: bool,
    settings_view: bool,
    sequences: Sequences,
}

/// What a statement has to do with the session's memory of sequences (`currval`, `lastval`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Sequences {
    /// It calls `currval` or `lastval`: its answer depends on what the session did before.
    pub read: bool,
    /// It adds rows (`INSERT`, `MERGE`, `COPY … FROM`): a column's default may call `nextval` unseen.
    pub fed: bool,
}

impl Scan {
    /// The start of a statement of this kind.
    #[must_use]
    pub fn new(context: Context) -> Self {
        Self {
            context,
            on: context != Context::Copy,
            copy_query: false,
            depth: 0,
            with_lists: Bits::default(),
            group_lists: Bits::default(),
            operands: Bits::default(),
            closed_operand: false,
            set_config: None,
            conflicts: 0,
            cases: 0,
            merge: false,
            update: false,
            settings_view: false,
            sequences: Sequences::default(),
        }
    }

    /// Reads from `token`, the cursor's current one, to the end of the statement.
    pub fn statement(mut self, cursor: &mut Cursor<'_>, mut token: Token) -> Sequences {
        while !matches!(token.kind, Kind::End | Kind::Semicolon) {
            match token.kind {
                Kind::Word | Kind::Quoted => self.word(cursor, token),
                Kind::Open => self.open(cursor),
                Kind::Close => self.close(cursor),
                Kind::Comma => self.comma(),
                _ => {}
            }
            token = cursor.advance();
        }
        self.finish(cursor);
        self.sequences
    }

    fn finish(&self, cursor: &mut Cursor<'_>) {
        if self.set_config.is_some() || self.update && self.settings_view {
            cursor.pin(PinReason::Setting);
        }
        if self.conflicts > 0 {
            // Some `ON conflict(…)` was a join's condition: a function of that name.
            cursor.pin(PinReason::UnknownCode);
        }
    }

    fn word(&mut self, cursor: &mut Cursor<'_>, token: Token) {
        if token.keyword == Keyword::Plain {
            return self.name(cursor, token);
        }
        let previous = cursor.previous().keyword;
        match token.keyword {
            Keyword::Update => self.rows_change(false),
            Keyword::Merge => self.rows_change(true),
            Keyword::Insert => {
                self.end_lists();
                self.sequences.fed = true;
            }
            Keyword::Select | Keyword::Delete | Keyword::Values | Keyword::Table => {
                self.end_lists();
            }
            Keyword::From if self.context == Context::Copy && self.depth == 0 => {
                self.sequences.fed = true;
            }
            Keyword::Order | Keyword::Limit | Keyword::Offset | Keyword::Fetch | Keyword::For => {
                self.end_lists()
            }
            Keyword::Union | Keyword::Intersect | Keyword::Except => self.end_lists(),
            Keyword::Having | Keyword::Window => self.end_lists(),
            Keyword::By if previous == Keyword::Group => self.group_lists.put(self.depth, true),
            Keyword::As => self.query_name(cursor),
            Keyword::Case => self.cases += 1,
            Keyword::Conflict if previous == Keyword::On => self.conflicts += 1,
            Keyword::End if previous != Keyword::As => self.cases = self.cases.saturating_sub(1),
            Keyword::Do if !matches!(previous, Keyword::As | Keyword::Then) => {
                self.conflicts = self.conflicts.saturating_sub(1);
            }
            Keyword::Execute if previous == Keyword::As => cursor.pin(PinReason::PreparedStatement),
            Keyword::Hold if previous == Keyword::With && self.context == Context::Declare => {
                cursor.pin(PinReason::HoldCursor);
            }
            Keyword::Where if self.context == Context::Copy => self.on = true,
            _ => {}
        }
    }

    fn rows_change(&mut self, merge: bool) {
        self.end_lists();
        self.update = true;
        self.merge |= merge;
        self.sequences.fed |= merge;
    }

    fn end_lists(&mut self) {
        self.with_lists.put(self.depth, false);
        self.group_lists.put(self.depth, false);
    }

    /// At `AS`: `WITH name AS` begins a list.
    fn query_name(&mut self, cursor: &Cursor<'_>) {
        let name = cursor.previous_name();
        if self.context != Context::Copy && name.last.is_name() && calls::begins_with_list(name) {
            self.with_lists.put(self.depth, true);
        }
    }

    /// A name that is no keyword.
    fn name(&mut self, cursor: &mut Cursor<'_>, token: Token) {
        let bytes = cursor.bytes(token);
        if cursor.previous().kind == Kind::Dot
            && let Some(reason) = functions::effect_as_column(bytes, token.kind == Kind::Quoted)
        {
            cursor.pin(reason);
            self.sequences.read |= bytes.eq_ignore_ascii_case(b"currval");
        }
        // Changing a row of this view is SET.
        const SETTINGS: &str = "pg_settings";
        self.settings_view |= bytes.len() == SETTINGS.len() && cursor.is(token, SETTINGS);
    }

    fn open(&mut self, cursor: &mut Cursor<'_>) {
        let previous = cursor.previous();
        let mut arguments = false;
        if previous.is_name() {
            arguments = self.open_behind_name(cursor, cursor.name());
        } else if previous.kind == Kind::Close {
            // `WITH a AS (…) (SELECT …)`: the list has ended.
            self.with_lists.put(self.depth, false);
        }
        if self.context == Context::Copy && self.depth == 0 && previous.keyword == Keyword::Copy {
            self.on = true;
            self.copy_query = true;
        }
        let sets = previous.keyword == Keyword::Sets && self.group_lists.get(self.depth);
        self.operands
            .put(self.depth, arguments || calls::encloses_operand(previous));
        self.depth = self.depth.saturating_add(1);
        self.with_lists.put(self.depth, false);
        self.group_lists.put(self.depth, sets);
    }

    /// True if it is a call.
    fn open_behind_name(&mut self, cursor: &mut Cursor<'_>, name: Name) -> bool {
        let place = Place {
            context: self.context,
            outermost: self.depth == 0,
            closed_operand: self.closed_operand,
            with_list: self.with_lists.get(self.depth),
            group_list: self.group_lists.get(self.depth),
            merge_action: self.merge && self.cases == 0,
        };
        match calls::meaning(cursor, name, place) {
            Meaning::Other => false,
            Meaning::WithColumns => {
                self.with_lists.put(self.depth, true);
                false
            }
            Meaning::Call => {
                if self.on {
                    self.call(cursor, name);
                }
                true
            }
        }
    }

    fn call(&mut self, cursor: &mut Cursor<'_>, name: Name) {
        match effect(cursor, name) {
            Effect::Nothing => {}
            Effect::Ends(reason) => cursor.end(Pins::of(reason)),
            Effect::SetConfig if self.set_config.is_none() => {
                self.set_config = Some(SetConfig {
                    depth: self.depth.saturating_add(1),
                    commas: 0,
                });
            }
            // One inside of the other: rare enough to be taken for lasting.
            Effect::SetConfig => cursor.pin(PinReason::Setting),
            Effect::Pins(reason) => {
                cursor.pin(reason);
                self.sequences.read |=
                    cursor.is(name.last, "currval") || cursor.is(name.last, "lastval");
            }
        }
    }

    fn comma(&mut self) {
        if let Some(set_config) = &mut self.set_config
            && set_config.depth == self.depth
        {
            set_config.commas = set_config.commas.saturating_add(1);
        }
    }

    fn close(&mut self, cursor: &mut Cursor<'_>) {
        if let Some(set_config) = self.set_config
            && set_config.depth == self.depth
        {
            let (value, comma) = (cursor.previous(), cursor.before_previous());
            let local = value.keyword == Keyword::True
                && comma.kind == Kind::Comma
                && set_config.commas == 2;
            if !local {
                cursor.pin(PinReason::Setting);
            }
            self.set_config = None;
        }
        self.depth = self.depth.saturating_sub(1);
        self.closed_operand = self.operands.get(self.depth);
        if self.copy_query && self.depth == 0 {
            self.on = false;
            self.copy_query = false;
        }
    }
}

/// What a call of `name` leaves.
fn effect(cursor: &Cursor<'_>, name: Name) -> Effect {
    let bytes = cursor.bytes(name.last);
    let quoted = match name.last.kind {
        Kind::Word => false,
        Kind::Quoted => true,
        _ => return Effect::Pins(PinReason::UnknownCode),
    };
    match name.parts {
        1 => functions::effect(bytes, quoted),
        2 if cursor.is(name.qualifier, "pg_catalog") => functions::effect(bytes, quoted),
        // The helpers of its own views; drivers use them in metadata queries.
        2 if cursor.is(name.qualifier, "information_schema") && bytes.starts_with(b"_pg_") => {
            Effect::Nothing
        }
        _ => Effect::Pins(PinReason::UnknownCode),
    }
}
