//! The cache follows the database: what triggers, or the application, tell on a channel is deleted.

use std::fs;

use crate::reads::get;
use crate::serve::Serving;
use crate::support::postgres::Postgres;
use crate::support::redis::Redis;
use crate::support::server::wait_for;
use crate::support::world::{CONFIG, Ran, World};

const TABLES: &str = "CREATE TABLE event (id int PRIMARY KEY, v text NOT NULL, owner text);
    INSERT INTO event SELECT i, 'v' || i, 'o' || i FROM generate_series(1, 20) i; GRANT SELECT ON event TO PUBLIC;
    CREATE TABLE quiet (id int)";

pub(crate) const CHANGES: &str = "[invalidate.event]\nkeys = ['t:event:{id}', 't:list:*']\n[invalidate.owner]\nkeys = ['t:owner:{name}:*']\n\
    [changes]\nchannel = 'warm_test'\n[changes.tables]\nevent = ['event id={id}', 'owner name=by-{owner}']\n";

/// Ten events, one key each. No run begins by itself but those that follow from changes.
pub(crate) const JOB: &str = "schedule = '@yearly'\ncatch_up = 'none'\nquery = 'SELECT id, v FROM event ORDER BY id LIMIT 10'\nfill_query = 'SELECT id, v FROM event WHERE id = :id'\nkey = 't:event:{id}'\nvalue = 'row'";

fn world() -> World {
    prepared(World::new())
}

fn prepared(world: World) -> World {
    world.sql(TABLES);
    world.config(&format!("{CONFIG}{CHANGES}"));
    world.job("event", JOB);
    world
}

/// What the command does for who owns the tables.
pub(crate) fn as_owner(world: &mut World, arguments: &[&str]) -> Ran {
    let (owner, reader) = (world.database.admin_url(), world.database.url());
    world.set("DATABASE_URL", &owner);
    let ran = world.warm(arguments);
    world.set("DATABASE_URL", &reader);
    ran
}

/// A service that has heard all until now, and filled the cache.
pub(crate) fn following(change: impl FnOnce(&mut World)) -> Serving {
    following_in(World::new(), change)
}

/// The same with the given servers.
fn following_in(world: World, change: impl FnOnce(&mut World)) -> Serving {
    let mut world = prepared(world);
    as_owner(&mut world, &["changes", "install"]).exits(0);
    change(&mut world);
    let serving = Serving::telling("debug", world);
    serving.wait_until_it_says("listening for changes on the channel warm_test; some may have been missed");
    wait_until_filled(&serving);
    serving
}

/// Everything was deleted before.
pub(crate) fn wait_until_filled(serving: &Serving) {
    // A cache that was empty is filled, too.
    serving.wait_until_it_says("all jobs run");
    serving.wait_until_it_says("event: done job=\"event\" trigger=changes");
    wait_for("the last run", || {
        let log = serving.log();
        (log.matches("event: started").count() == log.matches("event: done").count()).then_some(())
    });
}

pub(crate) fn set(world: &World, keys: &[&str]) {
    keys.iter().for_each(|key| world.ask(&["SET", key, "x", "EX", "1000"]));
}

#[track_caller]
pub(crate) fn goes(world: &World, key: &str) {
    wait_for(key, || world.value(key).is_none().then_some(()));
}

/// Waits until all that was told before is done: a change of a key that nothing else is about.
fn settle(world: &World) {
    set(world, &["t:event:-1", "t:list:settle"]);
    world.sql("NOTIFY warm_test, 'event id=-1'");
    goes(world, "t:event:-1");
    goes(world, "t:list:settle");
}

