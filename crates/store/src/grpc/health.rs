//! gRPC's health service, as etcd serves it: one service, the store as a whole,
//! named by nothing; serving until the drain. Whether its data can be reached
//! is asked at `/health`.

use std::pin::Pin;

use futures::{Stream, StreamExt as _, stream};
use pb_etcd::health::{
    HealthCheckRequest, HealthCheckResponse, health_check_response::ServingStatus,
    health_server::Health,
};
use tonic::{Request, Response, Status};

use super::Face;

#[tonic::async_trait]
impl Health for Face {
    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        match request.get_ref().service.as_str() {
            "" => Ok(Response::new(says(self.serving()))),
            _ => Err(Status::not_found("unknown service")),
        }
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let is_whole = request.get_ref().service.is_empty();
        let now = if is_whole { self.serving() } else { ServingStatus::ServiceUnknown };
        let drain = self.drain.clone();
        let end = stream::once(async move {
            drain.started().await;
            Ok(says(ServingStatus::NotServing))
        });
        let end = end.filter(move |_| std::future::ready(is_whole));
        Ok(Response::new(Box::pin(stream::once(async move { Ok(says(now)) }).chain(end))))
    }
}

impl Face {
    fn serving(&self) -> ServingStatus {
        if self.drain.is_draining() { ServingStatus::NotServing } else { ServingStatus::Serving }
    }
}

fn says(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse { status: status.into() }
}
