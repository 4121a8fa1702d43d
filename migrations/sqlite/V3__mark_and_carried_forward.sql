-- Internal: which ledger this is and how far it has come, so that a consumer notices when the file it had open was
-- replaced by another one, or by an older copy of itself.
CREATE TABLE ledger_mark (
    one           INTEGER PRIMARY KEY CHECK (one = 1),
    -- Random, made with the ledger.
    id            TEXT    NOT NULL,
    -- Transactions that settled something.
    batches       INTEGER NOT NULL,
    -- Events of stream entries before this one may have been pruned: such an entry is never settled again.
    pruned_before TEXT    NOT NULL
) STRICT;

INSERT INTO ledger_mark (one, id, batches, pruned_before) VALUES (1, lower(hex(randomblob(16))), 0, '0-0');

-- Internal: what the pruned events of one user and torrent added up to. With the events that are left, it gives the row
-- of torrent_traffic; the columns mean the same.
CREATE TABLE carried_forward (
    passkey       TEXT    NOT NULL,
    infohash      BLOB    NOT NULL CHECK (length(infohash) = 20),
    raw_up        INTEGER NOT NULL,
    raw_down      INTEGER NOT NULL,
    credited_up   INTEGER NOT NULL,
    credited_down INTEGER NOT NULL,
    seed_seconds  INTEGER NOT NULL,
    leech_seconds INTEGER NOT NULL,
    left_bytes    INTEGER NOT NULL,
    completed_at  INTEGER,
    first_seen    INTEGER NOT NULL,
    last_seen     INTEGER NOT NULL,
    left_entry    TEXT    NOT NULL,
    seed_spans    BLOB    NOT NULL,
    leech_spans   BLOB    NOT NULL,
    PRIMARY KEY (passkey, infohash)
) STRICT, WITHOUT ROWID;
