//! `[invalidate]`.

use crate::files::{Cases, Files, GOOD};
use crate::support::world::CONFIG;

#[test]
fn sets_that_cannot_be_meant_are_refused_where_they_stand() {
    let mut cases = Cases::new();
    let event = "[invalidate.event]\nkeys = ['t:event:{id}', 't:list:*']\n";
    let ticket = |then: &str| format!("{event}[invalidate.ticket]\nkeys = ['t:ticket:{{id}}']\nthen = [{then}]\n");
    for (title, text) in [
        ("no keys", "[invalidate.event]\n".to_owned()),
        ("another field", "[invalidate.event]\nkey = 't:{id}'\n".to_owned()),
        ("no table", "invalidate.event = 't:{id}'\n".to_owned()),
        ("no list", "[invalidate.event]\nkeys = 't:{id}'\n".to_owned()),
        ("a name", "[invalidate.'my event']\nkeys = ['t:{id}']\n".to_owned()),
        ("keys", "[invalidate.event]\nkeys = ['*', '{id}', 'warm:*', 't:**', 't:{i d}', 't:{id', 't:id}', '']\n".to_owned()),
        ("no such set", ticket("'evnt id={eventId}'")),
        ("no set of a like name", ticket("'user id={eventId}'")),
        ("no set at all", ticket("''")),
        ("no value", ticket("'event'")),
        ("another parameter", ticket("'event eventId={eventId}'")),
        ("no parameter", ticket("'event {eventId}'")),
        ("twice", ticket("'event id=1 id={eventId}'")),
        ("an empty value, a pattern", ticket("'event id=', 'event id={eventId}*'")),
        ("a text with escapes", ticket("\"event\\u0020id=*\"")),
        ("itself", "[invalidate.event]\nkeys = ['t:{id}']\nthen = ['event id={id}']\n".to_owned()),
        (
            "round about",
            "[invalidate.a]\nthen = ['b']\n[invalidate.b]\nthen = ['c']\n[invalidate.c]\nkeys = ['t:c']\nthen = ['b', 'a']\n".to_owned(),
        ),
        ("one mistake, said once", "[invalidate.a]\nthen = ['b x={x}', 'c x={x}']\n[invalidate.b]\nkeys = ['*{x}']\n[invalidate.c]\nthen = ['b x={x}']\n".to_owned()),
    ] {
        cases.config(title, format!("{CONFIG}{text}"));
    }
    cases.compare("invalidate");
}

#[test]
fn sets_that_grow_without_measure_are_refused() {
    let files = Files::new();
    files.write("jobs/job.toml", GOOD);
    let mut text = format!("{CONFIG}[invalidate.s0]\nkeys = ['t:{{a}}', 't:{{a}}*']\n");
    for n in 1..20 {
        let before = n - 1;
        text += &format!("[invalidate.s{n}]\nthen = ['s{before} a=x{{a}}', 's{before} a=y{{a}}']\n");
    }
    files.write("warm.toml", text);
    assert!(files.refused().contains("with this the set `s9` has more than 1000 keys"));
    let many: String = (0..501).map(|n| format!("[invalidate.s{n}]\nkeys = ['t:{n}']\n")).collect();
    files.write("warm.toml", format!("{CONFIG}{many}"));
    assert!(files.refused().contains("[invalidate] has more than 500 sets"));
}

#[test]
fn keys_that_nobody_is_known_to_write_are_warned_about() {
    let mut cases = Cases::new();
    cases.files.write("jobs/job.toml", format!("{GOOD}schedule = 'every 8m'\n"));
    let sets = "[invalidate.event]\nkeys = ['t:event:{id}', 'tt:list:*', 't*', 'events']\n[invalidate.other]\nthen = ['event id={id}']\n";
    cases.files.write("warm.toml", format!("{CONFIG}{sets}"));
    cases.warned("two of four");
    cases.compare("invalidate_idle");
}

#[test]
fn the_environment_adds_sets_and_replaces_fields() {
    let mut files = Files::new();
    files.write("jobs/job.toml", GOOD);
    files.write("warm.toml", format!("{CONFIG}[invalidate.event]\nkeys = ['t:event:{{id}}']\nthen = ['top']\n[invalidate.top]\nkeys = ['t:top']\n"));
    files.set("WARM_INVALIDATE__EVENT__KEYS", "['t:e:{id}']");
    files.set("WARM_INVALIDATE", "{ 'user-x' = { keys = ['t:u:{x}'] } }");
    let said = files.warm(&["invalidate"]).exits(0).out;
    assert_eq!(said, "event id=…: deletes t:e:{id}, t:top\ntop: deletes t:top\nuser-x x=…: deletes t:u:{x}\n");
}

#[test]
fn who_may_delete_over_http_is_warned_about() {
    let mut cases = Cases::new();
    cases.files.write("jobs/job.toml", format!("{GOOD}schedule = 'every 8m'\n"));
    for (title, serve) in [
        ("nowhere", "keys_invalidate = true"),
        ("for everybody", "keys_invalidate = true\nkeys_listen = '0.0.0.0:19277'"),
        ("not at all", "keys_invalidate = false\nkeys_listen = '0.0.0.0:19277'"),
    ] {
        cases.files.write("warm.toml", format!("{CONFIG}[invalidate.one]\nkeys = ['t:{{id}}']\n[serve]\n{serve}\n"));
        cases.warned(title);
    }
    cases.config("no boolean", format!("{CONFIG}[serve]\nkeys_invalidate = 'yes'\n"));
    cases.compare("keys_invalidate");
}
