//! What a job writes.

use crate::support::world::World;

const TABLE: &str = "CREATE TABLE thing (id int PRIMARY KEY, kind text NOT NULL, name text, price numeric(8, 2), at timestamp(3));
    INSERT INTO thing VALUES (1, 'a', 'one', 1.50, '2026-01-02 03:04:05.678'), (2, 'b', 'two', NULL, NULL), (3, 'a', 'three', 3, '2026-01-01')";

const ROW: &str = "query = 'SELECT * FROM thing ORDER BY id'\nkey = 't:{id}'\nvalue = 'row'\n";

fn things() -> World {
    let world = World::new();
    world.sql(TABLE);
    world
}

#[test]
fn a_row_becomes_a_key() {
    let world = things();
    world.job("things", ROW);
    let ran = world.warm(&["--now"]).exits(0);
    assert!(ran.out.starts_with("things: wrote 3 keys ("), "{}", ran.all());
    assert_eq!(
        world.value("t:1").as_deref(),
        Some(r#"{"id":1,"kind":"a","name":"one","price":"1.5","at":"2026-01-02T03:04:05.678Z"}"#)
    );
    assert_eq!(world.value("t:2").as_deref(), Some(r#"{"id":2,"kind":"b","name":"two","price":null,"at":null}"#));
    assert_eq!(world.keys(), ["t:1", "t:2", "t:3"]);
    let ttl: i64 = world.ask(&["PTTL", "t:1"]);
    assert!((590_000..=600_000).contains(&ttl), "{ttl}");
}
