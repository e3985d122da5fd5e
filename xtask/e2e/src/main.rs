//! The real binary against real servers and real drivers: the end-to-end suite and the demo.
fn main() {}
