//! Redis gets full: what is refused, what goes on, and that the application's keys stay where they are.

use std::fmt::Write;

use serde_json::Value;

use crate::support::gate::Gate;
use crate::support::postgres::Postgres;
use crate::support::proxy::{Fault, Proxy};
use crate::support::redis::Redis;
use crate::support::server::wait_for;
use crate::support::world::{Ran, World, ask};

/// Keys of an application that are read all the time.
const HOT: usize = 20_000;

fn world(lines: &str) -> World {
    World::of(Postgres::shared().database(), Redis::start(lines))
}

/// A job of so many rows, whose values are about 1,000 bytes long.
fn rows(count: usize) -> String {
    format!(
        "query = '''SELECT n AS id, repeat(md5(n::text), 31) AS x FROM generate_series(1, {count}) n'''\nkey = 't:{{id}}'\nvalue = 'row'\n"
    )
}

fn info(world: &World, field: &str) -> u64 {
    let info: String = world.ask(&["INFO"]);
    let value = info.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    value.unwrap().trim().parse().unwrap()
}

/// The first job of a run with these arguments that ends with this code.
#[track_caller]
fn job(world: &World, arguments: &[&str], code: i32) -> Value {
    world.warm(&[&["--now", "--json"], arguments].concat()).exits(code).json()["jobs"][0].clone()
}

fn set(world: &World, setting: &str, value: &str) {
    let _: () = world.ask(&["CONFIG", "SET", setting, value]);
}

/// Sets the limit so that so many percent of it are in use.
fn fill_to(world: &World, percent: u64) {
    set(world, "maxmemory", &(info(world, "used_memory") * 100 / percent).to_string());
}

/// Writes keys as a plain script does: `SET … EX`, many at a time.
fn plain_writes(world: &World, prefix: &str, count: usize, value: &str) {
    let mut connection = world.redis.connect();
    for from in (0..count).step_by(1000) {
        let mut pipe = redis::pipe();
        for n in from..(from + 1000).min(count) {
            pipe.cmd("SET").arg(format!("{prefix}{n}")).arg(value).arg("EX").arg(3600).ignore();
        }
        pipe.exec(&mut connection).unwrap();
    }
}

/// Reads each of the hot keys, and says how many there are.
fn read_hot(world: &World) -> usize {
    let mut connection = world.redis.connect();
    let keys: Vec<String> = (0..HOT).map(|n| format!("hot:{n}")).collect();
    let count = |keys: &[String]| {
        let values: Vec<Option<String>> = redis::cmd("MGET").arg(keys).query(&mut connection).unwrap();
        values.iter().flatten().count()
    };
    // Few at a time: the answers take memory, too.
    keys.chunks(20).map(count).sum()
}

/// A Redis that is full and has begun to evict: 20,000 keys of an application, read just now, and as many that nobody has read for a while.
fn full_of_hot_keys() -> World {
    let world = world("maxmemory-policy allkeys-lru");
    // Of five that it looks at all may be hot, once in a great while.
    set(&world, "maxmemory-samples", "20");
    plain_writes(&world, "hot:", HOT, &"h".repeat(500));
    plain_writes(&world, "cold:", HOT, &"c".repeat(500));
    // Redis tells ages apart by the second.
    wait_for("the others' age", || (world.ask::<u64>(&["OBJECT", "IDLETIME", "cold:1"]) >= 3).then_some(()));
    assert_eq!(read_hot(&world), HOT);
    set(&world, "maxmemory", &(info(&world, "used_memory") - (1 << 20)).to_string());
    wait_for("evictions", || (info(&world, "evicted_keys") > 500).then_some(()));
    assert_eq!(read_hot(&world), HOT);
    world
}

