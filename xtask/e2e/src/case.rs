//! What a test case is, and what it is given.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};

use crate::endpoint::Endpoint;
use crate::install::Drivers;
use crate::pki::Pki;
use crate::server::Server;
use crate::weir::{Start, Weir};

/// Where a case runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Plan {
    /// On every server, each with two of the four combinations of shell and shards, so that every pair is covered.
    Matrix,
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
    /// Starts weir with these options in front of the server (or gives the bare server in a direct run).
    pub fn front(&self, options: &[&str]) -> Result<Front> {
        let target = self.server.endpoint()?;
        if self.direct {
            return Ok(Front {
                endpoint: target,
                weir: None,
            });
        }
        let pair = self.pki.pair("weir");
        self.front_with(&target, &pair.cert, &pair.key, options)
    }

    /// Starts weir with a target login and certificate of the case's own.
    pub fn front_with(
        &self,
        target: &Endpoint,
        cert: &Path,
        key: &Path,
        options: &[&str],
    ) -> Result<Front> {
        let weir = Weir::start(&Start {
            io: self.io,
            shards: self.shards,
            target,
            cert,
            key,
            dir: &self.dir,
            options,
        })?;
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
}
