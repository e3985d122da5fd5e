//! Whether two plays of a session saw the same.

use weir_sim::client::Step;

use super::play::Seen;
use super::words;
use crate::raw::Message;

/// What a difference shows of the session in front of it.
const STEPS_SHOWN: usize = 400;

/// The first difference in words, behind the session so far.
pub fn difference(script: &[Step], alone: &[Seen], shared: &[Seen]) -> Option<String> {
    let (alone, shared) = (all_comparable(alone), all_comparable(shared));
    let most = alone.len().max(shared.len());
    let at = (0..most).find(|n| {
        let message = |list: &[Seen]| list.get(*n).map(|seen| seen.message.clone());
        message(&alone) != message(&shared)
    })?;
    let step = [&alone, &shared]
        .iter()
        .filter_map(|list| Some(list.get(at)?.step))
        .min()?;
    let said = script.iter().take(step + 1).map(words::step);
    let said: Vec<String> = said.filter(|text| !text.is_empty()).collect();
    let from = said.len().saturating_sub(STEPS_SHOWN);
    let seen = |list: &[Seen], n: usize| {
        list.get(n)
            .map_or_else(|| "nothing".to_owned(), |s| words::message(&s.message))
    };
    let before: Vec<String> = (at.saturating_sub(4)..at)
        .map(|n| seen(&alone, n))
        .collect();
    Some(format!(
        "{}\n  both saw: {}\n  alone:  {}\n  shared: {}",
        said.get(from..).unwrap_or_default().join("\n"),
        before.join(" | "),
        seen(&alone, at),
        seen(&shared, at)
    ))
}

/// Without what may differ.
fn all_comparable(seen: &[Seen]) -> Vec<Seen> {
    let next = seen.iter().skip(1).map(Some).chain([None]);
    let mut failed = false;
    let mut sound = move |one: &Seen| {
        let Message { tag, body } = &one.message;
        let was_failed = failed;
        if *tag == b'Z' {
            failed = *body == *b"E";
        }
        // In a failed transaction a server describes what gives no rows and complains of wrong parameters, but it prepares nothing, anew
        // neither: which error it is hangs on that.
        !(was_failed && matches!(*tag, b'E' | b't' | b'n'))
    };
    seen.iter()
        .zip(next)
        .filter(|(one, _)| sound(one))
        // Describing a statement whose tables are gone, a server may tell its parameters before it finds out; one that is asked to prepare
        // it anew finds out at once.
        .filter(|(one, next)| {
            one.message.tag != b't' || next.is_some_and(|n| n.message.tag != b'E')
        })
        .map(|(one, _)| comparable(one))
        .collect()
}

/// Process ids of notifications, numbers of tables and of types that a database gives; which of its names a statement has in the text of an
/// error, for one content may have several.
fn comparable(seen: &Seen) -> Seen {
    const FIRST_NUMBER_OF_ITS_OWN: u32 = 16_384;
    let mut seen = seen.clone();
    let Message { tag, body } = &mut seen.message;
    match *tag {
        b'A' => body.iter_mut().take(4).for_each(|b| *b = 0),
        b'E' | b'N' => *body = without_statement_names(&without_place(body)),
        b'T' => {
            let mut at = 2;
            while let Some(end) = body.iter().skip(at).position(|b| *b == 0) {
                at += end + 1;
                for from in [at, at + 6] {
                    if let Some(number) = body.get_mut(from..from + 4)
                        && u32::from_be_bytes([number[0], number[1], number[2], number[3]])
                            >= FIRST_NUMBER_OF_ITS_OWN
                    {
                        number.fill(0);
                    }
                }
                at += 18;
            }
        }
        _ => {}
    }
    seen
}

/// Without file, line and routine of the server's source: the same is found out in several places.
fn without_place(body: &[u8]) -> Vec<u8> {
    let fields = body.split(|b| *b == 0);
    let told = fields.filter(|f| !matches!(f.first(), Some(b'F' | b'L' | b'R')));
    told.collect::<Vec<_>>().join(&0)
}

fn without_statement_names(body: &[u8]) -> Vec<u8> {
    const BEFORE: &str = "prepared statement \"";
    let text = String::from_utf8_lossy(body).into_owned();
    let mut parts = text.split(BEFORE);
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let name = part.split('"').next().unwrap_or_default();
        out.push_str(BEFORE);
        out.push_str(part.strip_prefix(name).unwrap_or_default());
    }
    out.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(tag: u8, body: &[u8]) -> Seen {
        let body = body.to_vec();
        Seen {
            step: 0,
            message: Message { tag, body },
        }
    }

    #[test]
    fn any_other_answer_is_a_difference_and_numbers_of_tables_are_none() {
        let script = [Step::Send(weir_sim::wire::query("select 1"), 1)];
        let row = |table: u32, kind: u32| {
            let mut body = b"\0\x01a\0".to_vec();
            body.extend(table.to_be_bytes());
            body.extend(b"\0\x01");
            body.extend(kind.to_be_bytes());
            body.extend([0; 8]);
            [seen(b'T', &body)]
        };
        assert_eq!(
            difference(&script, &row(17_000, 23), &row(18_000, 23)),
            None
        );
        let text = difference(&script, &row(17_000, 23), &row(17_000, 25)).unwrap();
        assert!(
            text.contains("select 1") && text.contains("alone"),
            "{text}"
        );
        let (one, two) = ([seen(b'Z', b"I")], [seen(b'Z', b"T")]);
        assert!(difference(&script, &one, &two).is_some());
        assert!(difference(&script, &one, &[]).is_some());
        let refused = |name: &str| {
            [seen(
                b'E',
                format!("C26000\0Mprepared statement \"{name}\" is x\0").as_bytes(),
            )]
        };
        assert_eq!(difference(&script, &refused("a"), &refused("b")), None);
        let (other, same) = (seen(b'E', b"C26000\0Mx\0"), refused("a"));
        assert!(difference(&script, &same, &[other]).is_some());
        let notes = [seen(b'A', b"\0\0\0\x01a\0b\0")];
        assert_eq!(
            difference(&script, &notes, &[seen(b'A', b"\0\0\0\x02a\0b\0")]),
            None
        );
    }
}
