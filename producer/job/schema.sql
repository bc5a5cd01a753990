-- One job. SQLite in WAL mode: a crash of the producer loses nothing that was committed.
CREATE TABLE IF NOT EXISTS meta (
    key   TEXT PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS model (
    data BLOB NOT NULL  -- one row: the model file, so that a job can be ended without it
);

CREATE TABLE IF NOT EXISTS image (
    idx        INTEGER PRIMARY KEY,
    name       TEXT NOT NULL UNIQUE,
    url        TEXT NOT NULL,
    state      INTEGER NOT NULL DEFAULT 0,  -- producer.job.spec.State
    chunk      INTEGER,                     -- the delivery that is out, or that answered
    ready_at   REAL NOT NULL DEFAULT 0,     -- Unix time before which it is not sent again
    attempts   INTEGER NOT NULL DEFAULT 0,  -- answers so far, failed ones that may pass included
    deaths     INTEGER NOT NULL DEFAULT 0,  -- how suspect it is, see producer.job.ledger
    text       TEXT,
    confidence REAL,
    reason     TEXT,
    detail     TEXT,
    worker     TEXT
);

-- Waiting images by suspicion: suspects and the others go out in turns.
CREATE INDEX IF NOT EXISTS image_waiting ON image (deaths, idx) WHERE state = 0;
-- What is not at its end yet; empty when the job is over.
CREATE INDEX IF NOT EXISTS image_out ON image (chunk) WHERE state = 1;

CREATE TABLE IF NOT EXISTS chunk (
    id      INTEGER PRIMARY KEY,
    sent_at REAL NOT NULL,     -- Unix time
    session INTEGER NOT NULL,  -- which run of the producer sent it
    images  INTEGER NOT NULL,
    ended   TEXT               -- answered, or why it was given up; NULL while it is out
);
-- Which images each delivery holds, as ranges ("0-63,70"): an answer must be to those.
CREATE TABLE IF NOT EXISTS membership (
    chunk INTEGER PRIMARY KEY,
    items TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS chunk_out ON chunk (id) WHERE ended IS NULL;
