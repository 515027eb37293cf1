//! What makes `warm serve` follow the database: made when it begins, and again when it has read files that say something else about it.

use std::sync::Arc;

use futures_util::FutureExt;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::keys::Sources;
use super::setup::InUse;
use crate::cache::Redis;
use crate::ground::changes::{ChangesSettings, Feed, Following};
use crate::ground::event::Observer;
use crate::ground::invalidate::Targets;
use crate::ground::settings::Settings;
use crate::runner::{Invalidator, Rewriter};
use crate::service::Follow;
use crate::source::changes::{Listener, Reader};

/// How often it may hear something before it has done what it heard before.
const AHEAD: usize = 16;

/// Follows what the configuration says, until it is dropped.
pub(super) struct Follows {
    refill: mpsc::Sender<Arc<Targets>>,
    health: watch::Sender<Option<Following>>,
    sources: Option<Sources>,
    observer: Arc<dyn Observer>,
    /// Who writes keys again: the jobs that want it, as they are now.
    rewriter: watch::Sender<Arc<Rewriter>>,
    /// Who listens, and who does what is to be done: they end with this.
    follower: JoinSet<()>,
}

/// What the daemon hears of it.
pub(super) struct Heard {
    pub(super) deleted: mpsc::Receiver<Arc<Targets>>,
    pub(super) changes: watch::Receiver<Option<Following>>,
}

impl Follows {
    /// Begins, where the configuration says so. `sources` are where values are given.
    pub(super) fn begin(in_use: &InUse, sources: Option<Sources>, observer: &Arc<dyn Observer>) -> (Self, Heard) {
        let (refill, deleted) = mpsc::channel(1);
        let (health, changes) = watch::channel(None);
        let (rewriter, observer) = (watch::channel(rewriter(in_use)).0, Arc::clone(observer));
        let mut follows = Follows { refill, health, sources, observer, rewriter, follower: JoinSet::new() };
        follows.start(in_use);
        (follows, Heard { deleted, changes })
    }

    /// Begins anew, if another configuration means something else. Then changes may have been missed.
    pub(super) fn replace(&mut self, before: &Settings, in_use: &InUse) {
        let now = &in_use.loaded.settings;
        self.rewriter.send_replace(rewriter(in_use));
        if now.changes != before.changes || now.sets != before.sets || !now.has_same_servers(before) {
            self.start(in_use);
        }
    }

    fn start(&mut self, in_use: &InUse) {
        // First: two would do everything twice.
        self.follower = JoinSet::new();
        self.health.send_replace(None);
        let settings = &in_use.loaded.settings;
        let Some(changes) = &settings.changes else { return };
        let (tell, heard) = mpsc::channel(AHEAD);
        let (done, confirmed) = watch::channel(0);
        let source = &in_use.runner.source;
        let (listening, feed) = match &changes.feed {
            Feed::Channel(channel) => {
                let (mut listener, feed) = Listener::new(source, channel, &changes.tables);
                (async move { while tell.send(listener.next().await).await.is_ok() {} }.boxed(), feed)
            }
            Feed::Slot(wanted) => {
                let (folder, depends) = (settings.state.as_deref(), depends(changes, settings, &in_use.runner.redis));
                let (mut reader, feed) = Reader::new(source, changes, wanted, depends, folder, confirmed);
                (async move { while tell.send(reader.next().await).await.is_ok() {} }.boxed(), feed)
            }
        };
        let follow = Follow {
            heard,
            settings: changes.clone(),
            sets: settings.sets.clone(),
            file: settings.file.clone(),
            invalidator: Invalidator::new(&in_use.runner.redis),
            rewriter: self.rewriter.subscribe(),
            reads: self.sources.as_ref().map(watch::Sender::subscribe),
            refill: self.refill.clone(),
            health: self.health.clone(),
            done,
            feed,
            observer: Arc::clone(&self.observer),
        };
        self.follower.spawn(listening);
        self.follower.spawn(follow.run());
    }
}

fn rewriter(in_use: &InUse) -> Arc<Rewriter> {
    let settings = &in_use.loaded.settings;
    let rewriter = Rewriter::new(&in_use.runner, settings.jobs.iter());
    if settings.changes.is_some() && rewriter.is_needed() {
        // What is stale does not wait for runs.
        in_use.runner.source.keep_for_fills();
    }
    Arc::new(rewriter)
}

/// What has to be as it was for that to be done which was done by an earlier process.
fn depends(changes: &ChangesSettings, settings: &Settings, redis: &Redis) -> String {
    format!("{:?} {:?} {} {}", changes.tables, settings.sets, redis.describe(), redis.key_prefix())
}
