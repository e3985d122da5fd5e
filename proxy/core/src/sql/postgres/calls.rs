//! Whether a name in front of a parenthesis is a function that is called, by what stands before the name.
//!
//! PostgreSQL's grammar never lets an expression follow an operand without an operator or keyword between them. So a name behind
//! an operand names columns or limits a type (`FROM f(x) t(a, b)`, `price money_t(10)`). Whatever is not surely one of these
//! or a construct of its keyword is taken for a call.

use super::cursor::{Cursor, Name};
use super::keywords::{Category, Keyword};
use super::lexer::{Kind, Token};

/// What kind of text is read: some constructs exist in one kind only.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Context {
    /// A query, or a statement that changes rows.
    Query,
    /// `DECLARE`, up to and with its query.
    Declare,
    /// `COPY`: a query in parentheses, or a table.
    Copy,
    /// `CREATE TABLE` and the like.
    CreateTable,
    /// `CREATE INDEX`.
    CreateIndex,
    /// `ALTER TABLE` and the like.
    Alter,
}

/// Where in the statement a parenthesis opens.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// The kind of text.
    pub context: Context,
    /// No parenthesis is open.
    pub outermost: bool,
    /// Whether, if the token before the name is a `)`, what it closed is an operand.
    pub closed_operand: bool,
    /// In the list of a `WITH`, between its queries.
    pub with_list: bool,
    /// In a `GROUP BY` list.
    pub group_list: bool,
    /// In a `MERGE`, and not in a `CASE`.
    pub merge_action: bool,
}

/// What a parenthesis behind a name is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Meaning {
    /// A function's arguments.
    Call,
    /// The columns of a `WITH` query: from here on its list is read.
    WithColumns,
    /// Something else.
    Other,
}

/// What the parenthesis behind `name` is.
#[must_use]
pub fn meaning(cursor: &Cursor<'_>, name: Name, place: Place) -> Meaning {
    if name.parts == 1 && begins_with_list(name) {
        return Meaning::WithColumns;
    }
    let other = match name.last.keyword.category() {
        // Not function names, unquoted.
        Category::Reserved | Category::Column => true,
        _ if led_elsewhere(cursor, name, place) || is_operand(name.lead, place.closed_operand) => {
            true
        }
        Category::TypeOrFunction => is_infix(name, place),
        Category::Unreserved => is_construct(name, place),
        Category::NotKeyword => false,
    };
    if other { Meaning::Other } else { Meaning::Call }
}

/// Whether `name` is the first one in the list of a `WITH`.
#[must_use]
pub fn begins_with_list(name: Name) -> bool {
    let with = match name.lead.keyword {
        Keyword::With => true,
        Keyword::Recursive => name.lead_before.keyword == Keyword::With,
        _ => false,
    };
    // `WITH ORDINALITY AS t(a)`, and `WITH OPERATOR(…)` of an exclusion constraint, are no queries.
    with && matches!(
        name.last.keyword.category(),
        Category::NotKeyword | Category::Unreserved
    ) && !matches!(name.last.keyword, Keyword::Ordinality | Keyword::Operator)
}

/// Whether `token` ends an operand, so that no call can follow it.
#[must_use]
pub fn is_operand(token: Token, closed_operand: bool) -> bool {
    match token.kind {
        Kind::Constant | Kind::CloseIndex | Kind::Quoted | Kind::Escaped => true,
        Kind::Close => closed_operand,
        // A keyword may want an expression, whatever else it may be.
        Kind::Word => token.keyword == Keyword::Plain,
        _ => false,
    }
}

/// Whether what a parenthesis behind `token` encloses is an operand, once closed. Not so in `DISTINCT ON (…) f(x)`,
/// `OPERATOR(…) f(x)`, `RETURNING WITH (…) f(x)`.
#[must_use]
pub fn encloses_operand(token: Token) -> bool {
    match token.kind {
        Kind::Comma | Kind::Open | Kind::Quoted | Kind::Escaped => true,
        Kind::Word => match token.keyword {
            Keyword::Operator => false,
            Keyword::From
            | Keyword::Lateral
            | Keyword::Using
            | Keyword::Group
            | Keyword::Unique => true,
            keyword => keyword.category() != Category::Reserved,
        },
        _ => false,
    }
}

