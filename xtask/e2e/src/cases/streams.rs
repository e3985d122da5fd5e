//! Long streams: what is larger than any buffer goes through in bounded memory, and a slow reader slows nobody else.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::case::{Case, Front, Plan, Setting, both};
use crate::raw::{Raw, frame};

/// The cases.
pub const CASES: &[Case] = &[
    Case {
        seconds: 400,
        ..both(
            "streams/big_result_in_bounded_memory",
            Plan::Shells { shards: 1 },
            big_result,
        )
    },
    Case {
        seconds: 400,
        ..both(
            "streams/big_copy_in_bounded_memory",
            Plan::Shells { shards: 1 },
            big_copy,
        )
    },
    both(
        "streams/big_row_and_big_statement",
        Plan::Shells { shards: 1 },
        big_messages,
    ),
    both(
        "streams/slow_reader",
        Plan::Shells { shards: 1 },
        slow_reader,
    ),
    both(
        "streams/both_directions_at_once",
        Plan::Shells { shards: 1 },
        both_directions,
    ),
    both(
        "streams/every_split_of_a_conversation",
        Plan::Shells { shards: 1 },
        splits,
    ),
];

const MIB: u64 = 1 << 20;
/// What weir may grow by while a stream passes.
const GROWTH_MAX: u64 = 64 * MIB;

struct Growth {
    before: u64,
}

impl Growth {
    fn measure(front: &Front) -> Result<Growth> {
        Ok(Growth {
            before: memory(front)?,
        })
    }

    fn check(&self, front: &Front, what: &str) -> Result<()> {
        let now = memory(front)?;
        let growth = now.saturating_sub(self.before);
        ensure!(
            growth < GROWTH_MAX,
            "{what}: weir grew by {} MiB",
            growth / MIB
        );
        Ok(())
    }
}

fn memory(front: &Front) -> Result<u64> {
    front.weir_if_any().map_or(Ok(0), crate::weir::Weir::memory)
}

fn size(setting: &Setting) -> u64 {
    if setting.long { 1024 * MIB } else { 128 * MIB }
}

fn big_result(setting: &Setting) -> Result<()> {
    let front = setting.front(&[])?;
    let mut raw = Raw::login(&front.endpoint)?;
    raw.run("SELECT 1")?;
    let growth = Growth::measure(&front)?;
    let rows = size(setting) / 8192;
    raw.send_query(&format!(
        "SELECT repeat('x', 8192) FROM generate_series(1, {rows})"
    ))?;
    let mut seen = 0;
    loop {
        let message = raw.message()?;
        match message.tag {
            b'D' => {
                ensure!(message.body.len() == 8192 + 6 && message.body.last() == Some(&b'x'));
                seen += 1;
            }
            b'Z' => break,
            b'E' => anyhow::bail!("{}", message.error()),
            _ => {}
        }
        if seen % 4096 == 0 {
            growth.check(&front, "in the middle of the result")?;
        }
    }
    ensure!(seen == rows, "{seen} rows of {rows}");
    growth.check(&front, "after the result")
}

fn big_copy(setting: &Setting) -> Result<()> {
    let front = setting.front(&[])?;
    let mut raw = Raw::login(&front.endpoint)?;
    raw.run("CREATE TEMP TABLE swallowed (n int8)")?;
    // Rows that the server reads and throws away, so that the disk is not what is measured.
    raw.run("CREATE FUNCTION pg_temp.nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'")?;
    raw.run("CREATE TRIGGER nothing BEFORE INSERT ON swallowed FOR EACH ROW EXECUTE PROCEDURE pg_temp.nothing()")?;
    raw.run("ALTER TABLE swallowed ADD COLUMN t text")?;
    let growth = Growth::measure(&front)?;
    raw.send_query("COPY swallowed FROM STDIN")?;
    raw.messages_until(b'G')?;
    let line = format!("7\t{}\n", "y".repeat(65_000));
    let part = frame(b'd', line.as_bytes());
    let parts = size(setting) / 65_000;
    for n in 0..parts {
        raw.send(&part)?;
        if n % 512 == 0 {
            growth.check(&front, "in the middle of the COPY")?;
        }
    }
    raw.send(&frame(b'c', &[]))?;
    let answer = raw.answer()?;
    ensure!(answer.error.is_none(), "{:?}", answer.error);
    growth.check(&front, "after the COPY")
}

