//! Where things are: the checkout, what was built, what is kept between runs, and the folder of this run.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use anyhow::{Context, Result};

/// The checkout's top folder.
pub fn checkout() -> PathBuf {
    let built_in = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    std::env::var_os("WEIR_CHECKOUT").map_or_else(built_in, PathBuf::from)
}

/// Where cargo puts what it builds.
pub fn target_dir() -> PathBuf {
    std::env::var_os("WEIR_TARGET_DIR").map_or_else(|| checkout().join("target"), PathBuf::from)
}

/// The proxy's program: `WEIR_BINARY` if it is set, else what was built beside this program.
pub fn weir_binary() -> PathBuf {
    if let Some(named) = std::env::var_os("WEIR_BINARY") {
        return named.into();
    }
    let beside = std::env::current_exe()
        .ok()
        .map(|exe| exe.with_file_name("weir"));
    beside
        .filter(|p| p.exists())
        .unwrap_or_else(|| target_dir().join("release/weir"))
}

/// What is fetched once and kept: servers and drivers.
pub fn cache() -> PathBuf {
    checkout().join(".cache")
}

static RUN_DIR: OnceLock<PathBuf> = OnceLock::new();

/// The folder of this run: data of the servers, certificates, sockets. In the system's temporary folder, because the
/// server may run as a user who can't reach the checkout.
pub fn run_dir() -> Result<&'static Path> {
    if let Some(dir) = RUN_DIR.get() {
        return Ok(dir);
    }
    let dir = std::env::temp_dir().join(format!("weir-run-{}", std::process::id()));
    std::fs::create_dir_all(&dir).with_context(|| dir.display().to_string())?;
    std::fs::set_permissions(&dir, std::fs::Permissions::from_mode(0o755))?;
    Ok(RUN_DIR.get_or_init(|| dir))
}

/// Removes the folder of this run.
pub fn remove_run_dir() {
    if let Some(dir) = RUN_DIR.get() {
        let _ = std::fs::remove_dir_all(dir);
    }
}

/// A port of the loopback interface that nobody listens on at this moment.
pub fn free_port() -> Result<u16> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?
        .local_addr()?
        .port())
}
