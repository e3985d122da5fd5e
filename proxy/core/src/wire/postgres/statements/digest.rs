//! Digests by which statements, and results of statements, are told apart.

use sha2::{Digest as _, Sha256};

/// A digest of what the body of a RowDescription (`n`: NoData) says of the result's columns, as far as a server compares it: names, types
/// and modifiers.
#[must_use]
pub fn result_of(tag: u8, body: &[u8]) -> u128 {
    let mut hasher = Sha256::new();
    hasher.update([tag]);
    let mut rest = body.get(2..).unwrap_or_default();
    while let Some(end) = memchr::memchr(0, rest) {
        let (name, column) = rest.split_at_checked(end + 1).unwrap_or_default();
        hasher.update(name);
        // Behind the table's number and the column's: type, length, modifier.
        hasher.update(column.get(6..16).unwrap_or_default());
        rest = column.get(18..).unwrap_or_default();
    }
    half_of(hasher)
}

/// Of a statement: its text with parameter types, how it is read, and what tells it from equal ones.
pub(super) fn digest(tail: &[u8], reading: &[u8], generation: Option<u128>) -> u128 {
    let mut hasher = Sha256::new();
    if !reading.is_empty() {
        hasher.update(b"\0reading");
        hasher.update(reading.len().to_be_bytes());
        hasher.update(reading);
    }
    hasher.update(tail);
    if let Some(generation) = generation {
        hasher.update(b"\0generation");
        hasher.update(generation.to_be_bytes());
    }
    half_of(hasher)
}

fn half_of(hasher: Sha256) -> u128 {
    let digest = hasher.finalize();
    let half = digest.first_chunk::<16>().copied().unwrap_or_default();
    u128::from_be_bytes(half)
}
