//! PostgreSQL protocol 3.0 and 3.2 (PostgreSQL manual, chapter "Frontend/Backend Protocol").

pub mod backend_login;
mod backend_proof;
pub mod client_login;
mod client_proof;
pub mod conversation;
pub mod errand;
pub mod errors;
pub mod familiar;
pub mod frames;
pub mod greeting;
mod intake;
pub mod ledger;
pub mod mend;
pub mod messages;
pub mod question;
pub mod quiet;
pub mod startup;
pub mod statements;
