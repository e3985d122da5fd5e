// What postgres.js does with a session: a pool that prepares every statement by name, pipelines, transactions, cursors, COPY, LISTEN.
'use strict';

const assert = require('node:assert');
const fs = require('node:fs');
const tls = require('node:tls');
const { pipeline } = require('node:stream/promises');
const { Readable } = require('node:stream');
const postgres = require('postgres');

const env = process.env;
const ca = fs.readFileSync(env.PGSSLROOTCERT, 'utf8');
for (const name of ['PGSSLMODE', 'PGSSLROOTCERT']) delete env[name];
const connect = (more) => postgres({
  host: env.PGHOST,
  port: Number(env.PGPORT),
  user: env.PGUSER,
  password: env.PGPASSWORD,
  database: env.PGDATABASE,
  // The driver names no host to TLS when it is an address.
  ssl: { ca, rejectUnauthorized: true, checkServerIdentity: (_, certificate) => tls.checkServerIdentity(env.PGHOST, certificate) },
  onnotice: () => {},
  ...more,
});

const checks = {
  async values(sql) {
    const [row] = await sql`SELECT ${42}::int a, ${'ä€😀'}::text b, ${Buffer.from([0, 1, 255])}::bytea c, ${sql.json({ x: [1, null] })}::jsonb d, ${[1, 2]}::int[] e, NULL f`;
    assert.deepStrictEqual(Object.values(row), [42, 'ä€😀', Buffer.from([0, 1, 255]), { x: [1, null] }, [1, 2], null]);
  },

  async pipelines(sql) {
    const many = await Promise.all([...Array(200).keys()].map((n) => sql`SELECT ${n}::int * 2 d`));
    many.forEach(([row], n) => assert.strictEqual(row.d, 2 * n));
  },

  async transactions(sql) {
    await Promise.all([...Array(20).keys()].map((n) => sql.begin(async (tx) => {
      await tx`UPDATE js_account SET balance = balance - 1 WHERE id = 1`;
      await tx.savepoint((inner) => inner`UPDATE js_account SET balance = balance + 1 WHERE id = ${2 + (n % 5)}`);
      await tx.savepoint(async (inner) => { await inner`DELETE FROM js_account`; throw new Error('back'); }).catch((error) => assert.strictEqual(error.message, 'back'));
    })));
    await assert.rejects(sql.begin((tx) => tx`SELECT 1/0`), { code: '22012' });
    const [{ sum }] = await sql`SELECT sum(balance)::int FROM js_account`;
    assert.strictEqual(sum, 1000);
  },

  async insertsAndDynamicParts(sql) {
    const rows = [...Array(100).keys()].map((n) => ({ n, t: 'row ' + n }));
    await sql`INSERT INTO js_copy ${sql(rows, 'n', 't')}`;
    const found = await sql`SELECT ${sql(['n', 't'])} FROM js_copy WHERE n IN ${sql([1, 2, 3])} ORDER BY n`;
    assert.deepStrictEqual(found.map((r) => r.t), ['row 1', 'row 2', 'row 3']);
    await sql`TRUNCATE js_copy`;
  },

  async cursors(sql) {
    let count = 0;
    await sql`SELECT n FROM generate_series(1, 1050) n`.cursor(100, (rows) => { count += rows.length; });
    assert.strictEqual(count, 1050);
    await sql`SELECT n FROM generate_series(1, 1000) n`.cursor(10, () => sql.CLOSE);
    await sql`SELECT n FROM generate_series(1, 100) n`.forEach(() => { count += 1; });
    assert.strictEqual(count, 1150);
  },

  async copies(sql) {
    const lines = [...Array(2000).keys()].map((n) => n + '\t' + 'ä'.repeat(n % 30) + '\n');
    await pipeline(Readable.from(lines), await sql`COPY js_copy FROM STDIN`.writable());
    let back = '';
    for await (const chunk of await sql`COPY (SELECT * FROM js_copy ORDER BY n) TO STDOUT`.readable()) back += chunk.toString('latin1');
    assert.strictEqual(Buffer.from(back, 'latin1').toString(), lines.join(''));
  },

  async notifications(sql) {
    const seen = new Promise((resolve) => { sql.listen('js_channel', resolve).then(() => sql.notify('js_channel', 'from another')); });
    assert.strictEqual(await seen, 'from another');
  },

  async cancelling(sql) {
    const query = sql`SELECT pg_sleep(60)`.execute();
    setTimeout(() => query.cancel(), 300);
    await assert.rejects(query, { code: '57014' });
  },

  async reservedConnections(sql) {
    const own = await sql.reserve();
    await own`SET application_name = 'reserved'`;
    await own`CREATE TEMP TABLE js_temp (n int)`;
    await own`INSERT INTO js_temp VALUES (1)`;
    assert.strictEqual((await own`SELECT count(*)::int c FROM js_temp`)[0].c, 1);
    assert.strictEqual((await own`SHOW application_name`)[0].application_name, 'reserved');
    await own`DROP TABLE js_temp`;
    own.release();
  },

  async plansThatChange(sql) {
    for (let n = 0; n < 4; n++) {
      assert.strictEqual(Object.keys((await sql`SELECT * FROM js_plan`)[0]).length, 1 + n);
      await sql.unsafe(`ALTER TABLE js_plan ADD COLUMN b${n} int`);
    }
  },
};

/** Many clients, each with settings and statements of its own, on fewer connections. */
async function manyClients() {
  const clients = [...Array(12).keys()].map((n) => connect({ max: 1, connection: { application_name: 'client ' + n, search_path: 'own_' + n } }));
  await Promise.all(clients.map(async (sql, n) => {
    for (let round = 0; round < 20; round++) {
      const [row] = await sql`SELECT current_setting('application_name') a, current_setting('search_path') s, ${round}::int r`;
      assert.deepStrictEqual(Object.values(row), ['client ' + n, 'own_' + n, round]);
    }
    await sql.end();
  }));
}

async function main() {
  const sql = connect({ max: 6 });
  await sql`DROP TABLE IF EXISTS js_account, js_copy, js_plan`;
  await sql`CREATE TABLE js_account (id int PRIMARY KEY, balance int NOT NULL)`;
  await sql`INSERT INTO js_account SELECT n, 100 FROM generate_series(1, 10) n`;
  await sql`CREATE TABLE js_copy (n int, t text)`;
  await sql`CREATE TABLE js_plan AS SELECT 1 a`;
  let bad = 0;
  for (const [name, check] of [...Object.entries(checks), ['manyClients', manyClients]]) {
    try {
      await check(sql);
    } catch (error) {
      console.log(`FAILED ${name}`, error);
      bad += 1;
    }
  }
  await sql.end({ timeout: 5 });
  const all = Object.keys(checks).length + 1;
  console.log(`${all - bad} of ${all} checks held`);
  process.exit(bad ? 1 : 0);
}

main().catch((error) => { console.error(error); process.exit(1); });
