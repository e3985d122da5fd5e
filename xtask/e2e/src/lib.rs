//! What a run needs around the real binary: processes that are stopped whatever happens, a folder of its own,
//! certificates, PostgreSQL servers, weir itself, and the peers and drivers that this machine lacks.
//!
//! Shared by the end-to-end suite (this crate's program) and by the load harness (`weir-perf`). What is tested or measured
//! is their business.

pub mod endpoint;
pub mod install;
pub mod pki;
pub mod place;
pub mod process;
pub mod server;
pub mod weir;

use std::sync::OnceLock;

/// The program's runtime for the asynchronous driver.
pub fn runtime() -> &'static tokio::runtime::Runtime {
    static RUNTIME: OnceLock<tokio::runtime::Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| tokio::runtime::Runtime::new().expect("threads for the runtime"))
}

/// Runs a future to its end on the program's runtime.
pub fn block<F: Future>(future: F) -> F::Output {
    runtime().block_on(future)
}
