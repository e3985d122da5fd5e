//! Every decision of the weir database proxy.
//!
//! No sockets, no clock, no threads, no `unsafe`: events go in, operations come out (see [`seam`]). The same core runs under the
//! io_uring and epoll shells, the simulator and the fuzzer.
#![forbid(unsafe_code)]

pub mod auth;
pub mod backend;
pub mod ids;
pub mod limits;
pub mod pins;
pub mod pool;
pub mod profile;
pub mod seam;
pub mod session;
pub mod settings;
pub mod shard;
pub mod sql;
pub mod table;
pub mod timers;
pub mod wire;
