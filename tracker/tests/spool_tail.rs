//! The tail on disk: what Redis confirmed lately outlives a kill, and is bounded.

#![allow(clippy::unwrap_used)]

mod spooled;

use std::sync::Arc;

use spooled::{entry, numbers};
use tracker::traffic::{
    Batch, Disk, DiskFile, DiskRequest, DiskResult, MemoryDisk, NumberedBooking, Store, TailLimits,
};

const MIB: u64 = 1 << 20;

fn append(store: &mut Store<MemoryDisk>, tracker_id: &str, entries: &[NumberedBooking], at_ms: u64) {
    let (tracker_id, entries) = (tracker_id.to_owned(), Arc::new(entries.to_vec()));
    let result = DiskRequest::AppendTail { tracker_id, entries, at_ms }.carry_out(store);
    assert!(matches!(result, DiskResult::TailAppended(Ok(()))), "{result:?}");
}

fn leftover(store: &mut Store<MemoryDisk>, limit: usize) -> Option<Batch> {
    let DiskResult::TailRead(read) = (DiskRequest::ReadTail { limit }).carry_out(store) else {
        unreachable!()
    };
    read.unwrap()
}

fn leftovers(store: &mut Store<MemoryDisk>) -> Vec<(String, NumberedBooking)> {
    let mut all = Vec::new();
    while let Some(batch) = leftover(store, 3) {
        all.extend(batch.entries.iter().map(|entry| (batch.tracker_id.clone(), entry.clone())));
        let result = DiskRequest::LetGoTail { batch: Arc::new(batch) }.carry_out(store);
        assert!(matches!(result, DiskResult::TailLeft(Ok(()))));
    }
    all
}

fn named(tracker_id: &str, sequences: std::ops::RangeInclusive<u64>) -> Vec<(String, NumberedBooking)> {
    sequences.map(|sequence| (tracker_id.to_owned(), entry(sequence))).collect()
}

fn files(disk: &MemoryDisk) -> usize {
    disk.folder("tail").unwrap().names().unwrap().len()
}

#[test]
fn what_was_confirmed_is_read_after_a_kill_oldest_first_and_then_gone() {
    let disk = MemoryDisk::default();
    let mut store = Store::on(disk.clone(), MIB).unwrap();
    for sequence in 1..=10 {
        append(&mut store, "aaaa", &[entry(sequence)], sequence * 3000);
    }
    assert!(leftover(&mut store, 10).is_none(), "a process is not offered what it wrote itself");
    let mut store = Store::on(disk.clone(), MIB).unwrap();
    append(&mut store, "bbbb", &[entry(11)], 50_000);
    // Another kill, after a part was read.
    assert_eq!(leftover(&mut store, 3).unwrap().entries.len(), 3);
    let mut store = Store::on(disk.clone(), MIB).unwrap();
    let expected = [named("aaaa", 1..=10), named("bbbb", 11..=11)].concat();
    assert_eq!(leftovers(&mut store), expected);
    assert_eq!(files(&disk), 0);
    assert!(numbers(&mut store).is_empty(), "the spool holds none of it");
}

#[test]
fn what_was_computed_anew_counts_as_it_was_computed_last() {
    let disk = MemoryDisk::default();
    let mut store = Store::on(disk.clone(), MIB).unwrap();
    append(&mut store, "aaaa", &[entry(1), entry(2)], 0);
    let anew = NumberedBooking { ts: 5, ..entry(1) };
    append(&mut store, "aaaa", std::slice::from_ref(&anew), 1);
    let mut store = Store::on(disk, MIB).unwrap();
    let read: Vec<NumberedBooking> = leftovers(&mut store).into_iter().map(|(_, entry)| entry).collect();
    assert_eq!(read, [entry(2), anew]);
}

#[test]
fn what_is_old_goes_and_what_is_not_stays() {
    let disk = MemoryDisk::default();
    let mut store = Store::on(disk.clone(), MIB).unwrap();
    for second in 0..=300 {
        append(&mut store, "aaaa", &[entry(second + 1)], second * 1000);
    }
    assert!(files(&disk) <= 8, "{}", files(&disk));
    let mut store = Store::on(disk, MIB).unwrap();
    let first = leftovers(&mut store)[0].1.sequence;
    assert!((220..=241).contains(&first), "{first}");
}

#[test]
fn it_takes_no_more_room_than_it_may() {
    let disk = MemoryDisk::default();
    let mut store = Store::on(disk, MIB).unwrap();
    store.set_tail_limits(TailLimits { seconds: 60, max_bytes: 40_000 });
    let entries: Vec<NumberedBooking> = (1..=20).map(entry).collect();
    for at_ms in 0..100 {
        append(&mut store, "aaaa", &entries, at_ms);
        assert!(store.tail_bytes() <= 40_000);
    }
    assert!(store.tail_bytes() > 20_000);
}

#[test]
fn a_loss_of_power_costs_a_second_of_it_and_damage_costs_what_is_damaged() {
    let disk = MemoryDisk::default();
    let mut store = Store::on(disk.clone(), MIB).unwrap();
    for second in 1..=9 {
        append(&mut store, "aaaa", &[entry(second)], second * 1000);
    }
    append(&mut store, "aaaa", &[entry(10)], 9500);
    disk.lose_power(20);
    let folder = disk.folder("tail").unwrap();
    let name = folder.names().unwrap().remove(0);
    let mut bytes = Vec::new();
    std::io::Read::read_to_end(&mut folder.read(&name, 0).unwrap(), &mut bytes).unwrap();
    let place = bytes.len() / 2;
    bytes[place] ^= 1;
    folder.remove(&name).unwrap();
    folder.create(&name).unwrap().write(&bytes).unwrap();
    let mut store = Store::on(disk, MIB).unwrap();
    assert_eq!(leftovers(&mut store).len(), 8);
    assert_eq!(store.damaged(), 1);
}
