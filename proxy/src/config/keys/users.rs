//! The keys of `[[users]]`.

use weir_core::limits as l;

use super::super::key::{Default, Key, Kind, seconds, text};

/// `name` of a user.
pub static USER_NAME: Key = text(
    "name",
    Kind::Name,
    Default::Required,
    "\"app\"",
    "The name clients give, and the name used at the database server.",
);
/// `password`.
pub static PASSWORD: Key = text(
    "password",
    Kind::Secret,
    Default::Absent("none"),
    "\"…\"",
    "The password itself. Better kept in a file of its own.",
);
/// `password_file`.
pub static PASSWORD_FILE: Key = text(
    "password_file",
    Kind::Path,
    Default::Absent("none"),
    "\"/etc/weir/app.password\"",
    "File whose first line is the password. It should be readable by weir alone (mode 0600).",
);
/// `password_env`.
pub static PASSWORD_ENV: Key = text(
    "password_env",
    Kind::Variable,
    Default::Absent("none"),
    "\"APP_PASSWORD\"",
    "Name of the environment variable that holds the password.",
);
/// `scram_verifier`.
pub static SCRAM_VERIFIER: Key = text(
    "scram_verifier",
    Kind::Secret,
    Default::Absent("none"),
    "\"SCRAM-SHA-256$4096:…\"",
    "A SCRAM-SHA-256 verifier as in `pg_authid.rolpassword`, or as `weir scram-verifier` prints it. weir then never knows the \
     password: it can log in to the server for this user only after a client has logged in with `scram-sha-256`, and only if the \
     server keeps the very same verifier; such a user has no warm connections.",
);

/// `transaction_timeout` of a user.
pub static USER_TRANSACTION_TIMEOUT: Key = seconds(
    "transaction_timeout",
    (l::TRANSACTION_TIMEOUT_MIN, l::DURATION_MAX),
    l::TRANSACTION_TIMEOUT_DEFAULT,
    "The same as in `[proxy]`, for this user.",
)
.zero("no limit")
.or_else("that of `[proxy]`", "30");
/// `idle_in_transaction_timeout` of a user.
pub static USER_IDLE_IN_TRANSACTION_TIMEOUT: Key = seconds(
    "idle_in_transaction_timeout",
    (l::TRANSACTION_TIMEOUT_MIN, l::DURATION_MAX),
    l::TRANSACTION_TIMEOUT_DEFAULT,
    "The same as in `[proxy]`, for this user.",
)
.zero("no limit")
.or_else("that of `[proxy]`", "10");

pub(super) static USER: &[&Key] = &[
    &USER_NAME,
    &PASSWORD,
    &PASSWORD_FILE,
    &PASSWORD_ENV,
    &SCRAM_VERIFIER,
    &USER_TRANSACTION_TIMEOUT,
    &USER_IDLE_IN_TRANSACTION_TIMEOUT,
];
