//! The catalogue of every error that weir itself sends to PostgreSQL clients: PostgreSQL's own codes and, where it has
//! them, its words; else which limit or rule and what to do.
//!
//! When an error is sent is not decided here.

use core::time::Duration;

use super::messages::{self, Report};

/// An error for a client.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ClientError {
    /// `ERROR` (the session goes on) or `FATAL` (it ends).
    pub severity: &'static str,
    /// SQLSTATE.
    pub code: &'static str,
    /// One line.
    pub message: String,
    /// More of it.
    pub detail: Option<String>,
    /// What to do.
    pub hint: Option<String>,
}

impl ClientError {
    /// A FATAL error.
    #[must_use]
    pub fn fatal(code: &'static str, message: impl Into<String>) -> ClientError {
        ClientError {
            severity: "FATAL",
            code,
            message: message.into(),
            detail: None,
            hint: None,
        }
    }

    /// The same, but the session goes on.
    #[must_use]
    pub fn as_error(mut self) -> ClientError {
        self.severity = "ERROR";
        self
    }

    /// With a detail.
    #[must_use]
    pub fn detail(mut self, text: impl Into<String>) -> ClientError {
        self.detail = Some(text.into());
        self
    }

    /// With a hint.
    #[must_use]
    pub fn hint(mut self, text: impl Into<String>) -> ClientError {
        self.hint = Some(text.into());
        self
    }

    /// Appends it as ErrorResponse.
    pub fn write(&self, out: &mut Vec<u8>) {
        let report = Report {
            severity: self.severity,
            code: self.code,
            message: &self.message,
            detail: self.detail.as_deref(),
            hint: self.hint.as_deref(),
        };
        messages::error_response(out, &report);
    }

    /// It as ErrorResponse.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.write(&mut out);
        out
    }
}

// ---- login -------------------------------------------------------------------------------------------------------

/// A wrong password or an unknown user: PostgreSQL's words, the same for both.
#[must_use]
pub fn password_authentication_failed(user: &str) -> ClientError {
    ClientError::fatal(
        "28P01",
        format!("password authentication failed for user \"{user}\""),
    )
}

/// A login without TLS where TLS is demanded.
#[must_use]
pub fn tls_required() -> ClientError {
    ClientError::fatal("28000", "weir requires TLS on this address")
        .hint("Connect with sslmode=require or stronger.")
}

/// A listener asks for cleartext passwords, and the connection is not encrypted.
#[must_use]
pub fn cleartext_requires_tls() -> ClientError {
    ClientError::fatal(
        "28000",
        "weir requires TLS on this address: passwords are asked for in cleartext",
    )
    .hint("Connect with sslmode=require or stronger, or have the operator turn TLS on or choose scram-sha-256 for clients.")
}

/// Direct TLS whose ALPN did not name PostgreSQL.
#[must_use]
pub fn alpn_required() -> ClientError {
    ClientError::fatal(
        "08P01",
        "received direct SSL connection request without ALPN protocol negotiation extension",
    )
    .hint("Offer the ALPN protocol \"postgresql\", or negotiate TLS with an SSLRequest.")
}

/// The startup message names no user.
#[must_use]
pub fn no_user_name() -> ClientError {
    ClientError::fatal(
        "28000",
        "no PostgreSQL user name specified in startup packet",
    )
}

/// A protocol other than 3.
#[must_use]
pub fn unsupported_protocol(major: u32, minor: u32) -> ClientError {
    ClientError::fatal(
        "0A000",
        format!("unsupported frontend protocol {major}.{minor}: server supports 3.0 to 3.2"),
    )
}

/// `replication=` in the startup message.
#[must_use]
pub fn replication_not_supported() -> ClientError {
    ClientError::fatal("0A000", "weir does not pass on replication connections")
        .hint("Connect to the database server directly for replication.")
}

/// A startup parameter with a value that PostgreSQL would refuse as well.
#[must_use]
pub fn invalid_replication_value(value: &str) -> ClientError {
    ClientError::fatal(
        "22023",
        format!("invalid value for parameter \"replication\": \"{value}\""),
    )
    .hint("Valid values are: \"false\", 0, \"true\", 1, \"database\".")
}

/// A database name that is not UTF-8.
#[must_use]
pub fn database_name_not_utf8() -> ClientError {
    ClientError::fatal("0A000", "weir takes database names in UTF-8 only")
        .hint("Connect to the database server directly, or rename the database.")
}

