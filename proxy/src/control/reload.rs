//! SIGHUP: the configuration, the password files and the certificates are read again. All of it is taken over, or none.

use std::rc::Rc;
use std::sync::Arc;

use sd_notify::NotifyState;
use tokio::signal::unix::Signal;
use tokio::task::spawn_blocking;

use super::{Control, descriptors, notify};
use crate::config::{Config, LogLevel, Problems, reload::merge};
use crate::observe::log::say_problems;

/// Reloads at every signal, for ever; signals that come during a reload are one more.
pub(super) async fn on_hang_up(control: Rc<Control>, mut hang_up: Signal) {
    while hang_up.recv().await.is_some() {
        if control.draining.get() {
            continue;
        }
        let mut state = vec![NotifyState::Reloading];
        state.extend(NotifyState::monotonic_usec_now().ok());
        notify(&control.log, &state);
        reload(&control).await;
        notify(&control.log, &[NotifyState::Ready]);
    }
}

async fn reload(control: &Control) {
    let Some(mut keep) = control.keep.take() else {
        return;
    };
    let source = control.source.clone();
    // Files may be on a slow disk, and hashes of new passwords take time.
    let loaded = spawn_blocking(move || {
        let mut problems = Problems::default();
        let config = source.load(&mut keep, &mut problems);
        (config, problems, keep)
    });
    match loaded.await {
        Ok((config, problems, keep)) => {
            *control.keep.borrow_mut() = Some(keep);
            take_over(control, config, &problems);
        }
        Err(error) => refuse(control, &error.to_string()),
    }
}

fn take_over(control: &Control, config: Option<Config>, problems: &Problems) {
    say_problems(
        &control.log,
        LogLevel::Warn,
        "config_warning",
        &problems.warnings,
    );
    let Some(config) = config else {
        say_problems(
            &control.log,
            LogLevel::Error,
            "config_error",
            &problems.errors,
        );
        return refuse(
            control,
            &format!("the configuration has {} errors", problems.errors.len()),
        );
    };
    let (merged, notes) = merge(&control.config.borrow(), config);
    if let Err(error) = descriptors(&merged) {
        return refuse(control, &error);
    }
    for note in &notes {
        control.log.say_all(
            LogLevel::Warn,
            "config_needs_restart",
            &[("reason", note.into())],
        );
    }
    control
        .log
        .set(merged.process.log_format, merged.process.log_level);
    control
        .running
        .reload(Arc::new(merged.settings.clone()), merged.tls.clone());
    let generation = merged.settings.generation;
    *control.config.borrow_mut() = merged;
    control.log.say_all(
        LogLevel::Info,
        "reloaded",
        &[("generation", generation.into())],
    );
}

fn refuse(control: &Control, reason: &str) {
    control
        .reload_failures
        .set(control.reload_failures.get() + 1);
    let text = format!("{reason}; the configuration in force stays");
    control.log.say_all(
        LogLevel::Error,
        "reload_refused",
        &[("reason", (&text).into())],
    );
}
