//! The load harness of weir: measures a proxy next to a direct connection and next to its peers, in one run.
//!
//! An arrow goes one way: `cli` → `scenarios` → `subjects`, `load`, `sample` → `model`; `report` reads only `model`.
//!
//! - [`model`]: what a run has measured, as plain data; the JSON file is this.
//! - [`load`]: the load generator: open and closed loop, latency from the scheduled time.
//! - [`wire`]: PostgreSQL's messages, as far as both ends of a load need them.
//! - [`net`]: sockets, TLS and CPUs, as far as both ends of a load need them.
//! - [`null`]: a server that answers canned results at negligible cost.
//! - [`subjects`]: direct, weir, PgBouncer, HAProxy …: how each is started in front of the same server.
//! - [`sample`]: CPU time, system calls, memory and descriptors of a process, from outside.
//! - [`scenarios`]: which load runs against which subjects in which order, and which figures come out.
//! - `report`: terminal table, JSON, HTML page, comparison of two reports.

pub mod cli;
pub mod guard;
pub mod load;
pub mod model;
pub mod net;
pub mod null;
pub mod profile;
pub mod report;
pub mod sample;
pub mod scenarios;
pub mod subjects;
pub mod wire;
