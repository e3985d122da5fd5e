//! Structured log lines on standard error, as text or JSON.
//!
//! A line is rendered by the thread that has something to say and written by a thread of its own, over a bounded queue:
//! whoever logs never waits for a terminal or a disk. What does not fit is counted and told.

use std::fmt::Write as _;
use std::io::Write;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use weir_core::limits::LOG_QUEUE_MAX;

use super::limit::Limits;
use super::{escape, time};
use crate::config::{LogFormat, LogLevel, Problem};

/// A field's value.
#[derive(Clone, Copy)]
pub enum Value<'a> {
    /// A text; escaped.
    Text(&'a str),
    /// Something that is made a text only if the line is written; escaped.
    Shown(&'a dyn std::fmt::Display),
    /// A number.
    Number(u64),
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(text: &'a str) -> Value<'a> {
        Value::Text(text)
    }
}

impl<'a> From<&'a String> for Value<'a> {
    fn from(text: &'a String) -> Value<'a> {
        Value::Text(text)
    }
}

impl From<u64> for Value<'_> {
    fn from(number: u64) -> Self {
        Value::Number(number)
    }
}

impl From<u16> for Value<'_> {
    fn from(number: u16) -> Self {
        Value::Number(u64::from(number))
    }
}

/// What the writer is told.
enum Message {
    Line(String),
    /// Everything sent before is to be written; then answer.
    Flush(SyncSender<()>),
}

struct Inner {
    queue: SyncSender<Message>,
    limits: Mutex<Limits>,
    dropped: AtomicU64,
    level: AtomicU8,
    json: AtomicBool,
}

/// Where lines go. Cheap to clone.
#[derive(Clone)]
pub struct Log {
    inner: Arc<Inner>,
}

