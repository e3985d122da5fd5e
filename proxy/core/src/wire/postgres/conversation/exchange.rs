//! What both directions of a session share: which requests are under way, what answers them, what an error skips.
//!
//! Rules of PostgreSQL's "Message Flow", of `PostgresMain` (skipping until Sync) and of COPY (Sync and Flush ignored while data
//! is read). No framing here: the two streams say what they have seen.

use super::super::ledger::Ledger;
use super::super::statements::Held;
use super::super::statements::session::{Asked, Statements};
use super::era::Era;
use super::owed::{Kind, Owed};
use super::unnamed::{Unnamed, Use};

/// The server's word on the transaction, from its last ReadyForQuery.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TxStatus {
    /// `I`: no transaction.
    Idle,
    /// `T`: in a transaction.
    InTransaction,
    /// `E`: in a transaction that has failed.
    Failed,
}

/// What the client's next message waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum WaitFor {
    /// Whose the unnamed statement is.
    Unnamed,
    /// Every answer about named statements that earlier batches asked for.
    Names,
    /// Every answer about named statements, those of the batch at hand too.
    AllNames,
    /// Every answer.
    All,
    /// That the backend has taken over the session's settings.
    Replay,
}

/// The shared state.
#[derive(Debug)]
pub(super) struct Exchange {
    pub(super) owed: Owed,
    pub(super) unnamed: Unnamed,
    pub(super) status: TxStatus,
    /// A backend is lent.
    pub(super) lent: bool,
    /// The server skips everything until a Sync that the client has not sent yet.
    pub(super) skipping: bool,
    /// Extended messages since the last message that ReadyForQuery answers.
    pub(super) unsynced: bool,
    /// weir itself answered unsent extended messages with an error: what comes before the Sync must not reach a server.
    pub(super) dropping: bool,
    /// The server reads COPY data for the request at the front.
    pub(super) copying: bool,
    /// The request at the front (simple query, function call) has had an answer that may be followed by ReadyForQuery.
    pub(super) answered: bool,
    /// COPY data, or Syncs that are not recorded, went out behind the requests under way.
    pub(super) copy_data_sent: bool,
    /// A COPY failed with a Sync under way that the server may have ignored or not: a ReadyForQuery may come that nobody
    /// waits for.
    pub(super) stray_ready: bool,
    /// The server has ended the session: nothing that is sent now will be answered.
    pub(super) over: bool,
    /// What a message that was kept back waits for.
    waits_for: WaitFor,
    /// The simple query under way destroys every prepared statement of the backend if it succeeds.
    pub(super) discards: bool,
    /// Whether the transaction changes what texts mean.
    pub(super) era: Era,
    /// The session's named statements; not there before it has one.
    pub(super) statements: Option<Box<Statements>>,
    /// The session's settings; not there before it has made one.
    pub(super) ledger: Option<Box<Ledger>>,
}

impl Exchange {
    pub(super) const fn new() -> Exchange {
        Exchange {
            owed: Owed::new(),
            unnamed: Unnamed::new(),
            status: TxStatus::Idle,
            lent: false,
            skipping: false,
            unsynced: false,
            dropping: false,
            copying: false,
            answered: false,
            copy_data_sent: false,
            stray_ready: false,
            over: false,
            waits_for: WaitFor::Unnamed,
            discards: false,
            era: Era::new(),
            statements: None,
            ledger: None,
        }
    }

    pub(super) fn start_lend(&mut self) {
        self.lent = true;
        self.status = TxStatus::Idle;
        self.copying = false;
        self.answered = false;
        self.stray_ready = false;
        self.over = false;
    }

    pub(super) fn end_lend(&mut self) {
        self.start_lend();
        self.lent = false;
        self.era = Era::new();
        self.forget_requests();
        if self.ledger.as_ref().is_some_and(|l| l.is_blank()) {
            self.ledger = None;
        }
    }

    /// What the client has sent since the last lend will be read again.
    pub(super) fn forget_requests(&mut self) {
        self.skipping = false;
        self.unsynced = false;
        self.discards = false;
        let replaying = self.lent && self.replaying();
        self.owed.clear();
        if replaying {
            self.start_replay();
        }
        if let Some(ledger) = &mut self.ledger {
            ledger.forget_asked();
        }
        self.unnamed = Unnamed::new();
    }

