//! Reading through: a value comes from this process' own memory, else from Redis, else from the database, and then it is in both.
//!
//! However many ask for one key at the same time, one of them asks for all (a library sees to that: `moka`). What is in the own memory (level 1) is as old as `level1_ttl` at
//! most, since nobody has to tell this process what the application invalidates. That there is no row for a key is remembered for as long. Who does tell ([`ReadThrough::forget`]) is told
//! nothing old any more.

mod breaker;
mod fills;
mod wanted;

use std::collections::HashMap;
use std::future::pending;
use std::sync::Arc;
use std::time::{Duration, Instant};

use moka::Expiry;
use moka::future::Cache;
use tokio::sync::watch;

use self::breaker::Breaker;
use self::fills::Fills;
use self::wanted::Wanted;
use super::Runner;
use super::under_way::{UnderWay, UnderWayNow};
use crate::cache::{Live, Reader};
use crate::ground::error::{Error, ErrorKind};
use crate::ground::invalidate::Targets;
use crate::ground::job::{Job, Mode};
use crate::ground::kind::Kind;
use crate::ground::one_key::Unfillable;
use crate::ground::request::{Purpose, Request};
use crate::ground::run::Report;
use crate::ground::settings::Level1;

/// What keeping one value costs beside its bytes.
const OVERHEAD: usize = 256;

/// Where something is kept: a key, and the round of it in which it was read.
type Place = (Arc<[u8]>, u64);

/// Reads values through.
pub struct ReadThrough {
    runner: Arc<Runner>,
    jobs: HashMap<String, Arc<Job>>,
    reader: Reader,
    redis: Breaker,
    known: Cache<Place, Known>,
    under_way: Arc<UnderWay>,
    keep: Duration,
    fills: Fills,
    stop: watch::Sender<bool>,
}

/// Where a value came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// This process' memory.
    Own,
    /// Redis.
    Redis,
    /// The database, through a fill.
    Database,
}

impl Level {
    /// Its name, as it is counted and told.
    pub fn name(self) -> &'static str {
        match self {
            Level::Own => "level1",
            Level::Redis => "redis",
            Level::Database => "database",
        }
    }
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Known {
    /// The value; nothing if no row makes the key.
    pub value: Option<Arc<[u8]>>,
    /// Where it came from.
    pub level: Level,
    /// How long the value lived when it was read; `None` for ever, or without a value.
    pub left: Option<Duration>,
    /// Why there is none that could be given, though there is a row: the next look would find the same.
    refused: Option<Arc<str>>,
    /// For how long it may be kept.
    keep: Duration,
    at: Instant,
}

impl Known {
    /// How long the value still lives.
    pub fn left_now(&self) -> Option<Duration> {
        self.left.map(|left| left.saturating_sub(self.at.elapsed()))
    }

    fn told(self) -> Result<Known, NoAnswer> {
        match self.refused {
            Some(why) => Err(NoAnswer::Failed(Error::new(ErrorKind::Definition, &*why))),
            None => Ok(self),
        }
    }
}

/// Why there is no answer.
#[derive(Debug, Clone)]
pub enum NoAnswer {
    /// The key is none of any job, or cannot be filled.
    NotOurs(String),
    /// A server, or a guard, does not let it be.
    Failed(Error),
}

struct Keeps;

impl Expiry<Place, Known> for Keeps {
    fn expire_after_create(&self, _: &Place, known: &Known, _: Instant) -> Option<Duration> {
        Some(known.keep)
    }
}

impl ReadThrough {
    /// A reader of the jobs' keys, for which a connection to the database is kept from now on.
    ///
    /// # Errors
    /// If there can be no thread for it.
    pub fn new(runner: &Arc<Runner>, jobs: &[Arc<Job>], level1: Level1) -> Result<Self, Error> {
        let weight = |(key, _): &Place, known: &Known| {
            let bytes = key.len() + known.value.as_ref().map_or(0, |value| value.len()) + OVERHEAD;
            u32::try_from(bytes).unwrap_or(u32::MAX)
        };
        let known = Cache::builder().max_capacity(level1.bytes as u64).weigher(weight).expire_after(Keeps).build();
        runner.source.keep_for_fills();
        Ok(ReadThrough {
            reader: runner.redis.reader()?,
            redis: Breaker::new("Redis"),
            fills: Fills::new(runner.places(), jobs.iter().map(|job| &*job.name)),
            // Whoever asks is told what went wrong; the log of runs is not for that.
            runner: Arc::new(runner.unheard()),
            jobs: jobs.iter().map(|job| (job.name.clone(), Arc::clone(job))).collect(),
            known,
            under_way: UnderWay::new(),
            keep: level1.ttl,
            stop: watch::channel(false).0,
        })
    }

