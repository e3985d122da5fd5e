//! The cases, by what they are about.

mod drivers;

use crate::case::Case;

/// Every case.
pub fn all() -> impl Iterator<Item = &'static Case> {
    [drivers::CASES].into_iter().flatten()
}
