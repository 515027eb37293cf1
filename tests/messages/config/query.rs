//! Queries and their parameters.

use crate::files::Cases;
use crate::support::world::CONFIG;

/// What a job has beside its query.
const REST: &str = "key = 't:{id}'\nvalue = 'row'\n";

#[test]
fn a_query_is_one_statement_that_reads() {
    let mut cases = Cases::new();
    for (title, query) in [
        ("nothing", "''"),
        ("a comment only", "'-- SELECT 1'"),
        ("two statements", "'SELECT 1; SELECT 2'"),
        ("two statements on several lines", "'''\n  SELECT 1;\n  DROP TABLE thing\n'''"),
        ("a statement that writes", "'DELETE FROM thing'"),
        ("a command", "'VACUUM'"),
        ("numbered parameters", "'SELECT id FROM thing WHERE state = $1'"),
        ("a string without an end", "'''\n  SELECT id\n  FROM thing WHERE state = 'Lagos\n'''"),
        ("a comment without an end", "'SELECT id /* FROM thing'"),
        ("in a string with escapes", r#""SELECT \"id\" FROM thing; DELETE FROM thing""#),
    ] {
        cases.job(title, format!("query = {query}\n{REST}"));
    }
    cases.compare("queries");
}

#[test]
fn every_parameter_has_values_and_is_used() {
    let mut cases = Cases::new();
    let query = "query = '''\n  SELECT id FROM thing\n  WHERE state = :state AND kind = :kind\n'''\n";
    cases.job("none has values", format!("{query}{REST}"));
    cases.job("one is spelt otherwise", format!("{query}{REST}[for_each]\nstate = ['Lagos']\nkinds = ['a']\n"));
    cases.job("one too many", format!("{query}{REST}[for_each]\nstate = ['Lagos']\nkind = ['a']\npage = [1, 2]\n"));
    cases.job(
        "in a string with escapes",
        format!("query = \"SELECT \\\"id\\\" FROM thing WHERE state = :state\"\n{REST}"),
    );
    cases.job(
        "on lines that end as in Windows",
        format!("query = '''\r\n  SELECT id FROM thing\r\n  WHERE state = :state\r\n'''\r\n{REST}"),
    );
    cases.line("`now` takes no values", "for_each.now = ['2026-11-25']");
    cases.line("a name that is none", "for_each.'the state' = ['Lagos']");
    cases.line("a name with a dot", "for_each.'a.b' = ['Lagos']");
    cases.compare("parameters");
}

#[test]
fn lists_of_values_are_not_empty_have_no_doubles_and_are_bounded() {
    let mut cases = Cases::new();
    let job = |values: &str| {
        format!("query = 'SELECT :x::text AS id'\nkey = 't:{{x}}'\nvalue = 'row'\nfor_each.x = {values}\n")
    };
    cases.job("empty", job("[]"));
    cases.job("a double", job("['Lagos', 'Kano', 'Lagos']"));
    cases.job("a double of another type", job("[1, '1']"));
    cases.job("an empty text in the key", job("['Lagos', '']"));
    let numbers = (0..101).map(|n| n.to_string()).collect::<Vec<_>>().join(", ");
    cases.job(
        "too many combinations",
        format!(
            "query = 'SELECT :x::int + :y::int AS id'\nkey = 't:{{x}}:{{y}}'\nvalue = 'row'\n[for_each]\nx = [{numbers}]\ny = [{numbers}]\n"
        ),
    );
    cases.compare("lists");
}

#[test]
fn a_query_of_values_may_use_the_time_only() {
    let mut cases = Cases::new();
    let job = |query: &str| {
        format!("query = 'SELECT :x::text AS id'\nkey = 't:{{x}}'\nvalue = 'row'\nfor_each.x = {{ query = {query} }}\n")
    };
    cases.job("another parameter", job("'SELECT state FROM thing WHERE at > :now AND kind = :kind'"));
    cases.job("two statements", job("'SELECT 1; SELECT 2'"));
    cases.job("nothing", job("''"));
    cases.compare("queries_of_values");
}

#[test]
fn a_query_that_may_leave_rows_out_cannot_sweep() {
    let mut cases = Cases::new();
    let job = |query: &str, more: &str| {
        format!("query = '''\n{query}'''\nkey = 't:{{id}}'\nvalue = 'row'\nsweep = true\n{more}\n")
    };
    cases.job("a limit", job("SELECT id\nFROM thing ORDER BY id limit 5", ""));
    cases.job("an offset", job("SELECT id FROM thing OFFSET 5 ROWS", ""));
    cases.job("in a part of it", job("SELECT id FROM (SELECT id FROM thing FETCH FIRST ROW ONLY) t", ""));
    cases.job("a sample", job("SELECT id FROM thing TABLESAMPLE system (10)", ""));
    cases.job(
        "values that are limited",
        job("SELECT id FROM thing WHERE x = :x", "for_each.x = { query = 'SELECT x FROM thing LIMIT 3' }"),
    );
    cases.job("absent keys only", job("SELECT id FROM thing", "mode = 'missing'"));
    cases.job("one look", job("SELECT id FROM thing", "verify = 'none'"));
    cases.config("not for all jobs", format!("{CONFIG}[defaults]\nsweep = true"));
    cases.files.write("warm.toml", format!("{CONFIG}[defaults]\nverify = 'none'"));
    cases.job("one look by default", job("SELECT id FROM thing", ""));
    cases.files.write("warm.toml", CONFIG);
    cases
        .files
        .write("jobs/job.toml", job("SELECT id, 'limit' AS \"limit\" FROM thing t WHERE t.limit = 1 -- LIMIT", ""));
    assert_eq!(cases.files.warm(&["check", "--offline"]).exits(0).err, "");
    cases.compare("sweep");
}

#[test]
fn a_query_for_how_busy_the_database_is_reads_one_figure_and_has_a_limit_beside_it() {
    let mut cases = Cases::new();
    let busy = |lines: &str| format!("{CONFIG}[postgres]\n{lines}\n");
    let query = |text: &str| busy(&format!("busy_above = 20\nbusy_query = {text}"));
    cases.config("nothing to compare with", busy("busy_query = 'SELECT 1'"));
    cases.config("a parameter", query("'''\n  SELECT count(*)\n  FROM load WHERE time > :now\n'''"));
    cases.config("a statement that writes", query("'DELETE FROM load'"));
    cases.config("two statements", query("'SELECT 1; SELECT 2'"));
    cases.config("a text for the limit", busy("busy_above = 'many'"));
    cases.config("a number for the lag", busy("max_lag = 30"));
    cases.config("no limits", busy("busy_above = 'none'\nmax_lag = 'none'\n[redis]\nkeys_per_second = 'none'"));
    cases.config("a number that has to be there", busy("connections = 'none'"));
    cases.compare("busy");
}
