//! Making a backend clean before anyone else has it: roll back, reset, and prove that it is done.
//!
//! How many answers a server still owes is not always known (a Sync that it may or may not have read as part of a COPY).
//! So mending does not count: it asks for a row that only it can have asked for, and believes nothing before it has come.

use std::collections::VecDeque;
use std::sync::Arc;

use super::frames::{Frames, Malformed};
use super::messages::{self, ErrorFields};

/// What has to be undone.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Damage {
    /// Requests may be unanswered, or a COPY under way: end them.
    pub busy: bool,
    /// A transaction may be open.
    pub transaction: bool,
    /// The session may hold state.
    pub state: bool,
}

/// What the operator wants to be run.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Chores {
    /// What every returned backend runs.
    pub reset_query: Option<Arc<str>>,
    /// What every new session runs.
    pub init_query: Option<Arc<str>>,
}

/// How a mending goes.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
pub enum Mended {
    /// Wait for more bytes.
    NotYet,
    /// The backend is as new.
    Clean,
    /// It can't be mended; close it.
    Hopeless(&'static str),
}

/// One mending under way.
pub struct Mend {
    frames: Frames,
    proof: [u8; 16],
    proven: bool,
    /// What has been sent behind the proof and is not answered yet.
    steps: VecDeque<Step>,
    /// Nothing is mended: the server is asked for a sign of life.
    check: bool,
    /// The last answer has come, but an asynchronous message behind it has not ended.
    ended: bool,
}

/// A request of a mending whose failure makes it hopeless.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Step {
    Proof,
    ResetQuery,
    Discard,
    InitQuery,
}

impl Step {
    const fn failed(self) -> &'static str {
        match self {
            Step::Proof => "the proof failed",
            Step::ResetQuery => "the server refused reset_query",
            Step::Discard => "the reset failed",
            Step::InitQuery => "the server refused init_query",
        }
    }
}

impl Mend {
    /// Starts mending; the bytes are to be sent to the backend. `nonce` must not be guessable by a client; `frames` knows
    /// where the server's stream stands.
    #[must_use]
    pub fn start(damage: Damage, chores: &Chores, nonce: u64, frames: Frames) -> (Mend, Vec<u8>) {
        let mut steps = VecDeque::from([Step::Proof]);
        let proof = hex(nonce);
        let mut out = Vec::with_capacity(160);
        if damage.busy {
            // Ends a COPY; ignored where there is none. The Sync ends a broken extended batch; it costs a ReadyForQuery else.
            messages::copy_fail(&mut out, "client left");
            messages::sync(&mut out);
        }
        if damage.transaction {
            messages::query(&mut out, "ROLLBACK");
        }
        messages::query(
            &mut out,
            &format!("SELECT '{}'", String::from_utf8_lossy(&proof)),
        );
        if let Some(text) = &chores.reset_query {
            messages::query(&mut out, text);
            steps.push_back(Step::ResetQuery);
        }
        if damage.state {
            messages::query(&mut out, "DISCARD ALL");
            steps.push_back(Step::Discard);
        }
        if let Some(text) = &chores.init_query {
            messages::query(&mut out, text);
            steps.push_back(Step::InitQuery);
        }
        let mend = Mend {
            frames,
            proof,
            proven: false,
            check: damage == Damage::default() && steps.len() == 1,
            steps,
            ended: false,
        };
        (mend, out)
    }

    /// Nothing is mended: the server is asked for a sign of life.
    #[must_use]
    pub fn is_check(&self) -> bool {
        self.check
    }

