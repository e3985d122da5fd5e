//! PostgreSQL protocol 3.0 and 3.2 (PostgreSQL manual, chapter "Frontend/Backend Protocol").

pub mod conversation;
pub mod errors;
pub mod messages;
pub mod startup;
