//! Values together, and the files that they name.

use super::*;

#[test]
fn values_must_go_together() {
    let home = Home::new("together");
    let say = |from: &str, to: &str| changed(&home, from, to);
    let host = "host = \"127.0.0.1\"\n";
    one_error(
        &say(host, "host = \"h\"\nmin_connection_pool_size = 101\n"),
        &["5: ", "101 is above max_connection_pool_size 100"],
    );
    one_error(
        &say(host, "host = \"h\"\nengine = \"mysql\"\n"),
        &["MySQL is not supported yet"],
    );
    one_error(
        &say(host, "host = \"h\"\nwarm_user = \"apps\"\n"),
        &["no user \"apps\"", "did you mean \"app\"?"],
    );
    let twice = say(host, "host = \"h\"\n[[target_groups]]\nhost = \"i\"\n");
    assert!(
        errors(&twice)
            .iter()
            .any(|e| e.starts_with("5: target_groups.name: \"default\" is there already")),
        "{twice:?}"
    );
    let two = "host = \"h\"\n[[target_groups]]\nname = \"b\"\nhost = \"i\"\n";
    one_error(
        &say(host, two),
        &["target_group: is missing", "\"default\", \"b\""],
    );
    let listen = "listen = \"127.0.0.1:6432\"\n";
    one_error(
        &say(listen, &format!("{listen}target_group = \"x\"\n")),
        &["3: ", "no target group \"x\"", "\"default\""],
    );
    one_error(
        &say(listen, &format!("{listen}[[listeners]]\n{listen}")),
        &["4: ", "is listened on already"],
    );
    one_error(&say(listen, "listen = \"127.0.0.1:0\"\n"), &["port 0"]);
    one_error(
        &say(
            LEAST,
            &format!("[proxy]\nmetrics_listen = \"127.0.0.1:6432\"\n{LEAST}"),
        ),
        &["metrics_listen", "already"],
    );
    let user = "[[users]]\nname = \"app\"\npassword = \"secret\"\n";
    one_error(
        &say(user, &user.repeat(2)),
        &["\"app\" is there already", "one entry"],
    );
    one_error(
        &say(
            "password = \"secret\"",
            "password = \"secret\"\npassword_env = \"X\"",
        ),
        &["password and password_env", "exactly one"],
    );
}

#[test]
fn pinning_filters_are_known_by_name_and_those_that_leak_warn() {
    let home = Home::new("filters");
    let host = "host = \"127.0.0.1\"\n";
    let with = |list: &str| {
        changed(
            &home,
            host,
            &format!("{host}session_pinning_filters = {list}\n"),
        )
    };
    one_error(
        &with("[\"EXCLUDE_LISTEN\", \"EXCLUDE_SETS\"]"),
        &["5: target_groups.session_pinning_filters", "EXCLUDE_SETS"],
    );
    one_error(
        &with("[\"EXCLUDE_RANDOM_SEED\"]"),
        &["no reset takes a seed back"],
    );
    let warned = with("[\"EXCLUDE_UNKNOWN_CODE\", \"EXCLUDE_LISTEN\"]");
    let leaks = shown(&warned.warnings)
        .iter()
        .filter(|w| w.contains("other clients may see it"))
        .count();
    assert_eq!((leaks, errors(&warned).len()), (1, 0), "{warned:?}");
}

#[test]
fn plain_text_is_for_loopback_and_warns() {
    let home = Home::new("plain");
    let listen = "listen = \"127.0.0.1:6432\"\n";
    one_error(
        &changed(
            &home,
            listen,
            "listen = \"0.0.0.0:6432\"\nclient_tls = \"off\"\n",
        ),
        &["3: listeners.client_tls", "loopback"],
    );
    one_error(
        &changed(
            &home,
            listen,
            &format!("{listen}client_tls = \"off\"\nclient_auth = \"cleartext\"\n"),
        ),
        &["inside TLS only"],
    );
    let (config, problems) = home.load(
        &LEAST
            .replace(listen, &format!("{listen}client_tls = \"off\"\n"))
            .replace("require\"", "off\""),
    );
    let config = config.unwrap();
    assert!(config.tls.listeners[0].is_none() && config.tls.groups[0].is_none());
    assert_eq!(config.settings.listeners[0].server_end_point, None);
    let warnings = shown(&problems.warnings).join("\n");
    assert!(
        warnings.contains("3: listeners.client_tls: clients of 127.0.0.1:6432 speak plain text"),
        "{warnings}"
    );
    assert!(
        warnings.contains("6: target_groups.target_tls: "),
        "{warnings}"
    );
}

