//! What sessions make: temporary tables, locks, notifications, cursors, statements, and tables that change under statements.

use super::Writer;
use crate::wire;

impl Writer {
    pub(super) fn temporary_tables(&mut self) {
        const TEXTS: &[&str] = &[
            "create temp table own_@ (a text)",
            "create temp table own_@ (a text) on commit drop",
            "create temp table if not exists own_@ as select 'x'::text as a",
            "select 'y'::text as a into temp own_@",
            "create temp view own_v_@ as select 1 as one",
            "create temp sequence own_s_@",
            "insert into own_@ values ('#')",
            "select a from own_@ order by 1",
            "select * from own_v_@",
            "select nextval('own_s_@')",
            "drop table own_@",
            "drop table if exists own_@ cascade",
            "discard temp",
            "begin",
            "commit",
            "rollback",
            "select relname from pg_class where relname like 'own\\_%@' order by 1",
        ];
        self.some_of(70, &["create temp table own_@ (a text)"]);
        self.any_of(8, TEXTS);
        self.say("rollback /* # */");
        self.say("select a from own_@ order by 1");
        if self.rng.chance(60) {
            self.any_of(1, &["drop table own_@", "discard temp", "discard all"]);
        }
    }

    /// A temporary table in front of one that all have.
    pub(super) fn temporary_shadow(&mut self) {
        // Whether a server looks again at what was prepared before depends on what its connection was used for earlier.
        self.say("deallocate all");
        self.say("create temp table acct (v text, mine int default 1)");
        self.shared_statements();
        self.some_of(
            60,
            &[
                "insert into acct values ('#')",
                "select v from acct /* # */",
                "drop table pg_temp.acct",
                "insert into acct values ('#')",
                "select v from acct /* # */",
            ],
        );
        self.shared_statements();
        if self.rng.chance(50) {
            self.say("drop table if exists pg_temp.acct");
        }
    }

    pub(super) fn locks(&mut self) {
        const TEXTS: &[&str] = &[
            "select pg_advisory_lock(@)",
            "select pg_try_advisory_lock(@)",
            "select pg_advisory_lock_shared(@)",
            "select pg_advisory_xact_lock(@)",
            "select pg_try_advisory_lock(@, 0)",
            "select pg_advisory_unlock(@)",
            "select pg_advisory_unlock_shared(@)",
            "select pg_advisory_unlock(@, 0)",
            "select pg_advisory_unlock_all()",
            "select pg_advisory_unlock(@), pg_advisory_unlock(@)",
            "discard all",
            "begin",
            "commit",
            "rollback",
        ];
        for _ in 0..self.rng.range(1, 6) {
            self.any_of(2, TEXTS);
            self.say(
                "select mode, objsubid from pg_locks where locktype = 'advisory' and @ in (objid, classid) and database = \
                 (select oid from pg_database where datname = current_database()) order by 1, 2",
            );
        }
        self.say("rollback /* # */");
        if self.rng.chance(60) {
            self.say("select pg_advisory_unlock_all()");
        }
    }

    pub(super) fn notifications(&mut self) {
        const TEXTS: &[&str] = &[
            "listen ch@",
            "listen \"Ch@\"",
            "unlisten ch@",
            "unlisten *",
            "notify ch@",
            "notify ch@, '#'",
            "select pg_notify('Ch@', '#')",
            "begin",
            "savepoint s1",
            "rollback to s1",
            "commit",
            "rollback",
            "select pg_listening_channels() order by 1",
            "discard all",
        ];
        self.any_of(10, TEXTS);
        self.say("rollback /* # */");
        self.say("notify ch@, '#'");
        if self.rng.chance(60) {
            self.say("unlisten *");
        }
    }

    pub(super) fn cursors(&mut self) {
        const TEXTS: &[&str] = &[
            "declare h1 cursor with hold for select '#' as a union all select '#' order by 1",
            "declare h2 scroll cursor with hold for select generate_series(1, 5)",
            "declare c1 cursor for select generate_series(1, 3)",
            "fetch 1 from h1",
            "fetch all from h1",
            "fetch backward 2 from h2",
            "fetch 3 from h2",
            "move 1 in h2",
            "fetch 2 from c1",
            "close h1",
            "close c1",
            "close all",
            "begin",
            "savepoint s1",
            "rollback to s1",
            "commit",
            "rollback",
            "select name, is_holdable from pg_cursors where name <> '' order by 1",
        ];
        self.any_of(10, TEXTS);
        self.say("rollback /* # */");
        self.say("select name, is_holdable from pg_cursors where name <> '' order by 1");
        if self.rng.chance(60) {
            self.say("close all");
        }
    }

    pub(super) fn prepared_in_sql(&mut self) {
        const TEXTS: &[&str] = &[
            "prepare p1 as select '#'",
            "prepare p1 (text) as select $1 || '#'",
            "prepare \"P1\" (int) as insert into acct select '#' from generate_series(1, $1)",
            "execute p1",
            "execute p1 ('#')",
            "execute \"P1\" (2)",
            "deallocate p1",
            "deallocate prepare \"P1\"",
            "deallocate all",
            "discard all",
            "discard plans",
            "begin",
            "commit",
            "rollback",
            "create temp table made_@ as execute p1 ('#')",
            "explain (costs off) execute p1 ('#')",
            "select name, statement, parameter_types from pg_prepared_statements order by 1",
        ];
        for _ in 0..self.rng.range(1, 3) {
            self.any_of(4, TEXTS);
            if self.rng.chance(40) {
                self.shared_statements();
            }
        }
        self.say("rollback /* # */");
    }