#[test]
fn a_bulk_run_into_a_full_cache_leaves_every_hot_key_in_place() {
    let world = full_of_hot_keys();
    world.job("job", &rows(60_000));
    let before = info(&world, "evicted_keys");
    let job = job(&world, &[], 5);
    let evicted = info(&world, "evicted_keys") - before;
    assert_eq!(read_hot(&world), HOT, "{job:#}");
    assert_eq!((&job["keys"], &job["left"]["no_room"]), (&0.into(), &60_000.into()));
    assert_eq!(job["error"]["kind"], "RedisTight");
    assert!(evicted < 500, "{evicted} keys had to make room for buffers");

    // The proof that they were in danger.
    plain_writes(&world, "t:", 60_000, &"p".repeat(1000));
    let left = read_hot(&world);
    println!("hot keys after warm: {HOT}, after a plain writer: {left}; evicted beside warm: {evicted}");
    assert!(left < HOT / 2, "a plain writer left {left}");
}

#[test]
fn values_of_about_the_same_size_are_replaced_in_a_cache_that_is_full_and_evicts() {
    let world = full_of_hot_keys();
    world.job(
        "job",
        "query = '''SELECT n AS id, repeat('n', 480) AS x FROM generate_series(0, 19999) n'''\nkey = 'hot:{id}'\nvalue = 'row'\nttl = '10m'\n",
    );
    let job = job(&world, &[], 0);
    assert_eq!((&job["keys"], &job["left"]["no_room"]), (&HOT.into(), &0.into()), "{job:#}");
    assert_eq!(read_hot(&world), HOT);
    assert!(world.value("hot:7").unwrap().starts_with("{\"id\":7,\"x\":\"nnn"));
}

#[test]
fn where_memory_is_tight_only_what_is_there_is_written_and_only_if_it_hardly_grows() {
    let mut world = world("maxmemory-policy noeviction");
    world.job("job", &rows(20));
    plain_writes(&world, "other:", 5000, &"o".repeat(1000));
    for n in 1..=20 {
        // What is written is some 1,015 bytes long.
        let (before, ttl) = match n {
            1..=4 => ("s".repeat(1015), "100"),
            5..=6 => ("s".repeat(3000), "100"),
            7..=8 => ("s".repeat(870), "100"),
            9..=12 => ("s".repeat(800), "100"),
            _ => continue,
        };
        let _: () = world.ask(&["SET", &format!("t:{n}"), &before, "EX", ttl]);
    }
    let _: () = world.ask(&["PERSIST", "t:4"]);
    let _: () = world.ask(&["DEL", "t:3"]);
    let _: () = world.ask(&["HSET", "t:3", "a", "b"]);
    fill_to(&world, 90);
    let written = |world: &World, n: usize| {
        world.value(&format!("t:{n}")).is_some_and(|value| value.starts_with(&format!("{{\"id\":{n},")))
    };

    let missing = job(&world, &["--missing"], 5);
    assert_eq!((&missing["keys"], &missing["left"]["present"]), (&0.into(), &12.into()), "{missing:#}");
    assert_eq!(missing["left"]["no_room"], 8);

    let ran = world.warm(&["--now"]).exits(5).says("no room for 12 keys: a batch needed ").says(" in use and ");
    ran.says("memory_limit allows")
        .says("(80 % of")
        .says("raise maxmemory, cache less, or raise memory_limit")
        .says("12 refused: no room in Redis");
    let refreshed: Vec<usize> = (1..=20).filter(|n| *n != 3 && written(&world, *n)).collect();
    assert_eq!(refreshed, [1, 2, 5, 6, 7, 8], "of the same size, smaller, or a little larger");
    assert_eq!(world.ask::<String>(&["HGET", "t:3", "a"]), "b");
    assert_eq!(world.keys().len(), 5000 + 12, "nothing was added and nothing deleted");

    world.job(
        "small",
        "query = 'SELECT n AS id FROM generate_series(1, 9) n'\nkey = 't:small:{id}'\nvalue = 'column:id'\n",
    );
    let small = job(&world, &["small"], 5);
    assert_eq!(small["left"]["no_room"], 9, "a new key is new, however small: {small:#}");

    // The same with more of the limit: everything is as ever.
    world.set("WARM_REDIS__MEMORY_LIMIT", "100%");
    let roomy = job(&world, &["job"], 0);
    assert_eq!((&roomy["keys"], &roomy["left"]["no_room"]), (&18.into(), &0.into()), "{roomy:#}");
}

