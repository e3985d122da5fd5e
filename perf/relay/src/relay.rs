//! The relay: a request borrows a server connection, its ReadyForQuery gives it back. Nothing else of the protocol is
//! looked at, and an answer that a socket does not take at once ends the program: this is a floor, not a proxy.

use std::collections::VecDeque;
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd};

use anyhow::{Context, Result, bail};

use crate::frames::Frames;
use crate::ring::{Done, Kind, Ring, accepted};

/// AuthenticationOk, what drivers insist on, ReadyForQuery.
const HELLO: &[u8] = b"R\0\0\0\x08\0\0\0\0\
    S\0\0\0\x18server_version\x0015.0\0S\0\0\0\x19client_encoding\0UTF8\0\
    S\0\0\0\x17DateStyle\0ISO, MDY\0S\0\0\0\x23standard_conforming_strings\0on\0\
    K\0\0\0\x0c\0\0\0\x01\0\0\0\x01Z\0\0\0\x05I";

const SSL_REQUEST: u32 = 80_877_103;
const CANCEL_REQUEST: u32 = 80_877_102;

struct Client {
    socket: TcpStream,
    frames: Frames,
    started: bool,
    backend: Option<usize>,
    /// What it sent while no server connection was free.
    waiting: Vec<u8>,
}

struct Backend {
    socket: TcpStream,
    frames: Frames,
    /// Who borrows it; none is left of a client that has gone.
    client: Option<usize>,
    /// ReadyForQuery still to come.
    owed: u32,
}

/// The relay's state.
pub struct Relay {
    ring: Ring,
    listener: TcpListener,
    clients: Vec<Option<Client>>,
    free: Vec<usize>,
    backends: Vec<Backend>,
    idle: Vec<usize>,
    queue: VecDeque<usize>,
    /// Receives that ended for want of a buffer.
    starved: Vec<(Kind, u32)>,
}

impl Relay {
    /// Logged-in server connections, and where clients come in. To be made on the thread that runs it.
    pub fn new(listener: TcpListener, backends: Vec<TcpStream>) -> Result<Relay> {
        let mut ring = Ring::new().context("io_uring (Linux 6.1, allowed by the container)")?;
        ring.accept(listener.as_fd())?;
        for (number, socket) in (0..).zip(&backends) {
            ring.receive(socket.as_fd(), Kind::Backend, number)?;
        }
        let backends: Vec<Backend> = backends
            .into_iter()
            .map(|socket| Backend {
                socket,
                frames: Frames::default(),
                client: None,
                owed: 0,
            })
            .collect();
        Ok(Relay {
            ring,
            listener,
            clients: Vec::new(),
            free: Vec::new(),
            idle: (0..backends.len()).collect(),
            backends,
            queue: VecDeque::new(),
            starved: Vec::new(),
        })
    }

    /// Runs until something goes wrong.
    pub fn run(mut self) -> Result<()> {
        let mut done = Vec::new();
        loop {
            if !self.starved.is_empty() {
                self.ring.flush()?;
                for (kind, tag) in std::mem::take(&mut self.starved) {
                    self.receive(kind, tag)?;
                }
            }
            self.ring.wait(&mut done)?;
            for one in done.drain(..) {
                self.handle(&one)?;
            }
        }
    }

    fn handle(&mut self, done: &Done) -> Result<()> {
        match done.kind {
            Kind::Accept => self.accepted(done),
            Kind::Send => not_sent(done),
            Kind::Client | Kind::Backend => self.received(done),
        }
    }

    fn accepted(&mut self, done: &Done) -> Result<()> {
        if !done.more {
            self.ring.accept(self.listener.as_fd())?;
        }
        let Some(fd) = accepted(done) else {
            return Ok(());
        };
        let socket = TcpStream::from(fd);
        socket.set_nodelay(true)?;
        let slot = self.free.pop().unwrap_or(self.clients.len());
        self.ring
            .receive(socket.as_fd(), Kind::Client, slot as u32)?;
        let client = Some(Client {
            socket,
            frames: Frames::default(),
            started: false,
            backend: None,
            waiting: Vec::new(),
        });
        match self.clients.get_mut(slot) {
            Some(place) => *place = client,
            None => self.clients.push(client),
        }
        Ok(())
    }

