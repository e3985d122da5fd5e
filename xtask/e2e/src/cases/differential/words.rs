//! Steps and messages for a person to read.

use weir_sim::client::Step;
use weir_sim::wire::split_messages;

use super::play::FAILED;
use crate::raw::Message;

const MOST: usize = 160;

/// What a step does; empty when it is of no interest.
pub fn step(step: &Step) -> String {
    match step {
        Step::Send(bytes, cycles) => format!("  > {} ({cycles})", requests(bytes)),
        Step::CopyIn(bytes, _) => format!("  > when asked: {}", requests(bytes)),
        Step::AwaitKind(kind) => format!("  (waits for {})", char::from(*kind)),
        Step::Leave => "  (leaves)".to_owned(),
        _ => String::new(),
    }
}

fn requests(bytes: &[u8]) -> String {
    let (messages, used) = split_messages(bytes);
    let mut told: Vec<String> = messages
        .iter()
        .map(|m| {
            let (tag, body) = (m.first().copied().unwrap_or_default(), m.get(5..));
            format!("{} {}", char::from(tag), text(body.unwrap_or_default()))
        })
        .collect();
    if used < bytes.len() {
        told.push("half a message".to_owned());
    }
    told.join("; ")
}

/// A message of the server.
pub fn message(message: &Message) -> String {
    match message.tag {
        b'E' | b'N' => format!("{} {}", char::from(message.tag), message.error()),
        FAILED => text(&message.body),
        tag => format!("{} {}", char::from(tag), text(&message.body)),
    }
}

fn text(bytes: &[u8]) -> String {
    let shown: String = String::from_utf8_lossy(bytes)
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(MOST)
        .collect();
    shown.split_whitespace().collect::<Vec<_>>().join(" ")
}
