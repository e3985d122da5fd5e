//! Slow readers, crowds, floods.

use std::io::{Read, Write};
use std::sync::atomic::{AtomicU64, Ordering};

use super::*;

/// A target that never stops sending is stopped by a client that does not read: what weir holds is bounded.
#[test]
fn a_slow_reader_stops_the_target_and_gets_every_byte() {
    const TOTAL: usize = 64 << 20;
    on_both(|io| {
        let plane = Plane::plain(io, 1);
        let sent = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&sent);
        let bytes = Arc::new(pattern(1 << 20, 3));
        let theirs = Arc::clone(&bytes);
        let address = target(move |mut stream| {
            for _ in 0..TOTAL >> 20 {
                for chunk in theirs.chunks(16_384) {
                    if stream.write_all(chunk).is_err() {
                        return;
                    }
                    counter.fetch_add(chunk.len() as u64, Ordering::Relaxed);
                }
            }
        });
        plane.target(0, vec![address]);
        let mut stream = plane.connect(Mode::Relay);
        std::thread::sleep(Duration::from_millis(1500));
        let before = sent.load(Ordering::Relaxed);
        std::thread::sleep(Duration::from_millis(500));
        assert_eq!(
            sent.load(Ordering::Relaxed),
            before,
            "the target still sends"
        );
        // Two sockets' buffers on either side, and what weir keeps.
        assert!(before < 24 << 20, "{before} bytes are held somewhere");
        let mut buffer = vec![0; 1 << 20];
        for _ in 0..TOTAL >> 20 {
            stream.read_exact(&mut buffer).unwrap();
            assert!(buffer == *bytes);
        }
        assert_eq!(stream.read(&mut buffer).unwrap(), 0);
        drop(stream);
        plane.assert_empties();
    });
}

/// An echo whose client sends without reading is not read either: nothing grows.
#[test]
fn a_client_that_only_sends_is_not_read() {
    on_both(|io| {
        let plane = Plane::plain(io, 1);
        let mut stream = plane.connect(Mode::Echo);
        stream
            .set_write_timeout(Some(Duration::from_millis(500)))
            .unwrap();
        let bytes = pattern(1 << 16, 1);
        let mut sent = 0usize;
        while sent < 100 << 20 {
            match stream.write(&bytes) {
                Ok(n) => sent += n,
                Err(_) => break,
            }
        }
        assert!(sent < 32 << 20, "{sent} bytes were taken");
        // Others are served meanwhile.
        assert_eq!(exchange(&mut plane.connect(Mode::Echo), b"hi"), b"hi");
        drop(stream);
        plane.assert_empties();
    });
}

#[test]
fn thousands_of_connections_come_talk_and_go() {
    on_both(|io| {
        let plane = Plane::plain(io, 2);
        let mut streams = Vec::new();
        for i in 0..3000u32 {
            streams.push(plane.connect(Mode::Echo));
            if i % 3 == 0 {
                let request = pattern(100, i);
                assert_eq!(exchange(streams.last_mut().unwrap(), &request), request);
            }
        }
        // All at once: far more than there are receive buffers.
        for (i, stream) in (0u32..).zip(&mut streams) {
            stream.write_all(&pattern(5000, i)).unwrap();
        }
        for (i, stream) in (0u32..).zip(&mut streams) {
            let mut answer = vec![0; 5000];
            stream.read_exact(&mut answer).unwrap();
            assert!(answer == pattern(5000, i));
        }
        plane.assert_sockets(3000);
        drop(streams);
        plane.assert_empties();
    });
}

/// One connection that sends as fast as it can does not keep others waiting.
#[test]
fn a_busy_connection_does_not_starve_others() {
    on_both(|io| {
        let plane = Plane::plain(io, 1);
        plane.target(
            0,
            vec![target(|mut stream| {
                let mut sink = vec![0; 1 << 16];
                while let Ok(1..) = stream.read(&mut sink) {}
            })],
        );
        let mut busy = plane.connect(Mode::Relay);
        let stop = Arc::new(AtomicU64::new(0));
        let seen = Arc::clone(&stop);
        let flood = std::thread::spawn(move || {
            let bytes = vec![1; 1 << 18];
            while seen.load(Ordering::Relaxed) == 0 && busy.write_all(&bytes).is_ok() {}
        });
        let mut other = plane.connect(Mode::Echo);
        let mut times: Vec<Duration> = (0..200)
            .map(|_| {
                let began = Instant::now();
                exchange(&mut other, b"hello");
                began.elapsed()
            })
            .collect();
        stop.store(1, Ordering::Relaxed);
        flood.join().unwrap();
        times.sort();
        // Generous: the machine may be busy with other tests.
        assert!(times[100] < Duration::from_millis(50), "{:?}", times[100]);
    });
}
