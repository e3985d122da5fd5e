//! The login at the server, before the ring is there: by trust, up to the first ReadyForQuery.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use anyhow::{Result, bail, ensure};

/// A logged-in connection.
pub fn log_in(to: SocketAddr, user: &str) -> Result<TcpStream> {
    let mut stream = TcpStream::connect(to)?;
    stream.set_nodelay(true)?;
    let mut startup = vec![0, 0, 0, 0, 0, 3, 0, 0];
    for word in ["user", user, "database", user] {
        startup.extend_from_slice(word.as_bytes());
        startup.push(0);
    }
    startup.push(0);
    let length = u32::try_from(startup.len())?.to_be_bytes();
    startup[..4].copy_from_slice(&length);
    stream.write_all(&startup)?;
    loop {
        let mut head = [0; 5];
        stream.read_exact(&mut head)?;
        let [kind, length @ ..] = head;
        let length = (u32::from_be_bytes(length) as usize).saturating_sub(4);
        ensure!(length < 100_000, "no server of PostgreSQL's protocol");
        let mut body = vec![0; length];
        stream.read_exact(&mut body)?;
        match (kind, body.as_slice()) {
            (b'Z', _) => return Ok(stream),
            (b'R', [0, 0, 0, 0]) => {}
            (b'R', _) => bail!("it asks for a password; this relay has none"),
            (b'E', text) => bail!("{}", String::from_utf8_lossy(text).replace('\0', " ")),
            _ => {}
        }
    }
}
