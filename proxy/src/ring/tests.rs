//! What the ring alone must keep: buffers, order, ends. Through pairs of sockets.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Instant;

use super::buffers::{COUNT, SIZE};
use super::*;
use crate::io::Ended;

fn key(index: u32) -> Key {
    Key {
        index,
        generation: 0,
    }
}

fn pair() -> std::io::Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    let ours = TcpStream::connect(listener.local_addr()?)?;
    let (theirs, _) = listener.accept()?;
    // Small, so that a test soon fills it.
    socket2::SockRef::from(&ours).set_send_buffer_size(64 * 1024)?;
    Ok((ours, theirs))
}

/// Turns the ring until `done`, collecting bytes and ends by socket.
struct Collected {
    bytes: Vec<Vec<u8>>,
    ended: Vec<Option<Ended>>,
    other: Vec<Happened>,
}

impl Collected {
    fn new(sockets: usize) -> Collected {
        Collected {
            bytes: vec![Vec::new(); sockets],
            ended: vec![None; sockets],
            other: Vec::new(),
        }
    }

    fn turn_until(&mut self, ring: &mut Ring, done: impl Fn(&Collected) -> bool) {
        let end = Instant::now() + Duration::from_secs(20);
        while !done(self) {
            assert!(Instant::now() < end, "nothing more happens");
            ring.wait(Duration::from_millis(100));
            while let Some(happened) = ring.next() {
                match happened {
                    Happened::Received { key, lent } => {
                        self.bytes[key.index as usize].extend_from_slice(ring.bytes(&lent));
                        ring.give_back(lent);
                    }
                    Happened::Ended { key, how } => self.ended[key.index as usize] = Some(how),
                    other => self.other.push(other),
                }
            }
        }
    }
}

fn attach_pair(ring: &mut Ring, index: u32) -> TcpStream {
    let (ours, theirs) = pair().unwrap();
    ring.attach(key(index), OwnedFd::from(ours));
    theirs
}

/// All buffers are the kernel's again once everything has been sent.
fn assert_no_buffer_is_lost(ring: &mut Ring) {
    ring.flush();
    assert!(ring.buffers.all_offered());
}

#[test]
fn more_than_all_buffers_arrives_whole() {
    let mut ring = self_test().unwrap();
    let pairs = 30;
    let each = usize::from(COUNT) * SIZE / 20;
    let mut peers: Vec<TcpStream> = (0..pairs).map(|i| attach_pair(&mut ring, i)).collect();
    let writers: Vec<_> = peers
        .drain(..)
        .enumerate()
        .map(|(i, mut peer)| {
            std::thread::spawn(move || {
                let bytes: Vec<u8> = (0..each).map(|n| (n * 7 + i) as u8).collect();
                peer.write_all(&bytes).unwrap();
            })
        })
        .collect();
    // Enough waits in the sockets to use up every buffer at the first look.
    std::thread::sleep(Duration::from_millis(300));
    for i in 0..pairs {
        ring.read(key(i), true);
    }
    let mut collected = Collected::new(pairs as usize);
    collected.turn_until(&mut ring, |c| c.ended.iter().all(Option::is_some));
    for (i, bytes) in collected.bytes.iter().enumerate() {
        let expected = (0..each).map(|n| (n * 7 + i) as u8);
        assert!(bytes.iter().copied().eq(expected), "{} bytes", bytes.len());
    }
    assert!(ring.stats().buffers_exhausted > 0);
    assert_no_buffer_is_lost(&mut ring);
    writers.into_iter().for_each(|w| w.join().unwrap());
}

#[test]
fn pieces_of_every_kind_keep_their_order() {
    let mut ring = self_test().unwrap();
    let mut peer = attach_pair(&mut ring, 0);
    let mut source = attach_pair(&mut ring, 1);
    source.write_all(b"lent").unwrap();
    ring.read(key(1), true);
    let mut expected = Vec::new();
    let mut forwarded = false;
    while !forwarded {
        ring.wait(Duration::from_millis(100));
        while let Some(happened) = ring.next() {
            let Happened::Received { lent, .. } = happened else {
                continue;
            };
            forwarded = true;
            // More pieces than one send may have, and more than one submission.
            for i in 0..200u8 {
                let start = ring.arena().end();
                ring.arena().copy(&[b'a', i]);
                let end = ring.arena().end();
                ring.send(key(0), Piece::Arena { start, end });
                ring.send(
                    key(0),
                    Piece::Lent {
                        buffer: lent.buffer,
                        start: 1,
                        end: 3,
                    },
                );
                ring.send(key(0), Piece::Owned(vec![b'o', i]));
                expected.extend_from_slice(&[b'a', i, b'e', b'n', b'o', i]);
            }
            ring.give_back(lent);
        }
    }
    ring.finish(key(0));
    ring.wait(Duration::ZERO);
    let mut got = Vec::new();
    peer.read_to_end(&mut got).unwrap();
    assert_eq!(got, expected);
    assert_no_buffer_is_lost(&mut ring);
}

