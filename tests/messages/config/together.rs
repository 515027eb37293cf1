//! Several jobs beside one another, and several mistakes at once.

use crate::files::{Cases, Files, GOOD};
use crate::support::world::CONFIG;

fn job(key: &str) -> String {
    format!("query = 'SELECT id, slug, x, y FROM thing'\nkey = '{key}'\nvalue = 'row'\nschedule = 'every 8m'\n")
}

#[test]
fn two_jobs_have_no_key_in_common() {
    let mut cases = Cases::new();
    cases.files.write("jobs/events.toml", job("t:event:{id}"));
    cases.files.write("jobs/pages.toml", job("t:event:{slug}"));
    cases.refused("the same template but for the names");
    cases.files.write("jobs/pages.toml", job("t:event:{id}"));
    cases.files.write("jobs/more.toml", job("t:event:{x}"));
    cases.refused("three jobs");
    std::fs::remove_file(cases.files.path("jobs/more.toml")).unwrap();
    cases.files.write("jobs/events.toml", job("t:top"));
    cases.files.write("jobs/pages.toml", job("t:top"));
    cases.refused("no placeholder");
    cases.compare("same_keys");
}

#[test]
fn templates_of_which_neither_is_more_specific_are_warned_about() {
    let mut cases = Cases::new();
    cases.files.write("jobs/a.toml", job("t:{x}:bb"));
    cases.files.write("jobs/b.toml", job("t:bb:{y}"));
    cases.warned("as much literal text");
    cases.files.write("jobs/b.toml", job("t:list:state:{y}"));
    cases.warned("one has more");
    cases.compare("overlapping_keys");
}

#[test]
fn a_mistake_in_the_defaults_is_reported_once_and_where_it_stands() {
    let mut cases = Cases::new();
    cases.files.write("jobs/a.toml", job("t:a:{id}"));
    cases.files.write("jobs/b.toml", job("t:b:{id}"));
    cases.files.write("jobs/c.toml", job("t:c:{id}").replace("schedule = 'every 8m'\n", ""));
    cases.files.write(
        "warm.toml",
        format!(
            "{CONFIG}[defaults]\nschedule = 'hourly'\nformat = 'rails'\nttl_jitter = '50%'\nguard.max_value = '1GiB'\n"
        ),
    );
    cases.refused("three jobs, one of them with a schedule of its own");
    cases.compare("defaults");
}

#[test]
fn a_guard_of_a_jobs_own_leaves_the_other_defaults_in_force() {
    let mut cases = Cases::new();
    cases.files.write("warm.toml", format!("{CONFIG}[defaults.guard]\nmin_rows = 10\nmax_shrink = '50%'\n"));
    cases.files.write("jobs/job.toml", format!("{}[guard]\nmax_rows = 5\n", job("t:{id}")));
    cases.refused("the fewest by default, the most in the job");
    cases.files.write("jobs/job.toml", format!("{}[guard]\nmin_rows = 0\nmax_rows = 5\n", job("t:{id}")));
    assert_eq!(cases.files.warm(&["check", "--offline"]).exits(0).err, "", "a job may switch a default off");
    cases.files.write("jobs/job.toml", format!("{}mode = 'missing'\n", job("t:{id}")));
    cases.refused("a share by default, absent keys only in the job");
    cases.files.write("jobs/job.toml", format!("{}mode = 'missing'\nguard.max_shrink = '100%'\n", job("t:{id}")));
    assert_eq!(cases.files.warm(&["check", "--offline"]).exits(0).err, "", "what can stop no run compares nothing");
    cases.compare("guards");
}

#[test]
fn a_refresh_by_default_is_no_refresh_of_absent_keys() {
    let mut cases = Cases::new();
    cases.files.write("warm.toml", format!("{CONFIG}[defaults]\nrefresh_ahead = '20%'\n"));
    cases.files.write("jobs/job.toml", format!("{}mode = 'missing'\n", job("t:{id}")));
    cases.refused("by default, absent keys only in the job");
    cases.files.write("jobs/job.toml", format!("{}mode = 'missing'\nrefresh_ahead = false\n", job("t:{id}")));
    assert_eq!(cases.files.warm(&["check", "--offline"]).exits(0).err, "", "a job may switch a default off");
    cases.compare("refresh_ahead");
}

#[test]
fn what_an_application_does_before_its_commit_does_not_matter_where_nothing_is_verified() {
    const BEFORE: &str = "invalidates = 'before-commit'\n";
    let mut cases = Cases::new();
    cases.files.write("jobs/a.toml", job("t:a:{id}"));
    cases.files.write("jobs/b.toml", format!("{}verify = 'none'\n{BEFORE}", job("t:b:{id}")));
    cases.warned("both in the job");
    cases.files.write("warm.toml", format!("{CONFIG}[defaults]\nverify = 'none'\n"));
    cases.files.write("jobs/b.toml", format!("{}{BEFORE}", job("t:b:{id}")));
    cases.warned("nothing verified by default");
    cases.files.write("warm.toml", format!("{CONFIG}[defaults]\nverify = 'none'\n{BEFORE}"));
    cases.warned("both by default, and one of them in a job, too");
    cases.files.write("warm.toml", format!("{CONFIG}[defaults]\n{BEFORE}"));
    cases.files.write("jobs/b.toml", format!("{}verify = 'none'\n", job("t:b:{id}")));
    cases.warned("a job that departs from the default");
    cases.compare("idle_invalidates");
}

#[test]
fn a_default_that_every_job_overrides_is_checked_nevertheless() {
    let files = Files::new();
    files.write("jobs/a.toml", job("t:a:{id}"));
    files.write("warm.toml", format!("{CONFIG}[defaults]\nschedule = 'hourly'\n"));
    assert!(files.refused().contains("`hourly` is no schedule"));
}

#[test]
fn all_mistakes_in_all_files_are_reported_at_once() {
    let mut cases = Cases::new();
    cases.files.write("warm.toml", format!("{CONFIG}[postgres]\nconnections = 0\n[limits]\nbuffer = 'much'\n"));
    cases.files.write("jobs/a-syntax.toml", "query = 'SELECT 1\n");
    cases.files.write("jobs/b-fields.toml", format!("{GOOD}read_through = true\npriority = 'high'\n"));
    cases.files.write(
        "jobs/c-meaning.toml",
        "query = 'DELETE FROM thing'\nkey = '{id}'\nvalue = 'all'\nttl = 'soon'\nschedule = 'hourly'\nretries = 99\n\
         [for_each]\nx = []\ny = [1, 1]\n",
    );
    cases.files.write("jobs/d bad name.toml", GOOD);
    cases.files.write("jobs/e.toml", b"\xff");
    cases.files.set("REDIS_URL", "http://cache");
    cases.refused("everything");
    cases.compare("all_at_once");
}

#[test]
fn warnings_do_not_stop_a_run() {
    let files = Files::new();
    files.write("jobs/a.toml", job("t:{x}:bb"));
    files.write("jobs/b.toml", job("t:bb:{y}"));
    files.warm(&["list"]).exits(0);
}
