//! What the database says about a job's query, its key and its values.

use super::{findings, job, said, world};
use crate::files::compare;
use crate::support::world::World;

/// Checks one job after the other and compares what is said about all of them.
fn checked(world: &World, name: &str, cases: &[(&str, String)]) {
    let mut text = String::new();
    for (title, job) in cases {
        world.job("job", job);
        let ran = world.warm(&["check"]);
        text += &format!("━━━ {title}\n{}\n\n", findings(&said(world, &ran)));
    }
    compare(name, &text);
}

#[test]
fn a_query_that_does_not_fit_the_database_is_shown_with_its_line() {
    let world = world();
    checked(
        &world,
        "check_queries",
        &[
            ("good", job("SELECT id FROM thing", "t:{id}", "")),
            ("a missing column", job("\n  SELECT id,\n    nope\n  FROM thing", "t:{id}", "")),
            ("a missing table", job("SELECT id FROM nothing", "t:{id}", "")),
            ("a missing function", job("SELECT nope(id) AS id FROM thing", "t:{id}", "")),
            ("a syntax error", job("SELECT id\nFROM thing\nWHERE", "t:{id}", "")),
            ("question marks", job("SELECT id FROM thing WHERE slug = ?", "t:{id}", "")),
            (
                "a query that writes",
                job("WITH gone AS (DELETE FROM thing RETURNING id) SELECT id FROM gone", "t:{id}", ""),
            ),
            ("a type that the format does not know", job("SELECT id, period FROM thing", "t:{id}", "")),
            ("the same, hidden", job("SELECT id, period FROM thing", "t:{id}", "hide = ['period']")),
            ("the same inside a row", job("SELECT id, t AS thing FROM thing t", "t:{id}", "")),
            ("a hidden column that is none", job("SELECT id FROM thing", "t:{id}", "hide = ['nope']")),
            ("a value that is no column", job("SELECT id FROM thing", "t:{id}", "").replace("'row'", "'column:nope'")),
            ("the same name twice", job("SELECT id, slug AS id FROM thing", "t:{id}", "")),
        ],
    );
}

#[test]
fn a_key_needs_columns_that_can_stand_in_it() {
    let world = world();
    world.sql("CREATE VIEW seen AS SELECT id, slug FROM thing");
    checked(
        &world,
        "check_keys",
        &[
            ("a column that is not there", job("SELECT id FROM thing", "t:{slug}", "")),
            ("a column of a type without an obvious text", job("SELECT id, price FROM thing", "t:{price}", "")),
            ("a column that may be NULL", job("SELECT slug FROM thing", "t:{slug}", "")),
            ("the same, with a name that needs quotes", job("SELECT \"ownerId\" FROM thing", "t:{ownerId}", "")),
            ("the same, where such rows are skipped", job("SELECT slug FROM thing", "t:{slug}", "on_bad_row = 'skip'")),
            ("an expression", job("SELECT upper(slug) AS slug FROM thing", "t:{slug}", "")),
            ("a column of a view", job("SELECT id FROM seen", "t:{id}", "")),
            ("columns that are never NULL", job("SELECT id, mood FROM thing", "t:{id}:{mood}", "")),
        ],
    );
}

#[test]
fn parameters_have_values_that_suit_their_types() {
    let world = world();
    let by_id =
        |values: &str| job("SELECT slug FROM thing WHERE id = :id", "t:{id}", &format!("for_each.id = {values}"));
    checked(
        &world,
        "check_parameters",
        &[
            ("a text for a number", by_id("['many']")),
            ("the third of them", by_id("[1, 2, 'many']")),
            (
                "one of an enum",
                job("SELECT id FROM thing WHERE mood = :mood", "t:{mood}:{id}", "for_each.mood = ['happy', 'sad']"),
            ),
            (
                "one of an array",
                job("SELECT id FROM thing WHERE id = ANY(:ids)", "t:{id}", "for_each.ids = [1, 'many']"),
            ),
            (
                "one that the key does not tell apart",
                job("SELECT id FROM thing WHERE slug = :x", "t:all", "for_each.x = ['one', 'two']"),
            ),
            ("a type that cannot be told", job("SELECT :x AS x, id FROM thing", "t:{id}", "for_each.x = ['a']")),
            (
                "a value in which the key's text stands",
                job(
                    "SELECT id FROM thing WHERE slug = :a AND id = :b",
                    "t:{a}:id:{b}",
                    "[for_each]\na = ['x', 'x:id:y']\nb = [1]",
                ),
            ),
            (
                "a value that makes too long a key",
                by_id(&format!("['{}']", "1".repeat(1100))).replace("id = :id", "slug = :id"),
            ),
        ],
    );
}

