//! COPY in: data comes, and Sync and Flush mean nothing until it ends.

use super::Shared;
use super::parts::Failure;
use super::session::Session;
use crate::wire;

impl Session {
    pub(super) fn copy_message(&mut self, shared: &mut Shared, kind: u8, body: &[u8]) {
        match kind {
            b'd' => {
                if let Some(copy) = &mut self.copy {
                    copy.data.extend_from_slice(body);
                }
            }
            b'c' => self.copy_done(shared),
            b'f' => {
                let reason = wire::cstr(body).map(|(text, _)| text).unwrap_or_default();
                let text = format!("COPY from stdin failed: {reason}");
                self.copy_failed(shared, &Failure::new("57014", text));
            }
            b'H' | b'S' => {}
            b'X' => self.close(shared),
            other => {
                let text = format!("unexpected message type 0x{other:02X} during COPY from stdin");
                self.say(&wire::error(b'E', "ERROR", "08P01", &text));
                self.fatal(
                    shared,
                    "08P01",
                    "terminating connection because protocol synchronization was lost",
                );
            }
        }
    }

    fn copy_failed(&mut self, shared: &mut Shared, failure: &Failure) {
        if let Some(copy) = self.copy.take() {
            self.failed(shared, &copy.running.way, failure);
        }
    }

    fn copy_done(&mut self, shared: &mut Shared) {
        let Some(copy) = self.copy.take() else { return };
        let text = String::from_utf8_lossy(&copy.data).into_owned();
        let rows: Vec<&str> = text.lines().collect();
        if rows.contains(&"bad") {
            let failure = Failure::new("22P02", "invalid input syntax for type integer: \"bad\"");
            return self.failed(shared, &copy.running.way, &failure);
        }
        for row in &rows {
            if let Some(owner) = copy.running.owner {
                self.state.live.pending.push((owner, (*row).to_owned()));
            }
        }
        self.say(&wire::complete(&format!("COPY {}", rows.len())));
    }
}
