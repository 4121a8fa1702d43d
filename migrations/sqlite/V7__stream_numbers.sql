-- Internal: which entries of the stream this ledger has seen, by their numbers, which have no gap.
CREATE TABLE stream_numbers (
    one            INTEGER PRIMARY KEY CHECK (one = 1),
    -- Runs of numbers, such as 1-40,42-50.
    seen           TEXT    NOT NULL,
    -- The entry with the highest number.
    newest         INTEGER,
    newest_entry   TEXT    NOT NULL,
    -- Since Redis went back in time: the lowest number that it gave anew, and the newest entry from before.
    anew           INTEGER NOT NULL,
    anew_after     TEXT    NOT NULL,
    -- Entries that were lost, and how often Redis went back.
    lost           INTEGER NOT NULL,
    rollbacks      INTEGER NOT NULL,
    -- Every entry before this one is settled: a copy of the ledger lacks none of them.
    settled_before TEXT    NOT NULL
) STRICT;

INSERT INTO stream_numbers VALUES (1, '', NULL, '0-0', 0, '0-0', 0, 0, '0-0');
