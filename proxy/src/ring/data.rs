//! The 64 bits that travel with every operation: what it was, for which socket, in which of its lives.

use crate::io::Key;

/// What an operation was.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(super) enum Kind {
    /// Multishot accept; the index is the listener's.
    Accept = 1,
    /// Multishot receive.
    Receive = 2,
    /// A send that speaks only when it did not take everything.
    QuickSend = 3,
    /// A send that waits for room.
    Send = 4,
    Connect = 5,
    /// The read of the waker.
    Wake = 6,
    /// Operations whose outcome does not matter.
    Other = 7,
}

/// Generations in user data have 24 bits.
pub(super) const GENERATION_MASK: u32 = 0x00ff_ffff;

pub(super) fn pack(kind: Kind, key: Key) -> u64 {
    u64::from(kind as u8) << 56
        | u64::from(key.generation & GENERATION_MASK) << 32
        | u64::from(key.index)
}

pub(super) fn unpack(data: u64) -> Option<(Kind, Key)> {
    let kind = match data >> 56 {
        1 => Kind::Accept,
        2 => Kind::Receive,
        3 => Kind::QuickSend,
        4 => Kind::Send,
        5 => Kind::Connect,
        6 => Kind::Wake,
        7 => Kind::Other,
        _ => return None,
    };
    let generation = (data >> 32) as u32 & GENERATION_MASK;
    let index = data as u32;
    Some((kind, Key { index, generation }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packed_data_comes_back() {
        let key = Key {
            index: u32::MAX - 1,
            generation: GENERATION_MASK,
        };
        assert_eq!(
            unpack(pack(Kind::QuickSend, key)),
            Some((Kind::QuickSend, key))
        );
        assert_eq!(unpack(0), None);
    }
}
