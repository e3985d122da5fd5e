//! Words that do not belong in the repository: paths of somebody's machine, hosts of package registries, tools that a
//! change was made with.
//!
//! The words are spelled in pieces here, so that this file passes its own check.

use super::Source;

const FORBIDDEN: &[(&str, &str)] = &[
    (concat!("/wo", "rk/"), "a path of one machine"),
    (concat!("/ro", "ot/"), "a path of one machine"),
    (concat!("/ho", "me/"), "a path of one machine"),
    (concat!("registry.", "npmjs"), "a registry's host"),
    (concat!("py", "pi.org"), "a registry's host"),
    (concat!("pythonho", "sted"), "a registry's host"),
    (concat!("deb.deb", "ian.org"), "a registry's host"),
    (concat!("static.cra", "tes.io"), "a registry's host"),
    (concat!("index.cra", "tes.io"), "a registry's host"),
    (concat!("cla", "ude"), "a tool, not the project"),
    (concat!("anth", "ropic"), "a tool, not the project"),
    (concat!("chat", "gpt"), "a tool, not the project"),
    (concat!("copi", "lot"), "a tool, not the project"),
    (concat!("issues ", "show"), "a tool, not the project"),
    (concat!("brief", ".md"), "a note of one day"),
];

/// Files that a tool writes, or that must name what others may not.
const EXEMPT: &[&str] = &["Cargo.lock"];

/// Checks every text file.
pub fn check(sources: &[Source], breaches: &mut Vec<String>) {
    for source in sources {
        let name = source.path.rsplit('/').next().unwrap_or_default();
        if EXEMPT.contains(&name) {
            continue;
        }
        for (number, line) in source.text.lines().enumerate() {
            let lower = line.to_lowercase();
            if let Some((word, why)) = FORBIDDEN.iter().find(|(word, _)| lower.contains(word)) {
                breaches.push(format!("{}:{}: {word:?} is {why}", source.path, number + 1));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_found_in_any_case() {
        let text = format!("fine\nsee {}x\n", FORBIDDEN[0].0.to_uppercase());
        let mut breaches = Vec::new();
        check(
            &[Source {
                path: "a.md".to_owned(),
                text: text.clone(),
            }],
            &mut breaches,
        );
        assert!(breaches[0].starts_with("a.md:2:"));
        breaches.clear();
        check(
            &[Source {
                path: "x/Cargo.lock".to_owned(),
                text,
            }],
            &mut breaches,
        );
        assert!(breaches.is_empty());
    }
}