/// One row and one statement of many MiB: larger than anything that weir keeps.
fn big_messages(setting: &Setting) -> Result<()> {
    let front = setting.front(&[("max_connection_pool_size", "1")])?;
    let mut raw = Raw::login(&front.endpoint)?;
    raw.run("SELECT 1")?;
    let growth = Growth::measure(&front)?;
    let megabytes = if setting.long { 200 } else { 40 };
    let answer = raw.value(&format!("SELECT repeat('r', {megabytes} * 1024 * 1024)"))?;
    ensure!(answer.len() as u64 == megabytes * MIB);
    let literal = "l".repeat((megabytes * MIB) as usize);
    ensure!(raw.value(&format!("SELECT length('{literal}')"))? == (megabytes * MIB).to_string());
    growth.check(&front, "big messages")?;
    drop(raw);
    ensure!(Raw::login(&front.endpoint)?.value("SELECT 1")? == "1");
    Ok(())
}

/// One client reads slowly; its result waits in the server, not in weir, and others are as fast as before.
fn slow_reader(setting: &Setting) -> Result<()> {
    let front = setting.front(&[("max_connection_pool_size", "6")])?;
    let growth = Growth::measure(&front)?;
    let mut slow = Vec::new();
    for _ in 0..4 {
        let mut raw = Raw::login(&front.endpoint)?;
        raw.send_query("SELECT repeat('s', 10000) FROM generate_series(1, 4000)")?;
        slow.push(raw);
    }
    let mut quick = Raw::login(&front.endpoint)?;
    let begin = Instant::now();
    for n in 0..500 {
        ensure!(quick.value(&format!("SELECT {n}"))? == n.to_string());
        if n % 50 == 0 {
            for raw in &mut slow {
                raw.bytes(100)?;
            }
        }
    }
    let took = begin.elapsed();
    ensure!(
        took < Duration::from_secs(5),
        "500 queries beside slow readers took {took:?}"
    );
    growth.check(&front, "with four slow readers")?;
    // They get everything in the end. Bytes were taken off the front, so count what is left.
    for raw in &mut slow {
        let mut left = 40_000_000_u64;
        while left > 1_000_000 {
            left = left.saturating_sub(raw.some(1 << 20)?.len() as u64);
        }
    }
    Ok(())
}

/// A pipeline whose statements and answers are both larger than the sockets' buffers: whoever reads only after it has
/// written everything would wait for ever, here and at PostgreSQL; a client that does both at once must get through.
fn both_directions(setting: &Setting) -> Result<()> {
    let front = setting.front(&[])?;
    let endpoint = front.endpoint.clone();
    crate::block(async move {
        let client = endpoint.connect().await?;
        let statement = client
            .prepare("SELECT $1::text")
            .await
            .map_err(crate::endpoint::told)?;
        let text = "b".repeat(200_000);
        let asked = (0..100).map(|_| {
            let (client, statement, text) = (&client, &statement, &text);
            async move {
                client
                    .query_one(statement, &[text])
                    .await
                    .map(|row| row.get::<_, String>(0).len())
            }
        });
        for answer in futures_util::future::join_all(asked).await {
            ensure!(answer.map_err(crate::endpoint::told)? == 200_000);
        }
        Ok(())
    })
}

/// A conversation sent byte by byte, and cut at every place, is answered alike.
fn splits(setting: &Setting) -> Result<()> {
    let front = setting.front(&[])?;
    let mut conversation = crate::raw::query("SELECT 1; BEGIN; SELECT 'two'");
    conversation.extend(frame(b'P', b"\0SELECT 3\0\0\0"));
    conversation.extend(frame(b'B', &[0; 8]));
    conversation.extend(frame(b'D', b"P\0"));
    conversation.extend(frame(b'E', &[0; 5]));
    conversation.extend(frame(b'S', &[]));
    conversation.extend(crate::raw::query("SELECT 1/0"));
    conversation.extend(crate::raw::query("ROLLBACK"));
    let mut expected = None;
    for cut in 0..=conversation.len() {
        let mut raw = Raw::login(&front.endpoint)?;
        let (first, second) = conversation.split_at(cut);
        if cut == conversation.len() {
            conversation
                .iter()
                .try_for_each(|byte| raw.send(&[*byte]))?;
        } else {
            raw.send(first)?;
            if cut % 16 == 0 {
                std::thread::sleep(Duration::from_millis(2));
            }
            raw.send(second)?;
        }
        let mut seen = Vec::new();
        for _ in 0..4 {
            seen.extend(
                raw.messages_until(b'Z')
                    .with_context(|| format!("cut at {cut}"))?,
            );
        }
        let expected = expected.get_or_insert_with(|| seen.clone());
        ensure!(
            *expected == seen,
            "cut at {cut}: {seen:?} instead of {expected:?}"
        );
    }
    Ok(())
}