    /// A table changes under statements that were prepared before.
    pub(super) fn changed_table(&mut self) {
        const CHANGES: &[&str] = &[
            "alter table ddl_@ add column b int default 2",
            "alter table ddl_@ drop column if exists b",
            "alter table ddl_@ alter column a type varchar(9)",
            "alter table ddl_@ rename to ddl2_@",
            "alter table ddl2_@ rename to ddl_@",
            "drop table if exists ddl_@",
            "create table ddl_@ (a text, c int)",
            "begin",
            "commit",
            "rollback",
        ];
        self.query("drop table if exists ddl_@, ddl2_@");
        self.query("create table ddl_@ (a text)");
        let sql = self.fill("select * from ddl_@");
        for _ in 0..self.rng.range(2, 5) {
            for _ in 0..self.rng.range(1, 3) {
                self.use_statement(&sql);
            }
            self.any_of(2, CHANGES);
        }
        self.use_statement(&sql);
        self.say("rollback /* # */");
        self.use_statement(&sql);
        for name in ["d1", "d2"] {
            self.send(wire::cat(&[&wire::close(b'S', name), &wire::sync()]), 1);
        }
    }

    /// Prepares, describes or runs a named statement with this text.
    fn use_statement(&mut self, sql: &str) {
        let name = *self.rng.pick(&["d1", "d2"]);
        let mut bytes = Vec::new();
        if self.rng.chance(50) {
            // A name given twice is an error, behind which the server keeps the names: then all are prepared anew.
            bytes.extend(wire::close(b'S', name));
            bytes.extend(wire::parse(name, sql));
        }
        // Whoever has not asked what a statement gives is not told that it gives something else.
        if bytes.len() > 20 || self.rng.chance(50) {
            bytes.extend(wire::describe(b'S', name));
        }
        if self.rng.chance(70) {
            bytes.extend(wire::bind("", name, &[]));
            bytes.extend(wire::execute("", 0));
        }
        bytes.extend(wire::sync());
        self.send(bytes, 1);
    }

    /// Equal texts that mean different tables to different sessions.
    pub(super) fn names_resolve(&mut self) {
        const PATHS: &[&str] = &[
            "set search_path = one",
            "set search_path = two",
            "set search_path = one, two",
            "reset search_path",
            "set local search_path = two",
            "set local search_path = one",
            "begin",
            "commit",
            "rollback",
            "savepoint s1",
            "rollback to s1",
            "select set_config('search_path', 'one', true)",
        ];
        let texts = [
            "select * from which",
            "select k from which",
            "select label() from which",
        ];
        for _ in 0..self.rng.range(2, 5) {
            self.any_of(2, PATHS);
            for _ in 0..self.rng.range(1, 2) {
                let sql = *self.rng.pick(&texts);
                self.use_statement(sql);
            }
        }
        self.say("rollback /* # */");
        self.use_statement(texts[0]);
    }

    /// A COMMIT that fails, and what was set in its transaction.
    pub(super) fn deferred_failure(&mut self) {
        self.say("begin");
        self.some_of(
            60,
            &[
                "set application_name = '#'",
                "set work_mem = '6MB'",
                "create temp table own_@ (a text)",
                "listen ch@",
                "set search_path = two",
            ],
        );
        self.say("insert into public.deferred values (@), (@)");
        self.any_of(
            1,
            &[
                "commit",
                "commit; select 1",
                "end",
                "set constraints all immediate",
            ],
        );
        self.say("rollback /* # */");
        self.some_of(
            70,
            &[
                "show application_name",
                "show work_mem",
                "select a from own_@",
                "select pg_listening_channels()",
                "show search_path",
            ],
        );
    }

    /// A portal that lives over batches in a transaction.
    pub(super) fn portals_over_batches(&mut self) {
        self.say("begin");
        let sql = self.fill("select '#' from generate_series(1, 5)");
        let name = *self.rng.pick(&["", "r1"]);
        let bytes = wire::cat(&[
            &wire::parse(name, &sql),
            &wire::bind("po", name, &[]),
            &wire::execute("po", 2),
            &wire::sync(),
        ]);
        self.send(bytes, 1);
        for _ in 0..self.rng.range(1, 3) {
            let bytes = wire::cat(&[&wire::execute("po", 2), &wire::sync()]);
            self.send(bytes, 1);
            self.some_of(20, &["fetch 1 from po", "select 1/0", "savepoint s1"]);
        }
        self.any_of(1, &["commit", "rollback"]);
        let bytes = wire::cat(&[&wire::execute("po", 2), &wire::sync()]);
        self.send(bytes, 1);
        if !name.is_empty() {
            self.send(wire::cat(&[&wire::close(b'S', name), &wire::sync()]), 1);
        }
    }
}
