//! Settings of one's own: many clients on two connections, each sees what it has set and pins nothing.

use anyhow::{Result, ensure};

use super::{mix, nobody_is_pinned};
use crate::case::{Case, Plan, Setting, both};
use crate::raw::Raw;

/// The cases.
pub const CASES: &[Case] = &[both(
    "settings/follow_their_client",
    Plan::Matrix,
    follow_their_client,
)];

const CLIENTS: u64 = 50;
const ZONES: [&str; 4] = ["UTC", "Europe/Berlin", "Asia/Tokyo", "America/New_York"];

fn follow_their_client(setting: &Setting) -> Result<()> {
    let mut front = setting.front(&[("max_connection_pool_size", "2")])?;
    let rounds = if setting.long { 200 } else { 20 };
    let clients = (0..CLIENTS).map(|n| {
        let endpoint = front.endpoint.clone();
        std::thread::spawn(move || one_client(&mut Raw::login(&endpoint)?, n, rounds))
    });
    for client in clients.collect::<Vec<_>>() {
        client
            .join()
            .map_err(|_| anyhow::anyhow!("a client panicked"))??;
    }
    if setting.direct {
        return Ok(());
    }
    nobody_is_pinned(front.weir()?)
}

fn one_client(raw: &mut Raw, n: u64, rounds: u64) -> Result<()> {
    let name = format!("client {n}");
    let path = format!("own_{}, public", n % 7);
    let mut zone = ZONES[n as usize % ZONES.len()];
    raw.run(&format!("SET application_name = '{name}'"))?;
    raw.run(&format!("SET search_path TO own_{}, public", n % 7))?;
    raw.run(&format!("SET TIME ZONE '{zone}'"))?;
    raw.run("SET datestyle = DMY")?;
    for round in 0..rounds {
        let random = mix(n << 20 | round);
        match random % 8 {
            0 => {
                zone = ZONES[(random >> 8) as usize % ZONES.len()];
                raw.run(&format!("SET SESSION TIME ZONE '{zone}'"))?;
            }
            1 => {
                raw.run("BEGIN")?;
                raw.run("SET TimeZone = 'Australia/Sydney'")?;
                raw.run("SAVEPOINT s")?;
                raw.run("SET application_name = 'nobody'")?;
                raw.run("ROLLBACK TO s")?;
                raw.run("ROLLBACK")?;
            }
            2 => {
                raw.run("BEGIN")?;
                raw.run("SET search_path = 'x'")?;
                raw.query("SELECT 1/0")?;
                raw.run("COMMIT")?;
            }
            3 => {
                raw.run("SET statement_timeout = 60000")?;
            }
            4 => {
                raw.run("RESET statement_timeout")?;
            }
            5 => {
                zone = ZONES[(random >> 8) as usize % ZONES.len()];
                raw.run(&format!("SELECT set_config('TimeZone', '{zone}', false)"))?;
            }
            _ => {}
        }
        let looks = [
            ("application_name", name.as_str()),
            ("search_path", path.as_str()),
            ("TimeZone", zone),
            ("DateStyle", "ISO, DMY"),
        ];
        let (what, expected) = looks[(random >> 20) as usize % looks.len()];
        let seen = raw.value(&format!("SHOW {what}"))?;
        ensure!(
            seen == expected,
            "client {n}, round {round}: {what} is {seen:?}, not {expected:?}"
        );
    }
    Ok(())
}
