//! No two modules import each other.
//!
//! Compared are modules with the same parent, each with everything below it: if anything in room A names something in
//! room B, nothing in B may name anything in A. A module and its own children are one room. Code for tests is left out.

use std::collections::{BTreeMap, BTreeSet};

use syn::visit::{self, Visit};

use super::Source;
use super::config::Config;

/// A module's path in its crate; the crate's root is empty.
type Module = Vec<String>;

/// Checks every crate: a folder `src` and the modules below it.
pub fn check(sources: &[Source], config: &Config, breaches: &mut Vec<String>) {
    let mut crates: BTreeMap<&str, BTreeMap<Module, &Source>> = BTreeMap::new();
    for source in sources.iter().filter(|s| s.is_rust()) {
        if let Some((home, rest)) = source.path.split_once("src/") {
            crates
                .entry(home)
                .or_default()
                .insert(module_of(rest), source);
        }
    }
    for modules in crates.values() {
        check_crate(modules, config, breaches);
    }
}

fn check_crate(modules: &BTreeMap<Module, &Source>, config: &Config, breaches: &mut Vec<String>) {
    let mut arrows: BTreeMap<(Module, Module), (String, String)> = BTreeMap::new();
    for (module, source) in modules {
        for (used, words) in uses(module, source, modules) {
            if let Some(arrow) = siblings(module, &used) {
                arrows
                    .entry(arrow)
                    .or_insert_with(|| (source.path.clone(), words));
            }
        }
    }
    for ((from, to), (file, words)) in &arrows {
        let Some((other_file, other_words)) = arrows.get(&(to.clone(), from.clone())) else {
            continue;
        };
        let (name, other) = (from.join("::"), to.join("::"));
        if from < to
            && !config.excepts("imports", file, &other)
            && !config.excepts("imports", other_file, &name)
        {
            breaches.push(format!(
                "{name} and {other} import each other: {file} names {words}, {other_file} names {other_words}"
            ));
        }
    }
}

/// `a/b/mod.rs` and `a/b.rs` are the module a::b; `lib.rs` and `main.rs` are the root.
fn module_of(path: &str) -> Module {
    let mut parts: Module = path
        .trim_end_matches(".rs")
        .split('/')
        .map(str::to_owned)
        .collect();
    if parts
        .last()
        .is_some_and(|p| ["mod", "lib", "main"].contains(&p.as_str()))
    {
        parts.pop();
    }
    parts
}

/// The two rooms that an import goes between, or nothing if one holds the other.
fn siblings(from: &Module, to: &Module) -> Option<(Module, Module)> {
    let common = from.iter().zip(to).take_while(|(a, b)| a == b).count();
    let room = |module: &Module| module.get(..=common).map(<[String]>::to_vec);
    Some((room(from)?, room(to)?))
}

/// The modules that a file names, each with the words it used.
fn uses(
    module: &Module,
    source: &Source,
    modules: &BTreeMap<Module, &Source>,
) -> Vec<(Module, String)> {
    let Ok(file) = syn::parse_file(&source.text) else {
        return Vec::new();
    };
    if module.last().is_some_and(|name| name == "tests") {
        return Vec::new();
    }
    let mut walk = Walk {
        here: module.clone(),
        paths: BTreeSet::new(),
    };
    walk.visit_file(&file);
    let mut found = Vec::new();
    for path in walk.paths {
        let longest = (1..=path.len())
            .rev()
            .filter_map(|n| path.get(..n))
            .find(|p| modules.contains_key(*p));
        if let Some(used) = longest.filter(|used| *used != module.as_slice()) {
            found.push((used.to_vec(), path.join("::")));
        }
    }
    found
}

struct Walk {
    here: Module,
    paths: BTreeSet<Vec<String>>,
}

