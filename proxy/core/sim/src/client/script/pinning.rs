//! Habits that leave something on the session.

use super::Writer;
use crate::wire;

impl Writer {
    pub(super) fn setting(&mut self) {
        let name = *self
            .rng
            .pick(&["application_name", "work_mem", "DateStyle", "search_path"]);
        self.query(&format!("set {name} = '#'"));
        self.query(&format!("show {name} /* # */"));
        match self.rng.below(3) {
            0 => self.query(&format!("reset {name} /* # */")),
            1 => self.query("reset all /* # */"),
            _ => {}
        }
        self.query(&format!("show {name} /* # */"));
    }

    pub(super) fn temporary_table(&mut self) {
        let mark = self.mark();
        self.query(&format!("create temp table tt_{mark} (a int)"));
        self.query(&format!("select '#' from tt_{mark}"));
        if self.rng.chance(50) {
            self.query(&format!("drop table if exists tt_{mark}"));
        }
    }

    pub(super) fn advisory_lock(&mut self) {
        self.query("select pg_advisory_lock(@) /* # */");
        self.query("select '#'");
        if self.rng.chance(50) {
            self.query("select pg_advisory_unlock(@) /* # */");
        }
        self.query("select pg_advisory_unlock(@) /* # */");
    }

    pub(super) fn listening(&mut self) {
        self.query("listen ch@ /* # */");
        self.query("notify ch@, '#'");
        self.query("begin /* # */");
        self.query("notify ch@, '#'");
        self.query("commit /* # */");
        if self.rng.chance(50) {
            self.query("unlisten * /* # */");
        }
    }

    pub(super) fn named_statement(&mut self) {
        let name = format!("s{}", self.rng.below(3));
        let sql = self.fill("select $1 /* # */");
        let first = wire::cat(&[
            &wire::parse(&name, &sql),
            &wire::describe(b'S', &name),
            &wire::sync(),
        ]);
        self.send(first, 1);
        for _ in 0..self.rng.below(3) {
            let value = self.mark();
            let bytes = wire::cat(&[
                &wire::bind("", &name, &[&value]),
                &wire::execute("", 0),
                &wire::sync(),
            ]);
            self.send(bytes, 1);
        }
        if self.rng.chance(60) {
            self.send(wire::cat(&[&wire::close(b'S', &name), &wire::sync()]), 1);
        }
    }

    pub(super) fn unnamed_kept(&mut self) {
        let sql = self.fill("select $1 /* # */");
        self.send(wire::cat(&[&wire::parse("", &sql), &wire::sync()]), 1);
        for _ in 0..self.rng.range(1, 2) {
            let value = self.mark();
            let bytes = wire::cat(&[
                &wire::bind("", "", &[&value]),
                &wire::execute("", 0),
                &wire::sync(),
            ]);
            self.send(bytes, 1);
        }
    }

    pub(super) fn sequences(&mut self) {
        self.query("select nextval('seq_@') /* # */");
        self.query("select currval('seq_@') /* # */");
    }

    pub(super) fn held_cursor(&mut self) {
        self.query("declare cur cursor with hold for select '#'");
        self.query("fetch all from cur /* # */");
        if self.rng.chance(50) {
            self.query("close cur /* # */");
        }
    }

    pub(super) fn sql_prepare(&mut self) {
        self.query("prepare q1 as select '#'");
        self.query("execute q1 /* # */");
        let end = *self.rng.pick(&[
            "deallocate q1 /* # */",
            "deallocate all /* # */",
            "select '#'",
        ]);
        self.query(end);
    }

    pub(super) fn code_block(&mut self) {
        self.query("do $$ begin null; end $$ /* # */");
        self.query("select '#'");
    }

    pub(super) fn large_statement(&mut self) {
        let filling = "x".repeat(17_000);
        self.query(&format!("select '#' /* {filling} */"));
        self.query("select '#'");
    }

    pub(super) fn function_call(&mut self) {
        let mark = self.mark();
        self.send(wire::function_call(1234, &mark), 1);
        self.query("select '#'");
    }

    pub(super) fn nonsense(&mut self) {
        self.query("frobnicate '#'");
        self.query("select '#'");
    }

    pub(super) fn configuration(&mut self) {
        self.query("select set_config('work_mem', '#', false)");
        self.query("show work_mem /* # */");
    }

    pub(super) fn discarding(&mut self) {
        self.query("set work_mem = '#'");
        self.query("discard all /* # */");
        self.query("show work_mem /* # */");
    }
}
