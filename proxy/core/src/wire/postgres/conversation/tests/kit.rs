//! A session under test: a short notation for messages, and the pieces in which they arrive.

use std::sync::Arc;

use crate::pins::Pins;
use crate::wire::postgres::conversation::{ClientEnd, Conversation, Lent, Pids};
use crate::wire::postgres::familiar::Familiar;
use crate::wire::postgres::statements::{Catalog, Desk, Held, Traits};

/// One step of a table.
#[derive(Clone, Copy)]
pub(super) enum Step {
    /// The client sends; all of it must reach the server.
    C(&'static str),
    /// The server sends; all of it must reach the client, but `3-`.
    S(&'static str),
    /// The server sends what can't be.
    Bad(&'static str),
    /// Messages under way.
    Owed(usize),
    /// The backend may go.
    Free,
    /// The backend may not go.
    Kept,
}

/// What the backend under test and its client are called.
pub(super) const PIDS: Pids = Pids {
    real: 4711,
    shown: 12,
};

/// How bytes are cut.
#[derive(Clone, Copy, Debug)]
pub(super) enum Pieces {
    Whole,
    Bytes,
    Random(u64),
}

/// A session, what reached whom, and what was said of it.
pub(super) struct Talk {
    pub(super) conversation: Conversation,
    pub(super) pieces: Pieces,
    pub(super) to_server: Vec<u8>,
    pub(super) to_client: Vec<u8>,
    pub(super) pins: Pins,
    pub(super) needs_server: bool,
    pub(super) new_requests: bool,
    pub(super) end: Option<ClientEnd>,
    pub(super) parameters: Vec<(Vec<u8>, Vec<u8>)>,
    pub(super) cycles: u32,
    pub(super) errors: u32,
    pub(super) fatal: bool,
    pub(super) violation: Option<&'static str>,
    /// Named statements are shared.
    pub(super) sharing: bool,
    pub(super) catalog: Catalog,
    pub(super) held: Held,
    pub(super) familiar: Familiar,
    pub(super) long: Arc<()>,
}

impl Talk {
    pub(super) fn new(pieces: Pieces) -> Talk {
        Talk {
            conversation: Conversation::new(),
            pieces,
            to_server: Vec::new(),
            to_client: Vec::new(),
            pins: Pins::NONE,
            needs_server: false,
            new_requests: false,
            end: None,
            parameters: Vec::new(),
            cycles: 0,
            errors: 0,
            fatal: false,
            violation: None,
            sharing: false,
            catalog: Catalog::default(),
            held: Held::default(),
            familiar: Familiar::default(),
            long: Arc::new(()),
        }
    }

    pub(super) fn lent(pieces: Pieces) -> Talk {
        let mut talk = Talk::new(pieces);
        talk.conversation.start_lend();
        talk
    }

    pub(super) fn client(&mut self, bytes: &[u8]) {
        for piece in cut(bytes, &mut self.pieces) {
            self.client_piece(piece);
        }
    }

    pub(super) fn client_piece(&mut self, piece: &[u8]) {
        if self.end.is_some() {
            return;
        }
        let out = if self.sharing {
            let mut desk = Desk {
                catalog: &mut self.catalog,
                held: Some(&mut self.held),
                pinned: false,
                pins: Pins::NONE,
                traits: Traits::default(),
                familiar: &mut self.familiar,
                long: &self.long,
                spare: &mut Vec::new(),
                made: &mut Vec::new(),
            };
            self.conversation.client_sharing(piece, &mut desk)
        } else {
            self.conversation.client(piece)
        };
        self.to_client.extend_from_slice(&out.answer);
        self.to_server.extend_from_slice(&out.head);
        self.to_server.extend_from_slice(&piece[out.start..out.end]);
        self.pins.add(out.pins);
        self.needs_server |= out.needs_server;
        self.new_requests |= out.new_requests;
        self.end = out.end_of;
    }

    pub(super) fn server(&mut self, bytes: &[u8]) {
        for piece in cut(bytes, &mut self.pieces) {
            let parameters = &mut self.parameters;
            let mut lent = Lent {
                held: &mut self.held,
                on_parameter: &mut |name, value| {
                    parameters.push((name.to_vec(), value.to_vec()));
                },
                pids: Some(PIDS),
            };
            let out = self.conversation.server(piece, &mut lent);
            self.to_client.extend_from_slice(&out.head);
            let mut at = 0;
            for edit in out.edits {
                assert!(at <= edit.from && edit.from <= edit.to && edit.to <= out.end);
                assert!(edit.from < edit.to || !edit.instead.is_empty());
                self.to_client.extend_from_slice(&piece[at..edit.from]);
                self.to_client.extend_from_slice(&edit.instead);
                at = edit.to;
            }
            if out.stale_plan {
                self.conversation.retire_statements(&mut self.catalog);
            }
            if out.redefined {
                self.catalog.renew();
            }
            self.to_client.extend_from_slice(&piece[at..out.end]);
            self.cycles += out.cycles;
            self.errors += out.errors;
            self.fatal |= out.fatal;
            self.violation = self.violation.or(out.violation);
            if self.violation.is_some() {
                return;
            }
            if out.resume_client {
                self.client_piece(&[]);
            }
        }
    }

    /// What has gone to the server since the last call.
    pub(super) fn sent(&mut self) -> Vec<u8> {
        core::mem::take(&mut self.to_server)
    }

    fn step(&mut self, step: Step) {
        let free = self.conversation.releasable();
        match step {
            Step::C(tokens) => {
                self.client(&client(tokens));
                assert_eq!(self.sent(), client(tokens), "to the server: {tokens}");
                assert_eq!(self.end, None, "{tokens}");
            }
            Step::S(tokens) => {
                self.server(&server(tokens));
                assert_eq!(self.violation, None, "{tokens}");
                let seen = server(&tokens.replace("3-", ""));
                assert_eq!(core::mem::take(&mut self.to_client), seen, "{tokens}");
            }
            Step::Bad(tokens) => {
                self.server(&server(tokens));
                assert!(self.violation.is_some(), "{tokens} was taken");
            }
            Step::Owed(count) => assert_eq!(self.conversation.owed(), count),
            Step::Free => assert!(free, "not free: {:?}", self.conversation),
            Step::Kept => assert!(!free, "free: {:?}", self.conversation),
        }
    }
}

/// Runs a table on a fresh session with a backend, in every way of cutting.
pub(super) fn run(name: &str, steps: &[Step]) {
    for pieces in ways() {
        println!("{name}, {pieces:?}");
        let mut talk = Talk::lent(pieces);
        for (number, step) in steps.iter().enumerate() {
            println!("  step {number}");
            talk.step(*step);
        }
    }
}

/// Runs a whole test in every way of cutting.
pub(super) fn everywhere(test: impl Fn(Talk)) {
    for pieces in ways() {
        println!("{pieces:?}");
        test(Talk::new(pieces));
    }
}

fn ways() -> impl Iterator<Item = Pieces> {
    let random = (1..40).map(Pieces::Random);
    [Pieces::Whole, Pieces::Bytes].into_iter().chain(random)
}

pub(super) fn next_random(seed: &mut u64) -> u64 {
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    *seed
}

fn cut<'a>(mut bytes: &'a [u8], pieces: &mut Pieces) -> Vec<&'a [u8]> {
    let mut all = Vec::new();
    while !bytes.is_empty() {
        let length = match pieces {
            Pieces::Whole => bytes.len(),
            Pieces::Bytes => 1,
            Pieces::Random(seed) => 1 + (next_random(seed) % 23) as usize,
        };
        let (piece, rest) = bytes.split_at(length.min(bytes.len()));
        all.push(piece);
        bytes = rest;
    }
    all
}

/// One message.
pub(super) fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![tag];
    bytes.extend_from_slice(&(body.len() as u32 + 4).to_be_bytes());
    bytes.extend_from_slice(body);
    bytes
}

