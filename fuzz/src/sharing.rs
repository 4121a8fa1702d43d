//! What trackers that share their swarms tell each other.

use tracker::sharing::codec::VisitBatch;

/// A batch that was read is written again as it was.
pub(crate) fn visits(input: &[u8]) {
    if let Ok(batch) = VisitBatch::decode(input) {
        assert_eq!(batch.encode(), input, "the batch is written as it was read");
    }
}
