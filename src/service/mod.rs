//! `warm serve`: a process that nobody has to watch.
//!
//! ```text
//! daemon     one loop: beats, ended runs, a Redis that lost its content, other files, signals
//! inputs     what reaches it from outside
//! changes    what the database says has changed, deleted
//! behind     whose keys die before they can be refreshed
//! freshness  when each job succeeded last
//! looks      how warm the jobs are, once a minute
//! http       what anybody is told who asks: /healthz, /readyz, /metrics
//! keys       the values of keys, for whoever asks
//! invalidate what a change has made stale, deleted for whoever says so
//! notify     what systemd is told
//! ```
//!
//! It makes nothing itself: runner and jobs come from the edges, which are asked again when the configuration changes.

mod behind;
mod changes;
mod daemon;
mod freshness;
mod http;
mod inputs;
mod invalidate;
mod keys;
mod looks;
mod notify;

pub use changes::Follow;
pub use daemon::Daemon;
pub use http::{MetricsText, serve_pages};
pub use inputs::{Inputs, Setup, Stop};
pub use invalidate::Deletes;
pub use keys::{Given, KeysListener, Source, serve_keys};
