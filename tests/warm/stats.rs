//! `warm stats`: what Redis does, which warmed keys are read, and that looking changes none of it.

use serde_json::Value;

use super::health::{address, get, wait_for_line};
use super::history::ask as history;
use super::serve::Serving;
use crate::support::postgres::Postgres;
use crate::support::redis::Redis;
use crate::support::server::wait_for;
use crate::support::world::{CONFIG, World, ask};

/// A job of so many keys, which live for ten minutes.
fn of(keys: u32) -> String {
    format!(
        "schedule = '@yearly'\nquery = 'SELECT n AS id FROM generate_series(1, {keys}) n'\nkey = 't:{{id}}'\nvalue = 'row'"
    )
}

/// A world in which a job has written fifty keys.
fn warmed(redis: Redis) -> World {
    let world = World::of(Postgres::shared().database(), redis);
    world.job("job", &of(50));
    world.warm(&["--now"]).exits(0);
    world
}

/// Makes the keys as old as if they had been written by a run five minutes ago, and left alone since.
fn grow_old(world: &World, trace: [&str; 2]) {
    history(&world.state().join("history.sqlite"), "UPDATE run SET ended = ended - 301000");
    let mut connection = world.redis.connect();
    for key in 1..=50 {
        let key = format!("t:{key}");
        let dumped: Vec<u8> = ask(&mut connection, &["DUMP", &key]);
        let mut restore = redis::cmd("RESTORE");
        restore.arg(&key).arg(300_000).arg(dumped).arg("REPLACE").arg(&trace);
        restore.exec(&mut connection).unwrap();
    }
}

fn stats(world: &World) -> Value {
    world.warm(&["stats", "--json"]).exits(0).json()
}

/// Look-ups that Redis has counted: hits and misses.
fn counted(world: &World) -> (u64, u64) {
    let info: String = world.ask(&["INFO", "stats"]);
    let of = |name: &str| info.lines().find_map(|line| line.strip_prefix(name)).unwrap().parse().unwrap();
    (of("keyspace_hits:"), of("keyspace_misses:"))
}

#[test]
fn it_tells_which_warmed_keys_nobody_reads_and_leaves_no_trace() {
    let world = warmed(Redis::start(""));
    world
        .warm(&["stats"])
        .exits(0)
        .says("job: warmth 100 % (50 of 50 keys there)")
        .says("of 50 it cannot be told (written too recently");
    grow_old(&world, ["IDLETIME", "300"]);
    world.warm(&["stats"]).exits(0).says("0 of 50 read since they were written (0 %), 50 nobody has read");
    for key in 1..=31 {
        world.value(&format!("t:{key}")).unwrap();
    }
    let _: u64 = world.ask(&["UNLINK", "t:49", "t:50"]);
    let before = counted(&world);
    let found = stats(&world);
    let after = counted(&world);
    let job = &found["jobs"][0];
    assert_eq!(
        (&job["keys"], &job["sample"], &job["present"], &job["warmth"]),
        (&50.into(), &50.into(), &48.into(), &0.96.into())
    );
    assert_eq!((&job["read"], &job["unread"], &job["untold"]), (&31.into(), &17.into(), &0.into()), "{found}");
    assert_eq!((&job["read_share_low"], &job["read_by"]), (&job["read_share"], &"idle_time".into()), "these are all");
    assert!(job["bytes"].as_u64().unwrap() > 48 * 50, "{found}");
    // Every key that is there was asked for twice, and one of them to see what there is to ask for.
    assert_eq!((&found["cost"]["hits"], &found["cost"]["misses"]), (&97.into(), &0.into()), "{found}");
    assert_eq!((after.0 - before.0, after.1 - before.1), (97, 0), "and Redis has counted as much");
    let again = stats(&world);
    assert_eq!(
        (&again["jobs"][0]["read"], &again["jobs"][0]["unread"]),
        (&31.into(), &17.into()),
        "nothing was touched"
    );
    world.warm(&["stats"]).exits(0).says("job: warmth 96 % (48 of 50 keys there), 31 of 48 read");
    world.warm(&["stats", "jab"]).exits(2).says("did you mean `job`?");
}