    /// Reads what the backend answers. `on_parameter` hears of reported parameters.
    pub fn feed(&mut self, bytes: &[u8], on_parameter: &mut dyn FnMut(&[u8], &[u8])) -> Mended {
        let mut frames = core::mem::take(&mut self.frames);
        let mut state = Mended::NotYet;
        let fed = frames.feed(bytes, |kind, body| {
            if state == Mended::Clean && !matches!(kind, b'N' | b'S' | b'A') {
                state = Mended::Hopeless("answers after the reset");
            }
            if self.ended && !matches!(kind, b'N' | b'S' | b'A') {
                state = Mended::Hopeless("answers after the reset");
            } else if state == Mended::NotYet && !self.ended {
                state = self.message(kind, body);
            }
            if kind == b'S'
                && let Some((name, value)) = messages::parse_parameter_status(body)
            {
                on_parameter(name, value);
            }
            !matches!(state, Mended::Hopeless(_))
        });
        let torn = !frames.at_boundary();
        self.frames = frames;
        match fed {
            Err(Malformed) => Mended::Hopeless("malformed server message"),
            // The end of an asynchronous message is still to come; wait for it, then be clean.
            Ok(()) if torn && state == Mended::Clean => {
                self.ended = true;
                Mended::NotYet
            }
            Ok(()) if !torn && state == Mended::NotYet && self.ended => Mended::Clean,
            Ok(()) => state,
        }
    }

    fn message(&mut self, kind: u8, body: &[u8]) -> Mended {
        match kind {
            b'E' if ErrorFields::parse(body).ends_session() => {
                Mended::Hopeless("the server ended the session")
            }
            b'E' if self.proven => {
                let step = self.steps.front().copied().unwrap_or(Step::Discard);
                Mended::Hopeless(step.failed())
            }
            b'D' if !self.proven => {
                // One column: int16 count, int32 length, text.
                self.proven = body.get(..6) == Some(&[0, 1, 0, 0, 0, 16])
                    && body.get(6..) == Some(&self.proof);
                Mended::NotYet
            }
            b'Z' if self.proven && body != b"I" => Mended::Hopeless("still in a transaction"),
            b'Z' if self.proven => {
                self.steps.pop_front();
                if self.steps.is_empty() {
                    Mended::Clean
                } else {
                    Mended::NotYet
                }
            }
            // A query of the operator's that waits for data: nobody has any.
            b'G' | b'H' | b'W' if self.proven => {
                Mended::Hopeless("a COPY in reset_query or init_query")
            }
            _ => Mended::NotYet,
        }
    }
}

