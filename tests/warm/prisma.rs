//! An application in Node with Prisma (examples/prisma) and warm take each other's keys for their own.

use std::path::PathBuf;
use std::process::Command;

use crate::support::npm::{example, run};
use crate::support::world::World;

/// The application, with its packages and its client.
fn application() -> PathBuf {
    example("prisma", |home| {
        // It looks for engines that this client does not need.
        let generate = ["prisma", "generate", "--schema", "schema.prisma"];
        let mut npx = Command::new("npx");
        npx.args(generate).current_dir(home).env("DATABASE_URL", "postgresql://nowhere/none");
        run(npx.env("PRISMA_SCHEMA_ENGINE_BINARY", "/bin/true").env("PRISMA_QUERY_ENGINE_LIBRARY", "/bin/true"));
    })
}

#[test]
fn an_application_with_prisma_and_warm_write_the_same_bytes() {
    let home = application();
    let mut world = World::platform();
    world.set("WARM_DEFAULTS__FORMAT", "prisma");
    let app = |what: &str| {
        let mut node = Command::new("node");
        node.args(["app.mjs", what]).current_dir(&home);
        run(node.env("DATABASE_URL", world.database.url()).env("REDIS_URL", format!("unix://{}", world.redis.socket())))
    };
    world.warm(&["--now"]).exits(0);
    assert_eq!(app("read"), "61 hits, 0 misses, 0 hits with other bytes than Prisma's\n");

    let _: () = world.ask(&["FLUSHALL"]);
    let said = app("cache");
    assert!(said.starts_with("0 hits, ") || said.contains(" 0 hits with other bytes"), "{said}");
    let ran = world.warm(&["diff", "--json"]);
    let found: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(found["exit_code"], 0, "{}", ran.out);
    let same = |name: &str| {
        let jobs = found["jobs"].as_array().unwrap();
        let job = jobs.iter().find(|job| job["job"] == name).unwrap();
        job["keys"]["same"].as_u64().unwrap()
    };
    assert_eq!(
        (same("event-lists"), same("referral-leaderboard"), same("event-feed"), same("tickets")),
        (13, 1, 3, 20)
    );
    assert!(same("popular-events") > 100 && same("tickets-of-user") > 1, "{}", ran.out);

    // What does not fit is found: a field that the model does not have.
    let _: () = world.ask(&["SET", "ticket:user:nobody:status:valid", r#"[{"id":"x"}]"#, "EX", "99"]);
    world.warm(&["diff", "tickets-of-user"]).exits(1).says("1 stale").says("should be `[]`");
}

#[test]
fn the_platforms_families_are_filled_by_their_keys() {
    let world = World::platform();
    let one = |sql: &str| world.sql(sql).trim().to_owned();
    let user =
        one("SELECT \"userId\" FROM \"Ticket\" WHERE status = 'valid' GROUP BY 1 ORDER BY count(*) DESC, 1 LIMIT 1");
    let ticket = one("SELECT id FROM \"Ticket\" ORDER BY id LIMIT 1");
    let event =
        one("SELECT \"eventId\" FROM \"Ticket\" WHERE status = 'valid' GROUP BY 1 ORDER BY count(*) DESC, 1 LIMIT 1");
    world.sql(
        "INSERT INTO \"Payment\" (id, \"userId\", \"ticketId\", amount, method, status, provider, reference, \"updatedAt\")
           SELECT 'p' || id, \"userId\", id, 2500, 'card', 'completed', 'x', 'r', now() FROM \"Ticket\" WHERE status = 'valid';
         INSERT INTO \"GroupBuy\" (id, \"eventId\", \"initiatorId\", \"totalParticipants\", \"pricePerPerson\", \"expiresAt\", participants, \"updatedAt\")
           VALUES ('g1', 'e', 'u', 4, 100, now(), '[]', now())",
    );
    let keys = [
        format!("ticket:user:{user}:status:valid"),
        format!("ticket:{ticket}"),
        format!("analytics:{event}"),
        format!("event:{event}"),
        "groupbuy:g1".to_owned(),
        "event:list:state:Lagos:type:concert:page:1".to_owned(),
    ];
    let arguments: Vec<&str> = std::iter::once("fill").chain(keys.iter().map(String::as_str)).collect();
    world.warm(&arguments).exits(0);
    let value = |key: &str| -> serde_json::Value { serde_json::from_str(&world.value(key).unwrap()).unwrap() };
    let tickets = value(&keys[0]);
    assert!(world.value(&keys[0]).unwrap().contains(r#","event":{"id":""#), "nested, and last");
    assert!(tickets.as_array().unwrap().len() > 1 && tickets[0]["event"]["id"] == tickets[0]["eventId"]);
    let analytics = value(&keys[2]);
    assert_eq!(analytics["eventId"], event.as_str());
    assert_eq!(
        analytics["tickets"]["byTier"].as_object().unwrap().values().map(|n| n.as_u64().unwrap()).sum::<u64>(),
        analytics["tickets"]["sold"].as_u64().unwrap()
    );
    assert_eq!(analytics["revenue"].as_u64().unwrap() % 2500, 0);
    assert!(analytics["revenue"].as_u64().unwrap() > 0);
    let life = |key: &str| world.ask::<i64>(&["TTL", key]);
    assert!(
        (290..=300).contains(&life(&keys[1]))
            && (1790..=1800).contains(&life(&keys[2]))
            && (290..=300).contains(&life("groupbuy:g1"))
    );
    let payment = one("SELECT id FROM \"Payment\" ORDER BY id LIMIT 1");
    world.warm(&["fill", &format!("payment:{payment}")]).exits(0).says("lives 1m");
    world
        .warm(&["diff"])
        .exits(1)
        .says("payments: 1 key as in the database")
        .says("analytics: 1 key as in the database");
}
