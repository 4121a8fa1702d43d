//! What changed on disk costs the announce there and no other; a write that was never finished costs nothing.

#![allow(clippy::unwrap_used)]

mod spooled;

use std::io::Read;

use proptest::prelude::*;
use spooled::{entry, numbers};
use tracker::traffic::{Disk, DiskFile, Fault, MemoryDisk, NumberedBooking, Store};

const FILE: &str = "0000000000000001.spool";
const MIB: u64 = 1 << 20;

fn bytes_of(disk: &MemoryDisk, name: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    disk.read(name, 0).unwrap().read_to_end(&mut bytes).unwrap();
    bytes
}

fn disk_with(name: &str, bytes: &[u8]) -> MemoryDisk {
    let disk = MemoryDisk::default();
    disk.create(name).unwrap().write(bytes).unwrap();
    disk
}

/// The bytes of a file of so many entries, and where each of them ends.
fn file_of(count: u64) -> (Vec<u8>, Vec<usize>) {
    let disk = MemoryDisk::default();
    let mut store = Store::on(disk.clone(), MIB).unwrap();
    let mut ends = Vec::new();
    for sequence in 1..=count {
        store.append("aaaa", &[entry(sequence)]).unwrap();
        ends.push(usize::try_from(store.bytes()).unwrap());
    }
    (bytes_of(&disk, FILE), ends)
}

fn is_kept_aside(disk: &MemoryDisk) -> bool {
    disk.names()
        .unwrap()
        .iter()
        .any(|name| std::path::Path::new(name).extension().is_some_and(|kind| kind == "damaged"))
}

#[test]
fn any_changed_bit_of_the_newest_file_costs_one_announce_at_most() {
    let (bytes, ends) = file_of(5);
    for bit in 0..bytes.len() * 8 {
        let mut changed = bytes.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        let disk = disk_with(FILE, &changed);
        let mut store = Store::on(disk.clone(), MIB).unwrap();
        let hit = ends.iter().position(|end| bit / 8 < *end).unwrap() as u64 + 1;
        let in_header = bit / 8 < ends[0] - (ends[1] - ends[0]);
        let expected: Vec<u64> = (1..=5).filter(|sequence| in_header || *sequence != hit).collect();
        assert_eq!(store.damaged(), u64::from(!in_header), "bit {bit}");
        assert_eq!(numbers(&mut store), expected, "bit {bit}");
        assert_eq!(is_kept_aside(&disk), !in_header, "bit {bit}");
    }
}

#[test]
fn what_changes_while_the_tracker_runs_is_noticed_when_it_is_read() {
    let disk = MemoryDisk::default();
    let mut store = Store::on(disk.clone(), MIB).unwrap();
    (1..=5).for_each(|sequence| store.append("aaaa", &[entry(sequence)]).unwrap());
    let mut bytes = bytes_of(&disk, FILE);
    let place = bytes.len() / 2;
    bytes[place] ^= 1;
    disk.remove(FILE).unwrap();
    disk.create(FILE).unwrap().write(&bytes).unwrap();
    assert_eq!(numbers(&mut store).len(), 4);
    assert_eq!(store.damaged(), 1);
    assert!(is_kept_aside(&disk) && store.is_empty());
}

#[test]
fn an_unfinished_write_is_dropped_without_a_word_wherever_it_ends() {
    let (bytes, ends) = file_of(3);
    for cut in ends[1]..bytes.len() {
        for zeros in [0, 300] {
            let zeros = if cut == ends[1] { zeros } else { 0 };
            let disk = disk_with(FILE, &[&bytes[..cut], &vec![0; zeros]].concat());
            let mut store = Store::on(disk.clone(), MIB).unwrap();
            assert_eq!(
                (store.damaged(), disk.size(FILE).unwrap()),
                (0, ends[1] as u64),
                "{cut} and {zeros} zeros"
            );
            assert_eq!(numbers(&mut store), [1, 2]);
            assert!(!is_kept_aside(&disk));
        }
    }
}

/// What an earlier version wrote: an IPv4 seeder's announce of 300 bytes.
fn first_format(sequence: u64) -> Vec<u8> {
    let mut payload = Vec::new();
    for number in [sequence, 1_700_000_000_000 + sequence, 300, 5, 0] {
        payload.extend(u64::to_le_bytes(number));
    }
    payload.extend([1800u32.to_le_bytes(), 900u32.to_le_bytes()].concat());
    payload.extend(6881u16.to_le_bytes());
    payload.extend([0, 4, 192, 0, 2, 7]);
    payload.extend([[7; 20], [8; 20]].concat());
    for text in ["alice", "film", ""] {
        payload.extend(u16::try_from(text.len()).unwrap().to_le_bytes());
        payload.extend(text.as_bytes());
    }
    let length = u32::try_from(payload.len()).unwrap();
    [&length.to_le_bytes()[..], &crc32fast::hash(&payload).to_le_bytes(), &payload].concat()
}