/// More startup parameters than [`crate::limits::STARTUP_PARAMETERS_MAX`].
#[must_use]
pub fn too_many_startup_parameters(limit: usize) -> ClientError {
    ClientError::fatal(
        "54000",
        format!("more than {limit} startup parameters, which is weir's limit"),
    )
    .hint("Send fewer parameters at login and SET the others afterwards.")
}

// ---- limits ------------------------------------------------------------------------------------------------------

/// `max_client_connections` reached.
#[must_use]
pub fn too_many_clients(limit: u32) -> ClientError {
    ClientError::fatal("53300", "sorry, too many clients already")
        .detail(format!("weir's max_client_connections is {limit}."))
        .hint("Close idle connections, or have the operator raise max_client_connections.")
}

/// No backend came free in `borrow_timeout`. FATAL during login; [`ClientError::as_error`] where the session goes on.
#[must_use]
pub fn borrow_timeout(waited: Duration, pool_size: u32) -> ClientError {
    ClientError::fatal(
        "08000",
        "Timed-out waiting to acquire database connection",
    )
    .detail(format!(
        "No database connection came free within weir's borrow_timeout of {} s (max_connection_pool_size is {pool_size}).",
        waited.as_secs_f64()
    ))
    .hint("End transactions sooner, or have the operator raise max_connection_pool_size or borrow_timeout.")
}

/// The same for a client that has as many backends as one client may have.
#[must_use]
pub fn borrow_timeout_of_one(waited: Duration, most: u32) -> ClientError {
    ClientError::fatal("08000", "Timed-out waiting to acquire database connection")
        .detail(format!(
            "This client already has {most} database connections, which is weir's max_borrowed_connections, and none was given back within borrow_timeout of {} s.",
            waited.as_secs_f64()
        ))
        .hint("End transactions sooner, or have the operator raise max_borrowed_connections or borrow_timeout.")
}

// ---- the wire ----------------------------------------------------------------------------------------------------

/// The client broke the protocol.
#[must_use]
pub fn protocol_violation(message: impl Into<String>) -> ClientError {
    ClientError::fatal("08P01", message)
}

/// Bytes came in plain text behind a request for encryption (CVE-2021-23222).
#[must_use]
pub fn unencrypted_data_after(request: &str) -> ClientError {
    protocol_violation(format!("received unencrypted data after {request} request"))
        .detail("This could be either a client-software bug or evidence of an attempted man-in-the-middle attack.")
}

// ---- the session -------------------------------------------------------------------------------------------------

/// weir is stopping.
#[must_use]
pub fn shutting_down() -> ClientError {
    ClientError::fatal(
        "57P01",
        "terminating connection due to administrator command",
    )
    .hint("weir is stopping; connect again.")
}

/// A query cancelled by weir before it reached a server.
#[must_use]
pub fn query_cancelled() -> ClientError {
    ClientError::fatal("57014", "canceling statement due to user request").as_error()
}

/// `idle_client_timeout` has passed.
#[must_use]
pub fn idle_timeout(in_transaction: bool) -> ClientError {
    let (code, message) = if in_transaction {
        (
            "25P03",
            "terminating connection due to idle-in-transaction timeout",
        )
    } else {
        (
            "57P05",
            "terminating connection due to idle-session timeout",
        )
    };
    ClientError::fatal(code, message).hint(
        "weir's idle_client_timeout has passed; connect again, or have the operator raise it.",
    )
}

/// `idle_in_transaction_timeout` has passed: PostgreSQL's words.
#[must_use]
pub fn idle_in_transaction_timeout(limit: Duration) -> ClientError {
    ClientError::fatal(
        "25P03",
        "terminating connection due to idle-in-transaction timeout",
    )
    .detail(format!(
        "The client said nothing for weir's idle_in_transaction_timeout of {} s in the middle of a transaction; it has been rolled back.",
        limit.as_secs_f64()
    ))
    .hint("End transactions before waiting for something else, or have the operator raise idle_in_transaction_timeout.")
}

/// `transaction_timeout` has passed and the transaction has not ended: the words of PostgreSQL 17.
#[must_use]
pub fn transaction_timeout(limit: Duration) -> ClientError {
    ClientError::fatal(
        "25P04",
        "terminating connection due to transaction timeout",
    )
    .detail(format!(
        "The transaction lasted longer than weir's transaction_timeout of {} s; it has been rolled back.",
        limit.as_secs_f64()
    ))
    .hint("Do less in one transaction, or have the operator raise transaction_timeout.")
}