fn hex(nonce: u64) -> [u8; 16] {
    core::array::from_fn(|i| {
        let nibble = (nonce >> (60 - 4 * i)) & 15;
        b"0123456789abcdef"
            .get(nibble as usize)
            .copied()
            .unwrap_or(b'0')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(text: &[u8]) -> Vec<u8> {
        let mut m = b"D".to_vec();
        m.extend_from_slice(&u32::to_be_bytes(4 + 6 + text.len() as u32));
        m.extend_from_slice(&[0, 1]);
        m.extend_from_slice(&u32::to_be_bytes(text.len() as u32));
        m.extend_from_slice(text);
        m
    }
    const READY: &[u8] = b"Z\0\0\0\x05I";
    const SELECTED: &[u8] = b"C\0\0\0\x0dSELECT 1\0";
    const DISCARDED: &[u8] = b"C\0\0\0\x10DISCARD ALL\0";

    fn mend(damage: Damage) -> Mend {
        mend_with(damage, &Chores::default()).0
    }
    fn mend_with(damage: Damage, chores: &Chores) -> (Mend, Vec<u8>) {
        Mend::start(damage, chores, 0x0123_4567_89ab_cdef, Frames::default())
    }
    fn answer(parts: &[&[u8]]) -> Vec<u8> {
        parts.concat()
    }

    #[test]
    fn nothing_counts_before_the_proof() {
        let mut m = mend(Damage {
            busy: true,
            transaction: true,
            state: true,
        });
        let stale = answer(&[&row(b"x"), SELECTED, READY, DISCARDED, READY, READY]);
        assert_eq!(m.feed(&stale, &mut |_, _| {}), Mended::NotYet);
        let done = answer(&[&row(b"0123456789abcdef"), SELECTED, READY, DISCARDED, READY]);
        for cut in 0..done.len() {
            let mut m = mend(Damage {
                busy: true,
                transaction: true,
                state: true,
            });
            assert_eq!(
                m.feed(&done[..cut], &mut |_, _| {}),
                Mended::NotYet,
                "cut {cut}"
            );
            assert_eq!(
                m.feed(&done[cut..], &mut |_, _| {}),
                Mended::Clean,
                "cut {cut}"
            );
        }
    }

    #[test]
    fn an_open_transaction_or_a_failed_reset_is_hopeless() {
        let mut m = mend(Damage {
            busy: true,
            transaction: true,
            state: false,
        });
        let bad = answer(&[&row(b"0123456789abcdef"), SELECTED, b"Z\0\0\0\x05T"]);
        assert!(matches!(m.feed(&bad, &mut |_, _| {}), Mended::Hopeless(_)));
        let mut m = mend(Damage {
            busy: false,
            transaction: false,
            state: true,
        });
        let bad = answer(&[
            &row(b"0123456789abcdef"),
            SELECTED,
            READY,
            b"E\0\0\0\x0cSERROR\0\0",
            READY,
        ]);
        assert!(matches!(m.feed(&bad, &mut |_, _| {}), Mended::Hopeless(_)));
    }

    #[test]
    fn the_operators_queries_are_answered_one_by_one_and_named_when_they_fail() {
        let chores = Chores {
            reset_query: Some("RESET ALL".into()),
            init_query: Some("SET work_mem = '8MB'; SELECT f()".into()),
        };
        let (mut m, sent) = mend_with(
            Damage {
                state: true,
                ..Damage::default()
            },
            &chores,
        );
        let sent = String::from_utf8_lossy(&sent);
        let at = |text: &str| sent.find(text).unwrap();
        assert!(at("RESET ALL") < at("DISCARD ALL") && at("DISCARD ALL") < at("SET work_mem"));
        assert!(!m.is_check() && mend(Damage::default()).is_check());
        let proof = answer(&[&row(b"0123456789abcdef"), SELECTED, READY]);
        let reset = b"C\0\0\0\x0aRESET\0".as_slice();
        let set = b"C\0\0\0\x08SET\0".as_slice();
        for part in [
            &proof[..],
            reset,
            READY,
            DISCARDED,
            READY,
            set,
            &row(b"1"),
            SELECTED,
        ] {
            assert_eq!(m.feed(part, &mut |_, _| {}), Mended::NotYet);
        }
        assert_eq!(m.feed(READY, &mut |_, _| {}), Mended::Clean);
        let error = b"E\0\0\0\x0cSERROR\0\0".as_slice();
        for (before, named) in [
            (vec![], "reset_query"),
            (vec![reset, READY], "the reset failed"),
            (vec![reset, READY, DISCARDED, READY], "init_query"),
        ] {
            let (mut m, _) = mend_with(
                Damage {
                    state: true,
                    ..Damage::default()
                },
                &chores,
            );
            let said = answer(&[&proof, &before.concat(), error]);
            let Mended::Hopeless(why) = m.feed(&said, &mut |_, _| {}) else {
                panic!("{named} failed and nothing came of it")
            };
            assert!(why.contains(named), "{why}");
        }
    }

    #[test]
    fn an_unfinished_notice_behind_the_end_is_waited_for() {
        let mut m = mend(Damage::default());
        let first = answer(&[&row(b"0123456789abcdef"), SELECTED, READY, b"N\0\0\0"]);
        assert_eq!(m.feed(&first, &mut |_, _| {}), Mended::NotYet);
        assert_eq!(m.feed(b"\x05\0", &mut |_, _| {}), Mended::Clean);
    }

    #[test]
    fn parameters_are_heard_of() {
        let mut m = mend(Damage {
            state: true,
            ..Damage::default()
        });
        let mut heard = Vec::new();
        m.feed(b"S\0\0\0\x11TimeZone\0UTC\0", &mut |n, v| {
            heard.push((n.to_vec(), v.to_vec()))
        });
        assert_eq!(heard, vec![(b"TimeZone".to_vec(), b"UTC".to_vec())]);
    }
}
