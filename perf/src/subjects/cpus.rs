//! Which CPU is whose: the proxy has its own, generator and server keep off it where there are two or more.

use anyhow::{Context, Result};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// Who runs where. Lists may overlap where the machine is too small; [`Cpus::note`] says so.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cpus {
    /// All of them that this program may use, ascending.
    pub all: Vec<usize>,
    /// The proxy's.
    pub proxy: Vec<usize>,
    /// The load generator's.
    pub generator: Vec<usize>,
    /// The server's.
    pub server: Vec<usize>,
}

impl Cpus {
    /// Of the CPUs that this program may use.
    ///
    /// # Errors
    /// When the system doesn't say which these are.
    pub fn of_machine() -> Result<Cpus> {
        let set = sched_getaffinity(None).context("which CPUs may be used")?;
        let all = (0..CpuSet::MAX_CPU).filter(|n| set.is_set(*n)).collect();
        Ok(Cpus::split(all, 1))
    }

    /// The last `proxies` CPUs are the proxy's; of the rest the server has a third, at least one.
    fn split(all: Vec<usize>, proxies: usize) -> Cpus {
        let own = proxies.clamp(1, all.len().saturating_sub(1).max(1));
        let (rest, proxy) = all.split_at(all.len() - own);
        let rest = if rest.is_empty() { proxy } else { rest };
        let server = if rest.len() < 2 {
            rest
        } else {
            &rest[rest.len() - (rest.len() / 3).max(1)..]
        };
        let generator = if rest.len() < 2 {
            rest
        } else {
            &rest[..rest.len() - server.len()]
        };
        Cpus {
            proxy: proxy.to_vec(),
            generator: generator.to_vec(),
            server: server.to_vec(),
            all: all.clone(),
        }
    }

    /// With so many CPUs for the proxy. Where that leaves none for generator and server, all share all.
    #[must_use]
    pub fn for_shards(&self, shards: usize) -> Cpus {
        if shards < self.all.len() {
            return Cpus::split(self.all.clone(), shards);
        }
        Cpus {
            proxy: self.all.clone(),
            ..Cpus::split(self.all.clone(), 1)
        }
    }

    /// What a reader must know about this machine's CPUs.
    #[must_use]
    pub fn note(&self) -> Option<String> {
        match self.all.len() {
            0 | 1 => Some(
                "one CPU: proxy, load generator and server share it; times say little".to_owned(),
            ),
            2 => Some(
                "two CPUs: the proxy has one of its own, load generator and server share the other, so latencies \
                 (direct too) hold their scheduling"
                    .to_owned(),
            ),
            _ => None,
        }
    }
}

/// Runs `start` with this thread on these CPUs: what it starts stays there. The thread's own CPUs are then as before.
///
/// # Errors
/// When the CPUs can't be set, or `start` fails.
pub fn on<T>(cpus: &[usize], start: impl FnOnce() -> Result<T>) -> Result<T> {
    let before = sched_getaffinity(None).context("which CPUs may be used")?;
    let mut set = CpuSet::new();
    cpus.iter().for_each(|n| set.set(*n));
    sched_setaffinity(None, &set).with_context(|| format!("can't run on CPUs {cpus:?}"))?;
    let started = start();
    sched_setaffinity(None, &before).context("can't go back to all CPUs")?;
    started
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(count: usize) -> Cpus {
        Cpus::split((0..count).collect(), 1)
    }

    #[test]
    fn the_proxy_is_alone_from_two_on() {
        for count in 2..20 {
            let cpus = split(count);
            assert_eq!(cpus.proxy, [count - 1]);
            assert!(!cpus.generator.contains(&(count - 1)) && !cpus.generator.is_empty());
            assert!(!cpus.server.contains(&(count - 1)) && !cpus.server.is_empty());
            let apart = cpus.server.iter().all(|n| !cpus.generator.contains(n));
            assert_eq!(apart, count > 2);
        }
        assert_eq!(split(1).generator, [0]);
        assert_eq!(split(1).proxy, [0]);
    }

    #[test]
    fn more_shards_have_more_cpus_while_there_are_some() {
        assert_eq!(split(8).for_shards(4).proxy, [4, 5, 6, 7]);
        assert_eq!(split(2).for_shards(2).proxy, [0, 1]);
        assert_eq!(split(2).for_shards(2).generator, [0]);
    }

    #[test]
    fn a_child_inherits_and_the_thread_goes_back() {
        let before = sched_getaffinity(None).unwrap();
        let first = Cpus::of_machine().unwrap().all[0];
        let inside = on(&[first], || Ok(sched_getaffinity(None)?)).unwrap();
        assert_eq!(inside.count(), 1);
        assert_eq!(sched_getaffinity(None).unwrap(), before);
    }
}