/// Short sends of gathered pieces, then of single ones, into a socket that is read late: nothing is lost, doubled or moved.
#[test]
fn a_full_socket_gets_everything_in_order() {
    let mut ring = self_test().unwrap();
    let mut peer = attach_pair(&mut ring, 0);
    let mut expected = Vec::new();
    for i in 0..600u32 {
        let bytes: Vec<u8> = (0..3000u32).map(|n| (n * 13 + i * 7) as u8).collect();
        expected.extend_from_slice(&bytes);
        ring.send(key(0), Piece::Owned(bytes));
        if i % 50 == 49 {
            ring.flush();
        }
    }
    ring.finish(key(0));
    let reader = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(100));
        let mut got = Vec::new();
        peer.read_to_end(&mut got).unwrap();
        got
    });
    let mut collected = Collected::new(1);
    collected.turn_until(&mut ring, |c| {
        c.other
            .iter()
            .any(|h| matches!(h, Happened::Finished { .. }))
    });
    assert!(reader.join().unwrap() == expected);
    let congested = |h: &&Happened| matches!(h, Happened::Congested { .. });
    let drained = |h: &&Happened| matches!(h, Happened::Drained { .. });
    assert_eq!(collected.other.iter().filter(congested).count(), 1);
    assert_eq!(collected.other.iter().filter(drained).count(), 1);
}

#[test]
fn a_released_key_is_silent_and_its_peer_sees_the_end() {
    let mut ring = self_test().unwrap();
    for round in 0..100 {
        let generation = round;
        let mut peer = {
            let (ours, theirs) = pair().unwrap();
            let key = Key {
                index: 0,
                generation,
            };
            ring.attach(key, OwnedFd::from(ours));
            ring.read(key, true);
            theirs
        };
        peer.write_all(b"never seen").unwrap();
        ring.wait(Duration::ZERO);
        let key = Key {
            index: 0,
            generation,
        };
        ring.release(key);
        let mut collected = Collected::new(1);
        collected.turn_until(&mut ring, |c| !c.other.is_empty());
        assert!(matches!(collected.other[0], Happened::Released { key: k } if k == key));
        assert!(collected.bytes[0].is_empty());
        ring.flush();
        // The end, or a reset because of the bytes that nobody read.
        let mut rest = Vec::new();
        let _ = peer.read_to_end(&mut rest);
        assert!(rest.is_empty());
    }
    assert_no_buffer_is_lost(&mut ring);
}

#[test]
fn detaching_tells_quiet_from_not() {
    let mut ring = self_test().unwrap();
    let mut quiet = attach_pair(&mut ring, 0);
    let mut loud = attach_pair(&mut ring, 1);
    let gone = attach_pair(&mut ring, 2);
    for i in 0..3 {
        ring.read(key(i), true);
    }
    ring.flush();
    loud.write_all(b"!").unwrap();
    drop(gone);
    for i in 0..3 {
        ring.detach(key(i));
    }
    let mut collected = Collected::new(3);
    collected.turn_until(&mut ring, |c| c.other.len() == 3);
    let mut kept = Vec::new();
    for happened in collected.other {
        if let Happened::Detached { key, fd: Some(fd) } = happened {
            kept.push((key.index, fd));
        }
    }
    assert_eq!(kept.len(), 1);
    let (index, fd) = kept.remove(0);
    assert_eq!(index, 0);
    // Still a working connection, also for what comes later.
    let mut ours = TcpStream::from(fd);
    quiet.write_all(b"later").unwrap();
    let mut bytes = [0; 5];
    ours.read_exact(&mut bytes).unwrap();
    assert_eq!(&bytes, b"later");
}

#[test]
fn a_ring_may_go_with_everything_under_way() {
    let mut ring = self_test().unwrap();
    let mut peers = Vec::new();
    for i in 0..50 {
        peers.push(attach_pair(&mut ring, i));
        ring.read(key(i), true);
        ring.send(key(i), Piece::Owned(vec![1; 1 << 20]));
    }
    ring.wait(Duration::ZERO);
    assert!(ring.in_flight > 50);
    let began = Instant::now();
    drop(ring);
    assert!(
        began.elapsed() < Duration::from_millis(400),
        "memory was leaked"
    );
    let mut end = Vec::new();
    for mut peer in peers {
        let _ = peer.read_to_end(&mut end);
    }
}
