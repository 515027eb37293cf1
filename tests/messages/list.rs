//! `warm list` and the command line itself.

use serde_json::json;

use crate::files::{Files, GOOD, compare};

/// Three jobs that differ in what a list shows.
fn files() -> Files {
    let files = Files::new();
    files.write("jobs/things.toml", GOOD);
    files.write(
        "jobs/lists.toml",
        "description = '''\nThe first page\n  of each kind'''\nquery = 'SELECT id FROM thing WHERE kind = :kind'\nkey = 't:list:{kind}'\nvalue = 'rows'\n\
         schedule = '30 6 * * MON'\ntimezone = 'Africa/Lagos'\nttl = '1h 30m'\nrefresh_ahead = '20%'\npriority = 5\nfor_each.kind = ['a']\n",
    );
    files.write(
        "jobs/top.toml",
        "query = 'SELECT 1 AS x'\nkey = 't:top'\nvalue = 'rows'\nschedule = 'every 4m'\npriority = -1\nformat = 'postgres'\n",
    );
    files
}

/// The text with each time of a next run replaced; it must be one that lies ahead, but for the share of `splay`.
fn without_times(text: &str) -> String {
    let is_time = |part: &str| chrono::NaiveDateTime::parse_from_str(part, "%Y-%m-%d %H:%M:%S");
    let mut left = text.to_owned();
    for (at, _) in text.char_indices().filter(|(_, c)| c.is_ascii_digit()) {
        let Some(part) = text.get(at..at + "2026-11-25 12:00:00".len()) else { continue };
        if let Ok(time) = is_time(part) {
            assert!(
                time > chrono::Utc::now().naive_utc() - chrono::TimeDelta::seconds(30),
                "{part} has passed:\n{text}"
            );
            left = left.replace(part, "(date) and the time");
        }
    }
    left
}

#[test]
fn a_pipe_gets_one_plain_line_for_each_job_in_order_of_priority() {
    let ran = files().warm(&["list"]).exits(0);
    assert_eq!(ran.err, "");
    compare("list_lines", &without_times(&ran.out));
}

#[test]
fn a_terminal_gets_a_table() {
    let ran = files().at_terminal("list").exits(0);
    let lines: Vec<String> = ran.out.lines().map(|line| line.trim_end().to_owned()).collect();
    compare("list_table", &without_times(&lines.join("\n")));
}

#[test]
fn programs_get_json() {
    let mut listed = files().warm(&["list", "--json"]).exits(0).json();
    let next: chrono::DateTime<chrono::Utc> = listed["jobs"][0]["next"].as_str().unwrap().parse().unwrap();
    let lagos = next.with_timezone(&chrono_tz::Africa::Lagos);
    assert_eq!(lagos.format("%a %H:%M:%S").to_string(), "Mon 06:30:00");
    listed["jobs"][0]["next"] = json!(null);
    assert_eq!(
        listed["jobs"][0],
        json!({
            "job": "lists",
            "disabled": null,
        "on_demand": false,
            "compress": null,
            "encrypt": false,
            "description": "The first page\n  of each kind",
            "file": "jobs/lists.toml",
            "schedule": "30 6 * * MON",
            "timezone": "Africa/Lagos",
            "next": null,
            "paused_until": null,
            "splay_seconds": 30.0,
            "key": "t:list:{kind}",
            "type": "string",
            "paginate": null,
            "partition_by": null,
            "ttl_seconds": 5400.0,
            "refresh_ahead": 0.2,
            "predict": null,
            "format": "prisma",
            "priority": 5,
        })
    );
    let order: Vec<_> = listed["jobs"].as_array().unwrap().iter().map(|job| job["job"].as_str().unwrap()).collect();
    assert_eq!(order, ["lists", "things", "top"]);
}

#[test]
fn how_a_job_is_read_in_parts_is_told_with_its_key() {
    let files = Files::new();
    let parts = "partition_by = { column = 'id', parts = 4 }\n";
    files.write("jobs/job.toml", format!("{GOOD}{parts}"));
    let listed = files.warm(&["list", "--json"]).exits(0).json();
    assert_eq!(listed["jobs"][0]["partition_by"], json!({ "column": "id", "parts": 4 }));
    files.warm(&["list"]).exits(0).says("key t:{id} (read in 4 parts by id), ttl");
}

