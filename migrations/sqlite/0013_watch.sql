-- What rules bring about. Workloads that are suspended: every replica reads them each second, the whole of what is in force.
-- Few rows: people write them, and rules a few an hour. Rows stay after they are lifted; the log says why and by whom.
CREATE TABLE suspensions (
    workload    text    NOT NULL,
    since       integer NOT NULL,
    by_rule     text,
    by_workload text,
    reason      text,
    lifted_at   integer,
    PRIMARY KEY (workload, since),
    CHECK ((by_rule IS NULL) <> (by_workload IS NULL))
) STRICT;
CREATE UNIQUE INDEX suspensions_in_force ON suspensions (workload) WHERE lifted_at IS NULL;

-- One row that every suspension writes first, so that two at a time cannot each rely on the other not being there.
CREATE TABLE suspension_gate (
    id   integer NOT NULL PRIMARY KEY CHECK (id = 1),
    turn integer NOT NULL
) STRICT;
INSERT INTO suspension_gate VALUES (1, 0);

-- Findings go to a syslog server from where the rules are now: what was found before this step is not sent.
CREATE TABLE log_followers_next (
    name        text    NOT NULL PRIMARY KEY CHECK (name IN ('find', 'watch', 'syslog')),
    next_place  integer NOT NULL CHECK (next_place >= 0),
    holder      blob,
    fence       integer NOT NULL CHECK (fence >= 0),
    lease_until integer NOT NULL
) STRICT;
INSERT INTO log_followers_next SELECT name, next_place, holder, fence, lease_until FROM log_followers;
INSERT INTO log_followers_next SELECT 'syslog', next_place, NULL, 0, 0 FROM log_followers WHERE name = 'watch';
DROP TABLE log_followers;
ALTER TABLE log_followers_next RENAME TO log_followers;
