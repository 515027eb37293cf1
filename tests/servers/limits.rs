//! What is bounded on both sides: connections, memory, values, time.

use crate::support::server::wait_for;
use crate::support::world::{Ran, World, ask};

/// Over TCP the refusal is read before the password was; over a unix socket the connection is just closed.
#[test]
fn clients_beyond_redis_limit_are_waited_out_over_tcp_too() {
    let mut world = World::new();
    world.job("job", "query = 'SELECT 1 AS x'\nkey = 't:x'\nvalue = 'rows'");
    world.set("WARM_REDIS__CONNECT_TIMEOUT", "20s");
    let url = world.redis.tcp_url(world.redis.port);
    world.set("REDIS_URL", &url);
    let mut admin = world.redis.connect();
    let _: () = ask(&mut admin, &["CONFIG", "SET", "maxclients", "1"]);
    let child = world.start(&["--now"]);
    wait_for("a refused client", || {
        let info: String = ask(&mut admin, &["INFO", "stats"]);
        (!info.contains("rejected_connections:0")).then_some(())
    });
    let _: () = ask(&mut admin, &["CONFIG", "SET", "maxclients", "100"]);
    Ran::of(child.wait_with_output().unwrap()).exits(0).says("wrote 1 key");
}