    /// The lent backend has been asked to take over the session's settings, in front of everything else, and has not answered.
    pub(super) fn replaying(&self) -> bool {
        self.owed.front().is_some_and(Kind::replays)
    }

    /// Nothing under way and nothing half done that only this backend knows of.
    pub(super) fn at_rest(&self) -> bool {
        self.owed.is_empty() && !self.skipping && !self.unsynced && self.status == TxStatus::Idle
    }

    /// Whether messages that a server ignores outside COPY need not be sent to any.
    pub(super) fn ignores_strays(&self) -> bool {
        self.owed.is_empty() && !self.lent
    }

    // ---- what the client sends ----

    /// The client sent `kind`. Answers whether a reply will come.
    pub(super) fn request(&mut self, kind: Kind) -> bool {
        if self.owed.is_empty() {
            self.copy_data_sent = false;
        }
        match kind {
            Kind::Sync => return self.sync(),
            _ if self.skipping => return false,
            Kind::CopyDone | Kind::CopyFail => {
                if !self.owed.is_empty() {
                    self.owed.push(kind);
                }
                return false;
            }
            Kind::Query => {
                self.unnamed.end();
                self.unsynced = false;
            }
            Kind::Function => self.unsynced = false,
            Kind::ParseUnnamed => {
                self.unnamed.parse();
                self.unsynced = true;
            }
            Kind::CloseUnnamed => {
                self.unnamed.end();
                self.unsynced = true;
            }
            _ => self.unsynced = true,
        }
        self.owed.push(kind);
        true
    }

    fn sync(&mut self) -> bool {
        self.skipping = false;
        self.dropping = false;
        self.unsynced = false;
        self.unnamed.sync();
        if let Some(statements) = &mut self.statements {
            statements.sync();
        }
        // Syncs that a COPY ignores are one entry, else a client could make the queue grow for ever.
        let ignored = self.copying && self.owed.len() == 2 && self.owed.get(1) == Some(Kind::Sync);
        if ignored {
            self.copy_data_sent = true;
        } else {
            self.owed.push(Kind::Sync);
        }
        true
    }

    /// The client sent CopyData. Answers whether a request is under way that may read it.
    pub(super) fn copy_data(&mut self) -> bool {
        self.copy_data_sent = !self.owed.is_empty();
        self.copy_data_sent
    }

    /// Notes a message about a named statement: the client's, or one of weir's own.
    pub(super) fn ask(&mut self, kind: Kind, asked: Asked) {
        self.statements.get_or_insert_default().ask(asked);
        if kind == Kind::NativeQuiet {
            self.own(kind);
        } else {
            self.request(kind);
        }
    }

    /// Notes the Sync behind messages of weir's own.
    pub(super) fn own_sync(&mut self) {
        self.own(Kind::OurSync);
        if let Some(statements) = &mut self.statements {
            statements.sync();
        }
    }

    fn own(&mut self, kind: Kind) {
        if self.owed.is_empty() {
            self.copy_data_sent = false;
        }
        self.owed.push(kind);
    }

    /// Answers what weir itself answers, as far as its turn has come.
    pub(super) fn answer_known(&mut self) {
        while let Some(answer) = self.owed.front().and_then(Kind::known_answer) {
            self.owed.pop();
            if let Some(statements) = &mut self.statements {
                // Nothing of it concerns the backend.
                statements.answered(&mut Held::default());
                statements.say(answer);
            }
        }
    }

    /// Answers of weir's own that are due now.
    pub(super) fn take_answers(&mut self) -> Option<Vec<u8>> {
        self.statements.as_mut()?.take_answers()
    }

    /// The client's message waits.
    pub(super) fn wait(&mut self, what: WaitFor) {
        self.waits_for = what;
    }

