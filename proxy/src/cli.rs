//! The command line: what can be said, and what it leads to.

use std::io::{IsTerminal, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, CommandFactory, Parser, Subcommand};
use clap_complete::Shell;
use weir_core::auth::UserSecret;
use weir_core::limits::PASSWORD_MAX;
use zeroize::Zeroizing;

use crate::config::{Keep, Problems, Quick, Source, text};
use crate::{start, sys};

const EXAMPLES: &str = "\
Examples:
  One server, one user, no file:
    weir run --target postgres://app@db.example:5432/app --password-file app.password --listen 127.0.0.1:6432
  With a file:
    weir init weir.toml
    weir check --config weir.toml
    weir run --config weir.toml
  A user whose password weir must not know:
    weir scram-verifier < password
  Reload the file, the passwords and the certificates of a running weir:
    kill -HUP PID";

/// A database proxy: many short-lived clients share a few warm connections.
#[derive(Parser, Debug)]
#[command(name = "weir", version, after_help = EXAMPLES, arg_required_else_help = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Run the proxy.
    Run(Box<Run>),
    /// Say everything that is wrong with a configuration file; exit 1 if anything is.
    Check {
        /// The file.
        #[arg(long, value_name = "FILE", default_value = "weir.toml")]
        config: PathBuf,
    },
    /// Write a commented configuration file.
    Init {
        /// Where to.
        #[arg(default_value = "weir.toml")]
        path: PathBuf,
        /// Overwrite what is there.
        #[arg(long)]
        force: bool,
    },
    /// Print a completion script for a shell.
    Completions {
        /// Which shell.
        shell: Shell,
    },
    /// Read a password from standard input and print the SCRAM verifier for `scram_verifier` in the configuration.
    ScramVerifier,
}

/// Where the configuration comes from: a file, or these options.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Run {
    /// Configuration file.
    #[arg(
        long,
        value_name = "FILE",
        required_unless_present = "target",
        conflicts_with = "quick"
    )]
    config: Option<PathBuf>,
    #[command(flatten)]
    quick: QuickArgs,
}

// Values are judged by the configuration's own key definitions, so they are plain text here.
#[derive(Args, Debug, Default)]
#[group(id = "quick", multiple = true)]
struct QuickArgs {
    /// The server: postgres://USER@HOST:PORT/DATABASE, without a password.
    #[arg(long, value_name = "URL", requires = "listen")]
    target: Option<String>,
    /// File that holds the user's password.
    #[arg(long, value_name = "FILE")]
    password_file: Option<String>,
    /// Environment variable that holds the user's password.
    #[arg(long, value_name = "NAME")]
    password_env: Option<String>,
    /// Where clients connect, for example 127.0.0.1:6432.
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<String>,
    /// Server connections kept open without clients [default: 1].
    #[arg(long, value_name = "N")]
    min_connection_pool_size: Option<String>,
    /// Server connections at most [default: 100].
    #[arg(long, value_name = "N")]
    max_connection_pool_size: Option<String>,
    /// Seconds that a client waits for a server connection; 0 for ever [default: 0].
    #[arg(long, value_name = "SECONDS")]
    borrow_timeout: Option<String>,
    /// Clients at most [default: 1000].
    #[arg(long, value_name = "N")]
    max_client_connections: Option<String>,
    /// TLS towards the server: verify-full, require or off [default: verify-full].
    #[arg(long, value_name = "HOW")]
    target_tls: Option<String>,
    /// Certificate authorities of the server, PEM [default: the system's].
    #[arg(long, value_name = "FILE")]
    target_ca: Option<String>,
    /// TLS towards clients: required or off [default: required].
    #[arg(long, value_name = "HOW")]
    client_tls: Option<String>,
    /// Certificate for clients, PEM [default: made at start].
    #[arg(long, value_name = "FILE")]
    tls_cert: Option<String>,
    /// The certificate's key, PEM.
    #[arg(long, value_name = "FILE")]
    tls_key: Option<String>,
    /// How clients prove their password: scram-sha-256, md5 or cleartext [default: scram-sha-256].
    #[arg(long, value_name = "METHOD")]
    client_auth: Option<String>,
    /// How sockets are driven: auto, io_uring or epoll [default: auto].
    #[arg(long, value_name = "IO")]
    io: Option<String>,
    /// Threads that serve clients; 0 for one for each core [default: 0].
    #[arg(long, value_name = "N")]
    shards: Option<String>,
    /// How log lines look: text or json [default: text].
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<String>,
    /// Least important lines that are logged: error, warn, info or debug [default: info].
    #[arg(long, value_name = "LEVEL")]
    log_level: Option<String>,
    /// Where the metrics page is [default: nowhere].
    #[arg(long, value_name = "ADDRESS")]
    metrics_listen: Option<String>,
}

