//! The front door for every chore.
fn main() {}
