//! COPY from the client: Syncs that were sent ahead of the data and that the server may have read as part of it.

use super::exchange::Exchange;
use super::owed::Kind;

impl Exchange {
    pub(super) fn copy_in(&mut self) {
        self.copying = true;
        let early = self.early_syncs();
        if early > 1 {
            self.owed.remove_behind_front(early - 1);
            self.copy_data_sent = true;
        }
    }

    /// Syncs right behind the front: sent along with the request, read by the server as part of the COPY data.
    pub(super) fn early_syncs(&self) -> usize {
        let behind = self.owed.iter().skip(1);
        behind.take_while(|k| *k == Kind::Sync).count()
    }

    /// A COPY has failed. Had the server read the Syncs sent ahead (then it ignored them) or not (then each gets a
    /// ReadyForQuery)? When nothing else was there to read, it had not, for reading a Sync fails no COPY. Else it can't be
    /// told; it nearly always had, for they were sent before the data.
    pub(super) fn ignore_early_syncs(&mut self, protocol: bool) {
        let early = self.early_syncs();
        let unread = match self.owed.get(1 + early) {
            _ if self.copy_data_sent => false,
            Some(end) if end.is_copy_end() => false,
            // Read, it would have been refused with 08P01.
            Some(_) => !protocol,
            None => true,
        };
        if unread {
            return;
        }
        self.owed.remove_behind_front(early);
        self.stray_ready |= early > 0;
    }

    pub(super) fn simple_copy_failed(&mut self, protocol: bool) {
        self.ignore_early_syncs(protocol);
        match self.owed.get(1) {
            Some(end) if end.is_copy_end() => self.owed.remove_behind_front(1),
            // Servers before 14 take a message that has no place in a COPY as its end and don't execute it; newer ones close.
            Some(_) if protocol => {
                self.owed.remove_behind_front(1);
                self.stray_ready = true;
            }
            _ => {}
        }
    }
}
