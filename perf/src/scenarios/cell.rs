//! One cell: start a subject, send it the load, watch what it costs, stop it.

use std::time::Duration;

use anyhow::{Context, Result};

use super::plan::{Aim, Shape, Variant};
use super::progress::Progress;
use super::stage::Stage;
use crate::load;
use crate::model::{Cell, Load};
use crate::sample::{Calls, Meter};
use crate::subjects::Kind;

/// How long the clients beside a storm are measured before it.
const SIDE_LEAD: Duration = Duration::from_millis(500);

/// Measures one subject in one variant; gives its cell, and that of the clients beside it if there are any.
///
/// # Errors
/// When the subject or the generator fails.
pub fn measure(
    stage: &Stage,
    variant: &Variant,
    kind: Kind,
    round: u32,
    count_calls: bool,
    progress: &mut Progress,
) -> Result<Vec<Cell>> {
    let (front, aim) = stage.front(kind, variant)?;
    // What a program does at its start, warm connections among it, is not the load's.
    std::thread::sleep(Duration::from_millis(100));
    let mut meter = front.pid().map(Meter::new);
    let (main, side) = both(variant, &aim, &mut |moment| {
        if let Some(meter) = meter.as_mut() {
            meter.at(moment);
        }
        progress.at(moment);
    })?;
    let mut usage = meter.and_then(|meter| meter.usage(&main, variant.unit));
    if let (true, Some(pid), Some(usage)) = (count_calls && variant.calls, front.pid(), &mut usage)
    {
        usage.system_calls_per_query = Some(calls(variant, &aim, pid)?);
    }
    front.stop()?;
    let cell = |name: &str, load, usage| Cell {
        subject: kind.name().to_owned(),
        variant: name.to_owned(),
        round,
        load,
        usage,
    };
    let mut cells = vec![cell(&variant.name, main, usage)];
    if let (Some((name, _)), Some(load)) = (&variant.side, side) {
        cells.push(cell(name, load, None));
    }
    Ok(cells)
}

/// Sends a variant's load to the server itself, unwatched.
///
/// # Errors
/// When the server does not come up, or the generator fails.
pub fn probe(stage: &mut Stage, variant: &Variant) -> Result<Load> {
    stage.prepare(variant.behind)?;
    let (front, aim) = stage.front(Kind::Direct, variant)?;
    let load = load::run(&variant.shape.spec(&aim), &mut |_| {})?;
    front.stop()?;
    Ok(load)
}

type Watch<'a> = &'a mut dyn FnMut(load::Moment);

/// The variant's load, and the clients beside it at the same time.
fn both(variant: &Variant, aim: &Aim, watch: Watch<'_>) -> Result<(Load, Option<Load>)> {
    let spec = variant.shape.spec(aim);
    let Some((_, beside)) = &variant.side else {
        return Ok((load::run(&spec, watch)?, None));
    };
    let around = Shape {
        duration: beside.duration + SIDE_LEAD,
        ..beside.clone()
    };
    let beside = around.spec(aim);
    std::thread::scope(|scope| {
        let (ready, started) = std::sync::mpsc::channel();
        let side = scope.spawn(move || {
            load::run(&beside, &mut |moment| {
                if moment == load::Moment::Measuring {
                    let _ = ready.send(());
                }
            })
        });
        // When the other load fails before it measures, its own error is what matters; it comes with the join.
        if started.recv().is_ok() {
            std::thread::sleep(SIDE_LEAD);
        }
        let main = load::run(&spec, watch);
        let side = side
            .join()
            .map_err(|_| anyhow::anyhow!("the load beside it panicked"))?
            .context("the clients beside it")?;
        Ok((main?, Some(side)))
    })
}

/// System calls per query (per client in a storm), in a load of its own.
fn calls(variant: &Variant, aim: &Aim, pid: u32) -> Result<f64> {
    let mut calls = Calls::attach(pid)?;
    let spec = variant.counting().spec(aim);
    let load = load::run(&spec, &mut |moment| calls.at(moment))?;
    let count = variant.unit.count(&load).max(1);
    Ok(calls.finish()? as f64 / count as f64)
}
