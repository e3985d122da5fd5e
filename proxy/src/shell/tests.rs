//! The whole shell, on loopback, around a small machine of its own; everything on both backends.

mod machine;
mod moves;
mod plain;
mod pressure;
mod secure;
mod start;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use weir_core::settings::Settings;

use super::*;
use machine::{Mode, MovedPuppet, Puppet};

/// Runs a test on io_uring and on epoll.
pub(super) fn on_both(test: impl Fn(IoChoice)) {
    for io in [IoChoice::Uring, IoChoice::Epoll] {
        test(io);
    }
}

impl Drop for Plane {
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            running.stop();
        }
    }
}

/// Remembers every notice.
#[derive(Default)]
pub(super) struct Log(Mutex<Vec<String>>);

impl Sink for Log {
    fn trace(&self, _: u16, trace: &weir_core::seam::Trace) {
        self.0.lock().unwrap().push(format!("{trace:?}"));
    }

    fn note(&self, _: Level, event: &'static str, text: String) {
        self.0.lock().unwrap().push(format!("{event}: {text}"));
    }
}

impl Log {
    pub(super) fn all(&self) -> String {
        self.0.lock().unwrap().join("\n")
    }

    pub(super) fn has(&self, text: &str) -> bool {
        self.0
            .lock()
            .unwrap()
            .iter()
            .any(|line| line.contains(text))
    }
}

/// A data plane under test: one listener per mode.
pub(super) struct Plane {
    /// `None` while being dropped.
    running: Option<Running<MovedPuppet>>,
    pub(super) targets: TargetAddresses,
    pub(super) log: Arc<Log>,
}

impl Plane {
    pub(super) fn new(io: IoChoice, shards: u16, tls: TlsContexts) -> Plane {
        let targets = TargetAddresses::default();
        let log = Arc::new(Log::default());
        let setup = ShellSetup {
            shards,
            io,
            listeners: Mode::ALL.map(|_| ListenerSetup { addr: local() }).to_vec(),
            settings: settings(),
            tls,
            targets: Arc::clone(&targets),
            sink: Arc::<Log>::clone(&log),
            mock_secret: [0; 32],
        };
        let make = |number, _| Puppet::new(ShardId(number));
        let running = launch(setup, Arc::new(make)).map_err(|e| e.to_string());
        let running = Some(running.unwrap());
        Plane {
            running,
            targets,
            log,
        }
    }

    pub(super) fn running(&self) -> &Running<MovedPuppet> {
        self.running.as_ref().unwrap()
    }

    pub(super) fn plain(io: IoChoice, shards: u16) -> Plane {
        Plane::new(io, shards, TlsContexts::default())
    }

    pub(super) fn target(&self, group: u16, addresses: Vec<SocketAddr>) {
        let mut targets = self.targets.write().unwrap();
        let place = usize::from(group);
        let needed = targets.len().max(place + 1);
        targets.resize(needed, Vec::new());
        targets[place] = addresses;
    }

    pub(super) fn address(&self, mode: Mode) -> SocketAddr {
        self.running().addresses()[mode as usize]
    }

    pub(super) fn connect(&self, mode: Mode) -> TcpStream {
        connect(self.address(mode))
    }

    /// Waits until no socket is left, so that nothing has leaked.
    pub(super) fn assert_empties(&self) {
        self.assert_sockets(0);
    }

    pub(super) fn assert_sockets(&self, expected: u64) {
        // Older than this no counters are.
        std::thread::sleep(weir_core::limits::STATS_INTERVAL * 2);
        let end = Instant::now() + Duration::from_secs(10);
        loop {
            let stats = self.running().io_stats();
            let sockets: u64 = stats.iter().map(|s| s.sockets).sum();
            if sockets == expected {
                return;
            }
            assert!(
                Instant::now() < end,
                "{sockets} sockets are left: {stats:?}"
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

pub(super) fn settings() -> Arc<Settings> {
    Arc::new(Settings {
        generation: 1,
        listeners: Vec::new(),
        groups: Vec::new(),
        users: std::collections::HashMap::new(),
        max_client_connections: 100,
        idle_client_timeout: None,
        login_timeout: Duration::from_secs(60),
    })
}

pub(super) fn local() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

pub(super) fn connect(to: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(to).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    stream
        .set_write_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    stream
}

/// Sends, and reads as many bytes back.
pub(super) fn exchange(stream: &mut (impl Read + Write), request: &[u8]) -> Vec<u8> {
    stream.write_all(request).unwrap();
    let mut answer = vec![0; request.len()];
    stream.read_exact(&mut answer).unwrap();
    answer
}

/// A target that calls `serve` for each connection, on a thread of its own.
pub(super) fn target(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind(local()).unwrap();
    let address = listener.local_addr().unwrap();
    let serve = Arc::new(serve);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let serve = Arc::clone(&serve);
            std::thread::spawn(move || serve(stream));
        }
    });
    address
}

/// Sends everything back until the end.
pub(super) fn echo(mut stream: TcpStream) {
    let mut buffer = [0; 16_384];
    while let Ok(n @ 1..) = stream.read(&mut buffer) {
        if stream.write_all(&buffer[..n]).is_err() {
            return;
        }
    }
}

/// Bytes that show where they belong.
pub(super) fn pattern(len: usize, salt: u32) -> Vec<u8> {
    let mut state = salt.wrapping_mul(2_654_435_761) | 1;
    let mut bytes = Vec::with_capacity(len + 4);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}
