-- Everything that psql does with a session, in one script; run with ON_ERROR_STOP, so that a surprise ends it.
\set VERBOSITY verbose
DROP TABLE IF EXISTS psql_account, psql_copied;
CREATE TABLE psql_account (id int PRIMARY KEY, balance int NOT NULL CHECK (balance >= 0));
INSERT INTO psql_account SELECT n, 100 FROM generate_series(1, 10) n;

-- Transactions, savepoints, errors inside.
BEGIN;
UPDATE psql_account SET balance = balance - 30 WHERE id = 1;
UPDATE psql_account SET balance = balance + 30 WHERE id = 2;
SAVEPOINT s;
UPDATE psql_account SET balance = 0;
ROLLBACK TO s;
COMMIT;
BEGIN;
UPDATE psql_account SET balance = 0;
ROLLBACK;
SELECT CASE WHEN sum(balance) = 1000 THEN 'transfer kept the sum' END FROM psql_account;

\set ON_ERROR_STOP 0
SELECT 1/0;
\echo caught :SQLSTATE
BEGIN;
SELECT 1/0;
SELECT 1;
\echo caught :SQLSTATE
COMMIT;
\set ON_ERROR_STOP 1

-- COPY both ways, by the client's file and inline.
CREATE TABLE psql_copied (n int, t text);
INSERT INTO psql_copied SELECT n, repeat('x', n % 50) || E'\t\n\\' FROM generate_series(1, 1000) n;
CREATE TEMP TABLE psql_back (n int, t text);
COPY psql_copied TO STDOUT \g /dev/null
\copy psql_copied to program 'cat > "${TMPDIR:-/tmp}/weir-psql-$PGPORT.copy"'
\copy psql_back from program 'cat "${TMPDIR:-/tmp}/weir-psql-$PGPORT.copy"; rm "${TMPDIR:-/tmp}/weir-psql-$PGPORT.copy"'
SELECT 'copied ' || count(*) || ' rows' FROM (SELECT * FROM psql_back INTERSECT ALL SELECT * FROM psql_copied) both_of_them;
COPY psql_back FROM STDIN;
7	seven
8	eight
\.

-- Session state: settings, prepared statements, cursors, advisory locks, notifications, temporary tables.
SET statement_timeout = '77s';
SHOW statement_timeout;
PREPARE twice(int) AS SELECT $1 * 2 AS doubled;
EXECUTE twice(21);
DECLARE held CURSOR WITH HOLD FOR SELECT n FROM generate_series(1, 100) n;
FETCH 5 FROM held;
MOVE 90 IN held;
FETCH ALL FROM held;
CLOSE held;
SELECT pg_advisory_lock(4711);
SELECT pg_advisory_unlock(4711);
LISTEN psql_channel;
NOTIFY psql_channel, 'notified by itself';
SELECT 1;
UNLISTEN *;
DO $$ BEGIN RAISE NOTICE 'a notice'; END $$;
SELECT CASE WHEN count(*) = 1002 THEN 'the temporary table is still there' END FROM psql_back;

-- Several statements in one message; large results by cursor; \gexec, \gset, \d.
SELECT 1 \; SELECT 2 \; SELECT 3;
BEGIN \; INSERT INTO psql_copied VALUES (-1, 'a') \; COMMIT;
\set FETCH_COUNT 500
SELECT n, repeat('y', 100) FROM generate_series(1, 5000) n \g /dev/null
\unset FETCH_COUNT
SELECT 40 + 2 AS answer \gset
SELECT 'SELECT ' || :answer \gexec
\d psql_account
\encoding LATIN1
SELECT 'äöü' = U&'\00e4\00f6\00fc';
\encoding UTF8
DROP TABLE psql_account, psql_copied;
\echo all of it done