    /// The same in the place of another one: what is forgotten here is forgotten there, and fills that are under way there are waited for.
    #[must_use]
    pub fn after(mut self, other: &ReadThrough) -> Self {
        self.under_way = Arc::clone(&other.under_way);
        self
    }

    /// The value at a key, with or without the installation's prefix.
    ///
    /// # Errors
    /// Why there is no answer; the next who asks begins anew.
    pub async fn read(self: &Arc<Self>, key: &[u8]) -> Result<Known, NoAnswer> {
        let key = key.strip_prefix(self.runner.redis.key_prefix().as_bytes()).unwrap_or(key);
        let job = self.job_of(key)?;
        if let Some(why) = job.disabled() {
            let message = format!("the job `{}` is disabled: {why}", job.name);
            return Err(NoAnswer::Failed(Error::new(ErrorKind::Definition, message)));
        }
        let kind = job.key_type.kind();
        if kind != Kind::String {
            // Before it is filled for nothing.
            let (job, kind) = (&job.name, kind.in_words_of_many());
            let why =
                format!("keys of the job `{job}` are {kind}, and only strings are given here; ask Redis for them");
            return Err(NoAnswer::Failed(Error::new(ErrorKind::Definition, why)));
        }
        let key: Arc<[u8]> = Arc::from(key);
        if let Some(known) = self.known.get(&(Arc::clone(&key), self.under_way.round(&key))).await {
            return Known { level: Level::Own, ..known }.told();
        }
        let (this, wanted) = (Arc::clone(self), Wanted::default());
        let reading = {
            let wanted = wanted.clone();
            async move { this.read_once(&job, key, &wanted).await }
        };
        // Whoever asked first may break off: once its fill has begun, the others wait for it all the same.
        let found = wanted::wait_for(&wanted, reading).await;
        found.unwrap_or_else(|error| Err(NoAnswer::Failed(Error::new(ErrorKind::Panic, error.to_string()))))?.told()
    }

    /// Looks for the value, or waits for whoever does so already.
    async fn read_once(&self, job: &Arc<Job>, key: Arc<[u8]>, wanted: &Wanted) -> Result<Known, NoAnswer> {
        // Until what was found is kept.
        let under_way = self.under_way.begin(&key);
        let round = self.under_way.round(&key);
        let find = self.find(job, Arc::clone(&key), (wanted, &under_way));
        let entry = self.known.entry((key, round)).or_try_insert_with(find).await;
        drop(under_way);
        let entry = entry.map_err(|error| (*error).clone())?;
        let is_fresh = entry.is_fresh();
        let mut known = entry.into_value();
        if !is_fresh {
            known.level = Level::Own;
        }
        Ok(known)
    }

    /// Forgets what is kept of these keys, since they have been deleted. Whoever asks for one when this has returned is given what was read after it was called.
    ///
    /// A fill that began before the deletion may have written what it had read before: it is waited for, since it makes sure of that before it ends, or takes it back. One that
    /// waits for its turn reads later, and is not waited for.
    pub async fn forget(&self, targets: &Targets) {
        self.begin_anew(targets).await;
        let fills = self.under_way.fills_of(|key| targets.has(key));
        if !fills.is_empty() {
            for mut is_over in fills {
                // It fails, when the fill is over.
                let _ = is_over.changed().await;
            }
            self.begin_anew(targets).await;
        }
    }

    async fn begin_anew(&self, targets: &Targets) {
        targets.keys().for_each(|key| self.under_way.advance(key));
        if targets.patterns().next().is_none() {
            return;
        }
        // In this order: a reading that is not among them any more has kept what it found.
        self.under_way.of(|key| targets.has(key)).iter().for_each(|key| self.under_way.advance(key));
        let kept: Vec<_> = self.known.iter().map(|(place, _)| place).filter(|place| targets.has(&place.0)).collect();
        for place in kept {
            self.under_way.advance(&place.0);
            self.known.invalidate(&*place).await;
        }
    }

    /// The name of the job whose key this is, if it is one's.
    pub fn owner(&self, key: &[u8]) -> Option<&str> {
        let key = key.strip_prefix(self.runner.redis.key_prefix().as_bytes()).unwrap_or(key);
        self.runner.key_space.owner(key).ok()
    }

