//! The jobs and the configuration that the repository ships, against the platform's tables, with the least rights.

use std::fs;

use crate::pages::example;
use crate::support::world::World;
use crate::types::allow;

fn ran() -> World {
    let world = World::platform();
    // Dated far ahead, with values that a careless encoder gets wrong.
    world.sql(
        r#"INSERT INTO "Event" ("id", "organizerId", "title", "description", "eventType", "startDate", "endDate", "venue", "state", "lga",
             "latitude", "longitude", "isHidden", "accessCode", "deepLink", "capacity", "ticketsSold", "tiers", "culturalFeatures", "images",
             "ussdCode", "status", "createdAt", "updatedAt")
           VALUES ('best-seller', 'o1', E'Òwàmbẹ̀ "Live"\n\u2028', 'a\b', 'Owanbe: live', '2099-01-01', '2099-01-01 23:30:00.5', 'Eko', 'Kano', 'Fagge',
             12.002179, 1e-7, false, NULL, NULL, 100, 2000000000, '[{"price": 5000.0, "10": 1, "9": 2, "name": "VIP"}]', NULL, NULL,
             '*1#', 'published', '2026-01-02 03:04:05.678', '2026-01-02 03:04:05.6')"#,
    );
    world.warm(&["--now"]).exits(0);
    world
}

/// The row above as `JSON.stringify` prints what Prisma 5.22 returns.
const BEST_SELLER: &str = concat!(
    r#"{"id":"best-seller","organizerId":"o1","title":"Òwàmbẹ̀ \"Live\"\n"#,
    "\u{2028}",
    r#"","description":"a\\b","eventType":"Owanbe: live","startDate":"2099-01-01T00:00:00.000Z","endDate":"2099-01-01T23:30:00.500Z","#,
    r#""venue":"Eko","state":"Kano","lga":"Fagge","latitude":12.002179,"longitude":1e-7,"isHidden":false,"accessCode":null,"deepLink":null,"#,
    r#""capacity":100,"ticketsSold":2000000000,"tiers":[{"9":2,"10":1,"name":"VIP","price":5000}],"culturalFeatures":null,"images":[],"#,
    r#""ussdCode":"*1#","status":"published","createdAt":"2026-01-02T03:04:05.678Z","updatedAt":"2026-01-02T03:04:05.600Z"}"#
);

fn json(world: &World, key: &str) -> serde_json::Value {
    serde_json::from_str(&world.value(key).unwrap_or_else(|| panic!("{key} is absent"))).unwrap()
}

#[test]
fn the_fifty_best_selling_events_are_warm() {
    let world = ran();
    assert_eq!(world.value("event:best-seller").as_deref(), Some(BEST_SELLER));
    let expected = world.sql(
        r#"SELECT string_agg('event:' || id, ' ' ORDER BY 'event:' || id COLLATE "C") FROM (SELECT id FROM "Event"
           WHERE status = 'published' AND "startDate" >= now() AT TIME ZONE 'UTC' AND NOT "isHidden" ORDER BY "ticketsSold" DESC, id LIMIT 50) x"#,
    );
    let keys: Vec<String> = world.keys().into_iter().filter(|key| key.matches(':').count() == 1).collect();
    assert_eq!(keys.join(" "), expected);
    let ttl: i64 = world.ask(&["PTTL", "event:best-seller"]);
    assert!((1_770_000..=1_800_000).contains(&ttl), "{ttl}");
}

