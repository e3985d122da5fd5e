//! The table of statements and the pins they bring, and a random search for panics and slow inputs.

use super::*;
use PinReason::{
    AdvisoryLock, Discard, HoldCursor, Listen, Load, PreparedStatement, RandomSeed, Sequence,
    Setting, TemporaryObject, UnknownCode, UnknownStatement,
};

mod ends;
mod harmless;
mod random;
mod readings;

fn pins_of(text: &[u8]) -> Vec<PinReason> {
    inspect(text).pins.iter().collect()
}

fn check(table: &[(&str, &[PinReason])]) {
    for (text, expected) in table {
        assert_eq!(pins_of(text.as_bytes()), *expected, "{text}");
    }
}

#[test]
fn settings() {
    check(&[
        ("SET work_mem = '1MB'", &[Setting]),
        ("set session work_mem to 1", &[Setting]),
        ("SET ROLE x", &[Setting]),
        ("SET SESSION AUTHORIZATION DEFAULT", &[Setting]),
        ("SET TIME ZONE 'UTC'", &[Setting]),
        ("SET NAMES 'utf8'", &[Setting]),
        (
            "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
            &[Setting],
        ),
        ("RESET ALL", &[Setting]),
        ("RESET work_mem", &[Setting]),
        ("SET LOCAL work_mem = 1", &[]),
        ("SET LOCAL ROLE x", &[]),
        ("SET LOCAL \"a\".b = 1", &[]),
        ("SET LOCAL TIME ZONE 'UTC'", &[]),
        ("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE", &[]),
        ("SET TRANSACTION READ ONLY, DEFERRABLE", &[]),
        ("SET TRANSACTION NOT DEFERRABLE", &[]),
        ("SET TRANSACTION SNAPSHOT '1-1'", &[]),
        ("SET CONSTRAINTS ALL DEFERRED", &[]),
        ("SET CONSTRAINTS s.a, b IMMEDIATE", &[]),
        // All of these set a lasting setting whose name begins with the keyword.
        ("SET local.a = 1", &[Setting]),
        ("SET local = 1", &[Setting]),
        ("SET local TO 1", &[Setting]),
        ("SET local FROM CURRENT", &[Setting]),
        ("SET transaction.a = 1", &[Setting]),
        ("SET transaction TO 1", &[Setting]),
        ("SET constraints.a = 1", &[Setting]),
        ("SET constraints TO 1", &[Setting]),
        ("SET", &[Setting]),
        ("SET LOCAL", &[Setting]),
        ("SELECT set_config('a', 'b', true)", &[]),
        (
            "SELECT set_config('a', coalesce($1, f.x), TRUE), set_config('a', lower('b,c'), true) FROM f",
            &[],
        ),
        ("SELECT pg_catalog.set_config('a', 'b', true)", &[]),
        ("SELECT set_config('a', 'b', false)", &[Setting]),
        ("SELECT set_config('a', 'b', $1)", &[Setting]),
        ("SELECT set_config('a', 'b', not true)", &[Setting]),
        ("SELECT set_config('a', 'b', true = false)", &[Setting]),
        ("SELECT set_config('a', true)", &[Setting]),
        ("SELECT set_config('a', 'b', is_local => true)", &[Setting]),
        ("SELECT set_config(x, ',', (select a, true))", &[Setting]),
        (
            "SELECT set_config(set_config('a','b',false), 'b', true)",
            &[Setting],
        ),
        (
            "SELECT set_config('a', 'b', true), set_config('a', 'b', false)",
            &[Setting],
        ),
        ("SELECT set_config('a', 'b', true", &[Setting]),
        ("SELECT \"set_config\"('a', 'b', false)", &[Setting]),
        (
            "UPDATE pg_settings SET setting = '1' WHERE name = 'work_mem'",
            &[Setting],
        ),
        (
            "UPDATE pg_catalog.\"pg_settings\" SET setting = '1'",
            &[Setting],
        ),
        (
            "WITH u AS (UPDATE pg_settings SET setting = '1') SELECT 1",
            &[Setting],
        ),
        ("SELECT * FROM pg_settings", &[]),
        ("ALTER ROLE x SET work_mem = 1", &[]),
        ("ALTER SYSTEM SET work_mem = 1", &[]),
        (
            "CREATE FUNCTION f() RETURNS int LANGUAGE sql SET work_mem = 1 AS 'select 1'",
            &[],
        ),
    ]);
}

