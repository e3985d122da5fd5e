//! Messages that name statements, on their way to a backend that knows statements by their contents.
//!
//! A session's own names never reach a server: a Parse goes on under the content's name, or is answered here when the backend
//! has the content; a Bind or Describe gets the content's name, behind a Parse of weir's own where the backend lacks it; a Close
//! is answered here. Where that can't be done the session goes *native*: its statements are prepared under its own names and the
//! server keeps them from then on (the session is pinned).

use std::sync::Arc;

use super::super::ledger::Fact;
use super::super::messages;
use super::super::statements::catalog::{NAME_LEN, NAME_PREFIX, name_of};
use super::super::statements::session::{Asked, Meaning, Statements};
use super::super::statements::{Content, Desk, Hash, Held, Holding};
use super::exchange::{Exchange, TxStatus, WaitFor};
use super::message::{self, HEADER, Header, until_nul};
use super::owed::Kind;
use crate::pins::{PinReason, Pins};
use crate::sql::postgres::{Words, inspect};

/// Put in front of a client's name that looks like one of weir's and means nothing to the session.
pub(super) const NOBODYS: &[u8] = b"?";

/// Put in front of a statement's name on servers when its result is not what the session was told: nobody has it, so that the server
/// refuses the message, and its transaction fails as it must.
pub(super) const CHANGED: &[u8] = b"!";

/// What becomes of a message that names a statement.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Steer {
    /// It goes on as it is; nothing has been noted yet.
    Plain,
    /// It is read again when a backend is lent; nothing of it counts yet.
    Later,
    /// What was made goes on in front of it; nothing has been noted yet.
    Behind,
    /// What was made goes on instead of the first so many bytes; everything is noted.
    Instead(usize),
    /// It goes no further; everything is noted.
    Answered,
    /// It is read again when the server has answered. What was made goes on.
    Wait,
    /// The server will keep the names itself; nothing was noted for lack of a statement to carry over.
    Native,
}

/// The message at hand waits.
pub(super) fn wait(exchange: &mut Exchange, what: WaitFor) -> Steer {
    exchange.wait(what);
    Steer::Wait
}

/// A statement's name in a message.
pub(super) struct Named<'a> {
    portal: &'a [u8],
    name: &'a [u8],
    /// Where the body goes on behind the name.
    behind: usize,
}

/// Which statement a message names; `Err`: its name is too long to be read through.
pub(super) fn named(header: Header, body: &[u8]) -> Result<Option<Named<'_>>, ()> {
    let (portal, from): (&[u8], usize) = match header.tag {
        b'P' => (b"", 0),
        b'B' => {
            let portal = until_nul(body).ok_or(())?;
            (portal, portal.len() + 1)
        }
        b'C' | b'D' if body.first() == Some(&b'S') => (b"", 1),
        _ => return Ok(None),
    };
    let name = body.get(from..).and_then(until_nul).ok_or(())?;
    Ok((!name.is_empty()).then_some(Named {
        portal,
        name,
        behind: from + name.len() + 1,
    }))
}

/// Steers a message that names a statement, for a lent backend.
pub(super) fn steer_named(
    exchange: &mut Exchange,
    desk: &mut Desk<'_>,
    made: &mut Vec<u8>,
    header: Header,
    body: &[u8],
    named: &Named<'_>,
) -> Steer {
    match header.tag {
        b'P' => steer_parse(exchange, desk, made, header, body, named),
        b'C' => steer_close(exchange, named),
        _ => steer_use(exchange, desk, made, header, named),
    }
}

fn steer_parse(
    exchange: &mut Exchange,
    desk: &mut Desk<'_>,
    made: &mut Vec<u8>,
    header: Header,
    body: &[u8],
    named: &Named<'_>,
) -> Steer {
    let tail = body.get(named.behind..).unwrap_or_default();
    let statements = exchange.statements.get_or_insert_default();
    match statements.meaning(named.name) {
        Meaning::Unknown => return wait(exchange, WaitFor::Names),
        // The server must refuse it in its own words.
        Meaning::Content(_) => return go_native(exchange, desk, made),
        Meaning::Nothing => {}
    }
    let whole = body.len() == header.body as usize;
    let own = desk.pinned || exchange.era.is_passing();
    let content = if whole && statements.has_room(tail.len()) && own {
        desk.catalog.intern_alone(tail, desk.traits)
    } else if whole && statements.has_room(tail.len()) {
        let reading = match exchange.ledger.as_deref_mut() {
            Some(ledger) => ledger.reading(),
            None => Box::default(),
        };
        desk.catalog.intern_under(&reading, tail, desk.traits)
    } else {
        None
    };
    let Some(content) = content else {
        return go_native(exchange, desk, made);
    };
    let Some(held) = desk.held.as_deref_mut() else {
        return Steer::Plain;
    };
    let hash = content.hash();
    let holding = held.look(hash);
    if asked_earlier(statements, holding, hash) {
        return wait(exchange, WaitFor::Names);
    }
    let known = matches!(holding, Holding::There | Holding::Asked);
    // In a failed transaction the server must refuse it; whether it has failed is not known while earlier batches are
    // unanswered.
    let sound = exchange.status != TxStatus::Failed && !exchange.owed.ends_ready();
    if known && !desk.pinned && sound {
        exchange.ask(Kind::KnownParse, Asked::Known(named.name.into(), content));
        exchange.answer_known();
        return Steer::Answered;
    }
    make_room(exchange, held, made, holding, hash);
    content.write_parse(made, &name_of(hash));
    held.asked(hash);
    exchange.ask(
        Kind::SharedParse,
        Asked::Parse(named.name.into(), Arc::clone(&content)),
    );
    Steer::Instead(HEADER + body.len())
}