impl Run {
    fn source(self) -> Source {
        match (self.config, self.quick) {
            (Some(path), _) => Source::File(path),
            (None, quick) => Source::Quick(Box::new(quick.into_quick())),
        }
    }
}

impl QuickArgs {
    fn into_quick(self) -> Quick {
        let given = [
            ("--listen", self.listen),
            ("--client-tls", self.client_tls),
            ("--client-auth", self.client_auth),
            ("--tls-cert", self.tls_cert),
            ("--tls-key", self.tls_key),
            ("--password-file", self.password_file),
            ("--password-env", self.password_env),
            ("--target-tls", self.target_tls),
            ("--target-ca", self.target_ca),
            ("--min-connection-pool-size", self.min_connection_pool_size),
            ("--max-connection-pool-size", self.max_connection_pool_size),
            ("--borrow-timeout", self.borrow_timeout),
            ("--io", self.io),
            ("--shards", self.shards),
            ("--max-client-connections", self.max_client_connections),
            ("--log-format", self.log_format),
            ("--log-level", self.log_level),
            ("--metrics-listen", self.metrics_listen),
        ];
        let given = given
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?)))
            .collect();
        Quick {
            target: self.target.unwrap_or_default(),
            given,
        }
    }
}

/// The program.
pub fn main() -> ExitCode {
    match Cli::try_parse() {
        Ok(cli) => finish(act(cli.command)),
        Err(error) => {
            let wrong = error.use_stderr();
            let _ = error.print();
            ExitCode::from(if wrong { 2 } else { 0 })
        }
    }
}

/// Errors are lines that are ready to read.
fn act(command: Command) -> Result<(), Vec<String>> {
    match command {
        Command::Run(run) => start::run(run.source()),
        Command::Check { config } => check(&config),
        Command::Init { path, force } => init(&path, force).map_err(|e| vec![e]),
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "weir", &mut std::io::stdout());
            Ok(())
        }
        Command::ScramVerifier => scram_verifier().map_err(|e| vec![e]),
    }
}

fn finish(result: Result<(), Vec<String>>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(lines) => {
            for line in lines {
                eprintln!("weir: {line}");
            }
            ExitCode::FAILURE
        }
    }
}

fn check(path: &Path) -> Result<(), Vec<String>> {
    let mut keep = Keep::new().map_err(|e| vec![e.to_string()])?;
    let mut problems = Problems::default();
    let config = Source::File(path.to_owned()).load(&mut keep, &mut problems);
    for warning in &problems.warnings {
        eprintln!("weir: warning: {warning}");
    }
    match config {
        Some(config) => {
            let (listeners, groups) = (config.listeners.len(), config.groups.len());
            let users = config.settings.users.len();
            println!(
                "{}: good ({listeners} listeners, {groups} target groups, {users} users)",
                path.display()
            );
            Ok(())
        }
        None => Err(problems.errors.iter().map(ToString::to_string).collect()),
    }
}

fn init(path: &Path, force: bool) -> Result<(), String> {
    use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
    let shown = path.display();
    let mut options = std::fs::OpenOptions::new();
    // It will hold a password.
    options.write(true).mode(0o600);
    if force {
        options.create(true).truncate(true)
    } else {
        options.create_new(true)
    };
    let mut file = options.open(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => format!("{shown} exists; --force overwrites it"),
        _ => format!("can't write {shown}: {error}"),
    })?;
    let done = file
        .set_permissions(std::fs::Permissions::from_mode(0o600))
        .and_then(|()| file.write_all(text::init().as_bytes()));
    done.map_err(|error| format!("can't write {shown}: {error}"))?;
    println!("{shown} is written; set host, name and password, then: weir check --config {shown}");
    Ok(())
}

fn scram_verifier() -> Result<(), String> {
    let password = if std::io::stdin().is_terminal() {
        ask()?
    } else {
        read_password(std::io::stdin())?
    };
    let mut salt = [0; 16];
    aws_lc_rs::rand::fill(&mut salt)
        .map_err(|_| "the system gives no random numbers".to_owned())?;
    let secret = UserSecret::from_password(password.as_str(), salt);
    println!("{}", secret.verifier().to_text());
    Ok(())
}

/// Asks twice, without showing what is typed.
fn ask() -> Result<Zeroizing<String>, String> {
    let _quiet = sys::HiddenInput::new().map_err(|e| format!("can't hide what is typed: {e}"))?;
    let one = |prompt: &str| {
        eprint!("{prompt}");
        let line = read_line(std::io::stdin());
        eprintln!();
        line
    };
    let (password, again) = (one("Password: ")?, one("Once more: ")?);
    if *password != *again {
        return Err("the two are not the same".to_owned());
    }
    Ok(password)
}

