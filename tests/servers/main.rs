//! The program's dealings with its two servers: encryption, poolers, secrets, limits.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../support/mod.rs"]
mod support;

mod bouncer;
mod certificates;
mod changes;
mod idle;
mod invalidator;
mod lag;
mod leases;
mod limits;
mod lost_leases;
mod machine;
mod pooler;
mod secrets;
mod served;
mod standby;
mod tls_postgres;
mod tls_redis;
mod watch;