#[test]
fn a_run_fills_an_empty_cache_up_to_the_limit_and_no_further() {
    // Of eight megabytes, what is in flight between two questions is more than a few percent.
    for (policy, megabytes, limit, jobs) in
        [("allkeys-lru", 32, 80, 1), ("noeviction", 8, 50, 1), ("allkeys-lru", 8, 50, 3)]
    {
        let mut world = world(&format!("maxmemory {megabytes}mb\nmaxmemory-policy {policy}"));
        world.set("WARM_REDIS__MEMORY_LIMIT", &format!("{limit}%"));
        for n in 1..=jobs {
            world.job(&format!("job{n}"), &rows(40_000 / jobs).replace("t:", &format!("t:{n}:")));
        }
        let connections = info(&world, "total_connections_received");
        let report = world.warm(&["--now", "--json"]).exits(5).json();
        let connections = info(&world, "total_connections_received") - connections - 1;
        assert_eq!(connections, jobs as u64, "no answer was taken for another, which ends a connection");
        let sum = |count: &dyn Fn(&Value) -> &Value| {
            report["jobs"].as_array().unwrap().iter().map(|job| count(job).as_u64().unwrap()).sum::<u64>()
        };
        let (written, refused) = (sum(&|job| &job["keys"]), sum(&|job| &job["left"]["no_room"]));
        assert_eq!(written, world.keys().len() as u64);
        assert_eq!(written + refused, 40_000 / jobs as u64 * jobs as u64);
        let used = info(&world, "used_memory");
        let percent = used * 100 / (megabytes << 20);
        println!("{policy}, {megabytes} MB, {jobs} jobs: {written} keys, {percent} % of a limit of {limit} %");
        // Redis' own tables and buffers grow, too, while it is written to, by about as much as a few batches.
        let most = (megabytes << 20) * limit / 100 + (400 << 10);
        assert!(percent >= limit - 3 && used <= most, "{percent} %: {report:#}");
        assert_eq!(info(&world, "evicted_keys"), 0);
    }
}

#[test]
fn below_the_limit_and_without_one_everything_is_written() {
    for lines in ["maxmemory 100mb\nmaxmemory-policy allkeys-lru", ""] {
        let world = world(lines);
        world.job("job", &rows(20_000));
        for _ in 0..2 {
            let job = job(&world, &[], 0);
            assert_eq!((&job["keys"], &job["left"]["no_room"]), (&20_000.into(), &0.into()), "{job:#}");
        }
    }
}

/// Runs a job of 20,000 rows and does something in the middle of it.
fn in_mid_run(world: &World, act: impl FnOnce()) -> Ran {
    let gate = Gate::shut(&world.database, 1);
    let series = "generate_series(1, 20000) n";
    world.job("job", &rows(20_000).replace(series, &format!("{series} WHERE n <> 5000 OR wait(1)")));
    let child = world.start(&["--now"]);
    gate.wait_for_query();
    wait_for("the first keys", || (world.keys().len() > 3000).then_some(()));
    act();
    // The guard asks every 50 ms, and what it was told before that counts until then.
    std::thread::sleep(std::time::Duration::from_millis(60));
    gate.open();
    Ran::of(child.wait_with_output().unwrap())
}

#[test]
fn evictions_end_a_run() {
    let mut world = world("maxmemory 64mb\nmaxmemory-policy allkeys-lru");
    world.set("WARM_REDIS__MEMORY_LIMIT", "100%");
    let ran = in_mid_run(&world, || {
        // Somebody else takes the memory away for a moment.
        set(&world, "maxmemory", "3mb");
        wait_for("evictions", || (info(&world, "evicted_keys") > 1000).then_some(()));
        set(&world, "maxmemory", "64mb");
    });
    let ran = ran.exits(5).says("Redis has evicted ").says(" keys in ").says("0.0 a second before");
    let ran = ran.says("raise maxmemory or cache less");
    assert!(world.keys().len() < 15_000, "it stopped in time:\n{}", ran.all());
}

