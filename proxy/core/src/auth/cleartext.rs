//! A password sent as it is (only ever asked for inside TLS), compared so that time says nothing about where it differs.

use subtle::ConstantTimeEq;

use super::scram::hmac_sha256;

/// Whether `given` is `expected`. `key` is a secret of this process: digests under it are compared, so neither the place of
/// a difference nor a difference in length shows in the time.
#[must_use]
pub fn matches(given: &[u8], expected: &[u8], key: &[u8; 32]) -> bool {
    let given = hmac_sha256(key, &[given]);
    let expected = hmac_sha256(key, &[expected]);
    given.ct_eq(&expected).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_password_matches() {
        let key = [3; 32];
        assert!(matches(b"secret", b"secret", &key));
        assert!(!matches(b"secreT", b"secret", &key));
        assert!(!matches(b"secret\0", b"secret", &key));
        assert!(!matches(b"", b"secret", &key));
    }
}