#[test]
fn absent_keys_are_looked_for_without_an_event_of_a_miss() {
    let world = warmed(Redis::start("notify-keyspace-events Em"));
    let mut connection = world.redis.connect();
    let _: u64 = ask(&mut connection, &["UNLINK", "t:1", "t:2"]);
    let mut listener = world.redis.connect();
    let mut heard = listener.as_pubsub();
    heard.subscribe("__keyevent@0__:keymiss").unwrap();
    assert_eq!(stats(&world)["jobs"][0]["present"], 48);
    world.warm(&["status"]).exits(0).says("96 % of its keys are there");
    // The first that is heard is our own.
    let _: Option<String> = ask(&mut connection, &["GET", "t:nobody"]);
    assert_eq!(heard.get_message().unwrap().get_payload::<String>().unwrap(), "t:nobody");
}

#[test]
fn a_server_that_keeps_counters_is_asked_for_those() {
    let world = warmed(Redis::start("maxmemory 100mb\nmaxmemory-policy allkeys-lfu"));
    grow_old(&world, ["FREQ", "0"]);
    for key in 1..=20 {
        for _ in 0..6 {
            world.value(&format!("t:{key}")).unwrap();
        }
    }
    // Five minutes after it was written, up to four may be our own.
    let mut connection = world.redis.connect();
    let used = (1..=50).filter(|key| ask::<u64>(&mut connection, &["OBJECT", "FREQ", &format!("t:{key}")]) > 4).count();
    let before = counted(&world);
    let found = stats(&world);
    let after = counted(&world);
    let job = &found["jobs"][0];
    assert_eq!((&job["read"], &job["read_by"]), (&used.into(), &"frequency".into()), "{found}");
    assert!((20..50).contains(&used), "{used}");
    assert_eq!(found["cost"]["hits"], after.0 - before.0, "{found}");
    world.warm(&["stats"]).exits(0).says("read of late").says("allkeys-lfu");
}

#[test]
fn of_many_keys_a_sample_is_looked_at() {
    let world = World::new();
    world.job("job", &of(3000));
    world.warm(&["--now"]).exits(0);
    let job = &stats(&world)["jobs"][0];
    assert_eq!((&job["keys"], &job["sample"], &job["warmth"]), (&3000.into(), &100.into(), &1.0.into()));
    // Half of them go: which share that is of the sample is chance; less than a fifth or more than four fifths it is once in a billion times.
    let mut connection = world.redis.connect();
    for key in (1..=3000).step_by(2) {
        let _: u64 = ask(&mut connection, &["UNLINK", &format!("t:{key}")]);
    }
    let share = stats(&world)["jobs"][0]["warmth"].as_f64().unwrap();
    assert!((0.2..0.8).contains(&share), "{share}");
    world.warm(&["stats"]).exits(0).says("of 100 keys there, a sample of 3000 keys)");
}

#[test]
fn what_a_run_finds_in_place_are_its_keys_too() {
    let world = World::new();
    world.job("rows", &format!("{}\nmode = 'missing'", of(3)));
    let single = "schedule = '@yearly'\nmode = 'missing'\nquery = 'SELECT :n::int AS x'\nkey = 't:s:{n}'\nvalue = 'rows'\n[for_each]\nn = [1, 2]";
    world.job("known", single);
    world.warm(&["--now"]).exits(0);
    world.warm(&["--now"]).exits(0);
    let found = stats(&world);
    let keys: Vec<_> = found["jobs"].as_array().unwrap().iter().map(|job| (&job["job"], &job["present"])).collect();
    assert_eq!(keys, [(&"known".into(), &2.into()), (&"rows".into(), &3.into())], "{found}");
    // A run that does less than all of it tells nothing new.
    let _: u64 = world.ask(&["UNLINK", "t:1"]);
    world.warm(&["--now", "--missing", "rows"]).exits(0);
    world.job("rows", &of(3).replace("AS id", "AS ix"));
    world.warm(&["--now", "rows"]).exits(1);
    assert_eq!(stats(&world)["jobs"][1]["keys"], 3);
}

