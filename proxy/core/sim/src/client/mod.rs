//! A model client: logs in, plays its script, notes every byte it gets.
//!
//! What it sends depends only on its script and on what it was answered, never on time: so the same script played alone
//! against a server gives what it must have seen.

pub mod script;

use crate::scram::{ScramClient, md5_answer};
use crate::server::mark;
use crate::wire;

/// How a client secures its connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ClientSecurity {
    /// Plain text.
    Plain,
    /// Asks with SSLRequest.
    SslRequest,
    /// Starts TLS at once.
    Direct,
}

/// One thing that a client does.
#[derive(Clone, Debug)]
pub enum Step {
    /// Sends; that many ReadyForQuery will come of it.
    Send(Vec<u8>, u32),
    /// Waits until every ReadyForQuery has come.
    Await,
    /// Waits for a message of this kind, or for an error or ReadyForQuery, since the last Send.
    AwaitKind(u8),
    /// Waits for the server to ask for COPY data, then sends; skips it when the COPY has failed.
    CopyIn(Vec<u8>, u32),
    /// Does nothing for so many nanoseconds.
    Pause(u64),
    /// Sends a cancel request with its own key.
    Cancel,
    /// Sends a cancel request with a wrong secret.
    BogusCancel,
    /// Terminate, then closes.
    Leave,
    /// Closes its sending side without a word.
    Vanish,
    /// Resets the connection.
    Reset,
}

/// What a client does to its connection.
#[derive(Debug, PartialEq, Eq)]
pub enum ClientOut {
    /// Sends.
    Bytes(Vec<u8>),
    /// Finishes sending.
    Fin,
    /// Resets.
    Rst,
    /// Opens another connection to send a cancel request; true: with the right secret.
    Cancel(u32, Vec<u8>, bool),
    /// Wants to be woken at that instant.
    WakeAt(u64),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    Start,
    SslAsked,
    TlsPending,
    Login,
    Ready,
    Over,
}

/// How the connection ended for the client.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// The script was played to its end.
    Done,
    /// The client left of its own accord, its script unfinished.
    Left,
    /// The other side ended it.
    Cut,
}

/// Who a client is.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The mark of its statements.
    pub id: u32,
    /// Login name.
    pub user: String,
    /// Password.
    pub password: String,
    /// Database.
    pub database: String,
    /// Further startup parameters.
    pub parameters: Vec<(String, String)>,
    /// Protocol version asked for.
    pub version: u32,
    /// How it secures its connection.
    pub security: ClientSecurity,
    /// tls-server-end-point data for SCRAM-SHA-256-PLUS.
    pub end_point: Option<Vec<u8>>,
}

/// One client.
pub struct Client {
    /// Who it is.
    pub who: Identity,
    /// What it does.
    pub script: Vec<Step>,
    /// Bytes after the login.
    pub seen: Vec<u8>,
    /// Parameters reported at the login.
    pub told: Vec<Vec<u8>>,
    /// How it ended.
    pub end: Option<End>,
    /// The error of a login, a whole message.
    pub login_error: Option<Vec<u8>>,
    /// Whether it got through its login.
    pub logged_in: bool,
    /// Whether its scripted end was left out so far.
    ready_count: u32,
    phase: Phase,
    step: usize,
    expected: u32,
    kinds: Vec<u8>,
    key: Option<(u32, Vec<u8>)>,
    input: Vec<u8>,
    scram: Option<ScramClient>,
    paused_until: Option<u64>,
    out: Vec<ClientOut>,
}

impl Client {
    /// A client that has not begun.
    #[must_use]
    pub fn new(who: Identity, script: Vec<Step>) -> Client {
        Client {
            who,
            script,
            seen: Vec::new(),
            told: Vec::new(),
            end: None,
            login_error: None,
            logged_in: false,
            ready_count: 0,
            phase: Phase::Start,
            step: 0,
            expected: 0,
            kinds: Vec::new(),
            key: None,
            input: Vec::new(),
            scram: None,
            paused_until: None,
            out: Vec::new(),
        }
    }