#[test]
fn prepared_statements_and_cursors() {
    check(&[
        ("PREPARE p AS SELECT 1", &[PreparedStatement]),
        ("PREPARE p (int, text) AS SELECT $1", &[PreparedStatement]),
        ("PREPARE transaction AS SELECT 1", &[PreparedStatement]),
        (
            "PREPARE p AS SELECT nextval('s')",
            &[PreparedStatement, Sequence],
        ),
        ("EXECUTE p(1)", &[PreparedStatement]),
        ("EXPLAIN ANALYZE EXECUTE p", &[PreparedStatement]),
        ("CREATE TABLE t AS EXECUTE p", &[PreparedStatement]),
        ("DEALLOCATE ALL", &[PreparedStatement]),
        ("PREPARE TRANSACTION 'x'", &[]),
        ("COMMIT PREPARED 'x'", &[]),
        ("ROLLBACK PREPARED 'x'", &[]),
        ("DECLARE c CURSOR WITH HOLD FOR SELECT 1", &[HoldCursor]),
        (
            "declare c insensitive no scroll cursor with hold for select 1",
            &[HoldCursor],
        ),
        ("DECLARE c CURSOR WITHOUT HOLD FOR SELECT 1", &[]),
        (
            "DECLARE \"x\" BINARY SCROLL CURSOR FOR WITH q AS (SELECT 1) SELECT * FROM q",
            &[],
        ),
        ("DECLARE c CURSOR FOR SELECT nextval('s')", &[Sequence]),
        ("FETCH FORWARD 10 FROM c", &[]),
        ("MOVE NEXT IN c", &[]),
        ("CLOSE c", &[]),
    ]);
}

#[test]
fn temporary_objects() {
    check(&[
        ("CREATE TEMP TABLE t (a int)", &[TemporaryObject]),
        (
            "create temporary table if not exists t as select 1",
            &[TemporaryObject],
        ),
        ("CREATE LOCAL TEMP TABLE t (a int)", &[TemporaryObject]),
        (
            "CREATE GLOBAL TEMPORARY TABLE t (a int)",
            &[TemporaryObject],
        ),
        (
            "CREATE OR REPLACE TEMP VIEW v AS SELECT 1",
            &[TemporaryObject],
        ),
        (
            "CREATE OR REPLACE TEMP RECURSIVE VIEW v (a) AS SELECT 1",
            &[TemporaryObject],
        ),
        ("CREATE TEMP SEQUENCE s", &[TemporaryObject]),
        ("CREATE/**/TEMP TABLE t (a int)", &[TemporaryObject]),
        ("SELECT 1 AS a INTO TEMP t", &[TemporaryObject]),
        (
            "SELECT 1 AS a INTO LOCAL TEMPORARY TABLE t",
            &[TemporaryObject],
        ),
        ("CREATE TABLE pg_temp.t (a int)", &[TemporaryObject]),
        ("CREATE TABLE PG_TEMP . t (a int)", &[TemporaryObject]),
        ("CREATE TABLE \"pg_temp\".t (a int)", &[TemporaryObject]),
        ("CREATE TABLE pg_temp_3.t (a int)", &[TemporaryObject]),
        ("CREATE TABLE db.pg_temp.t (a int)", &[TemporaryObject]),
        (
            "CREATE FUNCTION pg_temp.f() RETURNS int LANGUAGE sql AS 'select 1'",
            &[TemporaryObject],
        ),
        (
            "CREATE TABLE U&\"pg_t\\0065mp\".t (a int)",
            &[UnknownStatement],
        ),
        (
            "EXPLAIN ANALYZE CREATE TEMP TABLE t AS SELECT 1",
            &[TemporaryObject],
        ),
        (
            "EXPLAIN (ANALYZE, COSTS off) CREATE TEMP TABLE t AS SELECT 1",
            &[TemporaryObject],
        ),
        ("SELECT pg_temp.f(1)", &[TemporaryObject, UnknownCode]),
        ("CREATE TABLE temp (temp int, temporary int)", &[]),
        ("INSERT INTO temp VALUES (1)", &[]),
        (
            "INSERT INTO temp (temp) SELECT temp FROM temp t WHERE t.temp = 1",
            &[],
        ),
        ("SELECT 1 INTO t", &[]),
        ("CREATE TABLE t AS SELECT 1", &[]),
        (
            "SELECT nspname FROM pg_namespace WHERE nspname LIKE 'pg_temp_%'",
            &[],
        ),
        ("CREATE TABLE pg_temperature.t (a int)", &[]),
    ]);
}

