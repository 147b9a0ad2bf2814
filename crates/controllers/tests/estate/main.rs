//! The controllers, and the API client they use, in an estate of real parts.

mod api_client;
mod cafe_deployment;
mod failover;
mod node;
mod shard_move;
mod support;
