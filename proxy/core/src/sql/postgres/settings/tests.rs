//! Texts and what is taken of them.

use super::*;

fn said(text: &str) -> Option<String> {
    let text_of = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let all = changes(text.as_bytes())?;
    let words: Vec<String> = all
        .iter()
        .map(|change| match change {
            Change::Set(name, value) => format!("{}={}", text_of(name), text_of(value)),
            Change::Reset(name) => format!("-{}", text_of(name)),
            Change::ResetAll => "-*".to_owned(),
        })
        .collect();
    Some(words.join("; "))
}

#[test]
fn what_a_statement_changes_is_taken_as_it_was_written() {
    for (text, expected) in [
        ("SET application_name = 'x'", "application_name='x'"),
        ("set Application_Name to X;", "application_name=x"),
        (
            "set \"TimeZone\" = \"Europe/Berlin\"",
            "timezone=\"Europe/Berlin\"",
        ),
        (
            "SET search_path TO a, \"B\" , 'c''d'",
            "search_path=a, \"B\", 'c''d'",
        ),
        (
            "SET SESSION search_path = \"$user\",public",
            "search_path=\"$user\", public",
        ),
        ("SET TIME ZONE 'UTC'", "timezone='UTC'"),
        ("SET SESSION TIME ZONE -7", "timezone=-7"),
        ("set time zone local", "-timezone"),
        ("SET NAMES 'UTF8'", "client_encoding='UTF8'"),
        ("SET NAMES", "-client_encoding"),
        ("SET SCHEMA 'a'", "search_path='a'"),
        ("SET statement_timeout = 5000", "statement_timeout=5000"),
        ("SET extra_float_digits = +3", "extra_float_digits=+3"),
        ("SET seq_page_cost = .5", "seq_page_cost=.5"),
        (
            "/* a */ SET /* b */ work_mem = '4MB' -- c",
            "work_mem='4MB'",
        ),
        ("SET app.tenant = '42'", "app.tenant='42'"),
        ("SET work_mem TO DEFAULT", "-work_mem"),
        ("SET datestyle = ISO, DMY", "datestyle=iso, dmy"),
        ("RESET work_mem", "-work_mem"),
        ("RESET TIME ZONE", "-timezone"),
        ("RESET ALL ; ;", "-*"),
        (
            "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY NOT DEFERRABLE",
            "default_transaction_isolation='repeatable read'; default_transaction_read_only=on; \
             default_transaction_deferrable=off",
        ),
    ] {
        assert_eq!(said(text).as_deref(), Some(expected), "{text}");
    }
}

#[test]
fn what_can_not_be_said_again_is_not_taken() {
    for text in [
        "SET ROLE x",
        "SET role = x",
        "SET SESSION AUTHORIZATION x",
        "SET LOCAL work_mem = 1",
        "SET local.tenant = 1",
        "SET SESSION.x = 1",
        "SET TRANSACTION READ ONLY",
        "SET transaction_isolation = 'serializable'",
        "SET CONSTRAINTS ALL DEFERRED",
        "SET XML OPTION DOCUMENT",
        "SET TIME ZONE INTERVAL '1' HOUR TO MINUTE",
        "SET work_mem FROM CURRENT",
        "SET application_name = E'x'",
        "SET application_name = 'a\\b'",
        "SET application_name = U&'x'",
        "SET application_name = $$x$$",
        "SET application_name = $1",
        "SET application_name = 'é'",
        "SET application_name = é",
        "SET application_name = 'a\nb'",
        "SET application_name = 'a",
        "SET application_name =",
        "SET application_name = 'a' 'b'",
        "SET application_name = a,",
        "SET U&\"x\" = 1",
        "SET \"a b\" = 1",
        "SET a = 1; SET b = 1",
        "SET a = 1; SELECT 1",
        "SET a",
        "SET",
        "RESET",
        "RESET SESSION AUTHORIZATION",
        "RESET ROLE",
        "RESET role",
        "RESET a b",
        "SET SESSION CHARACTERISTICS AS TRANSACTION",
        "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL x",
        "SHOW work_mem",
        "",
    ] {
        assert_eq!(said(text), None, "{text}");
    }
}

#[test]
fn points_of_a_transaction() {
    let name = |n: &str| n.as_bytes().into();
    for (text, expected) in [
        ("COMMIT", Some(Point::End)),
        ("end work", Some(Point::End)),
        ("ROLLBACK", Some(Point::End)),
        ("abort and chain", Some(Point::End)),
        ("SAVEPOINT A", Some(Point::Savepoint(name("a")))),
        ("savepoint \"A\";", Some(Point::Savepoint(name("A")))),
        ("release savepoint a", Some(Point::Release(name("a")))),
        ("RELEASE a /* x */", Some(Point::Release(name("a")))),
        ("rollback to a", Some(Point::BackTo(name("a")))),
        (
            "rollback work to savepoint a",
            Some(Point::BackTo(name("a"))),
        ),
        ("savepoint \u{fc}", None),
        ("savepoint \"a\"\"b\"", None),
        ("select 1", None),
    ] {
        assert_eq!(point(text.as_bytes()), expected, "{text}");
    }
}

#[test]
fn set_config_of_literals_is_a_set() {
    let taken = |text: &str| {
        let changes = call(text.as_bytes())?;
        match changes.as_slice() {
            [Change::Set(name, value)] => Some(format!(
                "{}={}",
                String::from_utf8_lossy(name),
                String::from_utf8_lossy(value)
            )),
            other => panic!("{other:?}"),
        }
    };
    for (text, expected) in [
        (
            "SELECT set_config('TimeZone', 'Asia/Tokyo', false)",
            Some("timezone='Asia/Tokyo'"),
        ),
        (
            "select pg_catalog.Set_Config('app.tenant','it''s',FALSE);",
            Some("app.tenant='it''s'"),
        ),
        (
            "SELECT set_config('app.tenant', '', false)",
            Some("app.tenant=''"),
        ),
        (
            "SELECT set_config('search_path', 'tenant_a', false)",
            Some("search_path='tenant_a'"),
        ),
        // SET would take these for one name.
        ("SELECT set_config('search_path', 'a, b', false)", None),
        ("SELECT set_config('search_path', '', false)", None),
        ("SELECT set_config('search_path', 'pg_temp', false)", None),
        ("SELECT set_config('role', 'x', false)", None),
        ("SELECT set_config('app.', 'x', false)", None),
        ("SELECT set_config('a', 'b', true)", None),
        ("SELECT set_config('a', 'b', 'f')", None),
        ("SELECT set_config('a', NULL, false)", None),
        ("SELECT set_config('a', $1, false)", None),
        ("SELECT set_config('a', E'b', false)", None),
        ("SELECT set_config('a', 'b\\', false)", None),
        ("SELECT set_config('a', 'b' || 'c', false)", None),
        ("SELECT set_config('a', 'b', false), 1", None),
        ("SELECT set_config('a', 'b', false) FROM t", None),
        ("SELECT set_config('a', 'b', false) WHERE false", None),
        ("SELECT set_config('a', 'b', false) LIMIT 0", None),
        ("SELECT set_config('a', 'b', false); SELECT 1", None),
        ("SELECT own.set_config('a', 'b', false)", None),
        ("SELECT \"set_config\"('a', 'b', false)", None),
        ("SELECT set_config('a', 'b', false", None),
        ("SET a = 'b'", None),
    ] {
        assert_eq!(taken(text).as_deref(), expected, "{text}");
    }
}
