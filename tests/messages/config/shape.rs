//! Files of the wrong shape: no TOML, fields that do not exist, values of a wrong type.

use crate::files::{Cases, GOOD};
use crate::support::world::CONFIG;

#[test]
fn toml_that_cannot_be_read_is_shown_where_it_breaks() {
    let mut cases = Cases::new();
    cases.job("a string without an end", format!("{GOOD}description = 'no end\nschedule = '@hourly'\n"));
    cases.line("a name without a value", "schedule");
    cases.line("a value without a name", "= '@hourly'");
    cases.line("a text without quotes", "schedule = @hourly");
    cases.line("the same field twice", "key = 't:other'");
    cases.line("the same table twice", "[guard]\nmax_value = '1MiB'\n[guard]");
    cases.line("a table without an end", "[guard\nmax_value = '1MiB'");
    cases.line("a NUL byte", "description = 'nul \0 byte'");
    cases.line("a control character", "description = 'bell \u{7} here'");
    cases.line("a wrong escape", r#"description = "C:\work""#);
    cases.job("YAML", "query: SELECT 1\nkey: t:x\n");
    cases.config("the configuration", "jobs = 'jobs'\n[ttl\n't:' = '10m'\n");
    cases.compare("toml");
}

#[test]
fn a_field_that_does_not_exist_is_refused_and_a_near_one_suggested() {
    let mut cases = Cases::new();
    cases.job("a slip of the finger", "qeury = 'SELECT 1'\nkey = 't:x'\nvalue = 'rows'\n");
    cases.line("another", "tll = '5m'");
    cases.line("a part of the name", "jitter = '5%'");
    cases.line("another notation", "forEach = { state = ['Lagos'] }");
    cases.line("in [guard]", "[guard]\nmaxvalue = '1MiB'");
    cases.line("in a query of [for_each]", "for_each.state = { sql = 'SELECT 1' }");
    cases.line("below a table by mistake", "[for_each]\nstate = ['Lagos']\nschedule = '@hourly'");
    cases.line("below another table by mistake", "[guard]\nmax_value = '1MiB'\nttl = '5m'");
    cases.config("in the configuration", format!("postgre.connections = 4\n{CONFIG}"));
    cases.config("in [redis]", format!("{CONFIG}[redis]\nprefix = 'staging:'\npassword = 'hunter2'"));
    cases.config("in [defaults]", format!("{CONFIG}[defaults]\nquery = 'SELECT 1'"));
    cases.compare("unknown_fields");
}

#[test]
fn what_is_not_built_yet_is_refused_and_never_ignored() {
    let mut cases = Cases::new();
    cases.job("of a job, all at once", format!("{GOOD}read_through = true\nlisten = 'event'\n"));
    cases.config("of the configuration", format!("{CONFIG}[serve]\nport = 9000"));
    cases.compare("not_built_yet");
}

#[test]
fn a_value_of_the_wrong_type_is_named_with_what_was_expected() {
    let mut cases = Cases::new();
    cases.job("numbers for texts", "query = 1\nkey = 2.5\nvalue = true\nttl = 300\nschedule = 2026-11-25\n");
    cases.line("texts for numbers", "priority = 'high'\nretries = '2'");
    cases.line("a fraction", "priority = 1.5");
    cases.line("a list for a text", "schedule = ['@hourly', '@daily']");
    cases.line("a text for a list", "hide = 'password'");
    cases.line("a number in a list of texts", "hide = ['password', 5]");
    cases.line("a text for a table", "guard = '1MiB'");
    cases.line("texts in a guard", "[guard]\nmin_rows = '10'\nmax_shrink = 0.5\nsame_columns = 'yes'");
    cases.line("a table for a text", "[description]\ntext = 'x'");
    cases.line("a number for a way to verify", "verify = 1");
    cases.line("another table for a way to verify", "verify = { column = 'updatedAt' }");
    cases.line("a list for [for_each]", "for_each = ['Lagos']");
    cases.line("a text for a list of values", "for_each.state = 'Lagos'");
    cases.line("a fraction among the values", "for_each.x = [1, 2.5]");
    cases.line("a date among the values", "for_each.x = [2026-11-25]");
    cases.line("a list among the values", "for_each.x = [[1, 2]]");
    cases.line("a query of values without a query", "for_each.x = {}");
    cases.config("a table for the folder", "[jobs]\nfolder = 'jobs'\n");
    cases.config("a text for the policy", "jobs = 'jobs'\nttl = '10m'\n");
    cases.config("a number for a lifetime", "jobs = 'jobs'\n[ttl]\n't:' = 600\n");
    cases.config("a URL for a table", format!("redis = 'redis://:hunter2@cache'\npostgres = 'hunter2'\n{CONFIG}"));
    cases.config("a text for a number", format!("{CONFIG}[postgres]\nconnections = 'four'\nconnect_timeout = 10"));
    cases.compare("wrong_types");
}
