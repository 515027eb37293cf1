//! A request's body on its way: only when all of it has come is anything asked.
//!
//! Until then its connection counts as idle, so that it goes when its place is needed: else whoever sends the heads of a thousand requests, and no bodies, would shut everybody out.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};

use super::connections::Usage;

/// A body that says when all of it has come.
#[derive(Debug)]
pub(super) struct Awaited {
    body: Incoming,
    usage: Usage,
}

impl Awaited {
    pub(super) fn new(body: Incoming, usage: Usage) -> Self {
        if body.is_end_stream() {
            usage.asked()
        } else {
            usage.begun()
        }
        Awaited { body, usage }
    }
}

impl Body for Awaited {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        if frame.is_none() {
            self.usage.asked();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
