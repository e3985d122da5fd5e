//! One connection of a transcript: puts weir's bytes together to messages, and keeps what answers need.

use weir_core::ids::ConnId;
use weir_sim::notation::{Way, describe, quote};
use weir_sim::scram::{ScramClient, ScramServer};
use weir_sim::wire;

/// One connection, seen from its far end.
pub struct Voice {
    /// weir's name of it while it is open.
    pub conn: Option<ConnId>,
    /// Which way weir's messages go: to a client `Back`, to a server `Front`.
    pub way: Way,
    /// The salt of the last md5 request.
    pub salt: Vec<u8>,
    /// The cancel key that weir gave out.
    pub key: Option<(u32, Vec<u8>)>,
    buffer: Vec<u8>,
    /// The next bytes are the single byte that answers SSLRequest or GSSENCRequest.
    started: bool,
    client: Option<ScramClient>,
    server: Option<ScramServer>,
    /// The last SASL message that weir sent.
    sasl: Vec<u8>,
}

impl Voice {
    pub fn new(conn: ConnId, way: Way) -> Voice {
        Voice {
            conn: Some(conn),
            way,
            salt: Vec::new(),
            key: None,
            buffer: Vec::new(),
            started: false,
            client: None,
            server: None,
            sasl: Vec::new(),
        }
    }

    /// weir has sent something: the messages that are whole now.
    pub fn hear(&mut self, bytes: &[u8]) -> Vec<String> {
        self.buffer.extend_from_slice(bytes);
        let mut found = Vec::new();
        while let Some(length) = self.whole() {
            let message: Vec<u8> = self.buffer.drain(..length).collect();
            found.push(self.told(&message));
        }
        found
    }

    /// Bytes that are no whole message when weir has nothing more to say.
    pub fn rest(&mut self) -> Option<String> {
        if self.buffer.is_empty() {
            return None;
        }
        let bytes = core::mem::take(&mut self.buffer);
        Some(format!("Bytes {}", quote(&bytes)))
    }

    fn whole(&mut self) -> Option<usize> {
        let first = *self.buffer.first()?;
        if self.way == Way::Back && !self.started && matches!(self.buffer.as_slice(), b"S" | b"N") {
            return Some(1);
        }
        if self.way == Way::Front && first == 0 {
            let length = u32::from_be_bytes(self.buffer.get(..4)?.try_into().ok()?) as usize;
            return (self.buffer.len() >= length).then_some(length);
        }
        wire::first_message(&self.buffer).map(|m| m.2)
    }

    /// A message in words; what only weir can know is kept here and shown with `$`.
    fn told(&mut self, message: &[u8]) -> String {
        if message.len() == 1 {
            return format!("Bytes {}", quote(message));
        }
        self.started = true;
        let body = message.get(5..).unwrap_or_default();
        let kind = body
            .get(..4)
            .map_or(0, |b| u32::from_be_bytes([b[0], b[1], b[2], b[3]]));
        match (self.way, message[0], kind) {
            (Way::Back, b'R', 5) if body.len() == 8 => {
                self.salt = body[4..].to_vec();
                "AuthenticationMD5Password $salt".to_owned()
            }
            (Way::Back, b'R', 11) => {
                self.sasl = body[4..].to_vec();
                self.server_first()
            }
            (Way::Back, b'R', 12) => {
                let expected = self
                    .client
                    .as_ref()
                    .and_then(ScramClient::expected_server_final);
                let right = expected.is_some_and(|e| e.as_bytes() == &body[4..]);
                format!(
                    "AuthenticationSASLFinal {}",
                    if right { "$signature" } else { "$WRONG" }
                )
            }
            (Way::Back, b'K', pid) => {
                self.key = Some((pid, body[4..].to_vec()));
                format!("BackendKeyData $key of {} bytes", body.len() - 4)
            }
            (Way::Front, b'p', _) if !body.ends_with(b"\0") => self.client_sasl(body),
            _ => describe(self.way, message),
        }
    }

    fn server_first(&self) -> String {
        let text = String::from_utf8_lossy(&self.sasl);
        let nonce = self
            .client
            .as_ref()
            .map(|c| c.first_bare.replace("n=,", ""));
        let right = nonce.is_some_and(|n| text.starts_with(&n) && text.len() > n.len() + 24);
        let rest = text.split_once(",s=").map_or("", |r| r.1);
        let (salt, iterations) = rest.split_once(',').unwrap_or(("", ""));
        format!(
            "AuthenticationSASLContinue {} salt of {} {iterations}",
            if right { "$nonce" } else { "$WRONG" },
            salt.len()
        )
    }

    fn client_sasl(&mut self, body: &[u8]) -> String {
        if let Some((mechanism, rest)) = wire::cstr(body)
            && rest.len() > 4
        {
            self.sasl = rest[4..].to_vec();
            let text = String::from_utf8_lossy(&self.sasl).into_owned();
            let header = text.split("n=").next().unwrap_or_default().to_owned();
            return format!(
                "SaslInitial {mechanism} {} $nonce",
                quote(header.as_bytes())
            );
        }
        self.sasl = body.to_vec();
        "SaslResponse $proof".to_owned()
    }

    /// A client begins SCRAM; `plus` with channel binding.
    pub fn scram_first(&mut self, how: &str) -> Vec<u8> {
        let (mechanism, header, binding) = match how {
            "plus" => (
                "SCRAM-SHA-256-PLUS",
                "p=tls-server-end-point,,",
                super::setup::CLIENT_END_POINT,
            ),
            "wrong-binding" => (
                "SCRAM-SHA-256-PLUS",
                "p=tls-server-end-point,,",
                &b"another certificate"[..],
            ),
            _ => ("SCRAM-SHA-256", "n,,", &b""[..]),
        };
        let scram = ScramClient::new(header, binding, "client-nonce");
        let first = scram.first();
        self.client = Some(scram);
        wire::sasl_initial(mechanism, first.as_bytes())
    }

    /// A client's proof that it knows this password.
    pub fn scram_final(&mut self, password: &str) -> Result<Vec<u8>, String> {
        let first = String::from_utf8_lossy(&self.sasl).into_owned();
        let last = self
            .client
            .as_mut()
            .and_then(|c| c.finish(&first, password));
        last.map(|l| wire::sasl_response(l.as_bytes()))
            .ok_or("no SCRAM under way".to_owned())
    }

    /// The server's answer to weir's first SCRAM message.
    pub fn scram_continue(&mut self) -> Result<Vec<u8>, String> {
        let first = String::from_utf8_lossy(&self.sasl).into_owned();
        let server = ScramServer::new(
            &first,
            "server-nonce",
            b"saltsalt",
            16,
            super::setup::SERVER_END_POINT,
        );
        let server = server.ok_or("no SCRAM under way")?;
        let bytes = wire::authentication(11, server.first().as_bytes());
        self.server = Some(server);
        Ok(bytes)
    }

    /// The server's signature, if weir's proof fits this password.
    pub fn scram_verified(&mut self, password: &str) -> Result<Vec<u8>, String> {
        let last = String::from_utf8_lossy(&self.sasl).into_owned();
        let signature = self.server.as_ref().and_then(|s| s.verify(&last, password));
        let signature = signature.ok_or("weir's proof is wrong")?;
        Ok(wire::authentication(12, signature.as_bytes()))
    }
}
