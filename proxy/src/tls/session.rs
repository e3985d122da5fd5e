//! One connection's TLS: records in, plain text out, and back. No sockets, no waiting.
//!
//! rustls's unbuffered API is used because an idle connection then costs 3.4 KiB instead of 7.5: the only bytes kept here
//! are those of a record that has not arrived whole.

use std::sync::Arc;

use rustls::client::{ClientConnectionData, UnbufferedClientConnection};
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncryptError, InsufficientSizeError, UnbufferedStatus,
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
    carry: Vec<u8>,
    peer_closed: bool,
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
        if self.peer_closed {
            return Ok(());
        }
        if self.carry.is_empty() {
            let used = self.pump(incoming, plain, out)?;
            let rest = incoming.get(used..).unwrap_or_default();
            if !self.peer_closed && !rest.is_empty() {
                self.carry = rest.to_vec();
            }
            return Ok(());
        }
        self.keep(incoming)?;
        let mut carry = std::mem::take(&mut self.carry);
        let used = self.pump(&mut carry, plain, out)?;
        if used < carry.len() && !self.peer_closed {
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
        let done = match &mut self.side {
            Side::Server(side) => pump(side, incoming, plain, out),
            Side::Client(side) => pump(side, incoming, plain, out),
        };
        match done {
            Ok(pumped) => {
                self.peer_closed |= pumped.peer_closed;
                Ok(pumped.used)
            }
            Err(error) => {
                self.carry = Vec::new();
                self.alert(out);
                Err(error)
            }
        }
    }

    /// After an error: what rustls has to say to the peer about it.
    fn alert(&mut self, out: &mut Arena) {
        // The error itself has been reported; a second one while writing the alert adds nothing.
        let mut plain = Vec::new();
        let _ = match &mut self.side {
            Side::Server(side) => pump(side, &mut [], &mut plain, out),
            Side::Client(side) => pump(side, &mut [], &mut plain, out),
        };
    }

    /// Encrypts `plain` to the end of `out`.
    pub(crate) fn encrypt(&mut self, plain: &[u8], out: &mut Arena) -> Result<(), Error> {
        match &mut self.side {
            Side::Server(side) => encrypt(side, plain, out),
            Side::Client(side) => encrypt(side, plain, out),
        }
    }

    /// Writes a close_notify to the end of `out`, if the handshake has come far enough.
    pub(crate) fn close_notify(&mut self, out: &mut Arena) {
        match &mut self.side {
            Side::Server(side) => close_notify(side, out),
            Side::Client(side) => close_notify(side, out),
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

struct Pumped {
    used: usize,
    peer_closed: bool,
}

fn pump<C: Records>(
    conn: &mut C,
    incoming: &mut [u8],
    plain: &mut Vec<u8>,
    out: &mut Arena,
) -> Result<Pumped, Error> {
    let mut pumped = Pumped {
        used: 0,
        peer_closed: false,
    };
    loop {
        let rest = incoming.get_mut(pumped.used..).unwrap_or_default();
        let UnbufferedStatus { discard, state } = conn.advance(rest);
        let more = match state? {
            ConnectionState::ReadTraffic(mut traffic) => {
                while let Some(record) = traffic.next_record() {
                    plain.extend_from_slice(record?.payload);
                }
                true
            }
            ConnectionState::EncodeTlsData(mut data) => {
                let mut room = SHORT_RECORD;
                while let Err(error) = out.write(room, |free| data.encode(free)) {
                    room = required(error)?;
                }
                true
            }
            ConnectionState::TransmitTlsData(data) => {
                data.done();
                true
            }
            ConnectionState::PeerClosed => {
                pumped.peer_closed = true;
                true
            }
            ConnectionState::ReadEarlyData(_) => {
                return Err(Error::General("early data was not offered".to_owned()));
            }
            _ => false,
        };
        pumped.used += discard;
        if !more {
            return Ok(pumped);
        }
    }
}

fn required(error: EncodeError) -> Result<usize, Error> {
    match error {
        EncodeError::InsufficientSize(InsufficientSizeError { required_size }) => Ok(required_size),
        other => Err(Error::General(other.to_string())),
    }
}

fn encrypt<C: Records>(conn: &mut C, plain: &[u8], out: &mut Arena) -> Result<(), Error> {
    loop {
        match conn.advance(&mut []).state? {
            ConnectionState::WriteTraffic(mut traffic) => {
                let records = plain.len() / RECORD_PAYLOAD + 1;
                let mut room = plain.len() + records * RECORD_OVERHEAD + SHORT_RECORD;
                loop {
                    match out.write(room, |free| traffic.encrypt(plain, free)) {
                        Ok(()) => return Ok(()),
                        Err(EncryptError::InsufficientSize(e)) => room = e.required_size,
                        Err(error) => return Err(Error::General(error.to_string())),
                    }
                }
            }
            ConnectionState::EncodeTlsData(mut data) => {
                let mut room = SHORT_RECORD;
                while let Err(error) = out.write(room, |free| data.encode(free)) {
                    room = required(error)?;
                }
            }
            ConnectionState::TransmitTlsData(data) => data.done(),
            ConnectionState::PeerClosed => {}
            _ => return Err(Error::HandshakeNotComplete),
        }
    }
}

fn close_notify<C: Records>(conn: &mut C, out: &mut Arena) {
    if let Ok(ConnectionState::WriteTraffic(mut traffic)) = conn.advance(&mut []).state {
        // Where the alert can't be written the FIN that follows says the same.
        let _ = out.write(SHORT_RECORD, |free| traffic.queue_close_notify(free));
    }
}