    fn job_of(&self, key: &[u8]) -> Result<Arc<Job>, NoAnswer> {
        let owner = self.runner.key_space.owner(key).map_err(|why| NoAnswer::NotOurs(why.to_string()))?;
        let job = self.jobs.get(owner).cloned();
        job.ok_or_else(|| NoAnswer::NotOurs("it is a key of no job".to_owned()))
    }

    async fn find(
        &self,
        job: &Arc<Job>,
        key: Arc<[u8]>,
        (wanted, under_way): (&Wanted, &Arc<UnderWayNow>),
    ) -> Result<Known, NoAnswer> {
        if let Some(live) = self.in_redis(job, &key).await? {
            return Ok(self.known(Some(live), Level::Redis));
        }
        job.for_key(&key).map_err(|why| match why {
            Unfillable::NotItsKey(why) => NoAnswer::NotOurs(why),
            // There may be a row all the same.
            Unfillable::NoFillQuery(why) => NoAnswer::Failed(Error::new(ErrorKind::Definition, why)),
        })?;
        self.is_short_enough(&key)?;
        let place = self.fills.place(&job.name).await.map_err(NoAnswer::Failed)?;
        let runner = self.runner.with_connection().await.map_err(NoAnswer::Failed)?;
        under_way.fills();
        if !wanted.begin() {
            // It is dropped in a moment; an error would be told to others who wait for the same key.
            pending::<()>().await;
        }
        let request = Request::about_key(Arc::clone(&key), Some(Mode::Missing), Purpose::Write);
        let report = runner.run_one(Arc::clone(job), request, self.stop.subscribe()).await;
        report.lost_until.inspect(|until| under_way.linger(*until));
        place.ended(report.failure.as_ref());
        match report.failure {
            // No row has such a value.
            Some(failure) if failure.kind == ErrorKind::NoValue => return Ok(self.known(None, Level::Database)),
            Some(failure) if matches!(failure.kind, ErrorKind::Row | ErrorKind::Data) => {
                return Ok(self.refused(&failure.message));
            }
            Some(failure) => return Err(NoAnswer::Failed(failure)),
            None => {}
        }
        match self.in_redis(job, &key).await? {
            Some(live) => Ok(self.known(Some(live), Level::Database)),
            None => match refusal(&report) {
                Some(why) if is_lasting(&report) => Ok(self.refused(&why)),
                Some(why) => Err(NoAnswer::Failed(Error::new(ErrorKind::Guard, why))),
                None => Ok(self.known(None, Level::Database)),
            },
        }
    }

    async fn in_redis(&self, job: &Job, key: &[u8]) -> Result<Option<Live>, NoAnswer> {
        let asking = self.redis.ask(Instant::now()).map_err(NoAnswer::Failed)?;
        let answer = self.reader.get(key, job.most_in_redis()).await;
        asking.ended(answer.as_ref().err(), Instant::now());
        answer.map_err(NoAnswer::Failed)
    }

    fn known(&self, live: Option<Live>, level: Level) -> Known {
        let left = live.as_ref().and_then(|live| live.left);
        let keep = left.map_or(self.keep, |left| left.min(self.keep));
        Known { value: live.map(|live| Arc::from(live.value)), level, left, keep, at: Instant::now(), refused: None }
    }

    fn refused(&self, why: &str) -> Known {
        Known { refused: Some(Arc::from(why)), ..self.known(None, Level::Database) }
    }

    /// Before a longer one is asked for in vain.
    fn is_short_enough(&self, key: &[u8]) -> Result<(), NoAnswer> {
        let most = self.runner.limits.key_length;
        if key.len() <= most {
            return Ok(());
        }
        let why = format!("the key is {} bytes long, more than key_length = {most} in [limits]", key.len());
        Err(NoAnswer::Failed(Error::new(ErrorKind::Definition, why)))
    }
}

/// Whether it is the row itself of which nothing can be made.
fn is_lasting(report: &Report) -> bool {
    report.stats.too_large + report.stats.bad_rows > 0
}

/// Why a row that is there was not written, or did not stay.
fn refusal(report: &Report) -> Option<String> {
    let stats = &report.stats;
    let why = match () {
        () if stats.too_large > 0 => "the value is larger than max_value",
        () if stats.no_room > 0 => "there is no room in Redis",
        () if stats.bad_rows > 0 => "the row cannot become a value",
        () if stats.overtaken + stats.withdrawn + stats.unconfirmed > 0 => "the row is changing",
        () if stats.written + stats.present > 0 => "the key has gone again",
        () => return None,
    };
    Some(why.to_owned())
}
