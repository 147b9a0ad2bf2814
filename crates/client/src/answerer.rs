//! An API that is reached without a connection of ours: in the same process, or
//! over a network that somebody else plays.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Request, Response};
use kube::client::Body;
use tower_service::Service;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

pub struct Answerer<A>(pub Arc<A>);

// === impl Answerer ===

impl<A, F, B, E> Service<Request<Body>> for Answerer<A>
where
    A: Fn(Request<Bytes>) -> F + Send + Sync + 'static,
    F: Future<Output = Result<Response<B>, E>> + Send + 'static,
    E: Into<BoxError>,
{
    type Response = Response<B>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Response<B>, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let answer = self.0.clone();
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            let body = body.collect_bytes().await?;
            answer(Request::from_parts(parts, body)).await.map_err(Into::into)
        })
    }
}
