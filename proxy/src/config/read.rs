//! From text to checked values: which tables and keys are there, on which lines, and whether each value alone is one
//! that its key allows. How values go together is [`super::build`]'s business.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use toml_edit::{Document, Item, Table, Value as TomlValue};
use zeroize::Zeroizing;

use super::keys::{Default, Key, Section};
use super::problem::{Place, Problems};
use super::suggest::nearest;
use super::value::{Raw, Value, check, quoted};

/// A value and where it was given.
struct Given {
    /// `None`: it was not allowed, which has been reported.
    value: Option<Value>,
    place: Place,
}

/// One table of the file: its checked values, and defaults for the rest.
pub struct Entry {
    section: Section,
    /// Where the table begins.
    pub place: Place,
    given: HashMap<&'static str, Given>,
}

/// Every table of the file.
pub struct Tables {
    /// `[proxy]`; empty when the file has none.
    pub proxy: Entry,
    /// `[[listeners]]`.
    pub listeners: Vec<Entry>,
    /// `[[target_groups]]`.
    pub groups: Vec<Entry>,
    /// `[[users]]`.
    pub users: Vec<Entry>,
}

impl Tables {
    /// No table at all.
    pub fn empty(place: &Place) -> Tables {
        let proxy = Entry::new(Section::Proxy, place.clone());
        Tables {
            proxy,
            listeners: Vec::new(),
            groups: Vec::new(),
            users: Vec::new(),
        }
    }

    fn add(&mut self, entry: Entry) {
        match entry.section {
            Section::Proxy => self.proxy = entry,
            Section::Listeners => self.listeners.push(entry),
            Section::TargetGroups => self.groups.push(entry),
            Section::Users => self.users.push(entry),
        }
    }

    /// How many entries of `section` there are.
    fn entries(&self, section: Section) -> usize {
        match section {
            Section::Proxy => 1,
            Section::Listeners => self.listeners.len(),
            Section::TargetGroups => self.groups.len(),
            Section::Users => self.users.len(),
        }
    }
}

impl Entry {
    /// A table in which nothing is given.
    pub fn new(section: Section, place: Place) -> Entry {
        Entry {
            section,
            place,
            given: HashMap::new(),
        }
    }

    /// `key` with its table, as messages name it.
    pub fn full_name(&self, key: &Key) -> String {
        format!("{}.{}", self.section.name(), key.name)
    }

    /// Checks a value and keeps it, or reports it.
    pub fn give(&mut self, key: &'static Key, raw: Raw, place: Place, problems: &mut Problems) {
        let value = match check(key, raw) {
            Ok(value) => Some(value),
            Err(text) => {
                problems.error(&place, self.full_name(key), text);
                None
            }
        };
        self.given.insert(key.name, Given { value, place });
    }

    /// Whether the file gives `key`, rightly or wrongly.
    pub fn has(&self, key: &Key) -> bool {
        self.given.contains_key(key.name)
    }

    /// Whether the file gives `key` a value that is not allowed.
    pub fn is_bad(&self, key: &Key) -> bool {
        self.given.get(key.name).is_some_and(|g| g.value.is_none())
    }

    /// Where `key` is given, else where its table begins.
    pub fn place_of(&self, key: &Key) -> &Place {
        self.given.get(key.name).map_or(&self.place, |g| &g.place)
    }

    /// Reports every key that must be given and is not.
    pub fn report_missing(&self, problems: &mut Problems) {
        for key in self.section.keys() {
            if key.default == Default::Required && !self.has(key) {
                let text = format!(
                    "is missing in {}; {}",
                    self.section.header(),
                    super::value::allowed(key)
                );
                problems.error(&self.place, self.full_name(key), text);
            }
        }
    }

    fn value(&self, key: &Key) -> Option<&Value> {
        self.given.get(key.name).and_then(|g| g.value.as_ref())
    }

    /// The count given, else the default. A default of another kind is ruled out by a test of the key table.
    pub fn count(&self, key: &Key) -> u32 {
        match (self.value(key), key.default) {
            (Some(Value::Count(n)), _) => *n,
            (_, Default::Count(n)) => n,
            _ => 0,
        }
    }

    /// The duration given, else the default.
    pub fn seconds(&self, key: &Key) -> Duration {
        match (self.value(key), key.default) {
            (Some(Value::Seconds(d)), _) => *d,
            (_, Default::Seconds(d)) => d,
            _ => Duration::ZERO,
        }
    }

