//! Memory and file descriptors of a process.

use std::fs;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How often it is looked.
const LOOK: Duration = Duration::from_millis(250);
/// More than this is a leak however short the time: the service has some 20 MB and 40 descriptors.
const MOST_MEMORY: u64 = 128 << 20;
const MOST_DESCRIPTORS: u64 = 128;
/// From so many looks on, beginning and end are compared: what comes before is a process that gets warm.
const LONG: usize = 2400;

pub(crate) struct Gauge {
    process: String,
    /// Bytes, descriptors.
    looks: Vec<[u64; 2]>,
}

impl Gauge {
    pub(crate) fn of(pid: u32) -> Gauge {
        Gauge { process: format!("/proc/{pid}"), looks: Vec::new() }
    }

    /// Looks for so long.
    pub(crate) fn read_for(&mut self, length: Duration) {
        let end = Instant::now() + length;
        while Instant::now() < end {
            let status = fs::read_to_string(format!("{}/status", self.process)).expect("the service lives");
            let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
            let kilobytes: u64 = line.trim().trim_end_matches(" kB").parse().unwrap();
            let descriptors = fs::read_dir(format!("{}/fd", self.process)).unwrap().count();
            self.looks.push([kilobytes << 10, descriptors as u64]);
            sleep(LOOK);
        }
    }

    /// The medians of the second and of the last fifth of the looks.
    fn medians(&self) -> [[u64; 2]; 2] {
        let fifth = self.looks.len() / 5;
        [&self.looks[fifth..2 * fifth], &self.looks[self.looks.len() - fifth..]].map(|looks| {
            [0, 1].map(|what| {
                let mut all: Vec<u64> = looks.iter().map(|look| look[what]).collect();
                all.sort_unstable();
                all[all.len() / 2]
            })
        })
    }

    fn most(&self) -> [u64; 2] {
        [0, 1].map(|what| self.looks.iter().map(|look| look[what]).max().unwrap())
    }

    pub(crate) fn report(&self) -> String {
        let ([[memory, descriptors], [memory_later, descriptors_later]], [most_memory, most_descriptors]) =
            (self.medians(), self.most());
        let mebibytes = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        format!(
            "memory {:.1} MiB in the second fifth, {:.1} in the last one, at most {:.1}; descriptors {descriptors}, {descriptors_later}, at most {most_descriptors}",
            mebibytes(memory),
            mebibytes(memory_later),
            mebibytes(most_memory)
        )
    }

    pub(crate) fn is_flat(&self) {
        let (medians, most) = (self.medians(), self.most());
        assert!(most[0] < MOST_MEMORY && most[1] < MOST_DESCRIPTORS, "{}", self.report());
        if self.looks.len() >= LONG {
            let [[memory, descriptors], [memory_later, descriptors_later]] = medians;
            // An allocator keeps what it once had; a leak goes on.
            assert!(memory_later < memory + memory / 10 + (2 << 20), "{}", self.report());
            assert!(descriptors_later <= descriptors + 4, "{}", self.report());
        }
    }
}
