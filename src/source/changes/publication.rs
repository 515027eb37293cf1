//! The publication that says of which tables changes come through the slot: what is sent to the server, and what is there.
//!
//! The server names a row that was by its replica identity, the primary key unless it is told otherwise. Where a set needs other columns, `install` has the server log all of them (`REPLICA IDENTITY FULL`), before the table is published: a table
//! without any identity could not be updated any more. (So none is with partitions and without a primary key, which those inherit that are made later.) What it was before is noted in the publication's comment, which also says that it is ours, and `remove` sets it back.

use sqlx::AssertSqlSafe;
use sqlx::postgres::{PgArguments, PgConnection, PgRow};

use super::install::{Installed, PATIENCE, Problem, SlotFound, Step, Table, Weight, ask, get, quoted, with};
use crate::ground::changes::{Slot, Watched};
use crate::ground::error::Error;
use crate::ground::show::human_bytes;
use crate::ground::sql::{dollar_quote, quote_identifier, quote_literal};

/// How long a table's lock is waited for: whoever writes to the table waits behind it.
const LOCK: &str = "PERFORM pg_catalog.set_config('lock_timeout', '5s', true);";

/// What is there of a publication.
#[derive(Debug)]
pub(super) struct Found {
    /// Whether there is one of ours.
    pub(super) is_there: bool,
    /// Whether the server is a standby.
    pub(super) standby: bool,
    /// Something that is the same as long as the same changes are told in the same way.
    pub(super) shape: String,
    /// The tables' numbers, in the order of the configuration; 0 where there is no such table.
    pub(super) oids: Vec<u32>,
    /// Whether their rows that were are told with all columns that are needed.
    pub(super) tell_all: Vec<bool>,
    pub(super) tables: Vec<Table>,
}

/// Columns by which the server names a row that was, of each table that has a word in it: itself, and its partitions.
const KEY: &str = "(SELECT array_agg(a.attname::text) FROM pg_catalog.pg_index i JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey[:i.indnkeyatts - 1]) \
     WHERE i.indrelid = leaf.oid AND CASE leaf.relreplident WHEN 'd' THEN i.indisprimary WHEN 'i' THEN i.indisreplident ELSE false END)";

/// Asks of each table (schema, empty for the search path; name; columns as an array's text).
fn found() -> String {
    format!(
        "SELECT coalesce(c.oid::int8, 0) AS oid, pg_catalog.pg_is_in_recovery() AS standby, \
           EXISTS (SELECT FROM pg_catalog.pg_publication_rel r JOIN pg_catalog.pg_publication p ON p.oid = r.prpubid WHERE p.pubname = $4 AND r.prrelid = c.oid AND {AS_A_WHOLE}) AS published, \
           EXISTS (SELECT FROM ({LEAVES}) leaf WHERE leaf.relreplident <> 'f' AND {KEY} IS NULL) AS nameless, \
           NOT EXISTS (SELECT FROM ({LEAVES}) leaf WHERE leaf.relreplident <> 'f' AND NOT coalesce({KEY}, '{{}}') @> t.columns::text[]) AS named, \
           ARRAY(SELECT a.attname::text FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '') AS columns, \
           EXISTS (SELECT FROM pg_catalog.pg_publication p WHERE p.pubname = $4 AND {OURS}) AS ours, \
           pg_catalog.md5(concat_ws(' ', (SELECT system_identifier FROM pg_catalog.pg_control_system()), current_database(), \
             (SELECT concat_ws(' ', p.oid, p.xmin, (SELECT string_agg(concat_ws(' ', r.oid, r.xmin), ',' ORDER BY r.oid) FROM pg_catalog.pg_publication_rel r WHERE r.prpubid = p.oid)) FROM pg_catalog.pg_publication p WHERE p.pubname = $4), \
             c.oid, (SELECT string_agg(concat_ws(' ', a.attname, a.atttypid, a.attgenerated), ',' ORDER BY a.attnum) FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid AND a.attname = ANY (t.columns::text[])), (SELECT string_agg(concat_ws(' ', leaf.oid, leaf.relreplident), ',' ORDER BY leaf.oid) FROM ({LEAVES}) leaf))) AS shape \
         FROM unnest($1::text[], $2::text[], $3::text[]) WITH ORDINALITY AS t (schema, name, columns, place) \
         LEFT JOIN LATERAL (SELECT c.* FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
           WHERE c.relname = t.name AND c.relkind IN ('r', 'p') AND CASE t.schema WHEN '' THEN pg_catalog.pg_table_is_visible(c.oid) ELSE n.nspname = t.schema END) c ON true \
         LEFT JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace ORDER BY t.place"
    )
}

