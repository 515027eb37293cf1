//! The triggers that tell what has changed: what is sent to the server, and what is there.
//!
//! For each table there are a function and four triggers for whole statements (`INSERT`, `UPDATE`, `DELETE`, `TRUNCATE`): a statement that changes a thousand rows costs one call, and what it
//! says twice is sent once. The application's statements never fail because of it: what cannot be said (a column that is gone, a value too long for a message, too many rows) becomes "anything of this set".
//!
//! All that is ours is in the schema `warm`, and its comment names the channel: so several installations stay apart, and what is no longer configured is found, and removed.

use sqlx::postgres::{PgArguments, PgConnection, PgRow};

use super::install::{Installed, PATIENCE, Problem, Step, Table, ask, get, quoted, with};
use crate::ground::changes::{Call, Watched};
use crate::ground::error::Error;
use crate::ground::fingerprint::Fingerprint;
use crate::ground::invalidate::{Piece, Template};
use crate::ground::sql::{dollar_quote, quote_identifier, quote_literal};

/// More messages of one statement than this become "anything".
const MOST_MESSAGES: usize = 1000;
/// More rows of one statement than this are not looked at, whatever they would say.
const MOST_ROWS: usize = 20_000;
/// The longest message in bytes: PostgreSQL takes 7,999.
const LONGEST_MESSAGE: usize = 7000;
/// How long a table's lock is waited for: whoever writes to the table waits behind it.
const LOCK: &str = "5s";

/// One table's part.
struct Part<'a> {
    channel: &'a str,
    watched: &'a Watched,
}

/// The operations, and what a trigger is handed of the changed rows.
const OPERATIONS: [(&str, &str); 4] = [
    ("INSERT", " REFERENCING NEW TABLE AS warm_new"),
    ("UPDATE", " REFERENCING OLD TABLE AS warm_old NEW TABLE AS warm_new"),
    ("DELETE", " REFERENCING OLD TABLE AS warm_old"),
    ("TRUNCATE", ""),
];

/// The steps that install everything: each of them does nothing where its work is done already.
pub(super) fn install(channel: &str, tables: &[Watched]) -> Vec<Step> {
    let schema = format!("DO {};\nCREATE SCHEMA IF NOT EXISTS warm;\n", dollar_quote(OURS));
    let parts = parts(channel, tables);
    // What the configuration does not name any more goes last.
    let names: Vec<String> = parts.iter().map(Part::function_name).collect();
    let statements = parts.iter().map(Part::statements);
    let steps = [schema].into_iter().chain(statements).map(Step::Transaction);
    steps.chain([Step::Alone(removal(channel, &names))]).collect()
}

/// The steps that remove everything.
pub(super) fn remove(channel: &str) -> Vec<Step> {
    vec![Step::Alone(removal(channel, &[]))]
}

/// Whoever owns the schema, or a function, can have done by those who write to the tables whatever he likes.
const OURS: &str = "
BEGIN
  IF EXISTS (SELECT FROM pg_catalog.pg_namespace n JOIN pg_catalog.pg_roles r ON r.oid = n.nspowner
             WHERE n.nspname = 'warm' AND NOT r.rolsuper AND r.rolname <> current_user)
     OR EXISTS (SELECT FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace JOIN pg_catalog.pg_roles r ON r.oid = p.proowner
                WHERE n.nspname = 'warm' AND NOT r.rolsuper AND r.rolname <> current_user) THEN
    RAISE EXCEPTION 'the schema warm, or a function in it, belongs to somebody else, who could change what the triggers do: look at it, and drop it or install as its owner';
  END IF;
END ";

fn parts<'a>(channel: &'a str, tables: &'a [Watched]) -> Vec<Part<'a>> {
    tables.iter().map(|watched| Part { channel, watched }).collect()
}

/// Removes what is there for a channel, but for functions of these names: one after the other, so that no table is locked for longer than that takes, nor two at the same time. It has to be
/// sent by itself, not within a transaction.
fn removal(channel: &str, but: &[String]) -> String {
    let but: Vec<_> = but.iter().map(|name| quote_literal(name)).collect();
    let body = format!(
        "\n\
         DECLARE unwanted regprocedure;\n\
         BEGIN\n\
         \x20 PERFORM pg_catalog.set_config('lock_timeout', '{LOCK}', true);\n\
         \x20 FOR unwanted IN SELECT p.oid FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace\n\
         \x20     WHERE n.nspname = 'warm' AND pg_catalog.obj_description(p.oid, 'pg_proc') = {comment} AND p.proname <> ALL (ARRAY[{but}]::text[])\n\
         \x20 LOOP\n\
         \x20   EXECUTE pg_catalog.format('DROP FUNCTION %s CASCADE', unwanted);\n\
         \x20   COMMIT;\n\
         \x20   PERFORM pg_catalog.set_config('lock_timeout', '{LOCK}', true);\n\
         \x20 END LOOP;\n\
         \x20 IF NOT EXISTS (SELECT FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace WHERE n.nspname = 'warm') THEN\n\
         \x20   DROP SCHEMA IF EXISTS warm;\n\
         \x20 END IF;\n\
         END ",
        comment = quote_literal(&comment(channel)),
        but = but.join(", "),
    );
    format!("DO {};\n", dollar_quote(&body))
}

