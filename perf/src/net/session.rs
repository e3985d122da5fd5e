//! One end of a TLS connection: records in, records out. Sockets are the caller's.

use std::io::{Read as _, Write as _};

use rustls::Connection;

/// One end of a TLS connection.
pub struct Session(Connection);

impl Session {
    /// An end that has yet to shake hands.
    #[must_use]
    pub fn new(mut connection: Connection) -> Session {
        connection.set_buffer_limit(None);
        Session(connection)
    }

    /// Takes records from the wire; what they say is appended to `plain`.
    ///
    /// # Errors
    /// The peer breaks the protocol or its certificate is not trusted.
    pub fn receive(&mut self, mut wire: &[u8], plain: &mut Vec<u8>) -> Result<(), rustls::Error> {
        while !wire.is_empty() {
            let taken = self.0.read_tls(&mut wire).unwrap_or(0);
            let state = self.0.process_new_packets()?;
            let there = state.plaintext_bytes_to_read();
            if there > 0 {
                let at = plain.len();
                plain.resize(at + there, 0);
                let got = self.0.reader().read(&mut plain[at..]).unwrap_or(0);
                plain.truncate(at + got);
            }
            if taken == 0 {
                break;
            }
        }
        Ok(())
    }

    /// Encrypts.
    pub fn say(&mut self, plain: &[u8]) {
        // Without a limit the buffer takes all of it.
        let _ = self.0.writer().write_all(plain);
    }

    /// Says goodbye.
    pub fn close(&mut self) {
        self.0.send_close_notify();
    }

    /// Appends what has to go to the wire.
    pub fn send(&mut self, wire: &mut Vec<u8>) {
        while self.0.wants_write() {
            if self.0.write_tls(wire).unwrap_or(0) == 0 {
                break;
            }
        }
    }

    /// Whether the handshake is still under way.
    #[must_use]
    pub fn shaking_hands(&self) -> bool {
        self.0.is_handshaking()
    }

    /// Channel binding data for SCRAM-SHA-256-PLUS.
    #[must_use]
    pub fn end_point(&self) -> Option<Vec<u8>> {
        let certificate = self.0.peer_certificates()?.first()?;
        weir::tls::end_point(certificate)
    }
}
