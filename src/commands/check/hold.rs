//! What would keep runs from reading now: how busy PostgreSQL is, and how far a standby is behind.

use std::time::Duration;

use tokio::time::sleep;

use super::{Finding, Said};
use crate::ground::error::Error;
use crate::ground::hold::Hold;
use crate::ground::settings::Busy;
use crate::ground::show::human_seconds;
use crate::source::{Load, Marks, Postgres, Snapshot};

/// How often a standby is looked at that seems to be behind: the first look has nothing to compare with.
const LOOKS: u32 = 3;
/// The time between two of these looks.
const PAUSE: Duration = Duration::from_millis(300);

/// Looks as a run does before it reads, and says what it sees.
///
/// # Errors
/// When the snapshot is of no use any more.
pub(super) async fn check(source: &Postgres, snapshot: &mut Snapshot, said: &mut Said) -> Result<(), Error> {
    if snapshot.state().standby {
        lag(source, snapshot, said).await?;
    }
    match source.busy() {
        Some(busy) => load(busy, snapshot, said).await,
        None => Ok(()),
    }
}

async fn lag(source: &Postgres, snapshot: &mut Snapshot, said: &mut Said) -> Result<(), Error> {
    let (most, mut marks) = (source.max_lag(), Marks::default());
    let mut lag = None;
    for look in 1..=LOOKS {
        lag = match snapshot.lag(&mut marks).await {
            Ok(None) => return Ok(()),
            Ok(Some(lag)) => lag,
            // What is wrong with the primary is said by whoever asks it to verify.
            Err(_) if source.primary().is_some() => return Ok(()),
            Err(error) => return Err(error),
        };
        let enough = most.unwrap_or(PAUSE);
        if look == LOOKS || lag.is_some_and(|lag| lag <= enough) {
            break;
        }
        sleep(PAUSE).await;
    }
    let limit = match most {
        Some(most) => format!("; jobs wait while that is more than {}", humantime::format_duration(most)),
        None => "; jobs read from it whatever that is (max_lag in [postgres])".to_owned(),
    };
    said.facts.push(match lag {
        Some(lag) => format!("the standby is {} behind its primary{limit}", human_seconds(lag.as_secs_f64())),
        None => format!("nothing tells how far the standby is behind its primary{limit}"),
    });
    if let Some(most) = most.filter(|most| lag.is_none_or(|lag| lag > *most)) {
        said.findings.push(now(Hold::Behind { lag, most }));
    }
    Ok(())
}

async fn load(busy: &Busy, snapshot: &mut Snapshot, said: &mut Said) -> Result<(), Error> {
    let load = snapshot.load(busy).await?;
    match &load {
        Load::Unknown(error) => {
            let message = format!("nobody knows how busy PostgreSQL is, and no job waits for that: {error}");
            let advice = "correct busy_query in [postgres], or grant this account what it needs";
            said.findings.push(Finding::warning(message, advice));
        }
        Load::Figure(figure) => {
            let above = busy.above;
            let (what, told) = match &busy.query {
                Some(_) => (format!("busy_query gives {figure}"), ""),
                None if snapshot.sees_all_sessions().await? => (format!("others at work in PostgreSQL: {figure}"), ""),
                None => (
                    format!("others at work in PostgreSQL: {figure}"),
                    " (workers of parallel queries included, which only members of pg_read_all_stats can tell from sessions)",
                ),
            };
            said.facts.push(format!("{what}{told}; jobs wait while that is above {above}"));
        }
    }
    said.findings.extend(load.hold(busy).map(now));
    Ok(())
}

/// Jobs would wait now.
fn now(hold: Hold) -> Finding {
    let advice = format!("jobs would wait now; {}", hold.kind().consequence().advice);
    Finding::warning(hold.to_string(), advice)
}
