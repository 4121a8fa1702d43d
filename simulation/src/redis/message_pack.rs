//! `cmsgpack.unpack_limit`, as far as our scripts use it: texts and 64-bit numbers.

use mlua::{Lua, MultiValue, Value};

/// Reads up to `limit` values from `offset` on. Answers where the rest begins, -1 at the end, and the values.
///
/// # Errors
/// When the bytes are no values of these kinds.
pub(super) fn unpack_limit(
    lua: &Lua,
    (bytes, limit, offset): (mlua::LuaString, usize, usize),
) -> mlua::Result<MultiValue> {
    let bytes = bytes.as_bytes();
    let mut rest = bytes.get(offset..).ok_or_else(malformed)?;
    let mut values = MultiValue::new();
    while values.len() < limit && !rest.is_empty() {
        values.push_back(value(lua, &mut rest)?);
    }
    let next = if rest.is_empty() { -1 } else { i64::try_from(bytes.len() - rest.len()).unwrap_or(-1) };
    values.push_front(Value::Integer(next));
    Ok(values)
}

fn value(lua: &Lua, rest: &mut &[u8]) -> mlua::Result<Value> {
    let [kind] = *take(rest, 1)? else { return Err(malformed()) };
    let length = match kind {
        0xcf => {
            #[expect(clippy::cast_precision_loss, reason = "Redis loses it, too")]
            let number = big_endian(take(rest, 8)?) as f64;
            return Ok(Value::Number(number));
        }
        0xa0..=0xbf => usize::from(kind & 31),
        0xd9 => length(take(rest, 1)?),
        0xda => length(take(rest, 2)?),
        0xdb => length(take(rest, 4)?),
        _ => return Err(malformed()),
    };
    Ok(Value::String(lua.create_string(take(rest, length)?)?))
}

fn take<'a>(rest: &mut &'a [u8], count: usize) -> mlua::Result<&'a [u8]> {
    let (taken, left) = rest.split_at_checked(count).ok_or_else(malformed)?;
    *rest = left;
    Ok(taken)
}

fn length(bytes: &[u8]) -> usize {
    usize::try_from(big_endian(bytes)).unwrap_or(usize::MAX)
}

fn big_endian(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

fn malformed() -> mlua::Error {
    mlua::Error::runtime("Bad data format in input.")
}
