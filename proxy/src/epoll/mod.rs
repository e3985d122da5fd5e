//! The fallback where io_uring is denied: level-triggered epoll, one receive buffer per shard, sends at once.
//!
//! Small on purpose; it keeps no more state than it must. Sockets that are neither read nor waited for are not in the epoll
//! set at all, so that errors on them can't spin.

mod socket;

use std::collections::VecDeque;
use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use socket2::SockRef;

use crate::io::{Arena, Ended, Happened, Io, IoStats, Key, Lent, Piece, Waker};
use crate::sys::{Epoll, EventFd, receive};
use socket::{Socket, Sockets};

/// Bytes received at a time; also what one socket gets per loop turn, which is what keeps turns fair.
const BUFFER: usize = 32 * 1024;
/// Events of one wait.
const EVENTS: usize = 1024;
/// User data of the waker. Sockets have their index (32 bits) and generation (24 bits) there.
const WAKE: u64 = u64::MAX;
/// User data of a listener: this plus its place.
const LISTENER: u64 = 1 << 63;

/// The epoll instance of one shard.
pub(crate) struct Poller {
    epoll: Epoll,
    events: Vec<libc::epoll_event>,
    reported: VecDeque<(u64, u32)>,
    ready: VecDeque<Happened>,
    sockets: Sockets,
    listeners: Vec<Listening>,
    /// Clients accepted from one listener per loop turn.
    accepts: usize,
    buffer: Vec<u8>,
    arena: Arena,
    waker: Waker,
    stats: IoStats,
}

struct Listening {
    id: u16,
    socket: TcpListener,
    paused: bool,
}

impl Poller {
    pub(crate) fn new() -> io::Result<Poller> {
        let epoll = Epoll::new()?;
        let waker = EventFd::new(true)?;
        epoll.control(
            libc::EPOLL_CTL_ADD,
            waker.as_raw_fd(),
            libc::EPOLLIN as u32,
            WAKE,
        )?;
        Ok(Poller {
            epoll,
            events: vec![libc::epoll_event { events: 0, u64: 0 }; EVENTS],
            reported: VecDeque::with_capacity(EVENTS),
            ready: VecDeque::new(),
            sockets: Sockets::default(),
            listeners: Vec::new(),
            accepts: weir_core::limits::ACCEPTS_PER_TURN as usize,
            buffer: vec![0; BUFFER],
            arena: Arena::default(),
            waker: Arc::new(waker),
            stats: IoStats::default(),
        })
    }

    /// Brings the epoll set in line with what the socket waits for.
    fn watch(&mut self, key: Key) {
        let Some(socket) = self.sockets.get_mut(key) else {
            return;
        };
        let wanted = socket.interest();
        if wanted == socket.watched {
            return;
        }
        let operation = match (socket.watched, wanted) {
            (0, _) => libc::EPOLL_CTL_ADD,
            (_, 0) => libc::EPOLL_CTL_DEL,
            _ => libc::EPOLL_CTL_MOD,
        };
        socket.watched = wanted;
        self.stats.system_calls += 1;
        let fd = socket.fd.as_raw_fd();
        let done = self.epoll.control(operation, fd, wanted, data_of(key));
        if done.is_err() {
            // Out of memory or of watches: this connection can't be served.
            let how = Ended::Reset;
            self.ready.push_back(Happened::Ended { key, how });
        }
    }

    fn report(&mut self, data: u64, events: u32) {
        if data == WAKE {
            self.waker.clear();
            self.ready.push_back(Happened::Woken);
        } else if data & LISTENER != 0 {
            self.accept((data & !LISTENER) as usize, self.accepts);
        } else {
            self.report_socket(key_of(data), events);
        }
    }

    fn report_socket(&mut self, key: Key, events: u32) {
        let Some(socket) = self.sockets.get_mut(key) else {
            return;
        };
        let broken = events & (libc::EPOLLERR | libc::EPOLLHUP) as u32 != 0;
        let writable = events & libc::EPOLLOUT as u32 != 0 || broken;
        let readable = events & libc::EPOLLIN as u32 != 0 || broken;
        if socket.connecting {
            if writable {
                self.connected(key);
            }
            return;
        }
        if writable && socket.backlog.is_some() {
            self.drain(key);
        }
        if readable {
            self.receive(key);
        }
    }

    fn connected(&mut self, key: Key) {
        let Some(socket) = self.sockets.get_mut(key) else {
            return;
        };
        socket.connecting = false;
        let result = crate::sys::socket_error(socket.fd.as_fd());
        self.watch(key);
        self.ready.push_back(Happened::Connected { key, result });
    }

