//! Texts that a shard has read lately and that leave nothing on their session: what was found in them need not be found again.
//!
//! Applications say the same thing over and over, with parameters beside it. A text counts as the same if every byte is; who tries to
//! make texts collide only makes them be read again. How texts are read is the business of [`crate::sql`].

use crate::limits::{FAMILIAR_TEXT_MAX, FAMILIAR_TEXTS};
use crate::sql::postgres::Facts;

/// Shorter ones are read in no time.
const TEXT_MIN: usize = 8;

/// A fixed number of texts, each in the one place that its bytes name.
pub struct Familiar {
    slots: Vec<Slot>,
    texts: Vec<u8>,
}

#[derive(Clone, Copy, Default)]
struct Slot {
    /// Of the text that is here; 0: none.
    length: u16,
    /// Of the last text that belonged here and was not here: it gets the place if it comes twice in a row, so that texts that come
    /// once displace nothing.
    candidate: u32,
    facts: Facts,
}

impl Default for Familiar {
    fn default() -> Familiar {
        Familiar {
            slots: vec![Slot::default(); FAMILIAR_TEXTS],
            texts: vec![0; FAMILIAR_TEXTS * FAMILIAR_TEXT_MAX],
        }
    }
}

impl core::fmt::Debug for Familiar {
    /// Texts hold data.
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Familiar").finish_non_exhaustive()
    }
}

impl Familiar {
    /// What is in a text, if it is familiar.
    #[inline]
    #[must_use]
    pub fn facts(&self, text: &[u8]) -> Option<Facts> {
        let (at, _) = place(text)?;
        let slot = self.slots.get(at)?;
        let known = self.texts.get(at * FAMILIAR_TEXT_MAX..)?;
        let same = usize::from(slot.length) == text.len() && known.get(..text.len())? == text;
        same.then_some(slot.facts)
    }

    /// A text that was not familiar has been read; `facts` is all that matters of it.
    pub fn learn(&mut self, text: &[u8], facts: Facts) {
        let Some((at, candidate)) = place(text) else {
            return;
        };
        let start = at * FAMILIAR_TEXT_MAX;
        let room = self.texts.get_mut(start..start + text.len());
        let (Some(slot), Some(room)) = (self.slots.get_mut(at), room) else {
            return;
        };
        if slot.candidate != candidate {
            slot.candidate = candidate;
            return;
        }
        room.copy_from_slice(text);
        *slot = Slot {
            length: u16::try_from(text.len()).unwrap_or(0),
            candidate: 0,
            facts,
        };
    }
}

/// Where a text belongs, and a number that tells it from most others that belong there.
#[inline]
fn place(text: &[u8]) -> Option<(usize, u32)> {
    if !(TEXT_MIN..=FAMILIAR_TEXT_MAX).contains(&text.len()) {
        return None;
    }
    let word = |at: usize| {
        let bytes = text.get(at..)?.first_chunk::<8>()?;
        Some(u64::from_le_bytes(*bytes))
    };
    // The ends and two places in between: texts that differ elsewhere only share a place.
    let step = (text.len() - 8) / 3;
    let mut mixed = text.len() as u64;
    for at in [0, step, 2 * step, text.len() - 8] {
        mixed = (mixed.rotate_left(23) ^ word(at)?).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
    let high = (mixed >> 32) as u32;
    Some((high as usize % FAMILIAR_TEXTS, high | 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(statements: u32) -> Facts {
        Facts {
            statements,
            ..Facts::default()
        }
    }

    #[test]
    fn a_text_is_familiar_when_it_has_come_twice_and_then_byte_for_byte() {
        let mut familiar = Familiar::default();
        let text = b"select a, b from accounts where id = $1".as_slice();
        assert_eq!(familiar.facts(text), None);
        familiar.learn(text, facts(1));
        assert_eq!(familiar.facts(text), None);
        familiar.learn(text, facts(1));
        assert_eq!(familiar.facts(text), Some(facts(1)));
        for at in 0..text.len() {
            let mut other = text.to_vec();
            other[at] ^= 1;
            assert_eq!(familiar.facts(&other), None, "{at}");
        }
        assert_eq!(familiar.facts(&text[..text.len() - 1]), None);
        assert_eq!(familiar.facts(&[text, b" "].concat()), None);
    }

    #[test]
    fn texts_that_come_once_displace_nothing() {
        let mut familiar = Familiar::default();
        let text = b"select 1 as often".as_slice();
        familiar.learn(text, facts(1));
        familiar.learn(text, facts(1));
        for number in 0..20 * FAMILIAR_TEXTS {
            familiar.learn(format!("select {number} as once").as_bytes(), facts(2));
        }
        assert_eq!(familiar.facts(text), Some(facts(1)));
    }

    #[test]
    fn what_is_too_short_or_too_long_is_read_each_time() {
        let mut familiar = Familiar::default();
        for length in [0, 1, TEXT_MIN - 1, FAMILIAR_TEXT_MAX + 1, 70_000] {
            let text = vec![b'x'; length];
            familiar.learn(&text, facts(1));
            familiar.learn(&text, facts(1));
            assert_eq!(familiar.facts(&text), None, "{length}");
        }
        for length in [TEXT_MIN, TEXT_MIN + 1, FAMILIAR_TEXT_MAX] {
            let text = vec![b'x'; length];
            familiar.learn(&text, facts(7));
            familiar.learn(&text, facts(7));
            assert_eq!(familiar.facts(&text), Some(facts(7)), "{length}");
        }
    }

    #[test]
    fn the_last_of_two_in_one_place_is_there() {
        let mut familiar = Familiar::default();
        // Alike in all places that are looked at.
        let mut one = vec![b'-'; 300];
        let mut other = one.clone();
        one[50] = b'1';
        other[50] = b'2';
        for (text, number) in [(&one, 1), (&other, 2), (&one, 3)] {
            familiar.learn(text, facts(number));
            familiar.learn(text, facts(number));
            assert_eq!(familiar.facts(text), Some(facts(number)));
        }
        assert_eq!(familiar.facts(&other), None);
    }
}