    /// The word given, else the default.
    pub fn word(&self, key: &Key) -> &'static str {
        match (self.value(key), key.default) {
            (Some(Value::Word(w)), _) => w,
            (_, Default::Text(w)) => w,
            _ => "",
        }
    }

    /// The text given, else the default, else nothing.
    pub fn text(&self, key: &Key) -> Option<&str> {
        match (self.value(key), key.default) {
            (Some(Value::Text(t)), _) => Some(t),
            (_, Default::Text(t)) => Some(t),
            _ => None,
        }
    }

    /// The list given, else an empty one.
    pub fn list(&self, key: &Key) -> &[String] {
        match self.value(key) {
            Some(Value::List(list)) => list,
            _ => &[],
        }
    }

    /// The address given.
    pub fn address(&self, key: &Key) -> Option<SocketAddr> {
        match self.value(key) {
            Some(Value::Address(a)) => Some(*a),
            _ => None,
        }
    }

    /// The secret given.
    pub fn secret(&self, key: &Key) -> Option<&Zeroizing<String>> {
        match self.value(key) {
            Some(Value::Secret(s)) => Some(s),
            _ => None,
        }
    }
}

/// Line numbers of byte offsets.
struct Lines {
    path: Arc<Path>,
    /// Where each line begins.
    starts: Vec<usize>,
}

impl Lines {
    fn new(path: &Path, text: &str) -> Lines {
        let starts = core::iter::once(0)
            .chain(text.match_indices('\n').map(|(i, _)| i + 1))
            .collect();
        Lines {
            path: path.into(),
            starts,
        }
    }

    fn place(&self, span: Option<core::ops::Range<usize>>) -> Place {
        let offset = span.map_or(0, |s| s.start);
        Place::File {
            path: self.path.clone(),
            line: self.starts.partition_point(|s| *s <= offset).max(1),
        }
    }
}

/// Reads the text of a configuration file. Everything that is wrong goes to `problems`; what is right is returned.
pub fn read(path: &Path, text: &str, problems: &mut Problems) -> Tables {
    let lines = Lines::new(path, text);
    let start = lines.place(None);
    let mut tables = Tables::empty(&start);
    let document = match Document::parse(text) {
        Ok(document) => document,
        Err(error) => {
            let text = format!("this is not TOML: {}", one_line(error.message()));
            problems.error(&lines.place(error.span()), "", text);
            return tables;
        }
    };
    // Values are taken out of the document, not copied, so that passwords are wiped when they go.
    for (name, span, item) in into_items(document.into_table()) {
        let place = lines.place(span.or_else(|| item.span()));
        match Section::ALL.into_iter().find(|s| s.name() == name) {
            Some(section) => read_section(section, item, &place, &lines, &mut tables, problems),
            None => problems.error(&place, name.as_str(), unknown_at_top(&name)),
        }
    }
    report_counts(&tables, &start, problems);
    tables
}

fn report_counts(tables: &Tables, start: &Place, problems: &mut Problems) {
    for section in Section::ALL {
        let (entries, max) = (tables.entries(section), section.entries_max());
        if entries == 0 && !problems.errors.iter().any(|p| p.key == section.name()) {
            problems.error(
                start,
                section.name(),
                format!("there is no {}; at least one is needed", section.header()),
            );
        }
        if entries > max {
            problems.error(
                start,
                section.name(),
                format!("there are {entries} entries; at most {max} are allowed"),
            );
        }
    }
}

fn read_section(
    section: Section,
    item: Item,
    place: &Place,
    lines: &Lines,
    tables: &mut Tables,
    problems: &mut Problems,
) {
    let single = section == Section::Proxy;
    let found = with_article(item.type_name());
    match item {
        Item::Table(table) if single => {
            tables.add(read_entry(section, table, place, lines, problems))
        }
        Item::Value(TomlValue::InlineTable(table)) if single => {
            tables.add(read_entry(
                section,
                table.into_table(),
                place,
                lines,
                problems,
            ));
        }
        Item::ArrayOfTables(array) if !single => {
            for table in array {
                let place = lines.place(table.span());
                tables.add(read_entry(section, table, &place, lines, problems));
            }
        }
        Item::Value(TomlValue::Array(array)) if !single => {
            for value in array {
                let place = lines.place(value.span());
                match value {
                    TomlValue::InlineTable(table) => {
                        tables.add(read_entry(
                            section,
                            table.into_table(),
                            &place,
                            lines,
                            problems,
                        ));
                    }
                    other => {
                        let text = format!(
                            "{} is not allowed: a table",
                            with_article(other.type_name())
                        );
                        problems.error(&place, section.name(), text);
                    }
                }
            }
        }
        _ => problems.error(
            place,
            section.name(),
            format!("{found} is not allowed: write {}", section.header()),
        ),
    }
}

