//! A small blocking client of the PostgreSQL protocol, for what no driver does: half messages, sudden ends, lies.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use postgres_protocol::authentication::{md5_hash, sasl};
use rustls::{ClientConfig, ClientConnection, StreamOwned};

use crate::endpoint::Endpoint;

/// Protocol 3.0.
pub const V3_0: u32 = 196_608;
/// Protocol 3.2.
pub const V3_2: u32 = 196_610;
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];
/// A client that waits longer than this for a message has failed.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Debug)]
enum Stream {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

/// A message from the server.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Message {
    /// Its type.
    pub tag: u8,
    /// What follows the length.
    pub body: Vec<u8>,
}

impl Message {
    /// A field of an error or notice.
    pub fn field(&self, kind: u8) -> Option<String> {
        let mut fields = self.body.split(|b| *b == 0);
        fields.find_map(|f| {
            f.split_first()
                .filter(|(k, _)| **k == kind)
                .map(|(_, text)| lossy(text))
        })
    }

    /// `CODE: text` of an error.
    pub fn error(&self) -> String {
        format!(
            "{}: {}",
            self.field(b'C').unwrap_or_default(),
            self.field(b'M').unwrap_or_default()
        )
    }
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// What a simple query came to.
#[derive(Clone, Default, Debug)]
pub struct Answer {
    /// Values of all rows.
    pub rows: Vec<Vec<Option<String>>>,
    /// Command tags.
    pub tags: Vec<String>,
    /// `CODE: text` of the error, if there was one.
    pub error: Option<String>,
    /// Its detail and hint.
    pub more: String,
    /// I, T or E.
    pub status: u8,
}

impl Answer {
    /// The first value.
    pub fn value(&self) -> Result<&str> {
        let first = self
            .rows
            .first()
            .and_then(|row| row.first())
            .and_then(Option::as_deref);
        first.with_context(|| format!("no value, error {:?}", self.error))
    }
}

/// A connection.
#[derive(Debug)]
pub struct Raw {
    stream: Stream,
    /// Process id and secret for cancel requests.
    pub key: Option<(u32, Vec<u8>)>,
    /// What the server said of itself.
    pub parameters: BTreeMap<String, String>,
}

impl Raw {
    /// TCP alone.
    pub fn tcp(port: u16) -> Result<Raw> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Raw {
            stream: Stream::Plain(stream),
            key: None,
            parameters: BTreeMap::new(),
        })
    }

    /// TCP, SSLRequest, handshake.
    pub fn tls(port: u16, config: Arc<ClientConfig>) -> Result<Raw> {
        let mut raw = Raw::tcp(port)?;
        raw.send(&SSL_REQUEST)?;
        let answer = raw.bytes(1)?;
        ensure!(answer == b"S", "SSLRequest was answered {answer:?}");
        raw.handshake(config)
    }

    /// TCP and at once the handshake; the config must offer ALPN `postgresql`.
    pub fn direct_tls(port: u16, config: Arc<ClientConfig>) -> Result<Raw> {
        Raw::tcp(port)?.handshake(config)
    }

    fn handshake(self, config: Arc<ClientConfig>) -> Result<Raw> {
        let Stream::Plain(mut tcp) = self.stream else {
            bail!("TLS twice")
        };
        let name = rustls_pki_types::ServerName::try_from("127.0.0.1")?;
        let mut connection = ClientConnection::new(config, name)?;
        while connection.is_handshaking() {
            connection.complete_io(&mut tcp)?;
        }
        let stream = Stream::Tls(Box::new(StreamOwned::new(connection, tcp)));
        Ok(Raw {
            stream,
            key: None,
            parameters: BTreeMap::new(),
        })
    }

    /// Connects over TLS and logs in.
    pub fn login(endpoint: &Endpoint) -> Result<Raw> {
        let mut raw = Raw::tls(endpoint.port, endpoint.tls())?;
        raw.log_in(endpoint, &[])?;
        Ok(raw)
    }

    /// Logs in on what is connected.
    pub fn log_in(&mut self, endpoint: &Endpoint, parameters: &[(&str, &str)]) -> Result<()> {
        self.startup(V3_0, endpoint, parameters)?;
        self.authenticate(endpoint)
    }

    /// Sends a startup message.
    pub fn startup(
        &mut self,
        version: u32,
        endpoint: &Endpoint,
        parameters: &[(&str, &str)],
    ) -> Result<()> {
        let mut body = version.to_be_bytes().to_vec();
        let usual = [
            ("user", endpoint.user.as_str()),
            ("database", endpoint.database.as_str()),
        ];
        for (name, value) in usual.iter().chain(parameters) {
            body.extend(name.bytes().chain([0]).chain(value.bytes()).chain([0]));
        }
        body.push(0);
        let mut packet = (u32::try_from(body.len())? + 4).to_be_bytes().to_vec();
        packet.extend(body);
        self.send(&packet)
    }

    /// Answers what the server asks until it is ready for queries. An error of the server is an error here.
    pub fn authenticate(&mut self, endpoint: &Endpoint) -> Result<()> {
        let mut scram = None;
        loop {
            let message = self.message()?;
            match message.tag {
                b'R' => self.answer_authentication(&message.body, endpoint, &mut scram)?,
                b'S' => self.note_parameter(&message.body),
                b'K' => {
                    let (pid, secret) = message
                        .body
                        .split_at_checked(4)
                        .context("short BackendKeyData")?;
                    self.key = Some((u32::from_be_bytes(pid.try_into()?), secret.to_vec()));
                }
                b'Z' => return Ok(()),
                b'E' => bail!("{}", message.error()),
                b'N' | b'v' => {}
                other => bail!("unexpected message {:?} at login", char::from(other)),
            }
        }
    }

    fn note_parameter(&mut self, body: &[u8]) {
        let mut parts = body.split(|b| *b == 0).map(lossy);
        if let (Some(name), Some(value)) = (parts.next(), parts.next()) {
            self.parameters.insert(name, value);
        }
    }

    fn answer_authentication(
        &mut self,
        body: &[u8],
        endpoint: &Endpoint,
        scram: &mut Option<sasl::ScramSha256>,
    ) -> Result<()> {
        let (kind, rest) = body
            .split_at_checked(4)
            .context("short authentication message")?;
        let password = endpoint.password.as_bytes();
        match u32::from_be_bytes(kind.try_into()?) {
            0 => Ok(()),
            3 => self.send(&frame(b'p', &[password, &[0]].concat())),
            5 => {
                let salt: [u8; 4] = rest.get(..4).context("short salt")?.try_into()?;
                let proof = md5_hash(endpoint.user.as_bytes(), password, salt);
                self.send(&frame(b'p', &[proof.as_bytes(), &[0]].concat()))
            }
            10 => {
                let machine = sasl::ScramSha256::new(password, sasl::ChannelBinding::unsupported());
                let mut answer = b"SCRAM-SHA-256\0".to_vec();
                answer.extend(u32::try_from(machine.message().len())?.to_be_bytes());
                answer.extend(machine.message());
                *scram = Some(machine);
                self.send(&frame(b'p', &answer))
            }
            11 => {
                let machine = scram.as_mut().context("SASL continues before it began")?;
                machine.update(rest)?;
                let answer = machine.message().to_vec();
                self.send(&frame(b'p', &answer))
            }
            12 => Ok(scram
                .as_mut()
                .context("SASL ends before it began")?
                .finish(rest)?),
            other => bail!("authentication method {other}"),
        }
    }

    /// Sends bytes as they are.
    pub fn send(&mut self, bytes: &[u8]) -> Result<()> {
        match &mut self.stream {
            Stream::Plain(tcp) => tcp.write_all(bytes)?,
            Stream::Tls(tls) => {
                tls.write_all(bytes)?;
                tls.flush()?;
            }
        }
        Ok(())
    }

    /// Receives this many bytes.
    pub fn bytes(&mut self, count: usize) -> Result<Vec<u8>> {
        let mut bytes = vec![0; count];
        match &mut self.stream {
            Stream::Plain(tcp) => tcp.read_exact(&mut bytes)?,
            Stream::Tls(tls) => tls.read_exact(&mut bytes)?,
        }
        Ok(bytes)
    }

    /// Receives what there is, at most this many bytes; none at the end of the connection.
    pub fn some(&mut self, most: usize) -> Result<Vec<u8>> {
        let mut bytes = vec![0; most];
        let count = match &mut self.stream {
            Stream::Plain(tcp) => tcp.read(&mut bytes)?,
            Stream::Tls(tls) => tls.read(&mut bytes)?,
        };
        bytes.truncate(count);
        Ok(bytes)
    }

    /// Whether the other side has ended the connection; waits for it this long at most. Bytes that come are dropped.
    pub fn ends_within(&mut self, most: Duration) -> Result<bool> {
        let deadline = std::time::Instant::now() + most;
        while let Some(left) = deadline.checked_duration_since(std::time::Instant::now()) {
            self.patience(left.max(Duration::from_millis(1)))?;
            match self.some(4096) {
                Ok(bytes) if bytes.is_empty() => return Ok(true),
                Ok(_) => {}
                Err(error) if timed_out(&error) => break,
                Err(_) => return Ok(true),
            }
        }
        self.patience(PATIENCE)?;
        Ok(false)
    }

    /// How long a read waits.
    pub fn patience(&mut self, most: Duration) -> Result<()> {
        Ok(self.tcp_stream().set_read_timeout(Some(most))?)
    }

    /// Receives a message.
    pub fn message(&mut self) -> Result<Message> {
        let head = self.bytes(5)?;
        let [tag, length @ ..] = head.as_slice() else {
            bail!("no head")
        };
        let length = u32::from_be_bytes(length.try_into()?);
        let body = length
            .checked_sub(4)
            .with_context(|| format!("length {length}"))?;
        Ok(Message {
            tag: *tag,
            body: self.bytes(usize::try_from(body)?)?,
        })
    }

    /// Receives messages until one of this type; that one is the last.
    pub fn messages_until(&mut self, tag: u8) -> Result<Vec<Message>> {
        let mut messages = Vec::new();
        loop {
            let message = self.message()?;
            let done = message.tag == tag;
            messages.push(message);
            if done {
                return Ok(messages);
            }
        }
    }

    /// Sends a simple query without waiting.
    pub fn send_query(&mut self, sql: &str) -> Result<()> {
        self.send(&query(sql))
    }

    /// A simple query and everything it is answered with.
    pub fn query(&mut self, sql: &str) -> Result<Answer> {
        self.send_query(sql)?;
        self.answer()
    }

    /// What comes until the server is ready.
    pub fn answer(&mut self) -> Result<Answer> {
        let mut answer = Answer::default();
        loop {
            let message = self.message()?;
            match message.tag {
                b'D' => answer.rows.push(row(&message.body)?),
                b'C' => answer
                    .tags
                    .push(lossy(message.body.strip_suffix(&[0]).unwrap_or_default())),
                b'E' => {
                    answer.more = [b'D', b'H']
                        .iter()
                        .filter_map(|kind| message.field(*kind))
                        .collect();
                    answer.error = Some(message.error());
                }
                b'S' => self.note_parameter(&message.body),
                b'Z' => {
                    answer.status = message.body.first().copied().unwrap_or_default();
                    return Ok(answer);
                }
                _ => {}
            }
        }
    }

    /// One value of a query that must succeed.
    pub fn value(&mut self, sql: &str) -> Result<String> {
        Ok(self
            .query(sql)?
            .value()
            .with_context(|| sql.to_owned())?
            .to_owned())
    }

    /// A query that must succeed.
    pub fn run(&mut self, sql: &str) -> Result<Answer> {
        let answer = self.query(sql)?;
        match &answer.error {
            Some(error) => bail!("{sql}: {error}"),
            None => Ok(answer),
        }
    }

    /// The socket.
    pub fn tcp_stream(&self) -> &TcpStream {
        match &self.stream {
            Stream::Plain(tcp) => tcp,
            Stream::Tls(tls) => &tls.sock,
        }
    }

    /// The TLS side, when there is one.
    pub fn tls_state(&self) -> Option<&ClientConnection> {
        match &self.stream {
            Stream::Plain(_) => None,
            Stream::Tls(tls) => Some(&tls.conn),
        }
    }

    /// Ends the connection with a reset.
    pub fn reset(self) -> Result<()> {
        socket2::SockRef::from(self.tcp_stream()).set_linger(Some(Duration::ZERO))?;
        Ok(())
    }

    /// Ends the sending direction only.
    pub fn half_close(&self) -> Result<()> {
        Ok(self.tcp_stream().shutdown(Shutdown::Write)?)
    }
}

