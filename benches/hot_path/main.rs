//! The parts of the hot path, each by itself: a row becomes a value, which may be compressed and encrypted, and values are written.
//!
//! ```text
//! cargo bench --bench hot_path              all of them
//! cargo bench --bench hot_path -- encode    those whose names begin so
//! ```
//!
//! Times tell little on a busy machine; `benches/instructions/run` counts instead.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs, unreachable_pub)]

mod row;
#[path = "../../tests/support/mod.rs"]
mod support;

use std::sync::Arc;
use std::time::Duration;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use row::Event;
use secrecy::SecretBox;
use support::redis::Redis as Server;
use tokio::runtime::Runtime;
use warm::cache::{Policy, Redis, Tally, Writer};
use warm::encode::{Encoder, ValueSpec, format};
use warm::ground::kind::{KeyType, Kind};
use warm::ground::row::Row;
use warm::ground::sealing::{Compress, Compression, Encrypt, Key, Keyring, SECRET, Sealing};
use warm::ground::settings::{Limits, RedisSettings, Restraint};
use warm::ground::value::{BigInt, ValueShape};
use warm::seal::Sealer;

/// Keys of one run of the writer, and how many go together.
const KEYS: usize = 64 * 100;
const TOGETHER: usize = 64;
const TTL: Duration = Duration::from_secs(1800);

fn encoder(name: &str) -> Encoder {
    let spec = ValueSpec {
        shape: &ValueShape::Row,
        key_type: &KeyType::String,
        hide: &[],
        key_columns: &[],
        bigint: BigInt::String,
    };
    Encoder::new(format(name).unwrap(), &row::columns(), &spec).unwrap()
}

fn value_of(encoder: &Encoder, row: &impl Row) -> Vec<u8> {
    let mut out = Vec::new();
    encoder.row(row, &mut out, 1 << 20).unwrap();
    out
}

/// A row of 13 columns becomes some 730 bytes of JSON.
fn encode(criterion: &mut Criterion) {
    let event = Event::new();
    let mut group = criterion.benchmark_group("encode");
    for name in ["prisma", "prisma5"] {
        let encoder = encoder(name);
        let mut out = value_of(&encoder, &event);
        group.throughput(Throughput::Bytes(out.len() as u64));
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                out.clear();
                encoder.row(&event, &mut out, 1 << 20).unwrap();
            });
        });
    }
    group.finish();
}

/// A value of that size, and a list of twenty, are compressed and encrypted.
fn seal(criterion: &mut Criterion) {
    let secret = SecretBox::new(Box::new([7; SECRET]));
    let keys = Arc::new(Keyring::new([Key::new("bench", secret)]).unwrap());
    let row = value_of(&encoder("prisma"), &Event::new());
    let mut group = criterion.benchmark_group("seal");
    for (size, value) in [("row", row.clone()), ("list", row.repeat(20))] {
        group.throughput(Throughput::Bytes(value.len() as u64));
        let formats = Compression::NAMES.map(|(name, with)| (name, Some(Compress { with, above: 0 }), Encrypt::No));
        let encrypted = ("encrypted", None, Encrypt::With(Arc::clone(&keys)));
        for (name, compress, encrypt) in formats.into_iter().chain([encrypted]) {
            let mut sealer = Sealer::new(&Sealing { compress, encrypt }, "").unwrap().unwrap();
            let mut out = Vec::new();
            group.bench_function(format!("{size}, {name}"), |bencher| {
                bencher.iter(|| {
                    out.clear();
                    out.extend_from_slice(&value);
                    sealer.seal(b"event:123456", &mut out, 0).unwrap();
                });
            });
        }
    }
    group.finish();
}

/// Values of that size are written into an empty and into a full database of a real Redis; connecting is part of it.
fn write(criterion: &mut Criterion) {
    let server = Server::start("");
    let redis = Redis::new(&settings(&server)).unwrap();
    let runtime = Runtime::new().unwrap();
    let value = value_of(&encoder("prisma"), &Event::new());
    let fill = |policy| runtime.block_on(fill(&redis, policy, &value));
    let mut admin = server.connect();
    let mut empty = || {
        let _: () = redis::cmd("FLUSHALL").query(&mut admin).unwrap();
    };
    let mut group = criterion.benchmark_group("write");
    group.sample_size(20).throughput(Throughput::Elements(KEYS as u64));
    for (name, verified) in [("unverified", false), ("provisional", true)] {
        let policy = Policy::Refresh { verified };
        group.bench_function(format!("{name}, empty"), |bencher| {
            bencher.iter_batched(&mut empty, |()| fill(policy), BatchSize::PerIteration);
        });
        group.bench_function(format!("{name}, full"), |bencher| bencher.iter(|| fill(policy)));
    }
    group.finish();
}

fn settings(server: &Server) -> RedisSettings {
    RedisSettings {
        url: format!("unix://{}", server.socket()).into(),
        origin: "the benchmark".to_owned(),
        database: None,
        key_prefix: String::new(),
        ca_file: None,
        connect_timeout: Duration::from_secs(10),
        timeout: Duration::from_secs(10),
        memory_limit: 0.8,
        restraint: Restraint::default(),
    }
}

async fn fill(redis: &Redis, policy: Policy, value: &[u8]) {
    let tally = Tally::default();
    let mut writer =
        Writer::open(redis, (policy, Kind::String), Limits::default().in_flight, tally.clone()).await.unwrap();
    for from in (0..KEYS).step_by(TOGETHER) {
        let mut batch = writer.batch();
        for key in from..from + TOGETHER {
            batch.push(format!("bulk:{key}").as_bytes(), value, TTL);
        }
        writer.send(batch, None).await.unwrap();
    }
    writer.finish().await.unwrap();
    let stats = tally.stats();
    // What was there already is equal; a run would confirm it.
    assert!(stats.written == KEYS as u64 || policy.verified(), "{stats:?}");
}

criterion_group!(benches, encode, seal, write);
criterion_main!(benches);
