//! The service under faults for a long time: two machines with one-second schedules, an application that changes rows, and servers, connections and files
//! that fail at random.
//!
//! Half a minute unless `$WARM_SOAK` says otherwise (`30m`); `scripts/soak` does. The first machine lives through all of it, and its memory and descriptors
//! are watched; the second one is killed now and then. After each loss of the cache it has to be full again by itself, and in the end nothing in it may be
//! stale. What happens when is drawn from a seed that is printed, `$WARM_SOAK_SEED`; what comes of it depends on the machine, too.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../support/mod.rs"]
mod support;

mod application;
mod faults;
mod gauge;
mod service;

use std::time::{Duration, Instant};

use application::Application;
use faults::{Fault, Soak};
use gauge::Gauge;

/// A cache that was lost is full again after this time at most: five seconds to notice, an attempt that was in vain, and a run.
const REFILL: Duration = Duration::from_secs(60);

#[test]
fn memory_and_descriptors_stay_flat_and_the_cache_right_whatever_happens() {
    let length =
        std::env::var("WARM_SOAK").map_or(Duration::from_secs(30), |text| humantime::parse_duration(&text).unwrap());
    let seed = std::env::var("WARM_SOAK_SEED").map_or_else(|_| fastrand::u64(..), |text| text.parse().unwrap());
    println!("WARM_SOAK_SEED={seed}");
    fastrand::seed(seed);

    let mut soak = Soak::start();
    soak.wait_until_full(REFILL);
    let application = Application::start(&soak.world.database, &soak.world.redis);
    let mut gauge = Gauge::of(soak.first.pid());
    let end = Instant::now() + length;
    while Instant::now() < end {
        gauge.read_for(Duration::from_millis(fastrand::u64(300..3000)));
        let fault = fastrand::choice(Fault::ALL).unwrap();
        let without = application.rest_if(fault.empties_the_cache());
        soak.bring(fault, REFILL);
        drop(without);
    }
    application.end();
    soak.wait_until_full(REFILL);
    println!("{}", soak.report());
    println!("{}", gauge.report());
    gauge.is_flat();
    soak.has_worked();
    soak.end();
}
