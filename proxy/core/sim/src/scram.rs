//! SCRAM-SHA-256 in both roles (RFC 5802, RFC 7677) and md5, small and apart from weir's own: each checks the other.

use std::cell::RefCell;
use std::collections::HashMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

type SaltedKey = (String, Vec<u8>, u32);

thread_local! {
    // Seeds use the same few passwords over and over; the work is done once per thread.
    static SALTED: RefCell<HashMap<SaltedKey, [u8; 32]>> = RefCell::default();
}

/// PBKDF2-HMAC-SHA-256 of password, salt and iterations.
#[must_use]
pub fn salted_password(password: &str, salt: &[u8], iterations: u32) -> [u8; 32] {
    let key = (password.to_owned(), salt.to_vec(), iterations);
    SALTED.with_borrow_mut(|known| {
        *known.entry(key).or_insert_with(|| {
            let mut out = [0; 32];
            let _ = pbkdf2::pbkdf2::<Hmac<Sha256>>(password.as_bytes(), salt, iterations, &mut out);
            out
        })
    })
}

fn mac(key: &[u8], text: &[u8]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("any key length will do");
    mac.update(text);
    mac.finalize().into_bytes().into()
}

fn hash(text: &[u8]) -> [u8; 32] {
    Sha256::digest(text).into()
}

/// A value of a comma-separated SCRAM message.
#[must_use]
pub fn attribute(message: &str, name: char) -> Option<&str> {
    message
        .split(',')
        .find_map(|part| part.strip_prefix(name)?.strip_prefix('='))
}

/// The client's side of one exchange.
#[derive(Clone, Debug)]
pub struct ScramClient {
    /// `n,,`, `y,,` or `p=tls-server-end-point,,`.
    pub header: String,
    /// Channel binding data that follows the header in the final message.
    pub binding: Vec<u8>,
    /// The client-first message without the header.
    pub first_bare: String,
    signature: Option<[u8; 32]>,
}

impl ScramClient {
    /// Starts an exchange.
    #[must_use]
    pub fn new(header: &str, binding: &[u8], nonce: &str) -> ScramClient {
        ScramClient {
            header: header.to_owned(),
            binding: binding.to_vec(),
            first_bare: format!("n=,r={nonce}"),
            signature: None,
        }
    }

    /// The client-first message.
    #[must_use]
    pub fn first(&self) -> String {
        format!("{}{}", self.header, self.first_bare)
    }

    /// The client-final message to a server-first message; `None` when that makes no sense.
    pub fn finish(&mut self, server_first: &str, password: &str) -> Option<String> {
        let salt = STANDARD.decode(attribute(server_first, 's')?).ok()?;
        let iterations = attribute(server_first, 'i')?.parse().ok()?;
        let nonce = attribute(server_first, 'r')?;
        let salted = salted_password(password, &salt, iterations);
        let client_key = mac(&salted, b"Client Key");
        let channel = STANDARD.encode([self.header.as_bytes(), &self.binding].concat());
        let bare = format!("c={channel},r={nonce}");
        let signed = format!("{},{server_first},{bare}", self.first_bare);
        let signature = mac(&hash(&client_key), signed.as_bytes());
        let proof: Vec<u8> = client_key
            .iter()
            .zip(signature)
            .map(|(a, b)| a ^ b)
            .collect();
        self.signature = Some(mac(&mac(&salted, b"Server Key"), signed.as_bytes()));
        Some(format!("{bare},p={}", STANDARD.encode(proof)))
    }

    /// What an honest server's final message must be; known after `finish`.
    #[must_use]
    pub fn expected_server_final(&self) -> Option<String> {
        Some(format!("v={}", STANDARD.encode(self.signature?)))
    }
}

/// The server's side of one exchange.
#[derive(Clone, Debug)]
pub struct ScramServer {
    first_bare: String,
    server_first: String,
    channel: Vec<u8>,
    salt: Vec<u8>,
    iterations: u32,
}

impl ScramServer {
    /// Answers a client-first message; `binding` is this server's channel binding data.
    #[must_use]
    pub fn new(
        client_first: &str,
        nonce: &str,
        salt: &[u8],
        iterations: u32,
        binding: &[u8],
    ) -> Option<ScramServer> {
        let at = client_first.match_indices(',').nth(1)?.0 + 1;
        let (header, bare) = client_first.split_at(at);
        let bound: &[u8] = if header.starts_with("p=") {
            binding
        } else {
            b""
        };
        Some(ScramServer {
            first_bare: bare.to_owned(),
            server_first: format!(
                "r={}{nonce},s={},i={iterations}",
                attribute(bare, 'r')?,
                STANDARD.encode(salt)
            ),
            channel: [header.as_bytes(), bound].concat(),
            salt: salt.to_vec(),
            iterations,
        })
    }

    /// The server-first message.
    #[must_use]
    pub fn first(&self) -> &str {
        &self.server_first
    }

    /// The server-final message, or `None` when the proof is wrong.
    #[must_use]
    pub fn verify(&self, client_final: &str, password: &str) -> Option<String> {
        let (bare, proof) = client_final.rsplit_once(",p=")?;
        if STANDARD.decode(attribute(bare, 'c')?).ok()? != self.channel {
            return None;
        }
        if attribute(bare, 'r')? != attribute(&self.server_first, 'r')? {
            return None;
        }
        let salted = salted_password(password, &self.salt, self.iterations);
        let signed = format!("{},{},{bare}", self.first_bare, self.server_first);
        let client_key = mac(&salted, b"Client Key");
        let signature = mac(&hash(&client_key), signed.as_bytes());
        let expected: Vec<u8> = client_key
            .iter()
            .zip(signature)
            .map(|(a, b)| a ^ b)
            .collect();
        if STANDARD.decode(proof).ok()? != expected {
            return None;
        }
        Some(format!(
            "v={}",
            STANDARD.encode(mac(&mac(&salted, b"Server Key"), signed.as_bytes()))
        ))
    }
}

/// PostgreSQL's md5 answer: `md5` + md5(md5(password + user) + salt).
#[must_use]
pub fn md5_answer(user: &str, password: &str, salt: &[u8]) -> String {
    let hex = |bytes: &[u8]| {
        md5::Md5::digest(bytes)
            .iter()
            .map(|b| format!("{b:02x}"))
            .collect::<String>()
    };
    let inner = hex([password.as_bytes(), user.as_bytes()].concat().as_slice());
    format!("md5{}", hex([inner.as_bytes(), salt].concat().as_slice()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_roles_agree_and_a_wrong_password_does_not() {
        for (header, binding) in [
            ("n,,", &b""[..]),
            ("p=tls-server-end-point,,", &b"cert"[..]),
        ] {
            let mut client = ScramClient::new(header, binding, "abc");
            let server = ScramServer::new(&client.first(), "def", b"salt", 4, b"cert").unwrap();
            let last = client.finish(server.first(), "pw").unwrap();
            assert_eq!(server.verify(&last, "pw"), client.expected_server_final());
            assert_eq!(server.verify(&last, "other"), None);
        }
    }

    #[test]
    fn the_example_of_rfc_7677_comes_out() {
        let mut client = ScramClient::new("n,,", b"", "rOprNGfwEbeRWgbNEkqO");
        client.first_bare = "n=user,r=rOprNGfwEbeRWgbNEkqO".to_owned();
        let first = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
        let last = client.finish(first, "pencil").unwrap();
        assert!(last.ends_with("p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="));
        assert_eq!(
            client.expected_server_final().unwrap(),
            "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="
        );
    }
}