fn asked_earlier(statements: &Statements, holding: Holding, hash: Hash) -> bool {
    matches!(holding, Holding::Asked | Holding::Leaving) && statements.asked_earlier(hash)
}

/// The server may keep a statement that no session names any more.
fn steer_close(exchange: &mut Exchange, named: &Named<'_>) -> Steer {
    let statements = exchange.statements.get_or_insert_default();
    if matches!(statements.meaning(named.name), Meaning::Unknown) {
        return wait(exchange, WaitFor::Names);
    }
    exchange.ask(Kind::KnownClose, Asked::Close(named.name.into()));
    exchange.answer_known();
    Steer::Answered
}

/// Bind and Describe.
fn steer_use(
    exchange: &mut Exchange,
    desk: &mut Desk<'_>,
    made: &mut Vec<u8>,
    header: Header,
    named: &Named<'_>,
) -> Steer {
    let meaning = match exchange.statements.as_deref() {
        Some(statements) => statements.meaning(named.name),
        None => Meaning::Nothing,
    };
    let kind = if header.tag == b'B' {
        Kind::Bind
    } else {
        Kind::Describe
    };
    match meaning {
        Meaning::Unknown => wait(exchange, WaitFor::Names),
        Meaning::Nothing if named.name.starts_with(NAME_PREFIX) => {
            // It must not find what others call so: the server is asked for a name that nobody has.
            let name = [NOBODYS, named.name].concat();
            write_renamed(made, header, named, &name);
            exchange.request(kind);
            Steer::Instead(HEADER + named.behind)
        }
        Meaning::Nothing => Steer::Plain,
        Meaning::Content(content) => {
            if exchange.replaying() && inspect(content.text()).ends_transaction {
                return wait(exchange, WaitFor::Replay);
            }
            match prepare(exchange, desk, made, &content) {
                Prepared::Yes => {}
                Prepared::Later(what) => return wait(exchange, what),
                Prepared::Changed => {
                    let name = [CHANGED, &name_of(content.hash())].concat();
                    write_renamed(made, header, named, &name);
                    exchange.request(kind);
                    return Steer::Instead(HEADER + named.behind);
                }
            }
            desk.traits = content.traits();
            write_renamed(made, header, named, &name_of(content.hash()));
            if kind == Kind::Describe && !content.is_described() {
                exchange.ask(Kind::SharedDescribe, Asked::Describe(content));
            } else {
                exchange.request(kind);
            }
            Steer::Instead(HEADER + named.behind)
        }
    }
}

/// What running the statement that is named may leave on the session.
pub(super) fn pins_of(exchange: &Exchange, named: &Named<'_>) -> Pins {
    let statements = exchange.statements.as_deref();
    match statements.map(|s| s.meaning(named.name)) {
        Some(Meaning::Content(content)) if !content.traits().followed => content.traits().pins,
        _ => Pins::NONE,
    }
}

/// Why a session is pinned whose names the server keeps: from now on it is not seen which of them is run.
pub(super) fn pins_of_native(exchange: &Exchange) -> Pins {
    let statements = exchange.statements.as_deref();
    let mut pins = statements.map_or(Pins::NONE, |s| s.pins());
    pins.add(Pins::of(PinReason::PreparedStatement));
    pins
}

/// What running the statement that is named does to settings or to the transaction.
pub(super) fn fact_of(exchange: &Exchange, header: Header, body: &[u8]) -> Option<Fact> {
    let named = named(header, body).ok()??;
    let statements = exchange.statements.as_deref()?;
    match statements.meaning(named.name) {
        Meaning::Content(content) => message::fact(content.text()),
        _ => None,
    }
}

/// Whether the backend has a content.
enum Prepared {
    Yes,
    /// That can't be told before it has answered.
    Later(WaitFor),
    /// It would give another result than sessions were told.
    Changed,
}