/// A table `c` and its partitions, on all levels.
const LEAVES: &str = "SELECT l.oid, l.relreplident FROM pg_catalog.pg_class l WHERE l.relkind IN ('r', 'p') AND (l.oid = c.oid OR l.oid IN (SELECT relid FROM pg_catalog.pg_partition_tree(c.oid)))";

/// Whether a publication `p` tells all of a table `r`: filters and lists of columns are of PostgreSQL 15 and later.
const AS_A_WHOLE: &str = "p.pubinsert AND p.pubupdate AND p.pubdelete AND p.pubtruncate AND p.pubviaroot AND to_jsonb(r)->>'prqual' IS NULL AND to_jsonb(r)->>'prattrs' IS NULL";

/// Whether a publication `p` is ours.
const OURS: &str = "pg_catalog.obj_description(p.oid, 'pg_publication') LIKE 'warm changes: %'";

/// Looks at the publication, and at the tables.
///
/// # Errors
/// What the server says.
pub(super) async fn find(link: &mut PgConnection, tables: &[Watched], name: &str) -> Result<Found, Error> {
    let schemas: Vec<_> = tables.iter().map(|table| table.schema.clone().unwrap_or_default()).collect();
    let names: Vec<_> = tables.iter().map(|table| table.table.clone()).collect();
    let columns: Vec<_> = tables.iter().map(array).collect();
    let arguments = with(with(with(with(PgArguments::default(), schemas)?, names)?, columns)?, name.to_owned())?;
    let rows = ask(link, AssertSqlSafe(found()), arguments, PATIENCE).await?;
    let is_there = rows.first().map_or(Ok(false), |row| get(row, "ours"))?;
    let table = |(row, watched): (&PgRow, &Watched)| {
        if get::<i64>(row, "oid")? == 0 {
            return Ok(Table { state: Installed::NoTable, problem: Some(Problem::no_table(watched)) });
        }
        let (is_published, is_named, columns): (bool, bool, Vec<String>) =
            (get(row, "published")?, get(row, "named")?, get(row, "columns")?);
        let is_nameless: bool = get(row, "nameless")?;
        let (is_published, name) = (is_there && is_published, watched.name());
        let problem = Problem::of_columns(watched, &columns, ", or a generated one, which is not told");
        let state = match (is_published, is_named && !is_nameless && problem.is_none()) {
            (false, _) => Installed::No,
            (true, false) => Installed::Outdated,
            (true, true) => Installed::Yes,
        };
        let problem = problem.or_else(|| match state {
            Installed::No => Some(Problem::to_install(format!("{name} is not published"))),
            Installed::Outdated if is_nameless => Some(Problem::to_install(format!(
                "{name} cannot be updated any more: it is published, and nothing names its rows (its primary key is gone)"
            ))),
            Installed::Outdated => {
                Some(Problem::to_install(format!("{name} does not tell all columns of a row that was")))
            }
            Installed::Yes | Installed::NoTable => None,
        });
        Ok(Table { state, problem })
    };
    Ok(Found {
        is_there,
        standby: rows.first().map_or(Ok(false), |row| get(row, "standby"))?,
        shape: rows.iter().map(|row| get(row, "shape")).collect::<Result<Vec<String>, _>>()?.join(" "),
        oids: rows
            .iter()
            .map(|row| Ok(u32::try_from(get::<i64>(row, "oid")?).unwrap_or(0)))
            .collect::<Result<_, Error>>()?,
        tell_all: rows.iter().map(|row| get(row, "named")).collect::<Result<_, _>>()?,
        tables: rows.iter().zip(tables).map(table).collect::<Result<_, Error>>()?,
    })
}

