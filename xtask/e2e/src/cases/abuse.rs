//! Bad input: garbage, half messages, lies, silence. Each ends in an answer or a close, memory stays bounded, and other
//! clients keep their speed meanwhile.

use std::collections::VecDeque;
use std::io::Write;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::{mix, until};
use crate::case::{Case, Front, Plan, Setting, case};
use crate::raw::{Raw, frame};

/// The cases.
pub const CASES: &[Case] = &[
    case(
        "abuse/garbage_before_login",
        Plan::Shells { shards: 1 },
        garbage_before_login,
    ),
    case(
        "abuse/lies_about_lengths_before_login",
        Plan::Shells { shards: 1 },
        lies_before_login,
    ),
    case(
        "abuse/lies_after_login",
        Plan::Shells { shards: 1 },
        lies_after_login,
    ),
    case(
        "abuse/garbage_inside_tls",
        Plan::Shells { shards: 1 },
        garbage_inside_tls,
    ),
    Case {
        seconds: 500,
        ..case(
            "abuse/silent_connects",
            Plan::Shells { shards: 2 },
            silent_connects,
        )
    },
    case("abuse/slow_logins", Plan::Shells { shards: 1 }, slow_logins),
    case(
        "abuse/announced_and_never_sent",
        Plan::Shells { shards: 1 },
        announced,
    ),
    case(
        "abuse/early_data_before_tls",
        Plan::Shells { shards: 1 },
        early_data,
    ),
];

/// A client that works while others misbehave.
struct Witness {
    stop: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<Result<(u64, Duration)>>,
    memory: u64,
}

/// What weir may grow by under abuse, beside the kernel's own socket memory.
const GROWTH_MAX: u64 = 64 << 20;

impl Witness {
    fn start(front: &Front) -> Result<Witness> {
        let stop = Arc::new(AtomicBool::new(false));
        let mut raw = Raw::login(&front.endpoint)?;
        raw.run("SELECT 1")?;
        let memory = front.weir_if_any().context("no weir")?.memory()?;
        let stop_too = stop.clone();
        let thread = std::thread::spawn(move || {
            let (mut count, mut longest) = (0, Duration::ZERO);
            while !stop_too.load(Ordering::Relaxed) {
                let begin = Instant::now();
                ensure!(raw.value(&format!("SELECT {count}"))? == count.to_string());
                longest = longest.max(begin.elapsed());
                count += 1;
                std::thread::sleep(Duration::from_millis(1));
            }
            Ok((count, longest))
        });
        Ok(Witness {
            stop,
            thread,
            memory,
        })
    }

    /// The witness was served all the time, weir did not grow, and a newcomer can log in.
    fn check(self, front: &mut Front) -> Result<()> {
        // However short the abuse was, the witness must have worked for a while beside what it left behind.
        std::thread::sleep(Duration::from_millis(200));
        let memory = front.weir()?.memory()?;
        Raw::login(&front.endpoint)
            .context("a newcomer after the abuse")?
            .run("SELECT 1")?;
        self.stop.store(true, Ordering::Relaxed);
        let (count, longest) = self
            .thread
            .join()
            .map_err(|_| anyhow::anyhow!("the witness panicked"))??;
        ensure!(count > 10, "the witness had {count} queries");
        ensure!(
            longest < Duration::from_millis(500),
            "the witness once waited {longest:?}"
        );
        let growth = memory.saturating_sub(self.memory);
        ensure!(growth < GROWTH_MAX, "weir grew by {} MiB", growth >> 20);
        until(
            "the misbehaving ones are gone",
            Duration::from_secs(5),
            || {
                let left = front.weir()?.metric("weir_client_connections")?;
                Ok((left == 0.0, left.to_string()))
            },
        )?;
        Ok(())
    }
}

fn noise(seed: u64, length: usize) -> Vec<u8> {
    (0..length as u64)
        .map(|n| (mix(seed << 32 | n) >> 13) as u8)
        .collect()
}

fn garbage_before_login(setting: &Setting) -> Result<()> {
    let mut front = setting.front(&[])?;
    let witness = Witness::start(&front)?;
    for seed in 0..300 {
        let mut raw = Raw::tcp(front.endpoint.port)?;
        let _ = raw.send(&noise(seed, 1 + mix(seed) as usize % 5000));
        if seed % 3 == 0 {
            ensure!(
                closes_or_waits(&mut raw)?,
                "garbage {seed} was answered with something strange"
            );
        }
    }
    for text in [
        "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        "SSH-2.0-OpenSSH_9.2\r\n",
        "EHLO x\r\n",
    ] {
        let mut raw = Raw::tcp(front.endpoint.port)?;
        raw.send(text.as_bytes())?;
        ensure!(
            raw.ends_within(Duration::from_secs(2))?,
            "{text:?} keeps its connection"
        );
    }
    witness.check(&mut front)
}

