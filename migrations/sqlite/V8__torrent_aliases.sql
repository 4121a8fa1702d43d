-- Internal: v2 info hashes of hybrid torrents, and the v1 info hash that their traffic is booked on. Kept for ever, because
-- an entry of the v2 info hash may still be delivered.
CREATE TABLE torrent_aliases (
    v2 BLOB NOT NULL PRIMARY KEY CHECK (length(v2) = 20),
    v1 BLOB NOT NULL CHECK (length(v1) = 20),
    CHECK (v2 <> v1)
) STRICT, WITHOUT ROWID;
