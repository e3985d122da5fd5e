// Everything that node's pg does with a session: queries, named statements, cursors, COPY streams, notifications, pools.
'use strict';

const assert = require('node:assert');
const fs = require('node:fs');
const { once } = require('node:events');
const { pipeline } = require('node:stream/promises');
const { Readable } = require('node:stream');
const { Client, Pool } = require('pg');
const Cursor = require('pg-cursor');
const copy = require('pg-copy-streams');

const env = process.env;
const settings = {
  host: env.PGHOST,
  port: Number(env.PGPORT),
  user: env.PGUSER,
  password: env.PGPASSWORD,
  database: env.PGDATABASE,
  ssl: { ca: fs.readFileSync(env.PGSSLROOTCERT, 'utf8'), rejectUnauthorized: true },
};
// The client takes TLS settings from the environment too, and would then read the file name as a mode of its own.
for (const name of ['PGSSLMODE', 'PGSSLROOTCERT']) delete env[name];

const checks = {
  async values(client) {
    const given = [42, 'ä€😀', Buffer.from([0, 1, 255]), { a: [1, null] }, [1, 2]];
    const { rows } = await client.query('SELECT $1::int a, $2::text b, $3::bytea c, $4::jsonb d, $5::int[] e, NULL f', given);
    assert.deepStrictEqual(Object.values(rows[0]), [...given, null]);
  },

  async transactions(client) {
    await client.query('BEGIN');
    await client.query('UPDATE node_account SET balance = balance - 5 WHERE id = 1');
    await client.query('UPDATE node_account SET balance = balance + 5 WHERE id = 2');
    await client.query('COMMIT');
    await client.query('BEGIN');
    await client.query('DELETE FROM node_account');
    await client.query('ROLLBACK');
    const { rows } = await client.query('SELECT sum(balance)::int s FROM node_account');
    assert.strictEqual(rows[0].s, 1000);
  },

  async errors(client) {
    await assert.rejects(client.query('SELECT 1/0'), { code: '22012' });
    await assert.rejects(client.query('SELECT $1::int', ['x']), { code: '22P02' });
    await client.query('BEGIN');
    await assert.rejects(client.query('SELECT * FROM no_such_table'), { code: '42P01' });
    await assert.rejects(client.query('SELECT 1'), { code: '25P02' });
    await client.query('ROLLBACK');
    assert.strictEqual((await client.query('SELECT 1 a')).rows[0].a, 1);
  },

  async namedStatements(client) {
    for (let n = 0; n < 30; n++) {
      const { rows } = await client.query({ name: 'double', text: 'SELECT $1::int * 2 d', values: [n] });
      assert.strictEqual(rows[0].d, 2 * n);
    }
  },

  async queuedQueries(client) {
    const answers = await Promise.all(Array.from({ length: 200 }, (_, n) => client.query('SELECT $1::int n', [n])));
    assert.deepStrictEqual(answers.map((a) => a.rows[0].n), Array.from({ length: 200 }, (_, n) => n));
  },

  async manyStatements(client) {
    const results = await client.query('SELECT 1 a; BEGIN; SELECT 2 a; COMMIT; SELECT 3 a');
    assert.deepStrictEqual(results.flatMap((r) => r.rows.map((row) => row.a)), [1, 2, 3]);
  },

  async cursors(client) {
    await client.query('BEGIN');
    const cursor = client.query(new Cursor('SELECT n FROM generate_series(1, 1000) n'));
    let sum = 0;
    for (let rows = await cursor.read(100); rows.length; rows = await cursor.read(100)) sum += rows.reduce((s, r) => s + r.n, 0);
    await cursor.close();
    await client.query('COMMIT');
    assert.strictEqual(sum, 500500);
  },

  async copies(client) {
    const lines = Array.from({ length: 1000 }, (_, n) => `${n}\trow ${n}\n`);
    await pipeline(Readable.from(lines), client.query(copy.from('COPY node_copy FROM STDIN')));
    let text = '';
    for await (const chunk of client.query(copy.to('COPY node_copy TO STDOUT'))) text += chunk;
    assert.strictEqual(text, lines.join(''));
  },

  async notifications(client) {
    await client.query('LISTEN node_channel');
    const sender = new Client(settings);
    await sender.connect();
    const heard = once(client, 'notification');
    await sender.query("NOTIFY node_channel, 'hello'");
    const [message] = await heard;
    assert.deepStrictEqual([message.channel, message.payload], ['node_channel', 'hello']);
    await sender.end();
  },

  async notices(client) {
    const heard = once(client, 'notice');
    await client.query("DO $$ BEGIN RAISE NOTICE 'one'; END $$");
    assert.strictEqual((await heard)[0].message, 'one');
  },

  async sessionState(client) {
    await client.query("SET statement_timeout = '77s'");
    await client.query('CREATE TEMP TABLE node_temp AS SELECT 7 AS n');
    for (let n = 0; n < 10; n++) {
      assert.strictEqual((await client.query('SHOW statement_timeout')).rows[0].statement_timeout, '77s');
      assert.strictEqual((await client.query('SELECT n FROM node_temp')).rows[0].n, 7);
    }
  },

  async largeResults(client) {
    const { rows } = await client.query("SELECT n, repeat('x', 1000) t FROM generate_series(1, 20000) n");
    assert.strictEqual(rows.length, 20000);
    assert.strictEqual(rows[19999].t.length, 1000);
  },

  async ownPool() {
    const pool = new Pool({ ...settings, max: 20 });
    const transfer = async (n) => {
      const client = await pool.connect();
      try {
        await client.query('BEGIN');
        await client.query('UPDATE node_account SET balance = balance - 1 WHERE id = 1');
        await client.query('UPDATE node_account SET balance = balance + 1 WHERE id = $1', [2 + (n % 9)]);
        await client.query('COMMIT');
      } finally {
        client.release();
      }
    };
    await Promise.all(Array.from({ length: 200 }, (_, n) => transfer(n)));
    const { rows } = await pool.query('SELECT sum(balance)::int s FROM node_account');
    await pool.end();
    assert.strictEqual(rows[0].s, 1000);
  },

  async wrongPassword() {
    const client = new Client({ ...settings, password: 'wrong' });
    await assert.rejects(client.connect(), { code: '28P01' });
  },
};

const within = (promise, name) => {
  const late = new Promise((_, reject) => setTimeout(() => reject(new Error(`${name}: not done after 60 s`)), 60000).unref());
  return Promise.race([promise, late]);
};

async function main() {
  const setup = new Client(settings);
  await setup.connect();
  await setup.query('DROP TABLE IF EXISTS node_account, node_copy');
  await setup.query('CREATE TABLE node_account (id int PRIMARY KEY, balance int NOT NULL)');
  await setup.query('INSERT INTO node_account SELECT n, 100 FROM generate_series(1, 10) n');
  await setup.query('CREATE TABLE node_copy (n int, t text)');
  await setup.end();
  let bad = 0;
  for (const [name, check] of Object.entries(checks)) {
    const client = new Client(settings);
    try {
      await within(client.connect(), name);
      await within(check(client), name);
    } catch (error) {
      bad += 1;
      console.log(`FAILED ${name}: ${error.stack}`);
    } finally {
      await client.end().catch(() => {});
    }
  }
  console.log(`${Object.keys(checks).length - bad} of ${Object.keys(checks).length} checks held`);
  process.exit(bad ? 1 : 0);
}

main();
