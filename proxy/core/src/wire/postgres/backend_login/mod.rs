//! The login of a backend, weir in the client's role: from the first byte to the first ReadyForQuery (PostgreSQL manual,
//! "Start-up" and "SSL Session Encryption").
//!
//! Connecting, TLS itself, hashing and time limits are the business of the caller.

#[cfg(test)]
mod tests;

use std::sync::Arc;

use super::backend_proof::{BackendProof, Turn};
use super::errors;
use super::intake::{Intake, Packet, Shape};
use super::messages::{self, ErrorFields};
use super::startup::Parameters;
use crate::auth::scram::{KeyEntry, NONCE_LEN};
use crate::auth::{HashJob, UserSecret};
use crate::limits::{SERVER_CANCEL_KEY_MAX, SERVER_INSPECT_MAX};
use crate::settings::TargetTls;

/// Who weir logs in as, and with what.
#[derive(Clone)]
pub struct BackendIdentity {
    /// Login name.
    pub user: Arc<str>,
    /// Database.
    pub database: Arc<str>,
    /// Startup parameters besides these two.
    pub parameters: Arc<Parameters>,
    /// What is known of the password.
    pub secret: Arc<UserSecret>,
    /// The key that a client's SCRAM login against `secret` brought to light.
    pub learned: Option<[u8; 32]>,
    /// What [`BackendLogin::keys_used`] gave after an earlier login with the same `secret`.
    pub cached: Option<KeyEntry>,
    /// Statements that the new session runs before it is ready.
    pub init_query: Option<Arc<str>>,
}

impl core::fmt::Debug for BackendIdentity {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("BackendIdentity")
            .field("user", &self.user)
            .field("database", &self.database)
            .finish_non_exhaustive()
    }
}

/// What a server says of itself at login.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct ServerHello {
    /// ParameterStatus, names and values, in the order they came; each name once, with its last value.
    pub params: Parameters,
    /// BackendKeyData: process id and secret (4 to 256 bytes), if the server gave one.
    pub key: Option<(u32, Vec<u8>)>,
}

impl core::fmt::Debug for ServerHello {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "ServerHello({} parameters)", self.params.len())
    }
}

/// What is to happen next.
pub enum BackendStep {
    /// Wait for bytes; all given ones are taken.
    NeedMore,
    /// Send these, then call [`BackendLogin::next`] again with what is left.
    Send(Vec<u8>),
    /// Start TLS as client, then call [`BackendLogin::tls_ready`].
    StartTls,
    /// Have this computed, then call [`BackendLogin::hashed`]. Bytes may be given to `next` meanwhile.
    Hash(HashJob),
    /// Logged in and idle. Bytes behind `used` belong to the session.
    Ready(Box<ServerHello>),
    /// Close.
    Failed {
        /// The server's whole ErrorResponse, tag and length included, if it sent one; fit to be passed on to a client.
        server_error: Option<Vec<u8>>,
        /// Its SQLSTATE.
        code: Option<String>,
        /// For the operator; what failed and the way out.
        reason: String,
    },
}

impl core::fmt::Debug for BackendStep {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            BackendStep::NeedMore => f.write_str("NeedMore"),
            BackendStep::Send(bytes) => write!(f, "Send({} bytes)", bytes.len()),
            BackendStep::StartTls => f.write_str("StartTls"),
            BackendStep::Hash(job) => write!(f, "{job:?}"),
            BackendStep::Ready(hello) => write!(f, "Ready({hello:?})"),
            BackendStep::Failed { reason, .. } => write!(f, "Failed({reason})"),
        }
    }
}

/// One login under way. Dropped when it is over.
pub struct BackendLogin {
    user: Arc<str>,
    database: Arc<str>,
    parameters: Arc<Parameters>,
    tls: TargetTls,
    encrypted: bool,
    end_point: Option<Vec<u8>>,
    intake: Intake,
    proof: BackendProof,
    hello: ServerHello,
    init_query: Option<Arc<str>>,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// [`BackendLogin::start`] is to come.
    Unstarted,
    /// The byte that answers SSLRequest is to come.
    AskedSsl,
    /// [`BackendLogin::tls_ready`] is to come.
    StartingTls,
    /// Between StartupMessage and AuthenticationOk.
    Proving,
    /// Between AuthenticationOk and ReadyForQuery.
    Settling,
    /// Between the first ReadyForQuery and that of `init_query`.
    Preparing,
    Over,
}

impl core::fmt::Debug for BackendLogin {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("BackendLogin(..)")
    }
}

