//! The client's direction: framing, what must be read of a message, and which bytes go on.
//!
//! A message is decided on once the part of it that matters has arrived; until then nothing of it goes on. The rest of it then
//! streams through unread. What messages mean to each other is the business of [`super::exchange`].

use super::asked::{ClientEnd, Context, FromClient};
use super::exchange::{Exchange, WaitFor};
use super::late::Late;
use super::message::{self, HEADER, Header, OUR_CLOSE, Parsed};
use super::naming::{self, Steer};
use super::owed::Kind;
use super::settings;
use super::steering;
use super::unnamed::Use;
use crate::pins::Pins;

/// Where the client's stream stands.
#[derive(Debug)]
pub(super) struct ClientStream {
    /// The start of a message that can't be decided on yet; when `waiting`, whole messages.
    pub(super) kept: Vec<u8>,
    /// Bytes of the message under way that are still to come.
    rest: u32,
    /// They go to the server.
    rest_passes: bool,
    /// Nothing is parsed until the server has answered what the first kept message depends on.
    waiting: bool,
    /// The message under way, as far as it has come, if it is to be read when it is whole.
    late: Option<Box<Late>>,
}

/// What becomes of a message.
enum Verdict {
    Pass,
    Drop,
    /// What was made goes on instead of the first so many bytes.
    Instead(usize),
    /// What was made goes on; the message is kept.
    Wait,
    End(ClientEnd),
}

impl ClientStream {
    pub(super) const fn new() -> ClientStream {
        ClientStream {
            kept: Vec::new(),
            rest: 0,
            rest_passes: false,
            waiting: false,
            late: None,
        }
    }

    /// The server has a part of a message and needs the rest.
    pub(super) const fn in_message(&self) -> bool {
        self.rest > 0 && self.rest_passes
    }

    /// Messages are kept back until the server has answered.
    pub(super) const fn is_waiting(&self) -> bool {
        self.waiting
    }

    /// The rest of the message under way is for nobody.
    pub(super) fn drop_rest(&mut self) {
        self.rest_passes = false;
        self.late = None;
    }

    pub(super) fn read(
        &mut self,
        exchange: &mut Exchange,
        context: &mut Context<'_, '_>,
        bytes: &[u8],
    ) -> FromClient {
        if self.waiting {
            return self.read_after_wait(exchange, context, bytes);
        }
        let mut out = FromClient::default();
        if let Some(desk) = context.desk.as_deref_mut() {
            out.head = core::mem::take(desk.spare);
        }
        let mut at = 0;
        while at < bytes.len() && out.end_of.is_none() {
            at = if self.waiting {
                self.kept
                    .extend_from_slice(bytes.get(at..).unwrap_or_default());
                bytes.len()
            } else if self.rest > 0 {
                self.read_rest(exchange, context, &mut out, bytes, at)
            } else if self.kept.is_empty() {
                self.read_in_place(exchange, context, &mut out, bytes, at)
            } else {
                self.read_kept(exchange, context, &mut out, bytes, at)
            };
        }
        out
    }

    /// Reads what went on while no backend was lent once more, now that one is; what came behind it stays kept.
    pub(super) fn again(
        &mut self,
        exchange: &mut Exchange,
        context: &mut Context<'_, '_>,
        bytes: &[u8],
    ) -> FromClient {
        exchange.forget_requests();
        let before = core::mem::replace(self, ClientStream::new());
        let out = self.read(exchange, context, bytes);
        if self.waiting {
            self.kept.extend_from_slice(&before.kept);
        } else if before.rest == 0 || !before.rest_passes {
            *self = before;
        }
        out
    }

