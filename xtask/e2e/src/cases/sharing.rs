//! Many clients on few connections: sums hold, nobody starves, nobody sees anything of anybody else's.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use futures_util::future::{join_all, try_join_all};
use tokio_postgres::Client;
use tokio_postgres::types::Type;

use super::mix;
use crate::block;
use crate::case::{Case, Plan, Setting, both, case};
use crate::endpoint::{Endpoint, told, value};
use crate::raw::Raw;
use crate::watch::PeakWatch;

/// The cases.
pub const CASES: &[Case] = &[
    both(
        "sharing/sums_hold_on_one_shard",
        Plan::Shells { shards: 1 },
        sums_hold,
    ),
    both(
        "sharing/sums_hold_on_two_shards",
        Plan::Shells { shards: 2 },
        sums_hold,
    ),
    both(
        "sharing/nobody_starves",
        Plan::Shells { shards: 2 },
        nobody_starves,
    ),
    both(
        "sharing/tokens_never_cross",
        Plan::Shells { shards: 2 },
        tokens_never_cross,
    ),
    both(
        "sharing/state_never_leaks",
        Plan::Shells { shards: 1 },
        state_never_leaks,
    ),
    both(
        "sharing/notifications_stay_with_their_listener",
        Plan::Shells { shards: 1 },
        notifications_stay,
    ),
    both(
        "sharing/transactions_have_their_connection_alone",
        Plan::Shells { shards: 2 },
        transactions_alone,
    ),
    case(
        "sharing/autocommit_clients_alternate",
        Plan::Shells { shards: 1 },
        autocommit_alternates,
    ),
    case(
        "sharing/an_unused_shard_gives_its_connections",
        Plan::Shells { shards: 2 },
        unused_shard_gives,
    ),
];

/// 2 connections.
const TWO: &[(&str, &str)] = &[("max_connection_pool_size", "2")];
const ACCOUNTS: i64 = 20;

async fn fresh_accounts(endpoint: &Endpoint) -> Result<()> {
    let sql = format!(
        "DROP TABLE IF EXISTS account, done; CREATE TABLE account (id int PRIMARY KEY, balance int NOT NULL); \
         CREATE TABLE done (client int NOT NULL); INSERT INTO account SELECT n, 1000 FROM generate_series(1, {ACCOUNTS}) n"
    );
    endpoint
        .connect()
        .await?
        .batch_execute(&sql)
        .await
        .map_err(told)
}

/// One transaction: takes from one account, gives to another, and checks inside that the sum is what it must be.
async fn transfer(client: &Client, number: u64) -> Result<()> {
    let random = mix(number);
    let (from, to) = ((random % 20) as i64 + 1, (random / 32 % 20) as i64 + 1);
    // Locks are taken in one order, so that the database itself has no deadlock to report.
    let (low, high) = (from.min(to), from.max(to));
    let (take, give) = if from < to { (-1, 1) } else { (1, -1) };
    client
        .batch_execute("BEGIN ISOLATION LEVEL READ COMMITTED")
        .await
        .map_err(told)?;
    if number.is_multiple_of(2) {
        // Unnamed statements: named ones would pin the session.
        let sql = "UPDATE account SET balance = balance + $1 WHERE id = $2";
        for (change, id) in [(take, low), (give, high)] {
            client
                .query_typed(sql, &[(&change, Type::INT4), (&id, Type::INT8)])
                .await
                .map_err(told)?;
        }
    } else {
        client
            .batch_execute(&format!(
                "UPDATE account SET balance = balance + ({take}) WHERE id = {low}"
            ))
            .await
            .map_err(told)?;
        client
            .batch_execute(&format!(
                "UPDATE account SET balance = balance + ({give}) WHERE id = {high}"
            ))
            .await
            .map_err(told)?;
    }
    client
        .batch_execute("INSERT INTO done VALUES (1)")
        .await
        .map_err(told)?;
    let sum = value(client, "SELECT sum(balance) FROM account").await?;
    ensure!(
        sum == (ACCOUNTS * 1000).to_string(),
        "inside a transaction the sum is {sum}"
    );
    client.batch_execute("COMMIT").await.map_err(told)
}

