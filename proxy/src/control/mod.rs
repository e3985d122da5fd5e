//! Looks after a running weir, on one thread of its own: signals, reloads, names of targets, the metrics page, the
//! service manager's watchdog. No query ever waits for it.
//!
//! The thread runs on tokio-uring; where io_uring is denied the same tasks run on plain tokio.

mod descriptors;
mod drain;
mod health;
mod http;
mod names;
mod net;
mod reload;

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::net::TcpListener;
use std::rc::Rc;
use std::sync::{Arc, PoisonError, RwLock};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::spawn_local;

pub use descriptors::descriptors;

use crate::config::{Config, Keep, LogLevel, Source};
use crate::observe::log::Log;
use crate::observe::metrics::Numbers;
use crate::observe::pins::PinBook;
use crate::observe::trace::LogSink;
use crate::shell::{self, IoChoice, ListenerSetup, Running, ShellSetup, TargetAddresses};

/// What is to be brought up and looked after.
pub struct Setup {
    /// Checked.
    pub config: Config,
    /// To read it again.
    pub source: Source,
    /// Of the load that made `config`.
    pub keep: Keep,
    /// Where lines go.
    pub log: Log,
}

/// What all tasks of the thread share.
struct Control {
    log: Log,
    source: Source,
    /// As it is in force.
    config: RefCell<Config>,
    /// Lent to a reload while it reads files.
    keep: RefCell<Option<Keep>>,
    running: Running,
    targets: TargetAddresses,
    pins: PinBook,
    draining: Cell<bool>,
    reload_failures: Cell<u64>,
}

/// The signals that weir answers to; caught before anyone can connect, because uncaught they kill.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

