//! The series of what was looked at: how warm the jobs are, and whether the targets are met. What is not known has no series.

use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::series::{Labels, OfJob, Seconds, of};
use crate::ground::targets::{Figure, Judged, NAMES, Verdict};
use crate::ground::warmth::Warmth;

/// A share, from 0 to 1.
type Share = Seconds;

/// How warm each job is.
#[derive(Default)]
pub(super) struct WarmthSeries {
    warmth: Family<OfJob, Share>,
    sample: Family<OfJob, Gauge>,
}

impl WarmthSeries {
    pub(super) fn register(&self, all: &mut Registry) {
        let warmth = "The share of the job's keys that were there at the last look, from a sample";
        all.register("job_warmth", warmth, self.warmth.clone());
        all.register("job_warmth_sample_keys", "How many keys were looked for", self.sample.clone());
    }

    /// A job is as warm as this, or nobody knows.
    pub(super) fn set(&self, job: &str, warmth: Option<&Warmth>) {
        match warmth.and_then(|warmth| Some((warmth.present.share()?, warmth.present.of))) {
            Some((share, sample)) => {
                self.warmth.get_or_create(&of(job)).set(share);
                self.sample.get_or_create(&of(job)).set(i64::try_from(sample).unwrap_or(i64::MAX));
            }
            None => {
                self.warmth.remove(&of(job));
                self.sample.remove(&of(job));
            }
        }
    }
}

/// Whether the targets are met.
#[derive(Default)]
pub(super) struct TargetSeries {
    met: Family<Labels<1>, Gauge>,
    wanted: Family<Labels<1>, Share>,
    found: Family<Labels<1>, Share>,
}

impl TargetSeries {
    pub(super) fn register(&self, all: &mut Registry) {
        all.register("target_met", "Whether the target was met at the last look", self.met.clone());
        let unit = "a share from 0 to 1, or seconds";
        all.register("target_wanted", format!("What is wanted: {unit}"), self.wanted.clone());
        all.register("target_found", format!("What was found: {unit}"), self.found.clone());
    }

    /// These are the targets, and nothing else is.
    pub(super) fn set(&self, targets: &[Judged]) {
        for name in NAMES {
            let label = [("target", name.to_owned())];
            let target = targets.iter().find(|target| target.name == name);
            let found = target.and_then(|target| target.found).map(Figure::number);
            let met = target.map(Judged::verdict).filter(|verdict| *verdict != Verdict::Unknown);
            set(&self.wanted, &label, target.map(|target| target.wanted.number()));
            set(&self.found, &label, found);
            match met {
                Some(met) => drop(self.met.get_or_create(&label).set((met == Verdict::Met).into())),
                None => drop(self.met.remove(&label)),
            }
        }
    }
}

fn set(gauges: &Family<Labels<1>, Share>, label: &Labels<1>, value: Option<f64>) {
    match value {
        Some(value) => drop(gauges.get_or_create(label).set(value)),
        None => drop(gauges.remove(label)),
    }
}