/// Garbage is either refused at once or looks like the beginning of something; an error message may come first.
fn closes_or_waits(raw: &mut Raw) -> Result<bool> {
    raw.patience(Duration::from_millis(100))?;
    match raw.some(4096) {
        Ok(bytes) => Ok(bytes.is_empty() || [b'E', b'S', b'N', 0x15].contains(&bytes[0])),
        Err(_) => Ok(true),
    }
}

fn lies_before_login(setting: &Setting) -> Result<()> {
    let mut front = setting.front(&[])?;
    let witness = Witness::start(&front)?;
    for length in [
        0_u32,
        1,
        3,
        4,
        7,
        10_005,
        1 << 20,
        i32::MAX as u32,
        u32::MAX,
    ] {
        let mut packet = length.to_be_bytes().to_vec();
        packet.extend(196_608_u32.to_be_bytes());
        for tls in [false, true] {
            let mut raw = if tls {
                Raw::tls(front.endpoint.port, front.endpoint.tls())?
            } else {
                Raw::tcp(front.endpoint.port)?
            };
            raw.send(&packet)?;
            ensure!(
                raw.ends_within(Duration::from_secs(2))?,
                "a startup packet of {length} bytes keeps its connection"
            );
        }
    }
    // Startup packets whose strings do not end, or of which there are too many.
    let many: Vec<u8> = (0..3000)
        .flat_map(|n| format!("p{n}\0v\0").into_bytes())
        .collect();
    for body in [
        b"user".to_vec(),
        b"user\0app\0database".to_vec(),
        b"user\0app".to_vec(),
        many,
    ] {
        let mut raw = Raw::tls(front.endpoint.port, front.endpoint.tls())?;
        let mut packet = (u32::try_from(body.len())? + 8).to_be_bytes().to_vec();
        packet.extend(196_608_u32.to_be_bytes());
        packet.extend(body);
        raw.send(&packet)?;
        ensure!(
            raw.ends_within(Duration::from_secs(2))?,
            "a broken startup packet keeps its connection"
        );
    }
    witness.check(&mut front)
}

fn lies_after_login(setting: &Setting) -> Result<()> {
    let mut front = setting.front(&[("max_connection_pool_size", "3")])?;
    let witness = Witness::start(&front)?;
    let messages: [&[u8]; 9] = [
        b"Q\0\0\0\0",
        b"Q\0\0\0\x03",
        b"Q\xff\xff\xff\xff",
        b"Q\x7f\xff\xff\xff",
        b"Q\x80\0\0\0",
        b"\0\0\0\0\x04",
        b"y\0\0\0\x04",
        b"R\0\0\0\x08\0\0\0\0",
        b"p\0\0\0\x05\0",
    ];
    for message in messages {
        for inside in ["", "BEGIN"] {
            let mut raw = Raw::login(&front.endpoint)?;
            if !inside.is_empty() {
                raw.run(inside)?;
            }
            raw.send(message)?;
            raw.patience(Duration::from_secs(3))?;
            let first = raw
                .message()
                .with_context(|| format!("{message:?} {inside} is not answered"))?;
            ensure!(
                first.tag == b'E' && first.error().starts_with("08P01"),
                "{message:?}: {}",
                first.error()
            );
            ensure!(
                raw.ends_within(Duration::from_secs(2))?,
                "{message:?} keeps its connection"
            );
        }
    }
    // Well-framed nonsense is the server's to judge; the session goes on.
    let mut raw = Raw::login(&front.endpoint)?;
    raw.send(&[frame(b'B', b"x"), frame(b'S', &[])].concat())?;
    ensure!(raw.answer()?.error.is_some());
    ensure!(raw.value("SELECT 1")? == "1");
    drop(raw);
    witness.check(&mut front)
}

