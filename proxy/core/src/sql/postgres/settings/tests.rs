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
            Change::Discard => "-".to_owned(),
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
fn who_the_session_is_and_set_config_are_taken_like_settings() {
    for (text, expected) in [
        ("SET ROLE X", "role='x'"),
        ("set session role \"X y\"", "role='X y'"),
        ("SET ROLE 'x''y'", "role='x''y'"),
        ("SET ROLE NONE", "role='none'"),
        ("SET role = x", "role='x'"),
        ("set role to default", "-role"),
        ("SET \"role\" = x", "role=x"),
        ("RESET ROLE", "-role"),
        ("SET SESSION AUTHORIZATION x", "session_authorization='x'"),
        (
            "SET SESSION AUTHORIZATION DEFAULT",
            "-session_authorization",
        ),
        ("RESET SESSION AUTHORIZATION", "-session_authorization"),
        (
            "SELECT set_config('Work_Mem', '4MB', false)",
            "work_mem='4MB'",
        ),
        (
            "select pg_catalog.set_config('a.b','''x''',FALSE) as x, set_config('c.d', 'y', true) y, \
             SET_CONFIG('e.f', '', false);",
            "a.b='''x'''; e.f=''",
        ),
        (
            "SELECT set_config('search_path', '\"$user\", public, a1', false)",
            "search_path='$user', 'public', 'a1'",
        ),
        ("select set_config('role', 'x', false)", "role='x'"),
    ] {
        assert_eq!(said(text).as_deref(), Some(expected), "{text}");
    }
}

#[test]
fn what_can_not_be_said_again_is_not_taken() {
    for text in [
        "SET ROLE",
        "SET ROLE x y",
        "SET role = x, y",
        "SET ROLE U&'x'",
        "SET ROLE \"a\"\"b\"",
        "SET SESSION SESSION AUTHORIZATION x",
        "SET LOCAL ROLE x",
        "RESET SESSION",
        "SELECT set_config('a.b', 'x', false), 1",
        "SELECT set_config('a.b', 'x', false) FROM t",
        "SELECT set_config('a.b', 'x' || 'y', false)",
        "SELECT set_config('a.b', $1, false)",
        "SELECT set_config('a.b', 'x', 'f')",
        "SELECT set_config('a.b', NULL, false)",
        "SELECT set_config('a b', 'x', false)",
        "SELECT set_config('a.b', E'x', false)",
        "SELECT set_config('a.b', 'x', false) || 'y'",
        "SELECT public.set_config('a.b', 'x', false)",
        "SELECT set_config('search_path', '', false)",
        "SELECT set_config('search_path', 'a,b', false)",
        "SELECT set_config('search_path', 'A', false)",
        "SELECT set_config('search_path', 'user', false)",
        "SELECT set_config('search_path', 'pg_temp, a', false)",
        "SELECT set_config('temp_tablespaces', 'a', false)",
        "SELECT set_config('transaction_isolation', 'serializable', false)",
        "SELECT (set_config('a.b', 'x', false))",
        "SELECT DISTINCT set_config('a.b', 'x', false)",
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
fn several_statements_are_taken_apart_where_that_is_sure() {
    let parts = |text: &str| -> Option<Vec<String>> {
        let parts = statements(text.as_bytes())?;
        let text = |part: &[u8]| String::from_utf8_lossy(part).into_owned();
        Some(parts.into_iter().map(text).collect())
    };
    assert_eq!(
        parts("SET a = ';'; ; SELECT (1) /* ; */ ;\n-- ;\n").unwrap(),
        ["SET a = ';'", " SELECT (1) /* ; */ "]
    );
    assert_eq!(parts(" ; ").unwrap(), Vec::<String>::new());
    assert_eq!(
        parts("SET a = 1; CREATE RULE r AS ON UPDATE TO t DO (a; b)"),
        None
    );
    assert_eq!(parts("SELECT (1; 2)"), None);
    assert_eq!(parts("SET a = 'x"), None);
    assert!(parts(&"SET a = 1;".repeat(32)).is_some());
    assert_eq!(parts(&"SET a = 1;".repeat(33)), None);
}

#[test]
fn discards() {
    for (text, expected) in [
        ("DISCARD ALL;", Some(Discard::All)),
        ("discard /* */ sequences", Some(Discard::Sequences)),
        ("DISCARD TEMP", None),
        ("DISCARD ALL; SELECT 1", None),
        ("DISCARD", None),
        ("RESET ALL", None),
    ] {
        assert_eq!(discard(text.as_bytes()), expected, "{text}");
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
