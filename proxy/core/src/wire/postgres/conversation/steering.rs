//! Whether a message of the client's concerns named statements, and who decides on it.
//!
//! Here is the order of the questions: is something under way that must be over first, does the text speak about statements in SQL,
//! does the message name one. What is done about it is decided in [`super::naming`].

use super::super::statements::{Desk, Traits};
use super::asked::{Context, FromClient};
use super::exchange::{Exchange, WaitFor};
use super::message::{Header, Parsed};
use super::naming::{self, Steer};
use super::owed::Kind;
use crate::pins::{PinReason, Pins};
use crate::sql::postgres::{Schema, Words};

/// What becomes of a message as far as it concerns named statements.
pub(super) fn steer(
    exchange: &mut Exchange,
    context: &mut Context<'_, '_>,
    out: &mut FromClient,
    header: Header,
    body: &[u8],
    parsed: &Parsed<'_>,
) -> Steer {
    if let Some(desk) = context.desk.as_deref_mut() {
        mind_schema(exchange, desk, parsed.schema);
    }
    let made = &mut context.made;
    let native = exchange
        .statements
        .as_deref()
        .is_some_and(|s| s.is_native());
    if exchange.discards || (native && naming::is_carrying_over(exchange)) {
        // Which names the server has is not known before it has answered.
        let by_name = !matches!(naming::named(header, body), Ok(None));
        if by_name || parsed.words != Words::None {
            return naming::wait(
                exchange,
                if exchange.discards {
                    WaitFor::All
                } else {
                    WaitFor::Names
                },
            );
        }
    }
    let desk = match context.desk.as_deref_mut() {
        Some(desk) if !native || parsed.words == Words::DiscardAll => desk,
        _ => {
            if parsed.kind == Kind::Parse {
                out.pins.add(Pins::of(PinReason::PreparedStatement));
            }
            return Steer::Plain;
        }
    };
    if parsed.words != Words::None {
        return steer_words(exchange, desk, made, out, parsed);
    }
    match naming::named(header, body) {
        Ok(None) => Steer::Plain,
        named if desk.held.is_none() => {
            out.by_name = true;
            if let (b'B', Ok(Some(named))) = (header.tag, named) {
                // It may want a backend that nobody has used.
                out.pins.add(naming::pins_of(exchange, &named));
            }
            Steer::Later
        }
        Ok(Some(named)) => {
            desk.traits = traits_of(header, parsed);
            let steer = naming::steer_named(exchange, desk, made, header, body, &named);
            out.feeds_sequence |= desk.traits.feeds_sequence;
            if header.tag == b'B' {
                mind_bound(exchange, desk, out);
            }
            steer
        }
        Err(()) => naming::go_native(exchange, desk, made),
    }
}

fn traits_of(header: Header, parsed: &Parsed<'_>) -> Traits {
    let followed = || parsed.changes().is_some() || parsed.point().is_some();
    Traits {
        feeds_sequence: parsed.sequences.fed,
        schema: parsed.schema,
        pins: parsed.pins,
        ends: parsed.ends,
        followed: header.tag == b'P' && followed(),
    }
}

/// What has been parsed once may be run in any lend.
fn mind_bound(exchange: &mut Exchange, desk: &mut Desk<'_>, out: &mut FromClient) {
    let traits = desk.traits;
    if !traits.followed {
        out.pins.add(traits.pins);
    }
    out.ends.add(traits.ends);
    mind_schema(exchange, desk, traits.schema);
}

/// With this message texts may come to mean something else: for this session at once, for the others when its transaction ends.
pub(super) fn mind_schema(exchange: &mut Exchange, desk: &mut Desk<'_>, schema: Schema) {
    if exchange.era.asked(schema) {
        desk.catalog.renew();
    }
}

/// A text that speaks about prepared statements.
fn steer_words(
    exchange: &mut Exchange,
    desk: &mut Desk<'_>,
    made: &mut Vec<u8>,
    out: &mut FromClient,
    parsed: &Parsed<'_>,
) -> Steer {
    let alone = parsed.kind == Kind::Query && parsed.words != Words::Others;
    if alone && exchange.owed.is_empty() && naming::deallocate(exchange, &parsed.words) {
        return Steer::Answered;
    }
    if desk.held.is_none() {
        out.by_name = true;
        return Steer::Plain;
    }
    if alone && !exchange.owed.is_empty() {
        if exchange.unsynced {
            // No Sync will come before this message, so without a Flush neither will the answers.
            super::super::messages::flush(made);
        }
        return naming::wait(exchange, WaitFor::All);
    }
    match parsed.words {
        Words::DiscardAll if alone => {
            exchange.discards = true;
            Steer::Plain
        }
        _ => naming::go_native(exchange, desk, made),
    }
}
