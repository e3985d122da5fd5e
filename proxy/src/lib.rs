//! The shell of weir: sockets, TLS, threads and the clock around the core, which decides.
//!
//! `shell` starts the data plane: one thread per shard (`shards`), each driving one core machine over `ring` (io_uring)
//! or `epoll`. `tls` builds what the handshakes need.

mod epoll;
mod io;
mod ring;
mod shards;
pub mod shell;
pub mod sys;
pub mod tls;
