//! Deterministic simulator: many clients, model servers, faults, one seed.
fn main() {}