#[test]
fn files_of_the_first_format_are_read_and_resynchronised_too() {
    let mut header = b"SBSPOOL1aaaa".to_vec();
    header.resize(24, 0);
    let frames: Vec<Vec<u8>> = (1..=4).map(first_format).collect();
    let bytes = [header, frames.concat()].concat();
    let disk = disk_with(FILE, &bytes);
    let batch = Store::on(disk, MIB).unwrap().oldest(10).unwrap().unwrap();
    let first = &batch.entries[0];
    assert_eq!((batch.tracker_id.as_str(), first.sequence, first.ts), ("aaaa", 1, 0));
    assert_eq!((first.booking.passkey.reveal(), first.booking.fd.as_deref()), ("alice", Some("film")));
    assert_eq!((first.booking.uploaded, first.booking.port), (300, 6881));
    let second = 24 + frames[0].len();
    for bit in second * 8..(second + frames[1].len()) * 8 {
        let mut changed = bytes.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        let mut store = Store::on(disk_with(FILE, &changed), MIB).unwrap();
        assert_eq!(numbers(&mut store), [1, 3, 4], "bit {bit}");
    }
}

#[test]
fn what_a_client_says_is_never_taken_for_a_record() {
    let (bytes, ends) = file_of(2);
    let forged = &bytes[ends[0]..];
    // A whole frame of another tracker's file in the place of a damaged one.
    let other = MemoryDisk::default();
    let mut store = Store::on(other.clone(), MIB).unwrap();
    (1..=2).for_each(|sequence| store.append("bbbb", &[entry(sequence + 10)]).unwrap());
    let mut mixed = bytes_of(&other, FILE);
    let first = 2 * ends[0] - ends[1];
    mixed.splice(first..first, forged.iter().copied());
    let mut store = Store::on(disk_with(FILE, &mixed), MIB).unwrap();
    assert_eq!(numbers(&mut store), [11, 12]);
}

#[test]
fn a_full_disk_leaves_no_half_of_what_was_to_be_set_aside() {
    let disk = MemoryDisk::default();
    let mut store = Store::on(disk.clone(), MIB).unwrap();
    store.append("aaaa", &[entry(1), entry(2)]).unwrap();
    let batch = store.oldest(10).unwrap().unwrap();
    for room in [0, 60, 100] {
        disk.fail(Some(Fault::Full { room }));
        store.keep_for_later(&batch, &batch.entries[..1]).unwrap_err();
        assert_eq!(disk.names().unwrap(), [FILE]);
    }
    disk.fail(None);
    store.keep_for_later(&batch, &batch.entries[..1]).unwrap();
    store.booked(&batch);
    assert_eq!(numbers(&mut Store::on(disk, MIB).unwrap()), [1]);
}

proptest! {
    #[test]
    fn whatever_happens_to_some_bytes_the_rest_is_read_and_nothing_is_made_up(
        places in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        removed in prop::option::of((any::<prop::sample::Index>(), 1..200usize)),
    ) {
        let (mut bytes, ends) = file_of(20);
        let header = ends[0] - (ends[1] - ends[0]);
        let mut hit = std::collections::BTreeSet::new();
        let behind = bytes.len() - header;
        let place_of = |part: prop::sample::Index| header + part.index(behind);
        let places: Vec<(usize, u8)> = places.into_iter().map(|(part, byte)| (place_of(part), byte)).collect();
        let removed = removed.map(|(part, count)| place_of(part)..(place_of(part) + count).min(bytes.len()));
        let mut touch = |place: usize| hit.insert(ends.iter().position(|end| place < *end).unwrap() as u64 + 1);
        places.iter().for_each(|(place, byte)| {
            touch(*place);
            bytes[*place] ^= byte;
        });
        if let Some(removed) = removed {
            for place in removed.clone() {
                touch(place);
            }
            bytes.drain(removed);
        }
        let mut store = Store::on(disk_with(FILE, &bytes), MIB).unwrap();
        let mut read = Vec::new();
        while let Some(batch) = store.oldest(6).unwrap() {
            store.booked(&batch);
            read.extend(batch.entries);
        }
        let whole: Vec<NumberedBooking> = (1..=20).map(entry).collect();
        prop_assert!(read.iter().all(|entry| whole.contains(entry)));
        let missing = whole.iter().filter(|entry| !read.contains(entry));
        for entry in missing {
            prop_assert!(hit.contains(&entry.sequence), "{} is missing", entry.sequence);
        }
    }
}