/// What is wrong with the server or the slot; the slot, if there is one; and whether this account may read it.
///
/// # Errors
/// What the server says.
pub(super) async fn slot_of(
    link: &mut PgConnection,
    slot: &Slot,
) -> Result<(Vec<Problem>, Option<SlotFound>, bool), Error> {
    const SERVER: &str = "SELECT current_setting('wal_level') AS level, current_setting('max_slot_wal_keep_size') AS most, \
         (SELECT setting::int8 FROM pg_catalog.pg_settings WHERE name = 'max_slot_wal_keep_size') AS most_megabytes, \
         (SELECT rolsuper OR rolreplication FROM pg_catalog.pg_roles WHERE rolname = current_user) AS may_read";
    const SLOT: &str = "SELECT coalesce(pg_catalog.pg_current_wal_lsn() - restart_lsn, 0)::int8 AS kept, coalesce(wal_status, 'lost') AS status \
         FROM pg_catalog.pg_replication_slots WHERE slot_name = $1";
    let server = ask(link, SERVER, PgArguments::default(), PATIENCE).await?;
    let rows = ask(link, SLOT, with(PgArguments::default(), slot.name.clone())?, PATIENCE).await?;
    let Some(server) = server.first() else { return Ok((Vec::new(), None, true)) };
    let (most, megabytes): (String, i64) = (get(server, "most")?, get(server, "most_megabytes")?);
    let found = |row: &PgRow| {
        let kept = get::<i64>(row, "kept")?.cast_unsigned();
        Ok(SlotFound { kept, status: get(row, "status")?, most: most.clone() })
    };
    let found: Option<SlotFound> = rows.first().map(found).transpose()?;
    let mut problems = Vec::new();
    if get::<String>(server, "level")? != "logical" {
        let way_out =
            "let wal_level be logical, which takes a restart of PostgreSQL; or have changes told on a `channel`";
        problems.push(Problem::new(
            Weight::Bars,
            "PostgreSQL does not log enough for a replication slot (wal_level)",
            way_out,
        ));
    }
    let limit = u64::try_from(megabytes).ok().map(|megabytes| megabytes << 20);
    match limit {
        None => {
            let way_out = "as a superuser: ALTER SYSTEM SET max_slot_wal_keep_size = '4GB'; SELECT pg_reload_conf()";
            problems.push(Problem::new(
                Weight::Bars,
                "a slot that nobody reads would fill the disk of PostgreSQL",
                way_out,
            ));
        }
        Some(limit) if limit < slot.limit => {
            let what = format!(
                "slot_limit ({}) does nothing: PostgreSQL gives the slot up before that, at {most} (max_slot_wal_keep_size)",
                human_bytes(slot.limit)
            );
            problems.push(Problem::new(
                Weight::Unwise,
                what,
                "lower slot_limit in [changes], or raise max_slot_wal_keep_size",
            ));
        }
        Some(_) => {}
    }
    if found.as_ref().is_some_and(|found| found.status == "lost") {
        let way_out = "`warm serve` makes it anew, and takes everything for changed; raise max_slot_wal_keep_size if it was too little";
        problems.push(Problem::new(
            Weight::Open,
            format!("PostgreSQL has given the slot {} up, since it kept too much", slot.name),
            way_out,
        ));
    }
    Ok((problems, found, get(server, "may_read")?))
}