/// 64 clients, 2 connections: half of them stay, half of them connect anew for every transaction.
fn sums_hold(setting: &Setting) -> Result<()> {
    let front = setting.front(TWO)?;
    let endpoint = front.endpoint.clone();
    let rounds = if setting.long { 100 } else { 15 };
    let watch = PeakWatch::start(&setting.server)?;
    block(async move {
        fresh_accounts(&endpoint).await?;
        let clients = (0..64_u64).map(|n| {
            let endpoint = endpoint.clone();
            tokio::spawn(async move {
                let mut client = endpoint.connect().await?;
                for round in 0..rounds {
                    if n % 2 == 0 && round > 0 {
                        client = endpoint.connect().await?;
                    }
                    transfer(&client, n * 1000 + round)
                        .await
                        .with_context(|| format!("client {n}, round {round}"))?;
                }
                anyhow::Ok(())
            })
        });
        for ended in join_all(clients).await {
            ended??;
        }
        let client = endpoint.connect().await?;
        let sum = value(&client, "SELECT sum(balance) FROM account").await?;
        ensure!(
            sum == (ACCOUNTS * 1000).to_string(),
            "at the end the sum is {sum}"
        );
        let done = value(&client, "SELECT count(*) FROM done").await?;
        ensure!(
            done == (64 * rounds).to_string(),
            "{done} transactions were done"
        );
        anyhow::Ok(())
    })?;
    let peak = watch.stop()?;
    ensure!(
        setting.direct || peak <= 2,
        "the server had {peak} connections"
    );
    Ok(())
}

/// 64 clients ask for 3 seconds as fast as they are served: first come, first served makes their shares alike.
fn nobody_starves(setting: &Setting) -> Result<()> {
    let front = setting.front(TWO)?;
    let endpoint = front.endpoint.clone();
    let counts = block(async move {
        let clients = try_join_all((0..64).map(|_| endpoint.connect())).await?;
        let end = Instant::now() + Duration::from_secs(3);
        let running = clients.into_iter().map(|client| {
            tokio::spawn(async move {
                let (mut count, mut longest) = (0_u64, Duration::ZERO);
                while Instant::now() < end {
                    let begin = Instant::now();
                    client
                        .batch_execute("BEGIN; SELECT 1; COMMIT")
                        .await
                        .map_err(told)?;
                    longest = longest.max(begin.elapsed());
                    count += 1;
                }
                anyhow::Ok((count, longest))
            })
        });
        join_all(running)
            .await
            .into_iter()
            .map(|ended| ended?)
            .collect::<Result<Vec<_>>>()
    })?;
    let mean = counts.iter().map(|(n, _)| n).sum::<u64>() / 64;
    let least = counts.iter().map(|(n, _)| *n).min().unwrap_or(0);
    let longest = counts.iter().map(|(_, d)| *d).max().unwrap_or_default();
    ensure!(
        setting.direct || least * 4 >= mean,
        "mean {mean} transactions, but somebody had only {least}"
    );
    ensure!(
        longest < Duration::from_secs(2),
        "somebody waited {longest:?}"
    );
    Ok(())
}

/// Every client asks for values that only it can have asked for, one at a time and in pipelines.
fn tokens_never_cross(setting: &Setting) -> Result<()> {
    let front = setting.front(TWO)?;
    let endpoint = front.endpoint.clone();
    let rounds = if setting.long { 1000 } else { 60 };
    block(async move {
        let clients = (0..64_u64).map(|n| {
            let endpoint = endpoint.clone();
            tokio::spawn(async move {
                let client = endpoint.connect().await?;
                for round in 0..rounds {
                    let token = mix(n << 32 | round).to_string();
                    let size = (mix(round) % 3000) as i32;
                    let got =
                        value(&client, &format!("SELECT '{token}' || repeat('.', {size})")).await?;
                    ensure!(
                        got.trim_end_matches('.') == token
                            && got.len() == token.len() + size as usize,
                        "got {got}"
                    );
                    let pipelined = (0..4_i64).map(|i| {
                        let (client, token) = (&client, &token);
                        async move {
                            let sql = "SELECT $1 || $2::text";
                            let own = format!("{token}/");
                            client
                                .query_typed(sql, &[(&own, Type::TEXT), (&i, Type::INT8)])
                                .await
                        }
                    });
                    for (i, row) in join_all(pipelined).await.into_iter().enumerate() {
                        let rows = row.map_err(told)?;
                        let got: String = rows.first().context("no row")?.get(0);
                        ensure!(
                            got == format!("{token}/{i}"),
                            "asked for {token}/{i}, got {got}"
                        );
                    }
                }
                anyhow::Ok(())
            })
        });
        for ended in join_all(clients).await {
            ended??;
        }
        Ok(())
    })
}