fn read_entry(
    section: Section,
    table: Table,
    place: &Place,
    lines: &Lines,
    problems: &mut Problems,
) -> Entry {
    let mut entry = Entry::new(section, place.clone());
    for (name, span, item) in into_items(table) {
        let place = lines.place(span.or_else(|| item.span()));
        match section.keys().iter().find(|k| k.name == name) {
            Some(key) => entry.give(key, raw(item), place, problems),
            None => problems.error(
                &place,
                format!("{}.{name}", section.name()),
                unknown_key(section, &name),
            ),
        }
    }
    entry.report_missing(problems);
    entry
}

/// A table's items with the spans of their keys.
fn into_items(table: Table) -> Vec<(String, Option<core::ops::Range<usize>>, Item)> {
    let spans: Vec<_> = table
        .iter()
        .map(|(name, _)| table.key(name).and_then(|k| k.span()))
        .collect();
    table
        .into_iter()
        .zip(spans)
        .map(|((name, item), span)| (name, span, item))
        .collect()
}

fn raw(item: Item) -> Raw {
    match item {
        Item::Value(TomlValue::Integer(n)) => Raw::Integer(n.into_value()),
        Item::Value(TomlValue::Float(f)) => Raw::Float(f.into_value()),
        Item::Value(TomlValue::String(s)) => Raw::Text(Zeroizing::new(s.into_value())),
        Item::Value(TomlValue::Array(array)) => strings(array),
        other => Raw::Other(other.type_name()),
    }
}

/// A list, if strings are all that is in it.
fn strings(array: toml_edit::Array) -> Raw {
    let text = |value: TomlValue| match value {
        TomlValue::String(text) => Some(text.into_value()),
        _ => None,
    };
    match array.into_iter().map(text).collect() {
        Some(texts) => Raw::List(texts),
        None => Raw::Other("list of something else than strings"),
    }
}

fn unknown_at_top(name: &str) -> String {
    if let Some(section) = Section::ALL
        .iter()
        .find(|s| s.keys().iter().any(|k| k.name == name))
    {
        return format!(
            "unknown table; as a key it belongs into {}",
            section.header()
        );
    }
    let sections = Section::ALL
        .iter()
        .map(|s| s.header())
        .collect::<Vec<_>>()
        .join(", ");
    match nearest(name, Section::ALL.iter().map(|s| s.name())) {
        Some(near) => format!("unknown table; did you mean {}?", quoted(near)),
        None => format!("unknown table; there are {sections}"),
    }
}

fn unknown_key(section: Section, name: &str) -> String {
    let elsewhere = Section::ALL
        .iter()
        .find(|s| s.keys().iter().any(|k| k.name == name));
    if let Some(other) = elsewhere {
        return format!(
            "unknown key in {}; it belongs into {}",
            section.header(),
            other.header()
        );
    }
    if let Some(near) = nearest(name, section.keys().iter().map(|k| k.name)) {
        return format!("unknown key; did you mean {}?", quoted(near));
    }
    let other = Section::ALL
        .iter()
        .find_map(|s| Some((s, nearest(name, s.keys().iter().map(|k| k.name))?)));
    match other {
        Some((other, near)) => format!(
            "unknown key; did you mean {} in {}?",
            quoted(near),
            other.header()
        ),
        None => {
            let names = section
                .keys()
                .iter()
                .map(|k| k.name)
                .collect::<Vec<_>>()
                .join(", ");
            format!("unknown key; {} has {names}", section.header())
        }
    }
}

fn with_article(kind: &str) -> String {
    let article = if kind.starts_with(['a', 'e', 'i', 'o', 'u']) {
        "an"
    } else {
        "a"
    };
    format!("{article} {kind}")
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
