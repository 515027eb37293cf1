//! Real servers for tests: private PostgreSQL and Redis processes, ended with the test.
//!
//! ```text
//! server    a child process and its folder; both are gone when the test ends, however it ends
//! postgres  a PostgreSQL cluster, shared by the tests of one binary; each test has a database of its own
//! redis     a Redis server of the test's own
//! npm       the packages of examples in Node
//! readers   the programs of examples/read-values
//! world     a database, a Redis, a folder with configuration and jobs, and the program to run on them
//! gate      a door in the middle of a query
//! proxy     a connection that can be cut, frozen or corrupted
//! ```
//!
//! Each test binary uses a part of this.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

pub mod gate;
pub mod npm;
pub mod postgres;
pub mod proxy;
pub mod readers;
pub mod redis;
pub mod server;
pub mod world;
