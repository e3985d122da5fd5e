//! Requests and answers, played against one ledger.

use super::*;
use crate::sql::postgres::settings;

/// Plays requests one by one: `text > answer`, where the answer is a tag or `error`, and then the transaction's status.
struct Play {
    ledger: Ledger,
    number: u32,
    drift: Parameters,
}

impl Play {
    fn new() -> Play {
        Play {
            ledger: Ledger::default(),
            number: u32::MAX - 2,
            drift: Vec::new(),
        }
    }

    fn ask(&mut self, text: &str) {
        let changes = settings::changes(text.as_bytes()).map(Fact::Changes);
        let point = settings::point(text.as_bytes()).map(Fact::Point);
        if let Some(fact) = changes.or(point) {
            self.ledger.ask(self.number, fact);
        }
    }

    fn run(&mut self, steps: &[(&str, &str, u8)]) -> String {
        for (text, answer, status) in steps {
            self.ask(text);
            if *answer == "error" {
                self.ledger.failed(self.number);
            } else {
                self.ledger.completed(self.number, answer.as_bytes());
            }
            self.number = self.number.wrapping_add(1);
            self.ledger.ready(self.number, *status == b'I');
        }
        self.settled()
    }

    fn settled(&mut self) -> String {
        self.ledger.settle(&vec![], &self.drift);
        if self.ledger.is_lost() {
            return "lost".to_owned();
        }
        let settings = self.ledger.settings();
        let text = String::from_utf8_lossy;
        let said: Vec<String> = settings
            .iter()
            .map(|s| format!("{}={}", text(&s.name), text(&s.value)))
            .collect();
        said.join(" ")
    }
}

fn after(steps: &[(&str, &str, u8)]) -> String {
    Play::new().run(steps)
}

#[test]
fn outside_a_transaction_what_was_done_lasts() {
    let done = [
        ("set b = 1", "SET", b'I'),
        ("set a = 2", "SET", b'I'),
        ("set c = x", "error", b'I'),
        ("set b = 3", "SET", b'I'),
        ("reset d", "RESET", b'I'),
    ];
    assert_eq!(after(&done), "a=2 b=3");
    let mut play = Play::new();
    play.run(&done);
    assert_eq!(play.run(&[("reset b", "RESET", b'I')]), "a=2");
    assert_eq!(play.run(&[("reset all", "RESET", b'I')]), "");
    assert!(play.ledger.is_blank());
}

#[test]
fn what_rolls_back_never_was() {
    for (end, tag, left) in [
        ("commit", "COMMIT", "a=1 b=2"),
        ("rollback", "ROLLBACK", "a=1"),
        // In a failed transaction.
        ("commit", "ROLLBACK", "a=1"),
        ("commit", "error", "a=1"),
        // Not read, so the tag and the status must tell.
        ("", "COMMIT", "a=1 b=2"),
        ("", "ROLLBACK", "a=1"),
        ("", "PREPARE TRANSACTION", "a=1 b=2"),
    ] {
        let steps = [
            ("set a = 1", "SET", b'I'),
            ("begin", "BEGIN", b'T'),
            ("set b = 2", "SET", b'T'),
            (end, tag, b'I'),
        ];
        assert_eq!(after(&steps), left, "{end} {tag}");
    }
}

#[test]
fn savepoints_undo_what_came_behind_them() {
    let begin = [
        ("begin", "BEGIN", b'T'),
        ("savepoint z", "SAVEPOINT", b'T'),
        ("set a = 1", "SET", b'T'),
        ("savepoint s", "SAVEPOINT", b'T'),
        ("set b = 2", "SET", b'T'),
        ("savepoint s", "SAVEPOINT", b'T'),
        ("set c = 3", "SET", b'T'),
    ];
    for (then, tag, left) in [
        ("rollback to s", "ROLLBACK", "a=1 b=2"),
        ("rollback to z", "ROLLBACK", ""),
        ("release s", "RELEASE", "a=1 b=2 c=3"),
        ("release z", "RELEASE", "a=1 b=2 c=3"),
        // Nobody knows where to.
        ("", "ROLLBACK", "lost"),
        ("", "SAVEPOINT", "lost"),
        ("", "RELEASE", "lost"),
    ] {
        let mut play = Play::new();
        play.run_open(&begin);
        play.run_open(&[(then, tag, b'T')]);
        assert_eq!(play.run(&[("commit", "COMMIT", b'I')]), left, "{then}");
    }
    // The inner one was released, the outer one is left.
    let mut play = Play::new();
    play.run_open(&begin);
    let more = [
        ("release s", "RELEASE", b'T'),
        ("x", "error", b'E'),
        ("rollback to s", "ROLLBACK", b'T'),
        ("commit", "COMMIT", b'I'),
    ];
    assert_eq!(play.run(&more), "a=1");
}