#[test]
fn functions_with_state() {
    check(&[
        ("LISTEN a", &[Listen]),
        ("NOTIFY a, 'b'", &[]),
        ("SELECT pg_notify('a', 'b')", &[]),
        ("SELECT pg_advisory_lock(1)", &[AdvisoryLock]),
        ("SELECT pg_try_advisory_lock_shared(1, 2)", &[AdvisoryLock]),
        (
            "SELECT pg_advisory_xact_lock(1), pg_try_advisory_xact_lock_shared(1)",
            &[],
        ),
        ("SELECT nextval('s')", &[Sequence]),
        ("SELECT pg_catalog.nextval('s')", &[Sequence]),
        (
            "SELECT \"pg_catalog\" . /* */ \"nextval\" -- x\n ('s')",
            &[Sequence],
        ),
        ("SELECT setval('s', 1)", &[Sequence]),
        (
            "INSERT INTO t (a) VALUES (nextval('s')) RETURNING currval('s')",
            &[Sequence],
        ),
        ("SELECT ('s'::regclass).nextval", &[Sequence]),
        (
            "SELECT (1::bigint).pg_advisory_lock, (0.5).\"setseed\"",
            &[AdvisoryLock, RandomSeed],
        ),
        ("SELECT nextval FROM t", &[]),
        ("SELECT 'nextval(''s'')'", &[]),
        ("SELECT \"NEXTVAL\"('s')", &[UnknownCode]),
        ("SELECT setseed(0.5)", &[RandomSeed]),
        ("DISCARD ALL", &[Discard]),
        ("LOAD 'x'", &[Load]),
        ("CREATE EXTENSION IF NOT EXISTS x", &[Load]),
        ("ALTER EXTENSION x UPDATE", &[Load]),
        (
            "CREATE FUNCTION f(int) RETURNS int AS 'a.so', 'f' LANGUAGE C STRICT",
            &[Load],
        ),
        ("CREATE LANGUAGE plperl", &[Load]),
        ("CREATE USER MAPPING FOR u SERVER s", &[Load]),
        ("CREATE FOREIGN TABLE t (a int) SERVER s", &[Load]),
    ]);
    assert!(inspect(b"SELECT currval('s')").sequences.read);
    assert!(
        inspect(b"SELECT 1; SELECT pg_catalog.lastval()")
            .sequences
            .read
    );
    assert!(inspect(b"SELECT ('s'::regclass).currval").sequences.read);
    assert!(!inspect(b"SELECT nextval('s')").sequences.read);
}

