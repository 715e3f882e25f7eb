-- Events of cards' lives for the destinations that are told of them: the outbox. A row for each event and destination is written
-- in the transaction of its change, and only where a destination is configured. `due_at` is when a pending event is tried
-- next, and when the others were delivered or given up. `data` holds facts, never a number or a token.
CREATE TABLE card_events (
    token_hash  bytea   NOT NULL CHECK (octet_length(token_hash) = 32),
    sequence    bigint  NOT NULL CHECK (sequence >= 1),
    destination text    COLLATE "C" NOT NULL,
    tenant      text    COLLATE "C" NOT NULL,
    kind        text    NOT NULL,
    data        text    NOT NULL,
    occurred_at bigint  NOT NULL,
    state       text    COLLATE "C" NOT NULL CHECK (state IN ('pending', 'delivered', 'dead')),
    due_at      bigint  NOT NULL,
    give_up_at  bigint  NOT NULL,
    attempts    integer NOT NULL DEFAULT 0 CHECK (attempts >= 0),
    met         text,
    PRIMARY KEY (token_hash, sequence, destination)
);
-- Read by the deliverer, by lists and by whoever forgets what is old.
CREATE INDEX card_events_due ON card_events (destination, state, due_at, token_hash, sequence);

-- Who delivers to a destination, until when. `fence` rises with every holder; `place` is how far a walk came.
CREATE TABLE event_leases (
    destination text   COLLATE "C" NOT NULL PRIMARY KEY,
    holder      uuid   NOT NULL,
    fence       bigint NOT NULL CHECK (fence >= 1),
    until_at    bigint NOT NULL,
    place       bytea
);

-- How many events a card has had: its creation is the first, told or not. And for which ends it was told that they come near.
ALTER TABLE cards ADD COLUMN event_sequence bigint NOT NULL DEFAULT 1;
ALTER TABLE cards ADD COLUMN told_exp text;
ALTER TABLE cards ADD COLUMN told_expires_at bigint;
