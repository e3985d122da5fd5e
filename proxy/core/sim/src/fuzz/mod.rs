//! Entry points for fuzzers: any bytes must end in an answer or a close, never a panic, a hang or growth.
//!
//! The same functions serve libFuzzer (`proxy/core/fuzz`) and `weir-sim fuzz`, which needs no extra toolchain.

mod input;
mod session;

use std::sync::Arc;

use weir_core::sql::postgres::{inspect, shape};
use weir_core::wire::{Catalog, Conversation, Desk, Familiar, Held, Lent, Pids, Traits};

use crate::rng::Rng;
use input::Input;

pub use session::session;

/// One entry point.
pub type Target = fn(&[u8]);

/// All entry points by name.
pub const TARGETS: &[(&str, Target)] =
    &[("framing", framing), ("lexer", lexer), ("session", session)];

/// Client and server bytes, cut by the input, through one conversation.
///
/// # Panics
/// When the machine gives out ranges that are not there, or keeps more than it may.
pub fn framing(data: &[u8]) {
    let mut input = Input(data);
    let mut talk = Conversation::new();
    talk.start_lend();
    let (mut catalog, mut held) = (Catalog::default(), Held::default());
    let mut familiar = Familiar::default();
    let long = Arc::new(());
    let (mut spare, mut made) = (Vec::new(), Vec::new());
    while let Some(control) = input.byte() {
        let size = usize::from(control >> 1);
        if control & 1 == 0 {
            let bytes = input.bytes(size);
            let mut desk = Desk {
                catalog: &mut catalog,
                held: Some(&mut held),
                pinned: false,
                pins: weir_core::pins::Pins::NONE,
                traits: Traits::default(),
                familiar: &mut familiar,
                long: &long,
                spare: &mut spare,
                made: &mut made,
            };
            let out = talk.client_sharing(bytes, &mut desk);
            assert!(
                out.start <= out.end && out.end <= bytes.len(),
                "a range outside the bytes"
            );
            // Each use of a statement may need it to be prepared again.
            let most = data.len() * data.len() + 4096;
            assert!(out.head.len() <= most, "more made than came");
            if out.end_of.is_some() {
                return;
            }
        } else {
            let bytes = input.bytes(size);
            let mut lent = Lent {
                held: &mut held,
                on_parameter: &mut |_, _| {},
                pids: Some(Pids { real: 1, shown: 2 }),
            };
            let out = talk.server(bytes, &mut lent);
            let mut at = 0;
            for edit in &out.edits {
                assert!(
                    at <= edit.from && edit.from <= edit.to && edit.to <= bytes.len(),
                    "an edit outside the bytes"
                );
                at = edit.to;
            }
            if out.violation.is_some() {
                talk.end_lend();
                talk.start_lend();
            } else if out.resume_client {
                let _ = talk.client(b"");
            }
        }
        assert!(talk.owed() <= 2 * data.len() + weir_core::limits::REPLIES_OWED_MAX + 16);
    }
    let _ = (talk.releasable(), talk.settled(), talk.pending_segments());
}

/// A statement's text.
pub fn lexer(data: &[u8]) {
    let facts = inspect(data);
    let again = inspect(data);
    assert_eq!(facts.pins, again.pins, "the same text, another verdict");
    let mut out = String::new();
    shape(data, &mut out, 256);
    assert!(out.len() <= 256 + 8, "a shape longer than allowed");
}

/// An input: random, or shaped so that it gets somewhere.
#[must_use]
pub fn make_input(rng: &mut Rng, target: &str) -> Vec<u8> {
    let length = rng.range(1, 400);
    if target == "session" {
        let mut bytes = vec![rng.next_u64() as u8];
        // A client and a backend that get through, then anything.
        for _ in 0..rng.below(3) {
            bytes.extend([0, 0, 5, 0, 10, 0, 4, 0, 14, 0, 14, 0, 5, 0, 10, 0]);
        }
        bytes.extend((0..length).map(|_| rng.next_u64() as u8));
        return bytes;
    }
    const WORDS: &[&str] = &[
        "select ",
        "set ",
        "begin",
        ";",
        "'",
        "\"",
        "$$",
        "/*",
        "*/",
        "--",
        "\n",
        "(",
        ")",
        "e'\\",
        "$1",
        "create temp table ",
        "nextval(",
        "::",
        "u&'",
        " into ",
        "as ",
        "prepare ",
        "P\0\0\0\x08\0\0\0\0",
        "S\0\0\0\x04",
        "Z\0\0\0\x05I",
        "Q\0\0\0\x05\0",
        "E\0\0\0\x09\0\0\0\0\0",
        "1\0\0\0\x04",
        "B\0\0\0\x0c\0\0\0\0\0\0\0\0",
    ];
    let mut bytes = Vec::new();
    for _ in 0..length / 4 {
        if rng.chance(50) {
            bytes.push(rng.next_u64() as u8);
        } else {
            bytes.extend(rng.pick(WORDS).as_bytes());
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_thousand_inputs_end_well() {
        let mut rng = Rng::new(1);
        for (name, target) in TARGETS {
            for _ in 0..2000 {
                target(&make_input(&mut rng, name));
            }
        }
    }
}
