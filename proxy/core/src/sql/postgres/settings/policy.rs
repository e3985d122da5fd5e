//! Which settings are followed, and which of them change how a statement's text is read.

/// Settings that are not followed, sorted: they live in their transaction, run code, have a second name, end
/// the connection of whoever comes next, or can't be set again at any time.
pub const NEVER: &[&str] = &[
    "backslash_quote",
    "exit_on_error",
    "force_parallel_mode",
    "idle_session_timeout",
    "is_superuser",
    "local_preload_libraries",
    "seed",
    "session_preload_libraries",
    "sort_mem",
    "temp_buffers",
    "transaction_deferrable",
    "transaction_isolation",
    "transaction_read_only",
    "vacuum_mem",
];

/// Settings that say nothing about how a statement's text is read, sorted. All others may: the literals of a statement are read
/// with `datestyle` and `timezone` when it is prepared, its names with `search_path`.
pub const NEUTRAL: &[&str] = &[
    "application_name",
    "bytea_output",
    "client_min_messages",
    "default_transaction_deferrable",
    "default_transaction_isolation",
    "default_transaction_read_only",
    "extra_float_digits",
    "hash_mem_multiplier",
    "idle_in_transaction_session_timeout",
    "jit",
    "lock_timeout",
    "maintenance_work_mem",
    "statement_timeout",
    "synchronous_commit",
    "transaction_timeout",
    "work_mem",
];

/// The setting behind `SET ROLE`.
pub const ROLE: &[u8] = b"role";

/// The setting behind `SET SESSION AUTHORIZATION`, which also ends any role.
pub const SESSION_USER: &[u8] = b"session_authorization";

/// Whether a setting says who the session is: `RESET ALL` leaves it, and what may be set depends on it.
#[must_use]
pub fn is_identity(name: &[u8]) -> bool {
    name == ROLE || name == SESSION_USER
}

/// Milliseconds below which a server might not find the time to take over a session's settings.
pub const SHORTEST_TIMEOUT: u64 = 100;

/// Whether changes of a setting are followed at all.
#[must_use]
pub fn may_follow(name: &[u8]) -> bool {
    !is_among(NEVER, name)
}

/// Whether this value of a setting is followed.
#[must_use]
pub fn may_set(name: &[u8], value: &[u8]) -> bool {
    match name {
        b"statement_timeout" | b"transaction_timeout" => is_long(value),
        // A plain CREATE TABLE would make a temporary one.
        b"search_path" => !contains(value, b"pg_temp"),
        // Encodings that need no server's help to find the end of a string.
        b"client_encoding" => is_plain_encoding(value),
        // Off, a backslash would end up in strings that are read otherwise.
        b"standard_conforming_strings" => {
            matches!(unquoted(value), b"on" | b"true" | b"yes" | b"1")
        }
        _ => may_follow(name),
    }
}

/// Whether a setting may change how the text of a statement is read when it is prepared.
#[must_use]
pub fn is_reading(name: &[u8]) -> bool {
    !is_among(NEUTRAL, name) && !name.contains(&b'.')
}

fn is_among(list: &[&str], name: &[u8]) -> bool {
    list.binary_search_by(|entry| entry.as_bytes().cmp(name))
        .is_ok()
}

/// A literal without its quotes.
pub(super) fn unquoted(value: &[u8]) -> &[u8] {
    value
        .strip_prefix(b"'")
        .and_then(|rest| rest.strip_suffix(b"'"))
        .unwrap_or(value)
}

fn contains(text: &[u8], word: &[u8]) -> bool {
    text.windows(word.len())
        .any(|part| part.eq_ignore_ascii_case(word))
}

/// No timeout, or one of at least [`SHORTEST_TIMEOUT`].
fn is_long(value: &[u8]) -> bool {
    let value = unquoted(value).trim_ascii();
    let digits = value.iter().take_while(|b| b.is_ascii_digit()).count();
    let (number, unit) = value.split_at(digits);
    let number: Option<u64> = core::str::from_utf8(number)
        .ok()
        .and_then(|n| n.parse().ok());
    match (number, unit.trim_ascii()) {
        (Some(number), b"" | b"ms") => number == 0 || number >= SHORTEST_TIMEOUT,
        (Some(_), b"s" | b"min" | b"h" | b"d") => true,
        _ => false,
    }
}

/// UTF-8 and the encodings of one byte a character, however spelled. In SJIS, BIG5, GBK, UHC, GB18030 and JOHAB a byte of ASCII may
/// be half a character.
fn is_plain_encoding(value: &[u8]) -> bool {
    const PLAIN: [&str; 7] = [
        "utf8", "unicode", "latin", "iso8859", "sqlascii", "koi8", "win125",
    ];
    let name: Vec<u8> = unquoted(value)
        .iter()
        .filter(|b| b.is_ascii_alphanumeric())
        .map(u8::to_ascii_lowercase)
        .collect();
    PLAIN.iter().any(|plain| name.starts_with(plain.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_sorted() {
        assert!(NEVER.is_sorted() && NEUTRAL.is_sorted());
    }

    #[test]
    fn values_that_would_bind_others_are_not_followed() {
        for (name, value, followed) in [
            ("statement_timeout", "0", true),
            ("statement_timeout", "5000", true),
            ("statement_timeout", "'5s'", true),
            ("statement_timeout", "'5 min'", true),
            ("statement_timeout", "'5ms'", false),
            ("statement_timeout", "5", false),
            ("statement_timeout", "1e1", false),
            ("statement_timeout", "'1us'", false),
            ("search_path", "a, b", true),
            ("search_path", "PG_TEMP, a", false),
            ("client_encoding", "'UTF8'", true),
            ("client_encoding", "'utf-8'", true),
            ("client_encoding", "latin1", true),
            ("client_encoding", "'SJIS'", false),
            ("client_encoding", "'WIN932'", false),
            ("standard_conforming_strings", "on", true),
            ("standard_conforming_strings", "off", false),
            ("role", "x", true),
            ("is_superuser", "on", false),
            ("transaction_isolation", "'serializable'", false),
            ("app.tenant", "'7'", true),
        ] {
            assert_eq!(
                may_set(name.as_bytes(), value.as_bytes()),
                followed,
                "{name} {value}"
            );
        }
    }
}
