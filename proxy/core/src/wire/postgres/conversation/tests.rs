//! Tables of message sequences, each run whole and in pieces.
#[test]
fn is_small() {
    assert!(size_of::<super::Conversation>() <= 160);
}