    /// The mark of the message that its script leaves unfinished.
    #[must_use]
    pub fn torn(&self) -> Option<u64> {
        let sends = |step: &Step| matches!(step, Step::Send(..) | Step::CopyIn(..));
        let (Step::Send(bytes, _) | Step::CopyIn(bytes, _)) =
            self.script.iter().rfind(|s| sends(s))?
        else {
            return None;
        };
        let rest = &bytes[wire::split_messages(bytes).1..];
        let text = String::from_utf8_lossy(rest).into_owned();
        let (_, number) = mark(&text)?;
        // Cut inside its mark it looks like another one.
        text.ends_with(|c: char| !c.is_ascii_digit())
            .then_some(number)
    }

    /// What it does now.
    pub fn take_out(&mut self) -> Vec<ClientOut> {
        core::mem::take(&mut self.out)
    }

    /// Where it stands, for a person.
    #[must_use]
    pub fn standing(&self) -> String {
        let step = format!("{:?}", self.script.get(self.step));
        let step: String = step.chars().take(100).collect();
        format!(
            "client {} {:?} at step {} of {}: {step}; ready {} of {}",
            self.who.id,
            self.phase,
            self.step,
            self.script.len(),
            self.ready_count,
            self.expected
        )
    }

    /// Connected: begins.
    pub fn begin(&mut self) {
        match self.who.security {
            ClientSecurity::Plain => self.send_startup(),
            ClientSecurity::SslRequest => {
                self.out.push(ClientOut::Bytes(wire::ssl_request()));
                self.phase = Phase::SslAsked;
            }
            ClientSecurity::Direct => {
                // The first bytes of a ClientHello; the rest of TLS is the shell's and has no bytes here.
                self.out
                    .push(ClientOut::Bytes(vec![0x16, 3, 1, 0, 4, 1, 0, 0, 0]));
                self.phase = Phase::TlsPending;
            }
        }
    }

    fn send_startup(&mut self) {
        let mut parameters = vec![
            ("user".to_owned(), self.who.user.clone()),
            ("database".to_owned(), self.who.database.clone()),
        ];
        parameters.extend(self.who.parameters.clone());
        let bytes = wire::startup(self.who.version, &parameters);
        self.out.push(ClientOut::Bytes(bytes));
        self.phase = Phase::Login;
    }

    /// TLS is up.
    pub fn tls_up(&mut self) {
        if self.phase == Phase::TlsPending {
            self.send_startup();
        }
    }

    /// Bytes have come.
    pub fn receive(&mut self, now: u64, bytes: &[u8]) {
        if self.phase == Phase::SslAsked {
            match bytes {
                b"S" => self.phase = Phase::TlsPending,
                b"N" => self.send_startup(),
                _ => self.login_error = Some(bytes.to_vec()),
            }
            return;
        }
        if self.logged_in {
            self.seen.extend_from_slice(bytes);
        }
        self.input.extend_from_slice(bytes);
        let input = core::mem::take(&mut self.input);
        let (messages, used) = wire::split_messages(&input);
        let mut at = 0;
        for message in &messages {
            at += message.len();
            let before = self.logged_in;
            self.message(message);
            if !before && self.logged_in {
                self.seen.extend_from_slice(&input[at..]);
            }
        }
        self.input = input[used..].to_vec();
        self.advance(now);
    }

    fn message(&mut self, message: &[u8]) {
        let (kind, body) = (message[0], &message[5..]);
        if self.logged_in {
            match kind {
                b'Z' => self.ready_count += 1,
                b'A' | b'N' | b'S' => return,
                _ => {}
            }
            self.kinds.push(kind);
            return;
        }
        match kind {
            b'R' => self.prove(body),
            b'S' => self.told.push(message.to_vec()),
            b'K' if body.len() > 4 => {
                let number = u32::from_be_bytes([body[0], body[1], body[2], body[3]]);
                self.key = Some((number, body[4..].to_vec()));
            }
            b'Z' => {
                self.logged_in = true;
                if self.phase == Phase::Login {
                    self.phase = Phase::Ready;
                }
            }
            b'E' => self.login_error = Some(message.to_vec()),
            _ => {}
        }
    }

