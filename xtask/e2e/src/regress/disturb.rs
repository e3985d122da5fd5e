//! Other clients on the same few connections: they change every kind of setting and take the connections in turns, so that a
//! session in between gets now this one and now that one, and sees it when anything leaks.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Result, bail};

use crate::endpoint::Endpoint;
use crate::raw::Raw;

/// How many of them there are.
const CLIENTS: usize = 2;
/// How long a connection is held: by the client's waiting and not by a query's, since a query that runs keeps VACUUM from its work.
const HOLD: Duration = Duration::from_millis(2);
const IN_TRANSACTION: [&str; 3] = [
    "BEGIN",
    "SET LOCAL search_path TO nobodys, pg_catalog",
    "SET LOCAL role TO DEFAULT",
];
const BETWEEN: [&str; 5] = [
    "SET datestyle TO 'German'",
    "SET timezone TO 'Asia/Tokyo'",
    "SET bytea_output TO 'escape'",
    "SET extra_float_digits TO -3",
    "RESET ALL",
];

/// Clients that run until they are stopped.
pub struct Disturbers {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Result<u64>>>,
}

impl Disturbers {
    /// Starts them.
    pub fn start(front: &Endpoint) -> Disturbers {
        let stop = Arc::new(AtomicBool::new(false));
        let threads = (0..CLIENTS).map(|_| {
            let (front, stop) = (front.clone(), stop.clone());
            std::thread::spawn(move || disturb(&front, &stop))
        });
        let threads = threads.collect();
        Disturbers { stop, threads }
    }

    /// Stops them; how often one of them got another server process than the time before.
    pub fn stop(self) -> Result<u64> {
        self.stop.store(true, Ordering::Relaxed);
        let mut changes = 0;
        for thread in self.threads {
            match thread.join() {
                Ok(counted) => changes += counted?,
                Err(_) => bail!("a client that disturbs panicked"),
            }
        }
        Ok(changes)
    }
}

fn disturb(front: &Endpoint, stop: &AtomicBool) -> Result<u64> {
    let mut raw = Raw::login(front)?;
    let (mut changes, mut last) = (0, String::new());
    while !stop.load(Ordering::Relaxed) {
        for sql in IN_TRANSACTION {
            raw.run(sql)?;
        }
        let process = raw.value("SELECT pg_backend_pid()")?;
        changes += u64::from(process != last);
        last = process;
        std::thread::sleep(HOLD);
        raw.run("COMMIT")?;
        for sql in BETWEEN {
            raw.run(sql)?;
        }
    }
    Ok(changes)
}
