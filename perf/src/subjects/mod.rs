//! What clients can connect to: the server itself, weir, and the peers that the distribution packages. Each is found,
//! asked for its version, given a configuration that asks the same of it, and started on the proxy's CPUs.
//!
//! All get the same pool size, TLS settings and users; beyond that each has its product's defaults, and where a setting
//! differs from the default, it favours the peer and [`Kind::settings`] says so. What load they get is decided elsewhere.

mod backend;
mod config;
mod cpus;
mod front;
mod kind;
mod peers;

pub use backend::{Backend, Login};
pub use cpus::Cpus;
pub use front::{Front, Setting, start};
pub use kind::Kind;
pub use peers::{Found, Peers, Wanted};
