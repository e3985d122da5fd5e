//! What `perf script` prints, brought together: each stack once, with its samples.

use std::collections::BTreeMap;

/// One frame: a function and where it is from.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Frame {
    /// Its name, without parameters of types that say nothing.
    pub name: String,
    /// Whose code it is.
    pub origin: Origin,
}

/// Whose code a frame is; the flame graph's colour.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Origin {
    /// weir-core.
    Core,
    /// The shell: weir itself.
    Shell,
    /// TLS and cryptography.
    Tls,
    /// The kernel.
    Kernel,
    /// Everything else: the standard library, libc, allocators, other crates.
    Other,
}

impl Origin {
    /// All of them, for a key.
    pub const ALL: [Origin; 5] = [
        Origin::Core,
        Origin::Shell,
        Origin::Tls,
        Origin::Kernel,
        Origin::Other,
    ];

    /// In words.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Origin::Core => "core",
            Origin::Shell => "shell",
            Origin::Tls => "TLS",
            Origin::Kernel => "kernel",
            Origin::Other => "other",
        }
    }

    fn of(name: &str, object: &str) -> Origin {
        let of_crate = |names: &[&str]| names.iter().any(|n| name.contains(n));
        if object.starts_with("[kernel") || object.starts_with("[guest.kernel") {
            Origin::Kernel
        } else if of_crate(&["rustls", "aws_lc", "aesni_", "aes_gcm", "x25519", "gcm_"]) {
            Origin::Tls
        } else if of_crate(&["weir_core::"]) {
            Origin::Core
        } else if name.starts_with("weir::") || name.contains("<weir::") {
            Origin::Shell
        } else {
            Origin::Other
        }
    }
}

/// Stacks from the outermost frame to the innermost, with the samples of each.
#[derive(Clone, Debug, Default)]
pub struct Stacks {
    /// Each stack and its samples.
    pub stacks: BTreeMap<Vec<Frame>, u64>,
    /// Samples in all.
    pub samples: u64,
}

impl Stacks {
    /// Reads the output of `perf script -F comm,tid,ip,sym,dso`.
    #[must_use]
    pub fn parse(text: &str) -> Stacks {
        let mut stacks = Stacks::default();
        let mut lines = text.lines().peekable();
        while let Some(line) = lines.next() {
            if line.trim().is_empty() || line.starts_with('#') {
                continue;
            }
            let mut frames = Vec::new();
            while let Some(line) = lines.next_if(|l| l.starts_with(char::is_whitespace)) {
                frames.extend(frame(line.trim()));
            }
            frames.push(Frame {
                name: thread(line),
                origin: Origin::Other,
            });
            frames.reverse();
            *stacks.stacks.entry(frames).or_default() += 1;
            stacks.samples += 1;
        }
        stacks
    }
}

/// The thread's name from `name  1234`.
fn thread(line: &str) -> String {
    let line = line.trim();
    let name = line.rsplit_once(char::is_whitespace);
    name.map_or(line, |(name, _)| name.trim()).to_owned()
}

/// `ffff… function+0x1 (object)`; a name may hold spaces and brackets.
fn frame(line: &str) -> Option<Frame> {
    let (_, rest) = line.split_once(' ')?;
    let (name, object) = rest.rsplit_once(" (")?;
    let object = object.trim_end_matches(')');
    let name = if name == "[unknown]" {
        format!(
            "[{}]",
            object
                .rsplit('/')
                .next()
                .unwrap_or(object)
                .trim_matches(['[', ']'])
        )
    } else {
        short(name)
    };
    let origin = Origin::of(&name, object);
    Some(Frame { name, origin })
}

/// Without a hash at the end and without symbol versions.
fn short(name: &str) -> String {
    let name = name.split("@@").next().unwrap_or(name);
    match name.rsplit_once("::h") {
        Some((plain, hash)) if hash.len() == 16 && hash.chars().all(|c| c.is_ascii_hexdigit()) => {
            plain.to_owned()
        }
        _ => name.to_owned(),
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// Three samples in two stacks.
    pub const SCRIPT: &str = "shard 0 22929 \n\
        \tffffffff8101 tcp_sendmsg ([kernel.kallsyms])\n\
        \t          f1159 weir::ring::turn::h0123456789abcdef (/x/weir)\n\
        \t          faa3d <weir::shell::Shell as core::ops::Drop>::drop (/x/weir)\n\
        \t          67d70 _start (/x/weir)\n\n\
        weir 7 \n\
        \t          f1159 weir_core::shard::clients::<impl weir_core::shard::Shard>::requests (/x/weir)\n\
        \t              0 [unknown] (/lib/libc.so.6)\n\n\
        weir 8 \n\
        \t          f1160 weir_core::shard::clients::<impl weir_core::shard::Shard>::requests (/x/weir)\n\
        \t              0 [unknown] (/lib/libc.so.6)\n";

    #[test]
    fn stacks_are_turned_and_counted() {
        let stacks = Stacks::parse(SCRIPT);
        assert_eq!(stacks.samples, 3);
        let all: Vec<(Vec<&str>, u64)> = stacks
            .stacks
            .iter()
            .map(|(s, n)| (s.iter().map(|f| f.name.as_str()).collect(), *n))
            .collect();
        let first = vec![
            "shard 0",
            "_start",
            "<weir::shell::Shell as core::ops::Drop>::drop",
            "weir::ring::turn",
            "tcp_sendmsg",
        ];
        let second = vec![
            "weir",
            "[libc.so.6]",
            "weir_core::shard::clients::<impl weir_core::shard::Shard>::requests",
        ];
        assert_eq!(all, vec![(first, 1), (second, 2)]);
        let origins: Vec<Origin> = stacks.stacks.keys().flatten().map(|f| f.origin).collect();
        use Origin::{Core, Kernel, Other, Shell};
        assert_eq!(
            origins,
            [Other, Other, Shell, Shell, Kernel, Other, Other, Core]
        );
    }

    #[test]
    fn odd_lines_are_passed_over() {
        assert_eq!(Stacks::parse("# a comment\n\n").samples, 0);
        assert_eq!(Stacks::parse("weir 7\n\tnothing\n").samples, 1);
    }
}
