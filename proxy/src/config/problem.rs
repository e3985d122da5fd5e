//! What is wrong with a configuration: where, which key, what, and what is allowed instead. Problems are collected, so
//! that one check tells all of them.

use core::fmt;
use std::path::Path;
use std::sync::Arc;

/// Where a value was given.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Place {
    /// In the configuration file.
    File {
        /// The file, as it was named by the operator.
        path: Arc<Path>,
        /// The line, from 1.
        line: usize,
    },
    /// By a command line option, `--listen`.
    Option(&'static str),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::File { path, line } => write!(f, "{}:{line}", path.display()),
            Place::Option(name) => f.write_str(name),
        }
    }
}

/// One thing that is wrong or doubtful. Never holds a secret.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Problem {
    /// Where it is.
    pub place: Place,
    /// The key, with its table: `listeners.listen`. Empty when it is not about one key.
    pub key: String,
    /// What is wrong and what is allowed.
    pub text: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.key.as_str() {
            "" => write!(f, "{}: {}", self.place, self.text),
            key => write!(f, "{}: {key}: {}", self.place, self.text),
        }
    }
}

/// What was found so far.
#[derive(Clone, Default, Debug)]
pub struct Problems {
    /// What makes the configuration unusable.
    pub errors: Vec<Problem>,
    /// What is allowed, but not well.
    pub warnings: Vec<Problem>,
}

impl Problems {
    /// Adds an error.
    pub fn error(&mut self, place: &Place, key: impl Into<String>, text: impl Into<String>) {
        self.errors.push(Problem {
            place: place.clone(),
            key: key.into(),
            text: text.into(),
        });
    }

    /// Adds a warning.
    pub fn warn(&mut self, place: &Place, key: impl Into<String>, text: impl Into<String>) {
        self.warnings.push(Problem {
            place: place.clone(),
            key: key.into(),
            text: text.into(),
        });
    }

    /// In the order of the file.
    pub fn sort(&mut self) {
        let line = |p: &Problem| match p.place {
            Place::File { line, .. } => line,
            Place::Option(_) => 0,
        };
        self.errors.sort_by_key(line);
        self.warnings.sort_by_key(line);
    }
}
