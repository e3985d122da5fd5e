//! Reading `/proc`.

use std::fs;
use std::path::PathBuf;

/// A process and all below it, at one moment.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Snapshot {
    /// CPU time of all threads that live, nanoseconds.
    pub cpu_ns: u64,
    /// Resident memory, KiB.
    pub rss_kib: u64,
    /// The most resident memory there was, KiB.
    pub peak_kib: u64,
    /// Open descriptors.
    pub descriptors: u64,
}

/// Reads all of a process tree. What ends meanwhile counts as nothing.
pub fn snapshot(root: u32) -> Snapshot {
    let mut sum = Snapshot::default();
    for pid in tree(root) {
        sum.cpu_ns += cpu_ns(pid);
        let status = read(pid, "status");
        sum.rss_kib += kib(&status, "VmRSS:").unwrap_or(0);
        sum.peak_kib += kib(&status, "VmHWM:").unwrap_or(0);
        sum.descriptors += entries(pid, "fd").len() as u64;
    }
    sum
}

/// Resident memory of a process tree, KiB.
pub fn rss_kib(root: u32) -> u64 {
    let of = |pid| kib(&read(pid, "status"), "VmRSS:").unwrap_or(0);
    tree(root).into_iter().map(of).sum()
}

fn path(pid: u32, file: &str) -> PathBuf {
    PathBuf::from(format!("/proc/{pid}/{file}"))
}

fn read(pid: u32, file: &str) -> String {
    fs::read_to_string(path(pid, file)).unwrap_or_default()
}

fn entries(pid: u32, folder: &str) -> Vec<String> {
    let names = fs::read_dir(path(pid, folder))
        .into_iter()
        .flatten()
        .flatten();
    names
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect()
}

/// The process and its descendants. Every thread may have children of its own.
fn tree(root: u32) -> Vec<u32> {
    let mut pids = vec![root];
    let mut at = 0;
    while let Some(pid) = pids.get(at).copied() {
        for thread in entries(pid, "task") {
            pids.extend(numbers(&read(pid, &format!("task/{thread}/children"))));
        }
        at += 1;
    }
    pids
}

fn cpu_ns(pid: u32) -> u64 {
    let of =
        |thread: String| schedstat_ns(&read(pid, &format!("task/{thread}/schedstat"))).unwrap_or(0);
    entries(pid, "task").into_iter().map(of).sum()
}

/// The first field of `schedstat`: nanoseconds on a CPU.
fn schedstat_ns(text: &str) -> Option<u64> {
    text.split_whitespace().next()?.parse().ok()
}

/// A line of `status`, as `VmRSS:     1234 kB`.
fn kib(status: &str, key: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(key))?;
    line.split_whitespace().next()?.parse().ok()
}

fn numbers(text: &str) -> impl Iterator<Item = u32> {
    text.split_whitespace().filter_map(|word| word.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_proc_are_read() {
        assert_eq!(schedstat_ns("1234567 89 10\n"), Some(1_234_567));
        assert_eq!(schedstat_ns(""), None);
        let status = "Name:\tweir\nVmHWM:\t    9000 kB\nVmRSS:\t    8124 kB\n";
        assert_eq!(kib(status, "VmRSS:"), Some(8124));
        assert_eq!(kib(status, "VmHWM:"), Some(9000));
        assert_eq!(kib(status, "VmSwap:"), None);
        assert_eq!(numbers("12 13 \n").collect::<Vec<_>>(), [12, 13]);
    }

    #[test]
    fn a_tree_costs_what_its_processes_cost() {
        let mut child = std::process::Command::new("sleep")
            .arg("60")
            .spawn()
            .unwrap();
        let own = std::process::id();
        let seen = tree(own).contains(&child.id());
        let before = snapshot(own);
        let mut sum = 0u64;
        let begin = std::time::Instant::now();
        while begin.elapsed().as_millis() < 50 {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
        let after = snapshot(own);
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(seen);
        assert!(
            after.cpu_ns > before.cpu_ns + 5_000_000,
            "{before:?} {after:?}"
        );
        assert!(after.rss_kib > 500 && after.peak_kib >= after.rss_kib && after.descriptors >= 3);
    }
}
