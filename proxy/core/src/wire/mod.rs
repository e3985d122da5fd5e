//! What bytes mean: one folder per engine.
//!
//! Above this room there is no engine, only these names. With the second engine they become enums over both; nothing above
//! changes.

pub mod postgres;

pub use postgres::backend_login::{BackendIdentity, BackendLogin, BackendStep};
pub use postgres::client_login::{ClientLogin, LoginStep};
pub use postgres::conversation::{
    ClientEnd, Conversation, FromClient, FromServer, Lent, Pids, Replayed,
};
pub use postgres::errand::{Errand, ErrandStep};
pub use postgres::errors::{self, ClientError};
pub use postgres::familiar::Familiar;
pub use postgres::frames::Frames;
pub use postgres::greeting::{goodbye, greeting};
pub use postgres::ledger::{SessionState, explains, write_replay};
pub use postgres::mend::{Chores, Damage, Mend, Mended};
pub use postgres::messages::{parameter_status, parse_parameter_status as parse_parameter};
pub use postgres::question::write_question;
pub use postgres::quiet::{Heard, Quiet};
pub use postgres::startup::{Parameters, Startup};
pub use postgres::statements::{Catalog, Desk, Held, Traits};
