//! The rights of both accounts: too few are an error, too many a warning.

use super::{job, said, world};
use crate::files::compare;
use crate::support::postgres::{ADMIN_PASSWORD, Postgres};
use crate::support::redis::Redis;
use crate::support::world::World;

fn with_a_job() -> World {
    let world = world();
    world.job("things", &job("SELECT id FROM thing", "t:thing:{id}", ""));
    world
}

#[test]
fn the_least_accounts_give_no_cause_for_a_word() {
    let world = with_a_job();
    let ran = world.warm(&["check"]).exits(0);
    compare("check_good", &said(&world, &ran));
}

#[test]
fn a_postgres_account_that_may_do_more_than_read_is_warned_about() {
    let mut world = with_a_job();
    world.set("DATABASE_URL", &world.database.admin_url());
    let superuser = world.warm(&["check"]).exits(0);
    assert!(!superuser.all().contains(ADMIN_PASSWORD));
    world.set("DATABASE_URL", &world.database.url());
    world.sql("GRANT UPDATE ON thing TO warm");
    let writer = world.warm(&["check"]).exits(0);
    compare("check_writers", &format!("{}\n\n{}", said(&world, &superuser), said(&world, &writer)));
}

#[test]
fn a_table_that_may_not_be_read_is_an_error() {
    let world = with_a_job();
    world.sql("REVOKE SELECT ON thing FROM warm");
    let ran = world.warm(&["check"]).exits(3);
    compare("check_no_select", &said(&world, &ran));
}

#[test]
fn an_account_that_postgres_refuses_is_an_error() {
    let mut world = with_a_job();
    let url = world.database.url();
    let wrong = url.replace(crate::support::postgres::PASSWORD_IN_URL, "hunter2");
    for (url, words) in [
        (wrong, "password authentication failed for user \"warm\""),
        (url.replace("warm:", "nobody:"), "password authentication failed for user \"nobody\""),
        (url.replace(&format!("/{}?", world.database.name), "/nothing?"), "database \"nothing\" does not exist"),
    ] {
        world.set("DATABASE_URL", &url);
        let ran = world.warm(&["check"]).exits(3).says(words).says("check user, password, database");
        assert!(!ran.all().contains("hunter2"));
    }
}

#[test]
fn a_redis_account_without_a_right_is_an_error_in_the_servers_words() {
    let mut world = World::of(Postgres::shared().database(), Redis::start(""));
    world.sql(super::TABLE);
    world.job("things", &job("SELECT id FROM thing", "t:thing:{id}", ""));
    world.job("others", &job("SELECT id FROM thing", "t:other:{id}", ""));
    for (rights, said) in [
        ("~t:thing:*", " for keys t:other:*: "),
        ("~* -set", "'set' command"),
        ("~* +set -strlen", "'strlen' command"),
        ("~* +strlen -getrange", "'getrange' command"),
        ("~* +getrange -type", "'type' command"),
        ("~* +type -pttl", "'pttl' command"),
        ("~* +pttl -eval", "'eval' command"),
        ("~* +eval -script|load", "'script|load' command"),
    ] {
        let mut words = vec!["ACL", "SETUSER", "warm", "resetkeys"];
        words.extend(rights.split(' '));
        let _: () = world.ask(&words);
        let ran = world.warm(&["check"]).exits(4).says("error: the Redis account lacks a right").says(said);
        // A lack is said once, though several commands are refused the same keys, and a command several keys.
        assert_eq!(ran.err.matches("error: ").count(), 1, "{rights}: {}", ran.all());
        assert_eq!(ran.err.contains(" for keys "), rights == "~t:thing:*", "{rights}: {}", ran.all());
        ran.says("permissions").says("config/redis-acl.conf");
    }
    // Exactly those keys, with the installation's prefix, are asked about.
    let _: () = world.ask(&["ACL", "SETUSER", "warm", "resetkeys", "~staging:t:thing:*", "~t:*", "+script|load"]);
    world.set("WARM_REDIS__KEY_PREFIX", "staging:");
    let ran = world.warm(&["check"]).exits(4).says("lacks a right for keys staging:t:other:*: ");
    assert!(!ran.all().contains("staging:t:thing:*"), "{}", ran.all());
    world.unset("WARM_REDIS__KEY_PREFIX");
    world.warm(&["check"]).exits(0);
}

#[test]
fn a_redis_account_without_a_right_to_our_own_keys_is_warned_about() {
    let mut world = with_a_job();
    let _: () = world.ask(&["ACL", "SETUSER", "warm", "resetkeys", "~t:*"]);
    let ran = world.warm(&["check"]).exits(0);
    compare("check_own_keys", &said(&world, &ran));
    // Reading them is not enough.
    let _: () = world.ask(&["ACL", "SETUSER", "warm", "resetkeys", "~t:*", "%R~warm:*"]);
    world.warm(&["check"]).exits(0).says("no right to keys warm:*").says("0 errors, 1 warning");
    let _: () = world.ask(&["ACL", "SETUSER", "warm", "resetkeys", "~t:*", "~warm:*", "~staging:t:*"]);
    world.warm(&["check"]).exits(0).says("0 errors, 0 warnings");
    world.set("WARM_REDIS__KEY_PREFIX", "staging:");
    world.warm(&["check"]).exits(0).says("no right to keys staging:warm:*").says("add ~staging:warm:* to the account");
    // A lack that is said of the jobs' keys is not said again.
    world.unset("WARM_REDIS__KEY_PREFIX");
    let _: () = world.ask(&["ACL", "SETUSER", "warm", "-strlen"]);
    world.warm(&["check"]).exits(4).says("1 error, 0 warnings");
}

#[test]
fn an_account_that_may_not_ask_for_info_is_warned_about() {
    let world = with_a_job();
    let _: () = world.ask(&["ACL", "SETUSER", "warm", "-info"]);
    let ran = world.warm(&["check"]).exits(0);
    compare("check_no_info", &said(&world, &ran));
}

#[test]
fn a_redis_account_that_may_do_everything_is_warned_about() {
    let mut world = with_a_job();
    world.set("REDIS_URL", &format!("unix://{}", world.redis.socket()));
    world.warm(&["check"]).exits(0).says("warning: the Redis account may do everything, even empty the server");
}

#[test]
fn an_account_that_redis_refuses_is_an_error() {
    let mut world = with_a_job();
    for url in [
        format!("unix://{}?user=warm&pass=hunter2", world.redis.socket()),
        format!("redis://warm:hunter2@127.0.0.1:{}", world.redis.port),
        format!("redis://nobody:hunter2@127.0.0.1:{}", world.redis.port),
    ] {
        world.set("REDIS_URL", &url);
        let ran = world.warm(&["check"]).exits(4).says("check user and password of REDIS_URL");
        assert!(!ran.all().contains("hunter2"));
    }
    let _: () = world.ask(&["CONFIG", "SET", "requirepass", "needed"]);
    world.set("REDIS_URL", &format!("redis://127.0.0.1:{}", world.redis.port));
    world.warm(&["check"]).exits(4).says("NOAUTH");
}
