//! What Redis answers to the consumer.

use consumer::batch::Batch;
use service::redis::stream::{NewEntries, Pair};

/// A reply reads the same as a whole and cut in two, wherever that is: the first byte says.
pub(crate) fn reply(input: &[u8]) {
    let Some((place, reply)) = input.split_first() else { return };
    let cut = reply.len() * usize::from(*place) / 256;
    let (mut whole, mut pieces) = (Batch::default(), Batch::default());
    let at_once = NewEntries::default().read(reply, |id, fields| whole.add(id, fields));
    let mut reader = NewEntries::default();
    let mut add = |id, fields: Option<&[Pair<'_>]>| pieces.add(id, fields);
    let first = reader.read(&reply[..cut], &mut add);
    let last = match &first {
        Ok(progress) if !progress.whole => {
            assert!(progress.taken <= cut, "nobody takes more than there is");
            let taken = progress.taken;
            reader.read(&reply[taken..], &mut add).map(|rest| (taken + rest.taken, rest.whole))
        }
        Ok(progress) => Ok((progress.taken, progress.whole)),
        Err(_) => return assert!(at_once.is_err(), "more bytes do not mend what is wrong"),
    };
    assert_eq!(at_once.ok().map(|all| (all.taken, all.whole)), last.ok());
    assert_eq!(whole, pieces);
}