pub(super) fn query(text: &[u8]) -> Vec<u8> {
    message(b'Q', &[text, b"\0"].concat())
}

pub(super) fn parse(name: &[u8], text: &[u8]) -> Vec<u8> {
    message(b'P', &[name, b"\0", text, b"\0\0\0"].concat())
}

pub(super) fn bind(portal: &[u8], statement: &[u8]) -> Vec<u8> {
    let tail = b"\0\0\0\0\0\x01\0\0\0\x03abc\0\0";
    message(b'B', &[portal, b"\0", statement, b"\0", tail].concat())
}

pub(super) fn error(severity: &str, code: &str) -> Vec<u8> {
    // A translated severity comes first, as servers send it.
    let text = format!("SFEHLER\0V{severity}\0C{code}\0Mit is so\0\0");
    message(b'E', text.as_bytes())
}

/// An error that leaves the session up, of this text.
pub(super) fn error_saying(code: &str, text: &str) -> Vec<u8> {
    let body = format!("SERROR\0VERROR\0C{code}\0M{text}\0\0");
    message(b'E', body.as_bytes())
}

/// A client's messages: a letter each, `*` for a named statement.
pub(super) fn client(tokens: &str) -> Vec<u8> {
    let one = |token| match token {
        "Q" => query(b"select 1"),
        "P" => parse(b"", b"select $1"),
        "P*" => parse(b"name", b"select $1"),
        "B" => bind(b"", b""),
        "B*" => bind(b"portal", b"name"),
        "D" => message(b'D', b"S\0"),
        "D*" => message(b'D', b"Sname\0"),
        "DP" => message(b'D', b"P\0"),
        "E" => message(b'E', b"\0\0\0\0\0"),
        "C" => message(b'C', b"S\0"),
        "C*" => message(b'C', b"Sname\0"),
        "CP" => message(b'C', b"P\0"),
        "F" => message(b'F', b"\0\0\x03\xb9\0\0\0\0\0\0"),
        "S" => message(b'S', b""),
        "H" => message(b'H', b""),
        "X" => message(b'X', b""),
        "d" => message(b'd', b"some\tdata\n"),
        "c" => message(b'c', b""),
        "f" => message(b'f', b"no more\0"),
        other => panic!("no client message {other}"),
    };
    tokens.split_whitespace().flat_map(one).collect()
}