/// Brings everything up and returns when it is down again.
///
/// # Errors
/// When it can't be brought up: one line, with the way out.
pub fn run(setup: Setup) -> Result<(), String> {
    if setup.config.process.io != IoChoice::Epoll
        && let Ok(runtime) = tokio_uring::Runtime::new(&tokio_uring::builder())
    {
        // Never dropped: that would wait for a name lookup that hangs.
        return std::mem::ManuallyDrop::new(runtime).block_on(live(setup, true));
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = std::mem::ManuallyDrop::new(
        runtime.map_err(|e| format!("can't start the control thread: {e}"))?,
    );
    let tasks = std::mem::ManuallyDrop::new(tokio::task::LocalSet::new());
    runtime.block_on(tasks.run_until(live(setup, false)))
}

/// `uring`: the thread runs on tokio-uring.
async fn live(setup: Setup, uring: bool) -> Result<(), String> {
    let mut signals = catch_signals().map_err(|e| format!("can't catch signals: {e}"))?;
    let metrics = setup
        .config
        .process
        .metrics_listen
        .map(listen_for_metrics)
        .transpose()?;
    let targets: TargetAddresses = Arc::new(RwLock::new(
        names::first(&setup.config.groups, &setup.log).await,
    ));
    say_certificate(&setup);
    let pins = PinBook::default();
    let running = start_shards(&setup, &targets, &pins)?;
    let control = Rc::new(Control {
        log: setup.log,
        source: setup.source,
        config: RefCell::new(setup.config),
        keep: RefCell::new(Some(setup.keep)),
        running,
        targets,
        pins,
        draining: Cell::new(false),
        reload_failures: Cell::new(0),
    });
    control.say_started(uring);
    if let Some(listener) = metrics {
        let listener =
            net::Listener::new(listener, uring).map_err(|e| format!("can't serve metrics: {e}"))?;
        spawn_local(http::serve(control.clone(), listener));
    }
    names::keep_fresh(&control);
    spawn_local(health::watch(control.clone()));
    spawn_local(reload::on_hang_up(control.clone(), signals.hang_up));
    notify(&control.log, &[sd_notify::NotifyState::Ready]);
    first_of(signals.terminate.recv(), signals.interrupt.recv()).await;
    drain::run(&control, &mut signals.terminate, &mut signals.interrupt).await;
    Ok(())
}

fn catch_signals() -> std::io::Result<Signals> {
    Ok(Signals {
        terminate: signal(SignalKind::terminate())?,
        interrupt: signal(SignalKind::interrupt())?,
        hang_up: signal(SignalKind::hangup())?,
    })
}

/// Before anyone can connect: how to recognise a certificate that was made for this run.
fn say_certificate(setup: &Setup) {
    let made = setup
        .config
        .listeners
        .iter()
        .find_map(|l| l.self_made.as_ref());
    if let Some(fingerprint) = made {
        let fields = [
            ("sha256_fingerprint", fingerprint.into()),
            ("reason", "no tls_certificate is configured".into()),
        ];
        setup
            .log
            .say_all(LogLevel::Info, "certificate_made", &fields);
        setup.log.flush(std::time::Duration::from_secs(1));
    }
}

/// Whichever comes first.
async fn first_of<T>(one: impl Future<Output = T>, other: impl Future<Output = T>) {
    tokio::select! {
        _ = one => {}
        _ = other => {}
    }
}

fn listen_for_metrics(address: std::net::SocketAddr) -> Result<TcpListener, String> {
    TcpListener::bind(address).map_err(|error| {
        format!("can't listen on {address} for metrics: {error}; choose another metrics_listen or end what uses it")
    })
}

fn start_shards(
    setup: &Setup,
    targets: &TargetAddresses,
    pins: &PinBook,
) -> Result<Running, String> {
    let config = &setup.config;
    let groups = config
        .settings
        .groups
        .iter()
        .map(|g| g.name.to_string())
        .collect();
    shell::start(ShellSetup {
        shards: config.process.shards,
        io: config.process.io,
        listeners: config
            .listeners
            .iter()
            .map(|l| ListenerSetup { addr: l.address })
            .collect(),
        settings: Arc::new(config.settings.clone()),
        tls: config.tls.clone(),
        targets: targets.clone(),
        sink: Arc::new(LogSink::new(setup.log.clone(), pins.clone(), groups)),
        mock_secret: setup.keep.mock_secret(),
    })
    .map_err(|error| error.to_string())
}

impl Control {
    /// The one line that says what runs here.
    fn say_started(&self, uring: bool) {
        let config = self.config.borrow();
        let joined = |items: Vec<String>| items.join(",");
        let listeners = joined(
            config
                .listeners
                .iter()
                .map(|l| l.address.to_string())
                .collect(),
        );
        let targets = joined(
            config
                .settings
                .groups
                .iter()
                .map(|g| g.address.to_string())
                .collect(),
        );
        let mut fields = vec![
            ("version", env!("CARGO_PKG_VERSION").into()),
            ("io", self.running.io().into()),
            (
                "control_io",
                if uring { "io_uring" } else { "epoll" }.into(),
            ),
            ("shards", config.process.shards.into()),
            ("listeners", (&listeners).into()),
            ("targets", (&targets).into()),
        ];
        let metrics = config.process.metrics_listen.map(|a| a.to_string());
        if let Some(address) = &metrics {
            fields.push(("metrics", address.into()));
        }
        if let Some(fingerprint) = config.listeners.iter().find_map(|l| l.self_made.as_ref()) {
            fields.push(("certificate_fingerprint", fingerprint.into()));
        }
        self.log.say_all(LogLevel::Info, "started", &fields);
    }

    /// What the metrics page shows.
    fn numbers(&self) -> Numbers {
        let config = self.config.borrow();
        let groups = &config.settings.groups;
        let targets = self.targets.read().unwrap_or_else(PoisonError::into_inner);
        Numbers {
            stats: self.running.stats(),
            io_stats: self.running.io_stats(),
            io: self.running.io(),
            draining: self.draining.get(),
            generation: config.settings.generation,
            reload_failures: self.reload_failures.get(),
            target_addresses: groups
                .iter()
                .zip(targets.iter())
                .map(|(g, a)| (g.name.to_string(), a.len()))
                .collect(),
            pool_sizes: groups
                .iter()
                .map(|g| (g.name.to_string(), g.lending.max_connection_pool_size))
                .collect(),
            pins: self.pins.clone(),
            max_clients: config.settings.max_client_connections,
        }
    }
}

/// Tells the service manager, if there is one.
fn notify(log: &Log, state: &[sd_notify::NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        let text = format!("can't tell the service manager: {error}; check NOTIFY_SOCKET");
        log.say(
            LogLevel::Warn,
            "notify_failed",
            &[("reason", (&text).into())],
        );
    }
}