/// Jobs in Berlin, where the clocks are put forward on 2027-03-28 and back on 2027-10-31.
fn in_berlin() -> Files {
    let files = Files::new();
    let jobs = [
        ("a-nightly", "30 2 * * *", ""),
        ("b-twice", "0,30 2 * * *", "splay = '1m'\n"),
        ("c-hourly", "0 * * * *", "splay = '0s'\n"),
        ("d-seconds", "15 59 2 * * 0", ""),
        ("e-after", "0 3 * * *", ""),
        ("f-every", "every 1500ms", ""),
    ];
    for (name, schedule, more) in jobs {
        let key = format!("key = 't:{name}:{{id}}'\n");
        let text = GOOD.replace("key = 't:{id}'\n", &key);
        let text = format!("{text}schedule = '{schedule}'\ntimezone = 'Europe/Berlin'\n{more}");
        files.write(&format!("jobs/{name}.toml"), text);
    }
    files
}

#[test]
fn the_next_times_are_listed_and_summer_time_is_explained() {
    let files = in_berlin();
    let mut text = String::new();
    for (title, from) in [
        ("an ordinary day", "2027-01-15T12:00:00Z"),
        ("forward", "2027-03-28T00:00:00+01:00"),
        ("back", "2027-10-31T01:00:00+02:00"),
    ] {
        let arguments = ["list", "--next", "4", "--from", from];
        let ran = files.warm(&arguments).exits(0);
        assert_eq!(ran.err, "");
        assert_eq!(files.warm(&arguments).exits(0).out, ran.out, "delays differ from one process to the other");
        text += &format!("━━━ {title}: warm {}\n{}\n", arguments.join(" "), ran.out);
    }
    assert!(files.untouched());
    compare("list_next_lines", &text);
}

#[test]
fn a_terminal_gets_a_table_of_the_next_times() {
    let ran = in_berlin().at_terminal("list --next 2 --from 2027-03-28T00:00:00+01:00").exits(0);
    let lines: Vec<String> = ran.out.lines().map(|line| line.trim_end().to_owned()).collect();
    compare("list_next_table", &lines.join("\n"));
}

#[test]
fn programs_get_the_next_times_in_utc_and_on_the_clock() {
    let files = in_berlin();
    let ran = files.warm(&["list", "--json", "--next", "1000", "--from", "2027-03-28T01:00:00Z"]).exits(0);
    let listed = ran.json();
    let nightly = &listed["jobs"][0];
    // The moment itself belongs to what comes.
    assert_eq!(nightly["next"], "2027-03-28T01:00:00Z");
    let runs = nightly["next_runs"].as_array().unwrap();
    assert_eq!(runs.len(), 1000);
    let due = |run: &serde_json::Value| run["due"].as_str().unwrap().parse::<chrono::DateTime<chrono::Utc>>().unwrap();
    assert!(runs.is_sorted_by(|a, b| due(a) < due(b)));
    let mut first = runs[0].clone();
    let start: chrono::DateTime<chrono::Utc> = first["start"].as_str().unwrap().parse().unwrap();
    assert!((0..30_000).contains(&(start - due(&first)).num_milliseconds()), "{first}");
    first["start"] = json!(null);
    assert_eq!(
        first,
        json!({
            "due": "2027-03-28T01:00:00Z",
            "local": "2027-03-28T03:00:00+02:00",
            "start": null,
            "note": "02:30 does not exist on this day: runs right after the gap",
        })
    );
    assert_eq!(runs[1]["note"], json!(null));
    let plain = files.warm(&["list", "--json"]).exits(0).json();
    assert_eq!(plain["jobs"][0].get("next_runs"), None);
}

#[test]
fn a_run_that_is_due_and_waits_for_its_share_of_splay_is_the_next_one() {
    let files = Files::new();
    // Of 30 s its share is 8.349 s.
    files.write("jobs/event-lists.toml", format!("{GOOD}schedule = '@hourly'\n"));
    for (from, next) in [("12:00:08.349", "12"), ("12:00:08.350", "13"), ("12:59:59", "13"), ("13:00:00", "13")] {
        let from = format!("2027-01-15T{from}Z");
        let listed = files.warm(&["list", "--json", "--next", "2", "--from", &from]).exits(0).json();
        let (job, due) = (&listed["jobs"][0], format!("2027-01-15T{next}:00:00Z"));
        assert_eq!((&job["next"], &job["next_runs"][0]["due"]), (&json!(due), &json!(due)), "{from}");
    }
}

#[test]
fn a_list_asks_no_server_and_needs_a_good_configuration() {
    let files = files();
    files.warm(&["list"]).exits(0);
    assert!(files.untouched());
    files.write("jobs/bad.toml", "");
    let ran = files.warm(&["list"]).exits(2);
    assert_eq!(ran.out, "");
}

#[test]
fn a_closed_output_is_the_readers_decision() {
    let files = files();
    for arguments in ["list", "list --json", "check --offline", "--help"] {
        let closed = format!("exec {} {arguments} >&-", env!("CARGO_BIN_EXE_warm"));
        let mut shell = std::process::Command::new("sh");
        let ended = shell
            .args(["-c", &closed])
            .current_dir(&files.folder.path)
            .env_clear()
            .env("WARM_CONFIG", "warm.toml")
            .output()
            .unwrap();
        assert_eq!(ended.status.code(), Some(0), "{arguments}: {}", String::from_utf8_lossy(&ended.stderr));
    }
}