fn comment(channel: &str) -> String {
    format!("warm changes: {channel}")
}

impl Part<'_> {
    fn function_name(&self) -> String {
        format!("changes_{}", Fingerprint::of([self.channel, &self.watched.name()]))
    }

    fn function(&self) -> String {
        format!("warm.{}", self.function_name())
    }

    fn trigger(&self, operation: &str) -> String {
        format!("warm_{}_{}", self.function_name(), operation.to_lowercase())
    }

    fn statements(&self) -> String {
        let (function, table) = (self.function(), quoted(self.watched));
        let mut text = format!(
            "-- {comment}\nSET LOCAL lock_timeout = '{LOCK}';\n\
             CREATE OR REPLACE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS {body};\n\
             COMMENT ON FUNCTION {function}() IS {channel};\n",
            comment = self.watched.name().replace(char::is_control, "?"),
            body = dollar_quote(&self.body()),
            channel = quote_literal(&comment(self.channel)),
        );
        for (operation, tables) in OPERATIONS {
            let trigger = self.trigger(operation);
            let body = format!(
                "\nBEGIN\n\
                 \x20 IF NOT EXISTS (SELECT FROM pg_catalog.pg_trigger WHERE tgrelid = {literal}::regclass AND tgname = '{trigger}') THEN\n\
                 \x20   CREATE TRIGGER {trigger} AFTER {operation} ON {table}{tables} FOR EACH STATEMENT EXECUTE FUNCTION {function}();\n\
                 \x20 ELSIF NOT EXISTS (SELECT FROM pg_catalog.pg_trigger WHERE tgrelid = {literal}::regclass AND tgname = '{trigger}' AND tgenabled IN ('O', 'A')) THEN\n\
                 \x20   ALTER TABLE {table} ENABLE TRIGGER {trigger};\n\
                 \x20 END IF;\n\
                 END ",
                literal = quote_literal(&table),
            );
            text += &format!("DO {};\n", dollar_quote(&body));
        }
        text
    }

    /// What the function does.
    fn body(&self) -> String {
        let one: Vec<_> = self.watched.calls.iter().map(message).collect();
        let any: Vec<_> =
            self.watched.calls.iter().map(|call| quote_literal(&format!("{{\"{}\": \"*\"}}", call.set))).collect();
        // A look at few rows tells that there are too many: all of them would take the application's time.
        let many = |rows: &str| format!("EXISTS (SELECT FROM {rows} OFFSET {MOST_ROWS})");
        let from = |rows: &str| {
            format!(
                "ARRAY(SELECT DISTINCT m FROM {rows} r, LATERAL (VALUES ({one})) AS v (m) LIMIT {limit})",
                one = one.join("), ("),
                limit = MOST_MESSAGES + 1
            )
        };
        format!(
            "\n\
             DECLARE\n\
             \x20 messages text[];\n\
             \x20 anything CONSTANT text[] := ARRAY[{any}];\n\
             BEGIN\n\
             \x20 BEGIN\n\
             \x20   messages := anything;\n\
             \x20   IF TG_OP = 'INSERT' THEN\n\
             \x20     IF NOT {many_new} THEN messages := {inserted}; END IF;\n\
             \x20   ELSIF TG_OP = 'UPDATE' THEN\n\
             \x20     IF NOT {many_new} THEN messages := {updated}; END IF;\n\
             \x20   ELSIF TG_OP = 'DELETE' THEN\n\
             \x20     IF NOT {many_old} THEN messages := {deleted}; END IF;\n\
             \x20   END IF;\n\
             \x20   IF cardinality(messages) > {MOST_MESSAGES} OR EXISTS (SELECT FROM unnest(messages) m WHERE octet_length(m) > {LONGEST_MESSAGE}) THEN\n\
             \x20     messages := anything;\n\
             \x20   END IF;\n\
             \x20 EXCEPTION WHEN OTHERS THEN\n\
             \x20   messages := anything;\n\
             \x20 END;\n\
             \x20 PERFORM pg_notify({channel}, m) FROM unnest(messages) m;\n\
             \x20 RETURN NULL;\n\
             END ",
            any = any.join(", "),
            many_new = many("warm_new"),
            many_old = many("warm_old"),
            inserted = from("warm_new"),
            updated = from("(TABLE warm_new UNION ALL TABLE warm_old)"),
            deleted = from("warm_old"),
            channel = quote_literal(self.channel),
        )
    }
}