/// Names that their lead makes something else than a function: a table, an alias, a type, an access method.
fn led_elsewhere(cursor: &Cursor<'_>, name: Name, place: Place) -> bool {
    let create = matches!(place.context, Context::CreateTable | Context::CreateIndex);
    let create_index = place.context == Context::CreateIndex && place.outermost;
    match name.lead.keyword {
        Keyword::As | Keyword::Into | Keyword::Table | Keyword::Exists | Keyword::References => {
            true
        }
        Keyword::Only | Keyword::Constraint | Keyword::Prepare => true,
        Keyword::Of | Keyword::View => create,
        Keyword::Type => place.context == Context::Alter,
        Keyword::On => create_index,
        Keyword::Using => create_index || name.lead_before.keyword == Keyword::Exclude,
        Keyword::By => {
            let partition = name.lead_before.keyword == Keyword::Partition && place.outermost;
            partition
                && place.context == Context::CreateTable
                && is_any(cursor, name, &["range", "list", "hash"])
        }
        Keyword::Tablesample => name.parts == 1 && is_any(cursor, name, &["system", "bernoulli"]),
        Keyword::Ordinality => name.lead_before.keyword == Keyword::With,
        _ => match name.lead.kind {
            Kind::Cast => true,
            Kind::Comma => place.with_list,
            _ => false,
        },
    }
}

fn is_any(cursor: &Cursor<'_>, name: Name, names: &[&str]) -> bool {
    names.iter().any(|other| cursor.is(name.last, other))
}

/// Keywords that stand between operands, and may also name a function: `a JOIN (…)`, `a ILIKE (…)`.
fn is_infix(name: Name, place: Place) -> bool {
    let lead = name.lead;
    match name.last.keyword {
        Keyword::Join => begins_join(lead.keyword) || may_end_table(lead),
        Keyword::Verbose => matches!(
            lead.keyword,
            Keyword::Explain | Keyword::Analyze | Keyword::Analyse
        ),
        Keyword::Ilike => {
            lead.keyword == Keyword::Not && is_operand(name.lead_before, place.closed_operand)
        }
        _ => false,
    }
}

/// The words of `LEFT OUTER JOIN` and the like. `CROSS JOIN join(…)` is a function.
fn begins_join(keyword: Keyword) -> bool {
    matches!(
        keyword,
        Keyword::Cross
            | Keyword::Inner
            | Keyword::Left
            | Keyword::Right
            | Keyword::Full
            | Keyword::Outer
            | Keyword::Natural
    )
}

/// Whether a keyword in front of `JOIN` is a table's name: any that is not followed by an expression in its own meaning.
fn may_end_table(lead: Token) -> bool {
    matches!(
        lead.keyword.category(),
        Category::Unreserved | Category::Column
    ) && !matches!(
        lead.keyword,
        Keyword::By
            | Keyword::Escape
            | Keyword::Zone
            | Keyword::Rows
            | Keyword::Range
            | Keyword::Groups
            | Keyword::Between
            | Keyword::Passing
            | Keyword::Content
            | Keyword::Document
            | Keyword::Version
            | Keyword::Path
            | Keyword::Key
            | Keyword::Value
            | Keyword::Return
    )
}

/// Keywords that may be function names, where their own construct can be told by what stands before.
fn is_construct(name: Name, place: Place) -> bool {
    let lead = name.lead;
    match name.last.keyword {
        // Outermost commas of ALTER TABLE are between its actions.
        Keyword::Set | Keyword::Reset if lead.kind == Kind::Comma => {
            place.context == Context::Alter && place.outermost
        }
        Keyword::Set => lead.keyword == Keyword::Update,
        Keyword::By => matches!(
            lead.keyword,
            Keyword::Order | Keyword::Group | Keyword::Partition
        ),
        Keyword::Zone => lead.keyword == Keyword::Time,
        Keyword::Sets => lead.keyword == Keyword::Grouping,
        Keyword::Conflict => lead.keyword == Keyword::On,
        Keyword::First | Keyword::Next => lead.keyword == Keyword::Fetch,
        Keyword::Key => matches!(lead.keyword, Keyword::Primary | Keyword::Foreign),
        Keyword::Varying => {
            matches!(
                lead.keyword,
                Keyword::Character | Keyword::Char | Keyword::Nchar | Keyword::Bit
            )
        }
        Keyword::Materialized => lead.keyword == Keyword::Not && place.with_list,
        Keyword::Insert => lead.keyword == Keyword::Then && place.merge_action,
        Keyword::Include => {
            lead.kind == Kind::Close
                && matches!(
                    place.context,
                    Context::CreateTable | Context::CreateIndex | Context::Alter
                )
        }
        Keyword::Cube | Keyword::Rollup => {
            let listed = matches!(lead.kind, Kind::Comma | Kind::Open);
            place.group_list
                && (listed
                    || matches!(lead.keyword, Keyword::By | Keyword::Distinct | Keyword::All))
        }
        _ => false,
    }
}