impl Play {
    fn run_open(&mut self, steps: &[(&str, &str, u8)]) {
        for (text, answer, status) in steps {
            self.ask(text);
            if *answer == "error" {
                self.ledger.failed(self.number);
            } else {
                self.ledger.completed(self.number, answer.as_bytes());
            }
            self.number = self.number.wrapping_add(1);
            self.ledger.ready(self.number, *status == b'I');
        }
    }
}

#[test]
fn a_chained_transaction_goes_on_and_its_first_part_is_done() {
    let mut play = Play::new();
    play.run_open(&[
        ("begin", "BEGIN", b'T'),
        ("set a = 1", "SET", b'T'),
        ("commit and chain", "COMMIT", b'T'),
        ("set b = 2", "SET", b'T'),
        ("rollback and chain", "ROLLBACK", b'T'),
        ("set c = 3", "SET", b'T'),
    ]);
    assert_eq!(play.run(&[("commit", "COMMIT", b'I')]), "a=1 c=3");
}

#[test]
fn an_error_behind_a_setting_in_one_batch_undoes_it() {
    let mut play = Play::new();
    play.ask("set a = 1");
    play.ledger.completed(play.number, b"SET");
    play.ledger.failed(play.number.wrapping_add(1));
    play.number = play.number.wrapping_add(4);
    play.ledger.ready(play.number, true);
    assert_eq!(play.settled(), "");
    // What was skipped behind the error is not waited for.
    play.ask("set b = 1");
    play.number = play.number.wrapping_add(1);
    play.ask("set c = 1");
    play.ledger.failed(play.number.wrapping_sub(1));
    play.number = play.number.wrapping_add(2);
    play.ledger.ready(play.number, true);
    assert_eq!(play.run(&[("set d = 1", "SET", b'I')]), "d=1");
}

#[test]
fn a_rollback_that_was_not_read_and_a_commit_in_one_segment_are_too_much() {
    let mut play = Play::new();
    play.run_open(&[("begin", "BEGIN", b'T'), ("set a = 1", "SET", b'T')]);
    for tag in ["ROLLBACK", "BEGIN", "COMMIT"] {
        play.ledger.completed(play.number, tag.as_bytes());
    }
    play.ledger.ready(play.number.wrapping_add(1), true);
    assert_eq!(play.settled(), "lost");
}

#[test]
fn the_unnamed_statement_is_followed_within_its_batch() {
    let fact = || Some(Fact::Changes(settings::changes(b"set a = 1").unwrap()));
    let mut ledger = Ledger::default();
    ledger.parse(fact());
    assert!(ledger.bind(Bound::Unnamed, true));
    ledger.execute(0);
    assert!(ledger.end_batch());
    ledger.completed(0, b"SET");
    ledger.ready(2, true);
    ledger.settle(&vec![], &vec![]);
    assert_eq!(ledger.state().map(|s| s.settings.len()), Some(1));

    // Parsed here, run elsewhere.
    for step in 0..4 {
        let mut ledger = Ledger::default();
        ledger.parse(fact());
        let followed = match step {
            0 => ledger.end_batch(),
            1 => ledger.bind(Bound::Unnamed, false),
            2 => ledger.bind(Bound::Unnamed, true) && ledger.end_batch(),
            _ => {
                assert!(ledger.bind(Bound::Unnamed, true));
                ledger.execute(0);
                assert!(ledger.end_batch());
                ledger.bind(Bound::Unnamed, true)
            }
        };
        assert!(!followed, "{step}");
    }
    // Another statement in the same portal.
    let mut ledger = Ledger::default();
    ledger.parse(fact());
    assert!(ledger.bind(Bound::Unnamed, true) && ledger.bind(Bound::Named(None), true));
    ledger.execute(0);
    assert!(ledger.asked.is_empty());
}