/// An expression for the message of a row `r`.
fn message(call: &Call) -> String {
    let value = |text: &Template| {
        let piece = |piece: &Piece| match piece {
            Piece::Text(text) => Some(quote_literal(text)),
            // As the applications' languages write it into a key.
            Piece::Value(column) => Some(format!("coalesce(r.{}::text, 'null')", quote_identifier(column))),
            Piece::Any => None,
        };
        format!("concat({})", text.pieces().iter().filter_map(piece).collect::<Vec<_>>().join(", "))
    };
    let values: Vec<_> =
        call.arguments.iter().map(|(name, text)| format!("{}, {}", quote_literal(name), value(text))).collect();
    format!("json_build_object({}, json_build_object({}))::text", quote_literal(&call.set), values.join(", "))
}

/// Of each table (schema, empty for the search path; name) and its function: whether it is there, the function's text, and how many triggers are switched on. Anybody may ask for this, also
/// who may not use the schema.
const STATE: &str = "SELECT c.oid IS NOT NULL AS there, f.prosrc AS body, \
       ARRAY(SELECT a.attname::text FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped) AS columns, \
       (SELECT count(*) FROM pg_catalog.pg_trigger g WHERE g.tgrelid = c.oid AND g.tgfoid = f.oid AND g.tgenabled IN ('O', 'A')) AS triggers \
     FROM unnest($1::text[], $2::text[], $3::text[]) WITH ORDINALITY AS t (schema, name, function, place) \
     LEFT JOIN LATERAL (SELECT c.oid FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
       WHERE c.relname = t.name AND c.relkind IN ('r', 'p') AND CASE t.schema WHEN '' THEN pg_catalog.pg_table_is_visible(c.oid) ELSE n.nspname = t.schema END) c ON true \
     LEFT JOIN LATERAL (SELECT p.oid, p.prosrc FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace \
       WHERE n.nspname = 'warm' AND p.proname = t.function) f ON true \
     ORDER BY t.place";

/// The tables of a channel's triggers whose function is none of these.
const UNWANTED: &str = "SELECT DISTINCT g.tgrelid::regclass::text AS name FROM pg_catalog.pg_trigger g JOIN pg_catalog.pg_proc p ON p.oid = g.tgfoid \
     JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace \
     WHERE n.nspname = 'warm' AND pg_catalog.obj_description(p.oid, 'pg_proc') = $1 AND p.proname <> ALL ($2) ORDER BY 1";

/// What is there of the tables' triggers, and which other tables have some for the channel.
///
/// # Errors
/// What the server says.
pub(super) async fn find(
    link: &mut PgConnection,
    channel: &str,
    tables: &[Watched],
) -> Result<(Vec<Table>, Vec<String>), Error> {
    let parts = parts(channel, tables);
    let schemas: Vec<_> = tables.iter().map(|table| table.schema.clone().unwrap_or_default()).collect();
    let names: Vec<_> = tables.iter().map(|table| table.table.clone()).collect();
    let functions: Vec<_> = parts.iter().map(Part::function_name).collect();
    let wanted = with(with(with(PgArguments::default(), schemas)?, names)?, functions.clone())?;
    let found = ask(link, STATE, wanted, PATIENCE).await?;
    let others = with(with(PgArguments::default(), comment(channel))?, functions)?;
    let unwanted = ask(link, UNWANTED, others, PATIENCE).await?;
    let table = |(row, part): (&PgRow, &Part<'_>)| {
        let (is_there, body, triggers): (bool, Option<String>, i64) =
            (get(row, "there")?, get(row, "body")?, get(row, "triggers")?);
        let state = match body {
            _ if !is_there => Installed::NoTable,
            None => Installed::No,
            Some(body) if body == part.body() && triggers == OPERATIONS.len() as i64 => Installed::Yes,
            Some(_) => Installed::Outdated,
        };
        let problem = match state {
            Installed::NoTable => Some(Problem::no_table(part.watched)),
            _ => Problem::of_columns(part.watched, &get::<Vec<String>>(row, "columns")?, ""),
        };
        let name = part.watched.name();
        let problem = problem.or_else(|| match state {
            Installed::No => Some(Problem::to_install(format!("nothing tells of {name}: its triggers are missing"))),
            Installed::Outdated => Some(Problem::to_install(format!(
                "the triggers of {name} are not those of the configuration, or are switched off"
            ))),
            Installed::Yes | Installed::NoTable => None,
        });
        Ok(Table { state, problem })
    };
    let tables = found.iter().zip(&parts).map(table).collect::<Result<_, Error>>()?;
    Ok((tables, unwanted.iter().map(|row| get(row, "name")).collect::<Result<_, _>>()?))
}
