//! Functions that give another value at each reading: what depends on them is never the same when it is read a second time, and so never verified.

use super::explained::Explained;
use super::postgres::quoted;
use super::{Finding, Said};
use crate::ground::calls::{Called, calls};
use crate::ground::error::Error;
use crate::ground::job::{Job, Verify};
use crate::source::Snapshot;

/// Warns about such functions in the job's query, and in the views that it reads.
///
/// # Errors
/// What the server says.
pub(super) async fn check(
    job: &Job,
    explained: &Explained,
    snapshot: &mut Snapshot,
    said: &mut Said,
) -> Result<(), Error> {
    // With a version, only that is compared.
    if job.verify != Verify::Requery {
        return Ok(());
    }
    let called: Vec<Called> = explained.expressions().into_iter().flat_map(calls).collect();
    let mut times: Vec<String> = called.iter().filter(|call| call.is_time()).map(|call| call.name.clone()).collect();
    let mut others = Vec::new();
    for function in snapshot.changing(&called).await? {
        let schema = function.schema.map(|schema| format!("{}.", quoted(&schema))).unwrap_or_default();
        let names = if function.is_time { &mut times } else { &mut others };
        names.push(format!("{schema}{}()", quoted(&function.name)));
    }
    let advice = "use `:now`, the time at which the run began: it is the same at each reading";
    said.findings.extend(warning(job, times, advice));
    let advice = "leave it out, or say verify = \"none\" if nobody minds; a function that always gives the same for the same rows should be declared STABLE";
    said.findings.extend(warning(job, others, advice));
    Ok(())
}

fn warning(job: &Job, mut names: Vec<String>, advice: &str) -> Option<Finding> {
    names.sort_unstable();
    names.dedup();
    if names.is_empty() {
        return None;
    }
    let message = format!(
        "the query calls {}, which may give another value at each reading: what depends on that cannot be verified, and dies within seconds",
        names.join(", ")
    );
    let finding = Finding::warning_of(job, message, advice);
    Some(line(job, &names).map_or(finding.clone(), |line| finding.at(&format!("{}:{line}", job.file.display()))))
}

/// The first line of the file on which one of them stands; a view's stand nowhere in it.
fn line(job: &Job, names: &[String]) -> Option<usize> {
    let bare = |name: &str| name.trim_end_matches("()").rsplit('.').next().map(str::to_owned);
    let is_one = |call: &Called| {
        let called = if call.is_time() { call.name.clone() } else { quoted(&call.name) };
        names.iter().any(|name| bare(name).as_ref() == Some(&called))
    };
    let first = calls(job.query.text()).into_iter().find(is_one)?;
    job.query.line(first.at)
}