#[test]
fn slow_commands_are_told_without_what_they_carry() {
    let world = warmed(Redis::start(""));
    let _: String = world.ask(&["CONFIG", "SET", "slowlog-log-slower-than", "0"]);
    let _: String = world.ask(&["SET", "t:1", "topsecret"]);
    let _: Option<String> = world.ask(&["GET", "warm:marker"]);
    let _: Vec<String> = world.ask(&["KEYS", "topsecret*"]);
    let _: String = world.ask(&["CONFIG", "SET", "slowlog-log-slower-than", "-1"]);
    let ran = world.warm(&["stats"]).exits(0).says("slow commands in its slow log").says(": set t:1 (a key of job)");
    let ran = ran.says(": get warm:marker").says(": keys\n").says(", 1 about keys of jobs, 1 about warm's own");
    assert!(!ran.all().contains("topsecret"), "{}", ran.all());
    let found = world.warm(&["stats", "--json"]).exits(0);
    assert!(!found.all().contains("topsecret"), "{}", found.all());
    let slowest = &found.json()["redis"]["slow"]["slowest"];
    let set = slowest.as_array().unwrap().iter().find(|slow| slow["command"] == "set").unwrap();
    assert_eq!((&set["key"], &set["job"], &set["own"]), (&"t:1".into(), &"job".into(), &false.into()));
}

#[test]
fn targets_are_met_missed_or_unknown() {
    let world = warmed(Redis::start("maxmemory 100mb"));
    let all = "[targets]\nhit_ratio = '80%'\ncache_answer = '10s'\nquery = '10s'\nmemory = '80%'\n";
    world.config(&format!("{CONFIG}{all}"));
    let _: String = world.ask(&["CONFIG", "RESETSTAT"]);
    let ran = world
        .warm(&["stats", "--check"])
        .exits(0)
        .says("target hit_ratio unknown: at least 80.0 % is wanted (nothing was looked up");
    let ran = ran.says("target cache_answer met: ").says("target memory met: ").says("target query met: ");
    ran.says("the slowest query of the last runs, of job");
    // What the command has counted itself.
    let _: String = world.ask(&["CONFIG", "RESETSTAT"]);
    for key in 0..20 {
        world.value(&format!("t:no:{key}"));
    }
    let ran = world
        .warm(&["status"])
        .exits(0)
        .says("target hit_ratio missed: 0.0 %, at least 80.0 % is wanted (since Redis began");
    ran.says("target query met");
    let status = world.warm(&["status", "--json"]).exits(0).json();
    let verdicts: Vec<_> = status["targets"].as_array().unwrap().iter().map(|target| &target["verdict"]).collect();
    assert_eq!(verdicts, ["missed", "met", "met", "met"], "{status}");
    world.warm(&["stats", "--check"]).exits(1).says("target hit_ratio missed: ");
    world.config(&format!("{CONFIG}[targets]\nquery = '1ms'\n"));
    world.job("job", &of(50).replace("generate_series(1, 50) n", "generate_series(1, 50) n, pg_sleep(0.05)"));
    world.warm(&["--now"]).exits(0);
    let ran = world.warm(&["stats", "--check"]).exits(1).says("target query missed: ");
    assert!(!ran.out.contains("target memory"), "it is not set\n{}", ran.all());
    // Rows that a guard has to see first are read there.
    let slow = of(5).replace("5) n'", "5) n, (SELECT pg_sleep(0.5)) s'").replace("t:", "t:g:");
    world.job("guarded", &format!("{slow}\n[guard]\nmin_rows = 1"));
    world.warm(&["--now", "guarded"]).exits(0);
    world.warm(&["stats"]).exits(0).says("the slowest query of the last runs, of guarded");
}

#[test]
fn it_shows_the_hit_ratio_of_a_time_that_it_watches() {
    let world = warmed(Redis::start(""));
    for _ in 0..200 {
        world.value("t:no");
    }
    let watching = world.start(&["stats", "--watch", "2s", "--json"]);
    // Until it has ended somebody reads; what it counts in between is his, and nothing of its own.
    let mut watching = watching;
    while watching.try_wait().unwrap().is_none() {
        world.value("t:1").unwrap();
    }
    let found = crate::support::world::Ran::of(watching.wait_with_output().unwrap()).exits(0).json();
    let watched = &found["redis"]["watched"];
    assert_eq!((&watched["misses"], &watched["hit_ratio"]), (&0.into(), &1.0.into()), "{found}");
    assert!(
        watched["seconds"].as_f64().unwrap() >= 2.0 && found["redis"]["since_start"]["misses"].as_u64() >= Some(200)
    );
    world.warm(&["stats", "--watch", "1ms"]).exits(2).says("it is a length of time from 1s to 1h");
}