    fn received(&mut self, done: &Done) -> Result<()> {
        let slot = done.tag as usize;
        if let (Some(buffer), Ok(len)) = (done.buffer, usize::try_from(done.result)) {
            if done.kind == Kind::Client {
                self.client_sent(slot, buffer, len)?;
            } else {
                self.backend_sent(slot, buffer, len)?;
            }
            if !done.more {
                self.receive(done.kind, done.tag)?;
            }
        } else if done.result == -libc::ENOBUFS {
            self.starved.push((done.kind, done.tag));
        } else if done.kind == Kind::Backend {
            bail!("the server has closed a connection ({})", done.result);
        } else {
            self.gone(slot);
        }
        Ok(())
    }

    fn receive(&mut self, kind: Kind, tag: u32) -> Result<()> {
        let slot = tag as usize;
        let socket = if kind == Kind::Client {
            self.clients
                .get(slot)
                .and_then(|c| c.as_ref())
                .map(|c| &c.socket)
        } else {
            self.backends.get(slot).map(|b| &b.socket)
        };
        if let Some(socket) = socket {
            self.ring.receive(socket.as_fd(), kind, tag)?;
        }
        Ok(())
    }

    /// The receive has ended, so nothing of the kernel's points to the slot any more (silent sends are over too).
    fn gone(&mut self, slot: usize) {
        let Some(client) = self.clients.get_mut(slot).and_then(Option::take) else {
            return;
        };
        self.free.push(slot);
        self.queue.retain(|waiting| *waiting != slot);
        if let Some(backend) = client.backend.and_then(|b| self.backends.get_mut(b)) {
            backend.client = None;
        }
    }

    fn client_sent(&mut self, slot: usize, buffer: u16, len: usize) -> Result<()> {
        let bytes = self.ring.bytes(buffer, len);
        let Some(client) = self.clients.get_mut(slot).and_then(Option::as_mut) else {
            self.ring.give_back(buffer);
            return Ok(());
        };
        if !client.started {
            let answer = startup(client, bytes)?;
            let fd = client.socket.as_raw_fd();
            self.ring.give_back(buffer);
            self.ring.send_static(fd, answer, slot as u32)?;
            return Ok(());
        }
        // Terminate: the client's FIN follows.
        if client.frames.between() && bytes.first() == Some(&b'X') {
            self.ring.give_back(buffer);
            return Ok(());
        }
        let ends = client.frames.count(bytes, *b"QS");
        let Some(number) = client.backend.or_else(|| self.idle.pop()) else {
            if client.waiting.is_empty() {
                self.queue.push_back(slot);
            }
            client.waiting.extend_from_slice(bytes);
            self.ring.give_back(buffer);
            return Ok(());
        };
        client.backend = Some(number);
        let backend = self.backends.get_mut(number).context("a backend")?;
        backend.client = Some(slot);
        backend.owed += ends;
        self.ring
            .send(backend.socket.as_raw_fd(), buffer, len, number as u32)?;
        self.ring.give_back_after_send(buffer);
        Ok(())
    }

    fn backend_sent(&mut self, number: usize, buffer: u16, len: usize) -> Result<()> {
        let backend = self.backends.get_mut(number).context("a backend")?;
        let ready = backend.frames.count(self.ring.bytes(buffer, len), *b"ZZ");
        backend.owed = backend.owed.saturating_sub(ready);
        let free = backend.owed == 0 && ready > 0 && backend.frames.between();
        let slot = backend.client;
        let client = slot.and_then(|s| self.clients.get_mut(s)?.as_mut());
        match client {
            Some(client) => {
                if free {
                    client.backend = None;
                }
                self.ring.send(
                    client.socket.as_raw_fd(),
                    buffer,
                    len,
                    slot.unwrap_or(0) as u32,
                )?;
                self.ring.give_back_after_send(buffer);
            }
            None => self.ring.give_back(buffer),
        }
        if free {
            self.next(number)?;
        }
        Ok(())
    }