    fn receive(&mut self, key: Key) {
        let Some(socket) = self.sockets.get_mut(key) else {
            return;
        };
        if !socket.want || socket.ended {
            return;
        }
        self.stats.system_calls += 1;
        let how = match receive(socket.fd.as_raw_fd(), &mut self.buffer, 0) {
            Ok(0) => Ended::Eof,
            Ok(len) => {
                self.stats.bytes_in += len as u64;
                let len = u32::try_from(len).unwrap_or(0);
                let lent = Lent { buffer: 0, len };
                self.ready.push_back(Happened::Received { key, lent });
                return;
            }
            Err(error) if waits(&error) => return,
            Err(_) => Ended::Reset,
        };
        socket.ended = true;
        self.watch(key);
        self.ready.push_back(Happened::Ended { key, how });
    }

    /// Sends what waits as far as it goes.
    fn drain(&mut self, key: Key) {
        let Some(socket) = self.sockets.get_mut(key) else {
            return;
        };
        let Some(backlog) = socket.backlog.as_mut() else {
            return;
        };
        loop {
            let front = backlog.front();
            if front.is_empty() {
                socket.backlog = None;
                self.ready.push_back(Happened::Drained { key });
                break;
            }
            self.stats.system_calls += 1;
            match crate::sys::send(socket.fd.as_raw_fd(), front) {
                Ok(sent) => {
                    self.stats.bytes_out += sent as u64;
                    backlog.advance(sent);
                }
                Err(error) if waits(&error) => return,
                Err(_) => {
                    self.fail(key);
                    return;
                }
            }
        }
        self.watch(key);
        self.finish_if_out(key);
    }

    fn fail(&mut self, key: Key) {
        if let Some(socket) = self.sockets.get_mut(key) {
            socket.broken = true;
            socket.backlog = None;
            self.ready.push_back(Happened::SendFailed { key });
            self.watch(key);
        }
    }

    fn finish_if_out(&mut self, key: Key) {
        let Some(socket) = self.sockets.get_mut(key) else {
            return;
        };
        if !socket.finishing || socket.backlog.is_some() {
            return;
        }
        socket.finishing = false;
        if !socket.broken {
            crate::sys::shutdown(socket.fd.as_fd(), Shutdown::Write);
        }
        self.ready.push_back(Happened::Finished { key });
    }

    fn accept(&mut self, place: usize, at_most: usize) {
        for _ in 0..at_most {
            let Some(listening) = self.listeners.get_mut(place) else {
                return;
            };
            let listener = listening.id;
            self.stats.system_calls += 1;
            match listening.socket.accept() {
                Ok((stream, _)) => {
                    let fd = OwnedFd::from(stream);
                    self.ready.push_back(Happened::Accepted { listener, fd });
                }
                Err(error) if waits(&error) => return,
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    listening.paused = true;
                    let fd = listening.socket.as_raw_fd();
                    // Level-triggered: left in the set it would spin.
                    let _ = self.epoll.control(libc::EPOLL_CTL_DEL, fd, 0, 0);
                    let errno = error.raw_os_error().unwrap_or(0);
                    let failed = Happened::AcceptFailed { listener, errno };
                    self.ready.push_back(failed);
                    return;
                }
            }
        }
    }

    fn send_now(&mut self, key: Key, piece: &Piece) {
        let Some(socket) = self.sockets.get_mut(key) else {
            return;
        };
        let bytes: &[u8] = match piece {
            Piece::Lent { start, end, .. } => self.buffer.get(*start..*end).unwrap_or_default(),
            Piece::Arena { start, end } => self.arena.get(*start, *end),
            Piece::Owned(bytes) => bytes,
        };
        let congested = socket.backlog.is_some();
        self.stats.system_calls += u64::from(!congested);
        match socket.send(bytes) {
            Ok(sent) => {
                self.stats.bytes_out += sent as u64;
                if !congested && socket.backlog.is_some() {
                    self.stats.congested += 1;
                    self.ready.push_back(Happened::Congested { key });
                    self.watch(key);
                }
            }
            Err(_) => self.fail(key),
        }
    }
}

impl Io for Poller {
    fn listen(&mut self, listener: u16, socket: TcpListener) {
        // A listener that can't be made non-blocking or watched would hang the shard; neither happens to a valid descriptor.
        let _ = socket.set_nonblocking(true);
        self.listeners.push(Listening {
            id: listener,
            socket,
            paused: true,
        });
        self.resume_accepting();
    }

    fn accept_at_most(&mut self, clients: u32) {
        self.accepts = clients as usize;
    }