impl BackendLogin {
    /// A login at a target with these TLS rules. `nonce` must be fresh random bytes.
    #[must_use]
    pub fn new(identity: BackendIdentity, tls: TargetTls, nonce: [u8; NONCE_LEN]) -> BackendLogin {
        let BackendIdentity {
            user,
            database,
            parameters,
            secret,
            learned,
            cached,
            init_query,
        } = identity;
        BackendLogin {
            proof: BackendProof::new(Arc::clone(&user), secret, learned, cached, nonce),
            user,
            database,
            parameters,
            tls,
            encrypted: false,
            end_point: None,
            intake: Intake::default(),
            hello: ServerHello::default(),
            init_query,
            state: State::Unstarted,
        }
    }

    /// The connection is up: the first thing to send.
    pub fn start(&mut self) -> BackendStep {
        if self.state != State::Unstarted {
            return self.fail("a login was started twice");
        }
        if self.tls == TargetTls::Off {
            return self.send_startup();
        }
        self.state = State::AskedSsl;
        let mut out = Vec::new();
        messages::ssl_request(&mut out);
        BackendStep::Send(out)
    }

    /// TLS is up. `end_point`: tls-server-end-point data of the server's certificate.
    pub fn tls_ready(&mut self, end_point: Option<Vec<u8>>) -> BackendStep {
        if self.state != State::StartingTls {
            return self.fail("TLS came up that nobody asked for");
        }
        self.encrypted = true;
        self.end_point = end_point;
        self.send_startup()
    }

    /// What [`BackendStep::Hash`] asked for is computed.
    pub fn hashed(&mut self, salted_password: &[u8; 32]) -> BackendStep {
        if self.state != State::Proving {
            return self.fail("a password was hashed that nobody asked for");
        }
        let turn = self.proof.hashed(salted_password);
        self.act(turn).unwrap_or(BackendStep::NeedMore)
    }

    /// For a cache: salt, iterations and keys of this SCRAM login. `None` before the server has proved itself, and where
    /// another method was used.
    #[must_use]
    pub fn keys_used(&self) -> Option<KeyEntry> {
        self.proof.keys_used()
    }

    /// Goes on with `bytes[*used..]` and moves `used` behind what it took. Keeps the beginning of a message that is not whole.
    pub fn next(&mut self, bytes: &[u8], used: &mut usize) -> BackendStep {
        match self.state {
            State::AskedSsl => self.ssl_answer(bytes, used),
            State::Proving | State::Settling | State::Preparing => self.messages(bytes, used),
            State::Unstarted | State::StartingTls if *used < bytes.len() => {
                self.fail("the server sent bytes out of turn")
            }
            State::Unstarted | State::StartingTls => BackendStep::NeedMore,
            State::Over => self.fail("the login is over"),
        }
    }

    fn send_startup(&mut self) -> BackendStep {
        self.state = State::Proving;
        let own = [
            (&b"user"[..], self.user.as_bytes()),
            (&b"database"[..], self.database.as_bytes()),
        ];
        let more = self
            .parameters
            .iter()
            .map(|(name, value)| (&**name, &**value));
        let mut out = Vec::new();
        messages::startup_message(&mut out, own.into_iter().chain(more));
        BackendStep::Send(out)
    }

    fn ssl_answer(&mut self, bytes: &[u8], used: &mut usize) -> BackendStep {
        let Some(answer) = bytes.get(*used).copied() else {
            return BackendStep::NeedMore;
        };
        *used += 1;
        match answer {
            // Whoever sits in between could have put them there, to be taken for the server's own inside TLS.
            b'S' if *used < bytes.len() => self.fail("the server sent unencrypted bytes behind its consent to TLS: a broken server, or somebody in between"),
            b'S' => {
                self.state = State::StartingTls;
                BackendStep::StartTls
            }
            b'N' => self.fail("the server does not offer TLS, which this target demands: turn on ssl in its postgresql.conf, or turn TLS off for this target by name"),
            // Not shown: nobody has vouched for what comes before TLS.
            b'E' => self.fail("the server answered the request for TLS with an error: it may be overloaded, or not be PostgreSQL"),
            _ => self.fail("the server does not speak PostgreSQL: it answered the request for TLS with something else"),
        }
    }

    fn messages(&mut self, bytes: &[u8], used: &mut usize) -> BackendStep {
        loop {
            match self
                .intake
                .packet(bytes, used, Shape::Tagged, SERVER_INSPECT_MAX)
            {
                Packet::Partial => return BackendStep::NeedMore,
                Packet::BadLength => {
                    return self.fail("the server sent a login message of an impossible length");
                }
                Packet::Whole(packet) => {
                    if let Some(step) = self.message(packet) {
                        return step;
                    }
                }
            }
        }
    }