    /// The kept messages and `bytes` are read as one piece, if the wait is over.
    fn read_after_wait(
        &mut self,
        exchange: &mut Exchange,
        context: &mut Context<'_, '_>,
        bytes: &[u8],
    ) -> FromClient {
        self.kept.extend_from_slice(bytes);
        if !exchange.wait_is_over() {
            return FromClient::default();
        }
        self.waiting = false;
        let all = core::mem::take(&mut self.kept);
        let mut out = self.read(exchange, context, &all);
        out.flush(&all);
        (out.start, out.end) = (0, 0);
        out
    }

    fn read_rest(
        &mut self,
        exchange: &mut Exchange,
        context: &mut Context<'_, '_>,
        out: &mut FromClient,
        bytes: &[u8],
        at: usize,
    ) -> usize {
        let left = u32::try_from(bytes.len() - at).unwrap_or(u32::MAX);
        let take = self.rest.min(left);
        self.rest -= take;
        let end = at + take as usize;
        if self.rest_passes {
            out.pass(bytes, at, end);
        }
        if let Some(late) = &mut self.late {
            late.collect(bytes.get(at..end).unwrap_or_default());
            self.read_late(exchange, context, out);
        }
        end
    }

    /// The message under way is read if it is whole now.
    fn read_late(
        &mut self,
        exchange: &mut Exchange,
        context: &mut Context<'_, '_>,
        out: &mut FromClient,
    ) {
        if self.rest == 0
            && let Some(late) = self.late.take()
        {
            late.read(exchange, context, out);
        }
    }

    /// A message starts at `at`. Decides on it where it lies, or keeps what there is of it.
    fn read_in_place(
        &mut self,
        exchange: &mut Exchange,
        context: &mut Context<'_, '_>,
        out: &mut FromClient,
        bytes: &[u8],
        at: usize,
    ) -> usize {
        let at = skip_copy_data(exchange, out, bytes, at);
        let here = bytes.get(at..).unwrap_or_default();
        let Some(header) = Header::read(here) else {
            self.kept.extend_from_slice(here);
            return bytes.len();
        };
        let needed = match needed_of(exchange, header) {
            Ok(needed) => HEADER + needed,
            Err(problem) => {
                out.end_of = Some(ClientEnd::Violation(problem));
                return bytes.len();
            }
        };
        let Some(prefix) = here.get(..needed) else {
            self.kept.extend_from_slice(here);
            return bytes.len();
        };
        let end = at + needed;
        match decide(exchange, context, out, header, prefix, &mut self.late) {
            Verdict::Pass => out.pass(bytes, at, end),
            Verdict::Instead(of) => {
                out.put(bytes, &context.made);
                out.pass(bytes, at + of, end);
            }
            Verdict::Drop => return self.go_on(header, needed, false, end),
            Verdict::Wait => {
                out.put(bytes, &context.made);
                self.waiting = true;
                return at;
            }
            Verdict::End(why) => {
                out.end_of = Some(why);
                return bytes.len();
            }
        }
        self.go_on(header, needed, true, end);
        self.read_late(exchange, context, out);
        end
    }

    /// Adds to the kept start of a message until it can be decided on.
    fn read_kept(
        &mut self,
        exchange: &mut Exchange,
        context: &mut Context<'_, '_>,
        out: &mut FromClient,
        bytes: &[u8],
        at: usize,
    ) -> usize {
        let at = self.keep_up_to(HEADER, bytes, at);
        let Some(header) = Header::read(&self.kept) else {
            return at;
        };
        let needed = match needed_of(exchange, header) {
            Ok(needed) => HEADER + needed,
            Err(problem) => {
                self.kept = Vec::new();
                out.end_of = Some(ClientEnd::Violation(problem));
                return bytes.len();
            }
        };
        let at = self.keep_up_to(needed, bytes, at);
        if self.kept.len() < needed {
            return at;
        }
        let kept = core::mem::take(&mut self.kept);
        let passes = match decide(exchange, context, out, header, &kept, &mut self.late) {
            Verdict::Pass => {
                out.put(bytes, &kept);
                true
            }
            Verdict::Instead(of) => {
                out.put(bytes, &context.made);
                out.put(bytes, kept.get(of..).unwrap_or_default());
                true
            }
            Verdict::Drop => false,
            Verdict::Wait => {
                out.put(bytes, &context.made);
                self.kept = kept;
                self.waiting = true;
                return at;
            }
            Verdict::End(why) => {
                out.end_of = Some(why);
                return bytes.len();
            }
        };
        self.go_on(header, kept.len(), passes, at);
        self.read_late(exchange, context, out);
        at
    }

