//! `sweep`: keys whose rows are gone can be removed only where absent rows prove that they are.

use std::ops::Range;

use super::diagnostic::Collector;
use super::fields::{Common, Reader};
use super::raw::{self, Text};
use crate::ground::job::{Mode, Verify};
use crate::ground::sql::leaves_out;

const REMOVES: &str = "`sweep` removes keys whose rows are gone";

impl Reader<'_> {
    /// Refuses what makes absent rows prove nothing. `place` is that of `sweep`.
    pub(super) fn sweep(
        &self,
        place: Range<usize>,
        raw: &raw::Job,
        defaults: &raw::Defaults,
        common: &Common,
        collector: &mut Collector,
    ) {
        let of_for_each = raw.for_each.0.iter().filter_map(|(_, values)| match values.get_ref() {
            raw::Values::Query(text) => Some(text),
            raw::Values::List(_) => None,
        });
        for text in raw.query.iter().chain(of_for_each) {
            self.refuse_limits(&place, text, collector);
        }
        let at = |span: Option<Range<usize>>| {
            let place = span.and_then(|span| self.sources.place(span));
            place.map_or(String::new(), |place| format!(" ({})", place.position()))
        };
        if common.mode == Mode::Missing {
            let at = at(raw.mode.as_ref().or(defaults.mode.as_ref()).map(Text::span));
            let message = format!(
                "{REMOVES}, but with mode = \"missing\"{at} a run does not read everything: absent rows prove nothing"
            );
            let help = "remove `sweep`, or say mode = \"refresh\" in the job";
            collector.push(self.sources.error(place.clone(), message).help(help));
        }
        if common.verify == Verify::None {
            let at = at(raw.verify.as_ref().or(defaults.verify.as_ref()).map(toml::Spanned::span));
            let message = format!(
                "{REMOVES}, but with verify = \"none\"{at} nothing is looked at twice: absent rows prove nothing"
            );
            let help = "remove `sweep`, or say verify = \"requery\" in the job";
            collector.push(self.sources.error(place, message).help(help));
        }
    }

    fn refuse_limits(&self, sweep: &Range<usize>, text: &Text, collector: &mut Collector) {
        let Some(word) = leaves_out(text.get_ref()) else { return };
        let name = text.get_ref()[word.clone()].to_uppercase();
        let at = self.sources.place(sweep.clone()).map_or(String::new(), |place| format!(" ({})", place.position()));
        let message = format!(
            "`sweep`{at} removes keys whose rows are gone, but a query with {name} may leave rows out: absent rows prove nothing"
        );
        let help = format!("remove {name} from the query, or `sweep` from the job");
        collector.push(self.sources.error(self.inside(text, word.start, word.len()), message).help(help));
    }
}
