//! What is gained by learning which keys to warm: an access log is replayed against nothing, a static list, what `ground/demand` learns from misses and looks, and an oracle.
//!
//! ```text
//! cargo bench --bench predict                            generated logs: Zipf of several skews, popularity drifting by the hour
//! cargo bench --bench predict -- --log FILE              a recorded one, `SECONDS KEY` a line, in the order of time
//!     --top N (50)    keys that are warmed     --every SECONDS (1500)    between two runs     --life SECONDS (1800)    of a key
//!     --look SECONDS (300)    between two looks at the warmed keys
//!     --events N (100000)    --keys N (5000)    --hours N (24)    --drift PERCENT (10)    --seed N    of generated logs
//! ```
//!
//! Time and cache are simulated; the estimator is the one that is shipped, and sees no more than Redis tells: misses, and every five minutes for each warmed key how long ago it was read last. Each log is replayed twice: with an application that writes what it has missed, and with one that only reads. Every list has as many keys and is written as often.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, unreachable_pub)]

mod log;
mod replay;

use log::{Generated, Log};
use replay::{Oracle, Outcome, Plan, Policy, Predict, Static, replay};

fn main() {
    // Cargo says `--bench` to every benchmark.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let value = |name: &str| arguments.iter().position(|given| given == name).and_then(|at| arguments.get(at + 1));
    let number = |name: &str, default: f64| value(name).map_or(default, |text| text.parse().expect("a number"));
    let plan = Plan {
        top: number("--top", 50.0) as usize,
        every: number("--every", 1500.0),
        life: number("--life", 1800.0),
        look: number("--look", 300.0),
        fills: false,
    };
    println!(
        "| log | list | hit ratio, application only reads | of the oracle's gain | hit ratio, it writes what it misses | of the oracle's gain | estimator | warmed |"
    );
    println!("|---|---|---:|---:|---:|---:|---:|---:|");
    if let Some(file) = value("--log") {
        return rows(file, &Log::read(file, plan.top), plan);
    }
    for skew in [0.9, 1.0, 1.1] {
        let generated = Generated {
            events: number("--events", 100_000.0) as usize,
            keys: number("--keys", 5_000.0) as usize,
            hours: number("--hours", 24.0),
            drift: number("--drift", 10.0) / 100.0,
            skew,
            seed: number("--seed", 7.0) as u64,
        };
        rows(&format!("Zipf {skew}"), &generated.log(plan.top), plan);
    }
}

fn rows(name: &str, log: &Log, plan: Plan) {
    let both = |policy: &dyn Fn(Plan) -> Box<dyn Policy>| {
        [false, true].map(|fills| {
            let plan = Plan { fills, ..plan };
            replay(log, plan, policy(plan).as_mut())
        })
    };
    let outcomes = [
        ("none", both(&|_| Box::new(Static(Vec::new())))),
        ("static", both(&|_| Box::new(Static(log.first.clone())))),
        ("predict", both(&|plan| Box::new(Predict::new(plan)))),
        ("oracle", both(&|plan| Box::new(Oracle::new(plan)))),
    ];
    for (list, [reads, fills]) in &outcomes {
        let gain = |of: &Outcome, at: usize| {
            let (least, most) = (outcomes[0].1[at].ratio(), outcomes[3].1[at].ratio());
            format!("{:.0} %", 100.0 * (of.ratio() - least) / (most - least))
        };
        println!(
            "| {name} | {list} | {:.1} % | {} | {:.1} % | {} | {:.0} KiB | {:.0} KiB |",
            100.0 * reads.ratio(),
            gain(reads, 0),
            100.0 * fills.ratio(),
            gain(fills, 1),
            reads.estimator.max(fills.estimator) as f64 / 1024.0,
            reads.warmed.max(fills.warmed) as f64 / 1024.0,
        );
    }
}
