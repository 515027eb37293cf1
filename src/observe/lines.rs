//! Log lines as JSON: one object on each line of standard error, with the fields that `docs/json.md` lists.
//!
//! `tracing-subscriber` has such a format, too, but the names in it are fixed.

use std::fmt::Write as _;
use std::io::Write as _;

use chrono::{SecondsFormat, Utc};
use serde_json::Value;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use super::fields::Fields;
use super::stderr::stderr;

/// Writes them.
pub(super) struct JsonLines;

impl<S: Subscriber> Layer<S> for JsonLines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let time = Utc::now().to_rfc3339_opts(SecondsFormat::Millis, true);
        let metadata = event.metadata();
        let line = line(time, *metadata.level(), metadata.target(), Fields::of(event));
        // A log that cannot be written must not end the program.
        let _ = stderr().write_all(line.as_bytes());
    }
}

fn line(time: String, level: Level, target: &str, fields: Fields) -> String {
    let own = [
        ("time", Value::from(time)),
        ("level", level.as_str().to_ascii_lowercase().into()),
        ("message", fields.message.into()),
        ("target", target.into()),
    ];
    let mut line = "{".to_owned();
    for (name, value) in &own {
        // A `String` takes everything.
        let _ = write!(line, "\"{name}\":{value},");
    }
    for (name, value) in fields.others {
        // Libraries name theirs as they like.
        let taken = own.iter().any(|(own, _)| *own == name);
        let name = Value::from(if taken { format!("{name}_") } else { name.to_owned() });
        let _ = write!(line, "{name}:{value},");
    }
    line.pop();
    line + "}\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_one_object_whatever_stands_in_it() {
        let others = vec![("job", "a\"b\nc".into()), ("keys", 3.into()), ("time", 1.5.into())];
        let fields = Fields { message: "one\ntwo\u{1}".to_owned(), others };
        assert_eq!(
            line("2027-03-27T00:00:00.000Z".to_owned(), Level::WARN, "warm", fields),
            "{\"time\":\"2027-03-27T00:00:00.000Z\",\"level\":\"warn\",\"message\":\"one\\ntwo\\u0001\",\"target\":\"warm\",\
             \"job\":\"a\\\"b\\nc\",\"keys\":3,\"time_\":1.5}\n"
        );
    }
}
