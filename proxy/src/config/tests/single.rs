//! Values alone: what each key refuses, borders of ranges, all errors at once with their lines.

use super::*;
use crate::config::keys::{Kind, Section};

/// A value that no key of this kind allows, as TOML.
fn bad_values(kind: Kind) -> Vec<String> {
    let texts = |values: &[&str]| values.iter().map(|v| (*v).to_owned()).collect::<Vec<_>>();
    match kind {
        Kind::Count { max, .. } => [
            texts(&["-1", "1.5", "\"1\"", "true", "99999999999999"]),
            vec![(u64::from(max) + 1).to_string()],
        ]
        .concat(),
        Kind::Seconds { max, .. } => [
            texts(&["-1", "-0.5", "\"1s\"", "[1]", "nan", "inf"]),
            vec![(max.as_secs() + 1).to_string()],
        ]
        .concat(),
        Kind::Word(_) => texts(&["\"\"", "\"nonsense\"", "1", "true"]),
        Kind::Name => texts(&["\"\"", "7", "\"a\\nb\"", &format!("\"{}\"", "n".repeat(64))]),
        Kind::Host => texts(&["\"\"", "\"a b\"", "\"/run/postgresql\"", "7"]),
        Kind::Address => texts(&[
            "\"\"",
            "\"127.0.0.1\"",
            "\"localhost:1\"",
            "6432",
            "\"127.0.0.1:70000\"",
        ]),
        Kind::Query => texts(&[
            "\"\"",
            "\" \"",
            "7",
            "\"a\\u0000b\"",
            &format!("\"{}\"", "q".repeat(5000)),
        ]),
        Kind::List { .. } => texts(&["\"EXCLUDE_VARIABLE_SETS\"", "7", "[1]", "[[\"a\"]]"]),
        Kind::Path | Kind::Variable => texts(&["\"\"", "7", "\"a\\u0000b\""]),
        Kind::Secret => texts(&[
            "\"\"",
            "7",
            "\"a\\u0000b\"",
            &format!("\"{}\"", "p".repeat(5000)),
        ]),
    }
}

#[test]
fn every_key_refuses_values_that_it_does_not_allow() {
    let home = Home::new("bad");
    for section in Section::ALL {
        for key in section.keys() {
            for value in bad_values(key.kind) {
                let text = format!("{}\n{} = {value}\n", section.header(), key.name);
                let (_, problems) = home.load(&text);
                let name = format!("{}.{}", section.name(), key.name);
                let found = problems.errors.iter().find(|p| p.key == name);
                let found = found.unwrap_or_else(|| panic!("{text} is not refused: {problems:?}"));
                assert!(
                    matches!(found.place, Place::File { line: 2, .. }),
                    "{found}"
                );
                assert!(!found.text.contains("ppppp"), "{found}");
            }
        }
    }
}

#[test]
fn borders_of_ranges() {
    let home = Home::new("borders");
    for section in [Section::Proxy, Section::TargetGroups] {
        for key in section.keys() {
            let allowed: Vec<String> = match key.kind {
                Kind::Count { min, max, zero, .. } => {
                    let zero = zero.map(|_| 0u32);
                    [Some(min), Some(max), zero]
                        .into_iter()
                        .flatten()
                        .map(|n| n.to_string())
                        .collect()
                }
                Kind::Seconds { min, max, zero } => {
                    let zero = zero.map(|_| Duration::ZERO);
                    [Some(min), Some(max), zero]
                        .into_iter()
                        .flatten()
                        .map(|d| d.as_secs_f64().to_string())
                        .collect()
                }
                Kind::Word(words) => words.iter().map(|w| format!("\"{w}\"")).collect(),
                _ => continue,
            };
            for value in allowed {
                let (_, problems) =
                    home.load(&format!("{}\n{} = {value}\n", section.header(), key.name));
                let name = format!("{}.{}", section.name(), key.name);
                let refused: Vec<_> = problems.errors.iter().filter(|p| p.key == name).collect();
                // The one rule about two keys: the minimum alone may be above the default maximum.
                assert!(
                    refused.iter().all(|p| p.text.contains("is above")),
                    "{name} = {value}: {refused:?}"
                );
            }
        }
    }
}

#[test]
fn all_errors_come_at_once_in_the_order_of_lines() {
    let home = Home::new("all");
    let (_, problems) = home.load(
        "[proxy]\nio = \"iouring\"\nshards = 257\nlog_lvl = \"info\"\n\n[[listeners]]\nlisten = \"localhost:6432\"\n\
         max_connection_pool_size = 5\n[[target_groups]]\nmax_connection_pool_size = 1001\n[[users]]\nname = \"a\"\n\n[listener]\n",
    );
    assert_eq!(
        errors(&problems),
        [
            "2: proxy.io: \"iouring\" is not allowed: \"auto\", \"io_uring\" or \"epoll\"; did you mean \"io_uring\"?",
            "3: proxy.shards: 257 is not allowed: a whole number of threads from 1 to 256, or 0 for \"one for each core\"",
            "4: proxy.log_lvl: unknown key; did you mean \"log_level\"?",
            "7: listeners.listen: \"localhost:6432\" is not allowed: an IP address and a port, as \"127.0.0.1:6432\" or \
             \"[::1]:6432\"; write 127.0.0.1 or [::1] instead of a name",
            "8: listeners.max_connection_pool_size: unknown key in [[listeners]]; it belongs into [[target_groups]]",
            "9: target_groups.host: is missing in [[target_groups]]; a host name or an IP address",
            "10: target_groups.max_connection_pool_size: 1001 is not allowed: a whole number of connections from 1 to 1000",
            "11: users: the user has no secret; give exactly one of password, password_file, password_env, scram_verifier",
            "14: listener: unknown table; did you mean \"listeners\"?",
        ]
    );
}

#[test]
fn files_that_are_no_configuration() {
    let home = Home::new("none");
    let (_, problems) = home.load("");
    let text = errors(&problems).join("\n");
    for section in ["[[listeners]]", "[[target_groups]]", "[[users]]"] {
        assert!(text.contains(&format!("there is no {section}")), "{text}");
    }
    let (_, problems) = home.load("[proxy]\nshards = \n");
    assert!(
        errors(&problems)[0].starts_with("2: : this is not TOML: "),
        "{problems:?}"
    );
    let (_, problems) = home.load("shards = 2\nlisteners = 3\nusers = [1]\n");
    let text = errors(&problems).join("\n");
    assert!(
        text.contains("1: shards: unknown table; as a key it belongs into [proxy]"),
        "{text}"
    );
    assert!(
        text.contains("2: listeners: an integer is not allowed: write [[listeners]]"),
        "{text}"
    );
    assert!(
        text.contains("3: users: an integer is not allowed"),
        "{text}"
    );
    let mut problems = Problems::default();
    let missing = Source::File(home.0.join("missing.toml"));
    assert!(
        missing
            .load(&mut Keep::new().unwrap(), &mut problems)
            .is_none()
    );
    let text = problems.errors[0].to_string();
    assert!(
        text.contains("missing.toml") && text.contains("weir init"),
        "{text}"
    );
}
