//! Sockets: connecting without waiting, and source addresses enough for storms.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::io::Errno;
use rustix::net::{self, AddressFamily, SocketFlags, SocketType, sockopt};

/// Clients that come from one source address before the next one is used. Linux gives about 28,000 ports per source and
/// destination, a closed connection keeps its port for a minute, and finding a free one takes long when most are taken.
const PER_SOURCE: u32 = 4_000;
/// 127.0.0.1 to 127.0.0.250.
const SOURCES: u32 = 250;
/// Receive buffer of a client that reads slowly, bytes: the kernel would swallow megabytes for it else.
const SLOW_BUFFER: usize = 64 << 10;

/// Connections that this process has started, over all runs: what an earlier run has left behind is in the way of the next.
static STARTED: AtomicU32 = AtomicU32::new(0);

/// Starts to connect. The socket does not block; it is writable once it is connected.
///
/// # Errors
/// What the system said.
pub fn connect(to: SocketAddr, slow: bool) -> Result<OwnedFd, Errno> {
    let mut tries = 0;
    loop {
        match connect_from(source(to), to, slow) {
            Err(Errno::ADDRNOTAVAIL | Errno::ADDRINUSE) if tries < SOURCES => {
                tries += 1;
                // This source has no port left: on to the next.
                STARTED.fetch_add(PER_SOURCE, Ordering::Relaxed);
            }
            other => return other,
        }
    }
}

fn connect_from(from: Option<SocketAddr>, to: SocketAddr, slow: bool) -> Result<OwnedFd, Errno> {
    let family = if to.is_ipv4() {
        AddressFamily::INET
    } else {
        AddressFamily::INET6
    };
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let fd = net::socket_with(family, SocketType::STREAM, flags, None)?;
    if let Some(from) = from {
        net::bind(&fd, &from)?;
    }
    if slow {
        sockopt::set_socket_recv_buffer_size(&fd, SLOW_BUFFER)?;
    }
    sockopt::set_tcp_nodelay(&fd, true)?;
    match net::connect(&fd, &to) {
        Ok(()) | Err(Errno::INPROGRESS) => Ok(fd),
        Err(e) => Err(e),
    }
}

/// Where the next client comes from; `None`: the system chooses, which is 127.0.0.1 for the loopback.
fn source(to: SocketAddr) -> Option<SocketAddr> {
    let started = STARTED.fetch_add(1, Ordering::Relaxed);
    let number = started / PER_SOURCE % SOURCES;
    let loopback = matches!(to.ip(), IpAddr::V4(ip) if ip.is_loopback());
    (loopback && number > 0).then(|| {
        let last = u8::try_from(1 + number).unwrap_or(1);
        SocketAddr::from((Ipv4Addr::new(127, 0, 0, last), 0))
    })
}

/// What became of a connect.
///
/// # Errors
/// Why it failed.
pub fn connected(fd: &OwnedFd) -> Result<(), Errno> {
    sockopt::socket_error(fd)?
}

/// The word under which an error is counted.
#[must_use]
pub fn code(error: Errno) -> &'static str {
    match error {
        Errno::CONNREFUSED => "refused",
        Errno::CONNRESET | Errno::PIPE => "reset",
        Errno::TIMEDOUT => "timeout",
        Errno::ADDRNOTAVAIL | Errno::ADDRINUSE => "no-port",
        Errno::MFILE | Errno::NFILE => "no-descriptor",
        _ => "io",
    }
}
