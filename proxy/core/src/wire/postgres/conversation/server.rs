//! The server's direction: framing, and the few messages of which more than the type matters.
//!
//! Every byte goes on to the client except answers to weir's own messages. A message goes on only once its header is whole and
//! makes sense: half a header is kept, so that a client is never left with the start of something that is no message. Rows are
//! stepped over by their headers alone.

use super::super::frames::Frames;
use super::super::messages::{self, ErrorFields, parse_parameter_status};
use super::super::question;
use super::exchange::Exchange;
use super::message::{HEADER, Header};
use super::owed::Kind;
use super::plain::{self, check_server};
use super::said::{FromServer, Lent, Replayed};
use super::shown;
use crate::limits::SERVER_INSPECT_MAX;
use crate::pins::Pins;

/// Where the server's stream stands.
#[derive(Debug)]
pub(super) struct ServerStream {
    /// The start of a header, or of the body of a message that is read.
    pub(super) kept: Vec<u8>,
    /// Bytes of the message under way that are still to come.
    rest: u32,
    /// Its type.
    tag: u8,
    /// It answers a message of weir's own.
    swallowed: bool,
    /// A message that has not come whole: its parts are kept, for the client may have to see something else.
    held_back: bool,
    /// ParameterStatus messages in the bytes at hand so far.
    parameters: u32,
    /// What the session still has, by the row that says so.
    still: Pins,
}

impl ServerStream {
    pub(super) const fn new() -> ServerStream {
        ServerStream {
            kept: Vec::new(),
            rest: 0,
            tag: 0,
            swallowed: false,
            held_back: false,
            parameters: 0,
            still: Pins::ALL,
        }
    }

    /// What has come so far of the message under way has not gone on.
    pub(super) const fn holds_back(&self) -> bool {
        self.held_back
    }

    /// Whether a part of a message has gone on, and its rest has not come yet.
    pub(super) const fn in_message(&self) -> bool {
        self.rest > 0
    }

    /// Whether the stream stands between two messages.
    pub(super) const fn at_boundary(&self) -> bool {
        self.rest == 0 && self.kept.is_empty()
    }

    /// A reader that goes on from here. What has been kept of a message's body is lost to it: it hears of that message's end only.
    pub(super) fn frames(&self) -> Frames {
        if self.rest > 0 {
            Frames::resume(&[], self.rest as usize)
        } else {
            Frames::resume(&self.kept, 0)
        }
    }

    pub(super) fn read(
        &mut self,
        exchange: &mut Exchange,
        bytes: &[u8],
        lent: &mut Lent<'_>,
    ) -> FromServer {
        let mut out = FromServer::default();
        let mut at = 0;
        let mut replaying = exchange.replaying();
        self.parameters = 0;
        while at < bytes.len() && out.violation.is_none() {
            match self.step(exchange, &mut out, bytes, at, lent) {
                Ok(next) => {
                    at = next;
                    if replaying && (out.refused.is_some() || !exchange.replaying()) {
                        replaying = false;
                        out.replayed = Some(Replayed {
                            at,
                            parameters: self.parameters as usize,
                            refused: out.refused.take(),
                        });
                    }
                    if self.rest == 0
                        && let Some(answers) = exchange.take_answers()
                    {
                        out.insert(at, answers);
                    }
                }
                Err(problem) => out.violation = Some(problem),
            }
        }
        match out.violation {
            None if self.rest > 0 => out.end = bytes.len(),
            // What was kept belongs to the message that makes no sense.
            Some(_) if out.end == 0 => out.head = Vec::new(),
            _ => {}
        }
        out
    }

