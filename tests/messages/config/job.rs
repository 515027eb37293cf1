//! Fields of a job that have the right shape and a wrong meaning.

use crate::files::{Cases, GOOD};
use crate::support::world::CONFIG;

/// A good query and shape of the value; the key is the test's.
const KEYED: &str = "query = 'SELECT id FROM thing'\nvalue = 'row'\n";

#[test]
fn a_job_needs_a_query_a_key_and_a_value() {
    let mut cases = Cases::new();
    cases.job("nothing", "");
    cases.job("a comment only", "# to be written\n");
    cases.job("no query", "key = 't:{id}'\nvalue = 'row'\n");
    cases.job("no key", "query = 'SELECT 1'\nvalue = 'row'\n");
    cases.job("no value", "query = 'SELECT 1'\nkey = 't:{id}'\n");
    cases.compare("missing_fields");
}

#[test]
fn a_key_template_keeps_its_values_inside_and_apart() {
    let mut cases = Cases::new();
    for (title, key) in [
        ("no literal text before the first placeholder", "'{id}'"),
        ("nothing", "''"),
        ("nothing between two placeholders", "'t:{state}{id}'"),
        ("not closed", "'t:{id'"),
        ("not opened", "'t:id}'"),
        ("no name", "'t:{}'"),
        ("a name with a space", "'t:{the id}'"),
        ("the same placeholder twice", "'t:{id}:{id}'"),
        ("our own keys", "'warm:{id}'"),
        ("a line break", "\"t:\\n{id}\""),
        ("a line break, literally", "'''\nt:\n{id}'''"),
        ("the time", "'t:{now}'"),
        ("text that is not ASCII before the mistake", "'t:ọ̀wàmbẹ̀:{id}{x}'"),
    ] {
        cases.job(title, format!("{KEYED}key = {key}\n"));
    }
    cases.compare("keys");
}

#[test]
fn values_and_formats_have_known_names() {
    let mut cases = Cases::new();
    for value in ["Row", "array", "column:", "column"] {
        cases.job(&format!("value {value}"), format!("query = 'SELECT 1'\nkey = 't:{{id}}'\nvalue = '{value}'\n"));
    }
    cases.line("an unknown format", "format = 'rails'");
    cases.line("an unknown way to write a bigint", "bigint = 'text'");
    cases.line("no choice of bigint", "bigint = 'number'\nformat = 'postgres'");
    cases.line("no choice of bigint, even of the only one", "bigint = 'string'\nformat = 'postgres'");
    cases.line("a hidden column twice", "hide = ['a', 'b', 'a']");
    cases.line("on_bad_row", "on_bad_row = 'ignore'");
    cases.line("mode", "mode = 'Missing'");
    cases.line("verify", "verify = 'always'");
    cases.line("verify by no column", "verify = { version = '' }");
    cases.line("invalidates", "invalidates = 'never'");
    cases.compare("names");
}

#[test]
fn types_go_with_values_and_with_what_they_need() {
    let mut cases = Cases::new();
    let job = |value: &str, ty: &str, more: &str| {
        format!("query = 'SELECT id, n FROM thing'\nkey = 't:{{id}}'\nvalue = '{value}'\ntype = '{ty}'\n{more}")
    };
    cases.job("an unknown type", job("row", "stream", ""));
    cases.job("Redis' own name", job("row", "ReJSON-RL", ""));
    for (value, ty) in [("rows", "hash"), ("column:n", "hash"), ("row", "list"), ("row", "set"), ("column:n", "json")] {
        cases.job(&format!("{ty} of {value}"), job(value, ty, ""));
    }
    cases.job("zset of a column", job("column:n", "zset", "score = 'n'"));
    cases.job("no score", job("rows", "zset", ""));
    cases.job("an empty score", job("rows", "zset", "score = ''"));
    cases.job("a score for a list", job("rows", "list", "score = 'n'"));
    cases.job("a score for strings", format!("{GOOD}score = 'n'"));
    cases.job("an element of a hash", job("row", "hash", "element = 'column:n'"));
    cases.job("an element of strings", format!("{GOOD}element = 'row'"));
    for element in ["column", "column:", "rows", "n"] {
        cases.job(&format!("element {element}"), job("rows", "set", &format!("element = '{element}'")));
    }
    cases.job("pages", job("rows", "list", "paginate = 20\n").replace("{id}", "{page}"));
    cases.job("swept", job("row", "hash", "sweep = true"));
    cases.job("swept JSON", job("row", "json", "sweep = true"));
    cases.job("compressed", job("rows", "set", "compress = 'zstd'"));
    cases.job("encrypted", job("row", "json", "encrypt = true"));
    cases.job("by a version", job("rows", "zset", "score = 'n'\nverify = { version = 'n' }"));
    cases.files.write("warm.toml", format!("{CONFIG}[defaults]\nverify = {{ version = 'n' }}"));
    cases.job("by a version for all", job("rows", "list", ""));
    cases.config("not for all jobs", format!("{CONFIG}[defaults]\ntype = 'hash'"));
    cases.compare("types");
}

