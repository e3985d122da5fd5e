//! Scripts: what clients do, made of habits that real clients have, put together by chance.

mod pinning;
pub mod real;
mod settings;
mod statements;

use super::Step;
use crate::rng::Rng;
use crate::wire;

/// Makes one client's script.
pub struct Writer {
    rng: Rng,
    id: u32,
    count: u64,
    steps: Vec<Step>,
    /// Whether cycles are awaited one by one, or pipelined now and then.
    hasty: bool,
    /// Whether a real server is to understand it.
    real: bool,
}

type Habit = fn(&mut Writer);

/// Habits that leave nothing on the session.
const CLEAN: &[Habit] = &[
    Writer::one_select,
    Writer::one_select,
    Writer::unnamed,
    Writer::unnamed,
    Writer::transaction,
    Writer::transaction,
    Writer::failing_transaction,
    Writer::many_statements,
    Writer::errors,
    Writer::pipeline,
    Writer::pipeline,
    Writer::flushes,
    Writer::copy_in,
    Writer::copy_in,
    Writer::extended_copy,
    Writer::copy_out,
    Writer::sleeper,
    Writer::big_result,
    Writer::empty,
    Writer::notice,
    Writer::portal_in_parts,
    Writer::who_am_i,
    Writer::set_local,
    Writer::savepoints,
    Writer::rolled_back_setting,
    Writer::bind_without_parse,
    Writer::own_rows,
    Writer::cancels,
    Writer::shared_statements,
    Writer::shared_statements,
    Writer::replayed,
    Writer::replayed,
    Writer::replayed,
    Writer::replayed_in_transaction,
    Writer::replayed_in_transaction,
    Writer::shared_statements,
    Writer::statements_in_sql,
    Writer::deallocating,
];

/// Habits that leave something.
const PINNING: &[Habit] = &[
    Writer::setting,
    Writer::temporary_table,
    Writer::advisory_lock,
    Writer::listening,
    Writer::named_statement,
    Writer::unnamed_kept,
    Writer::sequences,
    Writer::held_cursor,
    Writer::sql_prepare,
    Writer::code_block,
    Writer::large_statement,
    Writer::function_call,
    Writer::nonsense,
    Writer::configuration,
    Writer::discarding,
];

/// Writes a script. `pinning`: percent of habits that leave something on the session.
pub fn write(rng: Rng, id: u32, habits: u64, pinning: u64) -> Vec<Step> {
    let mut writer = Writer::new(rng, id, false);
    for _ in 0..habits {
        let pins = writer.rng.chance(pinning);
        let habit: Habit = *writer.rng.pick(if pins { PINNING } else { CLEAN });
        habit(&mut writer);
        if writer.rng.chance(30) {
            writer.pause(3_000_000);
        }
    }
    writer.finish()
}

/// A third of all clients does not leave as it should.
fn spoil(rng: &mut Rng, steps: &mut Vec<Step>) {
    if !rng.chance(30) {
        return;
    }
    let at = rng.index(steps.len());
    steps.truncate(at);
    let torn = rng.chance(30);
    if torn && let Some(Step::Send(bytes, _) | Step::CopyIn(bytes, _)) = steps.last_mut() {
        let cut = rng.index(bytes.len());
        bytes.truncate(cut.max(1));
    }
    if rng.chance(30) {
        steps.push(Step::Pause(rng.below(3_000_000)));
    }
    // Behind a torn message nobody can say goodbye.
    let ends = [Step::Vanish, Step::Reset, Step::Leave];
    steps.push(rng.pick(if torn { &ends[..2] } else { &ends }).clone());
}

impl Writer {
    fn new(mut rng: Rng, id: u32, real: bool) -> Writer {
        let hasty = rng.chance(20);
        Writer {
            rng,
            id,
            count: 0,
            steps: Vec::new(),
            hasty,
            real,
        }
    }

    fn finish(self) -> Vec<Step> {
        let Writer {
            mut rng, mut steps, ..
        } = self;
        steps.extend([Step::Await, Step::Leave]);
        spoil(&mut rng, &mut steps);
        steps
    }

    fn mark(&mut self) -> String {
        self.count += 1;
        format!("c{}_{}", self.id, self.count)
    }

    fn pause(&mut self, most: u64) {
        let time = self.rng.below(most);
        self.steps.push(Step::Pause(time));
    }

    fn send(&mut self, bytes: Vec<u8>, cycles: u32) {
        self.steps.push(Step::Send(bytes, cycles));
        if !(self.hasty && self.rng.chance(50)) {
            self.steps.push(Step::Await);
        }
    }

    /// A query; `#` becomes a new mark, `@` the client's number.
    fn query(&mut self, sql: &str) {
        let sql = self.fill(sql);
        self.send(wire::query(&sql), 1);
    }

    fn fill(&mut self, sql: &str) -> String {
        let sql = if self.real {
            real::in_real_words(sql)
        } else {
            sql.to_owned()
        };
        let mut sql = sql.replace('@', &self.id.to_string());
        while sql.contains('#') {
            let mark = self.mark();
            sql = sql.replacen('#', &mark, 1);
        }
        sql
    }

