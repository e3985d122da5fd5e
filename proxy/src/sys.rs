//! The smallest wrappers around system calls that the standard library and `socket2` do not have.

use std::io::{self, Error};
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};

/// A counter in the kernel that wakes whoever waits for it.
#[derive(Debug)]
pub(crate) struct EventFd {
    fd: OwnedFd,
}

impl EventFd {
    /// `nonblocking` for epoll; the ring wants it blocking, as everything that it waits for itself.
    pub(crate) fn new(nonblocking: bool) -> io::Result<EventFd> {
        let flags = libc::EFD_CLOEXEC | if nonblocking { libc::EFD_NONBLOCK } else { 0 };
        // SAFETY: no pointers are passed.
        let fd = check(unsafe { libc::eventfd(0, flags) })?;
        // SAFETY: the kernel has just given us this descriptor; nobody else owns it.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok(EventFd { fd })
    }

    pub(crate) fn wake(&self) {
        let one = 1u64.to_ne_bytes();
        // SAFETY: eight readable bytes that live through the call. A full counter (2^64 − 2 wakes) would have woken already.
        let _ = unsafe { libc::write(self.fd.as_raw_fd(), one.as_ptr().cast(), one.len()) };
    }

    /// Takes all wakes that have come so far.
    pub(crate) fn clear(&self) {
        let mut count = [0u8; 8];
        // SAFETY: eight writable bytes that live through the call. Nothing to read is no error here.
        let _ = unsafe { libc::read(self.fd.as_raw_fd(), count.as_mut_ptr().cast(), count.len()) };
    }
}

impl AsRawFd for EventFd {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

/// An epoll instance.
pub(crate) struct Epoll {
    fd: OwnedFd,
}

impl Epoll {
    pub(crate) fn new() -> io::Result<Epoll> {
        // SAFETY: no pointers are passed.
        let fd = check(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })?;
        // SAFETY: the kernel has just given us this descriptor; nobody else owns it.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok(Epoll { fd })
    }

    /// `operation` is `EPOLL_CTL_ADD`, `_MOD` or `_DEL`.
    pub(crate) fn control(
        &self,
        operation: i32,
        fd: RawFd,
        events: u32,
        data: u64,
    ) -> io::Result<()> {
        let mut event = libc::epoll_event { events, u64: data };
        // SAFETY: `event` lives through the call and the kernel only reads it.
        check(unsafe { libc::epoll_ctl(self.fd.as_raw_fd(), operation, fd, &raw mut event) })?;
        Ok(())
    }

    /// Fills `events` from the start and answers how many.
    pub(crate) fn wait(
        &self,
        events: &mut [libc::epoll_event],
        at_most: Duration,
    ) -> io::Result<usize> {
        // Rounded up: waking before a deadline would spin until it.
        let milliseconds = at_most.as_nanos().div_ceil(1_000_000);
        let milliseconds = i32::try_from(milliseconds).unwrap_or(i32::MAX);
        let room = i32::try_from(events.len()).unwrap_or(i32::MAX);
        // SAFETY: the kernel writes at most `room` events, which `events` has.
        let n = check(unsafe {
            libc::epoll_wait(self.fd.as_raw_fd(), events.as_mut_ptr(), room, milliseconds)
        })?;
        Ok(usize::try_from(n).unwrap_or(0))
    }
}

/// `recv` with `MSG_DONTWAIT` and further flags. `Ok(0)` is the end.
pub(crate) fn receive(fd: RawFd, buffer: &mut [u8], flags: i32) -> io::Result<usize> {
    // SAFETY: the kernel writes at most `buffer.len()` bytes into `buffer`.
    let n = unsafe {
        libc::recv(
            fd,
            buffer.as_mut_ptr().cast(),
            buffer.len(),
            flags | libc::MSG_DONTWAIT,
        )
    };
    usize::try_from(n).map_err(|_| Error::last_os_error())
}

/// `send` with `MSG_DONTWAIT | MSG_NOSIGNAL`.
pub(crate) fn send(fd: RawFd, bytes: &[u8]) -> io::Result<usize> {
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    // SAFETY: the kernel reads at most `bytes.len()` bytes from `bytes`.
    let n = unsafe { libc::send(fd, bytes.as_ptr().cast(), bytes.len(), flags) };
    usize::try_from(n).map_err(|_| Error::last_os_error())
}

/// Ends one or both directions; a socket that is not connected any more is as good.
pub(crate) fn shutdown(fd: BorrowedFd<'_>, how: Shutdown) {
    let _ = SockRef::from(&fd).shutdown(how);
}

/// A socket to connect with.
pub(crate) fn stream_socket(to: &SocketAddr) -> io::Result<OwnedFd> {
    let socket = Socket::new(Domain::for_address(*to), Type::STREAM, Some(Protocol::TCP))?;
    tune(&SockRef::from(&socket))?;
    Ok(socket.into())
}

/// A listening socket for one shard; the shards' sockets share the address and the kernel spreads clients over them.
pub(crate) fn listening_socket(at: SocketAddr) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(at), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    if at.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // Accepted sockets inherit these (Linux), which saves two calls for each.
    tune(&SockRef::from(&socket))?;
    socket.bind(&at.into())?;
    socket.listen(LISTEN_BACKLOG)?;
    Ok(socket.into())
}

/// Connections that the kernel holds for a shard until it accepts them; cut down to net.core.somaxconn by the kernel.
const LISTEN_BACKLOG: i32 = 4096;

