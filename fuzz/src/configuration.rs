//! Configuration files: read, or refused with sentences; and what is in force can be shown.

use service::program::Plan as _;

/// The tracker's, in either shape.
pub(crate) fn tracker(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    match tracker::config::Plan::load(Some(text), []) {
        Ok(plan) => drop(plan.effective().expect("what was accepted can be shown")),
        Err(problems) => assert!(!problems.0.is_empty(), "refused without a reason"),
    }
}

/// The consumer's.
pub(crate) fn consumer(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    match consumer::config::Plan::load(text, []) {
        Ok(plan) => drop(plan.effective().expect("what was accepted can be shown")),
        Err(problems) => assert!(!problems.0.is_empty(), "refused without a reason"),
    }
}
