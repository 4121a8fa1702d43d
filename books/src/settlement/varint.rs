//! LEB128, in which the ledger's internal columns keep numbers: small ones in a byte.

/// Writes a number.
pub(super) fn write(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number.to_le_bytes()[0] | 0x80);
        number >>= 7;
    }
    bytes.push(number.to_le_bytes()[0]);
}

/// Writes how far a number is from another one, which its reader knows.
pub(super) fn write_from(bytes: &mut Vec<u8>, base: u64, number: u64) {
    let far = number.wrapping_sub(base).cast_signed();
    write(bytes, (far.wrapping_shl(1) ^ (far >> 63)).cast_unsigned());
}

/// Takes a number off the front; `None` when it is cut off or too long.
pub(super) fn read(bytes: &mut &[u8]) -> Option<u64> {
    let (mut number, mut shift) = (0_u64, 0);
    loop {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(byte & 0x7f).checked_shl(shift)?;
        if byte & 0x80 == 0 {
            return Some(number);
        }
        shift += 7;
    }
}

/// Takes a number off the front that [`write_from`] wrote.
pub(super) fn read_from(bytes: &mut &[u8], base: u64) -> Option<u64> {
    let far = read(bytes)?;
    Some(base.wrapping_add((far >> 1) ^ (far & 1).wrapping_neg()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_near_takes_a_byte() {
        let mut bytes = Vec::new();
        write_from(&mut bytes, 1 << 40, (1 << 40) - 60);
        write(&mut bytes, 127);
        assert_eq!(bytes.len(), 2);
    }

    proptest! {
        #[test]
        fn numbers_come_back(base: u64, number: u64) {
            let mut bytes = Vec::new();
            write(&mut bytes, number);
            write_from(&mut bytes, base, number);
            let mut rest = bytes.as_slice();
            prop_assert_eq!((read(&mut rest), read_from(&mut rest, base)), (Some(number), Some(number)));
            prop_assert!(rest.is_empty());
            prop_assert_eq!(read(&mut &[0x80_u8, 0x80][..]), None);
        }
    }
}
