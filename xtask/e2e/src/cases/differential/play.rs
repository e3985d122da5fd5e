//! Plays a script on a connection and notes what comes, and at which step.

use std::time::Duration;

use weir_sim::client::Step;

use crate::raw::{Message, Raw};

/// A message that came while a step was played.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Seen {
    /// The step that waited for it.
    pub step: usize,
    /// The message; of type `!` with a text when the connection failed.
    pub message: Message,
}

/// The type of what stands for a failure of the connection.
pub const FAILED: u8 = b'!';

/// Plays a script; ends early when the connection fails.
pub fn play(raw: &mut Raw, script: &[Step], pauses: bool) -> Vec<Seen> {
    let mut player = Player {
        raw,
        pauses,
        step: 0,
        expected: 0,
        ready: 0,
        kinds: Vec::new(),
        seen: Vec::new(),
    };
    for (step, what) in script.iter().enumerate() {
        player.step = step;
        if let Err(error) = player.play(what) {
            // How a connection ends is the same to a client, whichever call hears of it.
            let timed_out = crate::raw::timed_out(&error);
            let text = if timed_out {
                "no answer"
            } else {
                "connection lost"
            };
            let message = Message {
                tag: FAILED,
                body: text.into(),
            };
            player.seen.push(Seen { step, message });
            break;
        }
    }
    player.seen
}

struct Player<'a> {
    raw: &'a mut Raw,
    pauses: bool,
    step: usize,
    /// ReadyForQuery messages that will come and that came.
    expected: u32,
    ready: u32,
    /// Types of messages since the last request.
    kinds: Vec<u8>,
    seen: Vec<Seen>,
}

impl Player<'_> {
    fn play(&mut self, step: &Step) -> anyhow::Result<()> {
        match step {
            Step::Send(bytes, cycles) => {
                self.expected += cycles;
                self.kinds.clear();
                self.raw.send(bytes)?;
            }
            Step::Await => {
                while self.ready < self.expected {
                    self.receive()?;
                }
            }
            Step::AwaitKind(kind) => self.wait_for(*kind)?,
            Step::CopyIn(bytes, cycles) => {
                self.wait_for(b'G')?;
                if self.kinds.contains(&b'G') {
                    self.expected += cycles;
                    self.raw.send(bytes)?;
                }
            }
            Step::Pause(most) if self.pauses => {
                std::thread::sleep(Duration::from_nanos(
                    super::super::mix(entropy()) % (most + 1),
                ));
            }
            // Dropping the connection ends it; whether with a word makes no difference to what was seen.
            Step::Leave => self.raw.send(&weir_sim::wire::terminate())?,
            Step::Pause(_) | Step::Cancel | Step::BogusCancel | Step::Vanish | Step::Reset => {}
        }
        Ok(())
    }

    /// Waits for a message of this type, or for what shows that none will come.
    fn wait_for(&mut self, kind: u8) -> anyhow::Result<()> {
        while !self.kinds.iter().any(|k| [kind, b'E', b'Z'].contains(k)) {
            self.receive()?;
        }
        Ok(())
    }

    fn receive(&mut self) -> anyhow::Result<()> {
        let message = self.raw.message()?;
        self.ready += u32::from(message.tag == b'Z');
        if !matches!(message.tag, b'A' | b'N' | b'S') {
            self.kinds.push(message.tag);
        }
        self.seen.push(Seen {
            step: self.step,
            message,
        });
        Ok(())
    }
}

/// What differs from run to run.
fn entropy() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.map_or(0, |d| d.as_nanos() as u64)
}
