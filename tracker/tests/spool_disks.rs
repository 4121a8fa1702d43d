//! The two disks of the spool: a folder and a memory keep the same promises. Only the memory can lose power.

#![allow(clippy::unwrap_used)]

use std::io::{ErrorKind, Read};

use contract::{Event, InfoHash, PeerId};
use tempfile::TempDir;
use tracker::traffic::{Booking, Disk, DiskFile, Fault, Folder, MemoryDisk, NumberedBooking, Store};

/// Holds both disks to a fact.
fn both(fact: impl Fn(&dyn Fn(&str) -> Vec<u8>, &mut dyn FnMut(&str, Step))) {
    let folder = TempDir::new().unwrap();
    on(&Folder::open(folder.path()).unwrap(), &fact);
    on(&MemoryDisk::default(), &fact);
}

#[derive(Clone, Copy)]
enum Step {
    Create(&'static [u8]),
    Append(&'static [u8]),
    Cut(u64),
    Rename(&'static str),
    Remove,
}

fn on<D: Disk>(disk: &D, fact: &impl Fn(&dyn Fn(&str) -> Vec<u8>, &mut dyn FnMut(&str, Step))) {
    let read = |name: &str| {
        let mut bytes = Vec::new();
        disk.read(name, 1).unwrap().read_to_end(&mut bytes).unwrap();
        assert_eq!(disk.size(name).unwrap(), bytes.len() as u64 + 1);
        bytes
    };
    fact(&read, &mut |name, step| {
        match step {
            Step::Create(bytes) => disk.create(name).and_then(|mut file| file.write(bytes)),
            Step::Append(bytes) => disk.open(name).and_then(|mut file| file.write(bytes)),
            Step::Cut(bytes) => disk.open(name).and_then(|mut file| file.cut(bytes)),
            Step::Rename(to) => disk.rename(name, to),
            Step::Remove => disk.remove(name),
        }
        .unwrap();
        disk.sync_names().unwrap();
    });
}

#[test]
fn files_grow_at_their_ends_also_behind_a_cut() {
    both(|read, take| {
        take("one", Step::Create(b"abc"));
        take("one", Step::Append(b"def"));
        assert_eq!(read("one"), b"bcdef");
        take("one", Step::Cut(2));
        take("one", Step::Append(b"x"));
        assert_eq!(read("one"), b"bx");
    });
}

#[test]
fn a_file_takes_anothers_place_in_one_step() {
    both(|read, take| {
        take("one", Step::Create(b"abc"));
        take("two", Step::Create(b"xyz"));
        take("two", Step::Rename("one"));
        assert_eq!(read("one"), b"yz");
        take("two", Step::Create(b"again"));
        take("two", Step::Remove);
    });
}

fn refuses_what_is_there_and_what_is_not<D: Disk>(disk: &D) {
    disk.create("one").unwrap();
    assert_eq!(disk.create("one").unwrap_err().kind(), ErrorKind::AlreadyExists);
    for error in [disk.open("two").err(), disk.read("two", 0).err(), disk.remove("two").err()] {
        assert_eq!(error.map(|error| error.kind()), Some(ErrorKind::NotFound));
    }
    assert!(disk.names().unwrap().contains(&"one".to_owned()));
}

#[test]
fn nothing_is_overwritten_and_nothing_made_up() {
    let folder = TempDir::new().unwrap();
    refuses_what_is_there_and_what_is_not(&Folder::open(folder.path()).unwrap());
    refuses_what_is_there_and_what_is_not(&MemoryDisk::default());
}

#[test]
fn a_loss_of_power_takes_what_was_not_synced() {
    let disk = MemoryDisk::default();
    let mut file = disk.create("kept").unwrap();
    file.write(b"synced").unwrap();
    file.sync().unwrap();
    disk.sync_names().unwrap();
    file.write(b" and not").unwrap();
    disk.create("name").unwrap().sync().unwrap();
    disk.lose_power(4);
    let mut text = String::new();
    disk.read("kept", 0).unwrap().read_to_string(&mut text).unwrap();
    assert_eq!((text.as_str(), disk.names().unwrap()), ("synced and", vec!["kept".to_owned()]));
}

fn entry(sequence: u64) -> NumberedBooking {
    let booking = Booking {
        passkey: "alice".parse().unwrap(),
        info_hash: InfoHash([7; 20]),
        peer_id: PeerId([8; 20]),
        ip: [192, 0, 2, 1].into(),
        port: 6881,
        uploaded: sequence,
        downloaded: 0,
        left: 0,
        event: Event::Started,
        at_ms: 1_700_000_000_000,
        path: claims::Path(1),
        interval: 1800,
        min_interval: 900,
        fd: None,
        pd: None,
        extras: contract::Extras::default(),
    };
    NumberedBooking::new(booking, sequence)
}

#[test]
fn what_was_accepted_survives_a_loss_of_power_wherever_the_disk_has_got_to_with_the_rest() {
    for keeps in 0..200 {
        let disk = MemoryDisk::default();
        let mut store = Store::on(disk.clone(), 1 << 20).unwrap();
        store.append("aaaa", &[entry(1), entry(2)]).unwrap();
        disk.fail(Some(Fault::Full { room: keeps / 2 }));
        store.append("aaaa", &[entry(3)]).unwrap_err();
        disk.fail(None);
        disk.lose_power(keeps);
        let mut store = Store::on(disk, 1 << 20).unwrap();
        assert_eq!(store.oldest(10).unwrap().unwrap().entries, [entry(1), entry(2)], "{keeps} kept");
    }
}

#[test]
fn a_disk_that_broke_in_the_middle_of_a_new_file_takes_announces_once_it_is_mended() {
    let disk = MemoryDisk::default();
    let mut store = Store::on(disk.clone(), 1 << 20).unwrap();
    // Such a disk does not even let go of what it was just given.
    disk.create("0000000000000001.spool").unwrap();
    store.append("aaaa", &[entry(1)]).unwrap_err();
    store.append("aaaa", &[entry(2)]).unwrap();
    assert_eq!(store.oldest(10).unwrap().unwrap().entries, [entry(2)]);
}

#[test]
fn a_write_that_failed_leaves_nothing_that_would_never_be_booked() {
    let disk = MemoryDisk::default();
    // So small that each batch has a file of its own.
    let mut store = Store::on(disk.clone(), 1000).unwrap();
    store.append("aaaa", &[entry(1)]).unwrap();
    disk.fail(Some(Fault::Full { room: 30 }));
    store.append("aaaa", &[entry(2)]).unwrap_err();
    disk.fail(None);
    let batch = store.oldest(10).unwrap().unwrap();
    store.booked(&batch);
    assert!(store.is_empty());
    disk.fail(Some(Fault::Full { room: 30 }));
    store.append("aaaa", &[entry(3)]).unwrap_err();
    assert!(store.is_empty() && disk.names().unwrap().is_empty());
}
