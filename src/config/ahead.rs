//! `refresh_ahead`: how early, and that it can be done at all.

use toml::Spanned;

use super::diagnostic::Collector;
use super::fields::Reader;
use super::raw::{self, Text};
use super::settings::must_be;
use super::units;
use crate::ground::refresh::RefreshAhead;

impl Reader<'_> {
    /// `refresh_ahead`; the outer `None` if something is wrong. `missing` is what says that the job writes absent keys only.
    pub(super) fn refresh_ahead(
        &self,
        given: &Spanned<raw::Ahead>,
        missing: Option<&Text>,
        collector: &mut Collector,
    ) -> Option<Option<RefreshAhead>> {
        let ahead = match given.get_ref() {
            raw::Ahead::Whether(false) => return Some(None),
            raw::Ahead::Whether(true) => RefreshAhead::USUAL,
            // Less would leave no time, and with more the keys might as well live shorter.
            raw::Ahead::Share(share) => {
                collector.take(units::percent(share, 5.0..=50.0).map(RefreshAhead::when_left).map_err(|expected| {
                    must_be("refresh_ahead", &format!("true, false, or {expected}"), given.span(), self.sources)
                }))?
            }
        };
        let Some(mode) = missing else { return Some(Some(ahead)) };
        let at = self.sources.place(mode.span()).map_or(String::new(), |place| format!(" ({})", place.position()));
        let message = format!(
            "`refresh_ahead` writes keys again before they die, but with mode = \"missing\"{at} only absent keys are written"
        );
        let help = "say mode = \"refresh\", or refresh_ahead = false";
        collector.push(self.sources.error(given.span(), message).help(help));
        None
    }
}
