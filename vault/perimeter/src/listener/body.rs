//! A request's body with a size and a time it must not exceed.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::Body;
use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::Limited;
use hyper::body::Incoming;
use tokio::time::{Sleep, sleep};

use crate::limits::{Limits, millis, size};

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The body was not complete in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the body came too slowly")]
pub(crate) struct TooSlow;

/// A body that fails when its size or its time is used up.
pub(crate) struct DeadlineBody {
    inner: Limited<Incoming>,
    deadline: Pin<Box<Sleep>>,
}

impl DeadlineBody {
    /// Bounds a body; an empty one needs no timer.
    pub(crate) fn bound(body: Incoming, limits: &Limits) -> Body {
        if body.is_end_stream() {
            return Body::empty();
        }
        let inner = Limited::new(body, size(limits.body_bytes_max));
        Body::new(Self { inner, deadline: Box::pin(sleep(millis(limits.body_timeout_ms))) })
    }
}

impl HttpBody for DeadlineBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.inner).poll_frame(cx) {
            return Poll::Ready(frame);
        }
        self.deadline.as_mut().poll(cx).map(|()| Some(Err(TooSlow.into())))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
