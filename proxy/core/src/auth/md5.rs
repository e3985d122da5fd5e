//! PostgreSQL's md5 login (manual, "Protocol Flow", AuthenticationMD5Password): `md5` followed by
//! hex(md5(hex(md5(password, user)), salt)). Weak, kept for servers and clients that know nothing better.

use md5::{Digest, Md5};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// Bytes of an answer: `md5` and 32 hexadecimal digits.
pub const ANSWER_LEN: usize = 35;

/// What a client answers to `salt`, without the final NUL.
#[must_use]
pub fn answer(password: &[u8], user: &[u8], salt: [u8; 4]) -> [u8; ANSWER_LEN] {
    let stored = Zeroizing::new(hex_digest(&[password, user]));
    let digits = hex_digest(&[stored.as_slice(), &salt]);
    let mut answer = [0; ANSWER_LEN];
    for (to, from) in answer.iter_mut().zip(b"md5".iter().chain(&digits)) {
        *to = *from;
    }
    answer
}

/// Whether `given` (without the final NUL) answers `salt`; compared in constant time.
#[must_use]
pub fn check(given: &[u8], password: &[u8], user: &[u8], salt: [u8; 4]) -> bool {
    answer(password, user, salt).as_slice().ct_eq(given).into()
}

fn hex_digest(parts: &[&[u8]]) -> [u8; 32] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut hash = Md5::new();
    for part in parts {
        hash.update(part);
    }
    let digest = hash.finalize();
    let mut digits = [0; 32];
    for (pair, byte) in digits.chunks_exact_mut(2).zip(digest) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 15)];
    }
    digits
}

#[cfg(test)]
mod tests {
    use super::*;

    // The inner digest of the first one is what PostgreSQL stores for user "alice" with password "secret".
    #[test]
    fn answers_are_those_of_the_definition() {
        assert_eq!(
            hex_digest(&[b"secret", b"alice"]),
            *b"4a0a68b43b6cd5cf266fa02f196e2371"
        );
        assert_eq!(
            &answer(b"secret", b"alice", [1, 2, 3, 4]),
            b"md598a0412b9c31436fc53776e863350083"
        );
    }

    #[test]
    fn only_the_right_answer_passes() {
        let salt = [9, 8, 7, 6];
        let right = answer(b"secret", b"alice", salt);
        assert!(check(&right, b"secret", b"alice", salt));
        assert!(!check(&right, b"secret", b"alice", [9, 8, 7, 5]));
        assert!(!check(&right, b"secreT", b"alice", salt));
        assert!(!check(&right, b"secret", b"bob", salt));
        assert!(!check(&right[..34], b"secret", b"alice", salt));
        assert!(!check(b"", b"secret", b"alice", salt));
    }
}
