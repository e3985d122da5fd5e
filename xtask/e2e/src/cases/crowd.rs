//! A crowd: a thousand clients at once, what each of them costs, and storms of connects.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use futures_util::future::{join_all, try_join_all};
use tokio_postgres::Client;

use crate::block;
use crate::case::{Case, Plan, Setting, case};
use crate::endpoint::{Endpoint, told, value};
use crate::watch::PeakWatch;

/// The cases.
pub const CASES: &[Case] = &[
    case(
        "crowd/a_thousand_clients_on_twenty_connections",
        Plan::Shells { shards: 2 },
        thousand,
    ),
    case(
        "crowd/idle_clients_are_cheap",
        Plan::Shells { shards: 1 },
        idle_are_cheap,
    ),
    case(
        "crowd/bursts_of_connects",
        Plan::Shells { shards: 2 },
        bursts,
    ),
];

/// Connects many clients, some at a time: all at once would test the listen queue and not weir.
async fn connect_many(endpoint: &Endpoint, count: usize) -> Result<Vec<Client>> {
    let mut clients = Vec::with_capacity(count);
    while clients.len() < count {
        let some = (count - clients.len()).min(100);
        clients.extend(try_join_all((0..some).map(|_| endpoint.connect())).await?);
    }
    Ok(clients)
}

fn thousand(setting: &Setting) -> Result<()> {
    let front = setting.front(&[
        ("max_connection_pool_size", "20"),
        ("max_client_connections", "2000"),
    ])?;
    let watch = PeakWatch::start(&setting.server)?;
    let endpoint = front.endpoint.clone();
    block(async move {
        let clients = connect_many(&endpoint, 1000).await?;
        for round in 0..3 {
            let asked = clients.iter().enumerate().map(|(n, client)| async move {
                let got = value(client, &format!("SELECT {n} * 10 + {round}")).await?;
                ensure!(
                    got == (n * 10 + round).to_string(),
                    "client {n} got {got} in round {round}"
                );
                Ok(())
            });
            join_all(asked)
                .await
                .into_iter()
                .collect::<Result<Vec<()>>>()?;
        }
        anyhow::Ok(())
    })?;
    let peak = watch.stop()?;
    ensure!(
        (2..=20).contains(&peak),
        "the server had {peak} connections at most"
    );
    Ok(())
}

/// Resident memory for each idle client with TLS. The aim of the design is 5 KiB; the bound leaves room for what the
/// allocator keeps of the logins.
fn idle_are_cheap(setting: &Setting) -> Result<()> {
    let mut front = setting.front(&[("max_client_connections", "3000")])?;
    let endpoint = front.endpoint.clone();
    let first = block(connect_many(&endpoint, 200))?;
    let before = front.weir()?.memory()?;
    let more = block(connect_many(&endpoint, 2000))?;
    std::thread::sleep(Duration::from_millis(300));
    let each = front.weir()?.memory()?.saturating_sub(before) / 2000;
    drop((first, more));
    ensure!(each < 12 * 1024, "an idle client costs {each} bytes");
    Ok(())
}

/// Connects that come all at once, again and again; each asks one thing and leaves.
fn bursts(setting: &Setting) -> Result<()> {
    let front = setting.front(&[
        ("max_connection_pool_size", "5"),
        ("max_client_connections", "2000"),
    ])?;
    let endpoint = front.endpoint.clone();
    let (rounds, size) = if setting.long { (20, 1000) } else { (3, 300) };
    block(async move {
        for round in 0..rounds {
            let begin = Instant::now();
            let visits = (0..size).map(|_| async {
                let client = endpoint.connect().await?;
                client.batch_execute("SELECT 1").await.map_err(told)
            });
            for (n, visit) in join_all(visits).await.into_iter().enumerate() {
                visit.map_err(|e| {
                    e.context(format!(
                        "round {round}, client {n}, after {:?}",
                        begin.elapsed()
                    ))
                })?;
            }
        }
        Ok(())
    })
}
