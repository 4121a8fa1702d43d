-- The rule that `event` is one of four words, unchanged, but as comparisons: for a list SQLite builds a table of the words
-- at every insert, which cost more than the insert itself. Editing the text of the schema is the way that SQLite's
-- documentation names for a CHECK that every row keeps (ALTER TABLE cannot; a copy of the table would take minutes).
PRAGMA writable_schema = ON;

UPDATE sqlite_schema
SET sql = replace(
    sql,
    'event IN (''none'', ''started'', ''completed'', ''stopped'')',
    'event = ''none'' OR event = ''started'' OR event = ''completed'' OR event = ''stopped'''
)
WHERE type = 'table' AND name = 'settled_events';

PRAGMA writable_schema = RESET;
