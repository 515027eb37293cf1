//! `warm learn`: watches what is missed in Redis for a while, and says what would be worth warming.
//!
//! ```text
//! Redis ─► cache::Misses ─► Demands, behind a lock ─► after a while, or a signal: show
//! ```
//!
//! It changes nothing, neither in Redis nor in its configuration, and PostgreSQL is not asked at all.

mod show;

use std::io::{IsTerminal, Write};
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use self::show::Learned;
use super::{Failure, What, load, redis, runtime, select_enabled, signals};
use crate::cache::{Heard, OwnKey, Redis};
use crate::cli::{Common, Learn};
use crate::ground::clock::{Clock, SystemClock};
use crate::ground::demand::Demands;
use crate::ground::error::{Error, ErrorKind};
use crate::ground::exit;

/// The longest time for which the rest is waited for, after the end.
const REST: Duration = Duration::from_secs(2);

/// What was heard.
struct Notes {
    demands: Demands,
    /// How often the connection broke.
    gaps: u64,
    /// Why there is none now.
    lost: Option<Error>,
    /// Who waits for a key of our own.
    fence: Option<(OwnKey, oneshot::Sender<()>)>,
}

impl Notes {
    fn take(&mut self, heard: Heard<'_>) {
        match heard {
            Heard::Lost(error) => {
                self.gaps += u64::from(self.lost.is_none());
                self.lost = Some(error.clone());
                return;
            }
            Heard::Miss(key) => {
                if let Some((_, told)) = self.fence.take_if(|(fence, _)| fence.is(key)) {
                    // Nobody waits any more.
                    let _ = told.send(());
                } else {
                    self.demands.missed(key, SystemClock.now());
                }
            }
            Heard::Quiet => {}
        }
        self.lost = None;
    }
}

/// Watches, and reports. 0 if it heard what there was, even if that was nothing; a signal ends it earlier, with what it has.
pub fn run(common: &Common, learn: &Learn) -> Result<u8, Failure> {
    let settings = load(common)?.settings;
    let jobs = select_enabled(&settings, &learn.jobs)?;
    let redis = redis(&settings)?;
    let memory = settings.learn;
    let demands = |now| {
        let of_jobs = jobs.iter().map(|job| &**job);
        Demands::new(of_jobs, settings.key_space(), settings.limits.key_length, memory, now)
    };
    let (notes, begin, caught) = runtime()?.block_on(async {
        let (mut stopped, caught) = signals::catch(false, &[|_| true]);
        let misses = redis.misses().await.map_err(|error| failure(&error))?;
        let (begin, demands) = (Instant::now(), demands(SystemClock.now()));
        let notes = Arc::new(Mutex::new(Notes { demands, gaps: 0, lost: None, fence: None }));
        let taking = Arc::clone(&notes);
        let ear = move |heard: Heard<'_>| {
            locked(&taking).take(heard);
            ControlFlow::Continue(())
        };
        misses.listen(ear).map_err(|error| failure(&error))?;
        say_begin(common, learn.length);
        // Over time or by a signal: what is known is reported.
        let _ = tokio::time::timeout(learn.length, stopped.wait_for(|stopped| *stopped)).await;
        hear_the_rest(&redis, &notes).await;
        Ok::<_, Failure>((notes, begin, caught))
    })?;
    let notes = locked(&notes);
    let gone = notes.lost.as_ref().map(|error| error.kind.consequence().exit);
    let code = caught.exit_code().or(gone).unwrap_or(exit::OK);
    let learned = Learned {
        jobs: &jobs,
        demands: &notes.demands,
        gaps: notes.gaps,
        lost: notes.lost.as_ref(),
        watched: begin.elapsed(),
        now: SystemClock.now(),
        prefix: redis.key_prefix(),
        top: learn.top,
    };
    let text = if common.json { format!("{:#}\n", learned.value(code)) } else { learned.text() };
    // A closed standard output takes nothing away.
    let _ = std::io::stdout().write_all(text.as_bytes());
    Ok(code)
}

/// Waits until all has been counted that Redis has told of by now.
async fn hear_the_rest(redis: &Redis, notes: &Mutex<Notes>) {
    let (key, (told, hears)) = (OwnKey::new(), oneshot::channel());
    locked(notes).fence = Some((key.clone(), told));
    let rest = async {
        // If Redis is away there is no rest.
        redis.miss(key).await.ok()?;
        hears.await.ok()
    };
    let _ = tokio::time::timeout(REST, rest).await;
}

fn locked(notes: &Mutex<Notes>) -> MutexGuard<'_, Notes> {
    notes.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Who sits before it wants to know that it works.
fn say_begin(common: &Common, length: Duration) {
    let mut stderr = std::io::stderr();
    if stderr.is_terminal() && !common.json {
        let length = humantime::format_duration(length);
        // Nobody can be told that nobody can be told.
        let _ = writeln!(stderr, "watching for {length} what is missed in Redis; Ctrl-C ends it with what it has");
    }
}

fn failure(error: &Error) -> Failure {
    let consequence = error.kind.consequence();
    // What Redis refuses here is said with the way out.
    let advice = Some(consequence.advice).filter(|_| error.kind != ErrorKind::RedisRefused);
    let advice = advice.map(|advice| format!("; advice: {advice}")).unwrap_or_default();
    Failure { code: consequence.exit, what: What::Message(format!("{error}{advice}")) }
}
