//! What of a new configuration a running weir takes over, and what must wait for a restart.
//!
//! Listeners and target groups keep their places, because the core names them by place. A listener is known by its
//! address, a group by its name.

use std::sync::Arc;

use weir_core::ids::GroupId;
use weir_core::settings::TargetTls as Tls;

use super::Config;
use super::keys::{self, Key, Section};
use crate::tls::{TargetTls, server_name};

/// `new`, with everything that can't change at runtime as it is in `old`; and one line for each such difference.
pub fn merge(old: &Config, new: Config) -> (Config, Vec<String>) {
    let mut notes = Vec::new();
    let mut merged = Config {
        settings: new.settings.clone(),
        process: new.process.clone(),
        listeners: old.listeners.clone(),
        groups: old.groups.clone(),
        tls: old.tls.clone(),
    };
    merged.settings.groups = old.settings.groups.clone();
    merged.settings.listeners = old.settings.listeners.clone();
    merge_process(old, &new, &mut merged, &mut notes);
    merge_groups(&new, &mut merged, &mut notes);
    merge_listeners(&new, &mut merged, &mut notes);
    (merged, notes)
}

fn note(notes: &mut Vec<String>, section: Section, key: &Key, what: &str) {
    notes.push(format!("{}.{} {what}", section.name(), key.name));
}

const WAITS: &str = "has changed; it is taken over at the next restart only";

fn merge_process(old: &Config, new: &Config, merged: &mut Config, notes: &mut Vec<String>) {
    let (was, is) = (&old.process, &new.process);
    for (key, same) in [
        (&keys::IO, was.io == is.io),
        (&keys::SHARDS, was.shards == is.shards),
        (
            &keys::METRICS_LISTEN,
            was.metrics_listen == is.metrics_listen,
        ),
    ] {
        if !same {
            note(notes, Section::Proxy, key, WAITS);
        }
    }
    merged.process.io = was.io;
    merged.process.shards = was.shards;
    merged.process.metrics_listen = was.metrics_listen;
}

fn merge_groups(new: &Config, merged: &mut Config, notes: &mut Vec<String>) {
    let running = merged.settings.groups.len();
    for at in 0..running {
        let name = merged.settings.groups[at].name.clone();
        let Some(from) = new.settings.groups.iter().position(|g| g.name == name) else {
            notes.push(format!("target_groups: {name} is gone from the configuration; it stays until the next restart"));
            forget_warm_user(merged, at);
            continue;
        };
        let part = merged.groups[at].clone();
        for (key, same) in [
            (&keys::HOST, part.host == new.groups[from].host),
            (&keys::PORT, part.port == new.groups[from].port),
        ] {
            if !same {
                note(
                    notes,
                    Section::TargetGroups,
                    key,
                    &format!("of {name} {WAITS}"),
                );
            }
        }
        let address = merged.settings.groups[at].address.clone();
        merged.settings.groups[at] = new.settings.groups[from].clone();
        merged.settings.groups[at].address = address;
        merged.tls.groups[at] = group_tls(new, from, &part.host);
        if merged.settings.groups[at].tls != Tls::Off && merged.tls.groups[at].is_none() {
            merged.settings.groups[at].tls = Tls::Off;
        }
    }
    for group in &new.settings.groups {
        if !merged.settings.groups.iter().any(|g| g.name == group.name) {
            let name = &group.name;
            notes.push(format!(
                "target_groups: {name} is new; it is taken over at the next restart only"
            ));
        }
    }
}

/// The new trust, for the host that is really connected to.
fn group_tls(new: &Config, from: usize, host: &str) -> Option<TargetTls> {
    let context = new.tls.groups[from].as_ref()?;
    // The running host has been a certificate's name since the start, or TLS was off and it may be none.
    let name = server_name(host).unwrap_or_else(|_| context.name.clone());
    Some(TargetTls {
        config: context.config.clone(),
        name,
    })
}

fn forget_warm_user(merged: &mut Config, at: usize) {
    let group = &mut merged.settings.groups[at];
    if group
        .warm_user
        .as_ref()
        .is_some_and(|user| !merged.settings.users.contains_key(user))
    {
        group.warm_user = None;
    }
}

fn merge_listeners(new: &Config, merged: &mut Config, notes: &mut Vec<String>) {
    for at in 0..merged.listeners.len() {
        let address = merged.listeners[at].address;
        let Some(from) = new.listeners.iter().position(|l| l.address == address) else {
            notes.push(format!("listeners.listen: {address} is gone from the configuration; it is listened on until the next restart"));
            continue;
        };
        let group = merged.settings.listeners[at].group;
        let name = group_name(new, new.settings.listeners[from].group);
        if name.is_some() && name != group_name(merged, group) {
            note(
                notes,
                Section::Listeners,
                &keys::TARGET_GROUP,
                &format!("of {address} {WAITS}"),
            );
        }
        merged.settings.listeners[at] = new.settings.listeners[from].clone();
        merged.settings.listeners[at].group = group;
        merged.listeners[at] = new.listeners[from].clone();
        merged.tls.listeners[at] = new.tls.listeners[from].clone();
    }
    for listener in &new.listeners {
        if !merged
            .listeners
            .iter()
            .any(|l| l.address == listener.address)
        {
            let address = listener.address;
            notes.push(format!(
                "listeners.listen: {address} is new; it is listened on after the next restart only"
            ));
        }
    }
}

fn group_name(config: &Config, group: GroupId) -> Option<Arc<str>> {
    config
        .settings
        .groups
        .get(usize::from(group.0))
        .map(|g| g.name.clone())
}