/// The columns that a table is asked for, as an array's text.
fn array(watched: &Watched) -> String {
    let quoted = |name: &&str| format!("\"{}\"", name.replace('\\', "\\\\").replace('"', "\\\""));
    format!("{{{}}}", watched.columns().iter().map(quoted).collect::<Vec<_>>().join(","))
}

/// The steps that install everything: none does anything where its work is done already.
pub(super) fn install(name: &str, tables: &[Watched]) -> Vec<Step> {
    let identities = tables.iter().map(|watched| identity(watched, name));
    let steps = [begin(name)].into_iter().chain(identities).chain([publish(tables, name)]).map(Step::Transaction);
    // After the publication, which it would not find in the log otherwise.
    steps.chain([Step::Alone(make_slot(name))]).collect()
}

/// The publication, without tables yet; and what the server has to be set to.
fn begin(name: &str) -> String {
    let (literal, identifier) = (quote_literal(name), quote_identifier(name));
    let body = format!(
        "\n\
         BEGIN\n\
         \x20 IF current_setting('wal_level') <> 'logical' THEN\n\
         \x20   RAISE EXCEPTION 'PostgreSQL does not log enough for a replication slot' USING HINT = 'wal_level = logical, and a restart, make it do so; channel in [changes] needs neither';\n\
         \x20 END IF;\n\
         \x20 IF current_setting('max_slot_wal_keep_size') = '-1' THEN\n\
         \x20   RAISE EXCEPTION 'a slot that nobody reads would fill the disk of PostgreSQL' USING HINT = 'as a superuser: ALTER SYSTEM SET max_slot_wal_keep_size = ''4GB''; SELECT pg_reload_conf();';\n\
         \x20 END IF;\n\
         \x20 IF NOT EXISTS (SELECT FROM pg_catalog.pg_publication WHERE pubname = {literal}) THEN\n\
         \x20   CREATE PUBLICATION {identifier} WITH (publish = 'insert, update, delete, truncate', publish_via_partition_root = true);\n\
         \x20   COMMENT ON PUBLICATION {identifier} IS 'warm changes: {{}}';\n\
         \x20 ELSIF NOT EXISTS (SELECT FROM pg_catalog.pg_publication p WHERE pubname = {literal} AND {OURS}) THEN\n\
         \x20   RAISE EXCEPTION 'the publication {name} is none of warm' USING HINT = 'let slot in [changes] name another one';\n\
         \x20 END IF;\n\
         END "
    );
    format!("DO {};\n", dollar_quote(&body))
}

/// Has the server log all columns of a table's rows, if it would not log those that are needed.
fn identity(watched: &Watched, name: &str) -> String {
    let identifier = quote_identifier(name);
    let body = format!(
        "\n\
         DECLARE one record; was text; note jsonb;\n\
         BEGIN\n\
         \x20 {LOCK}\n\
         \x20 IF EXISTS (SELECT FROM pg_catalog.pg_class c WHERE c.oid = {literal}::regclass AND c.relkind = 'p' AND NOT EXISTS (SELECT FROM pg_catalog.pg_index i WHERE i.indrelid = c.oid AND i.indisprimary)) THEN\n\
         \x20   RAISE EXCEPTION '% has partitions and no primary key: those that are made later could not be updated any more', {literal} USING HINT = 'give it a primary key, or have its changes told on a channel';\n\
         \x20 END IF;\n\
         \x20 FOR one IN SELECT leaf.oid, leaf.oid::regclass AS name, leaf.relreplident FROM pg_catalog.pg_class c, LATERAL ({LEAVES}) leaf\n\
         \x20     WHERE c.oid = {literal}::regclass AND leaf.relreplident <> 'f' AND ({KEY} IS NULL OR NOT {KEY} @> {columns}::text[])\n\
         \x20 LOOP\n\
         \x20   was := one.relreplident::text || coalesce((SELECT c.relname::text FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid WHERE i.indrelid = one.oid AND i.indisreplident), '');\n\
         \x20   EXECUTE pg_catalog.format('ALTER TABLE %s REPLICA IDENTITY FULL', one.name);\n\
         \x20   note := substr(pg_catalog.obj_description((SELECT oid FROM pg_catalog.pg_publication WHERE pubname = {publication}), 'pg_publication'), length('warm changes: ') + 1)::jsonb;\n\
         \x20   EXECUTE pg_catalog.format('COMMENT ON PUBLICATION {identifier} IS %L', 'warm changes: ' || (note || jsonb_build_object(one.oid::text, was))::text);\n\
         \x20 END LOOP;\n\
         END ",
        literal = quote_literal(&quoted(watched)),
        columns = quote_literal(&array(watched)),
        publication = quote_literal(name),
    );
    format!("DO {};\n", dollar_quote(&body))
}