#[test]
fn what_cannot_be_meant_ends_with_code_2_and_the_way_out() {
    let files = files();
    let mut text = String::new();
    for arguments in [
        &["chekc"][..],
        &["lists"],
        &["things"],
        &["check", "tings"],
        &["check", "--offline", "things", "nothing"],
        &["--missing"],
        &["--dry-run", "things"],
        &["--accept", "things"],
        &["--now", "--accept"],
        &["--now", "lists", "tings"],
        &["--now", "nothing"],
        &["--now", "check"],
        &["--json"],
        &["--nwo"],
        &["check", "--ofline"],
        &["list", "--now"],
        &["list", "--next"],
        &["list", "--next", "0"],
        &["list", "--next", "1001"],
        &["list", "--next", "soon"],
        &["list", "--from", "tomorrow"],
        &["list", "--from", "2027-03-27 00:00:00"],
        &["check", "--next", "3"],
        &["--config"],
    ] {
        let ran = files.warm(arguments).exits(2);
        assert!(ran.out.is_empty() || arguments.contains(&"--json"), "{arguments:?}");
        text += &format!("━━━ warm {}\n{}\n\n", arguments.join(" "), ran.err.trim_end());
    }
    let ran = files.warm(&[]).exits(2);
    assert!(ran.err.contains("Usage: warm"), "{}", ran.all());
    assert!(files.untouched());
    compare("usage", &text);
}

#[test]
fn programs_get_json_also_when_nothing_was_begun() {
    let mut files = files();
    let said = |files: &Files, arguments: &[&str]| {
        let ran = files.warm(arguments).exits(2);
        let report = ran.json();
        assert_eq!((&report["exit_code"], &report["jobs"], &report["facts"]), (&json!(2), &json!([]), &json!([])));
        let finding = report["findings"][0].clone();
        assert_eq!((&finding["severity"], &finding["job"]), (&json!("error"), &json!(null)));
        let message = finding["message"].as_str().unwrap().to_owned();
        let start = message.split("; ").next().unwrap();
        assert!(ran.err.contains(start.rsplit(": ").next().unwrap()), "stderr says it too: {}", ran.all());
        (message, finding)
    };
    for (arguments, message) in [
        (&["--json"][..], "no command; `warm --now` runs jobs, `warm --help` shows the rest"),
        (&["--json", "chekc"], "`chekc` is no command; did you mean `warm check`?"),
        (&["--now", "--json", "nothing"], "there is no job `nothing`; the jobs are lists, things, top"),
        (&["--missing", "--json"], "the following required arguments were not provided: --now"),
        (
            &["check", "--ofline", "--json"],
            "unexpected argument '--ofline' found; a similar argument exists: '--offline'",
        ),
        (&["--now", "list", "--json"], "--now and --due run jobs; they do not go together with another command"),
    ] {
        assert_eq!(said(&files, arguments).0, message);
    }
    assert_eq!(files.warm(&["--help", "--json"]).exits(0).err, "", "that is no error");
    assert_eq!(files.warm(&["--nwo", "--", "--json"]).exits(2).out, "", "that is the name of a job");

    files.write("jobs/bad.toml", format!("{GOOD}tll = '5m'\n"));
    for arguments in [["--now", "--json"], ["list", "--json"]] {
        let (message, finding) = said(&files, &arguments);
        assert_eq!(message, "unknown field `tll`");
        assert_eq!((&finding["at"], &finding["advice"]), (&json!("jobs/bad.toml:4:1"), &json!("did you mean `ttl`?")));
    }
    files.set("WARM_LOG", "loud");
    assert!(said(&files, &["list", "--json"]).0.starts_with("WARM_LOG: `loud` is no level"));
    assert!(files.untouched());
}

#[test]
fn help_and_version_are_no_errors() {
    let files = files();
    let help = files.warm(&["--help"]).exits(0);
    assert_eq!(help.err, "");
    compare("help", &help.out);
    assert_eq!(files.warm(&["-h"]).exits(0).out, help.out);
    let version = files.warm(&["--version"]).exits(0);
    assert_eq!(version.out, format!("warm {}\n", env!("CARGO_PKG_VERSION")));
    for command in ["check", "serve", "list", "status", "invalidate", "pause", "resume"] {
        let help = files.warm(&[command, "--help"]).exits(0);
        compare(&format!("help_{command}"), &help.out);
        assert!(help.out.contains("--config <FILE>") && help.out.contains("--json"), "{}", help.all());
    }
}