/// A server's messages: a letter each, `Z` with its status, `EF` is fatal, `EP` a protocol error.
pub(super) fn server(tokens: &str) -> Vec<u8> {
    let one = |token| match token {
        "1" | "2" | "3" | "n" | "s" | "I" | "c" => message(token.as_bytes()[0], b""),
        "3-" => message(b'3', b""),
        "T" => message(
            b'T',
            b"\0\x01a\0\0\0\0\0\0\0\0\0\0\x17\0\x04\xff\xff\xff\xff\0\0",
        ),
        "t" => message(b't', b"\0\x01\0\0\0\x17"),
        "D" => message(b'D', b"\0\x01\0\0\0\x01z"),
        "d" => message(b'd', b"some\tdata\n"),
        "C" => message(b'C', b"SELECT 1\0"),
        "V" => message(b'V', b"\xff\xff\xff\xff"),
        "G" | "H" | "W" => message(token.as_bytes()[0], b"\0\0\x01\0\0"),
        "N" => message(b'N', b"SNOTICE\0VNOTICE\0C00000\0Mhm\0\0"),
        "A" => message(b'A', b"\0\0\0\x01chan\0payload\0"),
        "PS" => message(b'S', b"TimeZone\0UTC\0"),
        "E" => error("ERROR", "22P02"),
        "EP" => error("ERROR", "08P01"),
        "EF" => error("FATAL", "57P01"),
        "K" => message(b'K', b"\0\0\0\x01\0\0\0\x01"),
        "R" => message(b'R', b"\0\0\0\0"),
        "v" => message(b'v', b"\0\x03\0\0\0\0\0\0"),
        "ZI" => message(b'Z', b"I"),
        "ZT" => message(b'Z', b"T"),
        "ZE" => message(b'Z', b"E"),
        other => panic!("no server message {other}"),
    };
    tokens.split_whitespace().flat_map(one).collect()
}