fn tune(socket: &SockRef<'_>) -> io::Result<()> {
    socket.set_tcp_nodelay(true)?;
    // A peer that is gone without a word is noticed after 60 + 4 × 15 seconds.
    let keepalive = TcpKeepalive::new()
        .with_time(Duration::from_secs(60))
        .with_interval(Duration::from_secs(15))
        .with_retries(4);
    socket.set_tcp_keepalive(&keepalive)
}

/// The peer's address; `None` when it has gone already.
pub(crate) fn peer_of(fd: BorrowedFd<'_>) -> Option<SocketAddr> {
    SockRef::from(&fd).peer_addr().ok()?.as_socket()
}

/// The pending error of a socket; `Ok` when there is none.
pub(crate) fn socket_error(fd: BorrowedFd<'_>) -> io::Result<()> {
    match SockRef::from(&fd).take_error()? {
        Some(error) => Err(error),
        None => Ok(()),
    }
}

/// Keeps the calling thread on the `nth` of the cores that the process may use; does nothing where there are fewer.
pub(crate) fn pin_to_core(nth: usize) -> io::Result<bool> {
    // SAFETY: an all-zero cpu_set_t is the empty set.
    let mut allowed: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    let size = size_of::<libc::cpu_set_t>();
    // SAFETY: the kernel writes at most `size` bytes into `allowed`.
    check(unsafe { libc::sched_getaffinity(0, size, &raw mut allowed) })?;
    let cores = 0..usize::try_from(libc::CPU_SETSIZE).unwrap_or(0);
    // SAFETY: `core` is below CPU_SETSIZE.
    let mut usable = cores.filter(|core| unsafe { libc::CPU_ISSET(*core, &allowed) });
    let Some(core) = usable.nth(nth) else {
        return Ok(false);
    };
    // SAFETY: an all-zero cpu_set_t is the empty set.
    let mut wanted: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: `core` is below CPU_SETSIZE.
    unsafe { libc::CPU_SET(core, &mut wanted) };
    // SAFETY: the kernel reads `size` bytes of `wanted`.
    check(unsafe { libc::sched_setaffinity(0, size, &raw const wanted) })?;
    Ok(true)
}

/// The soft and hard limit of open descriptors.
pub(crate) fn descriptor_limit() -> io::Result<(u64, u64)> {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the kernel writes one rlimit.
    check(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) })?;
    Ok((limit.rlim_cur, limit.rlim_max))
}

pub(crate) fn set_descriptor_limit(soft: u64, hard: u64) -> io::Result<()> {
    let limit = libc::rlimit {
        rlim_cur: soft,
        rlim_max: hard,
    };
    // SAFETY: the kernel reads one rlimit.
    check(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) })?;
    Ok(())
}

fn check(result: i32) -> io::Result<i32> {
    if result < 0 {
        Err(Error::last_os_error())
    } else {
        Ok(result)
    }
}

/// Raises the limit of open descriptors to `needed`, as far as the hard limit allows.
///
/// # Errors
/// Names the limit, what is needed, and the way out.
pub fn raise_descriptors(needed: u64) -> Result<(), String> {
    let (soft, hard) = descriptor_limit().map_err(|e| format!("can't read RLIMIT_NOFILE: {e}"))?;
    if soft >= needed {
        return Ok(());
    }
    let raised = if hard >= needed {
        set_descriptor_limit(needed, hard)
    } else {
        set_descriptor_limit(needed, needed)
    };
    raised.map_err(|error| {
        format!(
            "RLIMIT_NOFILE is {soft} (hard {hard}), {needed} descriptors are needed for max_client_connections and the pools: {error}; \
             set LimitNOFILE={needed} in the systemd unit, raise `ulimit -n`, or lower max_client_connections"
        )
    })
}

/// Keeps this process's memory, which holds passwords and keys, out of core dumps and away from other processes of the same
/// user (ptrace, `/proc/PID/mem`).
///
/// # Errors
/// When the kernel refuses.
pub fn keep_memory_private() -> io::Result<()> {
    // SAFETY: no pointers are passed.
    check(unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0) })?;
    let none = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the kernel reads one rlimit.
    check(unsafe { libc::setrlimit(libc::RLIMIT_CORE, &raw const none) })?;
    Ok(())
}

/// While it lives, what is typed at the terminal is not shown.
pub struct HiddenInput {
    before: libc::termios,
}

impl HiddenInput {
    /// Hides what is typed from now on.
    ///
    /// # Errors
    /// When standard input is no terminal.
    pub fn new() -> io::Result<HiddenInput> {
        let mut before = std::mem::MaybeUninit::<libc::termios>::uninit();
        // SAFETY: the call fills the structure when it succeeds.
        check(unsafe { libc::tcgetattr(libc::STDIN_FILENO, before.as_mut_ptr()) })?;
        // SAFETY: the call has succeeded.
        let before = unsafe { before.assume_init() };
        let mut hidden = before;
        hidden.c_lflag &= !libc::ECHO;
        // SAFETY: the kernel reads one termios.
        check(unsafe { libc::tcsetattr(libc::STDIN_FILENO, libc::TCSAFLUSH, &raw const hidden) })?;
        Ok(HiddenInput { before })
    }
}

impl Drop for HiddenInput {
    fn drop(&mut self) {
        // SAFETY: the kernel reads one termios. If it refuses there is nothing left to do about it.
        let _ =
            unsafe { libc::tcsetattr(libc::STDIN_FILENO, libc::TCSAFLUSH, &raw const self.before) };
    }
}
