//! What `warm pause` and `warm resume` cannot do.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::files::{Files, GOOD, compare};
use crate::support::server::is_root;

#[test]
fn what_cannot_be_paused_is_said_with_the_way_out() {
    let mut files = Files::new();
    files.write("jobs/event-lists.toml", GOOD);
    let mut text = String::new();
    let mut add = |files: &Files, arguments: &[&str]| {
        let ran = files.warm(arguments);
        text += &format!("━━━ {}\n{}\n", arguments.join(" "), ran.all());
    };
    add(&files, &["pause", "event-lists"]);
    add(&files, &["resume"]);
    files.set("STATE_DIRECTORY", "state");
    for arguments in [
        &["pause", "event-list"][..],
        &["resume", "nothing"],
        &["pause", "--for", "0s"],
        &["pause", "--for", "31d"],
        &["pause", "--for", "soon"],
        &["pause", "--until", "tomorrow"],
        &["pause", "--until", "2020-01-01T00:00:00Z"],
        &["pause", "--for", "1h", "--until", "2030-01-01T00:00:00Z"],
        &["resume"],
    ] {
        add(&files, arguments);
    }
    fs::write(files.path("in_the_way"), "").unwrap();
    files.set("STATE_DIRECTORY", "in_the_way");
    add(&files, &["pause"]);
    compare("pause", &text);
    assert!(files.warm(&["pause", "--until", "2999-01-01T00:00:00Z"]).exits(2).err.contains("ends within 30 days"));
    if !is_root() {
        fs::create_dir(files.path("closed")).unwrap();
        fs::set_permissions(files.path("closed"), fs::Permissions::from_mode(0o500)).unwrap();
        files.set("STATE_DIRECTORY", "closed");
        files.warm(&["pause"]).exits(2).says("the pauses cannot be kept: ");
    }
    assert!(files.untouched(), "no server is asked");
}