#[test]
fn a_query_of_values_works_and_gives_some() {
    let world = world();
    let by = |query: &str| {
        job("SELECT id FROM thing WHERE slug = :x", "t:{x}:{id}", &format!("for_each.x = {{ query = \"{query}\" }}"))
    };
    checked(
        &world,
        "check_values",
        &[
            ("good", by("SELECT slug FROM thing")),
            ("a missing table", by("SELECT slug FROM nothing")),
            ("two columns", by("SELECT id, slug FROM thing")),
            ("a NULL", by("SELECT \\\"ownerId\\\" FROM thing")),
            ("nothing", by("SELECT slug FROM thing WHERE false")),
            ("a type without an obvious text", by("SELECT price FROM thing")),
            ("too many", by("SELECT generate_series(1, 10001)::text")),
        ],
    );
}

#[test]
fn a_query_that_would_change_or_lock_rows_is_refused_even_where_the_account_may() {
    let world = world();
    world.sql("GRANT DELETE, UPDATE ON thing TO warm");
    let gone = "WITH gone AS (DELETE FROM thing RETURNING id) SELECT id FROM gone";
    for (query, step) in [(gone, "Delete on thing"), ("SELECT id FROM thing FOR UPDATE", "LockRows")] {
        world.job("job", &job(query, "t:{id}", ""));
        world.warm(&["check"]).exits(1).says(&format!("the query does not only read: its plan has `{step}`"));
        world.warm(&["--now"]).exits(1).says("read-only transaction");
    }
}

#[test]
fn what_is_different_at_each_reading_is_found_wherever_it_is_called() {
    let world = world();
    world.sql(
        "ALTER TABLE thing ADD at timestamptz; CREATE VIEW lucky AS SELECT id, random() AS luck FROM thing WHERE at < now();
         CREATE FUNCTION changing(int) RETURNS int LANGUAGE plpgsql AS 'BEGIN RETURN $1; END';
         CREATE FUNCTION fixed(int) RETURNS int STABLE LANGUAGE plpgsql AS 'BEGIN RETURN $1; END';
         CREATE FUNCTION random(text) RETURNS text IMMUTABLE LANGUAGE plpgsql AS 'BEGIN RETURN $1; END';
         CREATE SCHEMA \"Odd\"; GRANT USAGE ON SCHEMA \"Odd\" TO PUBLIC;
         CREATE FUNCTION \"Odd\".fixed(int) RETURNS int LANGUAGE plpgsql AS 'BEGIN RETURN $1; END'",
    );
    let now = "SELECT id FROM thing\nWHERE at < now()";
    let luck = "SELECT id, random() AS luck FROM thing";
    checked(
        &world,
        "check_changing",
        &[
            ("random()", job("\n  SELECT id,\n    random() AS luck\n  FROM thing", "t:{id}", "")),
            ("only to sort", job("SELECT id FROM thing ORDER BY gen_random_uuid() LIMIT 1", "t:{id}", "")),
            ("the time", job(now, "t:{id}", "")),
            ("the time as a word", job("SELECT id, CURRENT_TIMESTAMP::text AS at FROM thing", "t:{id}", "")),
            (
                "the time of day",
                job("SELECT id, clock_timestamp()::text AS at, LOCALTIME(0)::text AS l FROM thing", "t:{id}", ""),
            ),
            ("in a view", job("SELECT * FROM lucky", "t:{id}", "")),
            ("a function of one's own", job("SELECT changing(1) AS x, id FROM thing", "t:{id}", "")),
            ("of another schema", job("SELECT \"Odd\".fixed(1) AS x, id FROM thing", "t:{id}", "")),
            ("the same in the format postgres", job(luck, "t:{id}", "format = 'postgres'")),
            ("a stable one", job("SELECT fixed(1) AS x, id FROM thing", "t:{id}", "")),
            ("the date", job("SELECT id FROM thing WHERE at < CURRENT_DATE", "t:{id}", "")),
            ("the run's time", job("SELECT id, :now AS at FROM thing WHERE at < :now", "t:{id}", "")),
            ("a text", job("SELECT id, 'now()' AS x, $$random()$$ AS \"now()\" FROM thing -- now()", "t:{id}", "")),
            ("what gives nothing", job("SELECT id, pg_sleep(1)::text AS x FROM thing", "t:{id}", "")),
            ("nothing is verified", job(luck, "t:{id}", "verify = 'none'")),
            ("only a version is", job(luck, "t:{id}", "verify = { version = 'id' }")),
        ],
    );
}

#[test]
fn each_job_is_checked_although_another_one_is_wrong() {
    let world = world();
    world.job("a", &job("SELECT nope FROM thing", "t:a:{nope}", ""));
    world.job("b", &job("SELECT slug FROM thing", "t:b:{slug}", ""));
    world.job("c", &job("SELECT id, period FROM thing", "t:c:{id}", ""));
    let ran = world.warm(&["check"]);
    compare("check_several", &said(&world, &ran));
}

#[test]
fn a_row_that_would_render_another_jobs_key_is_found_where_it_is_known() {
    let world = world();
    world.job(
        "all",
        &job("SELECT id FROM thing", "t:{slug}", "for_each.slug = ['list:one']")
            .replace("thing", "thing WHERE slug = :slug"),
    );
    world.job("lists", &job("SELECT id FROM thing", "t:list:{id}", ""));
    world.warm(&["check"]).exits(1).says("`t:list:one` belongs to the job `lists`");
}
