//! What the definition of a configuration key says; the definitions are in [`super::keys`].

use core::time::Duration;

/// What a key's value is.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Kind {
    /// A whole number.
    Count {
        /// Least.
        min: u32,
        /// Most.
        max: u32,
        /// What is counted.
        unit: &'static str,
        /// What 0 stands for, where it is no count.
        zero: Option<&'static str>,
    },
    /// A number of seconds, whole or not.
    Seconds {
        /// Shortest.
        min: Duration,
        /// Longest.
        max: Duration,
        /// What 0 stands for; `None`: 0 is not allowed unless `min` is 0.
        zero: Option<&'static str>,
    },
    /// One of some words.
    Word(&'static [&'static str]),
    /// A name: not empty, at most [`weir_core::limits::NAME_MAX`] bytes, no control characters.
    Name,
    /// A host name or an IP address.
    Host,
    /// IP address and port, `127.0.0.1:6432` or `[::1]:6432`.
    Address,
    /// A file. Relative paths count from the configuration file's directory.
    Path,
    /// The name of an environment variable.
    Variable,
    /// A secret; never shown.
    Secret,
    /// SQL statements: not empty, at most [`weir_core::limits::TEXT_MAX`] bytes, without NUL.
    Query,
    /// A list of names; `of` says which.
    List {
        /// What they are names of.
        of: &'static str,
    },
}

/// A key's value when the file does not give it.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Default {
    /// The file must give it.
    Required,
    /// There is none; the text says what that means.
    Absent(&'static str),
    /// A count.
    Count(u32),
    /// A duration.
    Seconds(Duration),
    /// A word or another text.
    Text(&'static str),
}

/// One key.
#[derive(Debug)]
pub struct Key {
    /// Its name.
    pub name: &'static str,
    /// What its value is.
    pub kind: Kind,
    /// Its value when the file does not give it.
    pub default: Default,
    /// An example for `weir init`, as TOML, where the default is none.
    pub example: &'static str,
    /// What it means. One or two sentences.
    pub about: &'static str,
    /// Whether a reload (SIGHUP) can change it.
    pub reloads: bool,
}

/// A key of [`Kind::Count`].
pub(super) const fn count(
    name: &'static str,
    (min, max): (u32, u32),
    unit: &'static str,
    default: u32,
    about: &'static str,
) -> Key {
    let kind = Kind::Count {
        min,
        max,
        unit,
        zero: None,
    };
    Key {
        name,
        kind,
        default: Default::Count(default),
        example: "",
        about,
        reloads: true,
    }
}

/// A key of [`Kind::Seconds`].
pub(super) const fn seconds(
    name: &'static str,
    (min, max): (Duration, Duration),
    default: Duration,
    about: &'static str,
) -> Key {
    let kind = Kind::Seconds {
        min,
        max,
        zero: None,
    };
    Key {
        name,
        kind,
        default: Default::Seconds(default),
        example: "",
        about,
        reloads: true,
    }
}

/// A key of [`Kind::Word`].
pub(super) const fn word(
    name: &'static str,
    words: &'static [&'static str],
    default: &'static str,
    about: &'static str,
) -> Key {
    Key {
        name,
        kind: Kind::Word(words),
        default: Default::Text(default),
        example: "",
        about,
        reloads: true,
    }
}

/// A key of any other kind.
pub(super) const fn text(
    name: &'static str,
    kind: Kind,
    default: Default,
    example: &'static str,
    about: &'static str,
) -> Key {
    Key {
        name,
        kind,
        default,
        example,
        about,
        reloads: true,
    }
}

impl Key {
    /// The same key, where 0 stands for something of its own.
    pub(super) const fn zero(mut self, meaning: &'static str) -> Key {
        self.kind = match self.kind {
            Kind::Count { min, max, unit, .. } => Kind::Count {
                min,
                max,
                unit,
                zero: Some(meaning),
            },
            Kind::Seconds { min, max, .. } => Kind::Seconds {
                min,
                max,
                zero: Some(meaning),
            },
            other => other,
        };
        self
    }

    /// The same key without a default of its own; `meaning` says what holds then.
    pub(super) const fn or_else(mut self, meaning: &'static str, example: &'static str) -> Key {
        self.default = Default::Absent(meaning);
        self.example = example;
        self
    }

    /// The same key, read at start only.
    pub(super) const fn at_start(mut self) -> Key {
        self.reloads = false;
        self
    }
}
