-- One job. SQLite in WAL mode: a crash of the producer loses nothing that was committed.
CREATE TABLE IF NOT EXISTS meta (
    key   TEXT PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS model (
    data BLOB NOT NULL  -- one row: the model file, so that a job can be ended without it
);

CREATE TABLE IF NOT EXISTS automaton (
    packed BLOB NOT NULL  -- at most one row: of the texts that the job accepts, likewise
);

CREATE TABLE IF NOT EXISTS image (
    idx        INTEGER PRIMARY KEY,
    name       TEXT NOT NULL UNIQUE,
    url        TEXT NOT NULL,
    state      INTEGER NOT NULL DEFAULT 0,  -- producer.job.spec.State
    delivery   INTEGER,                     -- the one that is out, or that answered
    ready_at   REAL NOT NULL DEFAULT 0,     -- on the ledger's clock: not sent again before
    attempts   INTEGER NOT NULL DEFAULT 0,  -- answers so far, failed ones that may pass included
    suspicion  INTEGER NOT NULL DEFAULT 0,  -- points, see producer.job.policy
    text       TEXT,
    confidence REAL,
    reason     TEXT,
    detail     TEXT,
    worker     TEXT,
    failed_by  TEXT,                        -- the first worker whose failure may be its own
    sent       INTEGER NOT NULL DEFAULT 0,  -- how often it went out
    hedged     INTEGER NOT NULL DEFAULT 0   -- whether it was sent to a second worker for being slow
);

-- Waiting images by suspicion: suspects and the others go out in turns.
CREATE INDEX IF NOT EXISTS image_waiting ON image (suspicion, idx) WHERE state = 0;
-- What is not at its end yet; empty when the job is over.
CREATE INDEX IF NOT EXISTS image_out ON image (delivery) WHERE state = 1;
-- What failed, by its reason. With the two above it counts a job without reading its images.
CREATE INDEX IF NOT EXISTS image_failed ON image (reason) WHERE state = 3;

CREATE TABLE IF NOT EXISTS delivery (
    id     INTEGER PRIMARY KEY,
    images TEXT NOT NULL,     -- as ranges ("0-63,70"): an answer must be to those
    size   INTEGER NOT NULL,  -- how many these are
    ended  TEXT               -- answered, or why it was given up; NULL while it is out
);
CREATE INDEX IF NOT EXISTS delivery_out ON delivery (id) WHERE ended IS NULL;
