//! What the recorder carries: one announce reduced to what is booked, small enough to queue by the thousand
//! and to keep on disk while Redis is away.

use std::net::IpAddr;

use claims::Path;
use contract::{Event, Extras, InfoHash, Passkey, PeerId};

use crate::announce::Report;

/// One announce as it is booked. The counters are absolute, so that booking it again changes nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Booking {
    /// The canonical passkey.
    pub passkey: Passkey,
    /// The canonical torrent.
    pub info_hash: InfoHash,
    /// The client.
    pub peer_id: PeerId,
    /// The address that peers are told.
    pub ip: IpAddr,
    /// The port that peers are told; 0 when the client listens nowhere.
    pub port: u16,
    /// Bytes uploaded in the client's present run.
    pub uploaded: u64,
    /// Bytes downloaded in the client's present run.
    pub downloaded: u64,
    /// Bytes that the client still wants; 0 is a seeder.
    pub left: u64,
    /// Why the client announced.
    pub event: Event,
    /// When it reached the tracker, in milliseconds of the site's clock.
    pub at_ms: u64,
    /// How it came: along one path a client has one announce under way.
    pub path: Path,
    /// Seconds until the client's next announce.
    pub interval: u32,
    /// Seconds before which it should not announce.
    pub min_interval: u32,
    /// Film id that the credential carried.
    pub fd: Option<String>,
    /// Playlist id that the credential carried.
    pub pd: Option<String>,
    /// What only some sites' tables want.
    pub extras: Extras,
}

impl Booking {
    /// What is booked of a report, by the tracker with this identity.
    #[must_use]
    pub fn new(report: Report, at_ms: u64, tracker: u64) -> Self {
        let Report { admitted, account } = report;
        let info_hash = admitted.booked_on();
        let (announce, admission) = (admitted.announce, admitted.admission);
        Self {
            passkey: account.passkey,
            info_hash,
            peer_id: announce.peer_id,
            ip: announce.ip,
            port: announce.port,
            uploaded: announce.uploaded,
            downloaded: announce.downloaded,
            left: announce.left,
            event: announce.event,
            at_ms,
            // A hybrid announces both of its info hashes one beside the other, each with a `started` of its
            // own: two paths of the session that they may become.
            path: announce.way.by(&announce.info_hash.0).to(tracker),
            interval: admission.interval,
            min_interval: admission.min_interval,
            fd: account.fd,
            pd: account.pd,
            extras: announce.extras.map(|extras| *extras).unwrap_or_default(),
        }
    }
}

/// A booking with its number: (tracker id, number) names it for ever, so that it is booked once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NumberedBooking {
    /// What to book.
    pub booking: Booking,
    /// Rising within one tracker process.
    pub sequence: u64,
    /// The `ts` of the event that it became; 0 while none was computed. It keeps that one whenever it is sent
    /// again.
    pub ts: u64,
}

impl NumberedBooking {
    /// A booking for which nothing was computed yet.
    #[must_use]
    pub const fn new(booking: Booking, sequence: u64) -> Self {
        Self { booking, sequence, ts: 0 }
    }
}
