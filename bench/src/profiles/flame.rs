//! A flame graph as SVG, written by hand: every function a bar as wide as its share of the samples, standing
//! on its caller. Each bar has a title that browsers show under the pointer.

use std::fmt::Write;

use super::stacks::Stacks;
use crate::cost::as_f64;
use crate::report::escaped;

const WIDTH: f64 = 1200.0;
const LINE: f64 = 17.0;
const HEAD: f64 = 28.0;
/// Bars narrower than this, half a percent, are left out.
const NARROWEST: f64 = 6.0;
/// How wide a letter is, nearly.
const LETTER: f64 = 6.6;

/// The picture of a profile.
#[must_use]
pub fn flame_graph(title: &str, stacks: &Stacks) -> String {
    let height = HEAD + LINE * as_f64(stacks.depth() as u64) + 8.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" height=\"{height}\" \
         font-family=\"monospace\" font-size=\"11\">\n<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n\
         <text x=\"6\" y=\"18\" font-size=\"14\">{} ({} samples)</text>\n",
        escaped(title),
        stacks.samples
    );
    let scale = (WIDTH - 2.0) / as_f64(stacks.samples.max(1));
    draw(&mut svg, stacks, Place { x: 1.0, bottom: height - LINE - 4.0, scale, all: stacks.samples.max(1) });
    svg.push_str("</svg>\n");
    svg
}

#[derive(Clone, Copy)]
struct Place {
    x: f64,
    bottom: f64,
    /// Pixels for one sample.
    scale: f64,
    all: u64,
}

/// What a function calls, beside each other on top of it.
fn draw(svg: &mut String, caller: &Stacks, mut place: Place) {
    for (name, call) in &caller.calls {
        let width = as_f64(call.samples) * place.scale;
        if width >= NARROWEST {
            bar(svg, name, call, width, place);
            draw(svg, call, Place { bottom: place.bottom - LINE, ..place });
        }
        place.x += width;
    }
}

fn bar(svg: &mut String, name: &str, call: &Stacks, width: f64, place: Place) {
    let Place { x, bottom, all, .. } = place;
    let percent = 100.0 * as_f64(call.samples) / as_f64(all);
    let room = (width / LETTER).floor();
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    // At most the picture's width in letters.
    let label: String = short(name).chars().take(room as usize).collect();
    // Writing into a string cannot fail.
    writeln!(
        svg,
        "<g><title>{}: {percent:.1} %</title><rect x=\"{x:.1}\" y=\"{bottom:.1}\" width=\"{width:.1}\" height=\"{:.1}\" \
         fill=\"{}\" stroke=\"#ffffff\" stroke-width=\"0.5\"/>{}</g>",
        escaped(name),
        LINE - 1.0,
        color(name),
        if room >= 3.0 {
            format!("<text x=\"{:.1}\" y=\"{:.1}\">{}</text>", x + 2.0, bottom + 12.0, escaped(&label))
        } else {
            String::new()
        }
    )
    .unwrap_or_default();
}

/// Whose code it is: ours, another crate's, the system's.
fn color(name: &str) -> &'static str {
    match name.split_once(": ") {
        Some(("tracker" | "consumer" | "contract" | "service", _)) => "#7fc8a9",
        Some(_) => "#f3c98b",
        None => "#e79a8b",
    }
}

/// In a narrow bar the function's own name says most.
fn short(name: &str) -> &str {
    let name = name.split_once(": ").map_or(name, |(_, function)| function);
    name.split_once(" (").map_or(name, |(function, _)| function)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_visible_function_is_named_with_its_share() {
        let mut stacks = Stacks::default();
        stacks.add(["tracker: run (app.rs)", "push"], 3);
        stacks.add(["tracker: run (app.rs)", "<closure>"], 1);
        let svg = flame_graph("a <test>", &stacks);
        assert!(svg.contains("<title>tracker: run (app.rs): 100.0 %</title>"), "{svg}");
        assert!(
            svg.contains("<title>push: 75.0 %</title>") && svg.contains("<title>&lt;closure&gt;: 25.0 %")
        );
        assert!(svg.contains("a &lt;test&gt; (4 samples)"));
    }

    #[test]
    fn a_bar_shows_the_function_and_its_title_the_rest() {
        assert_eq!(short("tracker: visit (swarm/store.rs)"), "visit");
        assert_eq!(short("malloc"), "malloc");
    }
}
