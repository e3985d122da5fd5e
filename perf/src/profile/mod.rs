//! Where the time goes: profiles of the weir process.

pub mod callgrind;
