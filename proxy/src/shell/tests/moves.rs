//! Between shards: connections that move, letters, hashes.

use std::io::{Read, Write};

use super::*;

fn line(stream: &mut impl Read) -> String {
    let mut line = Vec::new();
    let mut byte = [0];
    while stream.read_exact(&mut byte).is_ok() && byte != *b"\n" {
        line.push(byte[0]);
    }
    String::from_utf8(line).unwrap()
}

fn ask(stream: &mut (impl Read + Write), question: &str) -> String {
    stream.write_all(question.as_bytes()).unwrap();
    line(stream)
}

#[test]
fn a_connection_moves_and_works_on() {
    on_both(|io| {
        let plane = Plane::plain(io, 3);
        let mut stream = plane.connect(Mode::Tricks);
        let mut at: u16 = ask(&mut stream, "W\n").parse().unwrap();
        for step in 0..60 {
            let to = (at + 1 + step % 2) % 3;
            assert_eq!(
                ask(&mut stream, &format!("M{to}\n")),
                format!("moved from {at}")
            );
            assert_eq!(ask(&mut stream, "W\n"), to.to_string());
            at = to;
        }
        // To where it is already, too.
        assert_eq!(
            ask(&mut stream, &format!("M{at}\n")),
            format!("moved from {at}")
        );
        drop(stream);
        plane.assert_empties();
    });
}

#[test]
fn many_connections_move_at_once() {
    on_both(|io| {
        let plane = Plane::plain(io, 2);
        let mut streams: Vec<_> = (0..200).map(|_| plane.connect(Mode::Tricks)).collect();
        for round in 0..4 {
            for stream in &mut streams {
                stream
                    .write_all(format!("M{}\n", round % 2).as_bytes())
                    .unwrap();
            }
            for stream in &mut streams {
                let answer = line(stream);
                assert!(
                    answer.starts_with("moved from "),
                    "{answer:?} in round {round}"
                );
            }
        }
        drop(streams);
        plane.assert_empties();
    });
}

/// A connection whose peer has left or speaks while it moves is lost, or arrives whole; it never hangs or leaks.
#[test]
fn what_happens_on_the_way_is_not_lost() {
    on_both(|io| {
        let plane = Plane::plain(io, 2);
        let mut arrived = 0;
        for i in 0..100 {
            let mut stream = plane.connect(Mode::Tricks);
            let at: u16 = ask(&mut stream, "W\n").parse().unwrap();
            stream
                .write_all(format!("M{}\n", 1 - at).as_bytes())
                .unwrap();
            if i % 2 == 0 {
                // Errors: the connection was lost on the way, with bytes unread.
                let _ = stream.write_all(b"W\n");
                let mut answer = String::new();
                let _ = stream.shutdown(std::net::Shutdown::Write);
                let _ = stream.read_to_string(&mut answer);
                arrived += u32::from(answer.contains("moved"));
                assert!(
                    answer.is_empty() || answer.starts_with("moved from"),
                    "{answer}"
                );
            }
        }
        plane.assert_empties();
        let stats = plane.running().stats();
        let moved: u64 = stats.iter().map(|s| s.backends_moved).sum();
        let failed: u64 = stats.iter().map(|s| s.backend_failures).sum();
        // The last two letters of a pair may come in one piece with the first, and are then obeyed before the move.
        assert!(moved + failed >= 50, "{moved} {failed}");
        assert!(u64::from(arrived) <= moved);
    });
}

#[test]
fn letters_reach_every_shard_and_come_back() {
    on_both(|io| {
        let plane = Plane::plain(io, 3);
        let mut streams: Vec<_> = (0..12).map(|_| plane.connect(Mode::Tricks)).collect();
        for round in 0..30 {
            for stream in &mut streams {
                let to = (round % 3).to_string();
                assert_eq!(ask(stream, &format!("P{to}\n")), to);
            }
        }
    });
}

#[test]
fn hashes_are_answered_from_elsewhere() {
    on_both(|io| {
        let plane = Plane::plain(io, 1);
        let mut stream = plane.connect(Mode::Tricks);
        stream.write_all(b"H4096\n").unwrap();
        let mut hex = [0; 64];
        stream.read_exact(&mut hex).unwrap();
        // hashlib.pbkdf2_hmac("sha256", b"pencil", b"salt", 4096)
        assert_eq!(
            std::str::from_utf8(&hex).unwrap(),
            "0997564f292923271312698037b6b0a06a8be7fbd912480847c5a1ace4b8d1c7"
        );
    });
}