    #[inline]
    fn step(
        &mut self,
        exchange: &mut Exchange,
        out: &mut FromServer,
        bytes: &[u8],
        at: usize,
        lent: &mut Lent<'_>,
    ) -> Result<usize, &'static str> {
        if self.rest > 0 {
            return self.read_rest(exchange, out, bytes, at, lent);
        }
        if self.kept.is_empty() {
            let next = plain::step(exchange, lent.held, out, bytes, at)?;
            if next > at {
                return Ok(next);
            }
        }
        self.read_header(exchange, out, bytes, at, lent)
    }

    fn read_header(
        &mut self,
        exchange: &mut Exchange,
        out: &mut FromServer,
        bytes: &[u8],
        at: usize,
        lent: &mut Lent<'_>,
    ) -> Result<usize, &'static str> {
        out.end = at;
        let here = bytes.get(at..).unwrap_or_default();
        let taken = HEADER.saturating_sub(self.kept.len());
        let Some(part) = here.get(..taken) else {
            self.kept.extend_from_slice(here);
            return Ok(bytes.len());
        };
        let kept = core::mem::take(&mut self.kept);
        let header = if kept.is_empty() {
            Header::read(part)
        } else {
            Header::read(&[&kept, part].concat())
        };
        let header = header.ok_or("a header that is too short")?;
        header.check()?;
        check_server(header)?;
        // Its type alone tells whether this answers a message of weir's own.
        let front = exchange.owed.front();
        self.swallowed = front.is_some_and(|kind| kind.swallows(header.tag));
        let end = at + taken;
        let whole = kept.is_empty() && bytes.len() - end >= header.body as usize;
        self.held_back = !self.swallowed && !whole && may_change(exchange, lent, header);
        if !self.swallowed && !self.held_back && !kept.is_empty() {
            out.head = kept;
        }
        self.swallow(out, at, end);
        self.tag = header.tag;
        self.rest = header.body;
        if self.rest == 0 {
            self.show(exchange, out, lent, None, end, &[]);
            self.finish(exchange, out, &[], lent)?;
            out.end = end;
        }
        Ok(end)
    }

    fn read_rest(
        &mut self,
        exchange: &mut Exchange,
        out: &mut FromServer,
        bytes: &[u8],
        at: usize,
        lent: &mut Lent<'_>,
    ) -> Result<usize, &'static str> {
        let left = u32::try_from(bytes.len() - at).unwrap_or(u32::MAX);
        let take = self.rest.min(left);
        let end = at + take as usize;
        let here = bytes.get(at..end).unwrap_or_default();
        self.swallow(out, at, end);
        self.rest -= take;
        let whole = self.kept.is_empty() && self.rest == 0;
        if !whole && (self.held_back || self.is_read(exchange)) {
            let room = SERVER_INSPECT_MAX.saturating_sub(self.kept.len());
            self.kept
                .extend_from_slice(here.get(..room.min(here.len())).unwrap_or_default());
        }
        if at == 0 {
            // A part of it has gone on, so all of it does.
            out.end = end;
        }
        if self.rest == 0 {
            let kept = core::mem::take(&mut self.kept);
            let body = if whole { here } else { &kept };
            let in_place = whole && at >= HEADER;
            let start = in_place.then(|| at - HEADER);
            self.show(exchange, out, lent, start, end, body);
            self.finish(exchange, out, body, lent)?;
            out.end = end;
        }
        Ok(end)
    }

    /// Whether the body of the message under way matters.
    fn is_read(&self, exchange: &Exchange) -> bool {
        match self.tag {
            b'S' | b'E' | b'Z' => true,
            b'C' => exchange.ledger.is_some(),
            b'D' => self.swallowed,
            b'T' => exchange.owed.front().is_some_and(Kind::is_described),
            _ => false,
        }
    }

    fn swallow(&self, out: &mut FromServer, from: usize, to: usize) {
        if self.swallowed || self.held_back {
            out.skip(from, to);
        }
    }

    /// The message that ends at `end` is complete: the client gets to see what it knows, not what the server calls so. `start`:
    /// where it starts, if all of it lies in the given bytes.
    fn show(
        &mut self,
        exchange: &Exchange,
        out: &mut FromServer,
        lent: &Lent<'_>,
        start: Option<usize>,
        end: usize,
        body: &[u8],
    ) {
        let held_back = core::mem::take(&mut self.held_back);
        if self.swallowed || (start.is_none() && !held_back) {
            return;
        }
        let changed = match self.tag {
            b'E' => {
                let statements = exchange.statements.as_deref();
                statements.and_then(|s| shown::own_names(s, body))
            }
            b'A' => lent.pids.and_then(|pids| shown::own_pid(pids, body)),
            _ => return,
        };
        if changed.is_none() && !held_back {
            return;
        }
        if let Some(start) = start.filter(|_| !held_back) {
            out.skip(start, end);
        }
        let mut message = Vec::new();
        messages::with_body(&mut message, self.tag, changed.as_deref().unwrap_or(body));
        out.insert(end, message);
    }

    /// The message under way is complete. `body` is its body, or as much of it as is read.
    fn finish(
        &mut self,
        exchange: &mut Exchange,
        out: &mut FromServer,
        body: &[u8],
        lent: &mut Lent<'_>,
    ) -> Result<(), &'static str> {
        let swallowed = core::mem::take(&mut self.swallowed);
        match self.tag {
            b'Z' => {
                let question = exchange.owed.front() == Some(Kind::OurQuestion);
                plain::ready(exchange, lent.held, out, body)?;
                if question {
                    out.still = Some(core::mem::replace(&mut self.still, Pins::ALL));
                }
                out.cycles += u32::from(!swallowed);
                Ok(())
            }
            b'E' => {
                out.errors += u32::from(!swallowed);
                let error = ErrorFacts::read(body).seen_by(exchange, body);
                if exchange.replaying() {
                    out.refused = Some(ErrorFields::parse(body).summary().into());
                }
                if error.fatal {
                    exchange.over = true;
                    // Nothing is said behind the end.
                    exchange.take_answers();
                    // One that was swallowed has not told the client.
                    out.fatal |= !swallowed;
                    return Ok(());
                }
                if error.unknown_statement {
                    // Something that weir can't see into has destroyed it, and perhaps others.
                    lent.held.doubt_all();
                }
                out.stale_plan |= error.stale_plan;
                exchange.error(error.protocol, lent.held)
            }
            b'S' => {
                if let Some((name, value)) = parse_parameter_status(body) {
                    self.parameters += 1;
                    (lent.on_parameter)(name, value);
                }
                Ok(())
            }
            b'N' | b'A' => Ok(()),
            tag => {
                if tag == b'D' && swallowed {
                    self.still = question::read_answer(body).unwrap_or(Pins::ALL);
                }
                plain::reply(exchange, lent.held, tag, body)
            }
        }
    }
}

