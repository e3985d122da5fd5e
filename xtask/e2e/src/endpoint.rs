//! Where a client connects and as whom, and the driver (tokio-postgres) connected there.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use tokio_postgres::{Client, Config, config::SslMode};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::pki;

/// A place that speaks PostgreSQL over TLS, and a login.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// Port on 127.0.0.1.
    pub port: u16,
    /// Authority of its certificate.
    pub ca: PathBuf,
    /// Login.
    pub user: String,
    /// Its password.
    pub password: String,
    /// Database.
    pub database: String,
    /// The driver's TLS settings, made once so that session tickets are kept.
    tls: Arc<rustls::ClientConfig>,
}

impl Endpoint {
    /// An endpoint with the usual login of the tests.
    pub fn new(
        port: u16,
        ca: PathBuf,
        user: &str,
        password: &str,
        database: &str,
    ) -> Result<Endpoint> {
        let tls = Arc::new(pki::client_config(&ca, rustls::ALL_VERSIONS, false)?);
        let (user, password, database) =
            (user.to_owned(), password.to_owned(), database.to_owned());
        Ok(Endpoint {
            port,
            ca,
            user,
            password,
            database,
            tls,
        })
    }

    /// The same place with another login.
    pub fn with_login(&self, user: &str, password: &str, database: &str) -> Endpoint {
        let (user, password, database) =
            (user.to_owned(), password.to_owned(), database.to_owned());
        Endpoint {
            user,
            password,
            database,
            ..self.clone()
        }
    }

    /// The TLS settings.
    pub fn tls(&self) -> Arc<rustls::ClientConfig> {
        self.tls.clone()
    }

    /// What tokio-postgres needs to connect.
    pub fn config(&self) -> Config {
        let mut config = Config::new();
        config
            .host("127.0.0.1")
            .port(self.port)
            .user(&self.user)
            .password(&self.password);
        config
            .dbname(&self.database)
            .ssl_mode(SslMode::Require)
            .connect_timeout(Duration::from_secs(20));
        config
    }

    /// Connects the driver; its connection runs until the client is dropped.
    pub async fn connect(&self) -> Result<Client> {
        self.connect_with(&self.config()).await
    }

    /// Connects the driver with settings of the caller's.
    pub async fn connect_with(&self, config: &Config) -> Result<Client> {
        let (client, connection) = config.connect(self.connector()).await.map_err(told)?;
        tokio::spawn(async move {
            let _ = connection.await;
        });
        Ok(client)
    }

    /// The driver's TLS.
    pub fn connector(&self) -> MakeRustlsConnect {
        MakeRustlsConnect::new((*self.tls).clone())
    }

    /// Environment of scripts and of libpq programs.
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        vec![
            ("PGHOST", "127.0.0.1".to_owned()),
            ("PGPORT", self.port.to_string()),
            ("PGUSER", self.user.clone()),
            ("PGPASSWORD", self.password.clone()),
            ("PGDATABASE", self.database.clone()),
            ("PGSSLMODE", "verify-full".to_owned()),
            ("PGSSLROOTCERT", self.ca.display().to_string()),
            ("PGCONNECT_TIMEOUT", "20".to_owned()),
        ]
    }
}

/// The driver's error with the server's words in it.
pub fn told(error: tokio_postgres::Error) -> anyhow::Error {
    match error.as_db_error() {
        Some(db) => anyhow!("{} {}: {}", db.severity(), db.code().code(), db.message()),
        None => anyhow::Error::new(error),
    }
}

/// The code of a refused statement; an error when it was not refused by a server.
pub fn code<T>(result: Result<T, tokio_postgres::Error>) -> Result<String> {
    match result {
        Ok(_) => Err(anyhow!("succeeded, an error was expected")),
        Err(error) => {
            let text = format!("{error:?}");
            error
                .code()
                .map(|c| c.code().to_owned())
                .with_context(|| format!("no error of the server: {text}"))
        }
    }
}

/// One value of one row.
pub async fn value(client: &Client, sql: &str) -> Result<String> {
    use tokio_postgres::SimpleQueryMessage::Row;
    let messages = client.simple_query(sql).await.map_err(told)?;
    let row = messages
        .iter()
        .find_map(|m| if let Row(row) = m { Some(row) } else { None });
    Ok(row
        .with_context(|| format!("no row: {sql}"))?
        .get(0)
        .unwrap_or_default()
        .to_owned())
}
