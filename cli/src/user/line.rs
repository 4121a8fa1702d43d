//! One settled announce as a line of a table and as JSON.

use books::explanation::Explained;
use contract::{InfoHash, PeerId};
use serde::Serialize;

use super::client_name;
use crate::human::{signed_bytes, signed_seconds, signed_utc};

/// One settled announce.
#[derive(Debug, Serialize)]
pub(crate) struct Line {
    time: String,
    ts: i64,
    entry_id: String,
    /// For which torrent.
    pub(crate) infohash: InfoHash,
    peer_id: PeerId,
    client: String,
    event: &'static str,
    raw_up: i64,
    raw_down: i64,
    up_factor: f64,
    down_factor: f64,
    credited_up: i64,
    credited_down: i64,
    seed_seconds: i64,
    leech_seconds: i64,
    left_bytes: i64,
    promotion_id: Option<i64>,
    down_promotion_id: Option<i64>,
    flag: Option<&'static str>,
    flag_details: Option<serde_json::Value>,
    why: String,
}

impl Line {
    pub(crate) fn new(explained: Explained) -> Self {
        let Explained { row, up_factor, down_factor, why } = explained;
        Self {
            time: signed_utc(row.ts),
            ts: row.ts,
            entry_id: row.entry_id.to_string(),
            infohash: row.info_hash,
            peer_id: row.peer_id,
            client: client_name::of(&row.peer_id),
            event: row.event.as_str(),
            raw_up: row.raw_up,
            raw_down: row.raw_down,
            up_factor,
            down_factor,
            credited_up: row.credited_up,
            credited_down: row.credited_down,
            seed_seconds: row.seed_seconds,
            leech_seconds: row.leech_seconds,
            left_bytes: row.left_bytes,
            promotion_id: row.promotion_id,
            down_promotion_id: row.down_promotion_id,
            flag: row.flag.as_ref().map(|flag| flag.reason.as_str()),
            flag_details: row.flag.as_ref().and_then(|flag| serde_json::from_str(&flag.details).ok()),
            why,
        }
    }

    /// The table's cells: time, torrent, client, event, up, down, seeded, leeched, why.
    pub(crate) fn cells(&self) -> Vec<String> {
        vec![
            self.time.clone(),
            format!("{}…", &self.infohash.hex()[..12]),
            self.client.clone(),
            self.event.to_owned(),
            worth(self.raw_up, self.up_factor, self.credited_up),
            worth(self.raw_down, self.down_factor, self.credited_down),
            signed_seconds(self.seed_seconds),
            signed_seconds(self.leech_seconds),
            self.why.clone(),
        ]
    }
}

/// `1.50 GiB`, or `1.50 GiB ×2 → 3.00 GiB` where the credit is another figure.
fn worth(raw: i64, factor: f64, credited: i64) -> String {
    if raw == credited {
        return signed_bytes(raw);
    }
    format!("{} ×{factor} → {}", signed_bytes(raw), signed_bytes(credited))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_factor_is_shown_where_it_changed_something() {
        assert_eq!(worth(1000, 1.5, 1500), "1000 B ×1.5 → 1.46 KiB");
        assert_eq!(worth(1000, 1.0, 1000), "1000 B");
    }
}
