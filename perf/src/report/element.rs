//! HTML and SVG elements as values: text and attributes are escaped here and nowhere else, so nothing can be forgotten.

use std::fmt::{Display, Write};

/// An element with attributes and children.
#[derive(Clone, Debug)]
pub struct Element {
    tag: &'static str,
    attributes: String,
    inside: String,
}

/// An element without anything in it.
pub fn el(tag: &'static str) -> Element {
    Element {
        tag,
        attributes: String::new(),
        inside: String::new(),
    }
}

impl Element {
    /// Adds an attribute.
    pub fn attr(mut self, name: &'static str, value: impl Display) -> Element {
        let value = escape(&value.to_string());
        let _ = write!(self.attributes, " {name}=\"{value}\"");
        self
    }

    /// Adds a coordinate or a length, in hundredths at most.
    pub fn at(self, name: &'static str, value: f64) -> Element {
        let value = if value.is_finite() { value } else { 0.0 };
        self.attr(name, (value * 100.0).round() / 100.0)
    }

    /// Adds `class`.
    pub fn class(self, name: &str) -> Element {
        self.attr("class", name)
    }

    /// Adds text.
    pub fn text(mut self, text: impl Display) -> Element {
        self.inside.push_str(&escape(&text.to_string()));
        self
    }

    /// Adds a style sheet or a script: only what is part of this program can be added as it is.
    pub fn raw(mut self, text: &'static str) -> Element {
        self.inside.push_str(text);
        self
    }

    /// Adds a child.
    pub fn add(mut self, child: Element) -> Element {
        child.render(&mut self.inside);
        self
    }

    /// Adds children.
    pub fn all(self, children: impl IntoIterator<Item = Element>) -> Element {
        children.into_iter().fold(self, Element::add)
    }

    fn render(&self, out: &mut String) {
        let (tag, attributes) = (self.tag, &self.attributes);
        let _ = if matches!(tag, "meta" | "br" | "wbr") {
            write!(out, "<{tag}{attributes}>")
        } else {
            write!(out, "<{tag}{attributes}>{}</{tag}>", self.inside)
        };
    }
}

impl Display for Element {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut out = String::new();
        self.render(&mut out);
        f.write_str(&out)
    }
}

/// Text that can stand between tags and in quoted attributes.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c if c.is_control() && !matches!(c, '\n' | '\t') => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_attributes_cannot_leave_their_place() {
        let nasty = "</td><script>alert(\"1\")</script>'&\u{1b}[0m";
        let element = el("td").attr("title", nasty).text(nasty);
        let inside =
            "&lt;/td&gt;&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt;&#39;&amp;\u{fffd}[0m";
        assert_eq!(
            element.to_string(),
            format!("<td title=\"{inside}\">{inside}</td>")
        );
    }

    #[test]
    fn children_stay_as_they_are() {
        let list = el("ul").all(["a", "<b>"].map(|t| el("li").text(t)));
        assert_eq!(list.to_string(), "<ul><li>a</li><li>&lt;b&gt;</li></ul>");
        assert_eq!(
            el("meta").attr("charset", "utf-8").to_string(),
            "<meta charset=\"utf-8\">"
        );
        assert_eq!(
            el("rect").at("x", 1.23456).at("y", f64::NAN).to_string(),
            "<rect x=\"1.23\" y=\"0\"></rect>"
        );
    }
}
