//! Percentile curves of several rounds brought onto one grid: the median curve and the band between rounds.

use super::plot::{Axis, Scale, Series};
use crate::model::Curve;

/// One point for each: the quantile's place on the axis is 1/(1-q), so each nine takes the same width.
const STEPS_PER_NINE: f64 = 16.0;

/// A subject's curve over its rounds; `None` when no round has one.
pub fn series(name: &str, class: &str, rounds: &[&Curve]) -> Option<Series> {
    let lines: Vec<Vec<(f64, f64)>> = rounds
        .iter()
        .map(|c| nines(c))
        .filter(|l| l.len() >= 2)
        .collect();
    let ends = lines.iter().filter_map(|l| Some(l.last()?.0));
    let end = ends.min_by(f64::total_cmp)?;
    let steps = (end * STEPS_PER_NINE).floor() as u32;
    let grid = (0..=steps)
        .map(|s| f64::from(s) / STEPS_PER_NINE)
        .chain([end]);
    let (mut points, mut band) = (Vec::new(), Vec::new());
    for x in grid {
        let mut values: Vec<f64> = lines.iter().filter_map(|l| value_at(l, x)).collect();
        values.sort_by(f64::total_cmp);
        let (Some(low), Some(high)) = (values.first(), values.last()) else {
            continue;
        };
        let place = 10_f64.powf(x);
        let middle = (values[(values.len() - 1) / 2] + values[values.len() / 2]) / 2.0;
        points.push((place, middle));
        if values.len() > 1 {
            band.push((place, *low, *high));
        }
    }
    Some(Series {
        name: name.to_owned(),
        class: class.to_owned(),
        points,
        band,
    })
}

/// (number of nines, microseconds), rising; the largest value stands where one in `count` is.
fn nines(curve: &Curve) -> Vec<(f64, f64)> {
    if curve.count == 0 {
        return Vec::new();
    }
    let last = (curve.count as f64).log10().max(0.0);
    let mut line: Vec<(f64, f64)> = Vec::new();
    for (quantile, value) in &curve.points {
        let x = -(1.0 - quantile).log10();
        if *quantile < 1.0 && x < last && line.last().is_none_or(|l| l.0 < x) {
            line.push((x, *value));
        }
    }
    if line.last().is_none_or(|l| l.0 < last) {
        line.push((last, curve.max));
    }
    line
}

fn value_at(line: &[(f64, f64)], x: f64) -> Option<f64> {
    let after = line.iter().position(|p| p.0 >= x)?;
    let (x1, y1) = *line.get(after)?;
    let Some((x0, y0)) = after.checked_sub(1).and_then(|i| line.get(i)).copied() else {
        return Some(y1);
    };
    Some(y0 + (y1 - y0) * (x - x0) / (x1 - x0))
}

/// The axis of 1/(1-q): as far as the longest curve goes.
pub fn quantile_axis(series: &[Series]) -> Option<Axis> {
    let ends = series.iter().filter_map(|s| Some(s.points.last()?.0));
    let end = ends.max_by(f64::total_cmp)?.max(100.0);
    let names = [
        "0", "90", "99", "99.9", "99.99", "99.999", "99.9999", "99.99999",
    ];
    let mut ticks: Vec<(f64, String)> = names
        .iter()
        .zip(0..)
        .map(|(name, nines)| (10_f64.powi(nines), (*name).to_owned()))
        .collect();
    ticks.insert(1, (2.0, "50".to_owned()));
    ticks.retain(|(x, _)| *x <= end);
    Some(Axis {
        title: "percentile".to_owned(),
        scale: Scale::Log,
        range: (1.0, end),
        ticks,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixture;

    #[test]
    fn the_median_curve_runs_between_the_rounds() {
        let rounds: Vec<Curve> = (0..3).map(|r| fixture::curve(100.0, 10_000, r)).collect();
        let one = series("weir", "c1", &rounds.iter().collect::<Vec<_>>()).unwrap();
        assert_eq!(one.points.len(), one.band.len());
        let last = one.points.last().unwrap();
        assert!((last.0 - 10_000.0).abs() < 1.0, "{last:?}");
        assert!((last.1 - rounds[1].max).abs() < 1e-6);
        for (point, band) in one.points.iter().zip(&one.band) {
            assert!(band.1 <= point.1 && point.1 <= band.2);
        }
        assert!(
            one.points
                .windows(2)
                .all(|w| w[0].0 < w[1].0 + 1e-9 && w[0].1 <= w[1].1)
        );
        let axis = quantile_axis(&[one]).unwrap();
        assert_eq!(axis.ticks.len(), 6);
    }

    #[test]
    fn a_real_histogram_ends_at_its_largest_value() {
        let mut h = hdrhistogram::Histogram::<u64>::new(3).unwrap();
        for i in 1..=1000_u64 {
            h.record(i * 1000).unwrap();
        }
        let line = nines(&Curve::of(&h));
        let last = line.last().unwrap();
        assert!(
            (last.0 - 3.0).abs() < 1e-9 && (last.1 - 1000.0).abs() < 1.0,
            "{last:?}"
        );
        assert!((value_at(&line, 1.0).unwrap() - 900.0).abs() < 20.0);
        assert!(series("none", "c1", &[&Curve::default()]).is_none());
    }
}
