//! What a client hears when it is logged in, made from what the server once said to a backend of its profile.

use super::messages;
use super::startup::Parameters;

/// ParameterStatus for all, BackendKeyData, ReadyForQuery.
#[must_use]
pub fn greeting(known: &Parameters, key: u32, secret: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(512);
    for (name, value) in known {
        messages::parameter_status(&mut out, name, value);
    }
    messages::backend_key_data(&mut out, key, secret);
    messages::ready_for_query(&mut out, b'I');
    out
}

/// Terminate: how a backend is closed politely.
#[must_use]
pub fn goodbye() -> Vec<u8> {
    let mut out = Vec::new();
    messages::terminate(&mut out);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(pairs: &[(&str, &str)]) -> Parameters {
        pairs
            .iter()
            .map(|(n, v)| (n.as_bytes().into(), v.as_bytes().into()))
            .collect()
    }

    #[test]
    fn a_greeting_ends_in_ready() {
        assert_eq!(
            greeting(&known(&[("a", "1")]), 7, &[1, 2, 3, 4]),
            b"S\0\0\0\x08a\x001\0K\0\0\0\x0c\0\0\0\x07\x01\x02\x03\x04Z\0\0\0\x05I"
        );
    }
}