    fn resume_accepting(&mut self) {
        for (place, listening) in self.listeners.iter_mut().enumerate() {
            if std::mem::replace(&mut listening.paused, false) {
                let data = LISTENER | place as u64;
                let fd = listening.socket.as_raw_fd();
                let events = libc::EPOLLIN as u32;
                let _ = self.epoll.control(libc::EPOLL_CTL_ADD, fd, events, data);
            }
        }
    }

    fn stop_accepting(&mut self) {
        for place in 0..self.listeners.len() {
            self.accept(place, usize::MAX);
        }
        self.listeners.clear();
    }

    fn attach(&mut self, key: Key, fd: OwnedFd) {
        // Harmless where it fails: every call that could block says MSG_DONTWAIT.
        let _ = SockRef::from(&fd).set_nonblocking(true);
        self.sockets.insert(key, Socket::new(fd, key.generation));
    }

    fn connect(&mut self, key: Key, fd: OwnedFd, to: SocketAddr) {
        self.attach(key, fd);
        let Some(socket) = self.sockets.get_mut(key) else {
            return;
        };
        self.stats.system_calls += 1;
        match SockRef::from(&socket.fd).connect(&to.into()) {
            Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => {
                socket.connecting = true;
                self.watch(key);
            }
            result => self.ready.push_back(Happened::Connected { key, result }),
        }
    }

    fn read(&mut self, key: Key, on: bool) {
        if let Some(socket) = self.sockets.get_mut(key) {
            socket.want = on;
            self.watch(key);
        }
    }

    fn send(&mut self, key: Key, piece: Piece) {
        self.send_now(key, &piece);
        self.arena.clear();
    }

    fn finish(&mut self, key: Key) {
        if let Some(socket) = self.sockets.get_mut(key) {
            socket.finishing = true;
            self.finish_if_out(key);
        }
    }

    fn abort(&mut self, key: Key) {
        if let Some(socket) = self.sockets.get_mut(key) {
            socket.broken = true;
            crate::sys::shutdown(socket.fd.as_fd(), Shutdown::Both);
        }
    }

    fn release(&mut self, key: Key) {
        if self.sockets.remove(key).is_some() {
            self.ready.push_back(Happened::Released { key });
        }
    }

    fn detach(&mut self, key: Key) {
        let Some(mut socket) = self.sockets.remove(key) else {
            return;
        };
        if socket.watched != 0 {
            let fd = socket.fd.as_raw_fd();
            let _ = self.epoll.control(libc::EPOLL_CTL_DEL, fd, 0, 0);
        }
        let reported = self.ready.iter().any(|happened| match happened {
            Happened::Received { key: k, .. } | Happened::Ended { key: k, .. } => *k == key,
            _ => false,
        });
        let fd = (!reported && socket.is_quiet()).then_some(socket.fd);
        self.ready.push_back(Happened::Detached { key, fd });
    }

    fn wait(&mut self, at_most: Duration) {
        let idle = self.ready.is_empty() && self.reported.is_empty();
        let at_most = if idle { at_most } else { Duration::ZERO };
        self.stats.system_calls += 1;
        // Interrupted by a signal: nothing has happened.
        let n = self.epoll.wait(&mut self.events, at_most).unwrap_or(0);
        let events = self.events.iter().take(n);
        self.reported.extend(events.map(|e| (e.u64, e.events)));
    }

    fn next(&mut self) -> Option<Happened> {
        loop {
            if let Some(happened) = self.ready.pop_front() {
                return Some(happened);
            }
            let (data, events) = self.reported.pop_front()?;
            self.report(data, events);
        }
    }

    fn bytes(&self, lent: &Lent) -> &[u8] {
        self.buffer.get(..lent.len as usize).unwrap_or_default()
    }

    fn bytes_and_arena(&mut self, lent: &Lent) -> (&mut [u8], &mut Arena) {
        let bytes = self.buffer.get_mut(..lent.len as usize);
        (bytes.unwrap_or_default(), &mut self.arena)
    }

    fn arena(&mut self) -> &mut Arena {
        &mut self.arena
    }

    fn give_back(&mut self, _lent: Lent) {}

    fn waker(&self) -> Waker {
        Arc::clone(&self.waker)
    }

    fn stats(&self) -> IoStats {
        IoStats {
            sockets: self.sockets.len() as u64,
            ..self.stats
        }
    }
}

fn data_of(key: Key) -> u64 {
    u64::from(key.generation & 0x00ff_ffff) << 32 | u64::from(key.index)
}

fn key_of(data: u64) -> Key {
    Key {
        index: data as u32,
        generation: (data >> 32) as u32,
    }
}

fn waits(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
    )
}
