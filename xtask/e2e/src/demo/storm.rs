//! The storm: clients that connect over TLS, run one transaction that checks itself, and leave; and what is counted.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use hdrhistogram::Histogram;
use tokio::task::JoinHandle;
use tokio_postgres::Client;

use crate::endpoint::{Endpoint, told, value};

/// Counts and times of the storm. Times are in microseconds, up to a minute.
#[derive(Default)]
pub struct Figures {
    /// Clients that are on their way at this moment.
    alive: AtomicU64,
    committed: AtomicU64,
    probed: AtomicU64,
    failed: AtomicU64,
    failures: Mutex<Vec<String>>,
    times: Mutex<Times>,
}

struct Times {
    connect: Histogram<u64>,
    transaction: Histogram<u64>,
    probe: Histogram<u64>,
    /// Of the last second, for the display.
    recent: Histogram<u64>,
    recent_probe: Histogram<u64>,
}

impl Default for Times {
    fn default() -> Times {
        let empty =
            || Histogram::new_with_bounds(1, 60_000_000, 3).expect("fixed bounds are valid");
        Times {
            connect: empty(),
            transaction: empty(),
            probe: empty(),
            recent: empty(),
            recent_probe: empty(),
        }
    }
}

/// p50 and p99 of a histogram of microseconds.
pub fn told_times(times: &Histogram<u64>) -> (String, String) {
    let told = |quantile| match times.value_at_quantile(quantile) as f64 {
        _ if times.is_empty() => "-".to_owned(),
        micros if micros < 1000.0 => format!("{micros:.0} µs"),
        micros if micros < 1_000_000.0 => format!("{:.2} ms", micros / 1000.0),
        micros => format!("{:.2} s", micros / 1_000_000.0),
    };
    (told(0.5), told(0.99))
}

impl Figures {
    fn times(&self) -> MutexGuard<'_, Times> {
        self.times.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a failure.
    pub fn fail(&self, what: String) {
        self.failed.fetch_add(1, Ordering::Relaxed);
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        if failures.len() < 5 {
            failures.push(what);
        }
    }

    /// Clients on their way.
    pub fn alive(&self) -> u64 {
        self.alive.load(Ordering::Relaxed)
    }

    /// Transactions committed through weir.
    pub fn committed(&self) -> u64 {
        self.committed.load(Ordering::Relaxed)
    }

    /// Transactions committed by the direct probe.
    pub fn probed(&self) -> u64 {
        self.probed.load(Ordering::Relaxed)
    }

    /// Clients that failed.
    pub fn failures(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }

    /// What the first of them said.
    pub fn first_failures(&self) -> Vec<String> {
        self.failures
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// p50 and p99 of connecting and logging in.
    pub fn connect(&self) -> (String, String) {
        told_times(&self.times().connect)
    }

    /// p50 and p99 of the transaction through weir.
    pub fn transaction(&self) -> (String, String) {
        told_times(&self.times().transaction)
    }

    /// p50 and p99 of the same transaction on a direct connection.
    pub fn probe(&self) -> (String, String) {
        told_times(&self.times().probe)
    }

    /// p50 of transactions through weir and direct since the last call.
    pub fn recent(&self) -> (String, String) {
        let mut times = self.times();
        let told = (
            told_times(&times.recent).0,
            told_times(&times.recent_probe).0,
        );
        times.recent.reset();
        times.recent_probe.reset();
        told
    }
}

/// Starts so many clients.
pub fn start(
    clients: u32,
    through: &Endpoint,
    figures: &Arc<Figures>,
    stop: &Arc<AtomicBool>,
) -> Vec<JoinHandle<()>> {
    let one = |number: u64| {
        let (through, figures, stop) = (through.clone(), figures.clone(), stop.clone());
        async move {
            let mut round = 0;
            while !stop.load(Ordering::Relaxed) {
                figures.alive.fetch_add(1, Ordering::Relaxed);
                if let Err(error) = visit(&through, &figures, number << 32 | round).await {
                    figures.fail(format!("client {number}, visit {round}: {error:#}"));
                }
                figures.alive.fetch_sub(1, Ordering::Relaxed);
                round += 1;
                // Clients come when they have something to do, not the moment they have left.
                let pause = crate::cases::mix(number << 40 | round) % 500_000;
                tokio::time::sleep(Duration::from_micros(pause)).await;
            }
        }
    };
    let _runtime = crate::runtime().enter();
    (0..u64::from(clients))
        .map(|number| tokio::spawn(one(number)))
        .collect()
}

/// One short life: connect, one transaction, leave.
async fn visit(through: &Endpoint, figures: &Figures, seed: u64) -> Result<()> {
    let begin = Instant::now();
    let client = through.connect().await.context("connect")?;
    let connected = Instant::now();
    transfer(&client, seed).await?;
    let done = Instant::now();
    figures.committed.fetch_add(1, Ordering::Relaxed);
    let mut times = figures.times();
    times.connect.saturating_record(micros(connected - begin));
    times
        .transaction
        .saturating_record(micros(done - connected));
    times.recent.saturating_record(micros(done - connected));
    Ok(())
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// Moves money between two accounts and checks, inside the transaction, that the sum of all is what it must be.
async fn transfer(client: &Client, seed: u64) -> Result<()> {
    let random = crate::cases::mix(seed);
    let (giver, taker, amount) = (
        random % 100 + 1,
        random / 128 % 100 + 1,
        random / 32768 % 50 + 1,
    );
    // The lower account is locked first, whoever gives: the storm must not make deadlocks of its own.
    let (low, high) = (giver.min(taker), giver.max(taker));
    let change = if giver <= taker {
        -(amount as i64)
    } else {
        amount as i64
    };
    let update = |id: u64, change: i64| {
        format!("UPDATE account SET balance = balance + ({change}) WHERE id = {id}")
    };
    let (first, second) = (update(low, change), update(high, -change));
    let note = format!("INSERT INTO transfer VALUES ({amount}, {giver}, {taker})");
    client
        .batch_execute(&format!("BEGIN; {first}; {second}; {note}"))
        .await
        .map_err(told)?;
    let sum = value(client, "SELECT sum(balance) FROM account").await?;
    ensure!(sum == "100000", "inside a transaction the sum is {sum}");
    client.batch_execute("COMMIT").await.map_err(told)
}

/// One client that runs the same transaction on a direct connection, some times a second, for comparison.
pub fn start_probe(
    direct: &Endpoint,
    figures: &Arc<Figures>,
    stop: &Arc<AtomicBool>,
) -> JoinHandle<()> {
    let (direct, figures, stop) = (direct.clone(), figures.clone(), stop.clone());
    let _runtime = crate::runtime().enter();
    tokio::spawn(async move {
        if let Err(error) = probe(&direct, &figures, &stop).await {
            figures.fail(format!("the direct probe: {error:#}"));
        }
    })
}

async fn probe(direct: &Endpoint, figures: &Figures, stop: &AtomicBool) -> Result<()> {
    let mut config = direct.config();
    config.application_name("direct probe");
    let client = direct.connect_with(&config).await?;
    let mut round = 1 << 60;
    while !stop.load(Ordering::Relaxed) {
        let begin = Instant::now();
        transfer(&client, round).await?;
        let took = micros(begin.elapsed());
        figures.probed.fetch_add(1, Ordering::Relaxed);
        {
            let mut times = figures.times();
            times.probe.saturating_record(took);
            times.recent_probe.saturating_record(took);
        }
        round += 1;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}