/// What a session may leave behind. `$N` is the client's number.
const LITTER: &[&str] = &[
    "SET work_mem = '17MB'",
    "SET SESSION search_path = nowhere_$N",
    "SET application_name = 'left_$N'",
    "SET TIME ZONE 'Asia/Tokyo'",
    "SET statement_timeout = '98765'",
    "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
    "SET my.setting = 'left_$N'",
    "SELECT set_config('my.setting', 'left_$N', false)",
    "CREATE TEMP TABLE left_behind (n int)",
    "SELECT 1 AS n INTO TEMP left_behind",
    "CREATE FUNCTION pg_temp.left_behind() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "PREPARE left_behind AS SELECT $N",
    "DECLARE left_behind CURSOR WITH HOLD FOR SELECT 1",
    "LISTEN left_behind",
    "SELECT pg_advisory_lock(5000 + $N)",
    "SELECT pg_advisory_lock_shared(5000 + $N)",
    "DO $x$ BEGIN PERFORM set_config('my.setting', 'left_$N', false); END $x$",
    "DO $x$ BEGIN PERFORM pg_advisory_lock(5000 + $N); CREATE TEMP TABLE left_behind (n int); END $x$",
    "BEGIN; SET work_mem = '17MB'; COMMIT",
    "BEGIN; CREATE TEMP TABLE left_behind (n int); COMMIT; SELECT 1",
    "SELECT setseed(0.5)",
    "SELECT nextval('litter_sequence')",
    "SET client_encoding = 'LATIN1'",
    "SET default_transaction_isolation = 'serializable'",
    "SET extra_float_digits = 0",
    "BEGIN; SELECT pg_advisory_lock(5000 + $N)",
    "BEGIN; SET work_mem = '17MB'; CREATE TEMP TABLE left_behind (n int)",
    "BEGIN; SELECT 1/0",
    "/* a comment */ SeT /* another */ work_mem\n=\n'17MB'",
    "SELECT 1; SET work_mem = '17MB'; SELECT 2",
];

/// One row that says how a session looks to a newcomer; the same for every newcomer.
const LOOK: &str = "SELECT concat_ws(' | ', current_setting('work_mem'), current_setting('search_path'), \
     current_setting('application_name'), current_setting('timezone'), current_setting('statement_timeout'), \
     current_setting('default_transaction_read_only'), coalesce(nullif(current_setting('my.setting', true), ''), 'unset'), \
     coalesce(to_regclass('pg_temp.left_behind')::text, 'no table'), \
     (SELECT count(*) FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace AND n.oid = pg_my_temp_schema() \
      WHERE proname = 'left_behind'), \
     (SELECT count(*) FROM pg_prepared_statements), (SELECT count(*) FROM pg_cursors WHERE name = 'left_behind'), \
     (SELECT count(*) FROM pg_listening_channels()), \
     (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()), \
     current_setting('client_encoding'), current_setting('default_transaction_isolation'), \
     current_setting('extra_float_digits'), current_user, session_user)";

/// 16 clients litter on 2 connections; every newcomer must find a session as clean as a new one.
fn state_never_leaks(setting: &Setting) -> Result<()> {
    let front = setting.front(TWO)?;
    let expected = {
        let mut raw = Raw::login(&setting.server.endpoint()?)?;
        raw.run("DROP SEQUENCE IF EXISTS litter_sequence")?;
        raw.run("CREATE SEQUENCE litter_sequence")?;
        raw.value(LOOK)?
    };
    let rounds = if setting.long { 200 } else { 24 };
    let clients = (0..16_u64).map(|n| {
        let (endpoint, expected) = (front.endpoint.clone(), expected.clone());
        std::thread::spawn(move || {
            (0..rounds).try_for_each(|round| litter_once(&endpoint, n, round, &expected))
        })
    });
    for client in clients.collect::<Vec<_>>() {
        client
            .join()
            .map_err(|_| anyhow::anyhow!("a client panicked"))??;
    }
    let mut raw = Raw::login(&front.endpoint)?;
    ensure!(
        raw.value(LOOK)? == expected,
        "at the end: {}",
        raw.value(LOOK)?
    );
    let locks = setting
        .server
        .ask("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'")?;
    ensure!(locks == "0", "{locks} advisory locks were left");
    Ok(())
}

fn litter_once(endpoint: &Endpoint, client: u64, round: u64, expected: &str) -> Result<()> {
    let random = mix(client << 20 | round);
    let mut raw = Raw::login(endpoint)?;
    let seen = raw.value(LOOK)?;
    ensure!(
        seen == expected,
        "client {client}, round {round}, sees\n{seen}\ninstead of\n{expected}"
    );
    let litter = LITTER[random as usize % LITTER.len()].replace("$N", &client.to_string());
    raw.query(&litter).with_context(|| litter.clone())?;
    match random >> 40 & 3 {
        0 => raw.send(b"X\0\0\0\x04")?,
        1 => raw.reset()?,
        2 => drop(raw),
        _ => {
            // Its own litter is still there for itself, whatever the others did meanwhile.
            std::thread::sleep(Duration::from_millis(random >> 50 & 7));
            let again = raw.query(LOOK)?;
            let own = again.error.is_some() || again.value().is_ok_and(|seen| seen != expected);
            let invisible = litter.contains("setseed") || litter.contains("nextval");
            ensure!(
                own || invisible,
                "client {client} lost what it left: {litter}"
            );
        }
    }
    Ok(())
}