    /// What a message was kept back for has come.
    pub(super) fn wait_is_over(&self) -> bool {
        match self.waits_for {
            WaitFor::Unnamed => self.unnamed_wanted() != Use::Wait,
            WaitFor::Names => {
                let statements = self.statements.as_ref();
                statements.is_none_or(|s| s.settled_before_this_batch())
            }
            WaitFor::AllNames => self.statements.as_ref().is_none_or(|s| s.settled()),
            WaitFor::All => self.owed.is_empty(),
            WaitFor::Replay => !self.replaying(),
        }
    }

    /// What a Bind or Describe of the unnamed statement needs before it is sent.
    pub(super) fn unnamed_wanted(&self) -> Use {
        if self.skipping {
            Use::Safe
        } else {
            self.unnamed.wanted(self.owed.changes_unnamed())
        }
    }

    // ---- what the server answers ----

    /// Whether rows or COPY data may come now.
    pub(super) fn expects_rows(&self) -> bool {
        matches!(self.owed.front(), Some(Kind::Query | Kind::Execute))
    }

    /// The server sent a message of type `tag`, not being an error, ReadyForQuery or an asynchronous one.
    ///
    /// # Errors
    /// The message answers nothing that was asked: the stream can't be followed any more.
    pub(super) fn reply(&mut self, tag: u8, held: &mut Held) -> Result<(), &'static str> {
        let Some(front) = self.owed.front() else {
            return Err("an answer that nothing asked for");
        };
        match (tag, front) {
            (b'D' | b'd' | b'T' | b'H' | b'c', Kind::Query | Kind::Execute)
            | (b't', Kind::Describe | Kind::SharedDescribe | Kind::Probe) => {}
            (b'C', Kind::Query | Kind::Execute) => return self.command_complete(front, held),
            (b'G', Kind::Query | Kind::Execute) if !self.copying => self.copy_in(),
            (b'I', Kind::Query) | (b'V', Kind::Function) => self.answered = true,
            (b'1' | b'2' | b'C', Kind::OurBegin) => self.done(),
            (b'C', Kind::OurQuery | Kind::OurQuestion) => self.answered = true,
            (b'T' | b'D', Kind::OurQuestion) => {}
            (b'I' | b's', Kind::Execute) if !self.copying => {
                if let Some(ledger) = &mut self.ledger {
                    ledger.suspended(self.owed.front_number());
                }
                self.done();
            }
            (b'1', Kind::Parse)
            | (b'2', Kind::Bind)
            | (b'3', Kind::Close)
            | (b'T' | b'n', Kind::Describe) => self.done(),
            (b'1', Kind::ParseUnnamed) => {
                self.unnamed.confirmed(true);
                self.done();
            }
            (b'3', Kind::CloseUnnamed | Kind::OurClose) => {
                self.unnamed.confirmed(false);
                self.done();
            }
            (b'1', Kind::SharedParse | Kind::OurParse)
            | (b'3', Kind::Evict)
            | (b'T' | b'n', Kind::SharedDescribe | Kind::Probe)
            | (b'1' | b'3', Kind::Native | Kind::NativeQuiet) => {
                if let Some(statements) = &mut self.statements {
                    statements.answered(held);
                }
                self.done();
            }
            _ => return Err("an answer that does not fit the request"),
        }
        Ok(())
    }

    /// The request at the front is answered.
    fn done(&mut self) {
        self.owed.pop();
        self.answered = false;
        // Outside COPY the server reads over these without a word.
        while self.owed.front().is_some_and(Kind::is_copy_end) {
            self.owed.pop();
        }
        self.answer_known();
    }

    fn command_complete(&mut self, front: Kind, held: &mut Held) -> Result<(), &'static str> {
        if core::mem::take(&mut self.discards) {
            held.clear();
            if let Some(statements) = &mut self.statements {
                statements.forget_all();
            }
        }
        if self.copying {
            let early = self.early_syncs();
            if self.owed.get(1 + early) != Some(Kind::CopyDone) {
                return Err("COPY completed before its data ended");
            }
            self.owed.remove_behind_front(early + 1);
            self.copying = false;
        }
        if front == Kind::Execute {
            self.done();
        } else {
            self.answered = true;
        }
        Ok(())
    }

    /// The server sent an ErrorResponse that leaves the connection up. `protocol` tells that its code is 08P01.
    ///
    /// # Errors
    /// Nothing was asked that could fail.
    pub(super) fn error(&mut self, protocol: bool, held: &mut Held) -> Result<(), &'static str> {
        if self.replaying() {
            self.replay_failed(held);
            return Ok(());
        }
        if self.owed.front() == Some(Kind::OurQuestion) {
            self.answered = true;
            return Ok(());
        }
        if let Some(ledger) = &mut self.ledger {
            ledger.failed(self.owed.front_number());
        }
        self.discards = false;
        self.era.failed();
        match self.owed.front() {
            None if self.stray_ready => {}
            None => return Err("an error that nothing asked for"),
            Some(Kind::Function | Kind::Sync | Kind::OurSync) => self.answered = true,
            Some(Kind::Query) => {
                if self.copying {
                    self.simple_copy_failed(protocol);
                }
                self.answered = true;
            }
            Some(front) => {
                if self.copying {
                    self.ignore_early_syncs(protocol);
                }
                if front == Kind::ParseUnnamed {
                    self.unnamed.confirmed(false);
                }
                self.skip_to_sync(held);
            }
        }
        self.copying = false;
        Ok(())
    }

    pub(super) fn skip_to_sync(&mut self, held: &mut Held) {
        while let Some(kind) = self.owed.front()
            && !matches!(kind, Kind::Sync | Kind::OurSync)
        {
            self.owed.pop();
            if kind.is_asked()
                && let Some(statements) = &mut self.statements
            {
                statements.failed(held);
            }
        }
        self.answered = false;
        self.skipping = self.owed.is_empty();
    }

    /// The server sent ReadyForQuery.
    ///
    /// # Errors
    /// Nothing that it could end has been asked or answered.
    pub(super) fn ready(&mut self, status: u8) -> Result<(), &'static str> {
        let status = match status {
            b'I' => TxStatus::Idle,
            b'T' => TxStatus::InTransaction,
            b'E' => TxStatus::Failed,
            _ => return Err("ReadyForQuery with an unknown transaction status"),
        };
        match self.owed.front() {
            _ if self.copying => return Err("ReadyForQuery in the middle of a COPY"),
            Some(front @ (Kind::OurQuery | Kind::OurQuestion)) if self.answered => {
                if front == Kind::OurQuestion {
                    self.unnamed.confirmed(false);
                }
                self.status = status;
                self.done();
                return Ok(());
            }
            Some(Kind::Sync | Kind::OurSync) => self.done(),
            Some(front @ (Kind::Query | Kind::Function)) if self.answered => {
                if front == Kind::Query {
                    self.unnamed.confirmed(false);
                }
                self.done();
            }
            // The Sync was not ignored after all, so it has also ended the skipping.
            _ if self.stray_ready => self.skipping = false,
            _ => return Err("ReadyForQuery that nothing asked for"),
        }
        self.status = status;
        self.discards = false;
        if let Some(ledger) = &mut self.ledger {
            ledger.ready(self.owed.front_number(), status == TxStatus::Idle);
        }
        if self.owed.is_empty() {
            self.unnamed.settle(status == TxStatus::Idle);
        }
        Ok(())
    }

    // ---- requests that never reach a server ----

    /// Answers every request under way with `error` and forgets it. None of them has been sent.
    pub(super) fn fail(&mut self, error: &[u8]) -> Vec<u8> {
        const READY: &[u8] = b"Z\0\0\0\x05I";
        let mut answer = Vec::new();
        let mut failed = false;
        while let Some(kind) = self.owed.pop() {
            if kind.is_copy_end() {
                continue;
            }
            if !failed {
                answer.extend_from_slice(error);
            }
            // As a server does it: after an error in an extended batch everything up to the Sync is skipped.
            let ends = kind == Kind::Sync || (!failed && kind.ends_ready());
            failed = !ends;
            if ends {
                answer.extend_from_slice(READY);
            }
        }
        self.dropping |= failed;
        self.unsynced = false;
        if let Some(ledger) = &mut self.ledger {
            ledger.forget_asked();
        }
        self.unnamed = Unnamed::new();
        answer
    }
}