/// Has the publication tell of the tables, and of no others.
fn publish(tables: &[Watched], name: &str) -> String {
    let literals: Vec<_> = tables.iter().map(|watched| quote_literal(&quoted(watched)) + "::regclass").collect();
    // Tables that inherit from it tell nothing: those who update them would be refused if nothing named their rows.
    let mut names: Vec<_> = tables.iter().map(|watched| format!("ONLY {}", quoted(watched))).collect();
    names.sort();
    names.dedup();
    let body = format!(
        "\n\
         BEGIN\n\
         \x20 {LOCK}\n\
         \x20 IF EXISTS (SELECT FROM pg_catalog.pg_publication WHERE pubname = {literal} AND NOT (pubinsert AND pubupdate AND pubdelete AND pubtruncate AND pubviaroot)) THEN\n\
         \x20   ALTER PUBLICATION {identifier} SET (publish = 'insert, update, delete, truncate', publish_via_partition_root = true);\n\
         \x20 END IF;\n\
         \x20 IF (SELECT coalesce(array_agg(r.prrelid ORDER BY r.prrelid), '{{}}') FROM pg_catalog.pg_publication_rel r JOIN pg_catalog.pg_publication p ON p.oid = r.prpubid WHERE p.pubname = {literal})\n\
         \x20    <> ARRAY(SELECT DISTINCT t::oid FROM unnest(ARRAY[{tables}]) t ORDER BY 1)\n\
         \x20    OR EXISTS (SELECT FROM pg_catalog.pg_publication_rel r JOIN pg_catalog.pg_publication p ON p.oid = r.prpubid WHERE p.pubname = {literal} AND NOT ({AS_A_WHOLE})) THEN\n\
         \x20   ALTER PUBLICATION {identifier} SET TABLE {names};\n\
         \x20 END IF;\n\
         {restore}\
         END ",
        literal = quote_literal(name),
        identifier = quote_identifier(name),
        tables = literals.join(", "),
        names = names.join(", "),
        restore = restore(name, &literals.join(", ")),
    );
    format!("DO {};\n", dollar_quote(&body))
}

