//! What a test case is, and what it is given.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result};

use crate::endpoint::Endpoint;
use crate::install::Drivers;
use crate::pki::Pki;
use crate::place;
use crate::server::{LOGINS, Server};
use crate::weir::{Start, Weir, quoted};

/// Where a case runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Plan {
    /// On every server, each with two of the four combinations of shell and shards, so that every pair is covered.
    Matrix,
    /// On every server of at least this major once, with one of the combinations.
    Servers {
        /// The oldest server.
        since: u32,
    },
    /// On the main server, on both shells.
    Shells {
        /// Shards of weir.
        shards: u16,
    },
    /// On the main server, on the io_uring shell with one shard.
    Once,
}

/// A named test.
#[derive(Clone, Copy)]
pub struct Case {
    /// Its name; `group/name`.
    pub name: &'static str,
    /// Where it runs.
    pub plan: Plan,
    /// Whether it also says something about a server without weir (which shows that the test is right).
    pub direct: bool,
    /// Seconds after which it has failed.
    pub seconds: u64,
    /// The test.
    pub run: fn(&Setting) -> Result<()>,
}

/// A case that runs through weir and against a bare server.
pub const fn both(name: &'static str, plan: Plan, run: fn(&Setting) -> Result<()>) -> Case {
    Case {
        name,
        plan,
        direct: true,
        seconds: 120,
        run,
    }
}

/// A case about weir alone.
pub const fn case(name: &'static str, plan: Plan, run: fn(&Setting) -> Result<()>) -> Case {
    Case {
        name,
        plan,
        direct: false,
        seconds: 120,
        run,
    }
}

/// What a case is given.
#[derive(Clone)]
pub struct Setting {
    /// The server.
    pub server: Arc<Server>,
    /// `io_uring` or `epoll`.
    pub io: &'static str,
    /// Shards of weir.
    pub shards: u16,
    /// Against the server itself, without weir.
    pub direct: bool,
    /// The long run: larger numbers.
    pub long: bool,
    /// The one seed that random cases are to try.
    pub seed: Option<u64>,
    /// Certificates.
    pub pki: Pki,
    /// Client programs and drivers.
    pub drivers: Arc<Drivers>,
    /// A folder for logs, kept when the case fails.
    pub dir: PathBuf,
}

/// What clients connect to: weir, or the server itself.
#[derive(Debug)]
pub struct Front {
    /// Where, with the usual login.
    pub endpoint: Endpoint,
    weir: Option<Weir>,
}

impl Front {
    /// The weir; an error in a direct run.
    pub fn weir(&mut self) -> Result<&mut Weir> {
        self.weir.as_mut().context("this case needs weir")
    }

    /// The weir, if the run is not direct.
    pub fn weir_if_any(&self) -> Option<&Weir> {
        self.weir.as_ref()
    }
}

impl Setting {
    /// Starts weir with these options (key and TOML value) in front of the server, or gives the bare server in a direct run.
    pub fn front(&self, options: &[(&str, &str)]) -> Result<Front> {
        self.front_with(options, |_| {})
    }

    /// The same, with a last change of what weir is made of.
    pub fn front_with(
        &self,
        options: &[(&str, &str)],
        change: impl FnOnce(&mut Start),
    ) -> Result<Front> {
        let target = self.server.endpoint()?;
        if self.direct {
            return Ok(Front {
                endpoint: target,
                weir: None,
            });
        }
        let mut start = self.start(&target);
        for (key, value) in options {
            start.option(key, value);
        }
        change(&mut start);
        let weir = Weir::start(&start)?;
        let endpoint = Endpoint::new(
            weir.port,
            self.pki.ca.clone(),
            &target.user,
            &target.password,
            &target.database,
        )?;
        Ok(Front {
            endpoint,
            weir: Some(weir),
        })
    }

    /// What the usual weir of this case is made of.
    pub fn start(&self, target: &Endpoint) -> Start {
        let pair = self.pki.pair("weir");
        let options = [
            ("io", format!("\"{}\"", self.io)),
            ("shards", self.shards.to_string()),
            ("tls_certificate", quoted(&pair.cert)),
            ("tls_key", quoted(&pair.key)),
            ("host", "\"127.0.0.1\"".to_owned()),
            ("port", target.port.to_string()),
            ("database", format!("\"{}\"", target.database)),
            ("target_ca", quoted(&target.ca)),
        ];
        Start {
            program: place::weir_binary(),
            deny_io_uring: false,
            dir: self.dir.clone(),
            extra: String::new(),
            options: options
                .into_iter()
                .map(|(key, value)| (key.to_owned(), value))
                .collect(),
            users: LOGINS
                .iter()
                .map(|(name, password)| ((*name).to_owned(), (*password).to_owned()))
                .collect(),
        }
    }
}

/// A case can't run here because something is not installed.
#[derive(Debug)]
pub struct Missing(pub String);

impl std::fmt::Display for Missing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "not installed: {}", self.0)
    }
}

impl std::error::Error for Missing {}
