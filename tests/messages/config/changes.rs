//! `[changes]`.

use crate::files::Cases;
use crate::support::world::CONFIG;

#[test]
fn what_cannot_be_followed_is_refused_where_it_stands() {
    let sets = "[invalidate.event]\nkeys = ['t:event:{id}', 't:list:*']\n";
    let tables = |tables: &str| format!("{sets}[changes]\nchannel = 'warm'\n[changes.tables]\n{tables}\n");
    let mut cases = Cases::new();
    for (title, text) in [
        ("no channel", format!("{sets}[changes.tables]\nEvent = ['event id={{id}}']\n")),
        ("a channel", format!("{sets}[changes]\nchannel = 'my channel'\n")),
        ("another policy", format!("{sets}[changes]\nchannel = 'warm'\nmissed = 'ignore'\n")),
        ("another field", format!("{sets}[changes]\nchanel = 'warm'\n")),
        ("both ways", format!("{sets}[changes]\nchannel = 'warm'\nslot = 'warm'\n")),
        ("a slot", format!("{sets}[changes]\nslot = 'Warm'\n[changes.tables]\nEvent = ['event id={{id}}']\n")),
        ("a slot of nothing", format!("{sets}[changes]\nslot = 'warm'\n")),
        (
            "a limit",
            format!(
                "{sets}[changes]\nslot = 'warm'\nslot_limit = '1MiB'\n[changes.tables]\nEvent = ['event id={{id}}']\n"
            ),
        ),
        ("a limit of a channel", format!("{sets}[changes]\nchannel = 'warm'\nslot_limit = '1GiB'\n")),
        ("no list", tables("Event = 'event id={id}'")),
        ("an empty list", tables("Event = []")),
        ("no set", tables("Event = ['']")),
        ("another set", tables("Event = ['evnt id={id}']")),
        ("parameters", tables("Event = ['event', 'event id={id} x=1', 'event {id}', 'event id=*', 'event id={i d}']")),
        ("a table", tables("'public.' = ['event id={id}']\n'' = ['event id={id}']")),
        (
            "a bad set is told of once",
            "[invalidate.event]\n[changes]\nchannel = 'warm'\n[changes.tables]\nEvent = ['event id={id}']\n".to_owned(),
        ),
    ] {
        cases.config(title, format!("{CONFIG}{text}"));
    }
    cases.compare("changes");
}
