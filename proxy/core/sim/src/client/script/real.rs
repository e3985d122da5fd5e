//! Habits whose statements only a real server understands: for the comparison of a session alone with the same session through weir.
//!
//! What a session sees must depend on itself alone: names, keys and channels carry the client's number. The tables that all have in
//! common are in schemas `public`, `one` and `two` (see the end-to-end suite, which makes them).

mod objects;
mod values;

use super::{CLEAN, Habit, PINNING, Writer};
use crate::client::Step;
use crate::rng::Rng;
use crate::wire;

const REAL: &[Habit] = &[
    Writer::own_settings,
    Writer::own_settings,
    Writer::own_settings,
    Writer::own_settings_in_transaction,
    Writer::own_settings_in_transaction,
    Writer::temporary_tables,
    Writer::temporary_shadow,
    Writer::locks,
    Writer::notifications,
    Writer::cursors,
    Writer::prepared_in_sql,
    Writer::changed_table,
    Writer::names_resolve,
    Writer::deferred_failure,
    Writer::changed_by_function,
    Writer::portals_over_batches,
    Writer::binary_and_typed,
    Writer::seeded,
    Writer::sequence_values,
];

/// Habits of the simulator that hang on time, or on what others do.
const LEFT_OUT: &[Habit] = &[Writer::cancels];

/// Writes a script for a real server.
#[must_use]
pub fn write(rng: Rng, id: u32, habits: u64) -> Vec<Step> {
    let mut writer = Writer::new(rng, id, true);
    let left_out = |habit: &Habit| LEFT_OUT.iter().any(|h| core::ptr::fn_addr_eq(*h, *habit));
    let kinds = [CLEAN, REAL, PINNING];
    for _ in 0..habits {
        let kind = [0, 0, 1, 1, 1, 2][writer.rng.index(6)];
        let habit = *writer.rng.pick(kinds[kind]);
        if !left_out(&habit) {
            habit(&mut writer);
        }
        if writer.rng.chance(30) {
            writer.pause(3_000_000);
        }
    }
    writer.finish()
}

/// What the model understands in its own way, in a real server's words.
pub(super) fn in_real_words(sql: &str) -> String {
    const OWN: &str = "select v from acct where split_part(v, '_', 1) = 'c@' order by 1";
    sql.replace("select v from acct /*", &format!("{OWN} /*"))
        .replace("copy acct to stdout", &format!("copy ({OWN}) to stdout"))
        .replace("pg_sleep(0.3)", "pg_sleep(0.01)")
}

impl Writer {
    /// A statement by one of the two protocols.
    fn say(&mut self, sql: &str) {
        if self.rng.chance(25) {
            let bytes = wire::cat(&[&self.batch(sql, None), &wire::sync()]);
            self.send(bytes, 1);
        } else {
            self.query(sql);
        }
        if self.rng.chance(10) {
            self.pause(3_000_000);
        }
    }

    /// Some of these, in this order.
    fn some_of(&mut self, percent: u64, texts: &[&str]) {
        for text in texts {
            if self.rng.chance(percent) {
                self.say(text);
            }
        }
    }

    /// So many of these, in any order.
    fn any_of(&mut self, most: u64, texts: &[&str]) {
        for _ in 0..self.rng.range(1, most) {
            let text = *self.rng.pick(texts);
            self.say(text);
        }
    }
}