#[test]
fn a_change_reaches_its_keys_and_no_others() {
    let serving = following(|_| {});
    let world = &serving.world;
    set(world, &["t:list:a", "t:owner:by-o1:x", "t:owner:by-o2:x", "t:other"]);
    world.sql("UPDATE event SET v = 'new' WHERE id = 1");
    ["t:event:1", "t:list:a", "t:owner:by-o1:x"].iter().for_each(|key| goes(world, key));
    assert!(
        world.value("t:event:2").is_some()
            && world.value("t:owner:by-o2:x").is_some()
            && world.value("t:other").is_some()
    );
    // Both the row that was and the row that is.
    set(world, &["t:event:1", "t:event:100", "t:owner:by-null:x"]);
    world.sql("UPDATE event SET id = 100, owner = NULL WHERE id = 1");
    ["t:event:1", "t:event:100", "t:owner:by-null:x"].iter().for_each(|key| goes(world, key));
    set(world, &["t:event:200"]);
    world.sql("INSERT INTO event VALUES (200, 'v')");
    goes(world, "t:event:200");
    set(world, &["t:event:200"]);
    world.sql("DELETE FROM event WHERE id = 200");
    goes(world, "t:event:200");
    assert!(world.value("t:event:3").is_some());
    world.sql("BEGIN; UPDATE event SET v = 'never' WHERE id = 3; ROLLBACK");
    settle(world);
    assert!(world.value("t:event:3").is_some(), "nothing was committed");
    world.sql("TRUNCATE event");
    (2..=10).for_each(|id| goes(world, &format!("t:event:{id}")));
    assert!(world.value("t:other").is_some());
}

#[test]
fn what_cannot_be_said_in_a_message_is_anything_of_its_set() {
    let serving = following(|_| {});
    let world = &serving.world;
    set(world, &["t:owner:z:x", "t:owner:by-o3:x"]);
    world.sql("UPDATE event SET owner = repeat('ö', 5000) WHERE id = 3");
    ["t:owner:z:x", "t:event:9"].iter().for_each(|key| goes(world, key));
    set(world, &["t:event:9999", "t:event:3"]);
    world.sql("INSERT INTO event SELECT i, 'v' FROM generate_series(1001, 2100) i");
    goes(world, "t:event:9999");
    set(world, &["t:event:9999", "t:event:7"]);
    // The application's statements go on, though the function does not know the column any more.
    world.sql("ALTER TABLE event RENAME owner TO host; UPDATE event SET v = 'new' WHERE id = 7");
    goes(world, "t:event:9999");
}

#[test]
fn a_statement_of_very_many_rows_is_not_looked_through() {
    let serving = following(|world| {
        world.config(&format!("{CONFIG}{CHANGES}quiet = ['owner name=q']\n"));
        as_owner(world, &["changes", "install"]).exits(0);
    });
    let world = &serving.world;
    set(world, &["t:owner:q:x", "t:owner:z:x"]);
    world.sql("INSERT INTO quiet SELECT generate_series(1, 20000)");
    goes(world, "t:owner:q:x");
    assert!(world.value("t:owner:z:x").is_some());
    world.sql("INSERT INTO quiet SELECT generate_series(1, 20001)");
    goes(world, "t:owner:z:x");
}

