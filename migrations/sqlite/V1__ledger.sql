-- The ledger. Sites read these tables directly, so their names, columns and meaning are a promise; what is marked
-- "internal" is not. Times are unix seconds, bytes are signed 64-bit, info hashes and peer ids are 20 raw bytes.

-- One row per announce that was settled. The key is unique for ever, which is what makes a replay harmless. It begins
-- with the time so that inserts land at the end of the tree: keys in random order cost three to five times as much
-- once the table holds ten million rows. For the same reason there is no index by user: at two million rows one costs
-- 39 us an event where everything else costs 6. Questions about one user walk the time range that user_traffic or
-- torrent_traffic gives, from the newest end, at about 0.1 s a million rows.
CREATE TABLE settled_events (
    ts                INTEGER NOT NULL,
    passkey           TEXT    NOT NULL CHECK (length(passkey) BETWEEN 1 AND 64),
    infohash          BLOB    NOT NULL CHECK (length(infohash) = 20),
    peer_id           BLOB    NOT NULL CHECK (length(peer_id) = 20),
    -- The stream entry it came from.
    entry_id          TEXT    NOT NULL,
    raw_up            INTEGER NOT NULL CHECK (raw_up >= 0),
    raw_down          INTEGER NOT NULL CHECK (raw_down >= 0),
    credited_up       INTEGER NOT NULL CHECK (credited_up >= 0),
    credited_down     INTEGER NOT NULL CHECK (credited_down >= 0),
    -- The seconds before ts that this one client claims. torrent_traffic counts a second once for all clients of a user.
    seed_seconds      INTEGER NOT NULL CHECK (seed_seconds >= 0),
    leech_seconds     INTEGER NOT NULL CHECK (leech_seconds >= 0),
    event             TEXT    NOT NULL CHECK (event IN ('none', 'started', 'completed', 'stopped')),
    left_bytes        INTEGER NOT NULL CHECK (left_bytes >= 0),
    -- The promotion that gave the upload factor, and the download factor too unless the next column names another.
    promotion_id      INTEGER,
    down_promotion_id INTEGER,
    -- Film and playlist ids that the credential carried.
    fd                TEXT,
    pd                TEXT,
    PRIMARY KEY (ts, passkey, infohash, peer_id)
) STRICT, WITHOUT ROWID;

-- One row per user: what a site shows as uploaded, downloaded, seed time.
CREATE TABLE user_traffic (
    passkey       TEXT    NOT NULL PRIMARY KEY,
    raw_up        INTEGER NOT NULL,
    raw_down      INTEGER NOT NULL,
    credited_up   INTEGER NOT NULL,
    credited_down INTEGER NOT NULL,
    -- Sums over the user's torrents.
    seed_seconds  INTEGER NOT NULL,
    leech_seconds INTEGER NOT NULL,
    -- Torrents completed, each once.
    completed     INTEGER NOT NULL,
    first_seen    INTEGER NOT NULL,
    last_seen     INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- One row per user and torrent.
CREATE TABLE torrent_traffic (
    passkey       TEXT    NOT NULL,
    infohash      BLOB    NOT NULL CHECK (length(infohash) = 20),
    raw_up        INTEGER NOT NULL,
    raw_down      INTEGER NOT NULL,
    credited_up   INTEGER NOT NULL,
    credited_down INTEGER NOT NULL,
    -- A second counts once, however many clients of the user seeded (or leeched) during it.
    seed_seconds  INTEGER NOT NULL,
    leech_seconds INTEGER NOT NULL,
    -- As the newest announce says.
    left_bytes    INTEGER NOT NULL,
    -- The first completion, or NULL.
    completed_at  INTEGER,
    first_seen    INTEGER NOT NULL,
    last_seen     INTEGER NOT NULL,
    -- Internal: the stream entry that set left_bytes, and the seconds counted so far.
    left_entry    TEXT    NOT NULL,
    seed_spans    BLOB    NOT NULL,
    leech_spans   BLOB    NOT NULL,
    PRIMARY KEY (passkey, infohash)
) STRICT, WITHOUT ROWID;

-- Factors on credit. Written by the site or by trackerctl; read at every batch. An event takes the highest up_factor
-- and the lowest down_factor of those in force at its own ts: starts_at <= ts < ends_at.
CREATE TABLE promotions (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    scope       TEXT    NOT NULL CHECK (scope IN ('global', 'torrent', 'film', 'playlist', 'user')),
    -- '' for global, 40 hex digits for a torrent, the film or playlist id, the passkey.
    scope_key   TEXT    NOT NULL DEFAULT '',
    up_factor   REAL    NOT NULL DEFAULT 1 CHECK (up_factor BETWEEN 0 AND 1000),
    down_factor REAL    NOT NULL DEFAULT 1 CHECK (down_factor BETWEEN 0 AND 1000),
    starts_at   INTEGER NOT NULL,
    -- NULL: until further notice.
    ends_at     INTEGER,
    CHECK (scope <> 'torrent' OR (length(scope_key) = 40 AND scope_key NOT GLOB '*[^0-9a-fA-F]*')),
    CHECK (scope <> 'user' OR (length(scope_key) BETWEEN 1 AND 64 AND scope_key NOT GLOB '*[^0-9A-Za-z_-]*'))
) STRICT;

-- Announces that were credited nothing until an operator decides: the same key, why, and the figures as JSON.
CREATE TABLE flagged_events (
    ts       INTEGER NOT NULL,
    passkey  TEXT    NOT NULL,
    infohash BLOB    NOT NULL CHECK (length(infohash) = 20),
    peer_id  BLOB    NOT NULL CHECK (length(peer_id) = 20),
    reason   TEXT    NOT NULL,
    details  TEXT    NOT NULL,
    PRIMARY KEY (ts, passkey, infohash, peer_id)
) STRICT, WITHOUT ROWID;