/// Whether an error is a read that waited too long.
pub fn timed_out(error: &anyhow::Error) -> bool {
    let kind = error
        .downcast_ref::<std::io::Error>()
        .map(std::io::Error::kind);
    matches!(
        kind,
        Some(std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut)
    )
}

/// A message of the client: type, length, body.
pub fn frame(tag: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).unwrap_or(u32::MAX);
    let mut message = vec![tag];
    message.extend(length.to_be_bytes());
    message.extend(body);
    message
}

/// A simple query message.
pub fn query(sql: &str) -> Vec<u8> {
    frame(b'Q', &[sql.as_bytes(), &[0]].concat())
}

/// Sends a cancel request on a connection of its own (plain TCP or TLS, as given) and waits for its end.
pub fn cancel(mut raw: Raw, key: &(u32, Vec<u8>)) -> Result<()> {
    let mut body = 80_877_102_u32.to_be_bytes().to_vec();
    body.extend(key.0.to_be_bytes());
    body.extend(&key.1);
    let mut packet = (u32::try_from(body.len())? + 4).to_be_bytes().to_vec();
    packet.extend(body);
    raw.send(&packet)?;
    ensure!(
        raw.ends_within(Duration::from_secs(5))?,
        "the cancel request's connection stays open"
    );
    Ok(())
}

fn row(body: &[u8]) -> Result<Vec<Option<String>>> {
    let mut rest = body.get(2..).context("short DataRow")?;
    let mut values = Vec::new();
    while let Some((length, tail)) = rest.split_at_checked(4) {
        let length = i32::from_be_bytes(length.try_into()?);
        let (value, tail) = match usize::try_from(length) {
            Ok(length) => {
                let (value, tail) = tail.split_at_checked(length).context("short DataRow")?;
                (Some(lossy(value)), tail)
            }
            Err(_) => (None, tail),
        };
        values.push(value);
        rest = tail;
    }
    Ok(values)
}
