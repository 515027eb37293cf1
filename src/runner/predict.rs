//! Fills what is missed most (`predict`): after a run of the job, key by key, through the same path as every fill.
//!
//! ```text
//! Redis ─► heard ─► Demands ◄─ looked ◄─ Redis        a run of the job has ended ─► wanted ─► fills, one at a time ─► warmed
//! ```
//!
//! Whatever goes wrong, the job's own run has ended before, and nobody waits. Bounds: as many keys as the job allows, twice as many tries, no more time than a run may take.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, timeout};

use super::Runner;
use crate::cache::{Heard, OwnKey};
use crate::ground::demand::{Demands, Memory};
use crate::ground::error::{Error, ErrorKind};
use crate::ground::event::{Event, Observer};
use crate::ground::job::{Job, Mode};
use crate::ground::request::{Purpose, Request};
use crate::ground::run::Report;

/// How long Redis may take to tell of a miss.
const REST: Duration = Duration::from_secs(2);
/// The most keys of a job that are known to have no row.
const MOST_BARREN: usize = 4096;

/// The jobs that this process runs: what their runs look for in Redis is no demand, so that nothing is learned of their keys meanwhile, until all has been heard that they missed.
#[derive(Debug, Clone, Default)]
pub struct Muted(Arc<Mutex<HashMap<String, u64>>>);

impl Muted {
    /// A run of the job begins.
    pub fn began(&self, job: &str) {
        *locked(&self.0).entry(job.to_owned()).or_default() += 1;
    }

    /// It has ended; what it missed may not have been heard yet.
    pub fn ended(&self, job: &str) {
        if let Some(runs) = locked(&self.0).get_mut(job) {
            *runs = runs.saturating_sub(1);
        }
    }

    /// All has been heard of this job's runs that have ended, or of all.
    fn is_over(&self, job: Option<&str>) {
        locked(&self.0).retain(|name, runs| *runs > 0 || job.is_some_and(|job| job != name));
    }

    fn has(&self, job: &str) -> bool {
        locked(&self.0).contains_key(job)
    }
}

/// Learns, and fills.
pub struct Predictor {
    runner: Arc<Runner>,
    observer: Arc<dyn Observer>,
    jobs: HashMap<String, Arc<Job>>,
    demands: Mutex<Demands>,
    /// Of each job.
    barren: Mutex<HashMap<String, Barren>>,
    /// What has been said of looks that failed.
    blind: Mutex<Option<String>>,
    muted: Muted,
    /// Who waits until a key of our own has been missed.
    fence: Mutex<Option<(OwnKey, oneshot::Sender<()>)>>,
}

impl Predictor {
    /// For those of the jobs that predict (nobody has heard anything of earlier runs), going on with what the history knows; `None` if there are none.
    pub async fn begin(runner: &Arc<Runner>, jobs: &[Arc<Job>], memory: Memory, muted: Muted) -> Option<Self> {
        let jobs: Vec<_> = jobs.iter().filter(|job| job.predict.is_some()).cloned().collect();
        if jobs.is_empty() {
            return None;
        }
        muted.is_over(None);
        let now = runner.clock.now();
        let (space, longest) = (runner.key_space.clone(), runner.limits.key_length);
        let mut demands = Demands::new(jobs.iter().map(|job| &**job), space, longest, memory, now);
        if let Some(history) = &runner.history {
            // What is wrong with it has been said; then all is learned anew.
            let learned = history.learned().await.unwrap_or_default();
            jobs.iter().for_each(|job| {
                if let Some(text) = learned.get(&job.name) {
                    demands.recall(job, text, now);
                }
            });
        }
        Some(Predictor {
            observer: Arc::clone(&runner.observer),
            jobs: jobs.into_iter().map(|job| (job.name.clone(), job)).collect(),
            demands: Mutex::new(demands),
            barren: Mutex::default(),
            blind: Mutex::default(),
            muted,
            fence: Mutex::default(),
            runner: Arc::new(Runner { history: runner.history.clone(), ..runner.unheard() }),
        })
    }

    /// Takes what is heard of misses.
    pub fn hear(&self, heard: Heard<'_>) {
        let Heard::Miss(key) = heard else { return };
        if let Some((_, told)) = locked(&self.fence).take_if(|(fence, _)| fence.is(key)) {
            // Nobody waits any more.
            let _ = told.send(());
            return;
        }
        let is_warmed =
            |name: &str| self.muted.has(name) || self.jobs.get(name).is_some_and(|job| job.writes(key) == Some(true));
        locked(&self.demands).missed_but(key, self.runner.clock.now(), is_warmed);
    }

    /// A run of a job has ended; if it ended well, what is wanted most of its keys is filled.
    pub async fn ended(&self, job: &str, well: bool, stop: &watch::Receiver<bool>) {
        if !self.jobs.contains_key(job) {
            return;
        }
        if well {
            self.warm(job, stop).await;
        }
        self.hear_the_rest().await;
        self.muted.is_over(Some(job));
    }

    /// Waits until all has been heard that Redis has told of by now.
    async fn hear_the_rest(&self) {
        let (key, (told, hears)) = (OwnKey::new(), oneshot::channel());
        *locked(&self.fence) = Some((key.clone(), told));
        let rest = async {
            // If Redis is away there is no rest.
            self.runner.redis.miss(key).await.ok()?;
            hears.await.ok()
        };
        let _ = timeout(REST, rest).await;
    }

