//! Plain text: echo, relay, ends of every kind.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::time::{Duration, Instant};

use super::*;
use socket2::SockRef;

#[test]
fn echo_comes_back() {
    on_both(|io| {
        let plane = Plane::plain(io, 1);
        let mut stream = plane.connect(Mode::Echo);
        for i in 0..200u32 {
            let request = pattern(1 + i as usize * 37, i);
            assert_eq!(exchange(&mut stream, &request), request);
        }
        drop(stream);
        plane.assert_empties();
    });
}

#[test]
fn relay_reaches_the_target_and_back() {
    on_both(|io| {
        let plane = Plane::plain(io, 2);
        plane.target(0, vec![target(echo)]);
        let mut streams: Vec<_> = (0..20).map(|_| plane.connect(Mode::Relay)).collect();
        for round in 0..10 {
            for (i, stream) in streams.iter_mut().enumerate() {
                let request = pattern(3000, round * 100 + i as u32);
                assert_eq!(exchange(stream, &request), request);
            }
        }
        drop(streams);
        plane.assert_empties();
    });
}

#[test]
fn a_half_closed_client_still_gets_everything() {
    on_both(|io| {
        let plane = Plane::plain(io, 1);
        let mut stream = plane.connect(Mode::Echo);
        let request = pattern(300_000, 5);
        let sent = request.clone();
        let mut writer = stream.try_clone().unwrap();
        let writing = std::thread::spawn(move || {
            writer.write_all(&sent).unwrap();
            writer.shutdown(Shutdown::Write).unwrap();
        });
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        writing.join().unwrap();
        assert!(
            answer == request,
            "{} of {} bytes",
            answer.len(),
            request.len()
        );
        plane.assert_empties();
    });
}

#[test]
fn unsent_data_arrives_before_the_end() {
    on_both(|io| {
        let plane = Plane::plain(io, 1);
        let mut stream = plane.connect(Mode::Tricks);
        stream.write_all(b"C9000000\n").unwrap();
        // Long enough for the socket to fill up.
        std::thread::sleep(Duration::from_millis(100));
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        assert!(answer == pattern(9_000_000, 9));
        plane.assert_empties();
    });
}

#[test]
fn the_last_words_survive_what_the_client_still_sends() {
    on_both(|io| {
        let plane = Plane::plain(io, 1);
        let mut stream = plane.connect(Mode::Tricks);
        stream.write_all(b"C10\n").unwrap();
        std::thread::sleep(Duration::from_millis(50));
        // Would be answered with a reset, which would take the words away, were the socket closed by now.
        stream.write_all(&[b'x'; 5000]).unwrap();
        std::thread::sleep(Duration::from_millis(50));
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        assert_eq!(answer, pattern(10, 9));
        drop(stream);
        plane.assert_empties();
    });
}

#[test]
fn a_finished_connection_lives_until_its_peer_has_ended() {
    on_both(|io| {
        let plane = Plane::plain(io, 1);
        let mut stream = plane.connect(Mode::Tricks);
        stream.write_all(b"F\n").unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        assert_eq!(answer, b"bye");
        // Longer than a closed connection's peer may linger.
        std::thread::sleep(weir_core::limits::LINGER_PEER + Duration::from_millis(200));
        plane.assert_sockets(1);
        drop(stream);
        // The machine closes it when it hears of the end.
        plane.assert_empties();
    });
}

#[test]
fn a_client_that_never_leaves_is_let_go() {
    on_both(|io| {
        let plane = Plane::plain(io, 1);
        let mut stream = plane.connect(Mode::Tricks);
        let began = Instant::now();
        stream.write_all(b"C10\n").unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        plane.assert_empties();
        let took = began.elapsed();
        assert!(
            took >= Duration::from_millis(900) && took < Duration::from_secs(4),
            "{took:?}"
        );
    });
}

#[test]
fn close_now_drops_what_waits() {
    on_both(|io| {
        let plane = Plane::plain(io, 1);
        let mut stream = plane.connect(Mode::Tricks);
        stream.write_all(b"N\n").unwrap();
        let mut answer = Vec::new();
        // The bytes may or may not get out; the end must come.
        let _ = stream.read_to_end(&mut answer);
        assert!(answer.len() <= 100);
        plane.assert_empties();
    });
}

#[test]
fn resets_leave_nothing_behind() {
    on_both(|io| {
        let plane = Plane::plain(io, 1);
        plane.target(0, vec![target(echo)]);
        for mode in [Mode::Echo, Mode::Relay] {
            for _ in 0..20 {
                let mut stream = plane.connect(mode);
                exchange(&mut stream, b"hello");
                SockRef::from(&stream)
                    .set_linger(Some(Duration::ZERO))
                    .unwrap();
            }
        }
        plane.assert_empties();
    });
}

#[test]
fn a_client_that_resets_while_a_lot_waits_for_it_is_noticed() {
    on_both(|io| {
        let plane = Plane::plain(io, 1);
        plane.target(
            0,
            vec![target(|mut stream| {
                let bytes = vec![7; 1 << 20];
                while stream.write_all(&bytes).is_ok() {}
            })],
        );
        let stream = plane.connect(Mode::Relay);
        std::thread::sleep(Duration::from_millis(200));
        SockRef::from(&stream)
            .set_linger(Some(Duration::ZERO))
            .unwrap();
        drop(stream);
        plane.assert_empties();
    });
}

#[test]
fn the_next_address_is_tried_and_failures_are_told() {
    on_both(|io| {
        let plane = Plane::plain(io, 1);
        let closed = TcpListener::bind(local()).unwrap().local_addr().unwrap();
        let mut stream = plane.connect(Mode::Relay);
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.contains("has no address"), "{answer}");

        plane.target(0, vec![closed]);
        let mut stream = plane.connect(Mode::Relay);
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(
            answer.contains(&format!("{closed}: Connection refused")),
            "{answer}"
        );

        plane.target(0, vec![closed, target(echo)]);
        let mut stream = plane.connect(Mode::Relay);
        assert_eq!(exchange(&mut stream, b"second"), b"second");
        drop(stream);
        plane.assert_empties();
    });
}

#[test]
fn reading_stops_and_starts() {
    on_both(|io| {
        let plane = Plane::plain(io, 1);
        let mut stream = plane.connect(Mode::Tricks);
        for _ in 0..50 {
            stream.write_all(b"R\n").unwrap();
            std::thread::sleep(Duration::from_millis(1));
            stream.write_all(b"W\n").unwrap();
            let mut answer = [0; 2];
            stream.read_exact(&mut answer).unwrap();
            assert_eq!(&answer, b"0\n");
        }
    });
}