    fn keep_up_to(&mut self, length: usize, bytes: &[u8], at: usize) -> usize {
        let missing = length.saturating_sub(self.kept.len());
        let end = bytes.len().min(at + missing);
        self.kept
            .extend_from_slice(bytes.get(at..end).unwrap_or_default());
        end
    }

    /// `seen` bytes of the message are dealt with, the rest follows suit.
    fn go_on(&mut self, header: Header, seen: usize, passes: bool, at: usize) -> usize {
        let seen = u32::try_from(seen - HEADER).unwrap_or(u32::MAX);
        self.rest = header.body.saturating_sub(seen);
        self.rest_passes = passes;
        at
    }
}

/// Goes over whole CopyData messages: there may be millions in a row, and none changes anything.
fn skip_copy_data(
    exchange: &mut Exchange,
    out: &mut FromClient,
    bytes: &[u8],
    start: usize,
) -> usize {
    if bytes.get(start) != Some(&b'd') || exchange.dropping || exchange.ignores_strays() {
        return start;
    }
    let mut at = start;
    while let Some(header) = bytes.get(at..).and_then(Header::read) {
        let end = at + HEADER + header.body as usize;
        if header.tag != b'd' || header.check().is_err() || end > bytes.len() {
            break;
        }
        at = end;
    }
    out.needs_server |= at > start && exchange.copy_data();
    out.pass(bytes, start, at);
    at
}

/// Checks a header and answers how many bytes of the body must be there to decide on the message.
fn needed_of(exchange: &Exchange, header: Header) -> Result<usize, &'static str> {
    header.check()?;
    if exchange.dropping || exchange.skipping {
        // Nobody executes it: only its type matters.
        message::check_client(header).map(|()| 0)
    } else {
        message::needed(header)
    }
}

/// What becomes of the message whose deciding part is `prefix`, and everything that follows from it.
fn decide(
    exchange: &mut Exchange,
    context: &mut Context<'_, '_>,
    out: &mut FromClient,
    header: Header,
    prefix: &[u8],
    late: &mut Option<Box<Late>>,
) -> Verdict {
    context.made.clear();
    match header.tag {
        b'X' => return Verdict::End(ClientEnd::Terminate),
        _ if exchange.dropping && header.tag != b'S' => return Verdict::Drop,
        b'd' | b'c' | b'f' | b'H' => return stray_or_pass(exchange, out, header.tag),
        _ => {}
    }
    out.needs_server = true;
    let body = prefix.get(HEADER..).unwrap_or_default();
    if exchange.skipping || exchange.over {
        // The server will not look at it either, so it leaves nothing behind.
        out.new_requests |= exchange.request(Parsed::unread(header).kind);
        return Verdict::Pass;
    }
    let familiar = context.desk.as_deref_mut().map(|desk| &mut *desk.familiar);
    let mut parsed = message::parse(header, body, familiar);
    if settings::is_delicate(exchange, &parsed)
        && settings::must_wait(exchange, context.desk.is_some(), out)
    {
        return Verdict::Wait;
    }
    match steering::steer(exchange, context, out, header, body, &parsed) {
        Steer::Wait => return Verdict::Wait,
        Steer::Answered => {
            out.new_requests = true;
            return Verdict::Drop;
        }
        Steer::Instead(of) => {
            if parsed.kind == Kind::Parse {
                parsed.leaves_nothing_yet();
            }
            if header.tag == b'B' && context.binds_followed() {
                parsed.bound = naming::fact_of(exchange, header, body);
            }
            settings::follow(exchange, out, header, body, &mut parsed);
            out.note(&parsed);
            out.note_shape(context, header, body);
            out.new_requests = true;
            return Verdict::Instead(of);
        }
        Steer::Behind | Steer::Native => {
            out.pins.add(naming::pins_of_native(exchange));
        }
        Steer::Later => parsed.leaves_nothing_yet(),
        Steer::Plain => {}
    }
    if parsed.uses_unnamed && !use_unnamed(exchange, context, out, &parsed) {
        return Verdict::Wait;
    }
    settings::follow(exchange, out, header, body, &mut parsed);
    *late = Late::begin(context, header, &mut parsed, body);
    out.note(&parsed);
    out.note_shape(context, header, body);
    out.new_requests |= exchange.request(parsed.kind);
    if context.made.is_empty() {
        Verdict::Pass
    } else {
        Verdict::Instead(0)
    }
}