#[test]
fn the_right_to_ask_can_be_taken_away_and_the_limit_lowered_in_mid_run() {
    let world = world("maxmemory 64mb\nmaxmemory-policy noeviction");
    let lowered = in_mid_run(&world, || set(&world, "maxmemory", "8mb")).exits(5);
    assert!((3000..8000).contains(&world.keys().len()), "{}", lowered.all());
    assert!(lowered.says("no room for ").all().contains("of 8.0 MiB"));

    let _: () = world.ask(&["FLUSHALL"]);
    set(&world, "maxmemory", "64mb");
    let blind = in_mid_run(&world, || {
        let _: () = world.ask(&["ACL", "SETUSER", "warm", "-info"]);
    });
    blind.exits(0).says("wrote 20000 keys");
}

#[test]
fn an_account_without_the_right_to_ask_writes_unguarded_and_is_told_so_once() {
    let mut world = world("maxmemory-policy noeviction");
    plain_writes(&world, "other:", 5000, &"o".repeat(1000));
    fill_to(&world, 90);
    let _: () = world.ask(&["ACL", "SETUSER", "warm", "-info"]);
    world.job("one", &rows(20));
    world.job("two", &rows(20).replace("t:", "t:two:"));
    let ran = world.warm(&["--now"]).exits(0).says("wrote 20 keys").says("grant +info (config/redis-acl.conf)");
    assert_eq!(ran.err.matches("how full it is (INFO)").count(), 1, "{}", ran.all());

    let _: () = world.ask(&["FLUSHALL"]);
    // Nothing is written, so that there is nothing to guard.
    let dry = world.warm(&["--now", "--dry-run"]).exits(0);
    assert_eq!(dry.err, "");
    world.set("WARM_LOG", "error");
    assert_eq!(world.warm(&["--now"]).exits(0).err, "");
}

#[test]
fn a_connection_that_breaks_within_the_guards_own_answer_is_made_good() {
    let mut world = world("maxmemory 100mb\nmaxmemory-policy allkeys-lru");
    world.job("job", &rows(3000));
    let greeting: String = world.ask(&["INFO"]);
    // The second answer to INFO comes before that to the first entry.
    for cut in [-300, 0, 300, 2000, 4500, 4900, 5200] {
        let _: () = world.ask(&["FLUSHALL"]);
        let at = usize::try_from(greeting.len() as i64 + 150 + cut).unwrap();
        let proxy = Proxy::before(world.redis.port, &[Fault::CutAfter(at)]);
        world.set("REDIS_URL", &world.redis.tcp_url(proxy.port));
        world.warm(&["--now"]).exits(0).says("wrote 3000 keys");
        assert_eq!(proxy.accepted(), 2, "the fault struck at {at}");
        let mut connection = world.redis.connect();
        let mut wrong = String::new();
        for n in 1..=3000 {
            let value: String = ask(&mut connection, &["GET", &format!("t:{n}")]);
            if !value.starts_with(&format!("{{\"id\":{n},")) {
                writeln!(wrong, "{n}: {value}").unwrap();
            }
        }
        assert_eq!(wrong, "");
    }
}

#[test]
fn a_check_estimates_what_the_jobs_will_write() {
    let world = World::platform();
    world.sql("ANALYZE");
    let check = world.warm(&["check", "--json"]).exits(0).json();
    let report = world.warm(&["--now", "--json"]).exits(0).json();
    for run in report["jobs"].as_array().unwrap() {
        let estimate = check["jobs"].as_array().unwrap().iter().find(|job| job["job"] == run["job"]).unwrap();
        let share = estimate["bytes"].as_f64().unwrap() / run["bytes"].as_f64().unwrap();
        println!("{}: {share:.2} of what is written: {estimate} {}", run["job"], run["keys"]);
        assert!((0.5..2.0).contains(&share), "{estimate:#} for {run:#}");
        assert_eq!(estimate["keys"], run["keys"]);
    }
}