#[test]
fn code_that_is_not_known() {
    check(&[
        ("DO $$ BEGIN PERFORM 1; END $$", &[UnknownCode]),
        ("CALL p(1)", &[UnknownCode]),
        (
            "IMPORT FOREIGN SCHEMA a FROM SERVER b INTO c",
            &[UnknownCode],
        ),
        ("SELECT f(1)", &[UnknownCode]),
        ("SELECT public.lower('x')", &[UnknownCode]),
        (
            "SELECT db.pg_catalog.nextval('x')",
            &[Sequence, UnknownCode],
        ),
        ("SELECT \"f\"(1)", &[UnknownCode]),
        ("SELECT U&\"f\"(1)", &[UnknownCode, UnknownStatement]),
        ("SELECT U&\"f\" UESCAPE '!' (1)", &[UnknownStatement]),
        ("SELECT ST_Distance(a, b) FROM t", &[UnknownCode]),
        ("SELECT * FROM f(1)", &[UnknownCode]),
        ("SELECT * FROM t JOIN f(1) ON true", &[UnknownCode]),
        ("SELECT * FROM t, LATERAL f(t.a) AS g(a, b)", &[UnknownCode]),
        (
            "SELECT query_to_xml('select nextval(''s'')', true, true, '')",
            &[UnknownCode],
        ),
        (
            "SELECT pg_create_physical_replication_slot('a', false, true)",
            &[UnknownCode],
        ),
        ("INSERT INTO t (a) SELECT f(a) FROM u", &[UnknownCode]),
        ("UPDATE t SET (a, b) = (f(1), 2)", &[UnknownCode]),
        ("DELETE FROM t USING f(1) AS g", &[UnknownCode]),
        ("VALUES (f(1))", &[UnknownCode]),
        ("COPY (SELECT f(1)) TO STDOUT", &[UnknownCode]),
        (
            "COPY t FROM STDIN WHERE lower(a) = 'x' AND f(b)",
            &[UnknownCode],
        ),
        ("EXPLAIN (ANALYZE) SELECT f(1)", &[UnknownCode]),
        ("EXPLAIN (SELECT f(1))", &[UnknownCode]),
        ("CREATE TABLE t AS SELECT f(1)", &[UnknownCode]),
        ("CREATE TABLE t (a int DEFAULT f(1))", &[UnknownCode]),
        ("CREATE INDEX ON t (f(a))", &[UnknownCode]),
        (
            "CREATE INDEX ON t USING btree (a, f(b)) WHERE g(a)",
            &[UnknownCode],
        ),
        (
            "ALTER TABLE t ALTER COLUMN a TYPE int USING f(a)",
            &[UnknownCode],
        ),
        (
            "ALTER TABLE t ADD CONSTRAINT c EXCLUDE USING gist (a WITH =, f(b) WITH OPERATOR(pg_catalog.=))",
            &[UnknownCode],
        ),
        ("CREATE MATERIALIZED VIEW v AS SELECT f(1)", &[UnknownCode]),
        ("CREATE CONVERSION c FOR 'a' TO 'b' FROM f", &[UnknownCode]),
        (
            "MERGE INTO t USING s ON f(t.a) WHEN MATCHED THEN DELETE",
            &[UnknownCode],
        ),
    ]);
}

#[test]
fn calls_that_look_like_something_else() {
    check(&[
        ("SELECT DISTINCT ON (a) f(b) FROM t", &[UnknownCode]),
        ("SELECT 1 OPERATOR(pg_catalog.+) f(1)", &[UnknownCode]),
        (
            "UPDATE t SET a = 1 RETURNING WITH (OLD AS o) f(o.a)",
            &[UnknownCode],
        ),
        (
            "WITH a AS (SELECT 1) (SELECT 2) ORDER BY 1, f(1)",
            &[UnknownCode],
        ),
        ("WITH a AS (SELECT 1) SELECT 1, f(1)", &[UnknownCode]),
        ("WITH a (b) AS (SELECT 1, f(1)) SELECT 1", &[UnknownCode]),
        (
            "WITH a AS (SELECT 1), b (c) AS (SELECT f(1)) TABLE a",
            &[UnknownCode],
        ),
        (
            "SELECT 1 FROM unnest(a) WITH ORDINALITY AS t(a, b), f(1)",
            &[UnknownCode],
        ),
        ("SELECT join(1)", &[UnknownCode]),
        ("SELECT a FROM t ORDER BY join(1)", &[UnknownCode]),
        ("SELECT * FROM t CROSS JOIN join(1)", &[UnknownCode]),
        ("SELECT NOT ilike(a, b)", &[UnknownCode]),
        ("SELECT cube(a, b) FROM t GROUP BY a", &[UnknownCode]),
        (
            "SELECT a FROM t GROUP BY a ORDER BY cube(a, b)",
            &[UnknownCode],
        ),
        ("SELECT a FROM t GROUP BY a, f(a)", &[UnknownCode]),
        ("SELECT first(a ORDER BY b) FROM t", &[UnknownCode]),
        (
            "SELECT set(1), filter(1), over(1), sets(1), key(1), include(1)",
            &[UnknownCode],
        ),
        (
            "INSERT INTO t SELECT 1 FROM a JOIN b ON conflict(a.x)",
            &[UnknownCode],
        ),
        (
            "INSERT INTO t SELECT 1 FROM a JOIN b ON conflict(a.x) ON CONFLICT (a) DO NOTHING",
            &[UnknownCode],
        ),
        (
            "INSERT INTO t SELECT 1 FROM a JOIN b ON conflict(a.x) ON CONFLICT DO NOTHING",
            &[UnknownCode],
        ),
        (
            "SELECT CASE WHEN a THEN insert(b) END FROM t",
            &[UnknownCode],
        ),
        (
            "MERGE INTO t USING s ON a WHEN MATCHED AND CASE WHEN a THEN insert(b) END THEN DELETE",
            &[UnknownCode],
        ),
        (
            "SELECT * FROM t TABLESAMPLE system_rows(10)",
            &[UnknownCode],
        ),
        (
            "SELECT a FROM t WINDOW w AS (PARTITION BY list(a))",
            &[UnknownCode],
        ),
        ("SELECT 1 AS with, f(1)", &[UnknownCode]),
        ("SELECT t.as, f(1) FROM t", &[UnknownCode]),
        (
            "SELECT t.from f FROM t WHERE t.with IN (SELECT f(1))",
            &[UnknownCode],
        ),
        ("SELECT 1 LIMIT f(1)", &[UnknownCode]),
        ("SELECT a FROM t ORDER BY f(a)", &[UnknownCode]),
        ("SELECT a AT TIME ZONE f(1) FROM t", &[UnknownCode]),
        ("SELECT 'a' LIKE 'b' ESCAPE f(1)", &[UnknownCode]),
        (
            "SELECT sum(a) OVER (ROWS f(1) PRECEDING) FROM t",
            &[UnknownCode],
        ),
        ("SELECT 1--\n,f(1)", &[UnknownCode]),
        ("SELECT 1+/* ' */f(1)", &[UnknownCode]),
        ("SELECT a[f(1)] FROM t", &[UnknownCode]),
        ("SELECT ARRAY[1] || f(1)", &[UnknownCode]),
        ("SELECT 'a'::text || f(1)", &[UnknownCode]),
        ("SELECT $1 + f(1)", &[UnknownCode]),
    ]);
}