impl Walk {
    /// Resolves `crate::…`, `super::…`, `self::…`; other paths only if `bare` says that they may be a child module.
    fn resolve(&mut self, words: &[String], bare: bool) {
        let mut at = self.here.clone();
        let mut rest = words;
        match words.first().map(String::as_str) {
            Some("crate") => {
                at.clear();
                rest = words.get(1..).unwrap_or_default();
            }
            Some("self" | "super") => {
                while let Some(word @ ("self" | "super")) = rest.first().map(String::as_str) {
                    if word == "super" {
                        at.pop();
                    }
                    rest = rest.get(1..).unwrap_or_default();
                }
            }
            _ if !bare => return,
            _ => {}
        }
        at.extend(rest.iter().cloned());
        self.paths.insert(at);
    }

    fn tree(&mut self, lead: &[String], tree: &syn::UseTree) {
        let with = |word: String| lead.iter().cloned().chain([word]).collect::<Vec<_>>();
        match tree {
            syn::UseTree::Path(path) => self.tree(&with(path.ident.to_string()), &path.tree),
            syn::UseTree::Name(name) => self.resolve(&with(name.ident.to_string()), true),
            syn::UseTree::Rename(rename) => self.resolve(&with(rename.ident.to_string()), true),
            syn::UseTree::Glob(_) => self.resolve(lead, true),
            syn::UseTree::Group(group) => group.items.iter().for_each(|tree| self.tree(lead, tree)),
        }
    }
}

fn for_tests_only(attributes: &[syn::Attribute]) -> bool {
    let test = |a: &syn::Attribute| a.path().is_ident("cfg") && quote(&a.meta).contains("test");
    attributes.iter().any(test)
}

fn quote(meta: &syn::Meta) -> String {
    match meta {
        syn::Meta::List(list) => list.tokens.to_string(),
        _ => String::new(),
    }
}

impl<'ast> Visit<'ast> for Walk {
    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        if item.content.is_none() || for_tests_only(&item.attrs) {
            return;
        }
        self.here.push(item.ident.to_string());
        visit::visit_item_mod(self, item);
        self.here.pop();
    }

    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        if !for_tests_only(&item.attrs) {
            visit::visit_item_fn(self, item);
        }
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        if !for_tests_only(&item.attrs) {
            self.tree(&[], &item.tree);
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let words: Vec<String> = path.segments.iter().map(|s| s.ident.to_string()).collect();
        self.resolve(&words, false);
        visit::visit_path(self, path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn breaches(files: &[(&str, &str)]) -> Vec<String> {
        let source = |(path, text): &(&str, &str)| Source {
            path: (*path).to_owned(),
            text: (*text).to_owned(),
        };
        let sources: Vec<Source> = files.iter().map(source).collect();
        let mut breaches = Vec::new();
        check(&sources, &Config::for_tests(70, 500), &mut breaches);
        breaches
    }

    #[test]
    fn one_way_is_fine() {
        let files = [
            ("x/src/lib.rs", ""),
            ("x/src/a.rs", "use crate::b::T;"),
            ("x/src/b/mod.rs", "use super::c;"),
            ("x/src/c.rs", ""),
        ];
        assert!(breaches(&files).is_empty());
    }

    #[test]
    fn both_ways_is_a_breach_at_any_depth() {
        let files = [
            ("x/src/a/deep.rs", "use crate::b::T;"),
            ("x/src/a/mod.rs", ""),
            ("x/src/b.rs", "fn f(x: crate::a::deep::U) {}"),
        ];
        assert!(breaches(&files)[0].starts_with("a and b import each other"));
        let files = [
            ("x/src/a.rs", "use super::{c, b::{T, U}};"),
            ("x/src/b.rs", "fn f() { super::a::g() }"),
            ("x/src/c.rs", ""),
        ];
        assert_eq!(breaches(&files).len(), 1);
    }

    #[test]
    fn parents_children_and_tests_are_not_counted() {
        let files = [
            ("x/src/a/mod.rs", "mod b; use b::T;"),
            ("x/src/a/b.rs", "use super::U;"),
        ];
        assert!(breaches(&files).is_empty());
        let files = [
            ("x/src/a.rs", "use crate::b::T;"),
            ("x/src/b.rs", "#[cfg(test)] mod tests { use crate::a::T; }"),
        ];
        assert!(breaches(&files).is_empty());
    }
}
