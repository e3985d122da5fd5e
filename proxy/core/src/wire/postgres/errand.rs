//! The cancel errand: the short connection that carries a CancelRequest to a server (PostgreSQL manual, "Canceling Requests
//! in Progress").
//!
//! The server answers nothing and closes the connection when it has passed the signal on; only then is it certain that the
//! cancel can't hit a later query. Opening and timing the connection is the shard's business.

use super::messages;
use crate::settings::TargetTls;

/// What an errand does next.
#[derive(Debug, PartialEq, Eq)]
pub enum ErrandStep {
    /// Nothing until more comes; the connection's end is the errand's end.
    Wait,
    /// Send this.
    Send(Vec<u8>),
    /// Start TLS.
    StartTls,
    /// The server does not do as it must; close.
    Failed(&'static str),
}

#[derive(Debug, PartialEq, Eq, Clone, Copy)]
enum Phase {
    Asked,
    Handshake,
    Sent,
}

/// One errand.
pub struct Errand {
    key: (u32, Vec<u8>),
    phase: Phase,
}

impl Errand {
    /// An errand for the backend with this key.
    #[must_use]
    pub fn new(key: (u32, Vec<u8>)) -> Errand {
        Errand {
            key,
            phase: Phase::Asked,
        }
    }

    /// The connection is open.
    pub fn connected(&mut self, tls: TargetTls) -> ErrandStep {
        match tls {
            TargetTls::Off => self.request(),
            TargetTls::Require | TargetTls::VerifyFull => {
                let mut out = Vec::new();
                messages::ssl_request(&mut out);
                ErrandStep::Send(out)
            }
        }
    }

    /// The server said something.
    pub fn feed(&mut self, bytes: &[u8]) -> ErrandStep {
        match (self.phase, bytes) {
            (Phase::Asked, b"S") => {
                self.phase = Phase::Handshake;
                ErrandStep::StartTls
            }
            (Phase::Asked, _) => ErrandStep::Failed("the server refused TLS to a cancel request"),
            (Phase::Handshake | Phase::Sent, _) => ErrandStep::Wait,
        }
    }

    /// TLS is up.
    pub fn tls_ready(&mut self) -> ErrandStep {
        self.request()
    }

    fn request(&mut self) -> ErrandStep {
        self.phase = Phase::Sent;
        let mut out = Vec::new();
        messages::cancel_request(&mut out, self.key.0, &self.key.1);
        ErrandStep::Send(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goes_through_tls_when_the_target_does() {
        let mut e = Errand::new((7, vec![1, 2, 3, 4]));
        assert!(matches!(
            e.connected(TargetTls::VerifyFull),
            ErrandStep::Send(_)
        ));
        assert_eq!(e.feed(b"S"), ErrandStep::StartTls);
        let ErrandStep::Send(bytes) = e.tls_ready() else {
            panic!("nothing sent")
        };
        assert_eq!(
            bytes,
            b"\0\0\0\x10\x04\xd2\x16\x2e\0\0\0\x07\x01\x02\x03\x04"
        );
        assert_eq!(e.feed(b"x"), ErrandStep::Wait);
    }

    #[test]
    fn is_not_sent_in_the_clear_when_tls_is_refused() {
        let mut e = Errand::new((7, vec![1, 2, 3, 4]));
        e.connected(TargetTls::Require);
        assert!(matches!(e.feed(b"N"), ErrandStep::Failed(_)));
        let mut e = Errand::new((7, vec![1, 2, 3, 4]));
        e.connected(TargetTls::Require);
        assert!(matches!(e.feed(b"Sx"), ErrandStep::Failed(_)));
    }
}
