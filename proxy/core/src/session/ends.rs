//! How a session's pins end: since when it has them, and which of them are in doubt.
//!
//! What temporary objects, listens, locks and cursors a session has is not followed: the server is asked, when there is reason to
//! doubt a pin. Both the question and a `DISCARD` are answered while later requests may be under way, so a reason that was given
//! anew behind them stays, whatever the answer says.

use crate::ids::Now;
use crate::pins::{ASKABLE, PinReason, Pins};

/// What may end one session's pins.
#[derive(Default, Debug)]
pub struct Ends {
    /// Given since the server was asked last, or for something that a statement since may have ended.
    doubtful: Pins,
    /// What the server has been asked about, and was not given anew since.
    asked: Option<Pins>,
    /// What a `DISCARD` under way may end: what was not given anew since it was sent.
    discarding: Option<Pins>,
    /// Since when the session has which reason. Without a heap while nothing pins.
    since: Vec<(PinReason, Now)>,
}

impl Ends {
    /// Statements that pin for these reasons are on their way, whether they are new or not.
    pub fn given(&mut self, pins: Pins) {
        self.doubtful.add(pins.both(ASKABLE));
        self.asked = self.asked.map(|asked| asked.without(pins));
        self.discarding = self.discarding.map(|discarding| discarding.without(pins));
    }

    /// The session has a reason that it did not have.
    pub fn begun(&mut self, reason: PinReason, now: Now) {
        self.since.push((reason, now));
    }

    /// A statement is on its way that may end these reasons.
    pub fn doubt(&mut self, pins: Pins) {
        self.doubtful.add(pins);
    }

    /// A `DISCARD` is on its way, together with statements that pin for `pins`. Only the first of several under way ends anything: which of
    /// them an answer belongs to is not known here.
    pub fn discard(&mut self, pins: Pins) {
        if self.discarding.is_none() {
            self.discarding = Some(Pins::ALL.without(pins));
        }
    }

    /// Nothing is under way: what the session, which is pinned for `pins`, should ask its server about, if it should ask at all.
    pub fn ask(&mut self, pins: Pins) -> Option<Pins> {
        self.discarding = None;
        let doubtful = core::mem::take(&mut self.doubtful).both(pins);
        if doubtful.is_empty() || !pins.without(ASKABLE).is_empty() {
            // What else pins may end some day.
            self.doubtful = doubtful;
            return None;
        }
        self.asked = Some(doubtful);
        self.asked
    }

    /// The server has answered: `still` is what is there. What has ended.
    pub fn answered(&mut self, still: Pins) -> Pins {
        self.asked.take().unwrap_or_default().without(still)
    }

    /// The server has discarded all that `pins` are for. What has ended.
    pub fn discarded(&mut self, pins: Pins) -> Pins {
        self.discarding.take().unwrap_or_default().both(pins)
    }

    /// The session does not have a reason any more; since when it had it.
    pub fn ended(&mut self, reason: PinReason) -> Option<Now> {
        let at = self.since.iter().position(|(r, _)| *r == reason)?;
        let since = self.since.swap_remove(at).1;
        if self.since.is_empty() {
            self.since = Vec::new();
        }
        Some(since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCK: Pins = Pins::of(PinReason::AdvisoryLock);
    const LISTEN: Pins = Pins::of(PinReason::Listen);
    const SETTING: Pins = Pins::of(PinReason::Setting);

    fn all(pins: &[Pins]) -> Pins {
        let mut all = Pins::NONE;
        pins.iter().for_each(|p| all.add(*p));
        all
    }

    #[test]
    fn what_is_in_doubt_is_asked_about_once() {
        let mut ends = Ends::default();
        ends.given(LOCK);
        assert_eq!(ends.ask(LOCK), Some(LOCK));
        assert_eq!(ends.answered(LOCK), Pins::NONE);
        assert_eq!(ends.ask(LOCK), None);
        ends.doubt(all(&[LOCK, LISTEN]));
        assert_eq!(ends.ask(LOCK), Some(LOCK));
        assert_eq!(ends.answered(Pins::NONE), LOCK);
        assert_eq!(ends.answered(Pins::NONE), Pins::NONE);
    }

    #[test]
    fn nothing_is_asked_while_something_else_pins() {
        let mut ends = Ends::default();
        ends.given(all(&[LOCK, SETTING]));
        assert_eq!(ends.ask(all(&[LOCK, SETTING])), None);
        assert_eq!(ends.ask(LOCK), Some(LOCK));
    }

    #[test]
    fn what_is_given_anew_behind_the_question_stays() {
        let mut ends = Ends::default();
        ends.given(all(&[LOCK, LISTEN]));
        assert_eq!(ends.ask(all(&[LOCK, LISTEN])), Some(all(&[LOCK, LISTEN])));
        ends.given(LOCK);
        assert_eq!(ends.answered(Pins::NONE), LISTEN);
        assert_eq!(ends.ask(LOCK), Some(LOCK));
        assert_eq!(ends.answered(Pins::ALL), Pins::NONE);
    }

    #[test]
    fn a_discard_ends_what_was_given_before_it() {
        let mut ends = Ends::default();
        assert_eq!(ends.discarded(SETTING), Pins::NONE);
        ends.discard(LISTEN);
        ends.given(SETTING);
        ends.discard(Pins::NONE);
        assert_eq!(ends.discarded(all(&[SETTING, LISTEN, LOCK])), LOCK);
        assert_eq!(ends.discarded(LOCK), Pins::NONE);
    }

    #[test]
    fn a_reason_has_its_own_time() {
        let mut ends = Ends::default();
        ends.begun(PinReason::Listen, Now(5));
        ends.begun(PinReason::Setting, Now(7));
        assert_eq!(ends.ended(PinReason::Listen), Some(Now(5)));
        assert_eq!(ends.ended(PinReason::Listen), None);
        assert_eq!(ends.ended(PinReason::Setting), Some(Now(7)));
        assert_eq!(ends.since.capacity(), 0);
    }
}