impl Log {
    /// Starts the writer.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(format: LogFormat, level: LogLevel) -> std::io::Result<Log> {
        let (log, lines) = Log::new(format, level);
        let theirs = log.clone();
        std::thread::Builder::new()
            .name("weir-log".to_owned())
            .spawn(move || theirs.write_all(&lines, &mut std::io::stderr()))?;
        Ok(log)
    }

    fn new(format: LogFormat, level: LogLevel) -> (Log, Receiver<Message>) {
        let (queue, lines) = sync_channel(LOG_QUEUE_MAX);
        let inner = Inner {
            queue,
            limits: Mutex::default(),
            dropped: AtomicU64::new(0),
            level: AtomicU8::new(0),
            json: AtomicBool::new(false),
        };
        let log = Log {
            inner: Arc::new(inner),
        };
        log.set(format, level);
        (log, lines)
    }

    /// Changes format and level.
    pub fn set(&self, format: LogFormat, level: LogLevel) {
        self.inner
            .json
            .store(format == LogFormat::Json, Ordering::Relaxed);
        self.inner.level.store(level as u8, Ordering::Relaxed);
    }

    /// Says something, unless its level is off or the event has been said too often this second.
    pub fn say(&self, level: LogLevel, event: &'static str, fields: &[(&str, Value<'_>)]) {
        if level as u8 > self.inner.level.load(Ordering::Relaxed) {
            return;
        }
        let admitted = self
            .inner
            .limits
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .admit(event, Instant::now());
        if admitted {
            self.send(self.line(level, event, fields));
        }
    }

    /// Says something that may have many lines but no storm: the errors of a configuration.
    pub fn say_all(&self, level: LogLevel, event: &'static str, fields: &[(&str, Value<'_>)]) {
        if level as u8 <= self.inner.level.load(Ordering::Relaxed) {
            self.send(self.line(level, event, fields));
        }
    }

    fn send(&self, line: String) {
        if let Err(TrySendError::Full(_)) = self.inner.queue.try_send(Message::Line(line)) {
            self.inner.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Waits until what was said before is written, at most `most`: for the end of the process.
    pub fn flush(&self, most: Duration) {
        let (done, written) = sync_channel(1);
        let deadline = Instant::now() + most;
        let mut message = Message::Flush(done);
        while let Err(TrySendError::Full(back)) = self.inner.queue.try_send(message) {
            if Instant::now() >= deadline {
                return;
            }
            message = back;
            std::thread::sleep(Duration::from_millis(5));
        }
        let _ = written.recv_timeout(deadline.saturating_duration_since(Instant::now()));
    }

    fn line(&self, level: LogLevel, event: &str, fields: &[(&str, Value<'_>)]) -> String {
        let now = time::rfc3339(SystemTime::now());
        if self.inner.json.load(Ordering::Relaxed) {
            json_line(&now, level, event, fields)
        } else {
            text_line(&now, level, event, fields)
        }
    }

    /// The writer's life: until every other handle is gone.
    fn write_all(&self, lines: &Receiver<Message>, out: &mut impl Write) {
        let mut reported = Instant::now();
        loop {
            match lines.recv_timeout(Duration::from_secs(1)) {
                Ok(Message::Line(line)) => write(out, &line),
                Ok(Message::Flush(done)) => {
                    self.report(out);
                    let _ = done.try_send(());
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            if reported.elapsed() >= Duration::from_secs(1) {
                reported = Instant::now();
                self.report(out);
            }
        }
    }

    /// Tells what was not said.
    fn report(&self, out: &mut impl Write) {
        let suppressed = self
            .inner
            .limits
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take_suppressed();
        for (event, lines) in suppressed {
            let fields = [("of", event.into()), ("lines", lines.into())];
            write(out, &self.line(LogLevel::Warn, "log_suppressed", &fields));
        }
        let dropped = self.inner.dropped.swap(0, Ordering::Relaxed);
        if dropped > 0 {
            write(
                out,
                &self.line(LogLevel::Warn, "log_dropped", &[("lines", dropped.into())]),
            );
        }
    }
}

/// Says each problem in a line of its own.
pub fn say_problems(log: &Log, level: LogLevel, event: &'static str, problems: &[Problem]) {
    for problem in problems {
        let place = problem.place.to_string();
        let mut fields = vec![("place", (&place).into())];
        if !problem.key.is_empty() {
            fields.push(("key", (&problem.key).into()));
        }
        fields.push(("reason", (&problem.text).into()));
        log.say_all(level, event, &fields);
    }
}

/// Whoever reads standard error may be gone; weir lives on without a log.
fn write(out: &mut impl Write, line: &str) {
    let _ = out.write_all(line.as_bytes());
}

const fn level_name(level: LogLevel) -> &'static str {
    match level {
        LogLevel::Error => "ERROR",
        LogLevel::Warn => "WARN",
        LogLevel::Info => "INFO",
        LogLevel::Debug => "DEBUG",
    }
}

fn text_line(now: &str, level: LogLevel, event: &str, fields: &[(&str, Value<'_>)]) -> String {
    let mut line = format!("{now} {} {event}", level_name(level));
    for (name, value) in fields {
        line.push(' ');
        line.push_str(name);
        line.push('=');
        match value {
            Value::Text(text) => escape::text(&mut line, text),
            Value::Shown(shown) => escape::text(&mut line, &shown.to_string()),
            Value::Number(number) => drop(write!(line, "{number}")),
        }
    }
    line.push('\n');
    line
}

fn json_line(now: &str, level: LogLevel, event: &str, fields: &[(&str, Value<'_>)]) -> String {
    let mut line = format!(
        "{{\"time\":\"{now}\",\"level\":\"{}\",\"event\":\"{event}\"",
        level_name(level)
    );
    for (name, value) in fields {
        let _ = write!(line, ",\"{name}\":");
        match value {
            Value::Text(text) => escape::json(&mut line, text),
            Value::Shown(shown) => escape::json(&mut line, &shown.to_string()),
            Value::Number(number) => drop(write!(line, "{number}")),
        }
    }
    line.push_str("}\n");
    line
}

/// A log whose lines a test reads.
#[cfg(test)]
pub(super) struct Captured {
    pub(super) log: Log,
    lines: Receiver<Message>,
}

#[cfg(test)]
impl Captured {
    pub(super) fn new(format: LogFormat) -> Captured {
        let (log, lines) = Log::new(format, LogLevel::Debug);
        Captured { log, lines }
    }

    /// What was said since the last call, without the times.
    pub(super) fn said(&self) -> String {
        let lines = self.lines.try_iter().filter_map(|m| match m {
            Message::Line(line) => line.split_once(' ').map(|(_, rest)| rest.to_owned()),
            Message::Flush(_) => None,
        });
        lines.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(log: Log, lines: Receiver<Message>) -> String {
        let (done, _keep) = sync_channel(1);
        let _ = log.inner.queue.try_send(Message::Flush(done));
        let mut out = Vec::new();
        while let Ok(message) = lines.try_recv() {
            match message {
                Message::Line(line) => write(&mut out, &line),
                Message::Flush(_) => log.report(&mut out),
            }
        }
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn lines_have_time_level_event_and_fields() {
        let (log, lines) = Log::new(LogFormat::Text, LogLevel::Info);
        log.say(
            LogLevel::Info,
            "client_ready",
            &[("user", "a\nb".into()), ("shard", 3u16.into())],
        );
        log.say(LogLevel::Debug, "quiet", &[]);
        let text = written(log, lines);
        let (time, rest) = text.split_once(' ').unwrap();
        assert!(time.len() == 27 && time.ends_with('Z'), "{time}");
        assert_eq!(rest, "INFO client_ready user=\"a\\nb\" shard=3\n");
    }

    #[test]
    fn json_lines() {
        let (log, lines) = Log::new(LogFormat::Json, LogLevel::Debug);
        log.say(
            LogLevel::Warn,
            "refused",
            &[("user", "a\"\u{1b}\n".into()), ("n", 7u64.into())],
        );
        let text = written(log, lines);
        let rest = text.split_once("Z\",").unwrap().1;
        assert_eq!(
            rest,
            "\"level\":\"WARN\",\"event\":\"refused\",\"user\":\"a\\\"\\u001b\\n\",\"n\":7}\n"
        );
        assert!(text.starts_with("{\"time\":\"20"), "{text}");
    }

    /// Whatever a client sends as its name: one line stays one line, and its own fields stay the only ones.
    #[test]
    fn a_line_cannot_be_forged() {
        let breaks = ["\n", "\r\n", "\u{85}", "\u{2028}", "\u{1b}[2K\r", "\0"];
        for format in [LogFormat::Text, LogFormat::Json] {
            for line_break in breaks {
                let evil = format!("x\" level=ERROR{line_break}2026-01-01T00:00:00Z INFO started");
                let (log, lines) = Log::new(format, LogLevel::Info);
                log.say(LogLevel::Info, "refused", &[("user", (&evil).into())]);
                let text = written(log, lines);
                let line = text.strip_suffix('\n').unwrap();
                assert!(!line.chars().any(char::is_control), "{line:?}");
                assert!(!line.contains('\u{2028}'), "{line:?}");
                // The quote of the name is escaped, so that the value ends where the line does.
                assert!(line.contains("x\\\" level=ERROR\\"), "{line:?}");
                let end = if format == LogFormat::Json {
                    "started\"}"
                } else {
                    "started\""
                };
                assert!(line.ends_with(end), "{line:?}");
            }
        }
    }

    #[test]
    fn a_storm_ends_in_one_line_that_counts_it() {
        let (log, lines) = Log::new(LogFormat::Text, LogLevel::Info);
        for _ in 0..1000 {
            log.say(LogLevel::Info, "storm", &[]);
        }
        let text = written(log, lines);
        assert!(
            text.contains("WARN log_suppressed of=storm lines=950\n"),
            "{text}"
        );
        assert_eq!(text.lines().count(), 51);
    }

    #[test]
    fn a_full_queue_drops_and_says_so() {
        let (log, lines) = Log::new(LogFormat::Text, LogLevel::Info);
        for _ in 0..LOG_QUEUE_MAX + 5 {
            log.say_all(LogLevel::Info, "many", &[]);
        }
        assert_eq!(log.inner.dropped.load(Ordering::Relaxed), 5);
        let mut out = Vec::new();
        log.report(&mut out);
        drop(lines);
        assert!(
            String::from_utf8(out)
                .unwrap()
                .contains("log_dropped lines=5")
        );
    }

    #[test]
    fn the_writer_writes_and_a_flush_waits_for_it() {
        let (log, lines) = Log::new(LogFormat::Text, LogLevel::Info);
        let out = Arc::new(Mutex::new(Vec::new()));
        struct Shared(Arc<Mutex<Vec<u8>>>);
        impl Write for Shared {
            fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
                self.0.lock().unwrap().write(bytes)
            }
            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
        let (theirs, mut shared) = (log.clone(), Shared(out.clone()));
        std::thread::spawn(move || theirs.write_all(&lines, &mut shared));
        log.say(LogLevel::Info, "hello", &[]);
        log.flush(Duration::from_secs(5));
        assert!(String::from_utf8_lossy(&out.lock().unwrap()).contains("INFO hello"));
    }
}
