//! What a process costs, from outside: CPU time, resident memory, descriptors from `/proc`, system calls from `perf`.
//!
//! Nothing here knows whose process it is or what load it gets.

mod calls;
mod meter;
mod proc;

pub use calls::{Calls, unavailable as calls_unavailable};
pub use meter::{Meter, Unit};