/// Sets back how rows are named of tables that are published no more (`but` are those that are): after their publication, since whoever updates them would be refused otherwise.
fn restore(name: &str, but: &str) -> String {
    let (literal, identifier) = (quote_literal(name), quote_identifier(name));
    format!(
        "\x20 DECLARE noted record; note jsonb;\n\
         \x20 BEGIN\n\
         \x20   note := substr(pg_catalog.obj_description((SELECT oid FROM pg_catalog.pg_publication WHERE pubname = {literal}), 'pg_publication'), length('warm changes: ') + 1)::jsonb;\n\
         \x20   FOR noted IN SELECT key, value, key::oid::regclass AS name, c.relreplident FROM jsonb_each_text(note) LEFT JOIN pg_catalog.pg_class c ON c.oid = key::oid\n\
         \x20       WHERE NOT EXISTS (SELECT FROM unnest(ARRAY[{but}]::oid[]) t WHERE t = key::oid OR key::oid IN (SELECT relid FROM pg_catalog.pg_partition_tree(t)))\n\
         \x20   LOOP\n\
         \x20     -- Only what is still as we have set it, and if nobody else tells of the table.\n\
         \x20     IF noted.relreplident = 'f' AND NOT EXISTS (SELECT FROM pg_catalog.pg_publication_rel r JOIN pg_catalog.pg_publication p ON p.oid = r.prpubid WHERE r.prrelid = noted.key::oid AND p.pubname <> {literal}) THEN\n\
         \x20       EXECUTE pg_catalog.format('ALTER TABLE %s REPLICA IDENTITY ', noted.name) || CASE WHEN left(noted.value, 1) = 'n' THEN 'NOTHING'\n\
         \x20         WHEN EXISTS (SELECT FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid WHERE i.indrelid = noted.key::oid AND x.relname = substr(noted.value, 2)) THEN pg_catalog.format('USING INDEX %I', substr(noted.value, 2))\n\
         \x20         ELSE 'DEFAULT' END;\n\
         \x20     END IF;\n\
         \x20     note := note - noted.key;\n\
         \x20   END LOOP;\n\
         \x20   EXECUTE pg_catalog.format('COMMENT ON PUBLICATION {identifier} IS %L', 'warm changes: ' || note::text);\n\
         \x20 END;\n"
    )
}

/// An account that may make none leaves the slot to `warm serve`, which makes it when it is not there.
fn make_slot(name: &str) -> String {
    let literal = quote_literal(name);
    format!(
        "SELECT pg_catalog.pg_create_logical_replication_slot({literal}, 'pgoutput') WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_replication_slots WHERE slot_name = {literal}) \
         AND EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = current_user AND (rolsuper OR rolreplication));\n"
    )
}

/// The steps that remove everything: the publication first, without which nobody makes the slot anew. An account that may not touch the slot leaves it, which is said.
pub(super) fn remove(name: &str) -> Vec<Step> {
    let (literal, identifier) = (quote_literal(name), quote_identifier(name));
    let publication = format!(
        "\n\
         BEGIN\n\
         \x20 IF NOT EXISTS (SELECT FROM pg_catalog.pg_publication p WHERE p.pubname = {literal} AND {OURS}) THEN RETURN; END IF;\n\
         \x20 {LOCK}\n\
         {restore}\
         \x20 DROP PUBLICATION {identifier};\n\
         END ",
        restore = restore(name, ""),
    );
    let slot = format!(
        "\n\
         BEGIN\n\
         \x20 -- One that belongs to somebody else's publication is his.\n\
         \x20 IF EXISTS (SELECT FROM pg_catalog.pg_publication WHERE pubname = {literal}) THEN RETURN; END IF;\n\
         \x20 IF NOT (SELECT rolsuper OR rolreplication FROM pg_catalog.pg_roles WHERE rolname = current_user) THEN RETURN; END IF;\n\
         \x20 -- Somebody may be reading it, for a moment.\n\
         \x20 FOR try IN 1..100 LOOP\n\
         \x20   BEGIN\n\
         \x20     PERFORM pg_catalog.pg_drop_replication_slot(slot_name) FROM pg_catalog.pg_replication_slots WHERE slot_name = {literal} AND plugin = 'pgoutput' AND database = current_database();\n\
         \x20     RETURN;\n\
         \x20   EXCEPTION WHEN object_in_use THEN\n\
         \x20     IF try = 100 THEN RAISE; END IF;\n\
         \x20     PERFORM pg_catalog.pg_sleep(0.05);\n\
         \x20   END;\n\
         \x20 END LOOP;\n\
         END "
    );
    [publication, slot].map(|body| Step::Transaction(format!("DO {};\n", dollar_quote(&body)))).into()
}
