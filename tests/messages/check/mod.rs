//! `warm check` with servers: what it says about jobs, accounts and servers, its exit code, and that it changes nothing.

mod accounts;
mod history;
mod jobs;
mod report;
mod servers;

use crate::support::world::{Ran, World};

/// A table with a column of each kind that matters to a check.
const TABLE: &str = "CREATE TYPE \"Mood\" AS ENUM ('happy', 'so-so');
    CREATE TABLE thing (id bigint PRIMARY KEY, slug text, \"ownerId\" text, price numeric(8, 2) NOT NULL, period tsrange, mood \"Mood\" NOT NULL,
      UNIQUE (slug));
    INSERT INTO thing VALUES (1, 'one', 'a', 1.5, NULL, 'happy'), (2, 'two', NULL, 2, NULL, 'so-so')";

/// A world with the table, whose Redis gives a check nothing to say.
fn world() -> World {
    let world = World::new();
    world.sql(TABLE);
    let _: () = world.ask(&["CONFIG", "SET", "maxmemory", "1gb", "maxmemory-policy", "allkeys-lru"]);
    world
}

/// A job with this query and key, on a schedule that its keys outlive.
fn job(query: &str, key: &str, more: &str) -> String {
    format!("query = '''{query}'''\nkey = '{key}'\nvalue = 'row'\nschedule = 'every 8m'\n{more}\n")
}

/// What a check says, without what differs from machine to machine: versions, paths, bytes in use.
fn said(world: &World, ran: &Ran) -> String {
    let mut text = format!("{}{}(exit {})", ran.out, ran.err, ran.code);
    for (found, shown) in [
        (world.sql("SHOW server_version"), "VERSION"),
        (info(world, "redis_version"), "VERSION"),
        (world.redis.socket(), "SOCKET"),
        (world.database.host.clone(), "FOLDER"),
        (format!("/{}", world.database.name), "/DATABASE"),
    ] {
        text = text.replace(&found, shown);
    }
    text = text.lines().map(masked).collect::<Vec<_>>().join("\n");
    if let Some((before, after)) = text.split_once(" in use") {
        let before = before.rsplit_once(", ").unwrap().0;
        text = format!("{before}, MEMORY in use{after}");
    }
    text
}

/// What is about a job's size, without the planner's figures.
fn masked(line: &str) -> String {
    match line.split_once(": writes about ") {
        Some((job, _)) => format!("{job}: writes about COUNT, SIZE"),
        None => line.to_owned(),
    }
}

/// The findings of a check with their counts, without the facts before them.
fn findings(said: &str) -> String {
    let lines = said.lines().skip_while(|line| !line.starts_with("Redis ")).skip(1);
    lines.filter(|line| !line.contains(": writes about ")).collect::<Vec<_>>().join("\n")
}

/// A field of `INFO`.
fn info(world: &World, field: &str) -> String {
    let info: String = world.ask(&["INFO"]);
    let line = info.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':').map(str::to_owned));
    line.unwrap().trim().to_owned()
}
