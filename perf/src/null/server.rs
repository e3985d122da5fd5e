//! How the null server listens and talks: one thread, one epoll, nothing waits.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::mem;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use anyhow::Context as _;
use rustix::event::Timespec;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::{self, RecvFlags, SocketFlags, sockopt};
use rustls::ServerConfig;

use super::answers::{Session, wanted, welcome};
use super::{Config, tls};
use crate::net as own;
use crate::net::Outbox;
use crate::wire::{self, Splitter};

/// Bytes that are read at a time.
const READ: usize = 256 << 10;
/// The largest startup message, bytes; PostgreSQL's own limit.
const STARTUP_MAX: usize = 10_000;
/// How often it looks whether it is to stop, nanoseconds.
const LOOK: u64 = 50_000_000;
/// The token of the listening socket.
const LISTENER: u64 = u64::MAX;

/// What has come of a connection.
enum Stage {
    /// The startup message, as far as it has come.
    Startup(Vec<u8>),
    /// Queries.
    Ready,
}

/// One client.
struct Conn {
    socket: OwnedFd,
    life: u32,
    tls: Option<Box<own::Session>>,
    stage: Stage,
    splitter: Splitter,
    session: Session,
    outbox: Outbox,
    /// Bytes that wait for the end of a large result.
    waiting: Vec<u8>,
    /// Answers that are due later, in order.
    held: VecDeque<(u64, Vec<u8>)>,
}

/// Why a connection ends.
enum End {
    /// It is over, one way or the other.
    Over,
}

impl<E: Into<Box<dyn std::error::Error>>> From<E> for End {
    fn from(_: E) -> End {
        End::Over
    }
}

/// The server.
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    epoll: OwnedFd,
    cpu: Option<usize>,
    tls: Option<Arc<ServerConfig>>,
    delay: u64,
    conns: Vec<Option<Conn>>,
    free: Vec<usize>,
    /// The listener is not watched.
    deaf: bool,
    lives: u32,
    due: BinaryHeap<Reverse<(u64, usize, u32)>>,
    clock: Instant,
    buffer: Vec<u8>,
    plain: Vec<u8>,
    out: Vec<u8>,
    records: Vec<u8>,
}

