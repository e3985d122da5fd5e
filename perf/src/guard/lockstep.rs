//! Clients and a server in lock step around a real weir: all clients send, then the server answers all, then all clients
//! read. One thread is both sides, so what weir does per query does not depend on how fast they are.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use weir_core::auth::md5;

/// Who logs in, everywhere.
pub const USER: &str = "app";
/// With what; for a server that takes anyone.
pub const PASSWORD: &str = "lock-step";

/// Longest wait for anything: valgrind makes weir slow, but not this slow.
const PATIENCE: Duration = Duration::from_secs(30);

/// What one transaction is on the wire.
#[derive(Clone, Copy, Debug)]
pub struct Talk {
    /// Sent once by every client before the first round, and what the server answers.
    pub before: Option<(&'static [u8], &'static [u8])>,
    /// The request of every round.
    pub request: &'static [u8],
    /// Its answer.
    pub answer: &'static [u8],
}

/// `select 1`-like with the simple protocol.
pub const SIMPLE: Talk = Talk {
    before: None,
    request: b"Q\0\0\0\x1bselect 1 from accounts\0",
    answer: b"T\0\0\0\x06\0\0D\0\0\0\x0b\0\x01\0\0\0\x011C\0\0\0\x0dSELECT 1\0Z\0\0\0\x05I",
};

/// A named statement, prepared once; each round is Bind, Execute, Sync.
pub const PREPARED: Talk = Talk {
    before: Some((
        b"P\0\0\0\x12s1\0select 1\0\0\0S\0\0\0\x04",
        b"1\0\0\0\x04Z\0\0\0\x05I",
    )),
    request: b"B\0\0\0\x0e\0s1\0\0\0\0\0\0\0E\0\0\0\x09\0\0\0\0\0S\0\0\0\x04",
    answer: b"2\0\0\0\x04D\0\0\0\x0b\0\x01\0\0\0\x011C\0\0\0\x0dSELECT 1\0Z\0\0\0\x05I",
};

/// The server's side before weir has connected.
pub struct Server(TcpListener);

impl Server {
    /// Listens on a free port.
    pub fn listen() -> Result<Server> {
        Ok(Server(TcpListener::bind("127.0.0.1:0")?))
    }

    /// Where weir is to connect.
    pub fn address(&self) -> Result<SocketAddr> {
        Ok(self.0.local_addr()?)
    }

    /// Accepts so many connections from weir and logs each in.
    fn accept(&self, connections: usize) -> Result<Vec<TcpStream>> {
        self.0.set_nonblocking(true)?;
        let deadline = Instant::now() + PATIENCE;
        let mut accepted = Vec::new();
        while accepted.len() < connections {
            match self.0.accept() {
                Ok((stream, _)) => accepted.push(greeted(stream)?),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    ensure!(
                        Instant::now() < deadline,
                        "weir has opened {} server connections of {connections}",
                        accepted.len()
                    );
                    std::thread::sleep(Duration::from_millis(2));
                }
                Err(error) => return Err(error).context("accept"),
            }
        }
        Ok(accepted)
    }
}

fn greeted(stream: TcpStream) -> Result<TcpStream> {
    stream.set_nonblocking(false)?;
    let mut stream = prepared(stream)?;
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let rest = (u32::from_be_bytes(length) as usize).saturating_sub(4);
    ensure!(rest < 10_000, "no startup packet");
    stream.read_exact(&mut vec![0; rest])?;
    stream.write_all(
        b"R\0\0\0\x08\0\0\0\0S\0\0\0\x11TimeZone\0UTC\0K\0\0\0\x0c\0\0\0\x07\0\0\0\x09Z\0\0\0\x05I",
    )?;
    Ok(stream)
}

fn prepared(stream: TcpStream) -> Result<TcpStream> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// As many clients as server connections, all logged in.
pub struct LockStep {
    clients: Vec<TcpStream>,
    backends: Vec<TcpStream>,
    buffer: Vec<u8>,
}

impl LockStep {
    /// Waits for weir's server connections, then connects and logs in as many clients.
    pub fn new(server: &Server, weir: SocketAddr, width: usize) -> Result<LockStep> {
        let backends = server.accept(width).context("the server's side")?;
        let clients: Result<Vec<TcpStream>> = (0..width).map(|_| client(weir)).collect();
        Ok(LockStep {
            clients: clients.context("the clients' side")?,
            backends,
            buffer: vec![0; 4096],
        })
    }

    /// Does what a talk needs before its rounds.
    pub fn begin(&mut self, talk: &Talk) -> Result<()> {
        match talk.before {
            Some((request, answer)) => self.round(request, answer),
            None => Ok(()),
        }
    }

