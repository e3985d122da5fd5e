"""Everything that psycopg 3 does with a session: each check connects anew, over TLS with a verified certificate."""

import threading
import time

import psycopg
from psycopg import errors
from psycopg.types.json import Jsonb

from check import CA, CHANNEL_BINDING, CHECKS, PARAMETERS, check, failed, finish


def connect(**more):
    return psycopg.connect(**PARAMETERS, sslmode="verify-full", sslrootcert=CA, channel_binding=CHANNEL_BINDING, **more)


def setup():
    with connect(autocommit=True) as conn:
        conn.execute("DROP TABLE IF EXISTS py_account, py_copy")
        conn.execute("CREATE TABLE py_account (id int PRIMARY KEY, balance int NOT NULL)")
        conn.execute("INSERT INTO py_account SELECT n, 100 FROM generate_series(1, 10) n")
        conn.execute("CREATE TABLE py_copy (n int, t text, b bytea)")


@check
def values_of_many_types():
    with connect() as conn:
        row = conn.execute(
            "SELECT %s::int, %s::text, %s::bytea, %s::jsonb, %s::float8, %s::bool, %s::int[], NULL",
            (42, "ä€😀 %", bytes(range(256)), Jsonb({"a": [1, None]}), 1.5, True, [1, 2, 3]),
        ).fetchone()
        assert row == (42, "ä€😀 %", bytes(range(256)), {"a": [1, None]}, 1.5, True, [1, 2, 3], None), row


@check
def transactions_commit_and_roll_back():
    with connect() as conn:
        with conn.transaction():
            conn.execute("UPDATE py_account SET balance = balance - 10 WHERE id = 1")
            conn.execute("UPDATE py_account SET balance = balance + 10 WHERE id = 2")
            try:
                with conn.transaction():
                    conn.execute("UPDATE py_account SET balance = 0")
                    raise RuntimeError("inner")
            except RuntimeError:
                pass
        assert conn.execute("SELECT sum(balance) FROM py_account").fetchone() == (1000,)
        conn.execute("DELETE FROM py_account")
        conn.rollback()
        assert conn.execute("SELECT count(*) FROM py_account").fetchone() == (10,)


@check
def errors_keep_their_fields_and_the_session():
    with connect(autocommit=True) as conn:
        for sql, kind in (("SELECT 1/0", errors.DivisionByZero), ("SELEC", errors.SyntaxError), ("SELECT * FROM no_such_table", errors.UndefinedTable)):
            try:
                conn.execute(sql)
                raise AssertionError(sql)
            except kind as error:
                assert error.diag.severity == "ERROR" and error.diag.message_primary, error
        assert conn.execute("SELECT 1").fetchone() == (1,)
    with connect() as conn:
        try:
            conn.execute("SELECT 1/0")
        except errors.DivisionByZero:
            pass
        try:
            conn.execute("SELECT 1")
            raise AssertionError("the transaction had failed")
        except errors.InFailedSqlTransaction:
            conn.rollback()
        assert conn.execute("SELECT 1").fetchone() == (1,)


@check
def prepared_statements_are_reused():
    with connect(autocommit=True, prepare_threshold=0) as conn:
        for n in range(20):
            assert conn.execute("SELECT %s::int + 1", (n,)).fetchone() == (n + 1,)
        names = conn.execute("SELECT count(*) FROM pg_prepared_statements", prepare=False).fetchone()[0]
        assert names >= 1, names
    with connect(autocommit=True) as conn:
        assert conn.execute("SELECT count(*) FROM pg_prepared_statements", prepare=False).fetchone() == (0,)


@check
def copy_in_and_out():
    with connect() as conn, conn.cursor() as cur:
        with cur.copy("COPY py_copy FROM STDIN (FORMAT BINARY)") as copy:
            copy.set_types(["int4", "text", "bytea"])
            for n in range(2000):
                copy.write_row((n, f"row {n}\t\n\\", bytes([n % 256, 0, 255])))
        with cur.copy("COPY py_copy (n, t) TO STDOUT") as copy:
            rows = list(copy.rows())
        assert len(rows) == 2000 and rows[7] == ("7", "row 7\t\n\\"), rows[7]
        conn.rollback()


@check
def copy_that_fails_leaves_the_session_usable():
    with connect(autocommit=True) as conn, conn.cursor() as cur:
        try:
            with cur.copy("COPY py_copy (n) FROM STDIN") as copy:
                copy.write("not a number\n")
            raise AssertionError("no error")
        except errors.InvalidTextRepresentation:
            pass
        try:
            with cur.copy("COPY py_copy (n) FROM STDIN") as copy:
                copy.write("1\n")
                raise RuntimeError("the client changed its mind")
        except RuntimeError:
            pass
        assert cur.execute("SELECT count(*) FROM py_copy").fetchone() == (0,)


@check
def notifications_reach_the_listener():
    with connect(autocommit=True) as listener, connect(autocommit=True) as sender:
        listener.execute("LISTEN py_channel")
        sender.execute("NOTIFY py_channel, 'hello'")
        got = next(listener.notifies(timeout=10, stop_after=1))
        assert (got.channel, got.payload) == ("py_channel", "hello"), got


