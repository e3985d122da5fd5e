//! What a reload keeps, changes and names.

use weir_core::auth::ClientAuthMethod;
use weir_core::auth::scram::Verifier;
use weir_core::ids::GroupId;

use super::*;

#[test]
fn unchanged_secrets_are_kept_over_a_reload() {
    let home = Home::new("keep");
    let mut keep = Keep::new().unwrap();
    let two = format!("{LEAST}[[users]]\nname = \"b\"\npassword = \"old\"\n");
    let first = home.load_with(&two, &mut keep).0.unwrap();
    let second = home
        .load_with(&two.replace("old", "new"), &mut keep)
        .0
        .unwrap();
    assert_eq!(
        (first.settings.generation, second.settings.generation),
        (1, 2)
    );
    let secret = |c: &Config, name: &str| c.settings.users[name].secret.clone();
    assert!(std::sync::Arc::ptr_eq(
        &secret(&first, "app"),
        &secret(&second, "app")
    ));
    assert!(!std::sync::Arc::ptr_eq(
        &secret(&first, "b"),
        &secret(&second, "b")
    ));
    assert_eq!(secret(&second, "b").password().unwrap().as_str(), "new");
    assert_eq!(first.listeners[0].self_made, second.listeners[0].self_made);
}

#[test]
fn salts_do_not_tell_who_was_added_or_changed() {
    let home = Home::new("salts");
    let mut keep = Keep::new().unwrap();
    let two = format!("{LEAST}[[users]]\nname = \"b\"\npassword = \"old\"\n");
    let unknown = Verifier::mock(b"b", &keep.mock_secret());
    home.load_with(LEAST, &mut keep).0.unwrap();
    for text in [two.clone(), two.replace("old", "new")] {
        let config = home.load_with(&text, &mut keep).0.unwrap();
        let known = config.settings.users["b"].secret.verifier();
        assert_eq!(known.salt(), unknown.salt());
        assert_eq!(known.iterations(), unknown.iterations());
    }
    let other = Keep::new().unwrap();
    assert_ne!(other.salt("b"), keep.salt("b"));
    assert_ne!(keep.salt("a"), keep.salt("b"));
}

#[test]
fn what_can_not_change_at_runtime_is_named_and_stays() {
    let home = Home::new("reload");
    let mut keep = Keep::new().unwrap();
    let old = home.load_with(LEAST, &mut keep).0.unwrap();
    let text = LEAST
        .replace("[[target_groups]]", "[[target_groups]]\nname = \"new\"\nhost = \"n\"\ntarget_tls = \"require\"\n[[target_groups]]\nmax_connection_pool_size = 7\nport = 9")
        .replace("[[listeners]]", "[proxy]\nshards = 77\nio = \"epoll\"\nlog_level = \"debug\"\nmetrics_listen = \"127.0.0.1:9\"\nmax_client_connections = 5\n[[listeners]]\nlisten = \"127.0.0.1:7\"\ntarget_group = \"new\"\n[[listeners]]\nclient_auth = \"md5\"\ntarget_group = \"new\"");
    let (new, problems) = home.load_with(&text, &mut keep);
    let (merged, notes) = reload::merge(&old, new.unwrap_or_else(|| panic!("{problems:?}")));
    let notes = notes.join("\n");
    for part in [
        "proxy.io",
        "proxy.shards",
        "proxy.metrics_listen",
        "target_groups.port",
        "127.0.0.1:7 is new",
        "new is new",
        "listeners.target_group",
    ] {
        assert!(notes.contains(part), "{notes} does not name {part}");
    }
    assert_eq!(
        (merged.process.io, merged.process.shards),
        (old.process.io, old.process.shards)
    );
    assert_eq!(merged.process.metrics_listen, None);
    assert_eq!(merged.process.log_level, LogLevel::Debug);
    assert_eq!(merged.settings.max_client_connections, 5);
    assert_eq!(
        (
            merged.settings.groups.len(),
            merged.settings.listeners.len()
        ),
        (1, 1)
    );
    assert_eq!(
        merged.settings.groups[0].lending.max_connection_pool_size,
        7
    );
    assert_eq!(
        (&*merged.settings.groups[0].address, merged.groups[0].port),
        ("127.0.0.1:5432", 5432)
    );
    assert_eq!(
        merged.settings.listeners[0].client_auth,
        ClientAuthMethod::Md5
    );
    assert_eq!(merged.settings.listeners[0].group, GroupId(0));
    assert_eq!(merged.settings.generation, 2);
}

#[test]
fn what_is_gone_stays_until_the_restart_and_the_same_file_changes_nothing() {
    let home = Home::new("gone");
    let mut keep = Keep::new().unwrap();
    let old = home.load_with(LEAST, &mut keep).0.unwrap();
    let same = home.load_with(LEAST, &mut keep).0.unwrap();
    assert_eq!(reload::merge(&old, same).1, [""; 0]);
    let text = LEAST
        .replace("6432", "6433")
        .replace("host =", "name = \"x\"\nhost =")
        .replace("app", "other");
    let other = home.load_with(&text, &mut keep).0.unwrap();
    let (merged, notes) = reload::merge(&old, other);
    let notes = notes.join("\n");
    for part in [
        "127.0.0.1:6432 is gone",
        "127.0.0.1:6433 is new",
        "default is gone",
        "x is new",
    ] {
        assert!(notes.contains(part), "{notes} does not name {part}");
    }
    assert_eq!(merged.listeners, old.listeners);
    assert_eq!(&*merged.settings.groups[0].name, "default");
    assert_eq!(merged.settings.groups[0].warm_user, None);
    assert!(
        merged.settings.users.contains_key("other") && !merged.settings.users.contains_key("app")
    );
}