/// Sees to it that the backend has a content. Where its result may be another one than when it was described, the backend is asked, and
/// the message waits: once it is sent it is too late.
fn prepare(
    exchange: &mut Exchange,
    desk: &mut Desk<'_>,
    made: &mut Vec<u8>,
    content: &Arc<Content>,
) -> Prepared {
    let Some(held) = desk.held.as_deref_mut() else {
        return Prepared::Yes;
    };
    let hash = content.hash();
    let holding = held.look(hash);
    let statements = exchange.statements.get_or_insert_default();
    if asked_earlier(statements, holding, hash) {
        return Prepared::Later(WaitFor::Names);
    }
    if matches!(holding, Holding::There | Holding::Asked) {
        return Prepared::Yes;
    }
    if statements.take_probed(hash) == Some(false) {
        return Prepared::Changed;
    }
    make_room(exchange, held, made, holding, hash);
    content.write_parse(made, &name_of(hash));
    held.asked(hash);
    exchange.ask(Kind::OurParse, Asked::Ours(hash));
    exchange.era.prepares();
    let passing = desk.pinned || exchange.era.is_passing();
    if content.is_described() && (passing || !desk.catalog.is_of_this_era(content)) {
        messages::describe_statement(made, &name_of(hash));
        messages::flush(made);
        exchange.ask(Kind::Probe, Asked::Probe(Arc::clone(content)));
        return Prepared::Later(WaitFor::AllNames);
    }
    Prepared::Yes
}

/// Closes what would be in the way of a Parse: the same content, if it may be there, else the least recently used one when
/// there are too many.
fn make_room(
    exchange: &mut Exchange,
    held: &mut Held,
    made: &mut Vec<u8>,
    holding: Holding,
    hash: Hash,
) {
    let goes = match holding {
        Holding::There | Holding::Asked | Holding::Doubtful => Some(hash),
        Holding::Absent => held.to_evict(),
        Holding::Leaving => None,
    };
    if let Some(goes) = goes {
        messages::close_statement(made, &name_of(goes));
        held.leaving(goes);
        exchange.ask(Kind::Evict, Asked::Evict(goes));
    }
}

/// The start of a Bind or Describe, up to the end of the statement's name, with another name.
fn write_renamed(made: &mut Vec<u8>, header: Header, named: &Named<'_>, name: &[u8]) {
    let length = header.body as usize + 4 + name.len() - named.name.len();
    made.reserve(HEADER + NAME_LEN + named.portal.len() + 2);
    made.push(header.tag);
    made.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
    if header.tag == b'B' {
        made.extend_from_slice(named.portal);
        made.push(0);
    } else {
        made.push(b'S');
    }
    made.extend_from_slice(name);
    made.push(0);
}

/// Does what `DEALLOCATE` asks for, when that concerns this session's names alone; nothing may be under way.
pub(super) fn deallocate(exchange: &mut Exchange, words: &Words) -> bool {
    if exchange.status == TxStatus::Failed || exchange.unsynced {
        return false;
    }
    let statements = exchange.statements.get_or_insert_default();
    let tag = match words {
        Words::DeallocateAll => {
            statements.forget_all();
            "DEALLOCATE ALL"
        }
        Words::Deallocate(name) if matches!(statements.meaning(name), Meaning::Content(_)) => {
            statements.forget(name);
            "DEALLOCATE"
        }
        _ => return false,
    };
    let status = match exchange.status {
        TxStatus::Idle => b'I',
        TxStatus::InTransaction => b'T',
        TxStatus::Failed => b'E',
    };
    let mut answer = Vec::new();
    messages::command_complete(&mut answer, tag);
    messages::ready_for_query(&mut answer, status);
    statements.say(&answer);
    // A simple query destroys it.
    exchange.unnamed.end();
    true
}

/// The names are on their way to the server, since an earlier batch; were that batch to fail, the server would not have them.
pub(super) fn is_carrying_over(exchange: &Exchange) -> bool {
    let statements = exchange.statements.as_deref();
    statements.is_some_and(|s| !s.settled_before_this_batch())
}

/// From now on the server keeps the session's names: what the backend has of others goes, and the session's own statements are
/// prepared under their own names, in front of the message that asks for it.
pub(super) fn go_native(exchange: &mut Exchange, desk: &mut Desk<'_>, made: &mut Vec<u8>) -> Steer {
    let statements = exchange.statements.get_or_insert_default();
    if !statements.settled() {
        if statements.asked_in_this_batch() {
            // Its Sync may come only after this message: without a Flush the server would keep its answers to itself.
            messages::flush(made);
        }
        return wait(exchange, WaitFor::AllNames);
    }
    let quiet = !exchange.unsynced;
    if exchange.status == TxStatus::Failed && quiet {
        // Nothing can be prepared in a failed transaction, and the server will refuse the message for the same reason; unless what
        // ends the transaction is under way.
        return if exchange.owed.is_empty() {
            Steer::Plain
        } else {
            wait(exchange, WaitFor::All)
        };
    }
    let Some(held) = desk.held.as_deref_mut() else {
        return Steer::Plain;
    };
    let (shared, own) = (held.all(), statements.confirmed());
    statements.go_native();
    if shared.is_empty() && own.is_empty() {
        return Steer::Native;
    }
    held.doubt_all();
    let kind = if quiet {
        Kind::NativeQuiet
    } else {
        Kind::Native
    };
    for hash in shared {
        messages::close_statement(made, &name_of(hash));
        exchange.ask(kind, Asked::Native);
    }
    for (name, content) in own {
        messages::close_statement(made, &name);
        exchange.ask(kind, Asked::Native);
        content.write_parse(made, &name);
        exchange.ask(kind, Asked::Native);
    }
    if quiet {
        messages::sync(made);
        exchange.own_sync();
    }
    Steer::Behind
}
