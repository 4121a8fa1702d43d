//! Documents that go between programs: bencode and the traffic event.

use contract::TrafficEvent;
use wire::bencode::{self, Value, Writer};

/// What was read is written again, and reads as the same.
pub(crate) fn bencode(input: &[u8]) {
    let Ok(value) = bencode::parse(input) else { return };
    let mut writer = Writer::default();
    write(&value, &mut writer);
    assert_eq!(bencode::parse(&writer.finish()).as_ref(), Ok(&value));
}

fn write(value: &Value, writer: &mut Writer) {
    match value {
        Value::Integer(number) => drop(writer.integer(*number)),
        Value::Bytes(bytes) => drop(writer.bytes(bytes)),
        Value::List(items) => {
            writer.begin_list();
            items.iter().for_each(|item| write(item, writer));
            writer.end();
        }
        Value::Dictionary(entries) => {
            writer.begin_dictionary();
            for (key, entry) in entries {
                writer.bytes(key);
                write(entry, writer);
            }
            writer.end();
        }
    }
}

/// One line for each field, its name and value on either side of the first `=`.
pub(crate) fn traffic_event(input: &[u8]) {
    let pairs = input.split(|byte| *byte == b'\n').map(|line| {
        let at = line.iter().position(|byte| *byte == b'=').unwrap_or(line.len());
        (&line[..at], line.get(at + 1..).unwrap_or_default())
    });
    let Ok(event) = TrafficEvent::from_fields(pairs) else { return };
    let fields = event.to_fields();
    let again =
        TrafficEvent::from_fields(fields.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())));
    assert_eq!(again.as_ref(), Ok(&event));
}
