//! Three pages over HTTP: whether the service moves, whether it is ready, and its metrics.
//!
//! What is shown is the copy of the service's health that its loop makes; nobody who asks can hold the loop up. A connection carries one request, and all
//! about it is bounded: its time, the size of its head, and how many there are at once. The end comes when nobody brings the health up to date any more.

mod page;
mod places;

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use self::places::{Asked, Places};
use crate::ground::health::Health;

/// How long a request may take to arrive.
const ARRIVAL: Duration = Duration::from_secs(1);
/// How long an answer may take to be fetched.
const ANSWER: Duration = Duration::from_secs(4);
/// How long connections may still take when the service has ended.
const FAREWELL: Duration = Duration::from_secs(1);
/// The longest head of a request in bytes.
const HEAD: usize = 8 << 10;
/// How long nobody is let in when that has failed, for example for lack of file descriptors.
const PAUSE: Duration = Duration::from_millis(200);

/// Makes the metrics' text.
pub type MetricsText = Arc<dyn Fn(&Health) -> String + Send + Sync>;

/// Serves the pages until the service has ended.
pub async fn serve_pages(listener: TcpListener, health: watch::Receiver<Health>, metrics: MetricsText) {
    let mut places = Places::default();
    let mut life = health.clone();
    let mut ended = pin!(async { while life.changed().await.is_ok() {} });
    loop {
        let next = async {
            let accepted = listener.accept().await;
            // Only for one who is there does anybody have to go.
            places.make_room().await;
            accepted
        };
        tokio::select! {
            () = &mut ended => break,
            accepted = next => match accepted {
                Ok((stream, _)) => {
                    let asked = Asked::default();
                    places.take(asked.clone(), answer(stream, asked, health.clone(), Arc::clone(&metrics)));
                }
                Err(_) => sleep(PAUSE).await,
            },
        }
    }
    drop(listener);
    // What takes longer is given up.
    let _ = timeout(FAREWELL, places.end()).await;
}

async fn answer(stream: TcpStream, asked: Asked, health: watch::Receiver<Health>, metrics: MetricsText) {
    let patience = async {
        sleep(ARRIVAL).await;
        if asked.is_set() {
            sleep(ANSWER).await;
        }
    };
    let page = service_fn(|request: Request<Incoming>| {
        asked.set();
        // Nothing is awaited while the health is borrowed.
        let now = health.borrow().clone();
        let page = page::find(request.method(), request.uri().path(), &now, &*metrics);
        let body = Full::new(Bytes::from(page.text));
        let mut response = Response::new(body);
        *response.status_mut() = page.status;
        response.headers_mut().extend(page.headers);
        async move { Ok::<_, Infallible>(response) }
    });
    let mut http = http1::Builder::new();
    http.keep_alive(false).max_buf_size(HEAD).header_read_timeout(None);
    tokio::select! {
        // Whoever breaks off has no need of an answer.
        _ = http.serve_connection(TokioIo::new(stream), page) => {}
        () = patience => {}
    }
}
