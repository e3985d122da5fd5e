//! Good configurations: every default, every key; `weir init` and the document.

use weir_core::auth::ClientAuthMethod;
use weir_core::ids::GroupId;
use weir_core::limits;
use weir_core::pins::PinReason;
use weir_core::settings::{ClientTls, TargetTls, Upkeep};

use super::*;

#[test]
fn the_least_file_has_every_default() {
    let home = Home::new("least");
    let (config, _) = home.load(LEAST);
    let config = config.unwrap();
    let settings = &config.settings;
    assert_eq!(settings.generation, 1);
    assert_eq!(
        settings.max_client_connections,
        limits::MAX_CLIENT_CONNECTIONS_DEFAULT
    );
    assert_eq!(
        settings.idle_client_timeout,
        Some(limits::IDLE_CLIENT_TIMEOUT_DEFAULT)
    );
    assert_eq!(settings.login_timeout, limits::LOGIN_TIMEOUT_DEFAULT);
    let lending = &settings.groups[0].lending;
    assert_eq!(lending.min_connection_pool_size, 1);
    assert_eq!(lending.max_connection_pool_size, 100);
    assert_eq!(lending.idle_timeout, Duration::from_secs(600));
    assert_eq!(
        (lending.borrow_timeout, lending.max_borrowed_connections),
        (None, None)
    );
    assert_eq!(
        lending.connection_lifetime,
        Some(limits::CONNECTION_LIFETIME_DEFAULT)
    );
    assert_eq!(lending.connect_timeout, limits::CONNECT_TIMEOUT_DEFAULT);
    let idle_check = Some(limits::SERVER_IDLE_CHECK_DEFAULT);
    assert_eq!(
        lending.upkeep,
        Upkeep {
            server_idle_check: idle_check,
            ..Upkeep::default()
        }
    );
    let group = &settings.groups[0];
    assert_eq!(
        (&*group.name, &*group.address, &*group.database),
        ("default", "127.0.0.1:5432", "postgres")
    );
    assert_eq!(group.warm_user.as_deref(), Some("app"));
    let listener = &settings.listeners[0];
    assert_eq!(
        (listener.group, listener.tls),
        (GroupId(0), ClientTls::Required)
    );
    assert_eq!(listener.client_auth, ClientAuthMethod::ScramSha256);
    assert!(listener.server_end_point.is_some() && config.listeners[0].self_made.is_some());
    assert_eq!(config.process.io, IoChoice::Auto);
    assert!(config.process.shards >= 1);
    assert_eq!(config.process.log_format, LogFormat::Text);
    assert!(config.tls.listeners[0].is_some() && config.tls.groups[0].is_some());
}

/// Every key with a value other than its default.
fn every_key(home: &Home) -> String {
    let (certificate, key) = home.pair("weir");
    home.write("password", "from file\n");
    format!(
        "[proxy]\nio = \"epoll\"\nshards = 3\nmax_client_connections = 10000\nidle_client_timeout = 0\nlogin_timeout = 2.5\n\
         drain_timeout = 1\nlog_format = \"json\"\nlog_level = \"debug\"\nmetrics_listen = \"127.0.0.1:9\"\n\
         [[listeners]]\nlisten = \"0.0.0.0:1\"\ntarget_group = \"two\"\nclient_tls = \"required\"\ntls_certificate = \"{certificate}\"\n\
         tls_key = \"{key}\"\nclient_auth = \"md5\"\n\
         [[target_groups]]\nname = \"one\"\nhost = \"db.example\"\ntarget_tls = \"require\"\n\
         [[target_groups]]\nname = \"two\"\nengine = \"postgresql\"\nhost = \"::1\"\nport = 5433\ndatabase = \"d\"\n\
         target_tls = \"verify-full\"\ntarget_ca = \"{certificate}\"\nwarm_user = \"b\"\nmin_connection_pool_size = 2\n\
         max_connection_pool_size = 1000\nidle_timeout = 1\nborrow_timeout = 0.5\nmax_borrowed_connections = 4\n\
         connection_lifetime = 0\nconnect_timeout = 0.1\ninit_query = \"SET a.b = 1\"\nreset_query = \"DISCARD ALL\"\n\
         server_idle_check = 0\nsession_pinning_filters = [\"EXCLUDE_VARIABLE_SETS\", \"EXCLUDE_SEQUENCE\"]\n\
         [[users]]\nname = \"a\"\npassword = \"x\"\n[[users]]\nname = \"b\"\npassword_file = \"password\"\n"
    )
}

