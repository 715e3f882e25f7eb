//! The reference of the same minute: `pgbench` inserting one row like a card's per commit, no TLS, no audit entry.

use std::time::Duration;

use super::Failure;
use super::postgres::Server;

/// One row with the columns, sizes and indexes of a card's.
const SCRIPT: &str = "\
\\set a random(1, 9000000000000000000)
\\set b random(1, 9000000000000000000)
INSERT INTO reference (token_hash, token, tenant, record, data_key, bin, last4, exp, brand, length, row_version, created_at, updated_at)
VALUES (decode(md5((:a)::text) || md5((:b)::text), 'hex'), 'tok_test_' || md5((:a)::text), 'acme',
    decode(repeat(md5((:b)::text), 9), 'hex'), '0190a0b0-c0d0-7e0f-8f00-112233445566', '99999900', '0006', '3012', NULL,
    16, 1, now_micros(), now_micros());
";

/// The time as rows hold it, so that the reference's index grows at its end as the cards' does.
const NOW: &str = "CREATE OR REPLACE FUNCTION now_micros() RETURNS bigint LANGUAGE sql AS \
                   'SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint'";

/// Longest run of the reference: its rate settles in seconds, and there are two for each measurement.
const TIME_MAX: Duration = Duration::from_secs(20);

/// Commits a second.
pub(crate) fn run(server: &Server, connections: usize, time: Duration) -> Result<f64, Failure> {
    server.ask("DROP TABLE IF EXISTS reference; CREATE TABLE reference (LIKE cards INCLUDING ALL)")?;
    server.ask(NOW)?;
    let script = server.socket_folder().join("reference.sql");
    std::fs::write(&script, SCRIPT)?;
    let output = server
        .client("pgbench")
        .args([
            "-n",
            "-M",
            "prepared",
            "-j",
            "2",
            "-c",
            &connections.to_string(),
            "-T",
            &time.min(TIME_MAX).as_secs().to_string(),
            "-f",
        ])
        .arg(&script)
        .arg("postgres")
        .output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let tps =
        text.lines().find_map(|line| line.strip_prefix("tps = ")).and_then(|rest| rest.split(' ').next());
    server.ask("DROP TABLE reference")?;
    match tps {
        Some(tps) => Ok(tps.parse()?),
        None => Err(format!("pgbench said no rate: {}", String::from_utf8_lossy(&output.stderr)).into()),
    }
}
