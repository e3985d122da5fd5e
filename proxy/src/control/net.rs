//! The few calls on sockets that the metrics page needs, on tokio-uring or on tokio.

use std::io;
use std::net::Shutdown;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Accepts.
pub(super) enum Listener {
    Uring(tokio_uring::net::TcpListener),
    Tokio(tokio::net::TcpListener),
}

/// A connection.
pub(super) enum Stream {
    Uring(tokio_uring::net::TcpStream),
    Tokio(tokio::net::TcpStream),
}

impl Listener {
    pub(super) fn new(socket: std::net::TcpListener, uring: bool) -> io::Result<Listener> {
        if uring {
            return Ok(Listener::Uring(tokio_uring::net::TcpListener::from_std(
                socket,
            )));
        }
        socket.set_nonblocking(true)?;
        tokio::net::TcpListener::from_std(socket).map(Listener::Tokio)
    }

    pub(super) async fn accept(&self) -> io::Result<Stream> {
        match self {
            Listener::Uring(listener) => listener.accept().await.map(|(s, _)| Stream::Uring(s)),
            Listener::Tokio(listener) => listener.accept().await.map(|(s, _)| Stream::Tokio(s)),
        }
    }
}

impl Stream {
    /// Appends at most `most` bytes to `to`; fewer than one is the end.
    pub(super) async fn read(&mut self, to: &mut Vec<u8>, most: usize) -> io::Result<usize> {
        let buffer = vec![0; most];
        let (result, buffer) = match self {
            Stream::Uring(stream) => stream.read(buffer).await,
            Stream::Tokio(stream) => {
                let mut buffer = buffer;
                (stream.read(&mut buffer).await, buffer)
            }
        };
        let count = result?;
        to.extend_from_slice(buffer.get(..count).unwrap_or_default());
        Ok(count)
    }

    pub(super) async fn write_all(&mut self, bytes: Vec<u8>) -> io::Result<()> {
        match self {
            Stream::Uring(stream) => stream.write_all(bytes).await.0,
            Stream::Tokio(stream) => stream.write_all(&bytes).await,
        }
    }

    /// Ends it, so that an operation that the kernel still holds comes back; without this a silent peer would keep the
    /// descriptor of a dropped tokio-uring stream.
    pub(super) fn end(self) {
        match self {
            Stream::Uring(stream) => drop(stream.shutdown(Shutdown::Both)),
            Stream::Tokio(stream) => drop(stream),
        }
    }
}