#[test]
fn several_statements() {
    check(&[
        ("", &[]),
        (" ; ;; -- x\n /* y /* z */ ; */ ;", &[]),
        ("BEGIN; SET LOCAL a = 1; SELECT 1; COMMIT", &[]),
        ("SELECT 1; SET a = 1; LISTEN b;", &[Setting, Listen]),
        (
            "BEGIN;SELECT nextval('s');END;CREATE TEMP TABLE t(a int)",
            &[TemporaryObject, Sequence],
        ),
        ("SELECT ';', $$;LISTEN a$$, \";LISTEN a\"; SELECT 1", &[]),
        ("SELECT 1 /* ; LISTEN a */ ; SELECT 1 -- ; LISTEN a", &[]),
        // A semicolon in parentheses ends a statement all the same: only CREATE RULE has one, and its parts are read alone.
        (
            "CREATE RULE r AS ON INSERT TO t DO ALSO (INSERT INTO u VALUES (1); NOTIFY a)",
            &[],
        ),
        ("SELECT (1; LISTEN a", &[Listen]),
        // The body of such a function is not run, but read as statements: it may bring a pin too many.
        (
            "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1; SELECT 2; END",
            &[],
        ),
        (
            "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1; SELECT g(2); END",
            &[UnknownCode],
        ),
    ]);
    assert_eq!(inspect(b"").statements, 0);
    assert_eq!(inspect(b";;").statements, 0);
    assert_eq!(inspect(b"SELECT 1").statements, 1);
    assert_eq!(inspect(b";SELECT 1;;SELECT 2; /* a */").statements, 2);
}

#[test]
fn statements_that_are_not_known() {
    for text in [
        "SELEC 1",
        "1",
        "'a'",
        "\"select\" 1",
        "x.select 1",
        "START x",
        "CREATE",
        "CREATE GADGET g",
        "ALTER GADGET g",
        "EXPLAIN",
        "EXPLAIN EXPLAIN SELECT 1",
        "WAIT FOR LSN '0/1'",
        ")",
        "=",
        "select.x",
        "START_REPLICATION SLOT a",
        "EXPLAIN (ANALYZE",
    ] {
        let expected: &[PinReason] = if text == "select.x" {
            &[]
        } else {
            &[UnknownStatement]
        };
        assert_eq!(pins_of(text.as_bytes()), expected, "{text}");
    }
}