// ---- the server --------------------------------------------------------------------------------------------------

/// The lent backend is gone in the middle of something.
#[must_use]
pub fn server_lost() -> ClientError {
    ClientError::fatal("08006", "the connection to the database server was lost")
        .detail("What was under way may or may not have been done.")
        .hint("Connect again and check before repeating it.")
}

/// The lent backend does not take over the session's settings; `why` is its server's word. Nothing of what was asked has been done.
#[must_use]
pub fn settings_refused(why: &str) -> ClientError {
    ClientError::fatal(
        "08006",
        "another server connection does not take the settings of this session any more",
    )
    .detail(format!(
        "The server said: {why}. What was under way has not been done."
    ))
    .hint("Connect again. If it comes back, look at what the session has SET.")
}

/// No connection to the target could be opened.
#[must_use]
pub fn server_unreachable(group: &str) -> ClientError {
    ClientError::fatal(
        "08001",
        format!("weir could not connect to the database server of \"{group}\""),
    )
    .hint("Try again; the cause is in weir's log.")
}

/// The target group's `init_query` does not run; `why` is the server's word.
#[must_use]
pub fn init_query_failed(why: &str) -> ClientError {
    ClientError::fatal(
        "F0000",
        "the init_query of weir's target group failed on a new database connection",
    )
    .detail(format!("The server said: {why}."))
    .hint("Have the operator correct init_query; every user that connects must be able to run it.")
}

/// Whether an error is about the state of the server, not about what was asked of it: classes 08, 53, 55, 57 and 58.
#[must_use]
pub fn may_pass(code: &str) -> bool {
    matches!(code.get(..2), Some("08" | "53" | "55" | "57" | "58"))
}

/// Whether an error at login is against this very client (its database, a parameter, its role), so that waiting can't cure it:
/// classes 0A, 22, 28, 3D and 42, a server that does not know a parameter, and an `init_query` that fails.
#[must_use]
pub fn is_against_client(code: &str) -> bool {
    matches!(code.get(..2), Some("0A" | "22" | "28" | "3D" | "42" | "F0"))
}

/// The server broke the protocol; the backend was closed.
#[must_use]
pub fn server_protocol_violation() -> ClientError {
    ClientError::fatal(
        "08P01",
        "the database server sent something that weir does not understand",
    )
    .hint("The cause is in weir's log.")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::postgres::messages::ErrorFields;

    fn all() -> Vec<ClientError> {
        vec![
            password_authentication_failed("x"),
            tls_required(),
            cleartext_requires_tls(),
            alpn_required(),
            no_user_name(),
            unsupported_protocol(2, 0),
            replication_not_supported(),
            invalid_replication_value("maybe"),
            database_name_not_utf8(),
            too_many_startup_parameters(1),
            too_many_clients(1),
            borrow_timeout(Duration::from_millis(1500), 5),
            protocol_violation("x"),
            unencrypted_data_after("SSL"),
            shutting_down(),
            query_cancelled(),
            idle_timeout(false),
            idle_timeout(true),
            idle_in_transaction_timeout(Duration::from_millis(1500)),
            transaction_timeout(Duration::from_secs(5)),
            server_lost(),
            server_unreachable("x"),
            init_query_failed("42601: x"),
            server_protocol_violation(),
        ]
    }

    #[test]
    fn every_error_reads_back_as_it_was_meant() {
        for error in all() {
            let bytes = error.to_bytes();
            assert_eq!(bytes[0], b'E');
            assert_eq!(
                bytes[1..5],
                u32::try_from(bytes.len() - 1).unwrap().to_be_bytes()
            );
            let fields = ErrorFields::parse(&bytes[5..]);
            assert_eq!(fields.code, error.code);
            assert_eq!(error.code.len(), 5);
            assert_eq!(fields.message, error.message);
            assert_eq!(fields.severity, error.severity);
            assert!(error.severity == "FATAL" || error.severity == "ERROR");
        }
    }

    #[test]
    fn words_of_postgresql_are_kept() {
        let wrong = password_authentication_failed("app").to_bytes();
        assert_eq!(
            wrong,
            b"E\0\0\0\x49SFATAL\0VFATAL\0C28P01\0Mpassword authentication failed for user \"app\"\0\0"
        );
        let timeout = borrow_timeout(Duration::from_millis(1500), 5).as_error();
        assert!(timeout.detail.unwrap().contains("1.5 s"));
        assert_eq!(timeout.severity, "ERROR");
    }
}
