//! What one query costs before the storm: the same query on a kept connection, direct and through weir in turns.

use std::time::{Duration, Instant};

use anyhow::Result;
use hdrhistogram::Histogram;

use super::storm::told_times;
use crate::block;
use crate::endpoint::{Endpoint, told};

/// p50 and p99 of one query.
pub struct Quiet {
    /// Without weir.
    pub direct: (String, String),
    /// With it.
    pub through: (String, String),
}

/// Measures for about two seconds, in turns, so that whatever else the machine does is in both.
pub fn measure(direct: &Endpoint, through: &Endpoint) -> Result<Quiet> {
    let (direct, through) = (direct.clone(), through.clone());
    block(async move {
        let clients = [direct.connect().await?, through.connect().await?];
        let mut times = [Histogram::<u64>::new(3)?, Histogram::<u64>::new(3)?];
        let end = Instant::now() + Duration::from_secs(2);
        while Instant::now() < end {
            for (client, times) in clients.iter().zip(&mut times) {
                for _ in 0..20 {
                    let begin = Instant::now();
                    client
                        .batch_execute("SELECT balance FROM account WHERE id = 7")
                        .await
                        .map_err(told)?;
                    times.saturating_record(begin.elapsed().as_micros() as u64);
                }
            }
        }
        let [direct, through] = times;
        Ok(Quiet {
            direct: told_times(&direct),
            through: told_times(&through),
        })
    })
}
