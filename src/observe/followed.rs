//! What is logged and counted of changes of the database: how the connection is, always; what happens all the time, for who wants to see everything; and what goes wrong all the time, now and then.

use std::fmt;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use tracing::{debug, info, warn};

use super::counted;
use super::log::{UNREAD, is_due};
use super::series::Seconds;
use crate::ground::changes::{Feed, Followed, Following, SlotState};

/// The most that is told of what is wrong with a message.
const WRONG: usize = 300;

/// Writes what happens to the log.
#[derive(Debug, Default)]
pub(super) struct FollowedLog {
    /// When it was told last that a message says nothing.
    misunderstood: Mutex<Option<Instant>>,
    /// When it was told last that keys cannot be deleted.
    held_up: Mutex<Option<Instant>>,
}

impl FollowedLog {
    pub(super) fn log(&self, followed: &Followed<'_>) {
        match followed {
            Followed::Heard { messages } => debug!(messages, "heard of {}", counted(*messages, "change", "changes")),
            Followed::Deleted { keys, took } => {
                done(*keys, *took, format_args!("deleted {} that changes are about", shown(*keys)));
            }
            Followed::Rewritten { keys, took } => {
                done(*keys, *took, format_args!("wrote {} again whose rows have changed,", shown(*keys)));
            }
            Followed::NotUnderstood { wrong, set } => self.not_understood(wrong, *set),
            Followed::HeldUp { error } if is_due(&self.held_up, UNREAD) => {
                let advice = error.kind.consequence().advice;
                warn!(kind = ?error.kind, "keys that changes are about cannot be deleted yet, which is tried again: {error}; advice: {advice}");
            }
            Followed::HeldUp { .. } => {}
            Followed::Lost { error } => {
                let advice = error.kind.consequence().advice;
                warn!(kind = ?error.kind, "changes of the database are not heard, which is tried again: {error}; advice: {advice}");
            }
            Followed::Lacks { lacks: Some(lacks) } => warn!("not all changes are heard: {lacks}"),
            Followed::Lacks { lacks: None } => info!("changes of all tables are heard"),
            Followed::Unnoted { why } => warn!(
                "up to where changes are done cannot be noted in the state folder, so that the next start takes all for changed: {why}"
            ),
            Followed::Back { feed, missed, deletes } => back(feed, *missed, *deletes),
        }
    }

    fn not_understood(&self, wrong: &str, set: Option<&str>) {
        if !is_due(&self.misunderstood, UNREAD) {
            return;
        }
        let wrong: String = wrong.chars().take(WRONG).collect();
        match set {
            Some(set) => {
                warn!(set, "a change cannot be understood, and all keys of the set {set} are deleted: {wrong}")
            }
            None => warn!("a message on the channel for changes says nothing that could be done: {wrong}"),
        }
    }
}

fn back(feed: &Feed, missed: bool, deletes: bool) {
    let (shown, name) = match feed {
        Feed::Channel(name) => (format!("listening for changes on the channel {name}"), name),
        Feed::Slot(slot) => (format!("following changes through the slot {}", slot.name), &slot.name),
    };
    match (missed, deletes) {
        (false, _) => info!(feed = name, "{shown}; none was missed"),
        (true, true) => info!(
            feed = name,
            "{shown}; some may have been missed: all keys that they can be about are deleted, and jobs write theirs again"
        ),
        (true, false) => warn!(
            feed = name,
            "{shown}; some may have been missed, and their keys stay until they die (missed = \"keep\")"
        ),
    }
}

fn done(keys: u64, took: Duration, what: fmt::Arguments<'_>) {
    let milliseconds = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    debug!(keys, milliseconds, "{what} in {milliseconds} ms");
}

fn shown(keys: u64) -> String {
    counted(keys, "key", "keys")
}

/// Counts what happens.
#[derive(Default)]
pub(super) struct FollowedSeries {
    heard: Counter,
    misunderstood: Counter,
    deleted: Counter,
    rewritten: Counter,
    missed: Counter,
    held_up: Counter,
    connected: Gauge,
    waiting: Gauge,
    behind: Seconds,
    position: Gauge,
    unread: Gauge,
    kept: Gauge,
    lag: Seconds,
}

impl FollowedSeries {
    pub(super) fn register(&self, all: &mut Registry) {
        all.register("changes_heard", "Messages about changes of the database", self.heard.clone());
        let misunderstood = "Messages about changes that could not be understood";
        all.register("changes_misunderstood", misunderstood, self.misunderstood.clone());
        all.register("changes_deleted_keys", "Keys that were deleted because of changes", self.deleted.clone());
        let rewritten = "Keys that were written again because of changes";
        all.register("changes_rewritten_keys", rewritten, self.rewritten.clone());
        let missed = "How often changes may have been missed, so that everything had to be taken for changed";
        all.register("changes_missed", missed, self.missed.clone());
        all.register("changes_held_up", "How often keys of changes could not be deleted at once", self.held_up.clone());
        all.register("changes_connected", "Whether changes are heard", self.connected.clone());
        all.register("changes_waiting", "Keys and patterns of changes that are not deleted yet", self.waiting.clone());
        all.register("changes_behind_seconds", "For how long the first of them has waited", self.behind.clone());
        let position = "Up to where in the database's log (LSN, in bytes) all changes are done, with a slot";
        all.register("changes_position_bytes", position, self.position.clone());
        let unread = "How much of the database's log comes after that, with a slot";
        all.register("changes_unread_bytes", unread, self.unread.clone());
        let kept = "How much of its log the database keeps for the slot";
        all.register("changes_slot_bytes", kept, self.kept.clone());
        let lag = "How long after its commit the last change was heard of, with a slot";
        all.register("changes_lag_seconds", lag, self.lag.clone());
    }

    pub(super) fn count(&self, followed: &Followed<'_>) {
        match followed {
            Followed::Heard { messages } => self.heard.inc_by(*messages),
            Followed::NotUnderstood { .. } => self.misunderstood.inc(),
            Followed::Deleted { keys, .. } => self.deleted.inc_by(*keys),
            Followed::Rewritten { keys, .. } => self.rewritten.inc_by(*keys),
            Followed::Back { missed: true, .. } => self.missed.inc(),
            Followed::HeldUp { .. } => self.held_up.inc(),
            Followed::Back { .. } | Followed::Lost { .. } | Followed::Lacks { .. } | Followed::Unnoted { .. } => 0,
        };
    }

    pub(super) fn show(&self, following: Option<&Following>) {
        self.connected.set(following.is_some_and(|following| following.error.is_none()).into());
        self.waiting.set(following.map_or(0, |following| i64::try_from(following.waiting).unwrap_or(i64::MAX)));
        self.behind.set(following.map_or(0.0, |following| following.behind.as_secs_f64()));
        let slot = following.and_then(|following| following.feed.slot.as_ref());
        let bytes =
            |bytes: fn(&SlotState) -> u64| slot.map_or(0, |slot| i64::try_from(bytes(slot)).unwrap_or(i64::MAX));
        self.position.set(bytes(|slot| slot.position));
        self.unread.set(bytes(|slot| slot.unread));
        self.kept.set(bytes(|slot| slot.kept));
        self.lag.set(slot.and_then(|slot| slot.lag).map_or(0.0, |lag| lag.as_secs_f64()));
    }
}