#[test]
fn an_application_tells_what_it_likes() {
    let serving = following(|_| {});
    let world = &serving.world;
    set(world, &["t:owner:a b:x", "t:owner:c:x"]);
    world.sql(r#"NOTIFY warm_test, '{"owner": {"name": "a b"}}'"#);
    goes(world, "t:owner:a b:x");
    assert!(world.value("t:owner:c:x").is_some());
    world.sql("NOTIFY warm_test, 'owner name='");
    goes(world, "t:owner:c:x");
    serving.wait_until_it_says("all keys of the set owner are deleted: owner: `name` is empty");
    assert!(world.value("t:event:4").is_some());
    world.sql("NOTIFY warm_test, 'anything else'; NOTIFY warm_test, ''; NOTIFY warm_test, 'nobody *'");
    world.sql("NOTIFY warm_test, 'event *'");
    goes(world, "t:event:4");
    let (_, code, _) = serving.end();
    assert_eq!(code, Some(0));
}

#[test]
fn what_was_committed_while_nobody_listened_is_not_kept() {
    // Of its own: a commit anywhere in a cluster may be one that was missed.
    let postgres = Postgres::start(&[]);
    let serving = following_in(World::of(postgres.database(), Redis::start("")), |_| {});
    let world = &serving.world;
    // The session that listens gives a sign of life each second.
    let session = "FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'SELECT pg_catalog.pg_current_snapshot%' AND state = 'idle' AND query_start > clock_timestamp() - interval '1.5 s'";
    let (seen, kill) = (format!("SELECT query_start {session}"), format!("SELECT pg_terminate_backend(pid) {session}"));
    let kill = || wait_for("its end", || (world.sql(&kill) == "t").then_some(()));
    // What there was has been seen twice.
    for _ in 0..3 {
        let before = world.sql(&seen);
        wait_for("the next beat", || (!["", &before].contains(&world.sql(&seen).as_str())).then_some(()));
    }
    set(world, &["t:event:77"]);
    kill();
    serving.wait_until_it_says("changes of the database are not heard, which is tried again");
    serving.wait_until_it_says("none was missed");
    assert!(world.value("t:event:77").is_some() && world.value("t:event:5").is_some());
    // The trigger says nothing, as if nobody had listened.
    world.sql("ALTER TABLE event DISABLE TRIGGER ALL; UPDATE event SET v = 'unheard' WHERE id = 5");
    kill();
    goes(world, "t:event:77");
    wait_for("the new value", || world.value("t:event:5").filter(|value| value == r#"{"id":5,"v":"unheard"}"#));
}

#[test]
fn a_service_that_was_stopped_hears_all_that_was_told_meanwhile() {
    let serving = following(|_| {});
    let world = &serving.world;
    serving.signal("STOP");
    set(world, &["t:list:a"]);
    (1..=10).for_each(|id| drop(world.sql(&format!("UPDATE event SET v = 'new' WHERE id = {id}"))));
    serving.signal("CONT");
    (1..=10).for_each(|id| goes(world, &format!("t:event:{id}")));
    goes(world, "t:list:a");
}

#[test]
fn what_redis_does_not_take_waits_until_it_does() {
    let serving = following(|world| {
        world.set("WARM_REDIS__TIMEOUT", "300ms");
        world.set("WARM_REDIS__CONNECT_TIMEOUT", "300ms");
    });
    let world = &serving.world;
    world.redis.server.signal("STOP");
    world.sql("UPDATE event SET v = 'new' WHERE id = 1");
    serving.wait_until_it_says("keys that changes are about cannot be deleted yet");
    world.sql("UPDATE event SET v = 'new' WHERE id = 2");
    world.redis.server.signal("CONT");
    ["t:event:1", "t:event:2"].iter().for_each(|key| goes(world, key));
    assert!(world.value("t:event:3").is_some());
}

#[test]
fn what_is_too_much_to_be_remembered_becomes_all_keys_of_all_sets() {
    let serving = following(|world| {
        world.config(
            &format!("{CONFIG}{CHANGES}")
                .replace("[changes]", "[invalidate.other]\nkeys = ['t:other:{id}']\n[changes]"),
        );
        world.set("WARM_REDIS__TIMEOUT", "300ms");
        world.set("WARM_REDIS__CONNECT_TIMEOUT", "300ms");
    });
    let world = &serving.world;
    set(world, &["t:other:1", "t:event:77", "t:none"]);
    world.redis.server.signal("STOP");
    world.sql("NOTIFY warm_test, 'event id=1'");
    serving.wait_until_it_says("keys that changes are about cannot be deleted yet");
    // No table tells of the other set: the application does.
    world.sql("NOTIFY warm_test, 'other id=1'");
    world.sql("SELECT count(pg_notify('warm_test', 'event id=' || 1000 + i)) FROM generate_series(1, 200010) i");
    wait_for("that all are heard", || {
        let log = serving.log();
        let heard = log.lines().filter_map(|line| line.split_once(" messages=")?.1.parse::<u64>().ok());
        (heard.sum::<u64>() >= 200_012).then_some(())
    });
    world.redis.server.signal("CONT");
    ["t:other:1", "t:event:77"].iter().for_each(|key| goes(world, key));
    assert!(world.value("t:none").is_some());
}

#[test]
fn whoever_reads_through_is_told_nothing_old() {
    let serving = following(|world| {
        world.set("WARM_SERVE__KEYS_SOCKET", &world.folder.path.join("keys.sock").display().to_string());
        world.set("WARM_SERVE__LEVEL1_TTL", "60s");
    });
    let value = |v: &str| format!(r#"{{"id":6,"v":"{v}"}}"#);
    get(&serving, "/keys/t:event:6").is(200, "redis", &value("v6"));
    get(&serving, "/keys/t:event:6").is(200, "level1", &value("v6"));
    serving.world.sql("UPDATE event SET v = 'new' WHERE id = 6");
    let new =
        wait_for("the new value", || Some(get(&serving, "/keys/t:event:6")).filter(|found| found.from() != "level1"));
    new.is(200, "database", &value("new"));
}

#[test]
fn a_job_file_that_changes_is_no_reason_to_begin_anew_and_another_channel_is() {
    let serving = following(|_| {});
    let world = &serving.world;
    set(world, &["t:event:77"]);
    world.job("more", &JOB.replace("t:event:", "t:more:").replace("catch_up = 'none'\n", ""));
    wait_for("the new job", || world.value("t:more:1"));
    assert!(world.value("t:event:77").is_some());
    world.config(&format!("{CONFIG}{CHANGES}").replace("warm_test", "warm_other"));
    serving.wait_until_it_says("listening for changes on the channel warm_other");
    goes(world, "t:event:77");
    set(world, &["t:event:77"]);
    world.sql("NOTIFY warm_other, 'event id=77'");
    goes(world, "t:event:77");
}

#[test]
fn keys_that_may_be_stale_stay_where_that_is_wanted() {
    let mut world = world();
    world.config(&format!("{CONFIG}{CHANGES}").replace("channel =", "missed = 'keep'\nchannel ="));
    as_owner(&mut world, &["changes", "install"]).exits(0);
    set(&world, &["t:event:77"]);
    let serving = Serving::of(world);
    serving.wait_until_it_says("their keys stay until they die");
    settle(&serving.world);
    assert!(serving.world.value("t:event:77").is_some());
}

#[test]
fn triggers_are_installed_once_and_removed_as_a_whole() {
    let mut world = world();
    world.warm(&["changes", "status"]).exits(1).says("event (event, owner): missing");
    world
        .warm(&["check"])
        .exits(0)
        .says("nothing tells of event: its triggers are missing")
        .says("warm changes install");
    world
        .warm(&["changes", "install"])
        .exits(1)
        .says("permission denied")
        .says("an account that owns the tables, or `--print` and psql");
    as_owner(&mut world, &["changes", "install"]).exits(0).says("event (event, owner): installed");
    let count = |world: &World| world.sql("SELECT count(*), min(oid) FROM pg_trigger WHERE tgname LIKE 'warm%'");
    let before = count(&world);
    assert!(before.starts_with("4|"), "{before}");
    as_owner(&mut world, &["changes", "install"]).exits(0);
    assert_eq!(count(&world), before, "nothing was made again");
    let report = world.warm(&["changes", "status", "--json"]).exits(0).json();
    assert!(!world.warm(&["check"]).exits(0).all().contains("triggers"));
    assert_eq!(report["tables"][0]["state"], "installed");
    // Another set, another table, none of the first.
    let other = CHANGES.replace("event = [", "\"public.quiet\" = ['event id={id}']\nabsent = [");
    world.config(&format!("{CONFIG}{other}"));
    let ran = world.warm(&["changes", "status"]).exits(1).says("public.quiet (event): missing");
    ran.says("absent (event, owner): no such table").says("event: has triggers that nobody wants any more");
    as_owner(&mut world, &["changes", "install"]).exits(1).says("nothing is installed until");
    assert_eq!(count(&world), before);
    world.config(&format!("{CONFIG}{CHANGES}").replace("by-{owner}", "{owner}"));
    world.warm(&["changes", "status"]).exits(1).says("event (event, owner): outdated");
    as_owner(&mut world, &["changes", "install"]).exits(0).says("event (event, owner): installed");
    world.sql("ALTER TABLE event DISABLE TRIGGER ALL");
    world.warm(&["changes", "status"]).exits(1).says("outdated");
    as_owner(&mut world, &["changes", "install"]).exits(0);
    as_owner(&mut world, &["changes", "remove"]).exits(0).says("event (event, owner): removed");
    as_owner(&mut world, &["changes", "remove"]).exits(0);
    assert_eq!(
        world
            .sql("SELECT (SELECT count(*) FROM pg_trigger WHERE tgname LIKE 'warm%'), to_regnamespace('warm') IS NULL"),
        "0|t"
    );
}

#[test]
fn what_is_printed_does_the_same_in_psql() {
    let mut world = world();
    let run = |world: &World, script: String| {
        let file = world.folder.path.join("script.sql");
        fs::write(&file, script).unwrap();
        world.database.psql(&["-f", file.to_str().unwrap()])
    };
    for _ in 0..2 {
        run(&world, world.warm(&["changes", "install", "--print"]).exits(0).out);
        world.warm(&["changes", "status"]).exits(0).says("event (event, owner): installed");
    }
    // Those of another channel are somebody else's.
    world.config(&format!("{CONFIG}{CHANGES}").replace("warm_test", "warm_other"));
    world.warm(&["changes", "status"]).exits(1);
    as_owner(&mut world, &["changes", "install"]).exits(0);
    run(&world, world.warm(&["changes", "remove", "--print"]).exits(0).out);
    world.warm(&["changes", "status"]).exits(1).says("event (event, owner): missing");
    world.config(&format!("{CONFIG}{CHANGES}"));
    world.warm(&["changes", "status"]).exits(0);
}

#[test]
fn a_schema_of_somebody_else_is_not_used() {
    let mut world = world();
    world.sql("CREATE ROLE stranger_of_warm; CREATE SCHEMA warm AUTHORIZATION stranger_of_warm");
    as_owner(&mut world, &["changes", "install"])
        .exits(1)
        .says("the schema warm, or a function in it, belongs to somebody else");
    assert_eq!(world.sql("SELECT count(*) FROM pg_trigger WHERE tgname LIKE 'warm%'"), "0");
    world.sql("DROP SCHEMA warm; DROP ROLE stranger_of_warm");
    as_owner(&mut world, &["changes", "install"]).exits(0);
}

#[test]
fn whoever_listens_without_triggers_says_so_and_a_column_that_is_not_there_is_none() {
    let mut world = world();
    world.set("WARM_SERVE__LISTEN", "127.0.0.1:0");
    let serving = Serving::of(world);
    serving.wait_until_it_says("not all changes are heard: nothing tells of event: its triggers are missing");
    let told = "not ready: changes: not all are heard: nothing tells of event";
    wait_for("that it is told", || serving.world.warm(&["status"]).out.contains(told).then_some(()));
    let (mut world, ..) = serving.end();
    world.config(&format!("{CONFIG}{CHANGES}").replace("{owner}", "{ownr}"));
    let says = "event has no column ownr";
    as_owner(&mut world, &["changes", "install"]).exits(1).says(says).says("did you mean {owner}?");
    world.warm(&["changes", "status"]).exits(1).says(says);
    world.warm(&["check"]).exits(0).says(says);
    assert_eq!(world.sql("SELECT count(*) FROM pg_trigger WHERE tgname LIKE 'warm%'"), "0");
}

#[test]
fn a_key_that_redis_refuses_holds_up_no_other() {
    let serving = following(|_| {});
    let world = &serving.world;
    let _: () = world.ask(&["ACL", "SETUSER", "warm", "resetkeys", "~t:event:*", "~warm:*", "%R~t:owner:*"]);
    set(world, &["t:owner:by-o1:x"]);
    world.sql("UPDATE event SET v = 'new' WHERE id = 1");
    goes(world, "t:event:1");
    serving.wait_until_it_says("cannot be deleted yet");
    world.sql("UPDATE event SET v = 'new' WHERE id = 2");
    goes(world, "t:event:2");
    assert!(world.value("t:owner:by-o1:x").is_some());
    let _: () = world.ask(&["ACL", "SETUSER", "warm", "allkeys"]);
    goes(world, "t:owner:by-o1:x");
}

#[test]
fn names_and_values_of_any_kind_are_quoted() {
    let mut world = world();
    world.sql(r#"CREATE TABLE "Odd $warm$ 'Table'" ("Id" int, "isIt" bool); CREATE SCHEMA "S"; CREATE TABLE "S"."T.x" ("Id" int)"#);
    let tables = r#"[invalidate.odd]
        keys = ['t:odd:{id}:{x}']
        [changes]
        channel = 'a-b:c.d'
        [changes.tables]
        "Odd $warm$ 'Table'" = ["odd id={Id}\\'\"$warm$ x={isIt}"]
        "S.T.x" = ["odd id=s x=''"]"#;
    world.config(&format!("{CONFIG}{tables}"));
    as_owner(&mut world, &["changes", "install"]).exits(0);
    world.warm(&["changes", "status"]).exits(0);
    let serving = Serving::telling("debug", world);
    serving.wait_until_it_says("a-b:c.d");
    serving.wait_until_it_says("event: done");
    let world = &serving.world;
    set(world, &[r#"t:odd:7\'"$warm$:true"#, "t:odd:s:''"]);
    world.sql(r#"INSERT INTO "Odd $warm$ 'Table'" VALUES (7, true)"#);
    goes(world, r#"t:odd:7\'"$warm$:true"#);
    world.sql(r#"INSERT INTO "S"."T.x" VALUES (1)"#);
    goes(world, "t:odd:s:''");
}

#[test]
fn a_storm_of_changes_leaves_nothing_stale() {
    let serving = following(|_| {});
    let world = &serving.world;
    world.sql("INSERT INTO event SELECT i, 'v0' FROM generate_series(1001, 1500) i");
    // An application that reads through the cache all the while, and whoever writes.
    let run = |n: usize| {
        let update = format!("UPDATE event SET v = 'v{n}-' || i WHERE id = 1001 + (i * 7 + {n}) % 500");
        world.sql(&format!("DO $$ BEGIN FOR i IN 1..500 LOOP {update}; COMMIT; END LOOP; END $$"));
    };
    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..4).map(|n| scope.spawn(move || run(n))).collect();
        while writers.iter().any(|writer| !writer.is_finished()) {
            let keys: Vec<_> = (1001..1501).step_by(25).map(|id| format!("t:event:{id}")).collect();
            let mut arguments = vec!["fill", "--missing"];
            arguments.extend(keys.iter().map(String::as_str));
            world.warm(&arguments);
        }
    });
    settle(world);
    let report = world.warm(&["diff", "--json"]);
    assert_eq!(report.code, 0, "{}", report.all());
}

/// The block that the repository's configuration has as a comment.
#[test]
fn the_platforms_tables_tell_of_the_platforms_sets() {
    let mut world = World::platform();
    let config = fs::read_to_string(world.folder.path.join("warm.toml")).unwrap();
    let at = config.find("# [changes]\n").unwrap();
    let (before, block) = config.split_at(at);
    let (block, after) = block.split_once("\n\n").unwrap();
    let block: String = block.lines().map(|line| line.strip_prefix("# ").unwrap().to_owned() + "\n").collect();
    world.config(&format!("{before}{block}\n{after}"));
    as_owner(&mut world, &["changes", "install"]).exits(0);
    world.warm(&["check"]).exits(0);
    let serving = Serving::of(world);
    serving.wait_until_it_says("listening for changes on the channel warm_changes");
    let world = &serving.world;
    let ticket = world.sql("SELECT \"id\", \"userId\", \"eventId\" FROM \"Ticket\" LIMIT 1");
    let [id, user, event] = ticket.trim().split('|').collect::<Vec<_>>()[..] else { panic!("{ticket}") };
    wait_for("the runs that follow", || {
        let log = serving.log();
        let done = log.matches(": done").count();
        (done >= 3 && done == log.matches(": started").count()).then_some(())
    });
    let keys = [
        format!("ticket:{id}"),
        format!("ticket:user:{user}:status:valid"),
        format!("ticket:event:{event}:x"),
        format!("event:{event}"),
        format!("analytics:{event}"),
        "event:list:state:Lagos:type:Concert:page:1".to_owned(),
    ];
    let all: Vec<&str> = keys.iter().map(String::as_str).chain(["leaderboard:referral:x", "user:x"]).collect();
    set(world, &all);
    world.sql(&format!("UPDATE \"Ticket\" SET \"status\" = 'used' WHERE \"id\" = '{id}'"));
    keys.iter().for_each(|key| goes(world, key));
    assert!(world.value("leaderboard:referral:x").is_some() && world.value("user:x").is_some());
    world.sql("DELETE FROM \"Referral\" WHERE \"id\" = (SELECT min(\"id\") FROM \"Referral\")");
    goes(world, "leaderboard:referral:x");
    assert!(world.value("user:x").is_some());
}
