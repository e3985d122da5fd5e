//! Tables of message sequences, each run whole, byte by byte and in random pieces.

mod batches;
mod copy;
mod framing;
mod kit;
mod lending;
mod shown;
mod statements;
mod text;
mod unnamed;

#[test]
fn is_small_and_has_no_heap_when_idle() {
    assert!(size_of::<super::Conversation>() <= 192);
}
