//! The values of keys, over HTTP on a socket of the file system or an address of this machine: `GET /keys/{key}`. In the same places keys are deleted, where that is allowed.
//!
//! Any program can read through it, whatever language it is written in. Only keys of jobs are given: whoever may connect can read those, and nothing else of Redis.

mod body;
mod connections;
mod in_flight;

use std::convert::Infallible;
use std::io;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{
    ALLOW, CACHE_CONTROL, CONTENT_TYPE, HOST, HeaderName, HeaderValue, ORIGIN, RETRY_AFTER, X_CONTENT_TYPE_OPTIONS,
};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use percent_encoding::percent_decode_str;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use self::body::Awaited;
use self::connections::{Bounded, Connections, Usage};
use self::in_flight::InFlight;
use super::invalidate::{Deletes, invalidate};
use crate::ground::error::ErrorKind;
use crate::ground::event::{Event, Observer};
use crate::runner::{Known, NoAnswer, ReadThrough};

/// How long a connection may be idle, or take for a request's head.
const IDLE: Duration = Duration::from_secs(60);
/// How long an answer is waited for.
const ANSWER: Duration = Duration::from_secs(10);
/// How long whoever asked may take to read the answer.
const TAKEN: Duration = Duration::from_secs(30);
/// The longest head of a request in bytes: a key may be long.
const HEAD: usize = 16 << 10;
/// How long nobody is let in when that has failed.
const PAUSE: Duration = Duration::from_millis(200);
/// What the operating system says when this process, or the machine, can open no further file.
const NO_FILES_HERE: i32 = 24;
const NO_FILES_AT_ALL: i32 = 23;
/// How long connections may still take when the service has ended.
const FAREWELL: Duration = Duration::from_secs(1);
/// How long an answer is still waited for then: shorter, so that whoever asked can be told.
const LAST_ANSWER: Duration = Duration::from_millis(750);

/// What a browser says about whose page asks (Fetch Metadata).
const SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const FROM: HeaderName = HeaderName::from_static("x-warm-from");
const LEFT: HeaderName = HeaderName::from_static("x-warm-ttl-ms");

/// Where somebody may ask.
pub enum KeysListener {
    /// A socket in the file system.
    Socket(UnixListener),
    /// An address.
    Address(TcpListener),
}

/// What is given to those who ask.
pub struct Given {
    /// The values of keys.
    pub reads: Arc<ReadThrough>,
    /// What they may delete; `None`: nothing.
    pub deletes: Option<Deletes>,
}

/// Whom to ask: another one after the configuration was read again.
pub type Source = watch::Receiver<Arc<Given>>;

/// Gives values until the other end of `life` is gone.
pub async fn serve_keys(
    listener: KeysListener,
    source: Source,
    observer: Arc<dyn Observer>,
    mut life: watch::Receiver<()>,
) {
    let is_network = matches!(listener, KeysListener::Address(_));
    let place = Place { is_network, source, observer, life: life.clone(), in_flight: InFlight::default() };
    let mut connections = Connections::default();
    loop {
        let next = async {
            let accepted = listener.accept().await;
            match &accepted {
                Ok(_) => connections.make_room().await,
                Err(error) if matches!(error.raw_os_error(), Some(NO_FILES_HERE | NO_FILES_AT_ALL)) => {
                    connections.close_idle().await;
                }
                Err(_) => {}
            }
            accepted
        };
        let accepted = tokio::select! {
            _ = life.changed() => break,
            accepted = next => accepted,
        };
        let (place, usage) = (place.clone(), Usage::new());
        match accepted {
            Ok(Stream::Socket(stream)) => connections.take(usage.clone(), talk(stream, usage, place)),
            Ok(Stream::Address(stream)) => connections.take(usage.clone(), talk(stream, usage, place)),
            Err(_) => sleep(PAUSE).await,
        }
    }
    drop(listener);
    // What takes longer is given up.
    let _ = timeout(FAREWELL, connections.end()).await;
}

/// A place where somebody asks.
#[derive(Clone)]
struct Place {
    is_network: bool,
    source: Source,
    observer: Arc<dyn Observer>,
    life: watch::Receiver<()>,
    in_flight: InFlight,
}

impl Place {
    /// Returns when the service has ended.
    async fn ended(&self) {
        // Nothing is ever sent there.
        let _ = self.life.clone().changed().await;
    }
}

enum Stream {
    Socket(tokio::net::UnixStream),
    Address(tokio::net::TcpStream),
}

impl KeysListener {
    async fn accept(&self) -> io::Result<Stream> {
        match self {
            KeysListener::Socket(listener) => Ok(Stream::Socket(listener.accept().await?.0)),
            KeysListener::Address(listener) => {
                let stream = listener.accept().await?.0;
                // An answer is not held back until more is to be said.
                stream.set_nodelay(true)?;
                Ok(Stream::Address(stream))
            }
        }
    }
}

