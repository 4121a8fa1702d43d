-- Internal: passkeys that were rotated, and which one their traffic is booked on. Never a chain: when the new one is
-- rotated in turn, its old names follow. Kept for ever, because an entry of an old passkey may still be delivered.
CREATE TABLE passkey_aliases (
    old TEXT NOT NULL PRIMARY KEY CHECK (length(old) BETWEEN 1 AND 64),
    new TEXT NOT NULL CHECK (length(new) BETWEEN 1 AND 64),
    CHECK (old <> new)
) STRICT, WITHOUT ROWID;

CREATE INDEX passkey_aliases_by_new ON passkey_aliases (new);

-- Internal: the passkey that the stream entry named, where it was rotated since. With ts, infohash and peer_id it is the
-- key under which the entry was settled, so that another event in the same place is told apart from a repetition.
ALTER TABLE settled_events ADD COLUMN announced_as TEXT;

-- Internal: keys, as their entries have them, of events that were added to the row of another event: one client that used
-- both passkeys of a rotation in the same second.
CREATE TABLE folded_keys (
    ts       INTEGER NOT NULL,
    passkey  TEXT    NOT NULL,
    infohash BLOB    NOT NULL CHECK (length(infohash) = 20),
    peer_id  BLOB    NOT NULL CHECK (length(peer_id) = 20),
    PRIMARY KEY (ts, passkey, infohash, peer_id)
) STRICT, WITHOUT ROWID;