#[test]
fn certificates_are_read_and_must_match() {
    let home = Home::new("certificates");
    let ((one, one_key), (_, other_key)) = (home.pair("one"), home.pair("other"));
    let listen = "listen = \"127.0.0.1:6432\"\n";
    let with = |keys: &str| changed(&home, listen, &format!("{listen}{keys}"));
    one_error(
        &with(&format!("tls_certificate = \"{one}\"\n")),
        &["3: listeners.tls_certificate", "needs tls_key too"],
    );
    one_error(
        &with(&format!("tls_key = \"{one_key}\"\n")),
        &["3: listeners.tls_key", "needs tls_certificate too"],
    );
    one_error(
        &with(&format!(
            "tls_certificate = \"{one}\"\ntls_key = \"{other_key}\"\n"
        )),
        &["4: listeners.tls_key", "other.key", "is not the key"],
    );
    one_error(
        &with(&format!(
            "tls_certificate = \"nowhere.crt\"\ntls_key = \"{one_key}\"\n"
        )),
        &["3: listeners.tls_certificate", "nowhere.crt"],
    );
    one_error(
        &with(&format!(
            "tls_certificate = \"{one}\"\ntls_key = \"nowhere.key\"\n"
        )),
        &["4: listeners.tls_key", "nowhere.key"],
    );
    let good = with(&format!(
        "tls_certificate = \"{one}\"\ntls_key = \"{one_key}\"\n"
    ));
    assert_eq!(errors(&good), [""; 0]);
    one_error(
        &changed(
            &home,
            "target_tls = \"require\"\n",
            "target_ca = \"nowhere.crt\"\n",
        ),
        &["5: target_groups.target_ca", "nowhere.crt"],
    );
    let unused = changed(
        &home,
        "target_tls = \"require\"\n",
        "target_tls = \"require\"\ntarget_ca = \"x\"\n",
    );
    assert!(
        shown(&unused.warnings)
            .join("\n")
            .contains("6: target_groups.target_ca: has no effect")
    );
}

#[test]
fn secrets_from_everywhere() {
    let home = Home::new("secrets");
    let with = |secret: &str| changed(&home, "password = \"secret\"", secret);
    for (name, text, says) in [
        ("empty", "\n", "is empty"),
        ("two", "a\nb\n", "more than one line"),
        ("long", &"x".repeat(5000), "more than 4096 bytes"),
    ] {
        home.write(name, text);
        one_error(
            &with(&format!("password_file = \"{name}\"")),
            &["8: users.password_file", name, says],
        );
    }
    one_error(
        &with("password_file = \"nowhere\""),
        &["nowhere", "No such file"],
    );
    one_error(
        &with("password_env = \"WEIR_TEST_NOT_SET\""),
        &["\"WEIR_TEST_NOT_SET\" is not set"],
    );
    assert_eq!(errors(&with("password_env = \"PATH\"")), [""; 0]);
    one_error(
        &with("scram_verifier = \"hunter2\""),
        &["8: users.scram_verifier"],
    );
    let refused = with("scram_verifier = \"hunter2\"");
    assert!(!errors(&refused)[0].contains("hunter2"), "{refused:?}");
    let open = home.write("open", "secret");
    std::fs::set_permissions(&open, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    let warned = with("password_file = \"open\"");
    assert!(
        shown(&warned.warnings)
            .join("\n")
            .contains("can be read by everyone"),
        "{warned:?}"
    );
}

#[test]
fn a_verifier_alone_says_what_it_can_not_do() {
    let home = Home::new("verifier");
    let verifier = weir_core::auth::UserSecret::from_password("secret", [7; 16])
        .verifier()
        .to_text();
    let only = LEAST.replace(
        "password = \"secret\"",
        &format!("scram_verifier = \"{verifier}\""),
    );
    let (config, problems) = home.load(&only);
    let config = config.unwrap();
    assert_eq!(config.settings.groups[0].warm_user, None);
    assert_eq!(
        config.settings.users["app"].secret.verifier().to_text(),
        verifier
    );
    let warnings = shown(&problems.warnings).join("\n");
    assert!(
        warnings.contains("only after a client has logged in"),
        "{warnings}"
    );
    assert!(
        warnings.contains("target_groups.warm_user: no user has a password"),
        "{warnings}"
    );
    assert!(!warnings.contains(&verifier), "{warnings}");
    let (_, problems) = home.load(&only.replace("target_tls", "warm_user = \"app\"\ntarget_tls"));
    one_error(
        &problems,
        &["5: target_groups.warm_user", "user with a password"],
    );
    for method in ["md5", "cleartext"] {
        let (config, problems) = home.load(&only.replace(
            "[[target_groups]]",
            &format!("client_auth = \"{method}\"\n[[target_groups]]"),
        ));
        assert!(config.is_none());
        one_error(
            &problems,
            &["users.scram_verifier", "can't log in at 127.0.0.1:6432"],
        );
    }
}
