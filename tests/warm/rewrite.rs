//! `on_change = "rewrite"`: keys whose rows have changed are written again, and never missing meanwhile.

use crate::changes::{CHANGES, JOB, following, goes, set};
use crate::serve::Serving;
use crate::support::server::wait_for;
use crate::support::world::{CONFIG, World};

/// How often Redis was told to delete something.
fn deletions(world: &World) -> String {
    let stats: String = world.ask(&["INFO", "commandstats"]);
    stats.lines().find(|line| line.starts_with("cmdstat_unlink:")).unwrap_or_default().to_owned()
}

/// Whether the key gets this value, rather than being deleted.
fn is_written(world: &World, id: u32, v: &str) -> bool {
    let value = format!(r#"{{"id":{id},"v":"{v}"}}"#);
    wait_for("the new value, or none", || match world.value(&format!("t:event:{id}")) {
        Some(found) => (found == value).then_some(true),
        None => Some(false),
    })
}

/// What has to go well in one of some rounds: a machine that is busy enough may take longer than a key may be old.
fn calmly(mut round: impl FnMut(usize) -> bool) {
    assert!((1..=5).any(&mut round), "in none of five rounds");
}

fn rewriting(query: &str) -> Serving {
    following(|world| {
        world.config(&format!("{CONFIG}{CHANGES}").replace("'t:list:*'", "'t:list:none'"));
        world.job("event", &format!("{}\non_change = 'rewrite'", JOB.replace("WHERE id = :id", query)));
    })
}

#[test]
fn a_key_that_is_to_be_written_again_is_never_missing() {
    let serving = rewriting("WHERE id = :id");
    let world = &serving.world;
    let value = |id: u32, v: &str| Some(format!(r#"{{"id":{id},"v":"{v}"}}"#));
    calmly(|round| {
        world.warm(&["fill", "--missing", "t:event:2", "t:event:3"]).exits(0);
        let _: () = world.ask(&["CONFIG", "RESETSTAT"]);
        world.sql(&format!("UPDATE event SET v = 'new{round}' WHERE id IN (2, 3)"));
        [2, 3].iter().all(|id| is_written(world, *id, &format!("new{round}")))
    });
    wait_for("its full life", || (world.ask::<i64>(&["PTTL", "t:event:3"]) > 500_000).then_some(()));
    let unlinked = deletions(world);
    // That of the list, and of the owners' patterns nothing was there.
    assert!(unlinked.is_empty() || unlinked.contains("calls=1,") || unlinked.contains("calls=2,"), "{unlinked}");
    assert_eq!(world.value("t:event:4"), value(4, "v4"));
    // What nobody has cached stays away, and what has no row goes.
    world.sql("UPDATE event SET v = 'new' WHERE id = 15; DELETE FROM event WHERE id = 5");
    goes(world, "t:event:5");
    set(world, &["t:event:-1"]);
    world.sql("NOTIFY warm_test, 'event id=-1'");
    goes(world, "t:event:-1");
    assert_eq!(world.value("t:event:15"), None);
}

#[test]
fn the_hottest_key_of_all_is_written_again_and_not_deleted() {
    let serving = following(|world| {
        // Nothing else can be deleted.
        world.config(&format!("{CONFIG}{CHANGES}").replace(", 't:list:*'", ""));
        world.job("event", &format!("{JOB}\non_change = 'rewrite'"));
    });
    let world = &serving.world;
    for (id, pause) in [(2, 0.0), (3, 0.001), (4, 0.004)] {
        calmly(|round| {
            world.warm(&["fill", "--missing", &format!("t:event:{id}")]).exits(0);
            let _: () = world.ask(&["CONFIG", "RESETSTAT"]);
            let update =
                format!("UPDATE event SET v = 'n{round}-' || i WHERE id = {id}; COMMIT; PERFORM pg_sleep({pause})");
            world.sql(&format!("DO $$ BEGIN FOR i IN 1..50 LOOP {update}; END LOOP; END $$"));
            is_written(world, id, &format!("n{round}-50")) && deletions(world).is_empty()
        });
    }
    wait_for("its full life", || (world.ask::<i64>(&["PTTL", "t:event:4"]) > 500_000).then_some(()));
}

#[test]
fn what_would_wait_for_too_long_is_deleted() {
    // Ten keys, each of which takes longer than all may.
    let serving = rewriting("WHERE id = :id AND pg_sleep(CASE WHEN length(v) > 3 THEN 1.5 ELSE 0 END) IS NOT NULL");
    serving.world.sql("UPDATE event SET v = 'another' WHERE id <= 10");
    serving.wait_until_it_says("could not be written again, and is deleted: too many wait before it");
}

#[test]
fn what_cannot_be_written_again_is_deleted() {
    let serving = rewriting("WHERE id = :id AND (length(v) <> 3 OR 1 / (id - 4) > 0)");
    let world = &serving.world;
    world.sql("UPDATE event SET v = 'bad' WHERE id = 4");
    goes(world, "t:event:4");
    serving.wait_until_it_says("the key t:event:4 could not be written again, and is deleted: ");
    world.sql("UPDATE event SET v = 'good' WHERE id = 6");
    let value = Some(r#"{"id":6,"v":"good"}"#.to_owned());
    wait_for("the new value", || (world.value("t:event:6") == value).then_some(()));
    let refused = World::new();
    refused.job(
        "event",
        "query = 'SELECT id, v FROM event LIMIT 3'\nkey = 't:event:{id}'\nvalue = 'row'\non_change = 'rewrite'",
    );
    refused
        .warm(&["check", "--offline"])
        .exits(2)
        .says("on_change = \"rewrite\" fills single keys, and the query leaves rows out");
}

#[test]
fn a_job_whose_keys_no_change_can_name_is_warned_about() {
    let world = World::new();
    let job = |name: &str, key: &str| {
        let query = "query = 'SELECT id, v, state FROM event'\nvalue = 'row'\nrefresh_ahead = true";
        world.job(name, &format!("{query}\nkey = '{key}'\non_change = 'rewrite'"));
    };
    job("event", "t:event:{id}");
    job("list", "t:event:list:state:{state}");
    job("pair", "t:pair:{id}-{state}");
    let checked = |config: &str| {
        world.config(&format!("{CONFIG}{config}"));
        let ran = world.warm(&["check", "--offline"]).exits(0);
        ran.out.matches("on_change = \"rewrite\" has no effect").count()
    };
    assert_eq!(checked(""), 3, "nothing is followed");
    let pair = "[invalidate.pair]\nkeys = ['t:pair:{id}']\n";
    let sets = "[invalidate.event]\nkeys = ['t:event:{id}', 't:event:list:*']\n";
    let follows = "[changes]\nchannel = 'warm_test'\n[changes.tables]\n";
    let event = "event = ['event id={id}']\n";
    assert_eq!(checked(&format!("{sets}{pair}{follows}{event}")), 1);
    world
        .warm(&["check", "--offline"])
        .says("no set of [invalidate] names a key such as `t:event:list:state:{state}`")
        .says("[invalidate.list] keys = [\"t:event:list:state:{state}\"]")
        .says("\"list state={state}\" in [changes.tables]");
    let list = "[invalidate.list]\nkeys = ['t:event:list:state:{state}']\n";
    assert_eq!(
        checked(&format!("{sets}{pair}{list}{follows}event = ['event id={{id}}', 'list state={{state}}']\n")),
        0
    );
    let by_call = "event = ['event id=list:state:{state}', 'event id={id}']\n";
    assert_eq!(checked(&format!("{sets}{pair}{follows}{by_call}")), 0, "the call gives the rest of the key");
}

#[test]
fn a_storm_of_changes_leaves_nothing_stale_where_keys_are_written_again() {
    let serving = rewriting("WHERE id = :id");
    let world = &serving.world;
    let update = |n: usize| {
        let update = format!("UPDATE event SET v = 'v{n}-' || i WHERE id = 1 + (i * 7 + {n}) % 10");
        world.sql(&format!("DO $$ BEGIN FOR i IN 1..400 LOOP {update}; COMMIT; END LOOP; END $$"));
    };
    std::thread::scope(|scope| (0..3).for_each(|n| drop(scope.spawn(move || update(n)))));
    let last = "SELECT json_object_agg('t:event:' || id, v) FROM event WHERE id <= 10";
    let rows: serde_json::Value = serde_json::from_str(&world.sql(last)).unwrap();
    for (key, v) in rows.as_object().unwrap() {
        let is_fresh = |value: &String| value.contains(&format!("\"v\":{v}}}"));
        wait_for(key, || world.value(key).is_none_or(|value| is_fresh(&value)).then_some(()));
    }
    let report = world.warm(&["diff", "--json"]).json();
    assert_eq!(report["jobs"][0]["keys"]["stale"], 0, "{report:#}");
}

#[test]
fn another_job_is_no_reason_to_begin_anew() {
    let serving = rewriting("WHERE id = :id");
    let world = &serving.world;
    set(world, &["t:event:77"]);
    world.job(
        "more",
        "schedule = '@yearly'\nquery = 'SELECT 1 AS id'\nkey = 't:more:{id}'\nvalue = 'row'\non_change = 'rewrite'",
    );
    wait_for("the new job", || world.value("t:more:1"));
    // The jobs that write again are the ones that there are now.
    world.sql("UPDATE event SET v = 'new' WHERE id = 5");
    wait_for("the new value", || world.value("t:event:5").filter(|value| value == r#"{"id":5,"v":"new"}"#));
    assert!(world.value("t:event:77").is_some(), "{}", serving.log());
    assert_eq!(serving.log().matches("listening for changes").count(), 1);
}
