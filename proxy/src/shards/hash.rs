//! Password hashes away from the shards: PBKDF2 takes milliseconds, which no query should wait for.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use weir_core::ids::ConnId;
use weir_core::seam::HashJob;

use super::mailbox::{Letter, Mailbox};

/// A hash to compute, and where the result goes.
pub(crate) struct Request<B> {
    pub(crate) conn: ConnId,
    pub(crate) job: HashJob,
    pub(crate) answer_to: Arc<Mailbox<B>>,
}

/// Starts the thread; it ends when all senders are gone.
pub(crate) fn start<B: Send + 'static>() -> std::io::Result<Sender<Request<B>>> {
    let (sender, receiver) = channel();
    std::thread::Builder::new()
        .name("weir-hash".to_owned())
        .spawn(move || work(&receiver))?;
    Ok(sender)
}

fn work<B>(requests: &Receiver<Request<B>>) {
    while let Ok(Request {
        conn,
        job,
        answer_to,
    }) = requests.recv()
    {
        let salted_password = job.run();
        answer_to.put(Letter::Hashed {
            conn,
            salted_password,
        });
    }
}
