//! The Rust driver (tokio-postgres): binary values, named statements, pipelines, COPY, cancel, SCRAM with channel binding.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt, TryStreamExt, pin_mut};
use tokio_postgres::config::ChannelBinding;

use crate::block;
use crate::case::{Case, Plan, Setting, both};
use crate::endpoint::{Endpoint, code, told, value};

/// The cases.
pub const CASES: &[Case] = &[both("drivers/tokio_postgres", Plan::Matrix, |setting| {
    let front = setting.front(&[("max_connection_pool_size", "3")])?;
    let endpoint = front.endpoint.clone();
    // PostgreSQL 10 itself knows no channel binding; weir offers it whatever the server is.
    let binding = !(setting.direct && setting.server.major == 10);
    block(async move {
        values(&endpoint, binding).await?;
        statements_and_pipelines(&endpoint).await?;
        transactions(&endpoint).await?;
        copies(&endpoint).await?;
        cancels(&endpoint).await?;
        notifications(setting, &endpoint).await
    })
})];

async fn values(endpoint: &Endpoint, binding: bool) -> Result<()> {
    let mut config = endpoint.config();
    if binding {
        config.channel_binding(ChannelBinding::Require);
    }
    let client = endpoint.connect_with(&config).await?;
    let bytes: Vec<u8> = (0..=255).collect();
    let sql = "SELECT $1::int4, $2::text, $3::bytea, $4::float8, NULL::text, $5::text[]";
    let list = vec!["a".to_owned(), "ä".to_owned()];
    let row = client
        .query_one(sql, &[&42_i32, &"ä€😀", &bytes, &1.5_f64, &list])
        .await
        .map_err(told)?;
    ensure!(
        row.get::<_, i32>(0) == 42
            && row.get::<_, &str>(1) == "ä€😀"
            && row.get::<_, Vec<u8>>(2) == bytes
    );
    ensure!(row.get::<_, Option<&str>>(4).is_none() && row.get::<_, Vec<String>>(5) == list);
    Ok(())
}

async fn statements_and_pipelines(endpoint: &Endpoint) -> Result<()> {
    let client = endpoint.connect().await?;
    let double = client.prepare("SELECT $1::int4 * 2").await.map_err(told)?;
    let negate = client.prepare("SELECT -($1::int4)").await.map_err(told)?;
    let parameters: Vec<i32> = (0..200).collect();
    // All of them are on the wire before the first answer is read.
    let answers = parameters.iter().map(|n| {
        let (client, statement) = (&client, if n % 2 == 0 { &double } else { &negate });
        async move {
            client
                .query_one(statement, &[n])
                .await
                .map(|row| row.get::<_, i32>(0))
        }
    });
    for (n, answer) in parameters
        .iter()
        .zip(futures_util::future::join_all(answers).await)
    {
        ensure!(
            answer.map_err(told)? == if n % 2 == 0 { n * 2 } else { -n },
            "pipelined answer {n}"
        );
    }
    // An error in the middle of a pipeline is its own statement's and nobody else's.
    let divisors = [1_i32, 0, 2, 0, 4];
    let divide = client.prepare("SELECT 8 / $1::int4").await.map_err(told)?;
    let answers = divisors.iter().map(|n| {
        let (client, divide) = (&client, &divide);
        async move { client.query_one(divide, &[n]).await }
    });
    for (n, answer) in divisors
        .iter()
        .zip(futures_util::future::join_all(answers).await)
    {
        match n {
            0 => ensure!(code(answer)? == "22012"),
            n => ensure!(answer.map_err(told)?.get::<_, i32>(0) == 8 / n),
        }
    }
    ensure!(code(client.query("SELECT * FROM no_such_table", &[]).await)? == "42P01");
    ensure!(value(&client, "SELECT 1").await? == "1");
    Ok(())
}