    fn one_select(&mut self) {
        self.query("select '#'");
    }

    fn batch(&mut self, sql: &str, parameter: Option<&str>) -> Vec<u8> {
        let sql = self.fill(sql);
        let bound = parameter.map(|p| self.fill(p));
        let parameters: Vec<&str> = bound.iter().map(String::as_str).collect();
        let mut bytes = wire::cat(&[&wire::parse("", &sql), &wire::bind("", "", &parameters)]);
        if self.rng.chance(60) {
            bytes.extend(wire::describe(b'P', ""));
        }
        bytes.extend(wire::execute("", 0));
        bytes
    }

    fn unnamed(&mut self) {
        let mut bytes = match self.rng.below(3) {
            0 => self.batch("select '#'", None),
            1 => self.batch("select $1 /* # */", Some("#")),
            _ => self.batch("insert into acct values ($1) /* # */", Some("#")),
        };
        bytes.extend(wire::sync());
        self.send(bytes, 1);
    }

    fn transaction(&mut self) {
        self.query("begin /* # */");
        for _ in 0..self.rng.below(3) {
            if self.rng.chance(50) {
                self.query("insert into acct values ('#')");
            } else {
                self.unnamed();
            }
            if self.rng.chance(30) {
                self.pause(2_000_000);
            }
        }
        let end = *self
            .rng
            .pick(&["commit /* # */", "rollback /* # */", "end /* # */"]);
        self.query(end);
    }

    fn failing_transaction(&mut self) {
        self.query("begin /* # */");
        self.query("insert into acct values ('#')");
        self.query("select 1/0 /* # */");
        self.query("select '#'");
        let end = *self.rng.pick(&["commit /* # */", "rollback /* # */"]);
        self.query(end);
    }

    fn many_statements(&mut self) {
        let texts = [
            "select '#'; select '#'; insert into acct values ('#')",
            "insert into acct values ('#'); select 1/0 /* # */; select '#'",
            "begin /* # */; insert into acct values ('#'); commit /* # */; select '#'",
            "begin /* # */; insert into acct values ('#'); select 1/0 /* # */; commit /* # */",
            "commit /* # */; select '#'",
            ";;",
        ];
        let text = *self.rng.pick(&texts);
        self.query(text);
        if text.ends_with("1/0 /* # */; commit /* # */") {
            self.query("rollback /* # */");
        }
    }

    fn errors(&mut self) {
        let text = *self
            .rng
            .pick(&["select 1/0 /* # */", "select 'x' from tt_none /* # */"]);
        self.query(text);
    }

    fn pipeline(&mut self) {
        let mut bytes = Vec::new();
        let mut cycles = 0;
        for _ in 0..self.rng.range(2, 5) {
            for _ in 0..self.rng.range(1, 2) {
                let text = *self.rng.pick(&[
                    "select '#'",
                    "select '#'",
                    "insert into acct values ('#')",
                    "select 1/0 /* # */",
                    "selekt '#'",
                ]);
                bytes.extend(self.batch(text, None));
            }
            bytes.extend(wire::sync());
            cycles += 1;
            if self.rng.chance(20) {
                let sql = self.fill("select '#'");
                bytes.extend(wire::query(&sql));
                cycles += 1;
            }
        }
        self.send(bytes, cycles);
    }

    fn flushes(&mut self) {
        self.steps.push(Step::Await);
        let sql = self.fill("select $1 /* # */");
        let first = wire::cat(&[
            &wire::parse("", &sql),
            &wire::describe(b'S', ""),
            &wire::flush(),
        ]);
        self.steps.push(Step::Send(first, 0));
        self.steps.push(Step::AwaitKind(b'T'));
        if self.rng.chance(30) {
            self.pause(2_000_000);
        }
        let value = self.mark();
        let then = wire::cat(&[
            &wire::bind("", "", &[&value]),
            &wire::execute("", 0),
            &wire::sync(),
        ]);
        self.send(then, 1);
    }

    fn copy_data(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for _ in 0..self.rng.range(1, 4) {
            let row = self.mark();
            bytes.extend(wire::copy_data(format!("{row}\n").as_bytes()));
        }
        if self.rng.chance(15) {
            bytes.extend(wire::copy_data(b"bad\n"));
        }
        bytes
    }

    fn copy_end(&mut self) -> Vec<u8> {
        if self.rng.chance(25) {
            wire::copy_fail("no more")
        } else {
            wire::copy_done()
        }
    }

