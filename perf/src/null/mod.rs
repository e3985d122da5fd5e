//! The null server: speaks PostgreSQL's protocol to anybody and answers canned results at next to no cost, so that what is
//! left of a measurement is the proxy.
//!
//! It does what a proxy relies on (transaction status, `SELECT '<literal>'`, prepared statements, COPY) and nothing a
//! database is for. `answers` is what it says, `server` how it listens and talks.

mod answers;
mod server;
mod tls;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use server::Server;

/// How it listens and answers.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where; port 0: any.
    pub listen: SocketAddr,
    /// The CPU it stays on.
    pub cpu: Option<usize>,
    /// Certificate chain and key in PEM; `None`: no TLS.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// Time that a query takes. Statements that only steer the session take none.
    pub delay: Duration,
}

impl Config {
    /// Plain, unpinned, at once.
    #[must_use]
    pub fn new(listen: SocketAddr) -> Config {
        Config {
            listen,
            cpu: None,
            tls: None,
            delay: Duration::ZERO,
        }
    }
}

/// Serves until the process ends. `ready` is told the address.
///
/// # Errors
/// The address is taken, a file is unusable, epoll failed.
pub fn serve(config: &Config, ready: impl FnOnce(SocketAddr)) -> anyhow::Result<()> {
    let server = Server::bind(config)?;
    ready(server.address());
    server.run(&AtomicBool::new(false))
}

/// A server on a thread of its own; it ends when this is dropped.
pub struct Running {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<anyhow::Result<()>>>,
}

/// Starts a server on a thread.
///
/// # Errors
/// As [`serve`].
pub fn spawn(config: &Config) -> anyhow::Result<Running> {
    let server = Server::bind(config)?;
    let address = server.address();
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let thread = std::thread::Builder::new()
        .name("null-server".to_owned())
        .spawn(move || server.run(&stopped))?;
    Ok(Running {
        address,
        stop,
        thread: Some(thread),
    })
}

impl Running {
    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            // What it died of was its own business; nobody is left to tell.
            let _ = thread.join();
        }
    }
}