#[test]
fn an_estimate_is_that_of_several_combinations_and_says_what_it_rests_on() {
    let world = world("");
    // One group has one row, one has 999.
    // On a slow machine the server would analyze it by itself before it is looked at.
    world.sql("CREATE TABLE g WITH (autovacuum_enabled = false) AS SELECT 'g' || n AS g, n * 1000 + m AS id FROM generate_series(1, 2) n, generate_series(1, n * 998 - 997) m");
    world.sql("GRANT SELECT ON g TO warm; CREATE TABLE \"None\" (id int); GRANT SELECT ON \"None\" TO warm");
    let of_g = "query = 'SELECT id FROM g WHERE g = :g'\nkey = 't:{g}:{id}'\nvalue = 'row'\nschedule = 'every 8m'\n";
    world.job("few", &format!("{of_g}for_each.g = ['g1', 'g2']"));
    let said = "(g was never analyzed: ANALYZE it for a better figure)\n";
    world.warm(&["check"]).exits(0).says(said);
    world.sql("ANALYZE g");
    let ran = world.warm(&["check"]).exits(0).says("few: writes about 1000 keys, ");
    let line = ran.out.lines().find(|line| line.starts_with("few: ")).unwrap();
    assert!(!line.contains('('), "nothing else is known: {line}");
    // Of many combinations some are planned.
    let many = of_g.replace("= :g", "= substr(:g, 1, 2)").replace("t:", "t:2:").replace("'row'", "'rows'");
    world.job("many", &format!("{many}for_each.g = {{ query = \"SELECT 'g2' || n FROM generate_series(1, 100) n\" }}"));
    world.job("none", "query = 'SELECT id FROM \"None\" JOIN g USING (id)'\nkey = 't:3:{id}'\nvalue = 'row'");
    let ran = world.warm(&["check", "many", "none"]).exits(0).says(" (from the plans of 32 of 100 combinations)\n");
    ran.says(" (\"None\" was never analyzed: ANALYZE it for a better figure)\n");
    let report = world.warm(&["check", "--json"]).exits(0).json();
    let of = |job: &str| report["jobs"].as_array().unwrap().iter().find(|found| found["job"] == job).unwrap().clone();
    assert_eq!((&of("few")["planned"], &of("few")["combinations"]), (&2.into(), &2.into()), "{report:#}");
    assert_eq!((&of("many")["planned"], &of("many")["combinations"]), (&32.into(), &100.into()), "{report:#}");
    assert_eq!(of("none")["never_analyzed"], serde_json::json!(["\"None\""]));
    assert_eq!(of("few")["never_analyzed"], serde_json::json!([]));
}

#[test]
fn a_check_warns_of_jobs_for_which_there_is_no_room() {
    let world = world("maxmemory 80mb\nmaxmemory-policy allkeys-lru");
    world.sql("CREATE TABLE big AS SELECT n AS id, repeat(md5(n::text), 20) AS x FROM generate_series(1, 50000) n");
    world.sql("GRANT SELECT ON big TO warm");
    world.sql("ANALYZE big");
    let big = "query = 'SELECT id, x FROM big'\nkey = 't:{id}'\nvalue = 'row'\nschedule = 'every 8m'\n";
    world.job("big", big);
    let roomy = world.warm(&["check"]).exits(0).says("big: writes about 50000 keys, 3");
    assert!(!roomy.all().contains("memory_limit"), "{}", roomy.all());

    world.job("bigger", &big.replace("t:", "t:2:"));
    world.job("groups", &big.replace("t:", "t:3:").replace("row", "rows").replace("FROM big", "FROM big WHERE id < 9"));
    let ran = world.warm(&["check"]).exits(0).says("groups: writes about ").says(" rows in fewer keys, ");
    let ran = ran.says("warning: the jobs write about 7").says("unless most are there already");
    ran.says("raise maxmemory, let the jobs write less (fewer rows, fewer columns), or raise memory_limit in [redis]");
}