async fn transactions(endpoint: &Endpoint) -> Result<()> {
    let mut client = endpoint.connect().await?;
    client
        .batch_execute("DROP TABLE IF EXISTS rust_account")
        .await
        .map_err(told)?;
    client.batch_execute("CREATE TABLE rust_account AS SELECT n AS id, 100 AS balance FROM generate_series(1, 4) n").await?;
    let mut transaction = client.transaction().await?;
    transaction
        .execute(
            "UPDATE rust_account SET balance = balance - 7 WHERE id = 1",
            &[],
        )
        .await?;
    {
        let inner = transaction.transaction().await?;
        inner.execute("DELETE FROM rust_account", &[]).await?;
        inner.rollback().await?;
    }
    transaction
        .execute(
            "UPDATE rust_account SET balance = balance + 7 WHERE id = 2",
            &[],
        )
        .await?;
    // A portal that is read in pieces.
    let portal = transaction
        .bind("SELECT n FROM generate_series(1, 100) n", &[])
        .await?;
    let mut total = 0;
    loop {
        let rows = transaction.query_portal(&portal, 30).await?;
        total += rows.len();
        if rows.is_empty() {
            break;
        }
    }
    ensure!(total == 100, "{total} rows of the portal");
    transaction.commit().await?;
    ensure!(
        value(
            &client,
            "SELECT string_agg(balance::text, ',' ORDER BY id) FROM rust_account"
        )
        .await?
            == "93,107,100,100"
    );
    // A transaction that is dropped rolls back.
    {
        let dropped = client.transaction().await?;
        dropped.execute("DELETE FROM rust_account", &[]).await?;
    }
    ensure!(value(&client, "SELECT count(*) FROM rust_account").await? == "4");
    Ok(())
}

async fn copies(endpoint: &Endpoint) -> Result<()> {
    let client = endpoint.connect().await?;
    client
        .batch_execute("CREATE TEMP TABLE rust_copy (n int, t text)")
        .await
        .map_err(told)?;
    let sink = client
        .copy_in("COPY rust_copy FROM STDIN")
        .await
        .map_err(told)?;
    pin_mut!(sink);
    for n in 0..5000 {
        sink.send(Bytes::from(format!("{n}\trow {n}\n"))).await?;
    }
    ensure!(sink.finish().await? == 5000);
    let parts: Vec<Bytes> = client
        .copy_out("COPY rust_copy TO STDOUT")
        .await
        .map_err(told)?
        .try_collect()
        .await?;
    let lines = parts.concat().split(|b| *b == b'\n').count() - 1;
    ensure!(lines == 5000, "{lines} lines came out");
    // A COPY that the client gives up fails on the server and leaves the session usable.
    {
        let abandoned = client
            .copy_in::<_, Bytes>("COPY rust_copy FROM STDIN")
            .await?;
        drop(abandoned);
    }
    ensure!(value(&client, "SELECT count(*) FROM rust_copy").await? == "5000");
    Ok(())
}

async fn cancels(endpoint: &Endpoint) -> Result<()> {
    let client = endpoint.connect().await?;
    let token = client.cancel_token();
    let begin = Instant::now();
    let canceller = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        token.cancel_query(endpoint.connector()).await
    };
    let (slept, cancelled) = tokio::join!(client.batch_execute("SELECT pg_sleep(20)"), canceller);
    cancelled.map_err(told)?;
    ensure!(code(slept)? == "57014" && begin.elapsed() < Duration::from_secs(10));
    ensure!(value(&client, "SELECT 1").await? == "1");
    Ok(())
}

async fn notifications(setting: &Setting, endpoint: &Endpoint) -> Result<()> {
    let (client, mut connection) = endpoint
        .config()
        .connect(endpoint.connector())
        .await
        .map_err(told)?;
    let (send, mut heard) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        let mut messages =
            futures_util::stream::poll_fn(move |context| connection.poll_message(context));
        while let Some(Ok(message)) = messages.next().await {
            if let tokio_postgres::AsyncMessage::Notification(notification) = message {
                let _ = send.send(notification.payload().to_owned());
            }
        }
    });
    client.batch_execute("LISTEN rust_channel").await?;
    let sender = setting.server.endpoint()?.connect().await?;
    sender
        .batch_execute("NOTIFY rust_channel, 'from outside'")
        .await?;
    let payload = tokio::time::timeout(Duration::from_secs(10), heard.recv()).await?;
    ensure!(payload.as_deref() == Some("from outside"));
    Ok(())
}
