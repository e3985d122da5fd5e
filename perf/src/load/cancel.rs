//! Requests to cancel a statement, one after the other on a thread of their own: each is a connection that says one thing and waits for its
//! end, as drivers do it.
//!
//! Source: PostgreSQL manual, "Canceling Requests in Progress".

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::run::Run;
use crate::wire;

/// The most that one request may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often the thread looks whether the run is over.
const LOOK: Duration = Duration::from_millis(100);

/// Sends what there is to cancel until the run is stopped.
pub fn send_all(run: &Run) {
    let keys = run.cancels.lock().unwrap_or_else(PoisonError::into_inner);
    while !run.stop.load(Ordering::Acquire) {
        if let Ok(key) = keys.recv_timeout(LOOK)
            && let Err(error) = send(run.spec.to, &key)
        {
            run.note_failure(&format!("a request to cancel: {error}"));
        }
    }
}

fn send(to: SocketAddr, key: &[u8]) -> std::io::Result<()> {
    let mut stream = TcpStream::connect_timeout(&to, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut request = Vec::new();
    wire::untyped(&mut request, |b| {
        b.extend_from_slice(&wire::CANCEL_REQUEST.to_be_bytes());
        b.extend_from_slice(key);
    });
    stream.write_all(&request)?;
    // The server hangs up when it has done it.
    stream.read_to_end(&mut Vec::new())?;
    Ok(())
}
