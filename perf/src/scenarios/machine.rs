//! What the machine is, and what time it is.

use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::model::Machine;

/// This machine.
pub fn machine(cpus: usize) -> Machine {
    let read = |path| std::fs::read_to_string(path).unwrap_or_default();
    let system = rustix::system::uname();
    Machine {
        cpu: field(&read("/proc/cpuinfo"), "model name", ':').unwrap_or_else(|| "?".to_owned()),
        cpus,
        memory_mib: field(&read("/proc/meminfo"), "MemTotal", ':')
            .and_then(|text| text.split(' ').next()?.parse::<u64>().ok())
            .unwrap_or(0)
            / 1024,
        kernel: system.release().to_string_lossy().into_owned(),
        system: field(&read("/etc/os-release"), "PRETTY_NAME", '=')
            .map_or_else(|| "?".to_owned(), |text| text.trim_matches('"').to_owned()),
    }
}

/// The value of the first line that starts with this key.
fn field(text: &str, key: &str, separator: char) -> Option<String> {
    let line = text.lines().find(|line| line.starts_with(key))?;
    Some(line.split_once(separator)?.1.trim().to_owned())
}

/// The revision of the checkout, with a mark when it has changes; `?` where there is none.
pub fn revision() -> String {
    let git = |args: &[&str]| {
        let mut command = Command::new("git");
        command
            .arg("-C")
            .arg(weir_e2e::place::checkout())
            .args(args);
        let output = command.output().ok().filter(|o| o.status.success())?;
        Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let Some(name) = git(&["rev-parse", "--short=12", "HEAD"]) else {
        return "?".to_owned();
    };
    let changed = git(&["status", "--porcelain", "--untracked-files=no"]);
    let clean = changed.is_none_or(|text| text.is_empty());
    if clean { name } else { name + " with changes" }
}

/// Now, UTC, as in RFC 3339.
pub fn now() -> String {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    rfc3339(since.map_or(0, |d| d.as_secs()))
}

fn rfc3339(seconds: u64) -> String {
    let (year, month, day) = date(seconds / 86_400);
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// The date of a day counted from 1970-01-01.
fn date(mut days: u64) -> (u64, u64, u64) {
    let leap = |y: u64| (y.is_multiple_of(4) && !y.is_multiple_of(100)) || y.is_multiple_of(400);
    let mut year = 1970;
    while days >= 365 + u64::from(leap(year)) {
        days -= 365 + u64::from(leap(year));
        year += 1;
    }
    let february = 28 + u64::from(leap(year));
    let mut month = 1;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    (year, month, days + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_everywhere() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00Z");
        assert_eq!(rfc3339(951_827_696), "2000-02-29T12:34:56Z");
        assert_eq!(rfc3339(1_735_689_599), "2024-12-31T23:59:59Z");
    }

    #[test]
    fn fields_are_found() {
        let text = "processor\t: 0\nmodel name\t: A CPU\nmodel name\t: B\n";
        assert_eq!(field(text, "model name", ':').as_deref(), Some("A CPU"));
        assert_eq!(
            field("PRETTY_NAME=\"A system\"\n", "PRETTY_NAME", '=').as_deref(),
            Some("\"A system\"")
        );
        let machine = machine(2);
        assert!(machine.memory_mib > 0 && !machine.kernel.is_empty());
    }
}