    fn prove(&mut self, body: &[u8]) {
        let Some((kind, rest)) = body.split_at_checked(4) else {
            return;
        };
        let answer = match kind[3] {
            3 => wire::password(&self.who.password),
            5 => wire::password(&md5_answer(&self.who.user, &self.who.password, rest)),
            10 => {
                let offered = rest.windows(4).any(|w| w == b"PLUS");
                let plus = self.who.end_point.clone().filter(|_| offered);
                let (mechanism, header) = match plus {
                    Some(_) => ("SCRAM-SHA-256-PLUS", "p=tls-server-end-point,,"),
                    None => ("SCRAM-SHA-256", "n,,"),
                };
                let nonce = format!("nonce{}", self.who.id);
                let scram = ScramClient::new(header, &plus.unwrap_or_default(), &nonce);
                let first = scram.first();
                self.scram = Some(scram);
                wire::sasl_initial(mechanism, first.as_bytes())
            }
            11 => {
                let first = String::from_utf8_lossy(rest).into_owned();
                let password = self.who.password.clone();
                let Some(last) = self
                    .scram
                    .as_mut()
                    .and_then(|s| s.finish(&first, &password))
                else {
                    return;
                };
                wire::sasl_response(last.as_bytes())
            }
            12 => {
                let expected = self
                    .scram
                    .as_ref()
                    .and_then(ScramClient::expected_server_final);
                if expected.map(String::into_bytes).as_deref() != Some(rest) {
                    self.login_error = Some(b"E0000 the server's signature is wrong".to_vec());
                }
                return;
            }
            _ => return,
        };
        self.out.push(ClientOut::Bytes(answer));
    }

    /// The other side has ended the connection.
    pub fn lost(&mut self) {
        if self.end.is_none() {
            self.end = Some(End::Cut);
        }
        if self.phase != Phase::Over {
            self.phase = Phase::Over;
            self.out.push(ClientOut::Fin);
        }
    }

    /// The woken client looks whether it may go on.
    pub fn advance(&mut self, now: u64) {
        while self.phase == Phase::Ready {
            if self.paused_until.is_some_and(|at| now < at) {
                return;
            }
            self.paused_until = None;
            let Some(step) = self.script.get(self.step).cloned() else {
                return;
            };
            if !self.play(now, step) {
                return;
            }
            self.step += 1;
        }
    }

    fn play(&mut self, now: u64, step: Step) -> bool {
        match step {
            Step::Send(bytes, cycles) => {
                self.expected += cycles;
                self.kinds.clear();
                self.out.push(ClientOut::Bytes(bytes));
            }
            Step::Await => return self.ready_count >= self.expected,
            Step::AwaitKind(kind) => {
                return self.kinds.iter().any(|k| [kind, b'E', b'Z'].contains(k));
            }
            Step::CopyIn(bytes, cycles) => {
                if !self.kinds.contains(&b'G') {
                    return self.kinds.iter().any(|k| [b'E', b'Z'].contains(k));
                }
                self.expected += cycles;
                self.out.push(ClientOut::Bytes(bytes));
            }
            Step::Pause(time) => {
                self.paused_until = Some(now + time);
                self.out.push(ClientOut::WakeAt(now + time));
            }
            Step::Cancel | Step::BogusCancel => {
                let honest = matches!(step, Step::Cancel);
                if let Some((pid, mut secret)) = self.key.clone() {
                    secret[0] ^= u8::from(!honest);
                    self.out.push(ClientOut::Cancel(pid, secret, honest));
                }
            }
            Step::Leave => {
                self.out.push(ClientOut::Bytes(wire::terminate()));
                self.finish(End::Done, ClientOut::Fin);
            }
            Step::Vanish => self.finish(End::Left, ClientOut::Fin),
            Step::Reset => self.finish(End::Left, ClientOut::Rst),
        }
        true
    }

    fn finish(&mut self, end: End, out: ClientOut) {
        self.end = Some(end);
        self.phase = Phase::Over;
        self.out.push(out);
    }
}
