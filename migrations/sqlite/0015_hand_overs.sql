-- Hand-overs of the log's signing key: each a checkpoint that the key before and its successor signed both.
-- `log_head.signer` is the data key of the key that signs now: the newest successor, or the first key if there was no hand-over.
CREATE TABLE log_hand_overs (
    number    integer NOT NULL PRIMARY KEY CHECK (number >= 0),
    size      integer NOT NULL CHECK (size >= 1),
    former    blob    NOT NULL,
    successor blob    NOT NULL,
    note      text    NOT NULL,
    signed_at integer NOT NULL
) STRICT;
-- Each size has one, and each key hands over once and comes in once.
CREATE UNIQUE INDEX log_hand_overs_by_size ON log_hand_overs (size);
CREATE UNIQUE INDEX log_hand_overs_by_former ON log_hand_overs (former);
CREATE UNIQUE INDEX log_hand_overs_by_successor ON log_hand_overs (successor);
