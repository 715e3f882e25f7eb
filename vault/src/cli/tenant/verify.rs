//! `tenant verify`: that nothing is kept past its time (PCI DSS 3.2.1), as the database says.

use std::io::Write;
use std::process::ExitCode;

use super::desk::Desk;
use crate::cli::CliError;

pub(super) async fn run(desk: &mut Desk, out: &mut (dyn Write + Send)) -> Result<ExitCode, CliError> {
    let (mut tenants, mut past_due, mut for_ever, mut after) = (0_u64, 0, 0_u64, None);
    writeln!(out, "{:32} {:>6} {:>10} {:28} reason", "tenant", "days", "past due", "oldest")?;
    loop {
        let page = desk.page("/v1/retention", after.as_deref()).await?;
        for row in page["tenants"].as_array().into_iter().flatten() {
            let due = row["past_due"].as_u64().ok_or("the report has no past_due")?;
            let text = |name: &str| row[name].as_str().unwrap_or("-").to_owned();
            let days = row["days"].as_u64();
            writeln!(
                out,
                "{:32} {:>6} {due:>10} {:28} {}",
                text("tenant"),
                days.map_or("-".into(), |days| days.to_string()),
                text("oldest"),
                text("reason")
            )?;
            (tenants, past_due) = (tenants + 1, past_due + due);
            for_ever += u64::from(days.is_none());
        }
        after = page["next"].as_str().map(str::to_owned);
        if after.is_none() {
            break;
        }
    }
    writeln!(out, "past_due = {past_due} in {tenants} tenants; {for_ever} keep their cards for ever")?;
    Ok(if past_due == 0 && for_ever == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