#[test]
fn half_a_date_style_is_written_down_whole() {
    let mut play = Play::new();
    play.drift = vec![(b"DateStyle"[..].into(), b"German, YMD"[..].into())];
    let steps = [("set datestyle = ymd", "SET", b'I')];
    assert_eq!(play.run(&steps), "datestyle='German, YMD'");
    assert_eq!(after(&steps), "lost");
}

#[test]
fn beyond_the_bounds_it_is_lost() {
    let mut play = Play::new();
    for i in 0..=SETTINGS_PER_SESSION_MAX {
        let text = format!("set s{i} = 1");
        let left = play.run(&[(&text, "SET", b'I')]);
        assert_eq!(left == "lost", i == SETTINGS_PER_SESSION_MAX, "{i}");
    }
    let mut play = Play::new();
    play.run_open(&[("begin", "BEGIN", b'T')]);
    for _ in 0..=SETTING_CHANGES_MAX {
        play.run_open(&[("set a = 1", "SET", b'T')]);
    }
    assert_eq!(play.run(&[("commit", "COMMIT", b'I')]), "lost");
}

#[test]
fn statements_are_read_under_what_holds_when_they_are_prepared() {
    let mut play = Play::new();
    play.run(&[("set application_name = x", "SET", b'I')]);
    assert!(play.ledger.reading().is_empty());
    play.run(&[("set search_path = x", "SET", b'I')]);
    assert_eq!(&*play.ledger.reading(), b"search_path=x\n");
    play.run_open(&[
        ("begin", "BEGIN", b'T'),
        ("set search_path = y", "SET", b'T'),
    ]);
    assert_eq!(&*play.ledger.reading(), b"search_path=y\n");
    play.run_open(&[("rollback", "ROLLBACK", b'I')]);
    assert_eq!(play.settled(), "lost");
}

fn several(text: &str) -> Fact {
    let parts = settings::statements(text.as_bytes()).unwrap();
    let fact = |part: &[u8]| {
        let changes = settings::changes(part).map(Fact::Changes);
        changes.or(settings::point(part).map(Fact::Point))
    };
    Fact::Several(parts.into_iter().map(fact).collect())
}

/// Plays one query of several statements; `error` ends it.
fn play_several(play: &mut Play, text: &str, answers: &[&str], status: u8) -> String {
    play.ledger.ask(play.number, several(text));
    for answer in answers {
        if *answer == "error" {
            play.ledger.failed(play.number);
        } else {
            play.ledger.completed(play.number, answer.as_bytes());
        }
    }
    play.number = play.number.wrapping_add(1);
    play.ledger.ready(play.number, status == b'I');
    if status == b'I' {
        play.settled()
    } else {
        String::new()
    }
}

#[test]
fn several_statements_of_one_query_are_one_transaction() {
    let after = |text: &str, answers: &[&str]| play_several(&mut Play::new(), text, answers, b'I');
    let text = "set a = 1; select 1; set b = 2";
    assert_eq!(after(text, &["SET", "SELECT 1", "SET"]), "a=1 b=2");
    assert_eq!(after(text, &["SET", "SELECT 1", "error"]), "");
    assert_eq!(after(text, &["SET", "error"]), "");
    let text = "set a = 1; commit; set b = 2; select 1";
    assert_eq!(after(text, &["SET", "COMMIT", "SET", "error"]), "a=1");
    let text = "set a = 1; begin; set b = 2; rollback; set c = 3";
    let done = ["SET", "BEGIN", "SET", "ROLLBACK", "SET"];
    assert_eq!(after(text, &done), "c=3");
    let text = "begin; set a = 1; savepoint s; set a = 2; rollback to s; commit";
    let done = ["BEGIN", "SET", "SAVEPOINT", "SET", "ROLLBACK", "COMMIT"];
    assert_eq!(after(text, &done), "a=1");
    let mut play = Play::new();
    play_several(&mut play, "begin; set a = 1", &["BEGIN", "SET"], b'T');
    let text = "set b = 1; select 1/0";
    play_several(&mut play, text, &["SET", "error"], b'E');
    let text = "rollback; set c = 1";
    assert_eq!(
        play_several(&mut play, text, &["ROLLBACK", "SET"], b'I'),
        "c=1"
    );
}

