//! The login of a client, weir in the server's role: from the first byte to AuthenticationOk (PostgreSQL manual, "Start-up",
//! "SSL Session Encryption", "Canceling Requests in Progress").
//!
//! Looking up the user, what comes after AuthenticationOk, and time limits are the business of the caller.

#[cfg(test)]
mod tests;

use std::sync::Arc;

use zeroize::Zeroizing;

use super::client_proof::{Proof, Verdict};
use super::errors::{self, ClientError};
use super::intake::{Intake, Packet, Shape};
use super::messages::{self, PROTOCOL_3_0, PROTOCOL_3_2};
use super::startup::{self, First, Startup, Unserved};
use crate::auth::ClientAuthMethod;
use crate::limits::{AUTH_MESSAGE_MAX, STARTUP_PACKET_MAX};
use crate::settings::{ClientTls, User};

/// First byte of a TLS handshake record.
const TLS_HANDSHAKE: u8 = 0x16;

/// What is to happen next.
pub enum LoginStep {
    /// Wait for bytes; all given ones are taken.
    NeedMore,
    /// Send these, then call [`ClientLogin::next`] again with what is left.
    Send(Vec<u8>),
    /// Send `reply` in plain text, then start TLS as server, then call [`ClientLogin::tls_ready`].
    StartTls {
        /// `S`, or nothing for direct TLS.
        reply: Option<Vec<u8>>,
        /// Offset into the bytes being handled from which on everything is TLS (direct TLS). They count as used.
        early: Option<usize>,
    },
    /// A CancelRequest; nothing more comes, close.
    Cancel {
        /// The number given as process id.
        key: u32,
        /// The secret given with it, 4 to 256 bytes.
        secret: Vec<u8>,
    },
    /// Look the user up, then call [`ClientLogin::identified`].
    Identify(Box<Startup>),
    /// The client is who it says and has been told so (AuthenticationOk was in the Send before this).
    Authenticated {
        /// The client's SCRAM key, if it logged in with SCRAM: logs in at a server whose verifier for this user is the same.
        client_key: Option<[u8; 32]>,
    },
    /// Send the error and close.
    Refuse {
        /// For the client.
        error: ClientError,
        /// For the operator's log; may say more than the client was told.
        reason: String,
    },
    /// Close without a word.
    Hangup {
        /// For the operator's log.
        reason: &'static str,
    },
}

impl core::fmt::Debug for LoginStep {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            LoginStep::NeedMore => f.write_str("NeedMore"),
            LoginStep::Send(bytes) => write!(f, "Send({} bytes)", bytes.len()),
            LoginStep::StartTls { reply, early } => {
                write!(f, "StartTls(reply: {}, early: {early:?})", reply.is_some())
            }
            LoginStep::Cancel { key, .. } => write!(f, "Cancel({key})"),
            LoginStep::Identify(startup) => write!(f, "Identify({:?})", startup.user),
            LoginStep::Authenticated { .. } => f.write_str("Authenticated"),
            LoginStep::Refuse { error, reason } => write!(f, "Refuse({}, {reason})", error.code),
            LoginStep::Hangup { reason } => write!(f, "Hangup({reason})"),
        }
    }
}

/// One login under way. Dropped when it is over.
pub struct ClientLogin {
    tls: ClientTls,
    method: ClientAuthMethod,
    end_point: Option<Arc<[u8]>>,
    encrypted: bool,
    /// The client's first byte was TLS, without an SSLRequest.
    direct: bool,
    asked_ssl: bool,
    asked_gss: bool,
    intake: Intake,
    version: u32,
    /// NegotiateProtocolVersion, to go out in front of the first authentication request.
    negotiation: Vec<u8>,
    state: State,
}

enum State {
    /// A first packet is to come: at the very beginning, after an `N`, or inside TLS.
    First,
    /// [`ClientLogin::tls_ready`] is to come.
    StartingTls,
    /// Direct TLS came up without ALPN.
    NoAlpn,
    /// [`ClientLogin::identified`] is to come.
    Identifying(Arc<str>),
    Proving(Proof),
    Passed(Option<[u8; 32]>),
    Over,
}

impl core::fmt::Debug for ClientLogin {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("ClientLogin(..)")
    }
}

