//! Server messages in which something is called otherwise than the client knows it: the client gets to see what it knows.
//!
//! PostgreSQL quotes statement names in the text of a few errors (26000, 42P05, 08P01 at Bind) and in contexts: there weir's names
//! become the session's own. A notification says which process it is from: where that is the session itself, it gets the number
//! that the client has from its login, so that a client knows its own notifications. All else is left as it is.

use memchr::memmem;

use super::super::statements::catalog::{NAME_LEN, NAME_PREFIX, hash_of};
use super::super::statements::session::Statements;
use super::naming::{CHANGED, NOBODYS};

/// Two numbers for one process.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pids {
    /// The server's own.
    pub real: u32,
    /// The client's, from its login.
    pub shown: u32,
}

/// The body of a NotificationResponse of the session's own, with the number that the client knows; `None`: it is somebody else's.
pub(super) fn own_pid(pids: Pids, body: &[u8]) -> Option<Vec<u8>> {
    let rest = body.strip_prefix(&pids.real.to_be_bytes())?;
    Some([&pids.shown.to_be_bytes(), rest].concat())
}

/// The body of what a server says of a statement whose result has changed (`plancache.c`), for the refusal of one that weir asked for under
/// a name of [`CHANGED`]; `None`: it is no such refusal.
pub(super) fn changed_result(statements: &Statements, body: &[u8]) -> Option<Vec<u8>> {
    let named = memmem::find(body, &[b"\"", CHANGED, NAME_PREFIX].concat())?;
    let from = named + 1 + CHANGED.len();
    let hash = hash_of(body.get(from..from + NAME_LEN)?)?;
    statements.own_name(hash)?;
    let severity = body
        .split(|b| *b == 0)
        .take_while(|field| !field.starts_with(b"C"));
    let mut out = Vec::new();
    for field in severity {
        out.extend_from_slice(field);
        out.push(0);
    }
    out.extend_from_slice(
        b"C0A000\0Mcached plan must not change result type\0Fplancache.c\0RRevalidateCachedQuery\0\0",
    );
    Some(out)
}

/// The body of an ErrorResponse with the session's own names in it; `None` where nothing is to be changed.
pub(super) fn own_names(statements: &Statements, body: &[u8]) -> Option<Vec<u8>> {
    if let Some(changed) = changed_result(statements, body) {
        return Some(changed);
    }
    let mut out = Vec::new();
    let mut done = 0;
    for at in memmem::find_iter(body, NAME_PREFIX) {
        let Some((from, to, name)) = own_name(statements, body, at) else {
            continue;
        };
        if from < done {
            continue;
        }
        out.extend_from_slice(body.get(done..from).unwrap_or_default());
        out.extend_from_slice(name);
        done = to;
    }
    if done == 0 {
        return None;
    }
    out.extend_from_slice(body.get(done..).unwrap_or_default());
    Some(out)
}

/// What begins at `at` and looks like a name of weir's: from where to where it goes, and what the client calls it.
fn own_name<'a>(
    statements: &'a Statements,
    body: &'a [u8],
    at: usize,
) -> Option<(usize, usize, &'a [u8])> {
    let marked = at.checked_sub(NOBODYS.len());
    if let Some(from) = marked
        && body.get(from..at) == Some(NOBODYS)
    {
        // The client's own name, made one that nobody has.
        return Some((from, at, b""));
    }
    let to = at + NAME_LEN;
    let hash = hash_of(body.get(at..to)?)?;
    Some((at, to, statements.own_name(hash)?))
}