/// A Bind or Describe of the unnamed statement; `false`: it waits.
fn use_unnamed(
    exchange: &mut Exchange,
    context: &mut Context<'_, '_>,
    out: &mut FromClient,
    parsed: &Parsed<'_>,
) -> bool {
    match exchange.unnamed_wanted() {
        Use::Safe => {}
        Use::Wait => {
            exchange.wait(WaitFor::Unnamed);
            return false;
        }
        // Which backend it will be is not known yet; then it is read again.
        Use::CloseFirst if context.desk.is_some() && !exchange.lent => out.by_name = true,
        Use::CloseFirst => {
            exchange.request(Kind::OurClose);
            context.made.extend_from_slice(OUR_CLOSE);
        }
    }
    if parsed.binds_unnamed {
        exchange.unnamed.bind();
    }
    true
}

/// Messages that a server answers by nothing at all, and reads over when no COPY is on.
fn stray_or_pass(exchange: &mut Exchange, out: &mut FromClient, tag: u8) -> Verdict {
    if exchange.ignores_strays() {
        return Verdict::Drop;
    }
    out.needs_server |= !exchange.owed.is_empty();
    match tag {
        b'c' => exchange.request(Kind::CopyDone),
        b'f' => exchange.request(Kind::CopyFail),
        b'd' => exchange.copy_data(),
        _ => false,
    };
    Verdict::Pass
}

impl FromClient {
    /// A message goes on, with what its text leaves.
    pub(super) fn note(&mut self, parsed: &Parsed<'_>) {
        self.pins.add(parsed.pins);
        self.ends.add(parsed.ends);
        self.reads_sequence |= parsed.sequences.read;
        self.feeds_sequence |= parsed.sequences.fed;
    }

    /// If the session is pinned by this message, it is to be seen by what.
    fn note_shape(&mut self, context: &Context<'_, '_>, header: Header, body: &[u8]) {
        let known = context.desk.as_deref().map_or(Pins::ALL, |desk| desk.pins);
        if self.shape.is_none() && !self.pins.without(known).is_empty() {
            self.shape = message::shape_of(header, body);
        }
    }

    /// `from..to` of the given bytes goes on.
    fn pass(&mut self, bytes: &[u8], from: usize, to: usize) {
        if from >= to {
            return;
        }
        if self.start == self.end {
            self.start = from;
        } else if self.end != from {
            self.flush(bytes);
            self.start = from;
        }
        self.end = to;
    }

    /// `extra` goes on, behind everything so far.
    fn put(&mut self, bytes: &[u8], extra: &[u8]) {
        self.flush(bytes);
        self.head.extend_from_slice(extra);
    }

    fn flush(&mut self, bytes: &[u8]) {
        if self.start < self.end {
            let range = bytes.get(self.start..self.end).unwrap_or_default();
            self.head.extend_from_slice(range);
            self.start = self.end;
        }
    }
}