impl ClientLogin {
    /// A login on a listener with these settings. `end_point`: tls-server-end-point of the listener's certificate.
    #[must_use]
    pub fn new(
        tls: ClientTls,
        method: ClientAuthMethod,
        end_point: Option<Arc<[u8]>>,
    ) -> ClientLogin {
        ClientLogin {
            tls,
            method,
            end_point,
            encrypted: false,
            direct: false,
            asked_ssl: false,
            asked_gss: false,
            intake: Intake::default(),
            version: PROTOCOL_3_0,
            negotiation: Vec::new(),
            state: State::First,
        }
    }

    /// The negotiated protocol minor, 0 or 2; known from [`LoginStep::Identify`] on.
    #[must_use]
    pub fn minor(&self) -> u16 {
        if self.version == PROTOCOL_3_2 { 2 } else { 0 }
    }

    /// Goes on with `bytes[*used..]` and moves `used` behind what it took. Keeps the beginning of a packet that is not whole.
    pub fn next(&mut self, bytes: &[u8], used: &mut usize) -> LoginStep {
        let more = *used < bytes.len();
        match core::mem::replace(&mut self.state, State::Over) {
            State::First => self.first_packet(bytes, used),
            State::Proving(proof) => self.proof_packet(proof, bytes, used),
            State::NoAlpn => refuse(
                errors::alpn_required(),
                "direct TLS without ALPN \"postgresql\"",
            ),
            State::Passed(client_key) => LoginStep::Authenticated { client_key },
            // Nothing can come while the caller has the turn; if it does, it is not part of any login.
            State::StartingTls | State::Identifying(_) if more => hangup("bytes out of turn"),
            waiting @ (State::StartingTls | State::Identifying(_)) => {
                self.state = waiting;
                LoginStep::NeedMore
            }
            State::Over => hangup("the login is over"),
        }
    }

    /// The handshake that [`LoginStep::StartTls`] asked for is done. Direct TLS without ALPN `postgresql` is refused by the
    /// next call of [`ClientLogin::next`].
    pub fn tls_ready(&mut self, alpn_postgresql: bool) {
        if !matches!(self.state, State::StartingTls) {
            return;
        }
        self.encrypted = true;
        self.state = if self.direct && !alpn_postgresql {
            State::NoAlpn
        } else {
            State::First
        };
    }

    /// The answer to [`LoginStep::Identify`]: what is known of the user, `None` for nobody. `mock_secret` stays the same
    /// for the whole life of the process; `rng` fills with random bytes fit for secrets.
    pub fn identified(
        &mut self,
        user: Option<&User>,
        mock_secret: &[u8; 32],
        rng: &mut impl FnMut(&mut [u8]),
    ) -> LoginStep {
        let State::Identifying(name) = core::mem::replace(&mut self.state, State::Over) else {
            return hangup("a user was looked up that nobody asked for");
        };
        if self.method == ClientAuthMethod::Cleartext && !self.encrypted {
            let reason = "cleartext passwords are never asked for outside TLS";
            return refuse(errors::cleartext_requires_tls(), reason);
        }
        let mut out = core::mem::take(&mut self.negotiation);
        let end_point = self.end_point.clone().filter(|_| self.encrypted);
        let secret = user.map(|user| &*user.secret);
        let proof = Proof::ask(
            self.method,
            name,
            secret,
            mock_secret,
            end_point,
            rng,
            &mut out,
        );
        self.state = State::Proving(proof);
        LoginStep::Send(out)
    }

    fn first_packet(&mut self, bytes: &[u8], used: &mut usize) -> LoginStep {
        self.state = State::First;
        let untouched = !self.encrypted && !self.asked_ssl && !self.asked_gss;
        if untouched && self.intake.peek(bytes, *used) == Some(TLS_HANDSHAKE) {
            return self.direct_tls(bytes, used);
        }
        let max = STARTUP_PACKET_MAX + 4;
        match self.intake.packet(bytes, used, Shape::Untagged, max) {
            Packet::Partial => LoginStep::NeedMore,
            Packet::BadLength => self.over(hangup("startup packet of an impossible length")),
            Packet::Whole(packet) => {
                let welcome = self.encrypted || self.tls == ClientTls::Off;
                match startup::parse(packet.get(4..).unwrap_or(&[]), welcome) {
                    Ok(first) => self.first(first, *used < bytes.len()),
                    Err(Unserved::Hangup(reason)) => self.over(hangup(reason)),
                    Err(Unserved::Refuse(error)) => {
                        let reason = error.message.clone();
                        self.over(refuse(*error, &reason))
                    }
                }
            }
        }
    }

