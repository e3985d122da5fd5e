//! Rules on Rust files one by one: lengths, opening docs, where `unsafe` may stand.

use syn::spanned::Spanned;
use syn::visit::{self, Visit};

use super::Source;
use super::config::Config;

/// Checks every Rust file (and the length of scripts).
pub fn check(sources: &[Source], config: &Config, breaches: &mut Vec<String>) {
    for source in sources {
        let script = source.path.ends_with(".py") || source.path.ends_with(".js");
        if source.is_rust() || script {
            file_length(source, config, breaches);
        }
        if source.is_rust() {
            rust(source, config, breaches);
        }
    }
}

fn file_length(source: &Source, config: &Config, breaches: &mut Vec<String>) {
    let lines = source.text.lines().count();
    if lines > config.file_lines && !config.excepts("file_lines", &source.path, "") {
        breaches.push(format!(
            "{}: {lines} lines, at most {}",
            source.path, config.file_lines
        ));
    }
}

fn rust(source: &Source, config: &Config, breaches: &mut Vec<String>) {
    let file = match syn::parse_file(&source.text) {
        Ok(file) => file,
        Err(error) => return breaches.push(format!("{}: can't be parsed: {error}", source.path)),
    };
    if !has_opening_docs(&source.text) {
        breaches.push(format!("{}: no `//!` docs at its start", source.path));
    }
    let mut walk = Walk {
        source,
        config,
        breaches,
    };
    walk.visit_file(&file);
}

fn has_opening_docs(text: &str) -> bool {
    text.lines()
        .find(|line| !line.trim().is_empty())
        .is_some_and(|line| line.starts_with("//!"))
}

struct Walk<'a> {
    source: &'a Source,
    config: &'a Config,
    breaches: &'a mut Vec<String>,
}

impl Walk<'_> {
    fn function(&mut self, name: &syn::Ident, start: proc_macro2::Span, block: &syn::Block) {
        let lines = block.span().end().line + 1 - start.start().line;
        let name = name.to_string();
        if lines > self.config.function_lines
            && !self
                .config
                .excepts("function_lines", &self.source.path, &name)
        {
            let most = self.config.function_lines;
            self.breaches.push(format!(
                "{}:{}: fn {name} has {lines} lines, at most {most}",
                self.source.path,
                start.start().line
            ));
        }
    }

    fn unsafe_at(&mut self, line: usize) {
        let path = &self.source.path;
        let allowed = self
            .config
            .unsafe_places
            .iter()
            .any(|p| path == p || (p.ends_with('/') && path.starts_with(p)));
        if !allowed {
            self.breaches.push(format!(
                "{path}:{line}: unsafe outside its places (xtask/tidy.toml, unsafe_places)"
            ));
        }
    }
}

impl<'ast> Visit<'ast> for Walk<'_> {
    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.function(&item.sig.ident, item.sig.span(), &item.block);
        visit::visit_item_fn(self, item);
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.function(&item.sig.ident, item.sig.span(), &item.block);
        visit::visit_impl_item_fn(self, item);
    }

    fn visit_trait_item_fn(&mut self, item: &'ast syn::TraitItemFn) {
        if let Some(block) = &item.default {
            self.function(&item.sig.ident, item.sig.span(), block);
        }
        visit::visit_trait_item_fn(self, item);
    }

    fn visit_signature(&mut self, signature: &'ast syn::Signature) {
        if let Some(word) = &signature.unsafety {
            self.unsafe_at(word.span.start().line);
        }
        visit::visit_signature(self, signature);
    }

    fn visit_expr_unsafe(&mut self, block: &'ast syn::ExprUnsafe) {
        self.unsafe_at(block.unsafe_token.span.start().line);
        visit::visit_expr_unsafe(self, block);
    }

    fn visit_item_impl(&mut self, item: &'ast syn::ItemImpl) {
        if let Some(word) = &item.unsafety {
            self.unsafe_at(word.span.start().line);
        }
        visit::visit_item_impl(self, item);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn breaches(path: &str, text: &str) -> Vec<String> {
        let config = Config::for_tests(3, 8);
        let mut breaches = Vec::new();
        check(
            &[Source {
                path: path.to_owned(),
                text: text.to_owned(),
            }],
            &config,
            &mut breaches,
        );
        breaches
    }

    #[test]
    fn lengths_are_bounded() {
        assert!(breaches("a.rs", "//! Docs.\nfn f() {\n    g();\n}\n").is_empty());
        assert!(
            breaches("a.rs", "//! Docs.\nfn f() {\n    g();\n    g();\n}\n")[0]
                .contains("fn f has 4 lines")
        );
        assert!(breaches("a.py", &"x\n".repeat(9))[0].contains("9 lines"));
        assert!(breaches("a.md", &"x\n".repeat(9)).is_empty());
    }

    #[test]
    fn docs_come_first() {
        assert!(breaches("a.rs", "fn f() {}\n")[0].contains("docs"));
    }

    #[test]
    fn unsafe_stands_only_where_it_may() {
        let text = "//! Docs.\nfn f() {\n    unsafe { g() }\n}\n";
        assert!(breaches("a.rs", text)[0].starts_with("a.rs:3: unsafe"));
        assert!(breaches("ring/a.rs", text).is_empty());
        assert_eq!(
            breaches(
                "a.rs",
                "//! Docs.\nunsafe impl Send for X {}\nunsafe fn f() {}\n"
            )
            .len(),
            2
        );
    }
}
