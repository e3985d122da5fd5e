//! weir: the binary.
fn main() {}