#[test]
fn what_the_account_may_not_ask_is_said_and_the_rest_is_told() {
    let world = warmed(Redis::start(""));
    grow_old(&world, ["IDLETIME", "300"]);
    let rights = |rights: &[&str]| {
        let words: Vec<_> = ["ACL", "SETUSER", "warm"].iter().chain(rights).copied().collect();
        let _: String = world.ask(&words);
    };
    rights(&["-slowlog|get", "-slowlog|len"]);
    world.warm(&["stats"]).exits(0).says("slow commands are not known: ").says("0 of 50 read since");
    world
        .warm(&["check"])
        .exits(0)
        .says("`warm stats` does not show slow commands")
        .says("grant +slowlog|len +slowlog|get");
    // With OBJECT alone keys are found all the same, but what is absent counts as a miss.
    rights(&["-memory|usage"]);
    let _: u64 = world.ask(&["UNLINK", "t:50"]);
    let found = stats(&world);
    assert_eq!((&found["jobs"][0]["present"], &found["jobs"][0]["unread"]), (&49.into(), &49.into()), "{found}");
    assert_eq!(found["cost"]["misses"], 1, "{found}");
    rights(&["-object|idletime", "-object|freq"]);
    let ran = world.warm(&["stats"]).exits(0).says("job: whether its keys are there is not known: ");
    ran.says("not allowed: ").says("hit ratio ");
    world.warm(&["status"]).exits(0).says("3 keys then".trim_start_matches("3 "));
    rights(&["+memory|usage"]);
    let found = stats(&world);
    assert_eq!((&found["jobs"][0]["present"], &found["jobs"][0]["untold"]), (&49.into(), &49.into()), "{found}");
    rights(&["-info"]);
    world.warm(&["stats"]).exits(0).says("the account lacks +info").says("job: warmth 98 %");
    let away = World::new();
    away.job("job", &of(3));
    away.redis.server.signal("KILL");
    wait_for("the end of Redis", || (away.warm(&["stats"]).code == 4).then_some(()));
}

#[test]
fn the_service_tells_how_warm_jobs_are() {
    let mut world = World::of(Postgres::shared().database(), Redis::start("maxmemory 100mb"));
    world.set("WARM_SERVE__LISTEN", "127.0.0.1:0");
    world.set("WARM_TARGETS__MEMORY", "80%");
    // The first look comes before its first run has ended.
    world.job("job", &of(4).replace("4) n'", "4) n, (SELECT pg_sleep(3)) s'"));
    let serving = Serving::of(world);
    let address = address(&serving);
    wait_for_line(&address, "warm_target_met{target=\"memory\"} 1");
    wait_for_line(&address, "warm_job_warmth{job=\"job\"} 1.0");
    wait_for_line(&address, "warm_job_warmth_sample_keys{job=\"job\"} 4");
    let page = get(&address, "/metrics").1;
    assert!(page.contains("warm_target_wanted{target=\"memory\"} 0.8") && !page.contains("target=\"query\""), "{page}");
    // Of a Redis that is away nothing is known.
    serving.world.redis.server.signal("KILL");
    let unknown = |page: &str| !page.contains("warm_job_warmth{") && !page.contains("warm_target_met{");
    wait_for("its end", || unknown(&get(&address, "/metrics").1).then_some(()));
    assert!(get(&address, "/metrics").1.contains("warm_target_wanted{target=\"memory\"} 0.8"));
    serving.end();
}

#[test]
fn a_run_that_leaves_keys_as_they_are_is_no_reader() {
    let world = World::new();
    world.job("job", &format!("{}\nmode = 'missing'", of(50)));
    world.warm(&["--now"]).exits(0);
    grow_old(&world, ["IDLETIME", "300"]);
    // SET … NX touches what is there.
    world.warm(&["--now"]).exits(0);
    let idle: u64 = world.ask(&["OBJECT", "IDLETIME", "t:1"]);
    assert!(idle < 200, "{idle}");
    let found = stats(&world);
    assert_eq!((&found["jobs"][0]["read"], &found["jobs"][0]["untold"]), (&0.into(), &50.into()), "{found}");
}