    /// So many rounds; a round is one query of every client.
    pub fn rounds(&mut self, talk: &Talk, rounds: usize) -> Result<()> {
        for _ in 0..rounds {
            self.round(talk.request, talk.answer)?;
        }
        Ok(())
    }

    fn round(&mut self, request: &[u8], answer: &[u8]) -> Result<()> {
        for client in &mut self.clients {
            client.write_all(request)?;
        }
        for backend in &mut self.backends {
            read_request(backend, &mut self.buffer).context("weir passed no request on")?;
        }
        for backend in &mut self.backends {
            backend.write_all(answer)?;
        }
        for client in &mut self.clients {
            let got = self
                .buffer
                .get_mut(..answer.len())
                .context("a long answer")?;
            client.read_exact(got).context("weir passed no answer on")?;
            ensure!(got == answer, "an answer was changed on its way");
        }
        Ok(())
    }
}

/// Reads until a message that ends a request (Query or Sync) is complete.
fn read_request(stream: &mut TcpStream, buffer: &mut [u8]) -> Result<()> {
    let mut have = 0;
    loop {
        let free = buffer.get_mut(have..).unwrap_or_default();
        let more = stream.read(free)?;
        ensure!(more > 0, "closed, or too long");
        have += more;
        if ends_a_request(buffer.get(..have).unwrap_or_default()) {
            return Ok(());
        }
    }
}

fn ends_a_request(mut bytes: &[u8]) -> bool {
    while let [kind, a, b, c, d, ..] = bytes {
        let length = u32::from_be_bytes([*a, *b, *c, *d]) as usize + 1;
        match bytes.get(length..) {
            Some([]) => return matches!(kind, b'Q' | b'S'),
            Some(rest) => bytes = rest,
            None => return false,
        }
    }
    false
}

fn client(weir: SocketAddr) -> Result<TcpStream> {
    let mut stream = prepared(TcpStream::connect(weir)?)?;
    let mut startup = b"\0\0\0\0\0\x03\0\0".to_vec();
    for word in ["user", USER, "database", USER] {
        startup.extend_from_slice(word.as_bytes());
        startup.push(0);
    }
    startup.push(0);
    let length = u32::try_from(startup.len())?.to_be_bytes();
    startup[..4].copy_from_slice(&length);
    stream.write_all(&startup)?;
    loop {
        let (kind, body) = message(&mut stream)?;
        match (kind, body.as_slice()) {
            (b'R', [0, 0, 0, 5, salt @ ..]) => {
                let salt = salt.try_into().context("a salt has four bytes")?;
                let answer = md5::answer(PASSWORD.as_bytes(), USER.as_bytes(), salt);
                stream.write_all(b"p\0\0\0\x28")?;
                stream.write_all(&answer)?;
                stream.write_all(&[0])?;
            }
            (b'Z', _) => return Ok(stream),
            (b'E', text) => bail!(
                "refused: {}",
                String::from_utf8_lossy(text).replace('\0', " ")
            ),
            _ => {}
        }
    }
}

fn message(stream: &mut TcpStream) -> Result<(u8, Vec<u8>)> {
    let mut head = [0; 5];
    stream.read_exact(&mut head)?;
    let [kind, length @ ..] = head;
    let length = (u32::from_be_bytes(length) as usize).saturating_sub(4);
    ensure!(length < 100_000, "a message of {length} bytes in a login");
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    Ok((kind, body))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_ends_with_query_or_sync_alone() {
        assert!(ends_a_request(SIMPLE.request));
        assert!(ends_a_request(PREPARED.request));
        assert!(ends_a_request(PREPARED.before.unwrap().0));
        let short = PREPARED.request.len() - 1;
        assert!(!ends_a_request(&PREPARED.request[..short]));
        assert!(!ends_a_request(&PREPARED.request[..15]));
        assert!(!ends_a_request(b""));
    }

    #[test]
    fn without_a_proxy_between_them_nothing_is_lost() {
        let server = Server::listen().unwrap();
        let address = server.address().unwrap();
        let clients: Vec<TcpStream> = (0..3)
            .map(|_| prepared(TcpStream::connect(address).unwrap()).unwrap())
            .collect();
        let backends = clients
            .iter()
            .map(|_| prepared(server.0.accept().unwrap().0).unwrap());
        let mut steps = LockStep {
            backends: backends.collect(),
            clients,
            buffer: vec![0; 4096],
        };
        steps.begin(&PREPARED).unwrap();
        steps.rounds(&PREPARED, 5).unwrap();
    }
}
