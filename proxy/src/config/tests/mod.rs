//! Whole configurations: good ones, and every way in which one can be wrong.

mod good;
mod limits;
mod options;
mod reloads;
mod single;
mod together;

use std::path::PathBuf;
use std::time::Duration;

use super::*;

/// A folder of its own that goes away with it.
struct Home(PathBuf);

impl Home {
    fn new(name: &str) -> Home {
        let path = std::env::temp_dir().join(format!("weir-config-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Home(path)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        use std::os::unix::fs::PermissionsExt;
        let path = self.0.join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        path
    }

    fn pair(&self, name: &str) -> (String, String) {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let (certificate, key) = (format!("{name}.crt"), format!("{name}.key"));
        self.write(&certificate, &made.cert.pem());
        self.write(&key, &made.signing_key.serialize_pem());
        (certificate, key)
    }

    fn load(&self, text: &str) -> (Option<Config>, Problems) {
        self.load_with(text, &mut Keep::new().unwrap())
    }

    fn load_with(&self, text: &str, keep: &mut Keep) -> (Option<Config>, Problems) {
        let path = self.write("weir.toml", text);
        let mut problems = Problems::default();
        let config = Source::File(path).load(keep, &mut problems);
        assert_eq!(
            config.is_none(),
            !problems.errors.is_empty(),
            "{problems:?}"
        );
        (config, problems)
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// `line: key: text` of every error.
fn errors(problems: &Problems) -> Vec<String> {
    shown(&problems.errors)
}

fn shown(problems: &[Problem]) -> Vec<String> {
    let line = |p: &Problem| match &p.place {
        Place::File { line, .. } => line.to_string(),
        Place::Option(name) => (*name).to_owned(),
    };
    problems
        .iter()
        .map(|p| format!("{}: {}: {}", line(p), p.key, p.text))
        .collect()
}

/// The least that a file must say; `target_tls = "require"` needs no authorities on the machine.
const LEAST: &str = "[[listeners]]\nlisten = \"127.0.0.1:6432\"\n[[target_groups]]\nhost = \"127.0.0.1\"\ntarget_tls = \"require\"\n\
                     [[users]]\nname = \"app\"\npassword = \"secret\"\n";

/// [`LEAST`] with one text replaced; what it says.
fn changed(home: &Home, from: &str, to: &str) -> Problems {
    assert!(LEAST.contains(from));
    home.load(&LEAST.replace(from, to)).1
}

fn one_error(problems: &Problems, says: &[&str]) {
    let errors = errors(problems);
    assert_eq!(errors.len(), 1, "{errors:?}");
    for part in says {
        assert!(errors[0].contains(part), "{errors:?} does not say {part}");
    }
}
