//! An answer that is still being written: its request counts as worked on until its last byte.
//!
//! Promises: a stream that takes minutes is neither an idle connection nor room for another request.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};

/// A body that holds on to something until it is over or dropped.
struct Held<T> {
    inner: Body,
    _held: T,
}

impl<T: Unpin> HttpBody for Held<T> {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.inner).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// Lets an answer whose length nobody knows hold on to its room; any other gives it back at once.
pub(super) fn while_streaming<T: Send + Unpin + 'static>(answer: Response, held: T) -> Response {
    if answer.body().size_hint().exact().is_some() {
        return answer;
    }
    answer.map(|inner| Body::new(Held { inner, _held: held }))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use http_body_util::BodyExt as _;

    use super::*;

    #[tokio::test]
    async fn a_stream_holds_its_room_to_the_end_and_a_whole_answer_does_not() {
        let room = Arc::new(());
        let whole = while_streaming(Response::new(Body::from("whole")), Arc::clone(&room));
        assert_eq!(Arc::strong_count(&room), 1);
        drop(whole);
        let pieces = futures_util::stream::iter(["one", "two"].map(Ok::<_, axum::Error>));
        let streamed = while_streaming(Response::new(Body::from_stream(pieces)), Arc::clone(&room));
        assert_eq!(Arc::strong_count(&room), 2);
        let mut body = streamed.into_body();
        while body.frame().await.is_some() {
            assert_eq!(Arc::strong_count(&room), 2);
        }
        drop(body);
        assert_eq!(Arc::strong_count(&room), 1);
    }
}
