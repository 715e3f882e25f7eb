-- What rules bring about. Workloads that are suspended: every replica reads them each second, the whole of what is in force.
-- Few rows: people write them, and rules a few an hour. Rows stay after they are lifted; the log says why and by whom.
CREATE TABLE suspensions (
    workload    text   COLLATE "C" NOT NULL,
    since       bigint NOT NULL,
    by_rule     text,
    by_workload text,
    reason      text,
    lifted_at   bigint,
    PRIMARY KEY (workload, since),
    CHECK ((by_rule IS NULL) <> (by_workload IS NULL))
);
CREATE UNIQUE INDEX suspensions_in_force ON suspensions (workload) WHERE lifted_at IS NULL;

-- One row that every suspension writes first, so that two at a time cannot each rely on the other not being there.
CREATE TABLE suspension_gate (
    id   integer PRIMARY KEY CHECK (id = 1),
    turn bigint  NOT NULL
);
INSERT INTO suspension_gate VALUES (1, 0);

-- Findings go to a syslog server from where the rules are now: what was found before this step is not sent.
ALTER TABLE log_followers DROP CONSTRAINT log_followers_name_check;
ALTER TABLE log_followers ADD CONSTRAINT log_followers_name_check CHECK (name IN ('find', 'watch', 'syslog'));
INSERT INTO log_followers SELECT 'syslog', next_place, NULL, 0, 0 FROM log_followers WHERE name = 'watch';