@check
def session_state_lasts():
    with connect(autocommit=True) as conn:
        conn.execute("SET application_name = 'state'")
        conn.execute("SET search_path = pg_catalog")
        conn.execute("CREATE TEMP TABLE py_temp AS SELECT 7 AS n")
        conn.execute("SELECT pg_advisory_lock(99)")
        for _ in range(10):
            assert conn.execute("SHOW application_name").fetchone() == ("state",)
            assert conn.execute("SHOW search_path").fetchone() == ("pg_catalog",)
            assert conn.execute("SELECT n FROM py_temp").fetchone() == (7,)
        assert conn.execute("SELECT pg_advisory_unlock(99)").fetchone() == (True,)
    with connect(autocommit=True, options="-c work_mem=5MB -c application_name=by_options") as conn:
        for _ in range(5):
            assert conn.execute("SHOW work_mem").fetchone() == ("5MB",)
            assert conn.execute("SHOW application_name").fetchone() == ("by_options",)


@check
def cursors_on_the_server():
    with connect() as conn:
        with conn.cursor(name="in_transaction") as cur:
            cur.itersize = 100
            cur.execute("SELECT n FROM generate_series(1, 1000) n")
            assert sum(row[0] for row in cur) == 500500
    with connect(autocommit=True) as conn:
        with conn.cursor(name="held", withhold=True) as cur:
            cur.execute("SELECT n FROM generate_series(1, 50) n")
            assert cur.fetchmany(10)[-1] == (10,)
            assert len(cur.fetchall()) == 40


@check
def large_results():
    with connect() as conn:
        rows = conn.execute("SELECT n, repeat('x', 1000) FROM generate_series(1, 20000) n").fetchall()
        assert len(rows) == 20000 and rows[-1][0] == 20000 and len(rows[-1][1]) == 1000
        assert len(conn.execute("SELECT repeat('y', 30 * 1024 * 1024)").fetchone()[0]) == 30 * 1024 * 1024
        sent = "z" * (8 * 1024 * 1024)
        assert conn.execute("SELECT length(%s::text)", (sent,)).fetchone() == (len(sent),)


@check
def notices_arrive():
    seen = []
    with connect(autocommit=True) as conn:
        conn.add_notice_handler(lambda diag: seen.append(diag.message_primary))
        conn.execute("DO $$ BEGIN RAISE NOTICE 'one'; RAISE WARNING 'two'; END $$")
    assert seen == ["one", "two"], seen


@check
def cancel_reaches_the_query():
    with connect(autocommit=True) as conn:
        begin = time.monotonic()
        timer = threading.Timer(0.3, conn.cancel_safe)
        timer.start()
        try:
            conn.execute("SELECT pg_sleep(20)")
            raise AssertionError("not cancelled")
        except errors.QueryCanceled:
            assert time.monotonic() - begin < 10
        timer.join()
        assert conn.execute("SELECT 1").fetchone() == (1,)


@check
def many_statements_in_one_message():
    with connect(autocommit=True) as conn:
        cur = conn.execute("SELECT 1; SELECT 2; BEGIN; SELECT 3; COMMIT; SELECT 4")
        seen = []
        while True:
            if cur.description:
                seen.append(cur.fetchone()[0])
            if not cur.nextset():
                break
        assert seen == [1, 2, 3, 4], seen
        try:
            conn.execute("SELECT 5; SELECT 1/0; SELECT 6")
            raise AssertionError("no error")
        except errors.DivisionByZero:
            pass
        assert conn.execute("SELECT 7").fetchone() == (7,)


@check
def pipelines():
    with connect(autocommit=True) as conn:
        with conn.pipeline():
            cursors = [conn.execute("SELECT %s::int", (n,)) for n in range(300)]
        assert [c.fetchone()[0] for c in cursors] == list(range(300))
        try:
            with conn.pipeline() as pipeline:
                first = conn.execute("SELECT 1")
                pipeline.sync()
                conn.execute("SELECT 1/0")
                conn.execute("SELECT 2")
                pipeline.sync()
        except errors.DivisionByZero:
            pass
        assert first.fetchone() == (1,)
        assert conn.execute("SELECT 3").fetchone() == (3,)
    with connect() as conn:
        with conn.pipeline():
            conn.execute("UPDATE py_account SET balance = balance - 1 WHERE id = 3")
            conn.execute("UPDATE py_account SET balance = balance + 1 WHERE id = 4")
        conn.commit()
        assert conn.execute("SELECT sum(balance) FROM py_account").fetchone() == (1000,)


@check
def two_phase_commit():
    with connect() as conn:
        conn.tpc_begin(conn.xid(1, "py_gtrid", "py_bqual"))
        conn.execute("UPDATE py_account SET balance = balance WHERE id = 5")
        conn.tpc_prepare()
        conn.tpc_commit()


@check
def encodings():
    with connect(client_encoding="latin1") as conn:
        assert conn.execute("SELECT 'é' || chr(233)").fetchone() == ("éé",)
        assert conn.info.encoding == "iso8859-1"
    with connect(client_encoding="euc_jp") as conn:
        assert conn.execute("SELECT %s::text", ("日本",)).fetchone() == ("日本",)
    with connect() as conn:
        assert conn.info.encoding == "utf-8"


@check
def the_server_tells_of_itself():
    with connect() as conn:
        info = conn.info
        shown = conn.execute("SHOW server_version").fetchone()[0]
        assert info.parameter_status("server_version") == shown, (info.parameter_status("server_version"), shown)
        assert info.parameter_status("integer_datetimes") == "on"
        assert info.parameter_status("session_authorization") == PARAMETERS["user"]
        assert info.pgconn.ssl_in_use and info.backend_pid


def main():
    setup()
    bad = 0
    for function in CHECKS:
        try:
            function()
        except BaseException:
            failed(function)
            bad += 1
    finish(bad)


main()