#[test]
fn the_ten_lists_are_warm() {
    let world = ran();
    for state in ["Lagos", "Abuja", "Kano", "Rivers", "Oyo", "Kaduna", "Anambra", "Enugu", "Delta", "Edo"] {
        let key = format!("event:list:state:{state}");
        let list = json(&world, &key);
        let ids: Vec<&str> = list.as_array().unwrap().iter().map(|event| event["id"].as_str().unwrap()).collect();
        let expected = world.sql(&format!(
            r#"SELECT string_agg(id, ' ' ORDER BY "startDate", id) FROM (SELECT id, "startDate" FROM "Event" WHERE status = 'published'
               AND "startDate" >= now() AT TIME ZONE 'UTC' AND NOT "isHidden" AND state = '{state}' ORDER BY "startDate", id LIMIT 20) x"#
        ));
        assert_eq!(ids.join(" "), expected, "{state}");
        assert_eq!(ids.len(), 20, "{state}");
        let ttl: i64 = world.ask(&["PTTL", &key]);
        assert!((270_000..=300_000).contains(&ttl), "{ttl}");
    }
    world.sql(r#"DELETE FROM "Event" WHERE state = 'Kano' AND id <> 'best-seller'"#);
    world.warm(&["--now", "event-lists"]).exits(0);
    assert_eq!(world.value("event:list:state:Kano"), Some(format!("[{BEST_SELLER}]")));
    world.sql(r#"DELETE FROM "Event" WHERE state = 'Kano'"#);
    world.warm(&["--now", "event-lists"]).exits(0);
    assert_eq!(world.value("event:list:state:Kano").as_deref(), Some("[]"));
}

#[test]
fn the_leaderboard_is_warm() {
    let world = ran();
    let expected = world.sql(
        r#"SELECT '[' || string_agg(format('{"_count":{"referredUserId":%s},"_sum":{"rewardAmount":%s},"referrerId":"%s"}', n, s, r), ',' ORDER BY n DESC, r) || ']'
           FROM (SELECT "referrerId" AS r, count("referredUserId") AS n, sum("rewardAmount") AS s FROM "Referral" WHERE status = 'completed'
                 GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT 100) x"#,
    );
    let found = world.value("leaderboard:referral:top100").unwrap();
    assert_eq!(found, expected);
    assert_eq!(json(&world, "leaderboard:referral:top100").as_array().unwrap().len(), 100);
    let ttl: i64 = world.ask(&["PTTL", "leaderboard:referral:top100"]);
    assert!((1_770_000..=1_800_000).contains(&ttl), "{ttl}");
}

#[test]
fn a_second_run_over_the_same_rows_gives_the_same_bytes() {
    let world = ran();
    let all = || -> Vec<_> { world.keys().into_iter().map(|key| (world.value(&key), key)).collect() };
    let first = all();
    assert_eq!(first.len(), 61);
    world.warm(&["--now"]).exits(0);
    assert_eq!(all(), first);
}

#[test]
fn the_leaderboard_is_a_sorted_set_if_somebody_wants_it_so() {
    let world = ran();
    let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("jobs/referral-leaderboard.toml");
    let text = fs::read_to_string(file).unwrap();
    let option = &text[text.find("# description =").unwrap()..];
    let lines: Vec<&str> = option.lines().map(|line| line.strip_prefix("# ").unwrap()).collect();
    world.job("referral-ranking", &lines.join("\n"));
    allow(&world, "zset");
    world.warm(&["check"]).exits(0);
    world.warm(&["--now", "referral-ranking"]).exits(0).says("wrote 1 key");
    let expected = world.sql(
        r#"SELECT string_agg(r || ' ' || n, ' ' ORDER BY n DESC, r COLLATE "C" DESC)
           FROM (SELECT "referrerId" AS r, count("referredUserId") AS n FROM "Referral" WHERE status = 'completed' GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT 100) x"#,
    );
    let found: Vec<String> = world.ask(&["ZRANGE", "leaderboard:referral:ranking", "0", "-1", "REV", "WITHSCORES"]);
    assert_eq!(found.join(" "), expected);
    assert_eq!(world.keys().len(), 62);
}

#[test]
fn the_other_types_of_the_documentation_run_against_the_platform() {
    let world = World::platform();
    fs::remove_dir_all(world.folder.path.join("jobs")).unwrap();
    fs::create_dir(world.folder.path.join("jobs")).unwrap();
    for block in example("Other types than strings").split("# jobs/").skip(1) {
        let (name, text) = block.split_once(".toml").unwrap();
        world.job(name, &format!("#{text}"));
    }
    world.warm(&["check", "event-documents"]).exits(1).says("RedisJSON");
    fs::remove_file(world.folder.path.join("jobs/event-documents.toml")).unwrap();
    ["hash", "list", "set", "zset"].iter().for_each(|ty| allow(&world, ty));
    world.warm(&["check"]).exits(0);
    world.warm(&["--now"]).exits(0);
    let same = |found: Vec<String>, expected: &str| {
        assert!(!found.is_empty());
        assert_eq!(found.join(" "), world.sql(expected), "{expected}");
    };
    let card = r#"SELECT title || ' ' || to_char("startDate", 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') FROM "Event" WHERE status = 'published' ORDER BY id LIMIT 1"#;
    let id = world.sql(r#"SELECT id FROM "Event" WHERE status = 'published' ORDER BY id LIMIT 1"#);
    same(world.ask(&["HMGET", &format!("event:card:{id}"), "title", "startDate"]), card);
    let order = r#"SELECT string_agg(id, ' ' ORDER BY "startDate", id) FROM "Event" WHERE state = 'Lagos' AND "startDate" >= now() AT TIME ZONE 'UTC'"#;
    same(world.ask(&["LRANGE", "event:order:Lagos", "0", "-1"]), order);
    let states = r#"SELECT count(DISTINCT state) FROM "Event" WHERE status = 'published'"#;
    same(vec![world.ask(&["SCARD", "event:states"])], states);
    let sales = r#"SELECT string_agg(id || ' ' || n, ' ' ORDER BY n DESC, id COLLATE "C" DESC) FROM
        (SELECT id, "ticketsSold" AS n FROM "Event" WHERE status = 'published' ORDER BY n DESC, id COLLATE "C" DESC LIMIT 10) x"#;
    same(world.ask(&["ZRANGE", "event:sales", "0", "9", "REV", "WITHSCORES"]), sales);
}
