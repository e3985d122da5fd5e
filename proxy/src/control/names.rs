//! Names of targets: looked up at start and again and again, so that a server may move to another address.
//!
//! `getaddrinfo` blocks, so it runs on a thread for blocking work. A lookup that fails keeps the addresses of the last one.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::rc::Rc;
use std::sync::PoisonError;
use std::time::Duration;

use tokio::task::{spawn_blocking, spawn_local};
use tokio::time::{sleep, timeout};
use weir_core::limits::{DNS_REFRESH, TARGET_ADDRESSES_MAX};

use super::Control;
use crate::config::{GroupPart, LogLevel};
use crate::observe::log::Log;

/// A start does not wait longer than this for names; the shards try again by themselves.
const FIRST_LOOKUP: Duration = Duration::from_secs(5);
/// After a failure it is tried again this soon.
const RETRY: Duration = Duration::from_secs(5);

/// Addresses of every group, as far as they can be had soon.
pub(super) async fn first(groups: &[GroupPart], log: &Log) -> Vec<Vec<SocketAddr>> {
    let lookups: Vec<_> = groups
        .iter()
        .map(|g| spawn_local(timeout(FIRST_LOOKUP, look_up(g.clone()))))
        .collect();
    let mut all = Vec::new();
    for (lookup, group) in lookups.into_iter().zip(groups) {
        let found = match lookup.await {
            Ok(Ok(found)) => found,
            Ok(Err(_)) => Err(format!("no answer after {} s", FIRST_LOOKUP.as_secs())),
            Err(error) => Err(error.to_string()),
        };
        all.push(found.unwrap_or_else(|error| {
            say_failed(log, group, &error);
            Vec::new()
        }));
    }
    all
}

/// Starts a task for every group whose host is a name.
pub(super) fn keep_fresh(control: &Rc<Control>) {
    let groups = control.config.borrow().groups.clone();
    for (place, group) in groups.into_iter().enumerate() {
        if group.host.parse::<IpAddr>().is_err() {
            spawn_local(refresh(control.clone(), place, group));
        }
    }
}

async fn refresh(control: Rc<Control>, place: usize, group: GroupPart) {
    let mut pause = DNS_REFRESH;
    if addresses(&control, place).is_empty() {
        pause = RETRY;
    }
    loop {
        sleep(pause).await;
        match look_up(group.clone()).await {
            Ok(found) => {
                pause = DNS_REFRESH;
                take_over(&control, place, &group, found);
            }
            Err(error) => {
                pause = RETRY;
                say_failed(&control.log, &group, &error);
            }
        }
    }
}

fn addresses(control: &Control, place: usize) -> Vec<SocketAddr> {
    let targets = control
        .targets
        .read()
        .unwrap_or_else(PoisonError::into_inner);
    targets.get(place).cloned().unwrap_or_default()
}

fn take_over(control: &Control, place: usize, group: &GroupPart, found: Vec<SocketAddr>) {
    if addresses(control, place) == found {
        return;
    }
    let text = found
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(",");
    let fields = [
        ("host", (&group.host).into()),
        ("addresses", (&text).into()),
    ];
    control.log.say(LogLevel::Info, "target_addresses", &fields);
    let mut targets = control
        .targets
        .write()
        .unwrap_or_else(PoisonError::into_inner);
    if let Some(target) = targets.get_mut(place) {
        *target = found;
    }
}

fn say_failed(log: &Log, group: &GroupPart, error: &str) {
    let text = format!(
        "can't look up {}: {error}; check the target's host and this machine's name service",
        group.host
    );
    log.say(
        LogLevel::Warn,
        "lookup_failed",
        &[("host", (&group.host).into()), ("reason", (&text).into())],
    );
}

/// Sorted, so that another order of the same answer is no change.
async fn look_up(group: GroupPart) -> Result<Vec<SocketAddr>, String> {
    if let Ok(ip) = group.host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(ip, group.port)]);
    }
    let asked = (group.host, group.port);
    let answer =
        spawn_blocking(move || asked.to_socket_addrs().map(Iterator::collect::<Vec<_>>)).await;
    let mut found = answer
        .map_err(|e| e.to_string())?
        .map_err(|e| e.to_string())?;
    found.sort_unstable();
    found.dedup();
    found.truncate(TARGET_ADDRESSES_MAX);
    if found.is_empty() {
        Err("the name has no address".to_owned())
    } else {
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wait<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap()
            .block_on(future)
    }

    fn group(host: &str) -> GroupPart {
        GroupPart {
            host: host.to_owned(),
            port: 5432,
        }
    }

    #[test]
    fn addresses_need_no_name_service() {
        assert_eq!(
            wait(look_up(group("192.0.2.1"))),
            Ok(vec!["192.0.2.1:5432".parse().unwrap()])
        );
        assert_eq!(
            wait(look_up(group("::1"))),
            Ok(vec!["[::1]:5432".parse().unwrap()])
        );
    }

    #[test]
    fn names_are_looked_up_and_failures_told() {
        let found = wait(look_up(group("localhost"))).unwrap();
        assert!(
            found
                .iter()
                .all(|a| a.ip().is_loopback() && a.port() == 5432),
            "{found:?}"
        );
        assert!(wait(look_up(group("does-not-exist.invalid"))).is_err());
    }
}
