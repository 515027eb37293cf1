//! Deleting what a change has made stale, over HTTP where values are given: `POST /invalidate/{set}`, with the values of its parameters as a JSON object.
//!
//! Whoever is answered finds nothing old any more, neither in Redis nor through `GET /keys/`. It has to be switched on, for whoever may connect may then delete.
//!
//! **No page in a browser may do it**, though a browser reaches addresses of this machine: a page can send a form to any address, but neither with this content type (for that, its browser asks first, and is told no),
//! nor without naming itself as the `Origin`. One that has its name resolved to this machine is refused by the `Host`, as for reading.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Body, Bytes};
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue, ORIGIN};
use hyper::{Method, Request, Response, StatusCode};
use percent_encoding::percent_decode_str;
use serde_json::json;
use tokio::time::timeout;

use super::keys::{Given, Source, later, text, with};
use crate::ground::error::{Error, ErrorKind};
use crate::ground::event::{Event, Observer};
use crate::ground::invalidate::{Object, Set, Targets, find, values_of};
use crate::runner::{Invalidated, Invalidator};

/// The most bytes of a request's body.
const MOST: usize = 64 << 10;
/// How long a body is waited for.
const BODY: Duration = Duration::from_secs(10);
/// How long an answer is waited for: a pass over many keys takes its time.
const ANSWER: Duration = Duration::from_secs(60);

/// What may be deleted, and who does it.
pub struct Deletes {
    /// The sets.
    pub sets: Vec<Set>,
    /// Where they are defined.
    pub file: PathBuf,
    /// Who deletes.
    pub invalidator: Invalidator,
}

type Answer = Response<Full<Bytes>>;

/// Answers a request to delete a set's keys.
pub(super) async fn invalidate<B>(
    request: Request<B>,
    name: &str,
    source: &Source,
    observer: &Arc<dyn Observer>,
) -> Answer
where
    B: Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>>,
{
    let begin = Instant::now();
    let given = Arc::clone(&source.borrow());
    let (set, targets) = match asked(request, name, &given).await {
        Ok(asked) => asked,
        Err(refusal) => {
            observer.on(&Event::InvalidationRefused);
            return refusal;
        }
    };
    let name = set.name.clone();
    // A task of its own: who breaks off stops nothing, and nothing is kept of what has been deleted.
    let (source, observer) = (source.clone(), Arc::clone(observer));
    let work = tokio::spawn(async move {
        let result = delete(&source, &given, targets).await;
        observer.on(&Event::Invalidated {
            set: &name,
            keys: result.as_ref().map(|done| done.keys),
            took: begin.elapsed(),
        });
        result
            .map(|done| json!({ "set": name, "keys": done.keys, "milliseconds": begin.elapsed().as_secs_f64() * 1e3 }))
    });
    match timeout(ANSWER, work).await {
        Ok(Ok(Ok(done))) => {
            with(text(StatusCode::OK, &format!("{done}\n")), CONTENT_TYPE, HeaderValue::from_static(JSON))
        }
        Ok(Ok(Err(error))) => failed(&error),
        Ok(Err(panic)) => text(StatusCode::INTERNAL_SERVER_ERROR, &format!("{panic}\n")),
        Err(_) => later("it is not done yet, and goes on\n"),
    }
}

const JSON: &str = "application/json";

/// What the request names, or why it does not.
async fn asked<B>(request: Request<B>, name: &str, given: &Given) -> Result<(Set, Targets), Answer>
where
    B: Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>>,
{
    let Some(deletes) = &given.deletes else {
        let message = "nothing is deleted here: `keys_invalidate = true` in [serve] would allow it\n";
        return Err(text(StatusCode::NOT_FOUND, message));
    };
    if *request.method() != Method::POST {
        let refused = text(StatusCode::METHOD_NOT_ALLOWED, "there is POST /invalidate/{set}\n");
        return Err(with(refused, ALLOW, HeaderValue::from_static("POST")));
    }
    if request.headers().contains_key(ORIGIN) {
        return Err(text(StatusCode::FORBIDDEN, "no page in a browser may delete: the request has an Origin\n"));
    }
    if !is_json(&request) {
        let message = "the values are expected as an object, with Content-Type: application/json\n";
        return Err(text(StatusCode::UNSUPPORTED_MEDIA_TYPE, message));
    }
    let name = percent_decode_str(name).decode_utf8_lossy();
    let set = find(&deletes.sets, &name, &deletes.file);
    let set = set.map_err(|wrong| text(StatusCode::NOT_FOUND, &format!("{wrong}\n")))?.clone();
    let wrong = |what: String| text(StatusCode::BAD_REQUEST, &format!("{what}\n"));
    let body = match timeout(BODY, Limited::new(request.into_body(), MOST).collect()).await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => {
            return Err(text(StatusCode::PAYLOAD_TOO_LARGE, &format!("the body is longer than {} KiB\n", MOST >> 10)));
        }
        Ok(Err(error)) => return Err(wrong(format!("the body cannot be read: {error}"))),
        Err(_) => return Err(text(StatusCode::REQUEST_TIMEOUT, "the body did not come in time\n")),
    };
    let values = values(&body).map_err(wrong)?;
    let targets = set.wanted(&values).map_err(|all| wrong(all.join("\n")))?;
    Ok((set, targets))
}

fn is_json<B>(request: &Request<B>) -> bool {
    let given = request.headers().get(CONTENT_TYPE).and_then(|given| given.to_str().ok()).unwrap_or_default();
    given.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case(JSON)
}

/// The values in a body; none at all where a set has no parameters.
fn values(body: &[u8]) -> Result<Vec<(String, String)>, String> {
    if body.trim_ascii().is_empty() {
        return Ok(Vec::new());
    }
    let Object(members) = serde_json::from_slice(body)
        .map_err(|error| format!("this is no JSON object, such as {{\"id\": 42}}: {error}"))?;
    values_of(&members)
}

/// Deletes, and then forgets what is kept in memory. Also if not all could be deleted: some may have been.
async fn delete(source: &Source, given: &Given, targets: Targets) -> Result<Invalidated, Error> {
    let Some(deletes) = &given.deletes else { return Ok(Invalidated::default()) };
    let result = deletes.invalidator.invalidate(targets.clone()).await;
    given.reads.forget(&targets).await;
    // The configuration may have been read again meanwhile.
    let now = Arc::clone(&source.borrow());
    if !Arc::ptr_eq(&now.reads, &given.reads) {
        now.reads.forget(&targets).await;
    }
    result
}

fn failed(error: &Error) -> Answer {
    let message = format!("not everything was deleted: {error}; {}\n", error.kind.consequence().advice);
    match error.kind {
        // It would be refused again.
        ErrorKind::RedisRefused => text(StatusCode::INTERNAL_SERVER_ERROR, &message),
        _ => later(&message),
    }
}
