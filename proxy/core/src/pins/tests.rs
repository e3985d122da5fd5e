//! `docs/pinning.md` says what the code does.

use core::fmt::Write as _;
use std::path::PathBuf;

use super::*;
use crate::limits::{
    SETTINGS_PER_SESSION_BYTES_MAX, SETTINGS_PER_SESSION_MAX, STATEMENT_INSPECT_MAX,
};
use crate::sql::postgres::settings::policy;

const HEAD: &str = "# What pins, why, for how long

This page is made from the code's own list: `WEIR_WRITE_DOCS=1 cargo test -p weir-core pins` writes it anew.

A session that leaves something on its server connection that can't be made again elsewhere keeps the connection: it is *pinned*.
Nothing leaks and nothing is lost, but the connection serves nobody else meanwhile. A session may be pinned for several reasons; it is
lent freely again when the last of them has ended. Each pin and each end is a line in the log (`client_pinned`, `client_unpinned` with
the time that it was held) and is counted by reason (`weir_pins_total`, `weir_pins_ended_total`).

Every pin ends when its client leaves. The server connection is then reset with `DISCARD ALL`, or closed where the last column of the
table says so.

| reason | what brings it | why | ends before the client leaves when | how to do without | afterwards |
| --- | --- | --- | --- | --- | --- |
";

const MIDDLE: &str = "
## How weir knows that a pin has ended

Temporary objects, listens, session advisory locks and held cursors are not followed statement by statement: functions, `CASCADE`,
rolled back transactions and much else could prove weir wrong. Instead the server is asked. When a session that is pinned for such
reasons alone has no transaction open, and has begun or may have ended one of them (`DROP`, `UNLISTEN`, `pg_advisory_unlock…`, `CLOSE`,
`DISCARD`, or the transaction in which the pin began has ended), weir sends one small query of its own, for these reasons only. It asks
system catalogs and views that every user may read. What the client sends meanwhile goes right behind it. If the answer is an error the
pin stays. So what is rolled back leaves no pin, and a session that keeps its temporary table is not asked again before there is reason
to.

`DISCARD ALL` as a statement of its own ends every pin but those after which the connection is closed; `DISCARD SEQUENCES` ends
`sequence`.

## Settings

These are followed and made again on whichever connection serves the session (in front of its query, in the same write), so they don't
pin: `SET`, `SET SESSION`, `RESET`, `RESET ALL`, `SET SESSION CHARACTERISTICS`, `SET TIME ZONE`, `SET NAMES`, `SET SCHEMA`, `SET ROLE`, `SET
SESSION AUTHORIZATION`, `SELECT set_config('name', 'value', false)` with nothing else in the list, and `DISCARD ALL`: as simple queries,
several in one query too, as unnamed statements parsed and run in one round trip, and as named statements. They follow transactions,
savepoints and errors as the server does. `SET LOCAL` and `set_config(…, true)` end with their transaction and never pin.
";

fn line(reason: PinReason) -> String {
    let about = reason.about();
    let afterwards = if BEYOND_RESET.has(reason) {
        "closed"
    } else {
        "reset"
    };
    format!(
        "| `{}` | {} | {} | {} | {} | {afterwards} |\n",
        reason.name(),
        about.what,
        about.why,
        about.until,
        about.instead
    )
}

fn names(list: &[&str]) -> String {
    let quoted: Vec<String> = list.iter().map(|name| format!("`{name}`")).collect();
    quoted.join(", ")
}

fn page() -> String {
    let mut page = HEAD.to_owned();
    PinReason::ALL.iter().for_each(|r| page += &line(*r));
    page += MIDDLE;
    let _ = write!(
        page,
        "
A setting pins instead when

- it is one of these, which live in their transaction, run code, have a second name, would end the connection of whoever comes next, or
  can't be set again at any time: {};
- its value is one of these: `statement_timeout` and `transaction_timeout` below {} ms or in microseconds, a `search_path` with `pg_temp`,
  a `client_encoding` in which a byte of ASCII may be half a character (SJIS, BIG5, GBK, UHC, GB18030, JOHAB), and
  `standard_conforming_strings` off;
- its value is not a plain literal: escapes, backslashes, `U&`, `$$`, parameters, expressions, characters beyond ASCII; for
  `set_config('search_path', …)` also anything but lower-case names with `, ` between;
- it comes in one text with statements that pin for other reasons, or with a `CREATE`;
- the session's user is changed while a role is set;
- the session has more than {SETTINGS_PER_SESSION_MAX} settings of its own, or {SETTINGS_PER_SESSION_BYTES_MAX} bytes of them;
- the session has named statements, and it may change how their texts are read. All may but settings of one's own (`app.tenant`) and: {};
- its text is longer than {STATEMENT_INSPECT_MAX} bytes.
",
        names(policy::NEVER),
        policy::SHORTEST_TIMEOUT,
        names(policy::NEUTRAL)
    );
    page
}

#[test]
fn the_page_about_pins_is_what_the_code_says() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/pinning.md");
    let page = page();
    if std::env::var_os("WEIR_WRITE_DOCS").is_some() {
        std::fs::write(&path, &page).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == page,
        "docs/pinning.md is not what the code says: WEIR_WRITE_DOCS=1 cargo test -p weir-core pins"
    );
}

#[test]
fn what_can_be_asked_for_is_what_ends_by_asking() {
    for reason in PinReason::ALL {
        let about = reason.about();
        assert_eq!(ASKABLE.has(*reason), about.until == ASKED, "{reason:?}");
        assert_eq!(
            BEYOND_RESET.has(*reason),
            about.until == NEVER,
            "{reason:?}"
        );
        assert!(!about.what.is_empty() && !about.why.is_empty() && !about.instead.is_empty());
    }
}
