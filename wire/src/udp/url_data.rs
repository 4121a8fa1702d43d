//! URL data (BEP 41): the path and query of the announce URL, carried in options at the end of an announce.
//! This is how a passkey reaches a tracker over UDP.
//!
//! One option holds 255 bytes and longer URLs take several, but libtorrent up to 2.0 at least sends one and
//! cuts the rest: see [`CUT_AT`].

use std::borrow::Cow;

use super::Malformed;

/// Where clients cut a URL that would need a second option.
pub const CUT_AT: usize = 255;

const END: u8 = 0;
const NOTHING: u8 = 1;
const URL_DATA: u8 = 2;

/// The URL data of all options together, in their order; `None` when there is none. Options that nobody knows
/// are passed over.
///
/// # Errors
/// [`Malformed`] when an option is longer than the packet.
pub fn collect(mut options: &[u8]) -> Result<Option<Cow<'_, [u8]>>, Malformed> {
    let mut url: Option<Cow<'_, [u8]>> = None;
    while let Some((kind, rest)) = options.split_first() {
        options = match *kind {
            END => break,
            NOTHING => rest,
            kind => {
                let (length, rest) = rest.split_first().ok_or(Malformed::TooShort)?;
                let (value, rest) = rest.split_at_checked(usize::from(*length)).ok_or(Malformed::TooShort)?;
                if kind == URL_DATA {
                    match &mut url {
                        Some(url) => url.to_mut().extend_from_slice(value),
                        none => *none = Some(Cow::Borrowed(value)),
                    }
                }
                rest
            }
        };
    }
    Ok(url)
}

/// Appends the options that carry `url`, as many as its length needs.
pub fn write(url: &[u8], out: &mut Vec<u8>) {
    for part in url.chunks(usize::from(u8::MAX)) {
        out.push(URL_DATA);
        out.push(u8::try_from(part.len()).unwrap_or(u8::MAX));
        out.extend_from_slice(part);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn collected(options: &[u8]) -> Option<Vec<u8>> {
        collect(options).unwrap().map(Cow::into_owned)
    }

    #[test]
    fn options_are_joined_and_others_passed_over() {
        assert_eq!(collected(b""), None);
        assert_eq!(collected(b"\0\x02\x01x"), None, "nothing counts after the end");
        assert_eq!(collected(b"\x02\x00"), Some(vec![]));
        assert_eq!(collected(b"\x01\x02\x02/a\x01\x09\x03???\x02\x01b\0rest"), Some(b"/ab".to_vec()));
    }

    #[test]
    fn an_option_longer_than_the_packet_is_none() {
        for options in [&b"\x02"[..], b"\x02\x01", b"\x02\x05/abc", b"\x09\x01"] {
            assert_eq!(collect(options), Err(Malformed::TooShort), "{options:?}");
        }
    }

    proptest! {
        #[test]
        fn a_url_of_any_length_survives(url in proptest::collection::vec(any::<u8>(), 1..1200)) {
            let mut options = Vec::new();
            write(&url, &mut options);
            prop_assert_eq!(collected(&options), Some(url));
        }

        #[test]
        fn no_options_make_it_panic(options in proptest::collection::vec(any::<u8>(), 0..300)) {
            // That it returns is all that is asserted.
            drop(collect(&options));
        }
    }
}
