//! The connections of those who ask for keys, which nobody keeps without need.
//!
//! When all places are taken, the connection goes that asks nothing for the longest time: its program connects again when it needs to. Whoever does not take its answer loses its place as well.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, Sleep, sleep, sleep_until};

/// The most connections at once.
const CONNECTIONS: usize = 1024;
/// How long a connection keeps its place in any case: what was sent together with it has to be read first.
const ARRIVAL: Duration = Duration::from_millis(10);

/// The connections that there are.
#[derive(Default)]
pub(super) struct Connections {
    all: JoinSet<()>,
    held: Vec<(Usage, AbortHandle)>,
}

impl Connections {
    /// Waits until there is a place, for which an idle one has to go if need be.
    pub(super) async fn make_room(&mut self) {
        loop {
            while self.all.try_join_next().is_some() {}
            if self.all.len() < CONNECTIONS {
                return;
            }
            let longest = self.longest_idle().map(|(_, since)| since + ARRIVAL);
            if longest.is_some_and(|end| end <= Instant::now()) {
                self.close_idle().await;
                continue;
            }
            tokio::select! {
                Some(_) = self.all.join_next() => {}
                // If none is idle now, one may soon be.
                () = sleep_until(longest.unwrap_or_else(|| Instant::now() + ARRIVAL)) => {}
            }
        }
    }

    /// Closes the one that is idle for the longest time.
    pub(super) async fn close_idle(&mut self) {
        if let Some((at, _)) = self.longest_idle() {
            self.held.swap_remove(at).1.abort();
            self.all.join_next().await;
        }
    }

    /// Gives a place to a connection.
    pub(super) fn take(&mut self, usage: Usage, connection: impl Future<Output = ()> + Send + 'static) {
        self.held.retain(|(_, connection)| !connection.is_finished());
        self.held.push((usage, self.all.spawn(connection)));
    }

    /// Waits until all connections have ended.
    pub(super) async fn end(&mut self) {
        while self.all.join_next().await.is_some() {}
    }

    fn longest_idle(&self) -> Option<(usize, Instant)> {
        let all = self.held.iter().enumerate().filter(|(_, (_, connection))| !connection.is_finished());
        all.filter_map(|(at, (usage, _))| Some((at, usage.idle_since()?))).min_by_key(|(_, since)| *since)
    }
}

/// What a connection is used for.
#[derive(Debug, Clone)]
pub(super) struct Usage(Arc<Mutex<Use>>);

#[derive(Debug, Clone, Copy)]
enum Use {
    /// Nothing is asked, or not to its end, since then.
    Idle(Instant),
    /// An answer is looked for.
    Asked,
    /// An answer is written, since then.
    Told(Instant),
}

impl Usage {
    pub(super) fn new() -> Self {
        Usage(Arc::new(Mutex::new(Use::Idle(Instant::now()))))
    }

    /// A request begins to come, of which something is still owed.
    pub(super) fn begun(&self) {
        *self.now() = Use::Idle(Instant::now());
    }

    /// A request has come.
    pub(super) fn asked(&self) {
        *self.now() = Use::Asked;
    }

    /// Its answer is about to be written.
    pub(super) fn told(&self) {
        *self.now() = Use::Told(Instant::now());
    }

    /// All that was to be written is written.
    fn written(&self) {
        let mut now = self.now();
        if let Use::Told(_) = *now {
            *now = Use::Idle(Instant::now());
        }
    }

    fn idle_since(&self) -> Option<Instant> {
        match *self.now() {
            Use::Idle(since) => Some(since),
            Use::Asked | Use::Told(_) => None,
        }
    }

    fn told_since(&self) -> Option<Instant> {
        match *self.now() {
            Use::Told(since) => Some(since),
            Use::Idle(_) | Use::Asked => None,
        }
    }

    fn now(&self) -> MutexGuard<'_, Use> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A stream whose other end has to take each answer in time.
pub(super) struct Bounded<S> {
    stream: S,
    usage: Usage,
    limit: Duration,
    end: Pin<Box<Sleep>>,
}

impl<S> Bounded<S> {
    pub(super) fn new(stream: S, usage: Usage, limit: Duration) -> Self {
        Bounded { stream, usage, limit, end: Box::pin(sleep(limit)) }
    }

    /// What has not been written has to wait, but not for ever.
    fn wait<T>(&mut self, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        let end = self.usage.told_since().unwrap_or_else(Instant::now) + self.limit;
        if self.end.deadline() != end {
            self.end.as_mut().reset(end);
        }
        ready!(self.end.as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Bounded<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, into)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Bounded<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match Pin::new(&mut self.stream).poll_write(context, bytes) {
            Poll::Pending => self.wait(context),
            done => done,
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match Pin::new(&mut self.stream).poll_write_vectored(context, bytes) {
            Poll::Pending => self.wait(context),
            done => done,
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_flush(context))?;
        self.usage.written();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::net::UnixStream;

    use super::*;

    async fn write(stream: &mut Bounded<UnixStream>) -> io::Result<usize> {
        poll_fn(|context| Pin::new(&mut *stream).poll_write(context, &[0; 4096])).await
    }

    #[tokio::test]
    async fn an_answer_that_is_not_taken_is_given_up() {
        let (ours, _theirs) = UnixStream::pair().expect("a pair");
        let usage = Usage::new();
        usage.told();
        let mut stream = Bounded::new(ours, usage.clone(), Duration::from_millis(50));
        let failure = loop {
            match write(&mut stream).await {
                Ok(_) => assert!(usage.idle_since().is_none()),
                Err(failure) => break failure,
            }
        };
        assert_eq!(failure.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn who_has_taken_its_answer_is_idle_and_who_has_asked_is_not() {
        let (ours, _theirs) = UnixStream::pair().expect("a pair");
        let usage = Usage::new();
        let mut stream = Bounded::new(ours, usage.clone(), Duration::from_secs(9));
        assert!(usage.idle_since().is_some());
        usage.asked();
        let flush = |stream: &mut Bounded<UnixStream>, context: &mut Context<'_>| Pin::new(stream).poll_flush(context);
        poll_fn(|context| flush(&mut stream, context)).await.expect("it is flushed");
        assert!(usage.idle_since().is_none(), "the answer is still looked for");
        usage.told();
        write(&mut stream).await.expect("it is written");
        poll_fn(|context| flush(&mut stream, context)).await.expect("it is flushed");
        assert!(usage.idle_since().is_some());
    }
}
