//! Values in log lines and metrics, escaped: a user name can't end a line, begin another one, or speak to a terminal.

use std::fmt::Write;

use weir_core::limits::LOG_VALUE_MAX;

/// Appends `value` for a text line: as it is if it is one harmless word, else in quotes.
pub fn text(line: &mut String, value: &str) {
    let (value, cut) = shortened(value);
    let plain = |c: char| c.is_ascii_alphanumeric() || "._:/@+-,[]()".contains(c);
    if !value.is_empty() && !cut && value.chars().all(plain) {
        line.push_str(value);
        return;
    }
    line.push('"');
    for c in value.chars() {
        match c {
            c if let Some(escaped) = short(c) => line.push_str(escaped),
            c if harmful(c) => {
                let _ = write!(line, "\\u{{{:x}}}", u32::from(c));
            }
            c => line.push(c),
        }
    }
    line.push_str(if cut { "…\"" } else { "\"" });
}

/// Appends `value` as a JSON string.
pub fn json(line: &mut String, value: &str) {
    let (value, cut) = shortened(value);
    line.push('"');
    for c in value.chars() {
        match c {
            c if let Some(escaped) = short(c) => line.push_str(escaped),
            c if harmful(c) => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    let _ = write!(line, "\\u{unit:04x}");
                }
            }
            c => line.push(c),
        }
    }
    line.push_str(if cut { "…\"" } else { "\"" });
}

/// Appends `value` as a label value of the Prometheus text format, quotes included.
pub fn label(page: &mut String, value: &str) {
    page.push('"');
    for c in value.chars() {
        match c {
            '"' => page.push_str("\\\""),
            '\\' => page.push_str("\\\\"),
            '\n' => page.push_str("\\n"),
            c => page.push(c),
        }
    }
    page.push('"');
}

/// Escapes that text lines and JSON write alike.
fn short(c: char) -> Option<&'static str> {
    Some(match c {
        '"' => "\\\"",
        '\\' => "\\\\",
        '\n' => "\\n",
        '\r' => "\\r",
        '\t' => "\\t",
        _ => return None,
    })
}

/// Control characters, and those that break or turn lines where Unicode is shown.
fn harmful(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{2028}' | '\u{2029}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
        || matches!(c, '\u{e0000}'..='\u{e007f}')
}

fn shortened(value: &str) -> (&str, bool) {
    if value.len() <= LOG_VALUE_MAX {
        return (value, false);
    }
    let end = (0..=LOG_VALUE_MAX)
        .rev()
        .find(|i| value.is_char_boundary(*i))
        .unwrap_or(0);
    (value.get(..end).unwrap_or_default(), true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(escape: fn(&mut String, &str), value: &str) -> String {
        let mut line = String::new();
        escape(&mut line, value);
        line
    }

    #[test]
    fn harmless_words_stand_alone() {
        assert_eq!(with(text, "app"), "app");
        assert_eq!(with(text, "127.0.0.1:5432"), "127.0.0.1:5432");
        assert_eq!(with(text, ""), "\"\"");
        assert_eq!(with(text, "two words"), "\"two words\"");
        assert_eq!(with(text, "a=b"), "\"a=b\"");
        assert_eq!(with(text, "größe"), "\"größe\"");
    }

    #[test]
    fn nothing_gets_out_of_its_quotes_or_line() {
        let evil = "x\n2026-01-01 INFO fake\r\t\u{1b}[31m\"\\\u{2028}\u{85}\u{202e}\0";
        let line = with(text, evil);
        assert_eq!(
            line,
            r#""x\n2026-01-01 INFO fake\r\t\u{1b}[31m\"\\\u{2028}\u{85}\u{202e}\u{0}""#
        );
        let line = with(json, evil);
        assert_eq!(
            line,
            r#""x\n2026-01-01 INFO fake\r\t\u001b[31m\"\\\u2028\u0085\u202e\u0000""#
        );
        assert_eq!(with(json, "\u{e0041}"), r#""\udb40\udc41""#);
        assert_eq!(with(label, "a\"b\\c\nd"), r#""a\"b\\c\nd""#);
    }

    #[test]
    fn long_values_are_cut_at_a_character() {
        let line = with(text, &"ä".repeat(LOG_VALUE_MAX));
        assert!(
            line.len() <= LOG_VALUE_MAX + 8 && line.ends_with("…\""),
            "{}",
            line.len()
        );
    }
}
