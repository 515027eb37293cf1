//! What each page says.

use std::time::Duration;

use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue, SERVER};
use hyper::{Method, StatusCode};

use crate::ground::health::Health;
use crate::ground::show::{counted, visible};
use crate::ground::watch::Link;

/// A loop that has not moved for so long stands still: it moves once a second, and a heart that is silent is replaced after five.
const STILL: Duration = Duration::from_secs(15);

/// An answer.
pub(super) struct Page {
    pub(super) status: StatusCode,
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    pub(super) text: String,
}

/// The page at a path.
pub(super) fn find(method: &Method, path: &str, health: &Health, metrics: &dyn Fn(&Health) -> String) -> Page {
    if !matches!(*method, Method::GET | Method::HEAD) {
        let page = Page::new(StatusCode::METHOD_NOT_ALLOWED, "these pages are only read\n".to_owned());
        return page.with(ALLOW, "GET, HEAD");
    }
    match path {
        "/healthz" => Page::verdict(alive(health)),
        "/readyz" => Page::verdict(unready(health)),
        "/metrics" => {
            Page::new(StatusCode::OK, metrics(health)).with(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")
        }
        _ => Page::new(StatusCode::NOT_FOUND, "there are /healthz, /readyz and /metrics\n".to_owned()),
    }
}

impl Page {
    fn new(status: StatusCode, text: String) -> Self {
        let page = Page { status, headers: Vec::new(), text };
        page.with(SERVER, concat!("warm/", env!("CARGO_PKG_VERSION")))
            .with(CACHE_CONTROL, "no-store")
            .with(CONTENT_TYPE, "text/plain; charset=utf-8")
    }

    /// The same with a header, which takes the place of one of the same name.
    fn with(mut self, name: HeaderName, value: &'static str) -> Self {
        self.headers.retain(|(other, _)| *other != name);
        self.headers.push((name, HeaderValue::from_static(value)));
        self
    }

    /// All is well, or these are the reasons why not, one on each line.
    fn verdict(reasons: Vec<String>) -> Self {
        if reasons.is_empty() {
            return Page::new(StatusCode::OK, "ok\n".to_owned());
        }
        let lines = reasons.iter().map(|reason| visible(reason) + "\n").collect();
        Page::new(StatusCode::SERVICE_UNAVAILABLE, lines)
    }
}

/// Why the service counts as stuck. One that is about to end looks at nothing any more.
fn alive(health: &Health) -> Vec<String> {
    let still = health.beat.elapsed();
    let stuck = still > STILL && !health.stopping;
    let seconds = counted(still.as_secs(), "second", "seconds");
    stuck.then(|| format!("the scheduler has not moved for {seconds}")).into_iter().collect()
}

/// Why the cache cannot be counted on.
fn unready(health: &Health) -> Vec<String> {
    let ending = health.stopping.then(|| "the service is about to end".to_owned());
    let cache = match &health.cache {
        Link::Up { .. } => None,
        Link::Unknown => Some("Redis has not answered yet".to_owned()),
        Link::Down { reason, .. } => Some(format!("Redis is away: {reason}")),
    };
    let changes = health.changes.as_ref().and_then(|following| following.trouble());
    let stale = health.jobs.iter().filter_map(|job| Some(format!("{}: stale: {}", job.name, job.stale?)));
    [ending, cache, changes].into_iter().flatten().chain(alive(health)).chain(stale).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use chrono::DateTime;

    use super::*;
    use crate::ground::changes::{FeedState, Following};

    fn healthy() -> Health {
        Health { cache: Link::Up { since: DateTime::UNIX_EPOCH }, ..Health::unknown() }
    }

    fn get(path: &str, health: &Health) -> (u16, String) {
        let page = find(&Method::GET, path, health, &|_| "metrics\n".to_owned());
        (page.status.as_u16(), page.text)
    }

    #[test]
    fn a_loop_that_stands_still_is_not_alive() {
        assert_eq!(get("/healthz", &healthy()), (200, "ok\n".to_owned()));
        let beat = Instant::now().checked_sub(Duration::from_secs(16)).unwrap();
        let still = Health { beat, ..healthy() };
        let words = "the scheduler has not moved for 16 seconds\n".to_owned();
        assert_eq!(get("/healthz", &still), (503, words.clone()));
        assert_eq!(get("/readyz", &still), (503, words));
        assert_eq!(get("/healthz", &Health { stopping: true, ..still }).0, 200, "it drains, and looks at nothing");
    }

    #[test]
    fn reasons_stand_one_on_a_line() {
        assert_eq!(get("/readyz", &healthy()), (200, "ok\n".to_owned()));
        assert_eq!(get("/readyz", &Health::unknown()), (503, "Redis has not answered yet\n".to_owned()));
        let late = Following { error: None, waiting: 3, behind: Duration::from_secs(9), feed: FeedState::default() };
        assert_eq!(get("/readyz", &Health { changes: Some(late.clone()), ..healthy() }), (200, "ok\n".to_owned()));
        let late = Following { behind: Duration::from_secs(11), ..late };
        let words = "changes: 3 keys and patterns are not deleted yet, the first one for 11s\n".to_owned();
        assert_eq!(get("/readyz", &Health { changes: Some(late.clone()), ..healthy() }), (503, words));
        let deaf = Following { error: Some("away".to_owned()), ..late };
        let words = "changes: the database is not heard: away\n".to_owned();
        assert_eq!(get("/readyz", &Health { changes: Some(deaf), ..healthy() }), (503, words));
        let cache = Link::Down { since: DateTime::UNIX_EPOCH, reason: "it\nsays no".to_owned() };
        let words = "the service is about to end\nRedis is away: it\\nsays no\n".to_owned();
        assert_eq!(get("/readyz", &Health { cache, stopping: true, ..healthy() }), (503, words));
    }

    #[test]
    fn there_is_nothing_else() {
        assert_eq!(get("/metrics", &healthy()), (200, "metrics\n".to_owned()));
        for path in ["/", "/metrics/", "/healthz/..", "/debug"] {
            assert_eq!(get(path, &healthy()).0, 404, "{path}");
        }
        let page = find(&Method::POST, "/metrics", &healthy(), &|_| String::new());
        assert_eq!(page.status, StatusCode::METHOD_NOT_ALLOWED);
    }
}
