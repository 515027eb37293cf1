//! What keeps a run from asking the database: the application comes first, and rows that are older than they may be are not read.

use std::fmt;
use std::time::Duration;

use super::error::ErrorKind;
use super::show::human_seconds;

/// Why a run waits before it reads.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Hold {
    /// Others have much to do in the database.
    Busy {
        /// What `busy_query` in `[postgres]` gave, or how many sessions of others are at work.
        figure: f64,
        /// Whether it is that of `busy_query`.
        queried: bool,
        /// `busy_above`, which it is above.
        above: u32,
    },
    /// The server is a standby that shows changes later than it may.
    Behind {
        /// By how much at most; `None` if nothing tells.
        lag: Option<Duration>,
        /// `max_lag`, which it is above.
        most: Duration,
    },
}

impl Hold {
    /// The kind of the error for a run that has waited for as long as it may.
    pub fn kind(self) -> ErrorKind {
        match self {
            Hold::Busy { .. } => ErrorKind::DatabaseBusy,
            Hold::Behind { .. } => ErrorKind::StandbyBehind,
        }
    }
}

impl fmt::Display for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Hold::Busy { figure, above, queried } => {
                f.write_str("PostgreSQL is busy: ")?;
                match queried {
                    true => write!(f, "busy_query gives {figure}")?,
                    false if figure == 1.0 => f.write_str("1 session of others is at work")?,
                    false => write!(f, "{figure} sessions of others are at work")?,
                }
                write!(f, ", more than busy_above = {above} in [postgres]")
            }
            Hold::Behind { lag: Some(lag), most } => {
                let (lag, most) = (human_seconds(lag.as_secs_f64()), humantime::format_duration(most));
                write!(f, "the standby is up to {lag} behind its primary, more than max_lag = {most} in [postgres]")
            }
            Hold::Behind { lag: None, most } => {
                let most = humantime::format_duration(most);
                write!(
                    f,
                    "nothing tells how far the standby is behind its primary, which may be more than max_lag = {most} in [postgres]: it has replayed no commit since it was started, and not all that there is"
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_figure_and_limit() {
        let said = |hold: Hold| hold.to_string();
        for (figure, above, queried, words) in [
            (21.0, 20, false, "21 sessions of others are at work, more than busy_above = 20"),
            (1.0, 0, false, "1 session of others is at work, more than busy_above = 0"),
            (20.5, 20, true, "busy_query gives 20.5, more than busy_above = 20"),
        ] {
            assert_eq!(
                said(Hold::Busy { figure, above, queried }),
                format!("PostgreSQL is busy: {words} in [postgres]")
            );
        }
        let most = Duration::from_secs(30);
        let behind = "the standby is up to 1m 15s behind its primary, more than max_lag = 30s in [postgres]";
        assert_eq!(said(Hold::Behind { lag: Some(Duration::from_millis(75_900)), most }), behind);
        assert!(said(Hold::Behind { lag: None, most }).contains("more than max_lag = 30s"));
    }
}
