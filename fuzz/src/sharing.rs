//! What trackers that share their swarms tell each other.

use tracker::sharing::codec::Batch;

/// A batch that was read is written again as it was.
pub(crate) fn visits(input: &[u8]) {
    if let Ok(batch) = Batch::decode(input) {
        assert_eq!(batch.encode(), input, "the batch is written as it was read");
    }
}
