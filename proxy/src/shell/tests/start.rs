//! Starting, reloading, draining, stopping.

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use super::*;

fn setup(io: IoChoice, shards: u16, addr: SocketAddr, log: &Arc<Log>) -> ShellSetup {
    ShellSetup {
        shards,
        io,
        listeners: vec![ListenerSetup { addr }],
        settings: settings(),
        tls: TlsContexts::default(),
        targets: TargetAddresses::default(),
        sink: Arc::<Log>::clone(log),
        mock_secret: [0; 32],
    }
}

#[test]
fn the_backend_asked_for_is_used() {
    let names = [
        (IoChoice::Uring, "io_uring"),
        (IoChoice::Epoll, "epoll"),
        (IoChoice::Auto, "io_uring"),
    ];
    for (io, name) in names {
        let plane = Plane::plain(io, 2);
        assert_eq!(plane.running().io(), name);
        assert!(!plane.log.has("io_fallback"));
    }
}

#[test]
fn an_address_in_use_is_refused_by_name() {
    let plane = Plane::plain(IoChoice::Epoll, 2);
    let taken = plane.address(Mode::Echo);
    let log = Arc::default();
    let again = setup(IoChoice::Epoll, 1, taken, &log);
    let error = start(again).err().unwrap().to_string();
    assert!(error.contains(&taken.to_string()), "{error}");
    // And the one that was there first still works.
    assert_eq!(exchange(&mut plane.connect(Mode::Echo), b"hi"), b"hi");
}

#[test]
fn the_real_core_starts_and_stops() {
    on_both(|io| {
        let log = Arc::default();
        let running = start(setup(io, 2, local(), &log)).unwrap_or_else(|e| panic!("{e}"));
        assert!(!running.drained());
        running.drain();
        let end = Instant::now() + Duration::from_secs(5);
        while !running.drained() {
            assert!(Instant::now() < end);
            std::thread::sleep(Duration::from_millis(5));
        }
        running.stop();
    });
}

#[test]
fn idle_shards_have_a_pulse() {
    on_both(|io| {
        let plane = Plane::plain(io, 2);
        let before = plane.running().heartbeats();
        std::thread::sleep(Duration::from_millis(2200));
        let after = plane.running().heartbeats();
        for (before, after) in before.iter().zip(&after) {
            assert!(after > before);
            // And sleep otherwise.
            assert!(after - before < 30, "{before} {after}");
        }
    });
}

#[test]
fn a_reload_reaches_every_shard() {
    on_both(|io| {
        let plane = Plane::plain(io, 3);
        let mut settings = (*settings()).clone();
        settings.generation = 42;
        plane
            .running()
            .reload(Arc::new(settings), TlsContexts::default());
        let end = Instant::now() + Duration::from_secs(5);
        while plane.running().stats().iter().any(|s| s.logins != 42) {
            assert!(Instant::now() < end);
            std::thread::sleep(Duration::from_millis(5));
        }
    });
}

#[test]
fn a_drain_serves_those_who_are_there_and_refuses_newcomers() {
    on_both(|io| {
        let plane = Plane::plain(io, 2);
        let mut streams: Vec<_> = (0..20).map(|_| plane.connect(Mode::Echo)).collect();
        for stream in &mut streams {
            exchange(stream, b"hello");
        }
        // One that does not read its last words yet.
        let mut slow = plane.connect(Mode::Tricks);
        slow.write_all(b"C6000000\n").unwrap();
        std::thread::sleep(Duration::from_millis(100));
        plane.running().drain();
        for stream in &mut streams {
            let mut words = Vec::new();
            stream.read_to_end(&mut words).unwrap();
            assert_eq!(words, b"bye");
        }
        assert!(
            !plane.running().drained(),
            "the slow one has not got everything"
        );
        let mut words = Vec::new();
        slow.read_to_end(&mut words).unwrap();
        assert!(words == pattern(6_000_000, 9));
        drop((slow, streams));
        let end = Instant::now() + Duration::from_secs(5);
        while !plane.running().drained() {
            assert!(Instant::now() < end);
            std::thread::sleep(Duration::from_millis(5));
        }
        assert!(TcpStream::connect(plane.address(Mode::Echo)).is_err());
    });
}
