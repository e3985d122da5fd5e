//! The configuration: TOML (or command line options) in, a checked snapshot out.
//!
//! [`keys`] is the one table of keys. [`read`] checks each value alone, [`build`] checks how they go together and reads
//! the files they name, [`reload`](mod@reload) decides what of a new configuration a running weir can take over, [`text`] writes
//! `weir init`'s file and the document. What a setting does is none of this room's business.

mod build;
mod files;
mod filters;
mod groups;
mod keep;
mod key;
pub mod keys;
mod listeners;
mod problem;
mod quick;
mod read;
pub mod reload;
mod suggest;
pub mod text;
mod users;
mod value;

#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use weir_core::settings::Settings;

pub use keep::Keep;
pub use problem::{Place, Problem, Problems};
pub use quick::Quick;
pub use value::quoted;

use crate::shell::IoChoice;
use crate::tls::TlsContexts;

/// How log lines look.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LogFormat {
    /// `time LEVEL event key=value …`
    Text,
    /// One JSON object a line.
    Json,
}

/// The least important lines that are logged; ordered from quiet to loud.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum LogLevel {
    /// Something does not work.
    Error,
    /// Something is doubtful, or a client was refused.
    Warn,
    /// What an operator wants to see.
    Info,
    /// Everything.
    Debug,
}

/// What holds for the process and is none of the core's business.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Process {
    /// How sockets are driven.
    pub io: IoChoice,
    /// Threads that serve clients; never 0.
    pub shards: u16,
    /// How long a stop waits for transactions to end.
    pub drain_timeout: Duration,
    /// How log lines look.
    pub log_format: LogFormat,
    /// Which are logged.
    pub log_level: LogLevel,
    /// Where the metrics page is.
    pub metrics_listen: Option<SocketAddr>,
}

/// The shell's side of a listener; by [`weir_core::ids::ListenerId`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ListenerPart {
    /// Where clients connect.
    pub address: SocketAddr,
    /// SHA-256 of the certificate if it was made at start.
    pub self_made: Option<String>,
}

/// The shell's side of a target group; by [`weir_core::ids::GroupId`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GroupPart {
    /// Host name or address, without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

/// A checked configuration.
#[derive(Clone)]
pub struct Config {
    /// The core's side.
    pub settings: Settings,
    /// Of the process.
    pub process: Process,
    /// By listener.
    pub listeners: Vec<ListenerPart>,
    /// By target group.
    pub groups: Vec<GroupPart>,
    /// What handshakes need, by listener and by group.
    pub tls: TlsContexts,
}

/// Where a configuration comes from; read again at every reload.
#[derive(Clone, Debug)]
pub enum Source {
    /// A file.
    File(std::path::PathBuf),
    /// Options of the command line.
    Quick(Box<Quick>),
}

impl Source {
    /// Reads and checks everything: the file, and the files it names. `None` when `problems` has errors.
    pub fn load(&self, keep: &mut Keep, problems: &mut Problems) -> Option<Config> {
        let (tables, home) = match self {
            Source::File(path) => {
                let text = files::config_text(path, problems)?;
                let tables = read::read(path, &text, problems);
                files::warn_of_inline_passwords(path, &tables.users, problems);
                (tables, path.parent().unwrap_or(Path::new("")).to_path_buf())
            }
            Source::Quick(quick) => (quick.tables(problems), std::path::PathBuf::new()),
        };
        let config = build::build(&tables, &home, keep, problems);
        problems.sort();
        config
    }
}

/// Names of the command line options that stand for keys, with their dashes.
pub fn option_names() -> impl Iterator<Item = &'static str> {
    quick::OPTIONS.iter().map(|o| o.option)
}
