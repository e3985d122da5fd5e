//! A weir for the guard: one shard, as many server connections as clients, started under a tool or on one CPU.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use weir_e2e::place;
use weir_e2e::weir::{Start, Weir};

use super::lockstep::{LockStep, PASSWORD, Server, USER};

/// weir and what is around it; dropping it stops weir.
pub(super) struct Started {
    /// weir, or the tool it runs under.
    pub weir: Weir,
    /// Both sides of it.
    pub steps: LockStep,
}

/// Starts weir behind a command (`valgrind …`, `taskset …`; may be empty) and logs `width` clients in.
pub(super) fn start(dir: &Path, before: &[String], io: &str, width: usize) -> Result<Started> {
    let server = Server::listen()?;
    let weir = weir(
        dir,
        before,
        server.address()?,
        &[("io", &format!("\"{io}\""))],
        width,
    )?;
    let address = SocketAddr::from(([127, 0, 0, 1], weir.port));
    let steps = LockStep::new(&server, address, width)
        .with_context(|| format!("weir said:\n{}", weir.log()))?;
    Ok(Started { weir, steps })
}

/// Starts weir behind a command, in front of a server that takes anyone, with `pool` connections to it. `more` are keys
/// and values (TOML) of its config.
pub fn weir(
    dir: &Path,
    before: &[String],
    to: SocketAddr,
    more: &[(&str, &str)],
    pool: usize,
) -> Result<Weir> {
    std::fs::create_dir_all(dir).with_context(|| dir.display().to_string())?;
    let own = [
        ("shards", "1".to_owned()),
        ("client_tls", "\"off\"".to_owned()),
        ("client_auth", "\"md5\"".to_owned()),
        ("host", format!("\"{}\"", to.ip())),
        ("port", to.port().to_string()),
        ("database", format!("\"{USER}\"")),
        ("target_tls", "\"off\"".to_owned()),
        ("min_connection_pool_size", pool.to_string()),
        ("max_connection_pool_size", pool.to_string()),
    ];
    let mut start = Start {
        program: wrapped(dir, before)?,
        dir: dir.to_path_buf(),
        options: Vec::new(),
        deny_io_uring: false,
        extra: String::new(),
        users: vec![(USER.to_owned(), PASSWORD.to_owned())],
    };
    for (key, value) in own
        .iter()
        .map(|(k, v)| (*k, v.as_str()))
        .chain(more.iter().copied())
    {
        start.option(key, value);
    }
    Weir::start(&start).context("weir")
}

/// A script that becomes weir behind the command, since what starts weir takes one program.
fn wrapped(dir: &Path, before: &[String]) -> Result<PathBuf> {
    let weir = place::weir_binary();
    if before.is_empty() {
        return Ok(weir);
    }
    let script = dir.join("weir-behind-a-tool");
    let mut words: Vec<String> = before.iter().map(|w| quoted(w)).collect();
    words.push(quoted(&weir.display().to_string()));
    std::fs::write(
        &script,
        format!("#!/bin/sh\nexec {} \"$@\"\n", words.join(" ")),
    )?;
    std::fs::set_permissions(&script, PermissionsExt::from_mode(0o755))?;
    Ok(script)
}

/// A word that the shell takes as it is.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    #[test]
    fn words_reach_the_tool_as_they_are() {
        assert_eq!(super::quoted("a b$c"), "'a b$c'");
        assert_eq!(super::quoted("it's"), r"'it'\''s'");
    }
}
