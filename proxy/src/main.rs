//! weir: the binary. Everything is in the library beside it; see `cli`.

use std::process::ExitCode;

/// Many small allocations of logins, on many threads: the system's allocator grows under it.
#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    weir::cli::main()
}
