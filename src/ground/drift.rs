//! What a comparison of cache and database finds.
//!
//! A value that differs may be older than its rows (stale), or made in another way: other members, another order, another notation (another shape). The first mends
//! itself, the second means that warm and the application do not write the same bytes. They are told apart by what the values are made of.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use xxhash_rust::xxh3::xxh3_64;

use super::difference::Difference;
use super::entry::Entry;
use super::kind::Kind;
use super::parts::first_difference;
use super::sealing::Opens;
use super::shape::other_shape;
use super::show::visible;

/// How many findings are kept to be shown, of each comparison.
const SHOWN: usize = 20;

/// By how much a key may live longer than it should: clocks and round trips.
const SLACK: Duration = Duration::from_secs(1);

/// What is at a key, beside the value that should be there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// Nothing.
    Absent,
    /// The same; how long it lives in milliseconds, `None` for ever.
    Same(Option<u64>),
    /// Another value, and how long it lives.
    Other(Option<u64>, Vec<u8>),
    /// Something of another type: its name in Redis.
    OtherType(String),
}

/// What a comparison has found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Drift {
    /// Keys that hold what they should.
    pub same: u64,
    /// Of these those that are compressed in another way, or encrypted with another key.
    pub sealed_otherwise: u64,
    /// Absent keys.
    pub missing: u64,
    /// Keys with a value that is older, or newer, than the rows.
    pub stale: u64,
    /// Keys with a value that was made in another way.
    pub other_shape: u64,
    /// Keys that hold another type.
    pub other_type: u64,
    /// Keys that live for ever, or longer than the job says, whatever they hold.
    pub other_ttl: u64,
    /// Keys that the job would not write, since it has no row for them.
    pub extra: u64,
    /// Keys of which it cannot be told, since they are none that the job writes by itself.
    pub unknown: u64,
    /// Those of the keys with another value that the job does not write by itself.
    pub others: Vec<Arc<[u8]>>,
    /// Some of the findings.
    pub shown: Vec<Finding>,
    /// Fingerprints of the keys that were compared.
    seen: HashSet<u64>,
}

/// A key that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The key, with the installation's prefix.
    pub key: String,
    /// What is wrong with it.
    pub what: What,
}

/// What is wrong with a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// It is absent.
    Missing,
    /// Its value is older, or newer, than the rows.
    Stale(Difference),
    /// Its value was made in another way: in which, and where its bytes differ first.
    OtherShape(String, Difference),
    /// The same: it cannot be opened, and why.
    Unopened(String),
    /// It holds this type.
    OtherType(String),
    /// It never dies, or lives for so long, which is longer than so.
    OtherTtl(Option<Duration>, Duration),
    /// There is no row for it.
    Extra,
}

impl What {
    /// Its name, as programs are told it.
    pub fn name(&self) -> &'static str {
        match self {
            What::Missing => "missing",
            What::Stale(_) => "stale",
            What::OtherShape(..) | What::Unopened(_) => "other_shape",
            What::OtherType(_) => "other_type",
            What::OtherTtl(..) => "other_ttl",
            What::Extra => "extra",
        }
    }
}

impl Drift {
    /// How many things are not as they should be.
    pub fn findings(&self) -> u64 {
        self.missing + self.stale + self.other_shape + self.other_type + self.other_ttl + self.extra
    }

    /// Whether cache and database agree.
    pub fn is_none(&self) -> bool {
        self.findings() == 0
    }

    /// Whether writing could help.
    pub fn can_be_repaired(&self) -> bool {
        self.missing + self.stale + self.other_shape > 0
    }

    /// Whether the key with this name, without the installation's prefix, was compared.
    pub fn has_seen(&self, key: &[u8]) -> bool {
        self.seen.contains(&xxh3_64(key))
    }

    /// Notes that a key was looked at.
    pub fn looked_at(&mut self, key: &[u8]) {
        self.seen.insert(xxh3_64(key));
    }

    /// Counts a key that holds what it should, and lives for `left` milliseconds.
    pub fn same(&mut self, prefix: &str, entry: &Entry<'_>, left: Option<u64>) {
        self.looked_at(entry.key);
        self.same += 1;
        self.lives(prefix, entry, left);
    }

