//! What a backend may say while nobody has it: notices, parameter changes, and that it is going away.

use super::frames::Frames;
use super::messages::{self, ErrorFields};

/// What was heard.
#[derive(Debug, PartialEq, Eq, Clone)]
pub enum Heard {
    /// Nothing that matters.
    Nothing,
    /// The server ends the session, or says what no idle server says: close it. The text is for the operator.
    Ending(String),
}

/// The listener of one idle backend.
#[derive(Default)]
pub struct Quiet {
    frames: Frames,
}

impl Quiet {
    /// Reads what an idle backend says. `on_parameter` hears of reported parameters.
    pub fn feed(&mut self, bytes: &[u8], on_parameter: &mut dyn FnMut(&[u8], &[u8])) -> Heard {
        let mut heard = Heard::Nothing;
        let fed = self.frames.feed(bytes, |kind, body| {
            match kind {
                b'N' | b'A' => {}
                b'S' => {
                    if let Some((name, value)) = messages::parse_parameter_status(body) {
                        on_parameter(name, value);
                    }
                }
                b'E' => heard = Heard::Ending(ErrorFields::parse(body).summary()),
                other => {
                    heard = Heard::Ending(format!(
                        "unexpected message {:?} from an idle server",
                        char::from(other)
                    ))
                }
            }
            heard == Heard::Nothing
        });
        match fed {
            Ok(()) => heard,
            Err(_) => Heard::Ending("malformed message from an idle server".to_owned()),
        }
    }

    /// Whether the backend stands between two messages, so that it can be lent.
    #[must_use]
    pub fn at_boundary(&self) -> bool {
        self.frames.at_boundary()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notice_is_nothing_and_an_error_is_the_end() {
        let mut q = Quiet::default();
        assert_eq!(q.feed(b"N\0\0\0\x05\0", &mut |_, _| {}), Heard::Nothing);
        assert!(q.at_boundary());
        let bye = b"E\0\0\0\x1fSFATAL\0VFATAL\0C57P01\0Mbye\0\0";
        assert!(
            matches!(q.feed(bye, &mut |_, _| {}), Heard::Ending(text) if text.contains("57P01"))
        );
    }

    #[test]
    fn an_answer_nobody_asked_for_is_the_end() {
        assert!(matches!(
            Quiet::default().feed(b"Z\0\0\0\x05I", &mut |_, _| {}),
            Heard::Ending(_)
        ));
    }
}
