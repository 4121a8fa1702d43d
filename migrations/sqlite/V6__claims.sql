-- Internal: which bytes of each session are claimed already, and where its client's counters stood. What the events of
-- one session claim overlaps when Redis went back in time; only what nobody claimed before is credited.
ALTER TABLE torrent_traffic ADD COLUMN claims BLOB NOT NULL DEFAULT x'';

-- Always empty: pruned events claim nothing any more.
ALTER TABLE carried_forward ADD COLUMN claims BLOB NOT NULL DEFAULT x'';
