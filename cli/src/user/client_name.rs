//! The client that a peer id names, by the convention of BEP 20 (`-TR4000-...`).

use contract::PeerId;

/// The two-letter codes of clients that are met today; the rest show their code.
const CLIENTS: [(&[u8; 2], &str); 22] = [
    (b"7T", "aTorrent"),
    (b"AZ", "Vuze"),
    (b"BC", "BitComet"),
    (b"BG", "BTGetit"),
    (b"BI", "BiglyBT"),
    (b"BT", "BitTorrent"),
    (b"DE", "Deluge"),
    (b"FD", "Free Download Manager"),
    (b"FW", "FrostWire"),
    (b"KT", "KTorrent"),
    (b"LT", "libtorrent"),
    (b"PI", "PicoTorrent"),
    (b"SB", "trackerctl"),
    (b"TL", "Tribler"),
    (b"TR", "Transmission"),
    (b"TX", "Tixati"),
    (b"UM", "µTorrent Mac"),
    (b"UT", "µTorrent"),
    (b"WW", "WebTorrent"),
    (b"lt", "rTorrent"),
    (b"qB", "qBittorrent"),
    (b"XL", "Xunlei"),
];

/// `Transmission 4.0.0`, or the printable part of a peer id that follows no convention.
pub(crate) fn of(peer_id: &PeerId) -> String {
    styled(&peer_id.0).or_else(|| aria2(&peer_id.0)).unwrap_or_else(|| printable(&peer_id.0))
}

fn styled(id: &[u8; 20]) -> Option<String> {
    if id[0] != b'-' || id[7] != b'-' || !id[1..7].iter().all(u8::is_ascii_alphanumeric) {
        return None;
    }
    let known = CLIENTS.iter().find(|(code, _)| code[..] == id[1..3]);
    let name =
        known.map_or_else(|| String::from_utf8_lossy(&id[1..3]).into_owned(), |(_, name)| (*name).into());
    let digits: Vec<String> = id[3..7].iter().map(|digit| version_part(*digit)).collect();
    // A fourth zero is padding: 4.0.0 rather than 4.0.0.0.
    let shown = if digits[3] == "0" { &digits[..3] } else { &digits[..] };
    Some(format!("{name} {}", shown.join(".")))
}

/// `A` stands for 10, `B` for 11, and so on.
fn version_part(digit: u8) -> String {
    char::from(digit).to_digit(36).map_or_else(|| char::from(digit).to_string(), |value| value.to_string())
}

/// `A2-1-36-0-...`: aria2 writes its version in another way.
fn aria2(id: &[u8; 20]) -> Option<String> {
    let text = std::str::from_utf8(id.strip_prefix(b"A2-")?).ok()?;
    let version: Vec<&str> = text.split('-').take(3).collect();
    let digits =
        version.iter().all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()));
    (digits && version.len() == 3).then(|| format!("aria2 {}", version.join(".")))
}

fn printable(id: &[u8; 20]) -> String {
    let shown = |byte: &u8| if byte.is_ascii_graphic() { char::from(*byte) } else { '.' };
    id.iter().map(shown).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_are_named_by_their_peer_ids() {
        let name = |id: &[u8; 20]| of(&PeerId(*id));
        assert_eq!(name(b"-TR4000-abcdefghijkl"), "Transmission 4.0.0");
        assert_eq!(name(b"-qB4650-abcdefghijkl"), "qBittorrent 4.6.5");
        assert_eq!(name(b"-UT355W-abcdefghijkl"), "µTorrent 3.5.5.32");
        assert_eq!(name(b"-ZZ1A00-abcdefghijkl"), "ZZ 1.10.0");
        assert_eq!(name(b"A2-1-36-0-abcdefghij"), "aria2 1.36.0");
        assert_eq!(name(b"exbc\x00\x01\xffLORDabcdefghi"), "exbc...LORDabcdefghi");
    }
}
