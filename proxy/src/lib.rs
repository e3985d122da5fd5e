//! The shell of weir: sockets, TLS, threads and the clock around the core, which decides.
//!
//! `shell` starts the data plane: one thread per shard (`shards`), each driving one core machine over `ring` (io_uring)
//! or `epoll`. `tls` builds what the handshakes need. Around it: `cli` reads the command line, `config` the
//! configuration, `start` brings a weir up, `control` looks after it (signals, names, metrics), `observe` is what it logs
//! and counts.

pub mod cli;
pub mod config;
pub mod control;
mod epoll;
mod io;
pub mod observe;
pub mod report;
mod ring;
mod shards;
pub mod shell;
pub mod start;
pub mod sys;
pub mod tls;
