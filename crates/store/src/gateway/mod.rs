//! etcd's JSON gateway: `POST /v3/...` with JSON instead of gRPC.
//!
//! Generic over the descriptors of the services: a path names a method, the
//! body becomes its request as it would have come over gRPC, and the same
//! services answer it with the same checks. So nothing here knows what a
//! message means, and nothing can be asked here that could not be asked there.
//!
//! Not served: what browsers want (`Access-Control-Allow-Origin: *`,
//! WebSockets), since any page would then reach what its reader can reach.

mod frames;
pub(crate) mod fuzz;
mod json;
mod paths;

use std::convert::Infallible;

use bytes::{Bytes, BytesMut};
use futures::{StreamExt as _, stream};
use http::{
    HeaderValue, Method as HttpMethod, Request, Response, StatusCode, Version,
    header::{CONTENT_TYPE, TE},
    request::Parts,
};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited, StreamBody};
use hyper::body::Frame;
use kv::Error;
use kv_etcd::status;
use prost_reflect::MethodDescriptor;
use tonic::{Code, Status, body::Body};

use crate::{Limits, grpc::GATEWAY_METADATA, metrics::Method, route::Router};
use frames::Frames;

/// One JSON request: twice as large as the largest in gRPC, for base64 and
/// names, and never less than this.
const REQUEST_BYTES_MIN: usize = 1024 * 1024;

/// One of the many that a client may send on a stream. They hold a key range
/// or a lease, nothing large.
const STREAMED_BYTES_MAX: usize = 64 * 1024;

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// Whether the gateway answers for this path.
pub(crate) fn serves(path: &str) -> bool {
    path.starts_with("/v3/")
}

/// Answers a request whose head has been given what the services look for.
pub(crate) async fn answer(router: &Router, request: Request<Body>) -> Response<Body> {
    let Some(path) = paths::method(request.uri().path()) else {
        return refusal(StatusCode::NOT_FOUND, &Status::not_found("Not Found"));
    };
    if request.method() != HttpMethod::POST {
        let unimplemented = Status::unimplemented("Method Not Allowed");
        return refusal(StatusCode::METHOD_NOT_ALLOWED, &unimplemented);
    }
    match forward(router, request, path).await {
        Ok(response) => response,
        Err(status) => refusal(http_status(status.code()), &status),
    }
}

async fn forward(
    router: &Router,
    request: Request<Body>,
    path: &'static str,
) -> Result<Response<Body>, Status> {
    let method = json::method(path);
    let counted = Method::of(path).expect("every path of the table is a method that is served");
    let (head, body) = request.into_parts();
    let body = match method.is_client_streaming() {
        true => streamed(&method, body).await?,
        false => whole(&method, body, router.limits()).await?,
    };
    let response = router.call(counted, grpc(head, path, body)).await;
    if let Some(status) = Status::from_header_map(response.headers())
        && status.code() != Code::Ok
    {
        return Err(status);
    }
    match method.is_server_streaming() {
        true => told(method, response.into_body()).await,
        false => told_once(&method, response.into_body()).await,
    }
}

// === the request ===

/// The head as gRPC has it. Who asks, which keyspace, and with which token
/// stays as it was.
fn grpc(mut head: Parts, path: &'static str, body: Body) -> Request<Body> {
    head.uri = http::Uri::from_static(path);
    head.version = Version::HTTP_2;
    head.headers.remove(http::header::CONTENT_LENGTH);
    head.headers.remove(http::header::TRANSFER_ENCODING);
    head.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    head.headers.insert(TE, HeaderValue::from_static("trailers"));
    head.headers.insert(GATEWAY_METADATA, JSON);
    Request::from_parts(head, body)
}

async fn whole(method: &MethodDescriptor, body: Body, limits: Limits) -> Result<Body, Status> {
    let bytes_max = limits.request_bytes.saturating_mul(2).max(REQUEST_BYTES_MIN);
    let body = Limited::new(body, bytes_max).collect().await.map_err(|error| match error
        .downcast_ref::<LengthLimitError>(
    ) {
        Some(_) => status::to_status(&Error::RequestTooLarge),
        None => Status::cancelled(error.to_string()),
    })?;
    let message = json::read(method, &body.to_bytes())?;
    Ok(Body::new(Full::new(message)))
}