    fn direct_tls(&mut self, bytes: &[u8], used: &mut usize) -> LoginStep {
        if self.tls == ClientTls::Off {
            return self.over(hangup("direct TLS, but TLS is off on this address"));
        }
        let early = Some(*used);
        *used = bytes.len();
        self.direct = true;
        self.state = State::StartingTls;
        LoginStep::StartTls { reply: None, early }
    }

    /// `more`: further bytes came together with this packet.
    fn first(&mut self, first: First, more: bool) -> LoginStep {
        match first {
            First::Ssl if self.encrypted || self.asked_ssl => self.repeated(5679),
            First::GssEnc if self.encrypted || self.asked_gss => self.repeated(5680),
            // Whoever sits in between could have put them there, to be taken for the client's own inside TLS.
            First::Ssl if more => self.unencrypted("SSL"),
            First::GssEnc if more => self.unencrypted("GSSAPI encryption"),
            First::Ssl => self.ssl_request(),
            First::GssEnc => {
                self.asked_gss = true;
                LoginStep::Send(b"N".to_vec())
            }
            First::Cancel { key, secret } => self.over(LoginStep::Cancel { key, secret }),
            First::Startup(startup) => self.startup(startup),
        }
    }

    fn ssl_request(&mut self) -> LoginStep {
        self.asked_ssl = true;
        if self.tls == ClientTls::Off {
            return LoginStep::Send(b"N".to_vec());
        }
        self.state = State::StartingTls;
        let reply = Some(b"S".to_vec());
        LoginStep::StartTls { reply, early: None }
    }

    /// A second request for encryption is read as a version number, as the server does.
    fn repeated(&mut self, minor: u32) -> LoginStep {
        let error = errors::unsupported_protocol(1234, minor);
        self.over(refuse(error, "a request for encryption out of place"))
    }

    fn unencrypted(&mut self, request: &str) -> LoginStep {
        let error = errors::unencrypted_data_after(request);
        self.over(refuse(
            error,
            "unencrypted bytes behind a request for encryption (CVE-2021-23222)",
        ))
    }

    fn startup(&mut self, startup: Box<Startup>) -> LoginStep {
        self.version = startup.version;
        if startup.negotiate {
            messages::negotiate_protocol_version(
                &mut self.negotiation,
                startup.version,
                &startup.unknown_options,
            );
        }
        self.state = State::Identifying(Arc::clone(&startup.user));
        LoginStep::Identify(startup)
    }

    fn proof_packet(&mut self, mut proof: Proof, bytes: &[u8], used: &mut usize) -> LoginStep {
        if let Some(tag) = self.intake.peek(bytes, *used).filter(|tag| *tag != b'p') {
            let words = format!("expected {}, got message type {tag}", proof.expects());
            return refuse(
                errors::protocol_violation(words),
                "not an answer to the authentication request",
            );
        }
        match self
            .intake
            .packet(bytes, used, Shape::Tagged, AUTH_MESSAGE_MAX + 4)
        {
            Packet::Partial => {
                self.state = State::Proving(proof);
                LoginStep::NeedMore
            }
            Packet::BadLength => {
                let error = errors::protocol_violation("invalid message length");
                refuse(error, "an authentication message of an impossible length")
            }
            Packet::Whole(packet) => {
                let packet = Zeroizing::new(packet);
                match proof.answer(packet.get(5..).unwrap_or(&[])) {
                    Verdict::More(bytes) => {
                        self.state = State::Proving(proof);
                        LoginStep::Send(bytes)
                    }
                    Verdict::Passed { bytes, client_key } => {
                        self.state = State::Passed(client_key);
                        LoginStep::Send(bytes)
                    }
                    Verdict::Refused { error, reason } => LoginStep::Refuse { error, reason },
                }
            }
        }
    }

    fn over(&mut self, step: LoginStep) -> LoginStep {
        self.state = State::Over;
        step
    }
}

fn refuse(error: ClientError, reason: &str) -> LoginStep {
    LoginStep::Refuse {
        error,
        reason: reason.to_owned(),
    }
}

fn hangup(reason: &'static str) -> LoginStep {
    LoginStep::Hangup { reason }
}