fn garbage_inside_tls(setting: &Setting) -> Result<()> {
    let mut front = setting.front(&[])?;
    let witness = Witness::start(&front)?;
    for seed in 0..60 {
        let mut raw = Raw::tcp(front.endpoint.port)?;
        raw.send(&[0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f])?;
        ensure!(raw.bytes(1)? == b"S");
        // A record header that announces a handshake, then noise; or noise at once.
        let mut bytes = if seed % 2 == 0 {
            vec![0x16, 3, 1, 0x40, 0]
        } else {
            Vec::new()
        };
        bytes.extend(noise(seed, 4000));
        let _ = raw.send(&bytes);
        if seed % 2 == 1 {
            ensure!(
                raw.ends_within(Duration::from_secs(2))?,
                "noise instead of a handshake keeps its connection"
            );
        }
    }
    for seed in 0..20 {
        let mut raw = Raw::tls(front.endpoint.port, front.endpoint.tls())?;
        raw.log_in(&front.endpoint, &[])?;
        // Bytes beside the TLS session, straight onto the socket.
        let _ = raw.tcp_stream().write_all(&noise(seed, 500));
        ensure!(
            raw.ends_within(Duration::from_secs(2))?,
            "a broken record keeps its connection"
        );
    }
    witness.check(&mut front)
}

/// Connects that say nothing: many more than may be under way at a time.
fn silent_connects(setting: &Setting) -> Result<()> {
    let mut front = setting.front(&[("login_timeout", "20")])?;
    let witness = Witness::start(&front)?;
    let (count, kept) = if setting.long {
        (100_000, 6000)
    } else {
        (5000, 3000)
    };
    let mut sockets: VecDeque<TcpStream> = VecDeque::new();
    for n in 0..count {
        let stream = TcpStream::connect(("127.0.0.1", front.endpoint.port))
            .with_context(|| format!("connect {n}"))?;
        sockets.push_back(stream);
        if sockets.len() > kept
            && let Some(oldest) = sockets.pop_front()
        {
            socket2::SockRef::from(&oldest).set_linger(Some(Duration::ZERO))?;
        }
    }
    let begin = Instant::now();
    Raw::login(&front.endpoint)
        .context("a login among silent connects")?
        .run("SELECT 1")?;
    ensure!(
        begin.elapsed() < Duration::from_secs(2),
        "a login took {:?}",
        begin.elapsed()
    );
    drop(sockets);
    witness.check(&mut front)
}

/// Logins that send a byte now and then.
fn slow_logins(setting: &Setting) -> Result<()> {
    let mut front = setting.front(&[("login_timeout", "3")])?;
    let witness = Witness::start(&front)?;
    let mut slow = (0..200)
        .map(|_| Raw::tcp(front.endpoint.port))
        .collect::<Result<Vec<_>>>()?;
    let begin = Instant::now();
    for byte in [0, 0, 0, 8, 0x04, 0xd2, 0x16] {
        for raw in &mut slow {
            let _ = raw.send(&[byte]);
        }
        std::thread::sleep(Duration::from_millis(300));
    }
    for raw in &mut slow {
        let left = Duration::from_millis(4500).saturating_sub(begin.elapsed());
        ensure!(
            raw.ends_within(left.max(Duration::from_millis(10)))?,
            "a slow login outlives login_timeout"
        );
    }
    witness.check(&mut front)
}

/// Messages that are announced as large and never sent: nothing may be set aside for them.
fn announced(setting: &Setting) -> Result<()> {
    let mut front = setting.front(&[("max_connection_pool_size", "100")])?;
    let witness = Witness::start(&front)?;
    let mut liars = Vec::new();
    for n in 0..40 {
        let mut raw = Raw::login(&front.endpoint)?;
        let mut head = vec![if n % 2 == 0 { b'Q' } else { b'P' }];
        head.extend(0x3000_0000_u32.to_be_bytes());
        head.extend(b"\0SELECT 1");
        raw.send(&head)?;
        liars.push(raw);
    }
    std::thread::sleep(Duration::from_millis(300));
    for raw in liars {
        raw.reset()?;
    }
    witness.check(&mut front)
}

/// What a client sends in the clear after SSLRequest and before the handshake must never be taken for part of the session
/// (CVE-2021-23214 was that).
fn early_data(setting: &Setting) -> Result<()> {
    let mut front = setting.front(&[])?;
    let witness = Witness::start(&front)?;
    let mut raw = Raw::tcp(front.endpoint.port)?;
    let mut bytes = vec![0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];
    bytes.extend(crate::raw::query("SELECT 'smuggled'"));
    raw.send(&bytes)?;
    ensure!(
        raw.ends_within(Duration::from_secs(3))?,
        "clear text before the handshake was swallowed"
    );
    witness.check(&mut front)
}