/// Requests one after the other, as they come. The first decides whether there
/// is a stream at all.
async fn streamed(method: &MethodDescriptor, body: Body) -> Result<Body, Status> {
    let mut requests = Requests { method: method.clone(), body, buffer: BytesMut::new() };
    let first = requests.next().await?;
    let rest = stream::unfold(Some(requests), |requests| async {
        let mut requests = requests?;
        match requests.next().await {
            Ok(Some(request)) => Some((Ok(Frame::data(request)), Some(requests))),
            Ok(None) => None,
            Err(status) => Some((Err(status), None)),
        }
    });
    let first = stream::iter(first.map(|request| Ok::<_, Status>(Frame::data(request))));
    Ok(Body::new(StreamBody::new(first.chain(rest))))
}

struct Requests {
    method: MethodDescriptor,
    body: Body,
    /// What came of the next request so far.
    buffer: BytesMut,
}

// === impl Requests ===

impl Requests {
    async fn next(&mut self) -> Result<Option<Bytes>, Status> {
        loop {
            if let Some(end) = json::end(&self.buffer)? {
                let request = self.buffer.split_to(end);
                return json::read(&self.method, &request).map(Some);
            }
            if self.buffer.len() > STREAMED_BYTES_MAX {
                return Err(status::to_status(&Error::RequestTooLarge));
            }
            match self.body.frame().await {
                Some(Ok(frame)) => {
                    self.buffer.extend_from_slice(frame.data_ref().map_or(&[], |data| &data[..]));
                }
                Some(Err(error)) => return Err(Status::cancelled(error.to_string())),
                None if json::is_blank(&self.buffer) => return Ok(None),
                None => return Err(Status::invalid_argument("unexpected EOF")),
            }
        }
    }
}

// === the response ===

async fn told_once(method: &MethodDescriptor, body: Body) -> Result<Response<Body>, Status> {
    let message = Frames::new(body).next().await?;
    let message = message.ok_or_else(|| Status::internal("polis: a call without an answer"))?;
    Ok(response(StatusCode::OK, Full::new(json::write(method, message)?)))
}

/// A line for each message. Waits for the first, so that a call that is
/// refused is refused by its status.
async fn told(method: MethodDescriptor, body: Body) -> Result<Response<Body>, Status> {
    let mut frames = Frames::new(body);
    let first = match frames.next().await? {
        Some(message) => Some(json::result_line(&method, message)?),
        None => None,
    };
    let rest = stream::unfold(first.is_some().then_some(frames), move |frames| {
        let method = method.clone();
        async move {
            let mut frames = frames?;
            let line = match frames.next().await {
                Ok(Some(message)) => json::result_line(&method, message),
                Ok(None) => return None,
                Err(status) => Err(status),
            };
            match line {
                Ok(line) => Some((line, Some(frames))),
                Err(status) => Some((json::error_line(&status, http_status(status.code())), None)),
            }
        }
    });
    let lines = stream::iter(first).chain(rest);
    let body = StreamBody::new(lines.map(|line| Ok::<_, Infallible>(Frame::data(line))));
    Ok(response(StatusCode::OK, body))
}

fn refusal(code: StatusCode, status: &Status) -> Response<Body> {
    response(code, Full::new(json::error(status)))
}

fn response<B>(code: StatusCode, body: B) -> Response<Body>
where
    B: hyper::body::Body<Data = Bytes, Error = Infallible> + Send + 'static,
{
    let mut response = Response::new(Body::new(body));
    *response.status_mut() = code;
    response.headers_mut().insert(CONTENT_TYPE, JSON);
    response
}

/// grpc-gateway's table (`runtime/errors.go`).
fn http_status(code: Code) -> StatusCode {
    match code {
        Code::Ok => StatusCode::OK,
        Code::Cancelled => StatusCode::from_u16(499).expect("three digits are a status"),
        Code::InvalidArgument | Code::FailedPrecondition | Code::OutOfRange => {
            StatusCode::BAD_REQUEST
        }
        Code::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::AlreadyExists | Code::Aborted => StatusCode::CONFLICT,
        Code::PermissionDenied => StatusCode::FORBIDDEN,
        Code::Unauthenticated => StatusCode::UNAUTHORIZED,
        Code::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
        Code::Unimplemented => StatusCode::NOT_IMPLEMENTED,
        Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Code::Unknown | Code::Internal | Code::DataLoss => StatusCode::INTERNAL_SERVER_ERROR,
    }
}
