//! Reading the configuration's files: bounded, and with messages that name the file and the way out.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use weir_core::limits;
use zeroize::Zeroizing;

use super::keys;
use super::problem::{Place, Problems};
use super::read::Entry;

/// The configuration file's text.
pub fn config_text(path: &Path, problems: &mut Problems) -> Option<Zeroizing<String>> {
    let place = Place::File {
        path: path.into(),
        line: 1,
    };
    let hint = "; `weir init` writes a first one";
    match read(path, limits::CONFIG_FILE_MAX) {
        Ok(bytes) => match utf8(bytes) {
            Ok(text) => return Some(text),
            Err(()) => problems.error(&place, "", "the file is not UTF-8 text, as TOML must be"),
        },
        Err(error) if error.contains("No such file") => {
            problems.error(&place, "", format!("{error}{hint}"))
        }
        Err(error) => problems.error(&place, "", error),
    }
    None
}

/// The password in a file: its one line.
pub fn password(path: &Path) -> Result<Zeroizing<String>, String> {
    let shown = path.display();
    // The line end, and one byte more to see that it is too long.
    let bytes = read(path, limits::PASSWORD_MAX as u64 + 2).map_err(|e| {
        if e.starts_with("the file is larger") {
            too_long(path)
        } else {
            e
        }
    })?;
    let mut text = utf8(bytes).map_err(|()| format!("{shown} is not UTF-8 text"))?;
    if text.ends_with('\n') {
        text.pop();
    }
    if text.ends_with('\r') {
        text.pop();
    }
    if text.is_empty() {
        return Err(format!(
            "{shown} is empty; its first line must be the password"
        ));
    }
    if text.contains('\n') || text.contains('\0') {
        return Err(format!(
            "{shown} holds more than one line or a NUL; it must hold the password alone"
        ));
    }
    if text.len() > limits::PASSWORD_MAX {
        return Err(too_long(path));
    }
    Ok(text)
}

fn too_long(path: &Path) -> String {
    format!(
        "{} holds more than {} bytes; it must hold the password alone",
        path.display(),
        limits::PASSWORD_MAX
    )
}

fn read(path: &Path, most: u64) -> Result<Zeroizing<Vec<u8>>, String> {
    let failed = |error: std::io::Error| format!("can't read {}: {error}", path.display());
    let file = File::open(path).map_err(failed)?;
    // Room from the start: a buffer that grows leaves copies of a secret behind.
    let room = file
        .metadata()
        .map_or(0, |m| m.len())
        .clamp(limits::PASSWORD_MAX as u64 + 64, most + 64);
    let mut bytes = Zeroizing::new(Vec::with_capacity(usize::try_from(room).unwrap_or(0)));
    file.take(most + 1)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    if bytes.len() as u64 > most {
        return Err(format!("the file is larger than {most} bytes"));
    }
    Ok(bytes)
}

fn utf8(mut bytes: Zeroizing<Vec<u8>>) -> Result<Zeroizing<String>, ()> {
    String::from_utf8(core::mem::take(&mut *bytes))
        .map(Zeroizing::new)
        .map_err(|error| {
            drop(Zeroizing::new(error.into_bytes()));
        })
}

/// A warning if everyone on the machine can read a secret.
pub fn readable_by_others(path: &Path) -> Option<String> {
    let mode = std::fs::metadata(path).ok()?.permissions().mode();
    (mode & 0o004 != 0).then(|| {
        let shown = path.display();
        format!(
            "{shown} can be read by everyone on this machine (mode {:04o}); run: chmod 600 {shown}",
            mode & 0o7777
        )
    })
}

/// A configuration file that holds passwords is a secret itself.
pub fn warn_of_inline_passwords(path: &Path, users: &[Entry], problems: &mut Problems) {
    let Some(user) = users.iter().find(|u| u.has(&keys::PASSWORD)) else {
        return;
    };
    if let Some(text) = readable_by_others(path) {
        problems.warn(
            user.place_of(&keys::PASSWORD),
            user.full_name(&keys::PASSWORD),
            text,
        );
    }
}
