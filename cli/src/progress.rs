//! Progress bars on stderr, on a terminal only: off one, long work is silent.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

const TEMPLATE: &str = "{msg} [{bar:40}] {human_pos}/{human_len} {per_sec} {eta}";

/// A bar towards a known total. Finish it with `finish_and_clear`, so that only the result stays.
pub(crate) fn bar(what: &'static str, total: u64) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
    match ProgressStyle::with_template(TEMPLATE) {
        Ok(style) => bar.with_style(style.progress_chars("=> ")).with_message(what),
        // The template is a constant; a bar of the crate's own looks does as well.
        Err(_) => bar.with_message(what),
    }
}

/// A line of text that is written over again, for work without a known total.
pub(crate) fn line() -> ProgressBar {
    ProgressBar::new_spinner()
}
