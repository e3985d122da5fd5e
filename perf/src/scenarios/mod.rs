//! Which load runs against which subjects in which order, and which figures come out.
//!
//! `list` holds the scenarios as plans, `run` carries plans out on a `stage`, `figures` are made of the cells.

mod cell;
mod figures;
mod list;
mod machine;
mod plan;
mod progress;
mod run;
mod stage;

pub use list::{ALL, Entry, Scale, When};
pub use run::{Options, run, weir_failed};
pub use stage::Own;
