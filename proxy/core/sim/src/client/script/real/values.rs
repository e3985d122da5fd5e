//! Settings and what they do to values; sequences, random numbers, result formats.

use super::Writer;
use crate::wire;

const CHANGES: &[&str] = &[
    "set time zone 'Europe/Berlin'",
    "set time zone local",
    "set time zone -5",
    "set time zone interval '+02:00' hour to minute",
    "set local time zone 'Asia/Tokyo'",
    "set timezone = 'Mars/None'",
    "set names 'LATIN1'",
    "set names 'UTF8'",
    "set client_encoding to default",
    "set datestyle = 'German'",
    "set datestyle to iso, dmy",
    "set \"DateStyle\" = 'SQL, DMY'",
    "set intervalstyle = 'postgres_verbose'",
    "set bytea_output = 'escape'",
    "set extra_float_digits = 0",
    "set standard_conforming_strings = off",
    "set search_path = one, public",
    "set search_path to two",
    "set search_path to public",
    "set local search_path = two",
    "set session search_path = one",
    "set work_mem = '5MB'",
    "set work_mem = 7000",
    "set work_mem to default",
    "set session work_mem = '9MB'",
    "set local work_mem = '11MB'",
    "set role none",
    "set role app",
    "set role nobody_known",
    "reset role",
    "set session authorization default",
    "set session authorization app",
    "reset session authorization",
    "set session characteristics as transaction isolation level repeatable read",
    "set session characteristics as transaction read only",
    "set session characteristics as transaction read write",
    "set default_transaction_read_only = on",
    "set default_transaction_isolation = 'read committed'",
    "set transaction isolation level repeatable read",
    "set transaction read only",
    "set lock_timeout = 60000",
    "set myapp.user = '#'",
    "set local myapp.user = '#'",
    "reset myapp.user",
    "select set_config('myapp.user', '#', false)",
    "select set_config('work_mem', '6MB', true)",
    "select set_config('search_path', 'two', false)",
    "select set_config('application_name', '#', false)",
    "set application_name = 'na\u{ef}ve \\ one'",
    "set application_name to #",
    "set application_name = E'back\\\\slash'",
    "set plan_cache_mode = force_generic_plan",
    "set enable_seqscan = off",
    "set transform_null_equals = on",
    "set nonsense = 1",
    "set check_function_bodies = off",
    "reset all",
    "reset timezone",
    "reset application_name",
    "reset datestyle",
    "discard all",
    "discard plans",
    "discard temp",
    "discard sequences",
    "set work_mem = '3MB'; set search_path = two; show work_mem",
    "set application_name = 'x'; select 1/0",
    "set work_mem = '2MB'; select current_setting('work_mem'); reset work_mem",
    "update pg_settings set setting = '8MB' where name = 'work_mem'",
];

/// A server that has once heard of `myapp.user` says '' where another one says that there is none.
const LOOKS: &[&str] = &[
    "show timezone /* # */",
    "show application_name",
    "show work_mem",
    "show client_encoding",
    "show transaction_read_only",
    "show transaction_isolation",
    "show standard_conforming_strings",
    "show enable_seqscan",
    "select current_setting('search_path')",
    "select nullif(current_setting('myapp.user', true), '')",
    "select current_schemas(false)",
    "select current_user, session_user",
    "select timestamptz '2020-06-01 12:00+00'",
    "select date '2020-01-02', '03/04/2020'::date",
    "select 0.1::float8 + 0.2",
    "select '\\x00ff'::bytea",
    "select 'a\\\\b'",
    "select 'caf\u{e9}'",
    "select interval '1 day 2 hours'",
    "select v from acct /* # */",
    "insert into acct values ('#')",
    "select name, setting from pg_settings where source = 'session' and name not like 'transaction%' \
     order by 1",
];

impl Writer {
    pub(super) fn own_settings(&mut self) {
        for _ in 0..self.rng.range(1, 4) {
            self.any_of(2, CHANGES);
            self.any_of(3, LOOKS);
        }
    }

    pub(super) fn own_settings_in_transaction(&mut self) {
        self.say("begin /* # */");
        for _ in 0..self.rng.range(1, 6) {
            match self.rng.below(8) {
                0 => self.say("savepoint s1"),
                1 => self.any_of(
                    1,
                    &["rollback to s1", "rollback to savepoint s1", "release s1"],
                ),
                2 if self.rng.chance(40) => self.say("select 1/0 /* # */"),
                3..=5 => self.any_of(2, CHANGES),
                _ => self.any_of(2, LOOKS),
            }
        }
        let ends = [
            "commit",
            "end",
            "rollback",
            "abort",
            "commit and chain",
            "rollback; begin; commit",
        ];
        self.any_of(1, &ends);
        self.say("rollback /* # */");
        self.any_of(3, LOOKS);
    }

    /// Settings that a function changes, where its call doesn't show it.
    pub(super) fn changed_by_function(&mut self) {
        const TEXTS: &[&str] = &[
            "do $$ begin perform set_config('work_mem', '10MB', false); end $$ /* # */",
            "do $$ begin set time zone 'Asia/Tokyo'; end $$ /* # */",
            "select hidden_set('work_mem', '12MB')",
            "select hidden_set('search_path', 'two')",
            "show work_mem",
            "show timezone",
            "show search_path",
            "select current_schemas(false)",
        ];
        self.any_of(6, TEXTS);
    }

    /// Random numbers that a session has made repeatable.
    pub(super) fn seeded(&mut self) {
        const TEXTS: &[&str] = &[
            "select setseed(0.5)",
            "set seed = 0.25",
            "select setseed(0.1) /* # */",
        ];
        self.any_of(1, TEXTS);
        for _ in 0..self.rng.range(1, 3) {
            self.say("select random()");
            self.pause(2_000_000);
        }
    }

    pub(super) fn sequence_values(&mut self) {
        const TEXTS: &[&str] = &[
            "select nextval('seq_@')",
            "select currval('seq_@')",
            "select lastval()",
            "select setval('seq_@', 40)",
            "select nextval('seq_@') from acct where v = '#'",
            "select count(*) from counted where v = '#'",
            "discard sequences",
        ];
        self.any_of(6, TEXTS);
    }

    /// Typed parameters and binary results.
    pub(super) fn binary_and_typed(&mut self) {
        const INT4: u32 = 23;
        const TEXT: u32 = 25;
        let name = *self.rng.pick(&["", "b1", "b2"]);
        let kind = *self.rng.pick(&[INT4, TEXT, 0]);
        let sql = *self
            .rng
            .pick(&["select $1", "select $1::int4 + 1", "select $1, now() > $2"]);
        let mut body = wire::cat(&[name.as_bytes(), b"\0", sql.as_bytes(), b"\0\0\x01"]);
        body.extend_from_slice(&kind.to_be_bytes());
        let mut bytes = Vec::new();
        if self.rng.chance(60) {
            bytes.extend(wire::close(b'S', name));
        }
        bytes.extend(wire::message(b'P', &body));
        bytes.extend(wire::describe(b'S', name));
        for _ in 0..self.rng.range(1, 3) {
            let binary = u8::from(self.rng.chance(50));
            let bind = [
                name.as_bytes(),
                b"\0\0\0\0\x01\0\0\0\x0217\0\x01\0",
                &[binary],
            ];
            bytes.extend(wire::message(b'B', &wire::cat(&[b"\0", &wire::cat(&bind)])));
            bytes.extend(wire::execute("", 0));
        }
        bytes.extend(wire::sync());
        self.send(bytes, 1);
    }
}
