//! Numbers as people read them: three significant digits, units that fit.

/// Three significant digits, thousands grouped; `–` for what is no number.
pub fn number(value: f64) -> String {
    if !value.is_finite() {
        return "–".into();
    }
    let size = value.abs();
    let digits = match size {
        s if s >= 99.95 => 0,
        s if s >= 9.995 => 1,
        _ => 2,
    };
    let text = format!("{value:.digits$}");
    if size >= 999.5 { grouped(&text) } else { text }
}

fn grouped(text: &str) -> String {
    let (sign, digits) = text
        .strip_prefix('-')
        .map_or(("", text), |rest| ("-", rest));
    let mut out = String::from(sign);
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(c);
    }
    out
}

/// A time of so many microseconds, in the unit that fits.
pub fn time(us: f64) -> String {
    match us {
        us if us >= 999_500.0 => format!("{} s", number(us / 1e6)),
        us if us >= 999.5 => format!("{} ms", number(us / 1e3)),
        us => format!("{} µs", number(us)),
    }
}

/// The same for an axis, where values are round.
pub fn tick_time(us: f64) -> String {
    let plain = |v: f64, unit: &str| {
        if v >= 1.0 {
            format!("{v:.0} {unit}")
        } else {
            format!("{v} {unit}")
        }
    };
    match us {
        us if us >= 1e6 => plain(us / 1e6, "s"),
        us if us >= 1e3 => plain(us / 1e3, "ms"),
        us => plain(us, "µs"),
    }
}

/// A round number for an axis.
pub fn tick_number(value: f64) -> String {
    if value.abs() >= 1000.0 {
        grouped(&format!("{value:.0}"))
    } else if (value - value.round()).abs() < 1e-9 {
        format!("{value:.0}")
    } else {
        format!("{value:.2}").trim_end_matches('0').to_owned()
    }
}

/// A change as a signed percentage.
pub fn change(ratio: f64) -> String {
    if !ratio.is_finite() {
        return "–".into();
    }
    let percent = (ratio - 1.0) * 100.0;
    if percent.abs() >= 99.95 {
        format!("{percent:+.0} %")
    } else {
        format!("{percent:+.1} %")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_three_digits() {
        let cases = [
            (0.0, "0.00"),
            (0.834, "0.83"),
            (12.34, "12.3"),
            (99.96, "100"),
            (123.4, "123"),
            (999.6, "1,000"),
            (81_234.5, "81,234"),
            (1_234_567.0, "1,234,567"),
            (-1234.0, "-1,234"),
            (f64::NAN, "–"),
        ];
        for (value, text) in cases {
            assert_eq!(number(value), text);
        }
    }

    #[test]
    fn times_take_their_unit() {
        assert_eq!(time(46.2), "46.2 µs");
        assert_eq!(time(999.6), "1.00 ms");
        assert_eq!(time(1_500_000.0), "1.50 s");
        assert_eq!(tick_time(0.5), "0.5 µs");
        assert_eq!(tick_time(20_000.0), "20 ms");
        assert_eq!(change(0.9), "-10.0 %");
        assert_eq!(change(3.0), "+200 %");
    }
}