#[test]
fn who_the_session_is_outlasts_a_reset_and_not_a_discard() {
    let mut play = Play::new();
    let done = [("set role r", "SET", b'I'), ("set a = 1", "SET", b'I')];
    assert_eq!(play.run(&done), "a=1 role='r'");
    let user = several("select 1; set session authorization s");
    assert!(play.ledger.meets_role(&user));
    assert_eq!(play.run(&[("reset all", "RESET", b'I')]), "role='r'");
    assert_eq!(play.run(&[("reset role", "RESET", b'I')]), "");
    assert!(!play.ledger.meets_role(&user));
    assert!(
        play.ledger
            .meets_role(&several("set role r; reset session authorization"))
    );
    let done = [
        ("set session authorization s", "SET", b'I'),
        ("set role r", "SET", b'I'),
    ];
    assert_eq!(play.run(&done), "role='r' session_authorization='s'");
    play.ledger.ask(play.number, Fact::Discard(Discard::All));
    assert_eq!(play.run(&[("", "DISCARD ALL", b'I')]), "");
}

#[test]
fn a_discard_finds_again_what_was_lost() {
    let all = Pins::ALL.without(BEYOND_RESET);
    let lost = || {
        let mut play = Play::new();
        play.ledger.lose();
        play.ledger.ask(play.number, Fact::Discard(Discard::All));
        play
    };
    let mut play = lost();
    play.ledger.completed(play.number, b"DISCARD ALL");
    assert!(play.ledger.is_lost() && play.ledger.take_ended().is_empty());
    play.ledger.ready(play.number.wrapping_add(1), true);
    assert!(!play.ledger.is_lost() && play.ledger.take_ended() == all);
    assert!(play.ledger.take_ended().is_empty() && play.ledger.is_blank());
    let mut play = lost();
    play.ledger.failed(play.number);
    play.ledger.ready(play.number.wrapping_add(1), true);
    assert!(play.ledger.is_lost() && play.ledger.take_ended().is_empty());
    // What comes behind it, before it is answered or after, would not be known.
    for answered in [false, true] {
        let mut play = lost();
        if answered {
            play.ledger.completed(play.number, b"DISCARD ALL");
        }
        let next = play.number.wrapping_add(1);
        play.ledger.ask(next, several("set a = 1"));
        play.ledger.completed(play.number, b"DISCARD ALL");
        play.ledger.completed(next, b"SET");
        play.ledger.ready(next.wrapping_add(1), true);
        assert!(play.ledger.is_lost());
    }
    let mut play = Play::new();
    play.ledger
        .ask(play.number, Fact::Discard(Discard::Sequences));
    play.ledger.completed(play.number, b"DISCARD SEQUENCES");
    play.ledger.ready(play.number.wrapping_add(1), false);
    assert!(play.ledger.take_ended().is_empty());
    play.ledger.ready(play.number.wrapping_add(1), true);
    assert_eq!(play.ledger.take_ended(), Pins::of(PinReason::Sequence));
}

#[test]
fn a_portal_that_stops_halfway_has_changed_its_settings_all_the_same() {
    let mut play = Play::new();
    let fact = several("select set_config('a', '1', false)");
    play.ledger.ask(play.number, fact);
    play.ledger.suspended(play.number);
    assert!(play.ledger.is_lost());
    let mut play = Play::new();
    play.ledger.ask(play.number, Fact::Point(Point::End));
    play.ledger.suspended(play.number);
    assert!(!play.ledger.is_lost());
}
