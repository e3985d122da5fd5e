//! Asks the server all the time how many connections it has: what weir promises is counted where it matters.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Result, anyhow};

use crate::raw::Raw;
use crate::server::Server;

/// A thread that counts; the superuser's own connections are not counted.
pub struct PeakWatch {
    stop: Arc<AtomicBool>,
    peak: Arc<AtomicU64>,
    now: Arc<AtomicU64>,
    thread: std::thread::JoinHandle<Result<()>>,
}

impl PeakWatch {
    /// Starts watching the connections of everybody.
    pub fn start(server: &Server) -> Result<PeakWatch> {
        PeakWatch::start_where(server, "usename <> 'postgres'")
    }

    /// Starts watching the connections that fit a condition on `pg_stat_activity`.
    pub fn start_where(server: &Server, condition: &str) -> Result<PeakWatch> {
        let (stop, peak, now) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicU64::new(0)),
            Arc::new(AtomicU64::new(0)),
        );
        let mut raw = Raw::login(&server.superuser()?)?;
        let sql = format!(
            "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND {condition}"
        );
        let (stop_too, peak_too, now_too) = (stop.clone(), peak.clone(), now.clone());
        let thread = std::thread::spawn(move || {
            while !stop_too.load(Ordering::Relaxed) {
                let count = raw.value(&sql)?.parse()?;
                now_too.store(count, Ordering::Relaxed);
                peak_too.fetch_max(count, Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(5));
            }
            Ok(())
        });
        Ok(PeakWatch {
            stop,
            peak,
            now,
            thread,
        })
    }

    /// What was seen last.
    pub fn now(&self) -> u64 {
        self.now.load(Ordering::Relaxed)
    }

    /// The most that was seen.
    pub fn stop(self) -> Result<u64> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread
            .join()
            .map_err(|_| anyhow!("the watching thread panicked"))??;
        Ok(self.peak.load(Ordering::Relaxed))
    }
}