#[test]
fn pages_need_rows_a_place_in_the_key_and_a_size() {
    let mut cases = Cases::new();
    let job = |key: &str, more: &str| {
        format!(
            "query = '''\nSELECT id FROM thing ORDER BY id'''\nkey = '{key}'\nvalue = 'rows'\npaginate = 20\n{more}"
        )
    };
    let good = || job("t:list:{page}", "");
    cases.job("no place in the key", job("t:list", ""));
    cases.job("a row for each key", good().replace("'rows'", "'row'"));
    cases.job("a column", good().replace("'rows'", "'column:id'"));
    for size in ["0", "-1", "10001", "99999999999999999999", "'20'", "20.5", "true"] {
        cases.job(&format!("paginate = {size}"), good().replace("= 20", &format!("= {size}")));
    }
    let limited = job("t:list:{page}", "for_each.page = [1, 2, 3]\n");
    cases.job("pages by hand", limited.replace("ORDER BY id", "ORDER BY id LIMIT 20 OFFSET 20 * (:page::int - 1)"));
    cases.job("a version", job("t:list:{page}", "verify = { version = 'id' }"));
    cases.config("not for all jobs", format!("{CONFIG}[defaults]\npaginate = 20"));
    cases.files.write("warm.toml", format!("{CONFIG}[defaults]\nverify = {{ version = 'id' }}"));
    cases.job("a version by default", good());
    cases.files.write("warm.toml", CONFIG);
    cases.files.write("jobs/job.toml", good().replace(" ORDER BY id", ""));
    cases.warned("no order");
    cases.files.write("jobs/job.toml", good());
    let said = cases.files.warned();
    cases.add("good", &said);
    cases.compare("pages");
}

#[test]
fn parts_are_ranges_of_a_column_of_the_key() {
    let mut cases = Cases::new();
    let by = |column: &str, parts: &str| format!("partition_by = {{ column = '{column}', parts = {parts} }}");
    cases.line("not in the key", &by("slug", "4"));
    cases.line("no name", &by("", "4"));
    for parts in ["1", "65", "-4", "'4'", "1.5"] {
        cases.line(&format!("parts = {parts}"), &by("id", parts));
    }
    cases.line("no number", "partition_by = { column = 'id' }");
    cases.line("no column", "partition_by = { parts = 4 }");
    cases.line("a word", "partition_by = 'id'");
    cases.line("an unknown field", "partition_by = { column = 'id', parts = 4, bounds = [1, 2] }");
    let other = |query: &str, more: &str| {
        format!("query = '{query}'\nkey = 't:{{id}}'\nvalue = 'row'\n{}\n{more}\n", by("id", "4"))
    };
    cases.job("a parameter", other("SELECT x FROM thing WHERE id = :id", "for_each.id = [1, 2]"));
    cases.job("a limit", other("SELECT id FROM thing ORDER BY id LIMIT 5", ""));
    cases.job("a name that is taken", other("SELECT id FROM thing WHERE x = :warm_to", "for_each.warm_to = [1]"));
    let page = "query = 'SELECT id FROM thing ORDER BY id'\nkey = 't:{page}'\nvalue = 'rows'\npaginate = 5\n";
    cases.job("the page's number", format!("{page}{}\n", by("page", "4")));
    cases.config("not for all jobs", format!("{CONFIG}[defaults]\n{}", by("id", "4")));
    cases.compare("partitions");
}

#[test]
fn a_schedule_that_cannot_be_is_shown_at_the_part_at_fault() {
    let mut cases = Cases::new();
    for schedule in [
        "",
        "0 * * *",
        "0 0 0 * * * 2026",
        "61 * * * *",
        "*/0 * * * *",
        "0 24 * * *",
        "0 0 32 * *",
        "0 0 1 13 *",
        "0 0 * * MOONDAY",
        "0 0 * MON *",
        "0 0 ? * MON",
        "0 0 * * L",
        "0,,5 * * * *",
        "*/15 5/10 * * *",
        "60 0 * * * *",
        "0 0 30 2 *",
        "hourly",
        "@dayly",
        "@reboot",
        "every",
        "every soon",
        "every 5M",
        "every 10ms",
        "every 400d",
        "every -5m",
    ] {
        cases.line(&format!("`{schedule}`"), &format!("schedule = '{schedule}'"));
    }
    cases.line("a time zone that does not exist", "timezone = 'Africa/Abuja'");
    cases.line("a time zone by its abbreviation", "timezone = 'WAT'");
    cases.compare("schedules");
}

