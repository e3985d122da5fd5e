//! The load harness as a program: `weir-perf`, called by `cargo xtask perf`.

fn main() -> std::process::ExitCode {
    weir_perf::cli::main()
}
