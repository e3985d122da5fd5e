//! One connection's TLS: records in, plain text out, and back. No sockets, no waiting.
//!
//! rustls's unbuffered API is used because an idle connection then costs 3.4 KiB instead of 7.5: the only bytes kept here
//! are those of a record that has not arrived whole.

use std::sync::Arc;

use rustls::client::{ClientConnectionData, UnbufferedClientConnection};
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncryptError, InsufficientSizeError, UnbufferedStatus,
    WriteTraffic,
};
use rustls::{CommonState, Error, ServerConfig};

use super::{ALPN_POSTGRESQL, TargetTls, end_point};
use crate::io::Arena;
use weir_core::limits::TLS_CARRY_MAX;

/// Room that a record takes beyond its payload, generously: header, content type, tag, TLS 1.2 explicit nonce.
const RECORD_OVERHEAD: usize = 64;
/// Payload of a full record.
const RECORD_PAYLOAD: usize = 16_384;
/// Room for an alert or another short record.
const SHORT_RECORD: usize = 128;

/// TLS state of a connection.
pub(crate) struct Session {
    side: Side,
    /// Bytes of a record or handshake message that is not whole yet; no allocation when there are none.
    ///
    /// rustls remembers where in these bytes a handshake message began and panics when it is called with other ones: every
    /// call must be given exactly what is left of the call before.
    carry: Vec<u8>,
    peer_closed: bool,
    /// There was an error; rustls must not be called any more.
    broken: bool,
}

enum Side {
    Server(UnbufferedServerConnection),
    Client(UnbufferedClientConnection),
}

impl Session {
    pub(crate) fn server(config: Arc<ServerConfig>) -> Result<Session, Error> {
        let side = UnbufferedServerConnection::new(config)?;
        Ok(Session::new(Side::Server(side)))
    }

    pub(crate) fn client(target: &TargetTls) -> Result<Session, Error> {
        let side = UnbufferedClientConnection::new(target.config.clone(), target.name.clone())?;
        Ok(Session::new(Side::Client(side)))
    }

    fn new(side: Side) -> Session {
        Session {
            side,
            carry: Vec::new(),
            peer_closed: false,
            broken: false,
        }
    }

    /// Keeps bytes for a later [`Session::read`].
    pub(crate) fn keep(&mut self, incoming: &[u8]) -> Result<(), Error> {
        if self.carry.len() + incoming.len() > TLS_CARRY_MAX {
            return Err(Error::General(format!(
                "more than {TLS_CARRY_MAX} bytes wait for a handshake"
            )));
        }
        self.carry.extend_from_slice(incoming);
        Ok(())
    }

    /// Takes in bytes from the peer (and those kept before them): plain text goes to `plain`, answers of TLS itself to `out`,
    /// also when there is an error (then it is the alert).
    pub(crate) fn read(
        &mut self,
        incoming: &mut [u8],
        plain: &mut Vec<u8>,
        out: &mut Arena,
    ) -> Result<(), Error> {
        if self.peer_closed || self.broken {
            return Ok(());
        }
        if self.carry.is_empty() {
            let used = self.pump(incoming, plain, out)?;
            let rest = incoming.get(used..).unwrap_or_default();
            if !rest.is_empty() {
                self.carry = rest.to_vec();
            }
            return Ok(());
        }
        self.keep(incoming)?;
        let mut carry = std::mem::take(&mut self.carry);
        let used = self.pump(&mut carry, plain, out)?;
        if used < carry.len() {
            carry.drain(..used);
            self.carry = carry;
        }
        Ok(())
    }

    fn pump(
        &mut self,
        incoming: &mut [u8],
        plain: &mut Vec<u8>,
        out: &mut Arena,
    ) -> Result<usize, Error> {
        let mut pumped = Pumped::default();
        let done = match &mut self.side {
            Side::Server(side) => pump(side, incoming, plain, out, &mut pumped),
            Side::Client(side) => pump(side, incoming, plain, out, &mut pumped),
        };
        self.peer_closed |= pumped.peer_closed;
        if let Err(error) = done {
            self.broken = true;
            self.carry = Vec::new();
            let rest = incoming.get_mut(pumped.used..).unwrap_or_default();
            match &mut self.side {
                Side::Server(side) => alert(side, rest, out),
                Side::Client(side) => alert(side, rest, out),
            }
            return Err(error);
        }
        Ok(pumped.used)
    }

    /// Encrypts `plain` to the end of `out`.
    pub(crate) fn encrypt(&mut self, plain: &[u8], out: &mut Arena) -> Result<(), Error> {
        if self.broken {
            return Err(Error::HandshakeNotComplete);
        }
        let done = match &mut self.side {
            Side::Server(side) => encrypt(side, &mut self.carry, plain, out),
            Side::Client(side) => encrypt(side, &mut self.carry, plain, out),
        };
        self.broken |= done.is_err();
        done
    }

    /// Writes a close_notify to the end of `out`, if the handshake has come far enough. The last call of all.
    pub(crate) fn close_notify(&mut self, out: &mut Arena) {
        if self.broken {
            return;
        }
        self.broken = true;
        match &mut self.side {
            Side::Server(side) => close_notify(side, &mut self.carry, out),
            Side::Client(side) => close_notify(side, &mut self.carry, out),
        }
    }

    pub(crate) fn is_handshaking(&self) -> bool {
        self.common().is_handshaking()
    }

    /// The peer has said that it sends nothing more.
    pub(crate) fn peer_closed(&self) -> bool {
        self.peer_closed
    }

    /// No part of a record waits here.
    pub(crate) fn is_between_records(&self) -> bool {
        self.carry.is_empty()
    }

