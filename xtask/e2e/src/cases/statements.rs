//! Named statements of the extended protocol, shared by what they say: many clients, few connections, no pins.

use anyhow::{Context, Result, ensure};
use futures_util::future::try_join_all;

use crate::block;
use crate::case::{Case, Plan, Setting, both, case};
use crate::endpoint::{Endpoint, code, told, value};

/// The cases.
pub const CASES: &[Case] = &[
    case(
        "statements/shared_by_many_on_few",
        Plan::Shells { shards: 2 },
        shared_by_many,
    ),
    case(
        "statements/more_than_a_connection_holds",
        Plan::Shells { shards: 1 },
        more_than_held,
    ),
    both(
        "statements/stale_plan_is_the_drivers_to_see",
        Plan::Shells { shards: 1 },
        stale_plan,
    ),
    both(
        "statements/in_sql_and_in_the_protocol",
        Plan::Shells { shards: 1 },
        in_sql_too,
    ),
    both(
        "statements/deallocated_are_gone",
        Plan::Shells { shards: 1 },
        deallocated,
    ),
];

/// What the server says of its statements; it is meant for the name that the client gave.
const LIST: &str =
    "SELECT coalesce(string_agg(name, ',' ORDER BY name), 'none') FROM pg_prepared_statements";

/// Clients that call different statements the same: the driver names them by counting.
fn shared_by_many(setting: &Setting) -> Result<()> {
    let mut front = setting.front(&[("max_connection_pool_size", "2")])?;
    let endpoint = front.endpoint.clone();
    block(async {
        try_join_all((0..40).map(|n| one_of_many(&endpoint, n))).await?;
        anyhow::Ok(())
    })?;
    let weir = front.weir()?;
    let pins = weir.metric("weir_pins_total")?;
    ensure!(pins == 0.0, "{pins} sessions were pinned");
    ensure!(setting.server.connections()? <= 3, "more than two backends");
    Ok(())
}

async fn one_of_many(endpoint: &Endpoint, n: i32) -> Result<()> {
    let client = endpoint.connect().await?;
    let mut statements = Vec::new();
    for k in 0..5 {
        let which = (n + k) % 8;
        let sql = format!("SELECT $1::int4 * 10 + {which}");
        statements.push((which, client.prepare(&sql).await.map_err(told)?));
    }
    for round in 0..20 {
        for (which, statement) in &statements {
            let parameter = n * 100 + round;
            let row = client.query_one(statement, &[&parameter]).await;
            let got: i32 = row.map_err(told)?.get(0);
            ensure!(
                got == parameter * 10 + which,
                "client {n}: {got} of statement {which} for {parameter}"
            );
        }
    }
    Ok(())
}

/// The least recently used ones are closed and come back when they are wanted.
fn more_than_held(setting: &Setting) -> Result<()> {
    let mut front = setting.front(&[("max_connection_pool_size", "1")])?;
    let endpoint = front.endpoint.clone();
    block(async {
        let client = endpoint.connect().await?;
        let mut statements = Vec::new();
        for n in 0..700 {
            let sql = format!("SELECT $1::int4 + {n}");
            statements.push(client.prepare(&sql).await.map_err(told)?);
        }
        for (n, statement) in (0_i32..).zip(&statements).step_by(7) {
            let got: i32 = client
                .query_one(statement, &[&1])
                .await
                .map_err(told)?
                .get(0);
            ensure!(got == n + 1);
        }
        let other = endpoint.connect().await?;
        ensure!(
            value(&other, "SELECT 1").await? == "1",
            "the only connection is held"
        );
        anyhow::Ok(())
    })?;
    let pins = front.weir()?.metric("weir_pins_total")?;
    ensure!(pins == 0.0, "{pins} sessions were pinned");
    Ok(())
}

/// A table changes: the statement's owner hears of it as on a connection of its own, and preparing it again helps.
fn stale_plan(setting: &Setting) -> Result<()> {
    let front = setting.front(&[("max_connection_pool_size", "1")])?;
    let endpoint = front.endpoint.clone();
    block(async {
        let client = endpoint.connect().await?;
        let sql = "SELECT * FROM stale_plan";
        client
            .batch_execute(
                "DROP TABLE IF EXISTS stale_plan; CREATE TABLE stale_plan AS SELECT 1 AS a",
            )
            .await
            .map_err(told)?;
        let old = client.prepare(sql).await.map_err(told)?;
        ensure!(client.query_one(&old, &[]).await.map_err(told)?.len() == 1);
        client
            .batch_execute("ALTER TABLE stale_plan ADD COLUMN b int DEFAULT 2")
            .await
            .map_err(told)?;
        ensure!(code(client.query(&old, &[]).await)? == "0A000");
        for _ in 0..2 {
            let new = client.prepare(sql).await.map_err(told)?;
            let row = client.query_one(&new, &[]).await.map_err(told)?;
            ensure!(row.len() == 2 && row.get::<_, i32>(1) == 2);
        }
        ensure!(
            code(client.query(&old, &[]).await)? == "0A000",
            "the old one stays stale"
        );
        client
            .batch_execute("DROP TABLE stale_plan")
            .await
            .map_err(told)
    })
}

/// A statement that was prepared in the protocol is there for SQL, under its own name and alone.
fn in_sql_too(setting: &Setting) -> Result<()> {
    let front = setting.front(&[("max_connection_pool_size", "2")])?;
    let endpoint = front.endpoint.clone();
    block(async {
        let others = endpoint.connect().await?;
        let theirs = others.prepare("SELECT 'theirs'").await.map_err(told)?;
        others.query_one(&theirs, &[]).await.map_err(told)?;
        let client = endpoint.connect().await?;
        let _mine = client.prepare("SELECT 'mine'").await.map_err(told)?;
        let names = value(&client, LIST).await?;
        ensure!(
            !names.contains("weir") && names.split(',').count() == 1,
            "{names}"
        );
        let said = value(&client, &format!("EXECUTE {names}")).await?;
        ensure!(said == "mine", "{said}");
        ensure!(value(&others, "SELECT 1").await? == "1");
        let row = others.query_one(&theirs, &[]).await.map_err(told)?;
        ensure!(row.get::<_, &str>(0) == "theirs");
        anyhow::Ok(())
    })
}

fn deallocated(setting: &Setting) -> Result<()> {
    let front = setting.front(&[("max_connection_pool_size", "1")])?;
    let endpoint = front.endpoint.clone();
    block(async {
        let client = endpoint.connect().await?;
        for all in ["DEALLOCATE ALL", "DISCARD ALL"] {
            let statement = client.prepare("SELECT $1::int4").await.map_err(told)?;
            client.query_one(&statement, &[&1]).await.map_err(told)?;
            client.batch_execute(all).await.map_err(told)?;
            let gone = code(client.query(&statement, &[&1]).await).context(all)?;
            ensure!(gone == "26000", "{all}: {gone}");
        }
        ensure!(value(&client, LIST).await? == "none");
        anyhow::Ok(())
    })
}