impl Server {
    /// Listens.
    ///
    /// # Errors
    /// The address is taken or a file is unusable.
    pub fn bind(config: &Config) -> anyhow::Result<Server> {
        own::raise_descriptors();
        let listener =
            listen(config.listen).with_context(|| format!("can't listen on {}", config.listen))?;
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        epoll::add(
            &epoll,
            &listener,
            EventData::new_u64(LISTENER),
            EventFlags::IN,
        )?;
        let tls = match &config.tls {
            Some((chain, key)) => Some(tls::config(chain, key)?),
            None => None,
        };
        Ok(Server {
            address: listener.local_addr()?,
            listener,
            epoll,
            cpu: config.cpu,
            tls,
            delay: u64::try_from(config.delay.as_nanos()).unwrap_or(u64::MAX),
            conns: Vec::new(),
            free: Vec::new(),
            deaf: false,
            lives: 0,
            due: BinaryHeap::new(),
            clock: Instant::now(),
            buffer: vec![0; READ],
            plain: Vec::with_capacity(READ),
            out: Vec::with_capacity(READ),
            records: Vec::with_capacity(READ),
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `stop`.
    ///
    /// # Errors
    /// The CPU does not exist or epoll failed.
    pub fn run(mut self, stop: &AtomicBool) -> anyhow::Result<()> {
        own::pin(self.cpu)?;
        let mut events: Vec<epoll::Event> = Vec::with_capacity(256);
        while !stop.load(Ordering::Acquire) {
            let timeout = self.timeout();
            events.clear();
            match epoll::wait(
                &self.epoll,
                rustix::buffer::spare_capacity(&mut events),
                Some(&timeout),
            ) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(e) => return Err(e).context("epoll failed"),
            }
            for event in &events {
                let event: epoll::Event = *event;
                match event.data.u64() {
                    LISTENER => self.accept(),
                    token => self.on_event(token, event.flags),
                }
            }
            self.release();
        }
        Ok(())
    }

    fn now(&self) -> u64 {
        u64::try_from(self.clock.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    fn timeout(&self) -> Timespec {
        let wait = match self.due.peek() {
            Some(Reverse((at, ..))) => at.saturating_sub(self.now()).min(LOOK),
            None => LOOK,
        };
        Timespec {
            tv_sec: 0,
            tv_nsec: wait as _,
        }
    }

    fn accept(&mut self) {
        // One per event: the listener is level-triggered, and clients that are here already have their turn in between.
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let socket = match net::accept_with(&self.listener, flags) {
            Ok(socket) => socket,
            Err(Errno::MFILE | Errno::NFILE) => return self.stop_listening(),
            Err(_) => return,
        };
        let _ = sockopt::set_tcp_nodelay(&socket, true);
        let i = self.free.pop().unwrap_or_else(|| {
            self.conns.push(None);
            self.conns.len() - 1
        });
        self.lives = (self.lives + 1) & 0x7FFF_FFFF;
        let token = (u64::from(self.lives) << 32) | i as u64;
        let flags = EventFlags::IN | EventFlags::OUT | EventFlags::ET | EventFlags::RDHUP;
        if epoll::add(&self.epoll, &socket, EventData::new_u64(token), flags).is_err() {
            self.free.push(i);
            return;
        }
        self.conns[i] = Some(Conn {
            socket,
            life: self.lives,
            tls: None,
            stage: Stage::Startup(Vec::new()),
            splitter: Splitter::default(),
            session: Session::default(),
            outbox: Outbox::default(),
            waiting: Vec::new(),
            held: VecDeque::new(),
        });
    }

    /// There is no descriptor left: clients wait in the queue until one leaves.
    fn stop_listening(&mut self) {
        self.deaf = epoll::delete(&self.epoll, &self.listener).is_ok();
    }

    /// A client is gone.
    fn gone(&mut self, i: usize) {
        self.free.push(i);
        if self.deaf {
            let token = EventData::new_u64(LISTENER);
            self.deaf = epoll::add(&self.epoll, &self.listener, token, EventFlags::IN).is_err();
        }
    }

    fn on_event(&mut self, token: u64, flags: EventFlags) {
        let (i, life) = ((token & 0xFFFF_FFFF) as usize, (token >> 32) as u32);
        // Taken out while it is served, so that the buffers can be used next to it.
        let Some(mut conn) = self
            .conns
            .get_mut(i)
            .and_then(|c| c.take_if(|c| c.life == life))
        else {
            return;
        };
        let mut went = Ok(());
        if flags.contains(EventFlags::OUT) && !conn.outbox.is_empty() {
            went = self.on_writable(&mut conn, i);
        }
        if went.is_ok() && flags.intersects(!EventFlags::OUT) {
            went = self.read(&mut conn, i);
        }
        match went {
            Ok(()) => self.conns[i] = Some(conn),
            Err(End::Over) => self.gone(i),
        }
    }

    fn on_writable(&mut self, conn: &mut Conn, i: usize) -> Result<(), End> {
        conn.outbox.flush(&conn.socket)?;
        self.go_on(conn, i)
    }

    fn read(&mut self, conn: &mut Conn, i: usize) -> Result<(), End> {
        loop {
            let mut buffer = mem::take(&mut self.buffer);
            let got = net::recv(&conn.socket, buffer.as_mut_slice(), RecvFlags::empty());
            let went = match got {
                Ok((0, _)) => Err(End::Over),
                Ok((n, _)) => self.on_bytes(conn, i, &buffer[..n]).map(|()| n == READ),
                Err(Errno::WOULDBLOCK) => Ok(false),
                Err(Errno::INTR) => Ok(true),
                Err(_) => Err(End::Over),
            };
            self.buffer = buffer;
            if !went? {
                return Ok(());
            }
        }
    }

    fn on_bytes(&mut self, conn: &mut Conn, i: usize, bytes: &[u8]) -> Result<(), End> {
        let Some(session) = &mut conn.tls else {
            return self.on_plain(conn, i, bytes);
        };
        let mut plain = mem::take(&mut self.plain);
        plain.clear();
        let received = session.receive(bytes, &mut plain);
        self.send_records(conn)?;
        received?;
        let went = self.on_plain(conn, i, &plain);
        self.plain = plain;
        went
    }

    fn on_plain(&mut self, conn: &mut Conn, i: usize, bytes: &[u8]) -> Result<(), End> {
        let Stage::Startup(stash) = &mut conn.stage else {
            return self.on_messages(conn, i, bytes);
        };
        stash.extend_from_slice(bytes);
        let Some(length) = stash.first_chunk().map(|l| u32::from_be_bytes(*l) as usize) else {
            return Ok(());
        };
        if !(8..=STARTUP_MAX).contains(&length) {
            return Err(End::Over);
        }
        if stash.len() < length {
            return Ok(());
        }
        let code = u32::from_be_bytes([stash[4], stash[5], stash[6], stash[7]]);
        let rest = stash.split_off(length);
        stash.clear();
        self.on_startup(conn, i, code)?;
        if rest.is_empty() {
            return Ok(());
        }
        self.on_bytes(conn, i, &rest)
    }

    fn on_startup(&mut self, conn: &mut Conn, i: usize, code: u32) -> Result<(), End> {
        match (code, &self.tls) {
            (wire::SSL_REQUEST, Some(config)) if conn.tls.is_none() => {
                conn.outbox.write(&conn.socket, b"S")?;
                conn.tls = Some(Box::new(tls::session(config)?));
                Ok(())
            }
            (wire::SSL_REQUEST | wire::GSS_REQUEST, _) => {
                Ok(conn.outbox.write(&conn.socket, b"N")?)
            }
            (wire::CANCEL_REQUEST, _) => Err(End::Over),
            (wire::VERSION.., _) => {
                conn.stage = Stage::Ready;
                self.out.clear();
                welcome(i as u32 + 1, &mut self.out);
                self.send(conn, i, 0)
            }
            _ => Err(End::Over),
        }
    }

    fn on_messages(&mut self, conn: &mut Conn, i: usize, bytes: &[u8]) -> Result<(), End> {
        if conn.session.large() {
            conn.waiting.extend_from_slice(bytes);
            return Ok(());
        }
        self.out.clear();
        let worked = conn.session.worked;
        let mut rest = bytes;
        while let Some((kind, body)) = conn
            .splitter
            .next(&mut rest, wanted)
            .map_err(|_| End::Over)?
        {
            if kind == b'X' {
                return Err(End::Over);
            }
            conn.session.answer(kind, body, &mut self.out);
            if conn.session.large() {
                conn.waiting.extend_from_slice(rest);
                break;
            }
        }
        let worked = conn.session.worked - worked;
        self.send(conn, i, worked)?;
        self.go_on(conn, i)
    }

    /// Goes on with a large result, as far as the socket takes it, and then with what came in the meantime.
    fn go_on(&mut self, conn: &mut Conn, i: usize) -> Result<(), End> {
        while conn.session.large() && conn.outbox.is_empty() {
            self.out.clear();
            conn.session.more(&mut self.out);
            self.send(conn, i, 0)?;
        }
        if conn.session.large() || conn.waiting.is_empty() {
            return Ok(());
        }
        let waiting = mem::take(&mut conn.waiting);
        self.on_messages(conn, i, &waiting)
    }

    /// Sends `out`, now or, if `worked` queries took their time, later.
    fn send(&mut self, conn: &mut Conn, i: usize, worked: u64) -> Result<(), End> {
        if self.out.is_empty() {
            return Ok(());
        }
        let late = self.delay > 0 && worked > 0;
        if !late && conn.held.is_empty() {
            let out = mem::take(&mut self.out);
            let went = self.write(conn, &out);
            self.out = out;
            return went;
        }
        let before = conn.held.back().map_or(0, |(due, _)| *due);
        let due = self.now().max(before) + if late { self.delay * worked } else { 0 };
        conn.held.push_back((due, self.out.clone()));
        self.due.push(Reverse((due, i, conn.life)));
        Ok(())
    }

    fn write(&mut self, conn: &mut Conn, bytes: &[u8]) -> Result<(), End> {
        match &mut conn.tls {
            None => Ok(conn.outbox.write(&conn.socket, bytes)?),
            Some(session) => {
                session.say(bytes);
                self.send_records(conn)
            }
        }
    }

    fn send_records(&mut self, conn: &mut Conn) -> Result<(), End> {
        if let Some(session) = &mut conn.tls {
            self.records.clear();
            session.send(&mut self.records);
            if !self.records.is_empty() {
                conn.outbox.write(&conn.socket, &self.records)?;
            }
        }
        Ok(())
    }

    /// Sends the answers whose time has come.
    fn release(&mut self) {
        while let Some(Reverse((due, i, life))) = self.due.peek().copied() {
            if due > self.now() {
                return;
            }
            self.due.pop();
            let Some(mut conn) = self
                .conns
                .get_mut(i)
                .and_then(|c| c.take_if(|c| c.life == life))
            else {
                continue;
            };
            let answer = conn
                .held
                .pop_front()
                .map_or_else(Vec::new, |(_, answer)| answer);
            match self.write(&mut conn, &answer) {
                Ok(()) => self.conns[i] = Some(conn),
                Err(End::Over) => self.gone(i),
            }
        }
    }
}

fn listen(at: SocketAddr) -> anyhow::Result<TcpListener> {
    use rustix::net::{AddressFamily, SocketType};
    let family = if at.is_ipv4() {
        AddressFamily::INET
    } else {
        AddressFamily::INET6
    };
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = net::socket_with(family, SocketType::STREAM, flags, None)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    net::bind(&socket, &at)?;
    // Storms come all at once; the kernel takes as many as it allows.
    net::listen(&socket, 65_535)?;
    Ok(TcpListener::from(socket))
}
