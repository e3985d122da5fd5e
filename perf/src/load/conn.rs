//! One connection: its socket, its TLS, what is still to be written, and where it stands in its dialogue.

use std::os::fd::OwnedFd;

use rustix::io::Errno;
use weir_core::auth::scram::ScramClient;

use crate::net::{Outbox, Session};
use crate::wire::Splitter;

/// Where a connection stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// There is none.
    Down,
    /// The system is at it.
    Connecting,
    /// SSLRequest is sent.
    AskedTls,
    /// TLS handshake.
    Handshake,
    /// From the startup message to the first ReadyForQuery.
    Login,
    /// Its statements are being prepared.
    Preparing,
    /// Nothing is asked.
    Idle,
    /// A transaction is under way.
    Busy,
}

/// One connection. Times are nanoseconds since the run's clock started.
pub struct Conn {
    /// The socket.
    pub socket: Option<OwnedFd>,
    /// TLS, if it is spoken.
    pub tls: Option<Box<Session>>,
    /// Cuts what comes.
    pub splitter: Splitter,
    /// A SCRAM exchange under way.
    pub exchange: Option<Box<ScramClient>>,
    /// Bytes for the wire that the socket did not take.
    outbox: Outbox,
    /// Where it stands.
    pub state: State,
    /// Counts the sockets it has had; tells stale events and timers.
    pub life: u32,
    /// Whether it counts as one that is connected.
    pub up: bool,
    /// When it was to connect.
    pub connect_due: u64,
    /// When something was last sent or received.
    pub heard: u64,
    /// When the transaction was due.
    pub scheduled: u64,
    /// Since when it is idle.
    pub free: u64,
    /// Which transaction of the plan.
    pub kind: usize,
    /// Which step of it; also the next statement to prepare.
    pub step: usize,
    /// The transaction has met an error.
    pub failed: bool,
    /// A ROLLBACK after an error is under way.
    pub rolling_back: bool,
    /// COPY data still to send.
    pub copy_left: u64,
    /// What a request to cancel its statement says; empty where none is cancelled.
    pub key: Box<[u8]>,
    /// The next arrival that is its own.
    pub next: u64,
    /// It must not read before.
    pub read_after: u64,
}

impl Conn {
    /// Not connected yet; `next` is its first arrival.
    #[must_use]
    pub fn new(next: u64) -> Conn {
        Conn {
            socket: None,
            tls: None,
            splitter: Splitter::default(),
            exchange: None,
            outbox: Outbox::default(),
            state: State::Down,
            life: 0,
            up: false,
            connect_due: 0,
            heard: 0,
            scheduled: 0,
            free: 0,
            kind: 0,
            step: 0,
            failed: false,
            rolling_back: false,
            copy_left: 0,
            key: Box::default(),
            next,
            read_after: 0,
        }
    }

    /// Closes the socket and forgets the dialogue.
    pub fn reset(&mut self) {
        self.socket = None;
        self.tls = None;
        self.splitter = Splitter::default();
        self.exchange = None;
        self.outbox = Outbox::default();
        self.state = State::Down;
        self.life = self.life.wrapping_add(1);
        self.up = false;
        self.failed = false;
        self.rolling_back = false;
        self.copy_left = 0;
        self.key = Box::default();
        self.step = 0;
        self.read_after = 0;
    }

    /// Sends bytes of the protocol, through TLS where it is spoken. `scratch` is any buffer.
    ///
    /// # Errors
    /// The connection is broken.
    pub fn send(&mut self, plain: &[u8], scratch: &mut Vec<u8>) -> Result<(), Errno> {
        match &mut self.tls {
            None => self.write(plain),
            Some(tls) => {
                tls.say(plain);
                self.send_records(scratch)
            }
        }
    }

    /// Sends what TLS has to say.
    ///
    /// # Errors
    /// The connection is broken.
    pub fn send_records(&mut self, scratch: &mut Vec<u8>) -> Result<(), Errno> {
        let Some(tls) = &mut self.tls else {
            return Ok(());
        };
        scratch.clear();
        tls.send(scratch);
        if scratch.is_empty() {
            return Ok(());
        }
        self.write(scratch)
    }

    /// Whether the socket has taken all.
    #[must_use]
    pub fn all_written(&self) -> bool {
        self.outbox.is_empty()
    }

    /// Goes on writing what the socket did not take.
    ///
    /// # Errors
    /// The connection is broken.
    pub fn flush(&mut self) -> Result<(), Errno> {
        match &self.socket {
            Some(socket) => self.outbox.flush(socket),
            None => Ok(()),
        }
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Errno> {
        match &self.socket {
            Some(socket) => self.outbox.write(socket, bytes),
            None => Ok(()),
        }
    }
}
