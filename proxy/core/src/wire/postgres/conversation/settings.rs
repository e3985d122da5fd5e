//! Messages that change settings, on their way to the server: noted in the session's ledger where they can be followed, else they pin.
//!
//! Followed are simple queries, the unnamed statement where it is parsed, bound and executed in one batch, and named statements that
//! are shared. Of a query of several statements all that change settings must be such as can be followed.

use super::super::ledger::{Bound, Fact, Ledger};
use super::super::statements::Held;
use super::asked::FromClient;
use super::exchange::{Exchange, WaitFor};
use super::message::{Header, Parsed};
use super::owed::Kind;
use crate::pins::{PinReason, Pins};

/// Whether a message could run although the backend has refused the session's settings in front of it: what ends the failed transaction
/// that keeps everything else from running, and what comes behind the first Sync, up to which a server skips.
pub(super) fn is_delicate(exchange: &Exchange, parsed: &Parsed<'_>) -> bool {
    parsed.may_end_transaction() || exchange.owed.ends_ready()
}

/// Whether such a message must wait for the backend's answer to the settings. Before a backend is lent that is not known: then the message
/// is read once more.
pub(super) fn must_wait(exchange: &mut Exchange, sharing: bool, out: &mut FromClient) -> bool {
    if exchange.lent {
        let wait = exchange.replaying();
        if wait {
            exchange.wait(WaitFor::Replay);
        }
        return wait;
    }
    out.by_name |= sharing;
    false
}

/// Notes what a message that goes to the server now does to the session's settings; takes the pin away if it is followed.
pub(super) fn follow(
    exchange: &mut Exchange,
    out: &mut FromClient,
    header: Header,
    body: &[u8],
    parsed: &mut Parsed<'_>,
) {
    let fact = match parsed.kind {
        Kind::Query | Kind::ParseUnnamed => fact(exchange, parsed),
        Kind::Bind => parsed.bound.take().filter(|fact| {
            let follows = !disturbs(exchange, fact);
            if !follows {
                out.pins.add(Pins::of(PinReason::Setting));
            }
            follows
        }),
        _ => None,
    };
    out.discards |= matches!(fact, Some(Fact::Discard(_)));
    if fact.is_none() && exchange.ledger.is_none() {
        return;
    }
    let number = exchange.owed.next_number();
    let ledger = exchange.ledger.get_or_insert_default();
    let followed = match parsed.kind {
        Kind::Query => {
            let followed = ledger.end_batch();
            if let Some(fact) = fact {
                ledger.ask(number, fact);
            }
            followed
        }
        Kind::ParseUnnamed => {
            ledger.parse(fact);
            true
        }
        Kind::Bind => {
            let to_unnamed = body.first() == Some(&0);
            let from = if parsed.uses_unnamed {
                Bound::Unnamed
            } else {
                Bound::Named(fact)
            };
            ledger.bind(from, to_unnamed)
        }
        // Nothing but the empty name and the number of rows.
        Kind::Execute if header.body == 5 => {
            ledger.execute(number);
            true
        }
        Kind::Sync | Kind::Function => ledger.end_batch(),
        _ => true,
    };
    if !followed {
        out.pins.add(Pins::of(PinReason::Setting));
    }
}

/// What a text does that the ledger must know of.
fn fact(exchange: &Exchange, parsed: &mut Parsed<'_>) -> Option<Fact> {
    match parsed.changes() {
        Some(fact) if disturbs(exchange, &fact) => None,
        Some(fact) => {
            parsed.pins = Pins::NONE;
            Some(fact)
        }
        None if exchange.ledger.is_some() => parsed.point(),
        None => None,
    }
}

/// What it changes can't be followed for the sake of what the session has: for one thing named statements, if they would be read in
/// another way from now on, on backends that have not prepared them yet.
fn disturbs(exchange: &Exchange, fact: &Fact) -> bool {
    let named = exchange.statements.as_ref().is_some_and(|s| !s.is_empty());
    let none = Ledger::default();
    let ledger = exchange.ledger.as_deref().unwrap_or(&none);
    ledger.meets_role(fact)
        || (named && fact.changes().any(|change| ledger.changes_reading(change)))
}

impl Exchange {
    /// Notes what goes out in front of everything else: Parse, Bind and Execute of BEGIN, and the query.
    pub(super) fn start_replay(&mut self) {
        self.owed.push_front(Kind::OurQuery);
        for _ in 0..3 {
            self.owed.push_front(Kind::OurBegin);
        }
    }

    /// The backend has not taken over the session's settings. It skips to a Sync where it was not in a transaction yet, or is in a failed
    /// one: either way it refuses what was sent behind.
    pub(super) fn replay_failed(&mut self, held: &mut Held) {
        if self.owed.front() == Some(Kind::OurQuery) {
            self.answered = true;
        } else {
            self.skip_to_sync(held);
        }
    }

    /// The body of a CommandComplete message, before it is taken as a reply.
    pub(super) fn completed(&mut self, body: &[u8]) {
        let asked = matches!(self.owed.front(), Some(Kind::Query | Kind::Execute));
        if let Some(ledger) = &mut self.ledger
            && asked
        {
            let tag = body.split(|b| *b == 0).next().unwrap_or_default();
            ledger.completed(self.owed.front_number(), tag);
        }
    }
}
