//! From a configuration's source to a running weir, and its end.

use std::time::Duration;

use crate::config::{Config, Keep, LogLevel, Problem, Problems, Source};
use crate::control::{self, descriptors};
use crate::observe::log::{Log, say_problems};
use crate::sys;

/// How long the last log lines may take.
const LAST_LINES: Duration = Duration::from_secs(2);

/// Runs until it is told to stop.
///
/// # Errors
/// Every line that the operator is to read.
pub fn run(source: Source) -> Result<(), Vec<String>> {
    abort_on_panic();
    sys::keep_memory_private().map_err(|e| vec![format!("can't switch core dumps off: {e}")])?;
    let (config, keep, warnings) = load(&source)?;
    descriptors(&config).map_err(|e| vec![e])?;
    let log = Log::start(config.process.log_format, config.process.log_level)
        .map_err(|e| vec![format!("can't start the log's thread: {e}")])?;
    say_problems(&log, LogLevel::Warn, "config_warning", &warnings);
    let setup = control::Setup {
        config,
        source,
        keep,
        log: log.clone(),
    };
    let ended = control::run(setup);
    if let Err(error) = &ended {
        log.say_all(LogLevel::Error, "start_failed", &[("reason", error.into())]);
    }
    log.flush(LAST_LINES);
    // The reason has been logged.
    ended.map_err(|_| Vec::new())
}

fn load(source: &Source) -> Result<(Config, Keep, Vec<Problem>), Vec<String>> {
    let mut keep = Keep::new().map_err(|e| vec![e.to_string()])?;
    let mut problems = Problems::default();
    match source.load(&mut keep, &mut problems) {
        Some(config) => Ok((config, keep, problems.warnings)),
        None => Err(problems.errors.iter().map(ToString::to_string).collect()),
    }
}

/// A weir of which one thread has died would serve some clients and leave others hanging: better none, so that the
/// service manager starts it again.
fn abort_on_panic() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        report(panic);
        eprintln!(
            "weir: this is a defect of weir; the process ends so that it is not left half dead"
        );
        std::process::abort();
    }));
}