/// Whether the client may have to see something else than the server says, in a message that is short enough to be kept until it
/// is whole.
fn may_change(exchange: &Exchange, lent: &Lent<'_>, header: Header) -> bool {
    let kind = match header.tag {
        b'E' => exchange.statements.is_some(),
        b'A' => lent.pids.is_some(),
        _ => false,
    };
    kind && header.body as usize <= SERVER_INSPECT_MAX
}

/// The little that matters of an ErrorResponse. The fields that say it come first in it.
struct ErrorFacts {
    fatal: bool,
    protocol: bool,
    /// 26000.
    unknown_statement: bool,
    /// "cached plan must not change result type".
    stale_plan: bool,
}

impl ErrorFacts {
    /// What is meant to be unknown is stale.
    fn seen_by(self, exchange: &Exchange, body: &[u8]) -> ErrorFacts {
        let stale = self.unknown_statement && exchange.asked_for_changed(body);
        ErrorFacts {
            unknown_statement: self.unknown_statement && !stale,
            stale_plan: self.stale_plan || stale,
            ..self
        }
    }

    fn read(body: &[u8]) -> ErrorFacts {
        let (mut severity, mut plain, mut code) = (&b""[..], None, &b""[..]);
        for field in body.split(|b| *b == 0) {
            match field.split_first() {
                Some((b'S', text)) => severity = text,
                // Never translated; servers since 9.6 send it.
                Some((b'V', text)) => plain = Some(text),
                Some((b'C', text)) => code = text,
                _ => break,
            }
        }
        ErrorFacts {
            fatal: matches!(plain.unwrap_or(severity), b"FATAL" | b"PANIC"),
            protocol: code == b"08P01",
            unknown_statement: code == b"26000",
            stale_plan: code == b"0A000"
                && memchr::memmem::find(body, b"\0RRevalidateCachedQuery\0").is_some(),
        }
    }
}
