//! The server's own regression SQL through psql (see [`crate::regress`]).

use crate::case::{Case, Plan, case};
use crate::regress;

/// The cases.
pub const CASES: &[Case] = &[Case {
    seconds: 600,
    ..case(
        "regress/psql",
        Plan::Servers { since: 15 },
        regress::compare,
    )
}];
