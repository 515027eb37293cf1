//! Following the database where something stands between, or where it goes away.

use std::fs::File;
use std::process::{Child, Stdio};

use crate::bouncer::PgBouncer;
use crate::support::postgres::Postgres;
use crate::support::redis::Redis;
use crate::support::server::wait_for;
use crate::support::world::{CONFIG, World};

const CHANGES: &str = "[invalidate.all]\nkeys = ['t:{id}']\n[changes]\nchannel = 'warm_test'\n";
const JOB: &str = "schedule = '@yearly'\ncatch_up = 'none'\nquery = 'SELECT 1 AS id'\nkey = 't:{id}'\nvalue = 'row'";

/// A process that ends with the test, however that ends.
struct Ends(Child);

impl Drop for Ends {
    fn drop(&mut self) {
        // One that has ended is left alone.
        let _ = self.0.kill().and_then(|()| self.0.wait());
    }
}

/// A service that follows the database, until it is dropped.
fn serve(world: &World) -> Ends {
    serve_with(world, CHANGES)
}

fn serve_with(world: &World, changes: &str) -> Ends {
    world.config(&format!("{CONFIG}{changes}"));
    world.job("job", JOB);
    let log = File::create(world.folder.path.join("log")).unwrap();
    let mut program = world.program(&["serve"]);
    Ends(program.env("WARM_LOG", "info").stdout(Stdio::null()).stderr(log).spawn().unwrap())
}

fn wait_until_it_says(world: &World, text: &str, times: usize) {
    let log = || std::fs::read_to_string(world.folder.path.join("log")).unwrap();
    wait_for(text, || (log().matches(text).count() >= times).then_some(()));
}

/// A change, told by the application, reaches its key.
fn follows(world: &World) {
    let _: () = world.ask(&["SET", "t:7", "x"]);
    wait_for("the deletion", || {
        // One that is told while nobody listens is lost, which is not the question here.
        world.sql("NOTIFY warm_test, 'all id=7'");
        world.value("t:7").is_none().then_some(())
    });
}

#[test]
fn a_pooler_of_transactions_hands_no_message_on_and_is_found_out() {
    let mut world = World::new();
    let direct = world.database.url();
    let bouncer = PgBouncer::before(&world.database, 3);
    world.set("DATABASE_URL", &format!("{}?pgbouncer=true", world.database.tcp_url(bouncer.port)));
    let service = serve(&world);
    wait_until_it_says(&world, "a pooler stands between that hands no messages on", 1);
    drop(service);
    // The database itself is named, for this alone.
    world.set("DATABASE_PRIMARY_URL", &direct);
    let _service = serve(&world);
    wait_until_it_says(&world, "listening for changes on the channel warm_test", 1);
    follows(&world);
}

#[test]
fn a_pooler_of_transactions_would_share_the_session_that_reads_a_slot_and_is_found_out() {
    let postgres = Postgres::start(&["wal_level=logical", "max_slot_wal_keep_size=1GB"]);
    let mut world = World::of(postgres.database(), Redis::start(""));
    let direct = world.database.url();
    world.sql("ALTER ROLE warm REPLICATION; CREATE TABLE item (id int PRIMARY KEY)");
    let bouncer = PgBouncer::before(&world.database, 3);
    world.set("DATABASE_URL", &format!("{}?pgbouncer=true", world.database.tcp_url(bouncer.port)));
    let slot = "[invalidate.all]\nkeys = ['t:{id}']\n[changes]\nslot = 'warm_test'\n[changes.tables]\nitem = ['all id={id}']\n";
    let install = |world: &World| {
        let file = world.folder.path.join("install.sql");
        std::fs::write(&file, world.warm(&["changes", "install", "--print"]).exits(0).out).unwrap();
        world.database.psql(&["-f", file.to_str().unwrap()]);
    };
    let service = serve_with(&world, slot);
    install(&world);
    wait_until_it_says(&world, "a pooler stands before PostgreSQL that shares its sessions", 1);
    drop(service);
    world.set("DATABASE_PRIMARY_URL", &direct);
    let _service = serve_with(&world, slot);
    wait_until_it_says(&world, "following changes through the slot warm_test", 1);
    let _: () = world.ask(&["SET", "t:7", "x"]);
    world.sql("INSERT INTO item VALUES (7)");
    wait_for("the deletion", || world.value("t:7").is_none().then_some(()));
}

#[test]
fn a_pooler_of_sessions_does() {
    let mut world = World::new();
    let bouncer = PgBouncer::by("session", &world.database, 5);
    world.set("DATABASE_URL", &world.database.tcp_url(bouncer.port));
    let _service = serve(&world);
    wait_until_it_says(&world, "listening for changes on the channel warm_test", 1);
    follows(&world);
}

#[test]
fn a_standby_sends_no_messages_and_its_primary_does() {
    let primary = Postgres::start(&[]);
    let written = primary.database();
    let standby = primary.standby(&[]);
    let read = standby.named(&written.name);
    wait_for("the database", || read.try_sql("SELECT 1").ok());
    let mut world = World::of(read, Redis::start(""));
    let service = serve(&world);
    wait_until_it_says(&world, "PostgreSQL is a standby, which sends no messages", 1);
    drop(service);
    world.set("DATABASE_PRIMARY_URL", &written.url());
    let _service = serve(&world);
    wait_until_it_says(&world, "listening for changes on the channel warm_test", 1);
    let _: () = world.ask(&["SET", "t:7", "x"]);
    wait_for("the deletion", || {
        written.sql("NOTIFY warm_test, 'all id=7'");
        world.value("t:7").is_none().then_some(())
    });
}

#[test]
fn a_database_that_was_started_again_is_heard_again() {
    let mut postgres = Postgres::start(&[]);
    let world = World::of(postgres.database(), Redis::start(""));
    let _service = serve(&world);
    wait_until_it_says(&world, "job: done", 1);
    world.sql("CREATE TABLE t (x int)");
    postgres.server.end();
    postgres.start_again();
    wait_until_it_says(&world, "changes of the database are not heard", 1);
    wait_until_it_says(&world, "listening for changes on the channel warm_test", 2);
    follows(&world);
}