#[test]
fn lengths_of_time_sizes_and_numbers_have_bounds() {
    let mut cases = Cases::new();
    for ttl in ["", "soon", "5", "5M", "0s", "999ms", "367d", "-5m"] {
        cases.line(&format!("ttl {ttl}"), &format!("ttl = '{ttl}'"));
    }
    for jitter in ["5", "11%", "-1%", "much"] {
        cases.line(&format!("ttl_jitter {jitter}"), &format!("ttl_jitter = '{jitter}'"));
    }
    for timeout in ["0s", "2d"] {
        cases.line(&format!("timeout {timeout}"), &format!("timeout = '{timeout}'"));
    }
    for timeout in ["0s", "30s"] {
        cases.line(&format!("first_row_timeout {timeout}"), &format!("first_row_timeout = '{timeout}'"));
    }
    cases.line("next_row_timeout 1h", "next_row_timeout = '1h'");
    for splay in ["-1s", "2h", "much", "30"] {
        cases.line(&format!("splay {splay}"), &format!("splay = '{splay}'"));
    }
    for size in ["0", "513MiB", "1mb", "much", "99999999999999GiB"] {
        cases.line(&format!("max_value {size}"), &format!("guard.max_value = '{size}'"));
    }
    for rows in ["-1", "1000000001"] {
        cases.line(&format!("min_rows {rows}"), &format!("guard.min_rows = {rows}"));
        cases.line(&format!("max_rows {rows}"), &format!("guard.max_rows = {rows}"));
    }
    for share in ["50", "101%", "half"] {
        cases.line(&format!("max_shrink {share}"), &format!("guard.max_shrink = '{share}'"));
    }
    for ahead in ["4%", "51%", "yes"] {
        cases.line(&format!("refresh_ahead {ahead}"), &format!("refresh_ahead = '{ahead}'"));
    }
    for age in ["0s", "367d", "old"] {
        cases.line(&format!("max_age {age}"), &format!("max_age = '{age}'"));
    }
    cases.line("a refresh of absent keys", "refresh_ahead = true\nmode = 'missing'");
    cases.line("fewest above most", "[guard]\nmin_rows = 1000\nmax_rows = 10");
    cases.line(
        "a comparison that has no other side",
        "mode = 'missing'\n[guard]\nmin_rows = 1\nmax_shrink = '50%'\nsame_columns = true",
    );
    for retries in ["-1", "11", "99999999999999999999999"] {
        cases.line(&format!("retries {retries}"), &format!("retries = {retries}"));
    }
    for priority in ["-1001", "1001"] {
        cases.line(&format!("priority {priority}"), &format!("priority = {priority}"));
    }
    cases.compare("bounds_of_jobs");
}

#[test]
fn the_configurations_numbers_have_bounds_too_and_all_mistakes_come_at_once() {
    let mut cases = Cases::new();
    cases.config(
        "below",
        "jobs = 'jobs'\nstate = ''\n[postgres]\nconnections = 0\nconnect_timeout = '0s'\nstatement_timeout = 'soon'\n\
         [redis]\ndatabase = -1\nkey_prefix = \"a\\nb\"\nconnect_timeout = '0ms'\ntimeout = ''\nmemory_limit = '0%'\n\
         keys_per_second = 0\nbytes_per_second = '1KiB'\nlatency_limit = '0ms'\n\
         [ttl]\n't:' = '0s'\n[limits]\ncombinations = 0\nkey_length = 0\nin_flight = '1KiB'\nbuffer = '0'\n",
    );
    cases.config(
        "above",
        "jobs = 'jobs'\n[postgres]\nconnections = 101\nconnect_timeout = '25h'\n\
         [redis]\ndatabase = 65536\nkey_prefix = 'warm:x:'\nmemory_limit = '101%'\n\
         keys_per_second = 10000001\nbytes_per_second = 'fast'\nlatency_limit = 'off'\n\
         [ttl]\n't:' = '1000d'\n[limits]\ncombinations = 1000001\nkey_length = 65537\nin_flight = '3GiB'\nbuffer = 'much'\n",
    );
    cases.config("a figure and a lag below", format!("{CONFIG}[postgres]\nbusy_above = -1\nmax_lag = '10ms'\n"));
    cases.config("a figure and a lag above", format!("{CONFIG}[postgres]\nbusy_above = 1000000001\nmax_lag = '2d'\n"));
    cases.compare("bounds_of_the_configuration");
}

#[test]
fn keys_need_a_lifetime_and_the_policy_should_name_their_family() {
    let mut cases = Cases::new();
    cases.job("no prefix covers the keys", format!("{KEYED}key = 'other:{{id}}'\n"));
    cases.job("the prefix covers some of the keys", format!("{KEYED}key = 't{{id}}'\n"));
    cases.files.write("jobs/job.toml", format!("{KEYED}key = 'other:{{id}}'\nttl = '5m'\nschedule = 'every 4m'\n"));
    cases.warned("a ttl of the job's own outside the policy");
    cases.files.write("warm.toml", "jobs = 'jobs'\n");
    cases.job("no policy at all", GOOD);
    cases.compare("lifetimes");
}