async fn talk(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, usage: Usage, place: Place) {
    let stream = Bounded::new(stream, usage.clone(), TAKEN);
    let answer = service_fn(|request: Request<Incoming>| {
        let (place, usage) = (&place, usage.clone());
        let request = request.map(|body| Awaited::new(body, usage.clone()));
        async move {
            let last_word = async {
                place.ended().await;
                sleep(LAST_ANSWER).await;
            };
            let answer = tokio::select! {
                answer = answer(request, place) => answer,
                () = last_word => later("the service has ended\n"),
            };
            usage.told();
            // Whatever a value looks like, it is none of the things that a browser would run.
            Ok::<_, Infallible>(with(answer, X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")))
        }
    });
    let mut http = http1::Builder::new();
    http.max_buf_size(HEAD).timer(TokioTimer::new()).header_read_timeout(IDLE);
    let mut connection = pin!(http.serve_connection(TokioIo::new(stream), answer));
    tokio::select! {
        // Whoever breaks off has no need of an answer.
        _ = connection.as_mut() => return,
        () = place.ended() => connection.as_mut().graceful_shutdown(),
    }
    let _ = connection.await;
}

async fn answer(request: Request<Awaited>, place: &Place) -> Response<Full<Bytes>> {
    // A page in a browser could otherwise be told by its own name server that it comes from this machine.
    if place.is_network && !is_named_plainly(&request) {
        return text(
            StatusCode::FORBIDDEN,
            "the request must have one Host, an address or localhost, and a path as its target\n",
        );
    }
    let path = request.uri().path().to_owned();
    match (path.strip_prefix("/keys/"), path.strip_prefix("/invalidate/")) {
        // It could not read the answer, but make others wait, and fill keys.
        (Some(_), _) if place.is_network && comes_from_a_page(&request) => text(
            StatusCode::FORBIDDEN,
            "no page in a browser may ask: the request has an Origin, or is of another site\n",
        ),
        (Some(key), _) => read(request.method(), key, place).await,
        (_, Some(set)) => invalidate(request, set, &place.source, &place.observer).await,
        (None, None) => text(StatusCode::NOT_FOUND, "there is GET /keys/{key}, and POST /invalidate/{set}\n"),
    }
}

async fn read(method: &Method, key: &str, place: &Place) -> Response<Full<Bytes>> {
    if !matches!(*method, Method::GET | Method::HEAD) {
        let refused = text(StatusCode::METHOD_NOT_ALLOWED, "keys are only read\n");
        return with(refused, ALLOW, HeaderValue::from_static("GET, HEAD"));
    }
    let key: Vec<u8> = percent_decode_str(key).collect();
    let (reads, observer) = (Arc::clone(&place.source.borrow().reads), &place.observer);
    let answer = timeout(ANSWER, reads.read(&key)).await;
    let told = match &answer {
        Ok(Ok(Known { value: Some(_), level, .. })) => level.name(),
        Ok(Ok(_)) => "none",
        Ok(Err(NoAnswer::NotOurs(_))) => "refused",
        // Nothing went wrong: there is no such thing here.
        Ok(Err(NoAnswer::Failed(error))) if error.kind == ErrorKind::Definition => "refused",
        Ok(Err(NoAnswer::Failed(_))) | Err(_) => "failed",
    };
    observer.on(&Event::Read { told });
    match answer {
        Ok(Ok(known)) => found(&known, &place.in_flight),
        Ok(Err(NoAnswer::NotOurs(why))) => text(StatusCode::NOT_FOUND, &format!("{why}\n")),
        Ok(Err(NoAnswer::Failed(error))) => {
            observer.on(&Event::ReadFailed { job: reads.owner(&key), key: &key, error: &error });
            match error.kind {
                ErrorKind::Definition => text(StatusCode::CONFLICT, &format!("{error}\n")),
                _ => later(&format!("{error}\n")),
            }
        }
        Err(_) => later("there was no answer in time\n"),
    }
}

fn found(known: &Known, in_flight: &InFlight) -> Response<Full<Bytes>> {
    let Some(value) = &known.value else {
        return text(StatusCode::NOT_FOUND, "no row makes this key\n");
    };
    let Some(giving) = in_flight.give(value) else {
        return later("too many answers wait to be taken\n");
    };
    let mut response = Response::new(Full::new(Bytes::from_owner(giving)));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(FROM, HeaderValue::from_static(known.level.name()));
    if let Some(left) = known.left_now() {
        headers.insert(LEFT, HeaderValue::from(u64::try_from(left.as_millis()).unwrap_or(u64::MAX)));
    }
    response
}

pub(super) fn later(why: &str) -> Response<Full<Bytes>> {
    with(text(StatusCode::SERVICE_UNAVAILABLE, why), RETRY_AFTER, HeaderValue::from_static("1"))
}

pub(super) fn text(status: StatusCode, words: &str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::copy_from_slice(words.as_bytes())));
    *response.status_mut() = status;
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    with(with(response, CONTENT_TYPE, plain), CACHE_CONTROL, HeaderValue::from_static("no-store"))
}

pub(super) fn with(mut response: Response<Full<Bytes>>, name: HeaderName, value: HeaderValue) -> Response<Full<Bytes>> {
    response.headers_mut().insert(name, value);
    response
}

/// Whether a browser says that a page asks, instead of whoever sits before it.
fn comes_from_a_page<B>(request: &Request<B>) -> bool {
    let headers = request.headers();
    let of_others = |site: &HeaderValue| site != "none" && site != "same-origin";
    headers.contains_key(ORIGIN) || headers.get_all(SITE).iter().any(of_others)
}

/// Whether the request names this machine by an address, or as `localhost`: once, and nowhere else than in its `Host`.
fn is_named_plainly<B>(request: &Request<B>) -> bool {
    let mut hosts = request.headers().get_all(HOST).iter();
    let (Some(host), None, None) = (hosts.next(), hosts.next(), request.uri().authority()) else { return false };
    let host = host.to_str().unwrap_or_default();
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    name == "localhost" || name.parse::<IpAddr>().is_ok()
}