fn check_upkeep(upkeep: &Upkeep) {
    assert_eq!(upkeep.init_query.as_deref(), Some("SET a.b = 1"));
    assert_eq!(upkeep.reset_query.as_deref(), Some("DISCARD ALL"));
    assert_eq!(upkeep.server_idle_check, None);
    let named = [
        PinReason::Setting,
        PinReason::ParameterChanged,
        PinReason::Sequence,
    ];
    assert!(upkeep.unpinned.iter().eq(named));
}

#[test]
fn every_key_is_taken_over() {
    let home = Home::new("every");
    let (config, problems) = home.load(&every_key(&home));
    let config = config.unwrap_or_else(|| panic!("{problems:?}"));
    assert_eq!(
        config.process,
        Process {
            io: IoChoice::Epoll,
            shards: 3,
            drain_timeout: Duration::from_secs(1),
            log_format: LogFormat::Json,
            log_level: LogLevel::Debug,
            metrics_listen: Some("127.0.0.1:9".parse().unwrap()),
        }
    );
    let settings = &config.settings;
    assert_eq!(
        (
            settings.max_client_connections,
            settings.idle_client_timeout
        ),
        (10_000, None)
    );
    assert_eq!(settings.login_timeout, Duration::from_millis(2500));
    let listener = &settings.listeners[0];
    assert_eq!(
        (listener.group, listener.client_auth),
        (GroupId(1), ClientAuthMethod::Md5)
    );
    assert_eq!(config.listeners[0].self_made, None);
    check_upkeep(&settings.groups[1].lending.upkeep);
    let group = &settings.groups[1];
    assert_eq!(
        (&*group.name, &*group.address, &*group.database),
        ("two", "[::1]:5433", "d")
    );
    assert_eq!(
        (group.tls, group.warm_user.as_deref()),
        (TargetTls::VerifyFull, Some("b"))
    );
    let lending = &group.lending;
    assert_eq!(
        (
            lending.min_connection_pool_size,
            lending.max_connection_pool_size
        ),
        (2, 1000)
    );
    assert_eq!(lending.borrow_timeout, Some(Duration::from_millis(500)));
    assert_eq!(
        (
            lending.max_borrowed_connections,
            lending.connection_lifetime
        ),
        (Some(4), None)
    );
    assert_eq!(
        (lending.idle_timeout, lending.connect_timeout),
        (Duration::from_secs(1), Duration::from_millis(100))
    );
    let password = settings.users["b"].secret.password().unwrap();
    assert_eq!(password.as_str(), "from file");
    assert!(!format!("{settings:?}").contains("from file"));
}

#[test]
fn inline_tables_are_tables_too() {
    let home = Home::new("inline");
    let (config, problems) = home.load(
        "proxy = { shards = 2 }\nlisteners = [{ listen = \"127.0.0.1:1\" }]\n\
         target_groups = [{ host = \"h\", target_tls = \"require\" }]\nusers = [{ name = \"a\", password = \"b\" }]\n",
    );
    assert_eq!(
        config
            .unwrap_or_else(|| panic!("{problems:?}"))
            .process
            .shards,
        2
    );
}

#[test]
fn what_init_writes_passes_the_check() {
    let home = Home::new("init");
    let (config, problems) = home.load(&text::init());
    let without_authorities = problems
        .errors
        .iter()
        .all(|p| p.text.contains("ca-certificates"));
    assert!(config.is_some() || without_authorities, "{problems:?}");
    // Its commented lines are TOML and good values too: defaults, and examples whose files are not there.
    let all: String = text::init()
        .lines()
        .map(|l| match l.strip_prefix("# ") {
            Some(rest)
                if rest.split_once(" = ").is_some_and(|(k, _)| {
                    k.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
                }) =>
            {
                rest
            }
            _ => l,
        })
        .map(|l| format!("{l}\n"))
        .collect();
    let (_, problems) = home.load(&all);
    assert!(all.lines().any(|l| l == "connect_timeout = 10"), "{all}");
    for error in &problems.errors {
        let text = error.to_string();
        assert!(
            text.contains("/etc/weir/") || text.contains("exactly one of password"),
            "{text}"
        );
    }
}

#[test]
fn the_document_is_what_the_keys_say() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/configuration.md");
    if std::env::var_os("WEIR_WRITE_DOCS").is_some() {
        std::fs::write(&path, text::document()).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == text::document(),
        "docs/configuration.md is not what the keys say; run: WEIR_WRITE_DOCS=1 cargo test -p weir the_document"
    );
}