    /// A server connection has come free: for who waits longest, or for the pool.
    fn next(&mut self, number: usize) -> Result<()> {
        let backend = self.backends.get_mut(number).context("a backend")?;
        backend.client = None;
        let Some(slot) = self.queue.pop_front() else {
            self.idle.push(number);
            return Ok(());
        };
        let client = self.clients.get_mut(slot).and_then(Option::as_mut);
        let client = client.context("a waiting client")?;
        client.backend = Some(number);
        backend.client = Some(slot);
        // Counted again from its start: a request that waits began between two messages.
        backend.owed = Frames::default().count(&client.waiting, *b"QS");
        let request = std::mem::take(&mut client.waiting);
        // Rare beside the path without waiting: one write of a few bytes into an idle connection.
        std::io::Write::write_all(&mut &backend.socket, &request)?;
        Ok(())
    }
}

/// What a client's first bytes are answered with.
fn startup(client: &mut Client, bytes: &[u8]) -> Result<&'static [u8]> {
    let word = |from: usize| -> Option<u32> {
        let word = bytes.get(from..from + 4)?.try_into().ok()?;
        Some(u32::from_be_bytes(word))
    };
    match (word(0), word(4)) {
        (_, Some(SSL_REQUEST)) => Ok(b"N"),
        (_, Some(CANCEL_REQUEST)) => bail!("this relay can't cancel"),
        (Some(length), Some(_)) if length as usize == bytes.len() => {
            client.started = true;
            Ok(HELLO)
        }
        _ => bail!("a startup packet came in parts, or with more behind it"),
    }
}

/// A peer that has gone is no failure; a full socket is one, since this relay keeps nothing.
fn not_sent(done: &Done) -> Result<()> {
    match -done.result {
        libc::EPIPE | libc::ECONNRESET => Ok(()),
        _ => bail!(
            "a socket did not take everything at once ({}): this relay is for small answers to clients that read",
            done.result
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;

    const QUERY: &[u8] = b"Q\0\0\0\x0dselect 1\0";
    const ANSWER: &[u8] = b"D\0\0\0\x0b\0\x01\0\0\0\x011C\0\0\0\x0dSELECT 1\0Z\0\0\0\x05I";

    /// A relay with two server connections; the server's ends.
    fn relay() -> (std::net::SocketAddr, Vec<TcpStream>) {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let pairs: Vec<(TcpStream, TcpStream)> = (0..2)
            .map(|_| {
                let near = TcpStream::connect(server.local_addr().unwrap()).unwrap();
                (near, server.accept().unwrap().0)
            })
            .collect();
        let (near, far): (Vec<_>, Vec<_>) = pairs.into_iter().unzip();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || Relay::new(listener, near).unwrap().run());
        (address, far)
    }

    fn client(address: std::net::SocketAddr) -> TcpStream {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(b"\0\0\0\x08\x04\xd2\x16\x2f").unwrap();
        let mut no = [0];
        stream.read_exact(&mut no).unwrap();
        assert_eq!(&no, b"N");
        stream
            .write_all(b"\0\0\0\x12\0\x03\0\0user\0app\0\0")
            .unwrap();
        let mut hello = vec![0; HELLO.len()];
        stream.read_exact(&mut hello).unwrap();
        let mut frames = Frames::default();
        assert_eq!(frames.count(&hello, *b"ZZ"), 1);
        assert!(frames.between());
        stream
    }

    fn serve(stream: &mut TcpStream) {
        let mut query = [0; 14];
        stream.read_exact(&mut query).unwrap();
        assert_eq!(query, QUERY);
        let (first, second) = ANSWER.split_at(20);
        stream.write_all(first).unwrap();
        std::thread::sleep(std::time::Duration::from_millis(2));
        stream.write_all(second).unwrap();
    }

    #[test]
    fn three_clients_share_two_connections() {
        let (address, backends) = relay();
        for mut backend in backends {
            std::thread::spawn(move || {
                loop {
                    serve(&mut backend);
                }
            });
        }
        for _ in 0..2 {
            let mut clients: Vec<TcpStream> = (0..3).map(|_| client(address)).collect();
            for _ in 0..20 {
                for client in &mut clients {
                    client.write_all(QUERY).unwrap();
                }
                for client in &mut clients {
                    let mut answer = [0; ANSWER.len()];
                    client.read_exact(&mut answer).unwrap();
                    assert_eq!(answer, ANSWER);
                }
            }
            for client in &mut clients {
                client.write_all(b"X\0\0\0\x04").unwrap();
            }
        }
    }
}
