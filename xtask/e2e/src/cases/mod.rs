//! The cases, by what they are about, and what they share.

mod abuse;
mod cancel;
mod clients;
mod crowd;
mod differential;
mod drivers;
mod languages;
mod lending;
mod login;
mod overtime;
mod pins;
mod regress;
mod rust_driver;
mod settings;
mod sharing;
mod shells;
mod statements;
mod stop;
mod streams;
mod targets;
mod upkeep;
mod vanish;

use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};

use crate::case::Case;
use crate::weir::Weir;

/// Every case.
pub fn all() -> impl Iterator<Item = &'static Case> {
    let groups: [&[Case]; 22] = [
        drivers::CASES,
        languages::CASES,
        rust_driver::CASES,
        regress::CASES,
        login::CASES,
        settings::CASES,
        sharing::CASES,
        statements::CASES,
        differential::CASES,
        lending::CASES,
        pins::CASES,
        clients::CASES,
        overtime::CASES,
        upkeep::CASES,
        crowd::CASES,
        vanish::CASES,
        cancel::CASES,
        streams::CASES,
        targets::CASES,
        stop::CASES,
        shells::CASES,
        abuse::CASES,
    ];
    groups.into_iter().flatten()
}

/// Asks again and again until the answer is yes; an error that says what was seen last when the time is over.
pub fn until(
    what: &str,
    most: Duration,
    mut ask: impl FnMut() -> Result<(bool, String)>,
) -> Result<Duration> {
    let begin = Instant::now();
    loop {
        let (yes, seen) = ask()?;
        if yes {
            return Ok(begin.elapsed());
        }
        if begin.elapsed() > most {
            bail!("{what}: not within {most:?}; last seen: {seen}");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Nothing has pinned a session so far, as the metrics page says.
pub fn nobody_is_pinned(weir: &Weir) -> Result<()> {
    let text = weir.metrics()?;
    let pins: Vec<&str> = text
        .lines()
        .filter(|l| l.starts_with("weir_pins_total{") && !l.ends_with(" 0"))
        .collect();
    ensure!(pins.is_empty(), "pinned: {pins:?}");
    Ok(())
}

/// A number that differs from call to call (a small generator: cases must not depend on a crate for it).
pub fn mix(seed: u64) -> u64 {
    let mut x = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}
