//! A configuration from command line options.

use super::*;

fn quick(home: &Home, given: &[(&'static str, &str)]) -> (Option<Config>, Problems) {
    let password = home.write("password", "secret\n").display().to_string();
    let mut all = vec![
        ("--listen", "127.0.0.1:6432".to_owned()),
        ("--password-file", password),
        ("--target-tls", "require".to_owned()),
    ];
    all.extend(
        given
            .iter()
            .map(|(name, value)| (*name, (*value).to_owned())),
    );
    let quick = Quick {
        target: "postgres://app@db.example:5433/shop".to_owned(),
        given: all,
    };
    let mut problems = Problems::default();
    let config = Source::Quick(Box::new(quick)).load(&mut Keep::new().unwrap(), &mut problems);
    (config, problems)
}

#[test]
fn one_line_is_a_whole_configuration() {
    let home = Home::new("quick");
    let (config, problems) = quick(
        &home,
        &[
            ("--max-connection-pool-size", "5"),
            ("--borrow-timeout", "1.5"),
            ("--shards", "2"),
        ],
    );
    let config = config.unwrap_or_else(|| panic!("{problems:?}"));
    let group = &config.settings.groups[0];
    assert_eq!(
        (&*group.address, &*group.database),
        ("db.example:5433", "shop")
    );
    assert_eq!(group.warm_user.as_deref(), Some("app"));
    assert_eq!(group.lending.max_connection_pool_size, 5);
    assert_eq!(
        group.lending.borrow_timeout,
        Some(Duration::from_millis(1500))
    );
    assert_eq!(config.process.shards, 2);
    assert_eq!(
        config.settings.users["app"]
            .secret
            .password()
            .unwrap()
            .as_str(),
        "secret"
    );
}

#[test]
fn wrong_options_are_named() {
    let home = Home::new("wrong-quick");
    let (_, problems) = quick(
        &home,
        &[
            ("--max-connection-pool-size", "1001"),
            ("--io", "iouring"),
            ("--borrow-timeout", "soon"),
        ],
    );
    let text = problems
        .errors
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join("\n");
    for part in [
        "--max-connection-pool-size: ",
        "1001 is not allowed",
        "--io: ",
        "did you mean \"io_uring\"?",
        "--borrow-timeout: ",
    ] {
        assert!(text.contains(part), "{text} does not say {part}");
    }
    let (_, problems) = quick(&home, &[("--password-env", "X")]);
    assert!(
        problems.errors[0].to_string().contains("exactly one"),
        "{problems:?}"
    );
}