    /// `None`: on to the next message.
    fn message(&mut self, packet: Vec<u8>) -> Option<BackendStep> {
        let tag = packet.first().copied().unwrap_or(0);
        let body = packet.get(5..).unwrap_or(&[]);
        match (tag, self.state) {
            (b'N', _) => None,
            (b'E', State::Preparing) => Some(self.init_failed(&packet)),
            (b'E', _) => Some(self.server_error(packet)),
            (b'R', State::Proving) => {
                let turn = self
                    .proof
                    .request(body, self.encrypted, self.end_point.as_deref());
                self.act(turn)
            }
            (b'S', State::Settling | State::Preparing) => self.parameter_status(body),
            (b'K', State::Settling) => self.backend_key(body),
            (b'Z', State::Settling | State::Preparing) => Some(self.ready(body)),
            (b'T' | b'D' | b'C' | b'I', State::Preparing) => None,
            (b'v', State::Proving) => Some(self.fail("the server does not speak protocol 3.0")),
            _ => {
                let shown = char::from(tag).escape_default();
                Some(self.fail(&format!(
                    "the server sent a message of type '{shown}' out of place in the login"
                )))
            }
        }
    }

    fn act(&mut self, turn: Turn) -> Option<BackendStep> {
        match turn {
            Turn::Send(bytes) => Some(BackendStep::Send(bytes)),
            Turn::Hash(job) => Some(BackendStep::Hash(job)),
            Turn::Wait => None,
            Turn::Done => {
                self.state = State::Settling;
                None
            }
            Turn::Fail(reason) => Some(self.fail(&reason)),
        }
    }

    fn parameter_status(&mut self, body: &[u8]) -> Option<BackendStep> {
        let Some((name, value)) = messages::parse_parameter_status(body) else {
            return Some(self.fail("the server sent a malformed ParameterStatus"));
        };
        match self
            .hello
            .params
            .iter_mut()
            .find(|(known, _)| **known == *name)
        {
            Some((_, old)) => *old = value.into(),
            None => self.hello.params.push((name.into(), value.into())),
        }
        // A pair costs its two pointers as well.
        let kept: usize = self
            .hello
            .params
            .iter()
            .map(|(n, v)| n.len() + v.len() + 32)
            .sum();
        (kept > SERVER_INSPECT_MAX).then(|| {
            self.fail(&format!("the server reports more than {SERVER_INSPECT_MAX} bytes of parameters, which is weir's limit"))
        })
    }

    fn backend_key(&mut self, body: &[u8]) -> Option<BackendStep> {
        match body.split_first_chunk::<4>() {
            Some((key, secret)) if (4..=SERVER_CANCEL_KEY_MAX).contains(&secret.len()) => {
                self.hello.key = Some((u32::from_be_bytes(*key), secret.to_vec()));
                None
            }
            _ => Some(self.fail("the server sent a cancel key of an impossible length")),
        }
    }

    fn ready(&mut self, body: &[u8]) -> BackendStep {
        if body != [messages::STATUS_IDLE] {
            return self.fail(match self.state {
                State::Preparing => "init_query has left a transaction open: end it in init_query, or take its BEGIN out",
                _ => "the server was not idle at the end of the login",
            });
        }
        if let Some(text) = self.init_query.take() {
            self.state = State::Preparing;
            let mut out = Vec::new();
            messages::query(&mut out, &text);
            return BackendStep::Send(out);
        }
        self.state = State::Over;
        BackendStep::Ready(Box::new(core::mem::take(&mut self.hello)))
    }

    fn server_error(&mut self, packet: Vec<u8>) -> BackendStep {
        self.state = State::Over;
        let fields = ErrorFields::parse(packet.get(5..).unwrap_or(&[]));
        BackendStep::Failed {
            code: Some(fields.code.to_string()).filter(|code| !code.is_empty()),
            reason: format!(
                "the server refused the login of \"{}\" to \"{}\": {}",
                self.user,
                self.database,
                fields.summary()
            ),
            server_error: Some(packet),
        }
    }

    /// Clients hear of it, unless it is the server that is not well.
    fn init_failed(&mut self, packet: &[u8]) -> BackendStep {
        self.state = State::Over;
        let fields = ErrorFields::parse(packet.get(5..).unwrap_or(&[]));
        let error = errors::init_query_failed(&fields.summary());
        let passing = errors::may_pass(&fields.code);
        BackendStep::Failed {
            reason: format!(
                "init_query has failed for \"{}\" in \"{}\": {}",
                self.user,
                self.database,
                fields.summary()
            ),
            code: (!passing).then(|| error.code.to_owned()),
            server_error: (!passing).then(|| error.to_bytes()),
        }
    }

    fn fail(&mut self, reason: &str) -> BackendStep {
        self.state = State::Over;
        BackendStep::Failed {
            server_error: None,
            code: None,
            reason: reason.to_owned(),
        }
    }
}