    pub(crate) fn alpn_postgresql(&self) -> bool {
        self.common().alpn_protocol() == Some(ALPN_POSTGRESQL)
    }

    /// Channel binding data of the server's certificate, where weir is the client.
    pub(crate) fn peer_end_point(&self) -> Option<Vec<u8>> {
        let Side::Client(side) = &self.side else {
            return None;
        };
        end_point(side.peer_certificates()?.first()?)
    }

    fn common(&self) -> &CommonState {
        match &self.side {
            Side::Server(side) => side,
            Side::Client(side) => side,
        }
    }
}

/// What rustls has twice, once for each side.
trait Records {
    type Data;
    fn advance<'c, 'i>(
        &'c mut self,
        incoming: &'i mut [u8],
    ) -> UnbufferedStatus<'c, 'i, Self::Data>;
}

impl Records for UnbufferedServerConnection {
    type Data = ServerConnectionData;
    fn advance<'c, 'i>(
        &'c mut self,
        incoming: &'i mut [u8],
    ) -> UnbufferedStatus<'c, 'i, Self::Data> {
        self.process_tls_records(incoming)
    }
}

impl Records for UnbufferedClientConnection {
    type Data = ClientConnectionData;
    fn advance<'c, 'i>(
        &'c mut self,
        incoming: &'i mut [u8],
    ) -> UnbufferedStatus<'c, 'i, Self::Data> {
        self.process_tls_records(incoming)
    }
}

#[derive(Default)]
struct Pumped {
    used: usize,
    peer_closed: bool,
}

fn pump<C: Records>(
    conn: &mut C,
    incoming: &mut [u8],
    plain: &mut Vec<u8>,
    out: &mut Arena,
    pumped: &mut Pumped,
) -> Result<(), Error> {
    loop {
        let rest = incoming.get_mut(pumped.used..).unwrap_or_default();
        let UnbufferedStatus { discard, state } = conn.advance(rest);
        // Also where there is an error.
        pumped.used += discard;
        match state? {
            ConnectionState::ReadTraffic(mut traffic) => {
                while let Some(record) = traffic.next_record() {
                    let record = record?;
                    pumped.used += record.discard;
                    plain.extend_from_slice(record.payload);
                }
            }
            ConnectionState::EncodeTlsData(mut data) => {
                encode(out, |free| data.encode(free))?;
            }
            ConnectionState::TransmitTlsData(data) => data.done(),
            ConnectionState::PeerClosed => pumped.peer_closed = true,
            ConnectionState::ReadEarlyData(_) => {
                return Err(Error::General("early data was not offered".to_owned()));
            }
            _ => return Ok(()),
        }
    }
}

/// After an error: what rustls has to say to the peer about it.
fn alert<C: Records>(conn: &mut C, rest: &mut [u8], out: &mut Arena) {
    // It is the first thing that rustls says, if it has anything to say; the error itself has been reported.
    if let Ok(ConnectionState::EncodeTlsData(mut data)) = conn.advance(rest).state {
        let _ = encode(out, |free| data.encode(free));
    }
}

/// Writes what rustls has ready.
fn encode(
    out: &mut Arena,
    mut encode: impl FnMut(&mut [u8]) -> Result<usize, EncodeError>,
) -> Result<(), Error> {
    let mut room = SHORT_RECORD;
    loop {
        match out.write(room, &mut encode) {
            Ok(()) => return Ok(()),
            Err(EncodeError::InsufficientSize(InsufficientSizeError { required_size })) => {
                room = required_size;
            }
            Err(error) => return Err(Error::General(error.to_string())),
        }
    }
}

/// Calls `write` when rustls is ready to send; what it has to say itself goes first. Whole records have all been read, so that
/// `carry` has nothing new for it.
fn when_writable<C: Records>(
    conn: &mut C,
    carry: &mut Vec<u8>,
    out: &mut Arena,
    mut write: impl FnMut(WriteTraffic<'_, C::Data>, &mut Arena) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut used = 0;
    let done = loop {
        let rest = carry.get_mut(used..).unwrap_or_default();
        let UnbufferedStatus { discard, state } = conn.advance(rest);
        used += discard;
        match state {
            Ok(ConnectionState::WriteTraffic(traffic)) => break write(traffic, out),
            Ok(ConnectionState::EncodeTlsData(mut data)) => {
                if let Err(error) = encode(out, |free| data.encode(free)) {
                    break Err(error);
                }
            }
            Ok(ConnectionState::TransmitTlsData(data)) => data.done(),
            Ok(ConnectionState::PeerClosed) => {}
            Ok(_) => break Err(Error::HandshakeNotComplete),
            Err(error) => break Err(error),
        }
    };
    carry.drain(..used.min(carry.len()));
    done
}

fn encrypt<C: Records>(
    conn: &mut C,
    carry: &mut Vec<u8>,
    plain: &[u8],
    out: &mut Arena,
) -> Result<(), Error> {
    when_writable(conn, carry, out, |mut traffic, out| {
        let records = plain.len() / RECORD_PAYLOAD + 1;
        let mut room = plain.len() + records * RECORD_OVERHEAD + SHORT_RECORD;
        loop {
            match out.write(room, |free| traffic.encrypt(plain, free)) {
                Ok(()) => return Ok(()),
                Err(EncryptError::InsufficientSize(e)) => room = e.required_size,
                Err(error) => return Err(Error::General(error.to_string())),
            }
        }
    })
}

fn close_notify<C: Records>(conn: &mut C, carry: &mut Vec<u8>, out: &mut Arena) {
    // Where the alert can't be written the FIN that follows says the same.
    let _ = when_writable(conn, carry, out, |mut traffic, out| {
        let _ = out.write(SHORT_RECORD, |free| traffic.queue_close_notify(free));
        Ok(())
    });
}
