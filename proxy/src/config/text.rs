//! What is written from the key table: the file of `weir init`, and `docs/configuration.md`.

use super::filters;
use super::keys::{Default, Key, Kind, Section};
use super::quick;
use super::value::allowed;

/// Keys that `weir init` gives a value to; all others stand there as comments with their defaults.
const GIVEN: &[(Section, &str, &str)] = &[
    (Section::Listeners, "listen", "\"127.0.0.1:6432\""),
    (Section::TargetGroups, "host", "\"127.0.0.1\""),
    (Section::Users, "name", "\"app\""),
    (Section::Users, "password", "\"change me\""),
];

/// The commented configuration that `weir init` writes. It passes `weir check` as it is.
pub fn init() -> String {
    let mut text = String::from(
        "# Configuration of weir. Lines with a # show defaults; take the # away to change one.\n\
         # Check it with `weir check`, run it with `weir run --config FILE`, reload it with SIGHUP.\n\
         # Durations are in seconds.\n",
    );
    for section in Section::ALL {
        text.push_str(&format!(
            "\n# {}\n{}\n",
            plain(section.about()),
            section.header()
        ));
        for key in section.keys() {
            let given = GIVEN
                .iter()
                .find(|(s, name, _)| *s == section && *name == key.name);
            text.push_str(&init_key(key, given.map(|g| g.2)));
        }
    }
    text
}

fn init_key(key: &Key, given: Option<&str>) -> String {
    let mut text = format!("\n{}", wrapped(&plain(key.about)));
    let reload = if key.reloads { "" } else { " Needs a restart." };
    let absent = match key.default {
        Default::Absent(meaning) => format!(" Default: {}.", plain(meaning)),
        _ => String::new(),
    };
    text.push_str(&wrapped(&format!(
        "Value: {}.{absent}{reload}",
        allowed(key)
    )));
    match given {
        Some(value) => text.push_str(&format!("{} = {value}\n", key.name)),
        None => {
            let value = default_toml(key).unwrap_or_else(|| key.example.to_owned());
            text.push_str(&format!("# {} = {value}\n", key.name));
        }
    }
    text
}

/// Comment lines of at most 100 characters.
fn wrapped(text: &str) -> String {
    let mut lines = String::new();
    let mut line = String::from("#");
    for word in text.split_whitespace() {
        if line.chars().count() + 1 + word.chars().count() > 100 {
            lines.push_str(&line);
            lines.push('\n');
            line = String::from("#");
        }
        line.push(' ');
        line.push_str(word);
    }
    lines + &line + "\n"
}

/// Without the marks of Markdown.
fn plain(text: &str) -> String {
    text.replace('`', "")
}

/// The default as TOML, if there is one.
fn default_toml(key: &Key) -> Option<String> {
    match key.default {
        Default::Count(n) => Some(n.to_string()),
        Default::Seconds(d) => Some(d.as_secs_f64().to_string()),
        Default::Text(t) => Some(format!("\"{t}\"")),
        Default::Required | Default::Absent(_) => None,
    }
}

/// The document `docs/configuration.md`.
pub fn document() -> String {
    let mut text = String::from(
        "# Configuration\n\n\
         This page is made from the key definitions in `proxy/src/config/keys.rs`; a test compares them.\n\n\
         weir reads one TOML file (`weir run --config FILE`). `weir init` writes a commented one, `weir check` reports everything \
         that is wrong with one, each with its line. A key that is not listed here is an error. Durations are in seconds, whole \
         or not. Relative paths count from the file's directory.\n\n\
         On SIGHUP (`systemctl reload`) the file, the password files and the certificates are read again. A configuration with \
         an error is refused as a whole: the errors are logged and the running one stays. Keys marked \"restart\" keep their \
         value until the next start, and a warning names them; so do added and removed listeners and target groups. Nobody is \
         disconnected by a reload: clients keep what they logged in with.\n",
    );
    for section in Section::ALL {
        text.push_str(&format!(
            "\n## `{}`\n\n{} ",
            section.header(),
            section.about()
        ));
        text.push_str(&entries(section));
        text.push_str("\n\n| key | value | default | change | meaning |\n|---|---|---|---|---|\n");
        for key in section.keys() {
            text.push_str(&row(key));
        }
    }
    text.push_str(&filters::document());
    text.push_str(&options());
    text
}

fn entries(section: Section) -> String {
    match section.entries_max() {
        1 => "The table may be left out.".to_owned(),
        max => format!("1 to {max} entries."),
    }
}

fn row(key: &Key) -> String {
    let default = match key.default {
        Default::Required => "required".to_owned(),
        Default::Absent(meaning) => meaning.to_owned(),
        _ => default_toml(key)
            .map(|d| format!("`{d}`"))
            .unwrap_or_default(),
    };
    let change = if key.reloads { "reload" } else { "restart" };
    let zero = match (key.kind, key.default) {
        (Kind::Seconds { zero: Some(z), .. }, Default::Seconds(d)) if d.is_zero() => {
            format!(" ({z})")
        }
        (Kind::Count { zero: Some(z), .. }, Default::Count(0)) => format!(" ({z})"),
        _ => String::new(),
    };
    let value = cell(&allowed(key));
    format!(
        "| `{}` | {value} | {}{zero} | {change} | {} |\n",
        key.name,
        cell(&default),
        cell(key.about)
    )
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

fn options() -> String {
    let mut text = String::from(
        "\n## Without a file\n\n\
         `weir run --target postgres://USER@HOST:PORT/DATABASE --listen ADDRESS` and exactly one of `--password-file` and \
         `--password-env` is a whole configuration: one listener, one target group, one user. Clients log in with the same user \
         and password. Each other option stands for one key:\n\n\
         | option | key |\n|---|---|\n",
    );
    for option in quick::OPTIONS {
        text.push_str(&format!(
            "| `{}` | `{}.{}` |\n",
            option.option,
            option.section.name(),
            option.key.name
        ));
    }
    text
}
