//! The peers' configurations as text.

use std::path::Path;

/// What a configuration is made of.
#[derive(Clone, Copy, Debug)]
pub struct Parts<'a> {
    /// The subject's own folder.
    pub dir: &'a Path,
    /// Port of 127.0.0.1 that clients connect to.
    pub port: u16,
    /// Port of 127.0.0.1 that the server listens on.
    pub server_port: u16,
    /// Database and user, by the same name.
    pub database: &'a str,
    /// The user's password.
    pub password: &'a str,
    /// Certificate and key in `dir`, `weir.crt` and `weir.key`, are shown to clients.
    pub client_tls: bool,
    /// TLS towards the server, checked against this authority.
    pub server_ca: Option<&'a Path>,
    /// Server connections at most.
    pub pool: u32,
    /// Clients at most.
    pub clients: u32,
    /// Threads, where the subject has them.
    pub threads: usize,
}

/// PgBouncer's `pgbouncer.ini`; the users are in `users.txt` beside it.
pub fn pgbouncer(p: &Parts<'_>, keeps_statements: bool) -> String {
    let (dir, name) = (p.dir.display(), p.database);
    let mut text = format!(
        "[databases]\n{name} = host=127.0.0.1 port={} dbname={name}\n\n[pgbouncer]\nlisten_addr = 127.0.0.1\n\
         listen_port = {}\nunix_socket_dir =\nlogfile = {dir}/pgbouncer.log\nauth_type = scram-sha-256\n\
         auth_file = {dir}/users.txt\npool_mode = transaction\ndefault_pool_size = {}\nmax_client_conn = {}\n\
         log_connections = 0\nlog_disconnections = 0\nlisten_backlog = 4096\n",
        p.server_port, p.port, p.pool, p.clients
    );
    if keeps_statements {
        text.push_str("max_prepared_statements = 200\n");
    }
    if p.client_tls {
        text.push_str(&format!(
            "client_tls_sslmode = require\nclient_tls_cert_file = {dir}/weir.crt\nclient_tls_key_file = {dir}/weir.key\n"
        ));
    }
    match p.server_ca {
        Some(ca) => text.push_str(&format!(
            "server_tls_sslmode = verify-full\nserver_tls_ca_file = {}\n",
            ca.display()
        )),
        None => text.push_str("server_tls_sslmode = disable\n"),
    }
    text
}

/// HAProxy's `haproxy.cfg`.
pub fn haproxy(p: &Parts<'_>) -> String {
    format!(
        "global\n    maxconn {}\n    nbthread {}\n\ndefaults\n    mode tcp\n    timeout connect 10s\n    \
         timeout client 1h\n    timeout server 1h\n\nlisten postgresql\n    bind 127.0.0.1:{} backlog 4096\n    \
         server server 127.0.0.1:{}\n",
        p.clients, p.threads, p.port, p.server_port
    )
}

/// Pgpool-II's `pgpool.conf`; its users are in `pool_passwd` and its rules in `pool_hba.conf` beside it.
pub fn pgpool(p: &Parts<'_>) -> String {
    let dir = p.dir.display();
    format!(
        "backend_clustering_mode = 'raw'\nlisten_addresses = '127.0.0.1'\nport = {}\nsocket_dir = '{dir}'\n\
         pcp_listen_addresses = ''\npcp_socket_dir = '{dir}'\nbackend_hostname0 = '127.0.0.1'\nbackend_port0 = {}\n\
         backend_weight0 = 1\nbackend_flag0 = 'ALWAYS_PRIMARY'\nnum_init_children = {}\nmax_pool = 1\n\
         reserved_connections = 0\nenable_pool_hba = on\npool_passwd = '{dir}/pool_passwd'\nload_balance_mode = off\nuse_watchdog = off\n\
         pid_file_name = '{dir}/pgpool.pid'\nlogdir = '{dir}'\nwork_dir = '{dir}'\nsr_check_period = 0\n\
         health_check_period = 0\nlisten_backlog_multiplier = 16\n",
        p.port, p.server_port, p.clients
    )
}

/// Odyssey's configuration.
pub fn odyssey(p: &Parts<'_>) -> String {
    let (dir, name) = (p.dir.display(), p.database);
    let client_tls = if p.client_tls {
        format!(
            "  tls \"require\"\n  tls_cert_file \"{dir}/weir.crt\"\n  tls_key_file \"{dir}/weir.key\"\n"
        )
    } else {
        "  tls \"disable\"\n".to_owned()
    };
    let server_tls = match p.server_ca {
        Some(ca) => format!(
            "  tls \"verify_full\"\n  tls_ca_file \"{}\"\n",
            ca.display()
        ),
        None => "  tls \"disable\"\n".to_owned(),
    };
    format!(
        "daemonize no\nworkers {}\nlog_to_stdout yes\nlog_session no\nlog_query no\nlog_stats no\nclient_max {}\n\
         unix_socket_dir \"{dir}\"\nlocks_dir \"{dir}\"\nlisten {{\n  host \"127.0.0.1\"\n  port {}\n{client_tls}}}\n\
         storage \"server\" {{\n  type \"remote\"\n  host \"127.0.0.1\"\n  port {}\n{server_tls}}}\n\
         database \"{name}\" {{\n  user \"{name}\" {{\n    authentication \"scram-sha-256\"\n    password \"{}\"\n    \
         storage \"server\"\n    storage_db \"{name}\"\n    storage_user \"{name}\"\n    storage_password \"{}\"\n    \
         pool \"transaction\"\n    pool_size {}\n    pool_reserve_prepared_statement yes\n  }}\n}}\n",
        p.threads, p.clients, p.port, p.server_port, p.password, p.password, p.pool
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts() -> Parts<'static> {
        Parts {
            dir: Path::new("/run/one"),
            port: 7000,
            server_port: 5000,
            database: "perf",
            password: "secret",
            client_tls: false,
            server_ca: None,
            pool: 32,
            clients: 132,
            threads: 1,
        }
    }

    #[test]
    fn the_same_is_asked_of_all() {
        let p = parts();
        let texts = [pgbouncer(&p, true), haproxy(&p), pgpool(&p), odyssey(&p)];
        for text in &texts {
            assert!(
                text.contains("7000") && text.contains("5000") && text.contains("132"),
                "{text}"
            );
        }
        assert!(
            texts[0].contains("default_pool_size = 32\n") && texts[3].contains("pool_size 32\n")
        );
    }

    #[test]
    fn pgbouncer_has_tls_where_asked_for() {
        let plain = pgbouncer(&parts(), false);
        assert!(!plain.contains("client_tls") && plain.contains("server_tls_sslmode = disable"));
        assert!(!plain.contains("max_prepared_statements"));
        let tls = Parts {
            client_tls: true,
            server_ca: Some(Path::new("/run/ca.crt")),
            ..parts()
        };
        let text = pgbouncer(&tls, true);
        assert!(text.contains("client_tls_sslmode = require\n"));
        assert!(text.contains("client_tls_key_file = /run/one/weir.key\n"));
        assert!(
            text.contains("server_tls_sslmode = verify-full\nserver_tls_ca_file = /run/ca.crt\n")
        );
        assert!(text.contains("max_prepared_statements = 200\n"));
    }
}
