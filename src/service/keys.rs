//! The values of keys, over HTTP on a socket of the file system or an address of this machine: `GET /keys/{key}`. In the same places keys are deleted, where that is allowed.
//!
//! Any program can read through it, whatever language it is written in. Only keys of jobs are given: whoever may connect can read those, and nothing else of Redis.

mod connections;

use std::convert::Infallible;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HOST, HeaderName, HeaderValue, RETRY_AFTER};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use percent_encoding::percent_decode_str;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use self::connections::{Bounded, Connections, Usage};
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
        let (source, observer, usage) = (source.clone(), Arc::clone(&observer), Usage::new());
        match accepted {
            Ok(Stream::Socket(stream)) => {
                connections.take(usage.clone(), talk(stream, false, usage, source, observer));
            }
            Ok(Stream::Address(stream)) => {
                connections.take(usage.clone(), talk(stream, true, usage, source, observer));
            }
            Err(_) => sleep(PAUSE).await,
        }
    }
    drop(listener);
    // What takes longer is given up.
    let _ = timeout(FAREWELL, connections.end()).await;
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

async fn talk(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    is_network: bool,
    usage: Usage,
    source: Source,
    observer: Arc<dyn Observer>,
) {
    let stream = Bounded::new(stream, usage.clone(), TAKEN);
    let answer = service_fn(|request: Request<Incoming>| {
        let (source, observer, usage) = (source.clone(), Arc::clone(&observer), usage.clone());
        async move {
            usage.asked();
            let answer = answer(request, is_network, &source, &observer).await;
            usage.told();
            Ok::<_, Infallible>(answer)
        }
    });
    let mut http = http1::Builder::new();
    http.max_buf_size(HEAD).timer(TokioTimer::new()).header_read_timeout(IDLE);
    // Whoever breaks off has no need of an answer.
    let _ = http.serve_connection(TokioIo::new(stream), answer).await;
}

async fn answer(
    request: Request<Incoming>,
    is_network: bool,
    source: &Source,
    observer: &Arc<dyn Observer>,
) -> Response<Full<Bytes>> {
    // A page in a browser could otherwise be told by its own name server that it comes from this machine.
    if is_network && !is_named_plainly(&request) {
        return text(
            StatusCode::FORBIDDEN,
            "the request must have one Host, an address or localhost, and a path as its target\n",
        );
    }
    let path = request.uri().path().to_owned();
    match (path.strip_prefix("/keys/"), path.strip_prefix("/invalidate/")) {
        (Some(key), _) => read(request.method(), key, source, observer.as_ref()).await,
        (_, Some(set)) => invalidate(request, set, source, observer).await,
        (None, None) => text(StatusCode::NOT_FOUND, "there is GET /keys/{key}, and POST /invalidate/{set}\n"),
    }
}

async fn read(method: &Method, key: &str, source: &Source, observer: &dyn Observer) -> Response<Full<Bytes>> {
    if !matches!(*method, Method::GET | Method::HEAD) {
        let refused = text(StatusCode::METHOD_NOT_ALLOWED, "keys are only read\n");
        return with(refused, ALLOW, HeaderValue::from_static("GET, HEAD"));
    }
    let key: Vec<u8> = percent_decode_str(key).collect();
    let reads = Arc::clone(&source.borrow().reads);
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
        Ok(Ok(known)) => found(&known),
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

fn found(known: &Known) -> Response<Full<Bytes>> {
    let Some(value) = &known.value else {
        return text(StatusCode::NOT_FOUND, "no row makes this key\n");
    };
    let mut response = Response::new(Full::new(Bytes::from_owner(Arc::clone(value))));
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

/// Whether the request names this machine by an address, or as `localhost`: once, and nowhere else than in its `Host`.
fn is_named_plainly(request: &Request<Incoming>) -> bool {
    let mut hosts = request.headers().get_all(HOST).iter();
    let (Some(host), None, None) = (hosts.next(), hosts.next(), request.uri().authority()) else { return false };
    let host = host.to_str().unwrap_or_default();
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    name == "localhost" || name.parse::<IpAddr>().is_ok()
}