/// One line, byte by byte so that nothing of it stays in a buffer.
fn read_line(mut from: impl Read) -> Result<Zeroizing<String>, String> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(PASSWORD_MAX + 1));
    let mut byte = Zeroizing::new([0u8]);
    while from
        .read(&mut *byte)
        .map_err(|e| format!("can't read the password: {e}"))?
        == 1
        && byte[0] != b'\n'
    {
        bytes.push(byte[0]);
        if bytes.len() > PASSWORD_MAX {
            return Err(format!("the password is longer than {PASSWORD_MAX} bytes"));
        }
    }
    as_password(&bytes)
}

/// All of standard input, which must be one line.
fn read_password(from: impl Read) -> Result<Zeroizing<String>, String> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(PASSWORD_MAX + 4));
    from.take(PASSWORD_MAX as u64 + 3)
        .read_to_end(&mut bytes)
        .map_err(|e| format!("can't read the password: {e}"))?;
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
    }
    as_password(&bytes)
}

fn as_password(bytes: &[u8]) -> Result<Zeroizing<String>, String> {
    let bytes = bytes.strip_suffix(b"\r").unwrap_or(bytes);
    if bytes.is_empty()
        || bytes.len() > PASSWORD_MAX
        || bytes.contains(&b'\n')
        || bytes.contains(&0)
    {
        return Err(format!(
            "a password is one line of 1 to {PASSWORD_MAX} bytes without NUL"
        ));
    }
    let text =
        std::str::from_utf8(bytes).map_err(|_| "the password is not UTF-8 text".to_owned())?;
    Ok(Zeroizing::new(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::option_names;

    fn run_of(line: &str) -> Result<Run, clap::Error> {
        match Cli::try_parse_from(line.split_whitespace())?.command {
            Command::Run(run) => Ok(*run),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_lines_of_the_readme_are_understood() {
        let readme = include_str!("../../README.md");
        let lines: Vec<&str> = readme
            .lines()
            .filter_map(|l| l.split_once("weir run --target").map(|(_, r)| r))
            .collect();
        assert!(!lines.is_empty());
        for rest in lines {
            let run = run_of(&format!("weir run --target{rest}")).unwrap();
            let Source::Quick(quick) = run.source() else {
                panic!("no quick configuration")
            };
            assert!(quick.target.starts_with("postgres://app@"));
            assert!(quick.given.iter().any(|(name, _)| *name == "--listen"));
        }
        let file = run_of("weir run --config weir.toml").unwrap();
        assert!(matches!(file.source(), Source::File(path) if path == Path::new("weir.toml")));
        for line in EXAMPLES
            .lines()
            .map(str::trim)
            .filter(|l| l.starts_with("weir ") && !l.contains('<'))
        {
            assert!(
                Cli::try_parse_from(line.split_whitespace()).is_ok(),
                "{line}"
            );
        }
    }

    #[test]
    fn every_option_of_the_key_table_exists_and_reaches_it() {
        for name in option_names() {
            let run = run_of(&format!("weir run --target t --listen l {name} value"))
                .or_else(|_| run_of(&format!("weir run --target t {name} value")));
            let Source::Quick(quick) = run.unwrap().source() else {
                panic!("no quick configuration")
            };
            assert!(quick.given.contains(&(name, "value".to_owned())), "{name}");
        }
        let command = Cli::command();
        let run = command.find_subcommand("run").unwrap();
        for long in run.get_arguments().filter_map(|a| a.get_long()) {
            let name = format!("--{long}");
            assert!(
                ["--config", "--target"].contains(&&*name) || option_names().any(|n| n == name),
                "{name}"
            );
        }
    }

    #[test]
    fn a_file_and_options_do_not_mix_and_something_is_needed() {
        assert!(run_of("weir run").is_err());
        assert!(run_of("weir run --config f --shards 2").is_err());
        assert!(run_of("weir run --target postgres://a@b/c").is_err());
        assert!(run_of("weir run --listen 127.0.0.1:1").is_err());
    }

    #[test]
    fn passwords_are_one_line() {
        assert_eq!(*read_password(&b"secret\n"[..]).unwrap(), "secret");
        assert_eq!(*read_password(&b"secret\r\n"[..]).unwrap(), "secret");
        assert_eq!(*read_password(&b" s p "[..]).unwrap(), " s p ");
        assert_eq!(*read_line(&b"first\nsecond\n"[..]).unwrap(), "first");
        for wrong in [
            &b""[..],
            b"\n",
            b"a\nb\n",
            b"a\0b",
            b"\xff",
            &[b'x'; PASSWORD_MAX + 1],
        ] {
            assert!(read_password(wrong).is_err(), "{wrong:?}");
        }
    }
}
