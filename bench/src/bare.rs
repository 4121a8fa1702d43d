//! What the bare limits over HTTP answer, whatever they are asked.

/// An announce's reply with 50 compact peers: 440 bytes or so with its head.
#[must_use]
pub fn announced() -> Vec<u8> {
    let mut body =
        b"d8:completei50e10:incompletei50e8:intervali1800e12:min intervali900e5:peers300:".to_vec();
    body.extend_from_slice(&[7; 300]);
    body.push(b'e');
    body
}
