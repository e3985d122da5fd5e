//! Random sessions twice on a real server: alone on a connection of their own, and many at once through weir on two connections. Every
//! answer must be equal.
//!
//! A seed decides what each session does ([`weir_sim::client::script::real`]); chance alone decides how they meet.

mod judge;
mod play;
mod words;

use std::sync::{Arc, Barrier};

use anyhow::{Context, Result, bail};
use weir_sim::client::Step;
use weir_sim::client::script::real;
use weir_sim::rng::Rng;

use crate::case::{Case, Plan, Setting, both};
use crate::endpoint::Endpoint;
use crate::raw::Raw;
use play::Seen;

/// The cases.
pub const CASES: &[Case] = &[Case {
    seconds: 7200,
    ..both("differential/alone_and_shared", Plan::Matrix, compare)
}];

/// Sessions of a round are numbered from its own number on, so that nothing that a session leaves on the server meets another one.
const IDS_PER_ROUND: u32 = 64;
/// Rounds of the usual run and of the long one.
const ROUNDS: (u32, u32) = (4, 400);

/// Failing seeds after which a run ends.
const FAILURES_MAX: usize = 5;

/// What the sessions' statements need; as the owner of the database.
const SETUP: &str = "
    DROP SCHEMA IF EXISTS one, two CASCADE;
    DROP TABLE IF EXISTS acct, which, deferred, counted CASCADE;
    DROP SEQUENCE IF EXISTS counter;
    CREATE SCHEMA one; CREATE SCHEMA two;
    CREATE TABLE acct (v text CHECK (v <> 'bad'));
    CREATE TABLE one.acct (v varchar(40), w int DEFAULT 7);
    CREATE TABLE two.acct (n int DEFAULT 3, v text);
    CREATE TABLE which AS SELECT 0 AS k;
    CREATE TABLE one.which AS SELECT 'one'::text AS k;
    CREATE TABLE two.which AS SELECT 2 AS k, date '2020-02-02' AS more;
    CREATE OR REPLACE FUNCTION label() RETURNS text LANGUAGE sql AS $$ SELECT 'public'::text $$;
    CREATE FUNCTION one.label() RETURNS text LANGUAGE sql AS $$ SELECT 'one'::text $$;
    CREATE FUNCTION two.label() RETURNS int LANGUAGE sql AS $$ SELECT 2 $$;
    CREATE TABLE deferred (id int UNIQUE DEFERRABLE INITIALLY DEFERRED);
    CREATE SEQUENCE counter INCREMENT 2 MAXVALUE 2 CYCLE;
    CREATE TABLE counted (id int DEFAULT nextval('counter'), v text);
    CREATE OR REPLACE FUNCTION hidden_set(text, text) RETURNS text LANGUAGE plpgsql
        AS $$ BEGIN RETURN set_config($1, $2, false); END $$;
";

fn compare(setting: &Setting) -> Result<()> {
    let shared = setting.front(&[("max_connection_pool_size", "2")])?;
    let alone = setting.server.endpoint()?;
    let alone = alone.with_login(&alone.user, &alone.password, "second");
    for database in ["app", "second"] {
        let place = alone.with_login(&alone.user, &alone.password, database);
        Raw::login(&place)?.run(SETUP)?;
    }
    let (first, rounds) = match setting.seed {
        Some(seed) => (seed, 1),
        None => (
            u64::from(setting.server.major) << 32 | u64::from(setting.shards) << 24,
            if setting.long { ROUNDS.1 } else { ROUNDS.0 },
        ),
    };
    let mut failures = Vec::new();
    for round in 0..rounds {
        let seed = first + u64::from(round);
        let play = |ids: u32| one_round(&alone, &shared.endpoint, seed, ids);
        let mut seen = play(round * IDS_PER_ROUND);
        if seen.is_err() && !setting.long && setting.seed.is_none() {
            // How sessions meet differs from run to run. What shows once and not again is left to the long run, where all of it counts.
            seen = play((rounds + round) * IDS_PER_ROUND);
        }
        if let Err(error) = seen {
            failures.push(format!("seed {seed} (again with --seed {seed}): {error:#}"));
        }
        if failures.len() == FAILURES_MAX {
            break;
        }
    }
    if failures.is_empty() {
        return Ok(());
    }
    bail!("{}", failures.join("\n\n"))
}

/// The scripts of a seed; they name what they own by their number, from `base` on.
fn scripts(seed: u64, base: u32) -> Vec<Vec<Step>> {
    let mut rng = Rng::new(seed);
    let count = rng.range(20, 50) as u32;
    let mut script = |n| {
        let habits = rng.range(1, 10);
        real::write(rng.fork(), base + n, habits)
    };
    (1..=count).map(&mut script).collect()
}

fn one_round(alone: &Endpoint, shared: &Endpoint, seed: u64, base: u32) -> Result<()> {
    let scripts = scripts(seed, base);
    for place in [alone, shared] {
        let mut raw = Raw::login(place)?;
        raw.run("TRUNCATE acct, one.acct, two.acct, counted")?;
        for n in 1..=scripts.len() as u32 {
            raw.run(&format!("CREATE SEQUENCE IF NOT EXISTS seq_{}", base + n))?;
        }
    }
    let barrier = Arc::new(Barrier::new(scripts.len()));
    let sessions = scripts.into_iter().map(|script| {
        let (alone, shared, barrier) = (alone.clone(), shared.clone(), barrier.clone());
        let session = move || {
            let before = session(&alone, &script, false);
            barrier.wait();
            let after = session(&shared, &script, true);
            anyhow::Ok((script, before?, after?))
        };
        std::thread::spawn(session)
    });
    let sessions: Vec<_> = sessions.collect();
    let mut found = Vec::new();
    for (n, session) in sessions.into_iter().enumerate() {
        let outcome = session
            .join()
            .map_err(|_| anyhow::anyhow!("a client panicked"))?;
        let (script, before, after) =
            outcome.with_context(|| format!("session {}", base as usize + n + 1))?;
        if let Some(text) = judge::difference(&script, &before, &after) {
            found.push(format!("session {}: {text}", base as usize + n + 1));
        }
    }
    if found.is_empty() {
        return Ok(());
    }
    bail!("{} sessions differ\n{}", found.len(), found.join("\n\n"))
}

fn session(place: &Endpoint, script: &[Step], pauses: bool) -> Result<Vec<Seen>> {
    Ok(play::play(&mut Raw::login(place)?, script, pauses))
}
