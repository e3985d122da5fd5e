//! Long statements: they go on as they come, and are read when they have come whole. Until then the session keeps its backend
//! anyhow.
//!
//! What is in them counts as in any other statement, but for what must be decided on before it goes on: then it pins, as a statement does that
//! is longer still.

use std::sync::Arc;

use super::asked::{Context, FromClient};
use super::exchange::Exchange;
use super::message::{self, Header, Parsed};
use super::steering;
use crate::limits::{LONG_STATEMENT_MAX, LONG_STATEMENTS_MAX};
use crate::pins::{PinReason, Pins};

/// A long statement that is under way.
#[derive(Debug)]
pub(super) struct Late {
    header: Header,
    /// What has come of its body.
    body: Vec<u8>,
    /// One of the few that a shard collects at a time.
    _place: Arc<()>,
}

impl Late {
    /// Begins to collect the message that is about to go on without having been read, if that is why it would pin and there is room. Takes the
    /// pin away.
    pub(super) fn begin(
        context: &mut Context<'_, '_>,
        header: Header,
        parsed: &mut Parsed<'_>,
        prefix: &[u8],
    ) -> Option<Box<Late>> {
        let desk = context.desk.as_deref_mut()?;
        let room = header.body as usize <= LONG_STATEMENT_MAX
            && Arc::strong_count(desk.long) <= LONG_STATEMENTS_MAX;
        if !room || !parsed.is_long() {
            return None;
        }
        parsed.pins = Pins::NONE;
        Some(Box::new(Late {
            header,
            body: prefix.to_vec(),
            _place: Arc::clone(desk.long),
        }))
    }

    pub(super) fn collect(&mut self, bytes: &[u8]) {
        self.body.extend_from_slice(bytes);
    }

    /// It has come whole, and gone on.
    pub(super) fn read(
        self,
        exchange: &mut Exchange,
        context: &mut Context<'_, '_>,
        out: &mut FromClient,
    ) {
        let mut parsed = message::parse_long(self.header, &self.body);
        if parsed.is_decisive() {
            parsed.pins.add(Pins::of(PinReason::LargeStatement));
        }
        if let Some(desk) = context.desk.as_deref_mut() {
            steering::mind_schema(exchange, desk, parsed.schema);
        }
        out.note(&parsed);
    }
}
