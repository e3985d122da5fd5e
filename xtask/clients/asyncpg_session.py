"""Everything that asyncpg does with a session: named statements, binary values, its own pool, timeouts that cancel."""

import asyncio
import datetime
import decimal
import io
import ssl

import asyncpg

from check import CA, CHECKS, PARAMETERS, check, failed, finish


def parameters():
    context = ssl.create_default_context(cafile=CA)
    given = dict(PARAMETERS)
    return {"database": given.pop("dbname"), "ssl": context, "timeout": 20, **given}


async def connect(**more):
    return await asyncpg.connect(**parameters(), **more)


class Connected:
    """A connection for one check."""

    def __init__(self, **more):
        self.more = more

    async def __aenter__(self):
        self.conn = await connect(**self.more)
        return self.conn

    async def __aexit__(self, *_):
        await self.conn.close(timeout=10)


async def setup():
    async with Connected() as conn:
        await conn.execute("DROP TABLE IF EXISTS apg_account, apg_copy")
        await conn.execute("CREATE TABLE apg_account (id int PRIMARY KEY, balance int NOT NULL)")
        await conn.execute("INSERT INTO apg_account SELECT n, 100 FROM generate_series(1, 10) n")
        await conn.execute("CREATE TABLE apg_copy (n int, t text, b bytea)")


@check
async def values_of_many_types():
    async with Connected() as conn:
        given = (2**40, "ä€😀", bytes(range(256)), decimal.Decimal("1.50"), datetime.date(2024, 2, 29), [1, None, 3])
        row = await conn.fetchrow("SELECT $1::int8, $2::text, $3::bytea, $4::numeric, $5::date, $6::int[]", *given)
        assert tuple(row) == given, row


@check
async def transactions_and_savepoints():
    async with Connected() as conn:
        async with conn.transaction():
            await conn.execute("UPDATE apg_account SET balance = balance - 10 WHERE id = 1")
            try:
                async with conn.transaction():
                    await conn.execute("UPDATE apg_account SET balance = 0")
                    raise RuntimeError("inner")
            except RuntimeError:
                pass
            await conn.execute("UPDATE apg_account SET balance = balance + 10 WHERE id = 2")
        assert await conn.fetchval("SELECT sum(balance) FROM apg_account") == 1000
        async with conn.transaction(isolation="serializable", readonly=True, deferrable=True):
            assert await conn.fetchval("SHOW transaction_isolation") == "serializable"


@check
async def errors_keep_the_session():
    async with Connected() as conn:
        for _ in range(3):
            try:
                await conn.fetchval("SELECT 1 / $1::int", 0)
                raise AssertionError("no error")
            except asyncpg.DivisionByZeroError:
                pass
            try:
                await conn.execute("SELECT * FROM no_such_table")
                raise AssertionError("no error")
            except asyncpg.UndefinedTableError:
                pass
            assert await conn.fetchval("SELECT 1") == 1


@check
async def prepared_statements():
    async with Connected() as conn:
        statement = await conn.prepare("SELECT $1::int * 2")
        other = await conn.prepare("SELECT $1::text || '!'")
        for n in range(50):
            assert await statement.fetchval(n) == 2 * n
            assert await other.fetchval(str(n)) == f"{n}!"
        await conn.executemany("UPDATE apg_account SET balance = balance + $1 WHERE id = $2", [(1, 1), (-1, 1)] * 50)
        assert await conn.fetchval("SELECT sum(balance) FROM apg_account") == 1000


@check
async def copy_in_and_out():
    async with Connected() as conn:
        rows = [(n, f"row {n}\t\n\\", bytes([n % 256, 0])) for n in range(2000)]
        assert await conn.copy_records_to_table("apg_copy", records=rows) == "COPY 2000"
        out = io.BytesIO()
        assert await conn.copy_from_table("apg_copy", output=out, columns=["n", "t"]) == "COPY 2000"
        assert out.getvalue().splitlines()[7] == b"7\trow 7\\t\\n\\\\"
        try:
            await conn.copy_records_to_table("apg_copy", records=[("x", 1, 2)])
            raise AssertionError("no error")
        except (TypeError, asyncpg.DataError):
            pass
        assert await conn.fetchval("SELECT count(*) FROM apg_copy") == 2000


@check
async def notifications():
    async with Connected() as listener, Connected() as sender:
        got = asyncio.get_running_loop().create_future()
        await listener.add_listener("apg_channel", lambda *args: got.done() or got.set_result(args[2:]))
        await sender.execute("SELECT pg_notify('apg_channel', 'hello')")
        assert await asyncio.wait_for(got, 10) == ("apg_channel", "hello")


@check
async def a_timeout_cancels():
    async with Connected() as conn:
        try:
            await conn.fetchval("SELECT pg_sleep(20)", timeout=0.3)
            raise AssertionError("no timeout")
        except asyncio.TimeoutError:
            pass
        assert await conn.fetchval("SELECT 1") == 1
        task = asyncio.ensure_future(conn.fetchval("SELECT pg_sleep(20)"))
        await asyncio.sleep(0.2)
        task.cancel()
        try:
            await task
            raise AssertionError("not cancelled")
        except asyncio.CancelledError:
            pass
        assert await conn.fetchval("SELECT 2") == 2


@check
async def cursors_and_large_results():
    async with Connected() as conn:
        async with conn.transaction():
            total = 0
            async for row in conn.cursor("SELECT n FROM generate_series(1, 5000) n", prefetch=100):
                total += row["n"]
            assert total == 5000 * 5001 // 2
        rows = await conn.fetch("SELECT n, repeat('x', 1000) AS t FROM generate_series(1, 20000) n")
        assert len(rows) == 20000 and rows[-1]["n"] == 20000


@check
async def session_state_lasts():
    async with Connected(server_settings={"application_name": "apg", "work_mem": "6MB"}) as conn:
        await conn.execute("SET extra_float_digits = 0")
        await conn.execute("CREATE TEMP TABLE apg_temp AS SELECT 7 AS n")
        for _ in range(10):
            assert await conn.fetchval("SHOW application_name") == "apg"
            assert await conn.fetchval("SHOW work_mem") == "6MB"
            assert await conn.fetchval("SHOW extra_float_digits") == "0"
            assert await conn.fetchval("SELECT n FROM apg_temp") == 7
        await conn.reset()
        assert await conn.fetchval("SHOW work_mem") == "6MB"


@check
async def notices_arrive():
    async with Connected() as conn:
        seen = []
        conn.add_log_listener(lambda _, message: seen.append(message.message))
        await conn.execute("DO $$ BEGIN RAISE NOTICE 'one'; RAISE WARNING 'two'; END $$")
        await asyncio.sleep(0.05)
        assert seen == ["one", "two"], seen


@check
async def its_own_pool():
    async with asyncpg.create_pool(**parameters(), min_size=5, max_size=20) as pool:
        async def transfer(n):
            async with pool.acquire() as conn, conn.transaction():
                await conn.execute("UPDATE apg_account SET balance = balance - 1 WHERE id = $1", 1)
                await conn.execute("UPDATE apg_account SET balance = balance + 1 WHERE id = $1", 2 + n % 9)

        await asyncio.wait_for(asyncio.gather(*(transfer(n) for n in range(200))), 60)
        assert await pool.fetchval("SELECT sum(balance) FROM apg_account") == 1000


async def main():
    await setup()
    bad = 0
    for function in CHECKS:
        try:
            await asyncio.wait_for(function(), 60)
        except BaseException:
            failed(function)
            bad += 1
    finish(bad)


asyncio.run(main())
