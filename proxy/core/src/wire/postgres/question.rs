//! What weir asks a server to learn whether a session still has what it is pinned for, and what the answer says.
//!
//! Only that server's own books are asked, all names are qualified so that no `search_path` leads elsewhere, and every user may read them.
//! An answer that is an error, or makes no sense, says nothing.

use super::messages;
use crate::pins::{PinReason, Pins};

/// For each reason a query that finds rows as long as it lasts, outside of a transaction. What lies in the session's temporary schema
/// depends on it, as `DISCARD TEMP` relies on; 2615 is the OID of `pg_namespace` in every version.
const QUERIES: [(PinReason, &str); 4] = [
    (
        PinReason::TemporaryObject,
        "pg_catalog.pg_depend WHERE refclassid OPERATOR(pg_catalog.=) '2615' \
         AND refobjid OPERATOR(pg_catalog.=) pg_catalog.pg_my_temp_schema()",
    ),
    (PinReason::Listen, "pg_catalog.pg_listening_channels()"),
    (
        PinReason::AdvisoryLock,
        "pg_catalog.pg_locks WHERE locktype OPERATOR(pg_catalog.=) 'advisory' \
         AND pid OPERATOR(pg_catalog.=) pg_catalog.pg_backend_pid()",
    ),
    (
        PinReason::HoldCursor,
        "pg_catalog.pg_cursors WHERE is_holdable",
    ),
];

/// Appends a query for those of `reasons` that a server can be asked about. Its answer is one row with their names.
pub fn write_question(out: &mut Vec<u8>, reasons: Pins) {
    messages::query_of(out, |out| {
        out.extend_from_slice(b"SELECT pg_catalog.concat_ws(' '");
        for (reason, query) in QUERIES.iter().filter(|(reason, _)| reasons.has(*reason)) {
            out.extend_from_slice(b", CASE WHEN EXISTS (SELECT FROM ");
            out.extend_from_slice(query.as_bytes());
            out.extend_from_slice(b") THEN '");
            out.extend_from_slice(reason.name().as_bytes());
            out.extend_from_slice(b"' END");
        }
        out.push(b')');
    });
}

/// What is still there, by the body of the answer's DataRow: one column (int16 count, int32 length, text).
#[must_use]
pub fn read_answer(body: &[u8]) -> Option<Pins> {
    let (&count, rest) = body.split_first_chunk::<2>()?;
    let (&length, names) = rest.split_first_chunk::<4>()?;
    let sound = count == [0, 1] && usize::try_from(u32::from_be_bytes(length)).ok()? == names.len();
    if !sound {
        return None;
    }
    let mut still = Pins::NONE;
    for name in names.split(|b| *b == b' ').filter(|name| !name.is_empty()) {
        let (reason, _) = QUERIES
            .iter()
            .find(|(reason, _)| reason.name().as_bytes() == name)?;
        still.add(Pins::of(*reason));
    }
    Some(still)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pins::ASKABLE;

    fn row(text: &str) -> Vec<u8> {
        let mut body = vec![0, 1];
        body.extend_from_slice(&u32::to_be_bytes(text.len() as u32));
        body.extend_from_slice(text.as_bytes());
        body
    }

    #[test]
    fn all_that_can_be_asked_about_has_a_query_and_no_other_reason() {
        let mut all = Pins::NONE;
        QUERIES
            .iter()
            .for_each(|(reason, _)| all.add(Pins::of(*reason)));
        assert_eq!(all, ASKABLE);
        let mut out = Vec::new();
        write_question(&mut out, Pins::of(PinReason::Listen));
        let text = String::from_utf8_lossy(&out[5..out.len() - 1]);
        assert_eq!(
            text,
            "SELECT pg_catalog.concat_ws(' ', CASE WHEN EXISTS (SELECT FROM pg_catalog.pg_listening_channels()) \
             THEN 'listen' END)"
        );
    }

    #[test]
    fn an_answer_names_what_is_there_or_says_nothing() {
        assert_eq!(read_answer(&row("")), Some(Pins::NONE));
        let mut two = Pins::of(PinReason::Listen);
        two.add(Pins::of(PinReason::HoldCursor));
        assert_eq!(read_answer(&row("listen hold_cursor")), Some(two));
        assert_eq!(read_answer(&row("listen setting")), None);
        assert_eq!(read_answer(b"\0\x01\xff\xff\xff\xff"), None);
        assert_eq!(read_answer(b"\0\x02\0\0\0\0\0\0\0\0"), None);
        assert_eq!(read_answer(b"\0\x01\0\0\0\x01"), None);
        assert_eq!(read_answer(b""), None);
    }
}
