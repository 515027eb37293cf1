//! How changes of the database are followed, as the service's own metrics tell it.

use serde_json::{Value, json};

use crate::ground::changes::Feed;
use crate::ground::show::{counted, human_bytes, human_seconds};

/// What the metrics say.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Followed {
    feed: Feed,
    is_heard: bool,
    /// Keys and patterns that are not deleted yet, and for how many seconds the first of them has waited.
    waiting: u64,
    behind: f64,
    /// How often everything had to be taken for changed.
    missed: u64,
    slot: Option<Slot>,
}

/// How the slot is, in bytes of the database's log.
#[derive(Debug, Clone, PartialEq)]
struct Slot {
    position: u64,
    unread: u64,
    kept: u64,
    lag: f64,
}

impl Followed {
    /// Reads the page; `None` if it is not one that knows of it.
    pub(super) fn parse(feed: &Feed, page: &str) -> Option<Self> {
        let of = |name: &str| {
            let of = |line: &str| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse::<f64>().ok();
            page.lines().find_map(of)
        };
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "they are counts")]
        let count = |name: &str| of(name).map(|count| count as u64);
        let slot = |_: &_| {
            Some(Slot {
                position: count("warm_changes_position_bytes")?,
                unread: count("warm_changes_unread_bytes")?,
                kept: count("warm_changes_slot_bytes")?,
                lag: of("warm_changes_lag_seconds")?,
            })
        };
        Some(Followed {
            is_heard: of("warm_changes_connected")? > 0.0,
            waiting: count("warm_changes_waiting")?,
            behind: of("warm_changes_behind_seconds")?,
            missed: count("warm_changes_missed_total")?,
            slot: if let Feed::Slot(found) = feed { slot(found) } else { None },
            feed: feed.clone(),
        })
    }

    /// For people.
    pub(super) fn line(&self) -> String {
        let heard = if self.is_heard { "heard" } else { "not heard" };
        let waiting = match self.waiting {
            0 => "nothing waits to be deleted".to_owned(),
            waiting => format!(
                "{} wait to be deleted, for {} at most",
                counted(waiting, "key or pattern", "keys and patterns"),
                human_seconds(self.behind)
            ),
        };
        let slot = self.slot.as_ref().map(|slot| {
            format!(
                "; done up to {}, {} of the log after that, {} kept for the slot, the last one heard {} after its commit",
                position(slot.position),
                human_bytes(slot.unread),
                human_bytes(slot.kept),
                human_seconds(slot.lag)
            )
        });
        let missed = counted(self.missed, "time", "times");
        format!(
            "changes ({}): {heard}; {waiting}{}; all was taken for changed {missed} since it began",
            self.feed.shown(),
            slot.unwrap_or_default()
        )
    }

    /// For programs.
    pub(super) fn value(&self) -> Value {
        let slot = self.slot.as_ref().map(|slot| {
            json!({ "position": position(slot.position), "unread_bytes": slot.unread, "kept_bytes": slot.kept, "lag_seconds": slot.lag })
        });
        json!({
            "heard": self.is_heard,
            "waiting": self.waiting,
            "behind_seconds": self.behind,
            "missed": self.missed,
            "slot": slot,
        })
    }
}

/// A position as PostgreSQL writes it.
fn position(bytes: u64) -> String {
    format!("{:X}/{:X}", bytes >> 32, bytes & 0xffff_ffff)
}
