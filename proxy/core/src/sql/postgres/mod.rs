//! PostgreSQL's dialect: what the text of a Query or Parse message may leave on its session.
//!
//! [`inspect`] names the pins, [`shape`] gives the text without its literals for a log line. Decoding messages and acting on
//! a pin are not this room's business.
//!
//! # What can't be seen in the text
//!
//! A statement may run code that its text does not name. These hazards are known and not pinned:
//!
//! - triggers, rules, column defaults (`nextval` behind `serial`), check constraints, row security policies, views and event
//!   triggers;
//! - operators, casts, input functions, domains, foreign tables and table access methods of the user's own;
//! - `row.function`, the spelling of a call as if it were a column, for functions of the user's own (PostgreSQL's own
//!   state-leaving functions are recognised in this spelling too);
//! - functions of the user's own that have the name of one of PostgreSQL's own (an overload, a polyfill of a newer
//!   server's function, or another schema in front of `pg_catalog` in `search_path`);
//! - a `search_path` that has `pg_temp` first without a `SET` on this session (startup parameter, role or database setting):
//!   then a plain `CREATE TABLE` is temporary.

mod calls;
mod cursor;
mod functions;
mod inspect;
mod keywords;
mod lexer;
mod names;
mod scan;
pub mod settings;
mod shape;
mod words;

pub use inspect::{Facts, Schema, inspect};
pub use scan::Sequences;
pub use shape::shape;
pub use words::{Words, prepared_words};
