//! SCRAM-SHA-256 and SCRAM-SHA-256-PLUS (RFC 5802, RFC 7677, RFC 5929 `tls-server-end-point`), both roles.
//!
//! Here are the keys, the stored verifier and the small grammar that both roles share. The roles are in [`server`] and
//! [`client`]. PBKDF2 runs only in [`salted_password`]; no role calls it: it is asked for by [`HashJob`].

pub mod client;
pub mod server;
#[cfg(test)]
mod tests;
mod verifier;

use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};
use zeroize::{Zeroize as _, Zeroizing};

pub use client::{Challenge, KeyEntry, Proofs, ScramClient};
pub use server::{Kind, ScramError, ScramServer, Success};
pub use verifier::Verifier;

/// The mechanism without channel binding.
pub const MECHANISM: &str = "SCRAM-SHA-256";
/// The mechanism with channel binding.
pub const MECHANISM_PLUS: &str = "SCRAM-SHA-256-PLUS";
/// The one channel binding type that PostgreSQL and weir know.
pub const BINDING_TYPE: &str = "tls-server-end-point";
/// Random bytes of a nonce, before base64: as many as PostgreSQL takes.
pub const NONCE_LEN: usize = 18;

/// The keys that a login needs, in the client's role. `client_key` is as good as the password for logging in to a server
/// with the same salt and iterations.
#[derive(Clone, PartialEq, Eq)]
pub struct ClientKeys {
    /// HMAC(salted password, "Client Key").
    pub client_key: [u8; 32],
    /// SHA-256(client key).
    pub stored_key: [u8; 32],
    /// HMAC(salted password, "Server Key"): proves the server.
    pub server_key: [u8; 32],
}

impl ClientKeys {
    /// The keys of a salted password.
    #[must_use]
    pub fn from_salted_password(salted: &[u8; 32]) -> ClientKeys {
        let client_key = hmac_sha256(salted, &[b"Client Key"]);
        ClientKeys {
            client_key,
            stored_key: sha256(&client_key),
            server_key: hmac_sha256(salted, &[b"Server Key"]),
        }
    }
}

impl core::fmt::Debug for ClientKeys {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("ClientKeys(..)")
    }
}

impl Drop for ClientKeys {
    fn drop(&mut self) {
        self.client_key.zeroize();
        self.stored_key.zeroize();
        self.server_key.zeroize();
    }
}

/// Work too long for a shard: one PBKDF2.
#[derive(Clone)]
pub struct HashJob {
    /// The password, prepared by SASLprep; never logged.
    pub password: Arc<Zeroizing<String>>,
    /// The server's salt.
    pub salt: Vec<u8>,
    /// The server's iteration count, at most [`crate::limits::SCRAM_ITERATIONS_MAX`].
    pub iterations: u32,
}

impl HashJob {
    /// Does the work: milliseconds to a second. Not for the thread of a shard.
    #[must_use]
    pub fn run(&self) -> [u8; 32] {
        salted_password(self.password.as_bytes(), &self.salt, self.iterations)
    }
}

impl core::fmt::Debug for HashJob {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("HashJob")
            .field("iterations", &self.iterations)
            .finish_non_exhaustive()
    }
}

/// PBKDF2-HMAC-SHA-256 of a prepared password. Takes milliseconds; never called on a shard's thread.
///
/// # Panics
/// Never: HMAC takes keys of any length.
#[must_use]
pub fn salted_password(prepared: &[u8], salt: &[u8], iterations: u32) -> [u8; 32] {
    pbkdf2::pbkdf2_array::<Hmac<Sha256>, 32>(prepared, salt, iterations)
        .expect("HMAC takes keys of any length")
}

/// SASLprep (RFC 4013) of a password; where it is not allowed the password as it is, as PostgreSQL does.
#[must_use]
pub fn prepare_password(password: &str) -> Zeroizing<String> {
    // U+0340 and U+0341 are prohibited, but PostgreSQL looks for that before it normalises them away.
    let odd = password.contains(['\u{340}', '\u{341}']);
    match stringprep::saslprep(password) {
        Ok(prepared) if !odd && !prepared.is_empty() => Zeroizing::new(prepared.into_owned()),
        _ => Zeroizing::new(password.to_owned()),
    }
}

/// HMAC-SHA-256 of the joined parts.
pub(super) fn hmac_sha256(key: &[u8; 32], parts: &[&[u8]]) -> [u8; 32] {
    // A key shorter than a block is padded with zeros by definition; a whole block can't have the wrong length.
    let mut block = [0; 64];
    for (to, from) in block.iter_mut().zip(key) {
        *to = *from;
    }
    let mut mac = Hmac::<Sha256>::new((&block).into());
    block.zeroize();
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

fn xor(a: &[u8; 32], b: &[u8; 32]) -> [u8; 32] {
    let mut out = *a;
    for (to, from) in out.iter_mut().zip(b) {
        *to ^= from;
    }
    out
}

/// Client signature or server signature: HMAC over the three messages joined by commas (RFC 5802, section 3).
fn signature(key: &[u8; 32], bare: &str, server_first: &str, without_proof: &str) -> [u8; 32] {
    let comma = b",".as_slice();
    hmac_sha256(
        key,
        &[
            bare.as_bytes(),
            comma,
            server_first.as_bytes(),
            comma,
            without_proof.as_bytes(),
        ],
    )
}

fn decode_key(text: &str) -> Option<[u8; 32]> {
    STANDARD.decode(text).ok()?.try_into().ok()
}

fn nonce_is_printable(nonce: &str) -> bool {
    nonce
        .bytes()
        .all(|b| (0x21..=0x7e).contains(&b) && b != b',')
}

/// The value of the attribute `name` at the start of `rest`; `rest` moves behind it and its comma.
fn take<'a>(rest: &mut &'a str, name: char) -> Option<&'a str> {
    let (found, value) = take_any(rest)?;
    (found == name).then_some(value)
}

/// The next attribute `x=value`, whatever its letter. `None` at the end or when it is malformed.
fn take_any<'a>(rest: &mut &'a str) -> Option<(char, &'a str)> {
    let (part, behind) = rest.split_once(',').unwrap_or((rest, ""));
    let mut chars = part.chars();
    let name = chars.next().filter(char::is_ascii_alphabetic)?;
    let value = chars.as_str().strip_prefix('=')?;
    *rest = behind;
    Some((name, value))
}