/// A client that listens hears its own channel and no other's, and a client that does not listen hears nothing.
fn notifications_stay(setting: &Setting) -> Result<()> {
    let front = setting.front(&[("max_connection_pool_size", "4")])?;
    let mut listeners = Vec::new();
    for n in 0..3 {
        let mut raw = Raw::login(&front.endpoint)?;
        raw.run(&format!("LISTEN channel_{n}"))?;
        listeners.push(raw);
    }
    let mut other = Raw::login(&front.endpoint)?;
    for round in 0..20 {
        for n in 0..3 {
            other.send_query(&format!("NOTIFY channel_{n}, 'round {round}'"))?;
            let messages = other.messages_until(b'Z')?;
            ensure!(
                messages.iter().all(|m| m.tag != b'A'),
                "a client that does not listen was notified"
            );
        }
        for (n, listener) in listeners.iter_mut().enumerate() {
            let message = listener.message()?;
            let text =
                String::from_utf8_lossy(message.body.get(4..).unwrap_or_default()).into_owned();
            ensure!(
                message.tag == b'A' && text == format!("channel_{n}\0round {round}\0"),
                "listener {n} got {message:?}"
            );
        }
    }
    // The connections come back without their channels.
    listeners.clear();
    other.run("NOTIFY channel_0, 'nobody'")?;
    for _ in 0..6 {
        let mut raw = Raw::login(&front.endpoint)?;
        ensure!(raw.value("SELECT count(*) FROM pg_listening_channels()")? == "0");
    }
    Ok(())
}

fn transactions_alone(setting: &Setting) -> Result<()> {
    let front = setting.front(&[("max_connection_pool_size", "8")])?;
    let endpoint = front.endpoint.clone();
    block(async move {
        let clients = try_join_all((0..8).map(|_| endpoint.connect())).await?;
        for _ in 0..10 {
            let mut pids = BTreeSet::new();
            for client in &clients {
                client.batch_execute("BEGIN").await.map_err(told)?;
                pids.insert(value(client, "SELECT pg_backend_pid()").await?);
            }
            ensure!(
                pids.len() == 8,
                "8 open transactions are on the connections {pids:?}"
            );
            for client in &clients {
                ensure!(pids.contains(&value(client, "SELECT pg_backend_pid()").await?));
                client.batch_execute("COMMIT").await.map_err(told)?;
            }
        }
        Ok(())
    })
}

/// Two clients, one connection, no transactions: they take turns without waiting for each other.
fn autocommit_alternates(setting: &Setting) -> Result<()> {
    let front = setting.front(&[("max_connection_pool_size", "1")])?;
    let (mut one, mut two) = (Raw::login(&front.endpoint)?, Raw::login(&front.endpoint)?);
    let begin = Instant::now();
    for n in 0..500 {
        ensure!(one.value(&format!("SELECT {n}"))? == n.to_string());
        ensure!(two.value(&format!("SELECT -{n}"))?.trim_start_matches('-') == n.to_string());
    }
    ensure!(
        begin.elapsed() < Duration::from_secs(10),
        "1,000 queries took {:?}",
        begin.elapsed()
    );
    let pids = [
        one.value("SELECT pg_backend_pid()")?,
        two.value("SELECT pg_backend_pid()")?,
    ];
    ensure!(pids[0] == pids[1], "one connection was expected: {pids:?}");
    Ok(())
}

/// With more clients than connections, connections that idle on one shard serve those who wait on another: clients that
/// come one by one, on whatever shard, are all served while every connection is at some shard.
fn unused_shard_gives(setting: &Setting) -> Result<()> {
    let front = setting.front(TWO)?;
    for round in 0..40 {
        // Both connections are used at once, so that both are open, on whatever shards the two clients are.
        let mut pair = [Raw::login(&front.endpoint)?, Raw::login(&front.endpoint)?];
        let begin = Instant::now();
        for raw in &mut pair {
            raw.run("BEGIN")?;
        }
        for raw in &mut pair {
            raw.run("COMMIT")?;
        }
        ensure!(
            begin.elapsed() < Duration::from_secs(1),
            "round {round} took {:?}",
            begin.elapsed()
        );
    }
    Ok(())
}