    /// Asks for how long nobody has read the keys that are warmed.
    pub async fn look(&self) {
        for name in self.jobs.keys() {
            let keys: Vec<Arc<[u8]>> =
                locked(&self.demands).of(name).into_iter().flat_map(|of| of.warm().cloned()).collect();
            if keys.is_empty() {
                continue;
            }
            let idle = self.runner.redis.idle(keys.clone()).await;
            let now = self.runner.clock.now();
            let idle = idle.unwrap_or_else(|error| {
                self.is_blind(&error);
                vec![None; keys.len()]
            });
            if let Some(demand) = locked(&self.demands).of_mut(name) {
                keys.iter().zip(idle).for_each(|(key, idle)| demand.looked(key, idle, now));
            }
        }
    }

    /// Fills what is wanted most of the job's keys, if it is one that predicts.
    async fn warm(&self, job: &str, stop: &watch::Receiver<bool>) {
        let Some((job, top)) = self.jobs.get(job).and_then(|job| Some((job, job.predict?))) else { return };
        let now = self.runner.clock.now();
        let mut barren = locked(&self.barren).remove(&job.name).unwrap_or_default();
        let most = 2 * top + barren.order.len();
        let wanted = locked(&self.demands).of(&job.name).map(|of| of.wanted(most, now)).unwrap_or_default();
        let wanted = barren.without(wanted.into_iter().map(|wanted| wanted.key));
        let (mut filled, mut none, mut failed) = (Vec::new(), 0, None);
        let latest = Instant::now() + job.timeout;
        for key in wanted.into_iter().take(2 * top) {
            if filled.len() == top || *stop.borrow() || Instant::now() > latest {
                break;
            }
            match outcome(&self.fill(job, &key, stop).await) {
                Outcome::Filled => filled.push(key),
                Outcome::Nothing => {
                    none += 1;
                    barren.add(key);
                }
                Outcome::Left => {}
                Outcome::Failed(error) => {
                    failed = Some(error);
                    break;
                }
            }
        }
        locked(&self.barren).insert(job.name.clone(), barren);
        if let Some(demand) = locked(&self.demands).of_mut(&job.name) {
            demand.warmed(&filled, self.runner.clock.now());
        }
        if !filled.is_empty() || none > 0 || failed.is_some() {
            let filled = filled.len() as u64;
            self.observer.on(&Event::Predicted { job: &job.name, filled, none, failed: failed.as_ref() });
        }
    }

    /// Notes what was learned, for the next process.
    pub fn remember(&self) {
        if let Some(history) = &self.runner.history {
            let now = self.runner.clock.now();
            let demands = locked(&self.demands);
            let learned = self
                .jobs
                .values()
                .filter_map(|job| Some((job.name.clone(), demands.remember(job, 4 * job.predict?, now)?)));
            history.learn(learned.collect());
        }
    }

    /// The same, and waits until it is written.
    pub async fn end(&self) {
        self.remember();
        if let Some(history) = &self.runner.history {
            history.flush().await;
        }
    }

    /// That misses are not heard of.
    pub fn is_deaf(&self, error: &Error) {
        self.observer.on(&Event::Deaf { error });
    }

    async fn fill(&self, job: &Arc<Job>, key: &Arc<[u8]>, stop: &watch::Receiver<bool>) -> Report {
        let request = Request::about_key(Arc::clone(key), Some(Mode::Refresh), Purpose::Write);
        Arc::clone(&self.runner).run_one(Arc::clone(job), request, stop.clone()).await
    }

    /// Once for each reason: without it, which keys are still read is found out by leaving them out now and then.
    fn is_blind(&self, error: &Error) {
        let before = locked(&self.blind).replace(error.message.clone());
        if before.as_ref() != Some(&error.message) {
            self.observer.on(&Event::NoIdleTimes { error });
        }
    }
}

/// What became of one key.
enum Outcome {
    Filled,
    /// No row makes it.
    Nothing,
    /// It was left alone, or cannot be made: others may go on.
    Left,
    /// A server or a guard does not let it be, and would not for the next one.
    Failed(Error),
}

fn outcome(report: &Report) -> Outcome {
    let stats = &report.stats;
    match &report.failure {
        Some(error) => match error.kind {
            ErrorKind::NoValue => Outcome::Nothing,
            ErrorKind::Row | ErrorKind::Data | ErrorKind::Definition | ErrorKind::Unverified => Outcome::Left,
            _ => Outcome::Failed(error.clone()),
        },
        None if stats.written + stats.present > 0 => Outcome::Filled,
        None if stats.rows == 0 => Outcome::Nothing,
        None => Outcome::Left,
    }
}

/// Keys that no row makes, however often they are missed: the last ones that were tried in vain. Each is tried again when it has been pushed out.
#[derive(Default)]
struct Barren {
    known: HashSet<Arc<[u8]>>,
    order: VecDeque<Arc<[u8]>>,
}

impl Barren {
    fn add(&mut self, key: Arc<[u8]>) {
        if self.known.insert(Arc::clone(&key)) {
            self.order.push_back(key);
        }
        while self.order.len() > MOST_BARREN
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
    }

    fn without(&self, keys: impl Iterator<Item = Arc<[u8]>>) -> Vec<Arc<[u8]>> {
        keys.filter(|key| !self.known.contains(key)).collect()
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
