//! `warm invalidate` without a server: the list of sets, and what cannot be meant.

use crate::files::{Files, GOOD, compare};
use crate::support::world::CONFIG;

const SETS: &str = r#"
[invalidate.event]
keys = ["t:event:{id}", "t:list:*"]
[invalidate.ticket]
keys = ["t:ticket:{id}", "t:of:{userId}*"]
then = ["event id={eventId}"]
[invalidate.top]
keys = ["t:top"]
"#;

fn files() -> Files {
    let files = Files::new();
    files.write("jobs/job.toml", GOOD);
    files.write("warm.toml", format!("{CONFIG}{SETS}"));
    files
}

#[test]
fn without_a_name_the_sets_are_listed() {
    let files = files();
    let mut text = files.warm(&["invalidate"]).exits(0).out;
    let at_terminal = files.at_terminal("invalidate").exits(0).out;
    text += &at_terminal.lines().map(|line| format!("{}\n", line.trim_end())).collect::<String>();
    let listed = files.warm(&["invalidate", "--json"]).exits(0).json();
    assert_eq!(listed["sets"][1]["parameters"], serde_json::json!(["id", "userId", "eventId"]));
    files.write("warm.toml", CONFIG);
    text += &files.warm(&["invalidate"]).exits(0).out;
    assert!(files.untouched(), "no server is asked");
    compare("invalidate_list", &text);
}

#[test]
fn what_cannot_be_meant_is_said_with_the_way_out() {
    let files = files();
    let mut text = String::new();
    let mut add = |files: &Files, arguments: &[&str]| {
        let ran = files.warm(arguments).exits(2);
        assert_eq!(ran.out, "", "{arguments:?}");
        text += &format!("━━━ {}\n{}\n\n", arguments.join(" "), ran.err.trim_end());
    };
    for arguments in [
        &["invalidate", "evnet", "id=1"][..],
        &["invalidate", "nothing"],
        &["invalidate", "event"],
        &["invalidate", "event", "1"],
        &["invalidate", "event", "id="],
        &["invalidate", "event", "id=1", "id=2"],
        &["invalidate", "ticket", "id=1", "userid=2"],
        &["invalidate", "top", "id=1"],
        &["invalidate", "--dry-run"],
        &["invalidate", "--stdin", "event"],
    ] {
        add(&files, arguments);
    }
    files.write("warm.toml", CONFIG);
    add(&files, &["invalidate", "event", "id=1"]);
    assert!(files.untouched(), "no server is asked");
    compare("invalidate_usage", &text);
}