    fn copy_in(&mut self) {
        self.steps.push(Step::Await);
        let text = *self.rng.pick(&[
            "copy acct from stdin /* # */",
            "copy acct from stdin /* # */; select '#'",
            "copy nowhere from stdin /* # */",
        ]);
        let sql = self.fill(text);
        let data = self.copy_data();
        let end = self.copy_end();
        if self.rng.chance(30) {
            // Does not wait to be asked.
            self.send(wire::cat(&[&wire::query(&sql), &data, &end]), 1);
            return;
        }
        self.steps.push(Step::Send(wire::query(&sql), 1));
        if self.rng.chance(30) {
            self.steps.push(Step::CopyIn(data, 0));
            self.pause(1_000_000);
            self.steps.push(Step::CopyIn(end, 0));
        } else {
            self.steps.push(Step::CopyIn(wire::cat(&[&data, &end]), 0));
        }
        self.steps.push(Step::Await);
    }

    fn extended_copy(&mut self) {
        self.steps.push(Step::Await);
        let text = *self.rng.pick(&[
            "copy acct from stdin /* # */",
            "copy nowhere from stdin /* # */",
        ]);
        let good = !text.contains("nowhere");
        let mut bytes = self.batch(text, None);
        let data = self.copy_data();
        let end = self.copy_end();
        match self.rng.below(3) {
            // The Sync in front of the data is ignored by a server that copies, so only the last one is answered.
            0 => {
                bytes.extend(wire::cat(&[&wire::sync(), &data, &end, &wire::sync()]));
                self.steps.push(Step::Send(bytes, if good { 1 } else { 2 }));
                self.steps.push(Step::Await);
            }
            1 => {
                bytes.extend(wire::cat(&[&data, &end, &wire::sync()]));
                self.send(bytes, 1);
            }
            _ => {
                bytes.extend(wire::flush());
                self.steps.push(Step::Send(bytes, 0));
                self.steps.push(Step::CopyIn(wire::cat(&[&data, &end]), 0));
                self.steps.push(Step::Send(wire::sync(), 1));
                self.steps.push(Step::Await);
            }
        }
    }

    fn copy_out(&mut self) {
        self.query("insert into acct values ('#')");
        self.query("copy acct to stdout /* # */");
    }

    fn sleeper(&mut self) {
        self.query("select pg_sleep(0.3) /* # */");
    }

    fn cancels(&mut self) {
        let sql = self.fill("select pg_sleep(0.5) /* # */");
        let simple = self.rng.chance(50);
        let bytes = if simple {
            wire::query(&sql)
        } else {
            wire::cat(&[
                &wire::parse("", &sql),
                &wire::bind("", "", &[]),
                &wire::execute("", 0),
                &wire::sync(),
            ])
        };
        self.steps.push(Step::Await);
        self.steps.push(Step::Send(bytes, 1));
        self.pause(2_000_000);
        let step = if self.rng.chance(75) {
            Step::Cancel
        } else {
            Step::BogusCancel
        };
        self.steps.push(step);
        if self.rng.chance(60) {
            self.steps.push(Step::Await);
        }
    }

    fn big_result(&mut self) {
        let rows = *self.rng.pick(&[20, 100, 1000, 3000]);
        self.query(&format!("select '#' from generate_series(1, {rows})"));
    }

    fn empty(&mut self) {
        self.send(wire::query(""), 1);
    }

    fn notice(&mut self) {
        self.query("drop table if exists tt_#");
    }

    fn portal_in_parts(&mut self) {
        let sql = self.fill("select '#' from generate_series(1, 5)");
        let mut bytes = wire::cat(&[&wire::parse("", &sql), &wire::bind("p", "", &[])]);
        for _ in 0..self.rng.range(1, 3) {
            bytes.extend(wire::execute("p", 2));
        }
        if self.rng.chance(50) {
            bytes.extend(wire::close(b'P', "p"));
        }
        bytes.extend(wire::sync());
        self.send(bytes, 1);
    }

    fn who_am_i(&mut self) {
        self.query("select current_user /* # */");
        let name = *self.rng.pick(&[
            "application_name",
            "search_path",
            "work_mem",
            "statement_timeout",
        ]);
        self.query(&format!("show {name} /* # */"));
    }

    fn set_local(&mut self) {
        self.query("begin /* # */");
        self.query("set local work_mem = '#'");
        self.query("show work_mem /* # */");
        self.query("commit /* # */");
        self.query("show work_mem /* # */");
    }

    fn savepoints(&mut self) {
        self.query("begin /* # */");
        self.query("savepoint s1 /* # */");
        self.query("insert into acct values ('#')");
        self.query("select 1/0 /* # */");
        self.query("rollback to s1 /* # */");
        self.query("insert into acct values ('#')");
        self.query("commit /* # */");
    }

    fn rolled_back_setting(&mut self) {
        self.query("begin /* # */");
        self.query("set application_name = '#'");
        self.query("rollback /* # */");
        self.query("show application_name /* # */");
    }

    fn bind_without_parse(&mut self) {
        let value = self.mark();
        self.query("select '#'");
        let bytes = wire::cat(&[
            &wire::bind("", "", &[&value]),
            &wire::execute("", 0),
            &wire::sync(),
        ]);
        self.send(bytes, 1);
    }

    fn own_rows(&mut self) {
        self.query("insert into acct values ('#')");
        self.query("select v from acct /* # */");
    }
}