    /// Counts a key that holds what it should, though it is sealed in another way.
    pub fn same_when_opened(&mut self, prefix: &str, entry: &Entry<'_>, left: Option<u64>) {
        self.sealed_otherwise += 1;
        self.same(prefix, entry, left);
    }

    /// Counts a key that does not. Where values are sealed, `opens` is the way back.
    pub fn differs(&mut self, prefix: &str, kind: Kind, entry: &Entry<'_>, found: &Found, opens: Option<&dyn Opens>) {
        self.looked_at(entry.key);
        let what = match found {
            Found::Same(_) => return,
            Found::Absent => What::Missing,
            Found::OtherType(name) => What::OtherType(name.clone()),
            Found::Other(left, value) => {
                self.lives(prefix, entry, *left);
                if kind.has_parts() {
                    return self.find(prefix, entry.key, What::Stale(first_difference(kind, entry.payload, value)));
                }
                match opens {
                    None => differing(entry.payload, value, false),
                    Some(opens) => match opened(opens, entry, value) {
                        Ok((expected, found)) => differing(&expected, &found, opens.is_secret()),
                        Err(why) => What::Unopened(why),
                    },
                }
            }
        };
        self.find(prefix, entry.key, what);
    }

    /// Counts a key without a row.
    pub fn extra(&mut self, prefix: &str, key: &[u8]) {
        self.find(prefix, key, What::Extra);
    }

    /// How many keys were looked at.
    pub fn compared(&self) -> usize {
        self.seen.len()
    }

    /// Adds what was found at a key that the job does not write by itself. That it has gone meanwhile is no finding: nobody owes it.
    pub fn add(&mut self, key: &Arc<[u8]>, mut other: Drift) {
        other.missing = 0;
        other.shown.retain(|finding| finding.what != What::Missing);
        if other.stale + other.other_shape > 0 {
            self.others.push(Arc::clone(key));
        }
        self.same += other.same;
        self.sealed_otherwise += other.sealed_otherwise;
        self.stale += other.stale;
        self.other_shape += other.other_shape;
        self.other_type += other.other_type;
        self.other_ttl += other.other_ttl;
        self.extra += other.extra;
        let room = SHOWN.saturating_sub(self.shown.len());
        self.shown.extend(other.shown.into_iter().take(room));
        self.seen.extend(other.seen);
    }

    fn lives(&mut self, prefix: &str, entry: &Entry<'_>, left: Option<u64>) {
        let left = left.map(Duration::from_millis);
        if left.is_none_or(|left| left > entry.ttl + SLACK) {
            self.find(prefix, entry.key, What::OtherTtl(left, entry.ttl));
        }
    }

    fn find(&mut self, prefix: &str, key: &[u8], what: What) {
        *match what {
            What::Missing => &mut self.missing,
            What::Stale(_) => &mut self.stale,
            What::OtherShape(..) | What::Unopened(_) => &mut self.other_shape,
            What::OtherType(_) => &mut self.other_type,
            What::OtherTtl(..) => &mut self.other_ttl,
            What::Extra => &mut self.extra,
        } += 1;
        if self.shown.len() < SHOWN {
            let key = visible(&format!("{prefix}{}", String::from_utf8_lossy(key)));
            self.shown.push(Finding { key, what });
        }
    }
}

/// Whether a value that differs holds the same as the one that should be there.
pub fn holds_the_same(opens: &dyn Opens, entry: &Entry<'_>, value: &[u8]) -> bool {
    opened(opens, entry, value).is_ok_and(|(expected, found)| expected == found)
}

/// What should be there, and what is there.
fn opened(opens: &dyn Opens, entry: &Entry<'_>, value: &[u8]) -> Result<(Vec<u8>, Vec<u8>), String> {
    let expected = opens.open(entry.key, entry.payload)?;
    Ok((expected, opens.open(entry.key, value)?))
}

fn differing(expected: &[u8], found: &[u8], is_secret: bool) -> What {
    let difference = Difference::between(expected, found);
    let difference = if is_secret { difference.without_values() } else { difference };
    match other_shape(expected, found, !is_secret) {
        Some(how) => What::OtherShape(how, difference),
        None => What::Stale(difference),
    }
}
