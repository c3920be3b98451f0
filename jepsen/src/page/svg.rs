//! Makes SVG text: shapes on a drawing, and scales from data to places on it.
//!
//! Owns escaping and rounding; whatever text comes in cannot break out of the drawing. Must not
//! know what is drawn.

use std::fmt::Write as _;

/// A drawing in the making.
pub(crate) struct Drawing {
    width: f64,
    body: String,
}

/// How a rectangle, a line or a text looks: a CSS class of the page.
pub(crate) type Class = &'static str;

/// A rectangle's place.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Rect {
    /// The left edge.
    pub(crate) x: f64,
    /// The upper edge.
    pub(crate) y: f64,
    /// The width.
    pub(crate) width: f64,
    /// The height.
    pub(crate) height: f64,
}

/// Where a text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Anchor {
    /// Half before, half behind it.
    Middle,
    /// It ends there.
    End,
}

/// From values to places.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Scale {
    from: (f64, f64),
    to: (f64, f64),
    logarithmic: bool,
}

impl Drawing {
    /// An empty one of this width; its height is known at the end.
    pub(crate) fn new(width: f64) -> Self {
        Self { width, body: String::new() }
    }

    /// A rectangle, with a text that shows when it is pointed at, if there is one.
    pub(crate) fn rect(&mut self, rect: Rect, class: Class, title: &str) {
        let Rect { x, y, width, height } = rect;
        let place = format!(
            "<rect class=\"{class}\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\"",
            short(x),
            short(y),
            short(width.max(0.0)),
            short(height.max(0.0))
        );
        if title.is_empty() {
            self.put(&format!("{place}/>"));
        } else {
            self.put(&format!("{place}><title>{}</title></rect>", escape(title)));
        }
    }

    /// A straight line.
    pub(crate) fn line(&mut self, from: (f64, f64), to: (f64, f64), class: Class) {
        let ((x1, y1), (x2, y2)) = (from, to);
        self.put(&format!(
            "<line class=\"{class}\" x1=\"{}\" y1=\"{}\" x2=\"{}\" y2=\"{}\"/>",
            short(x1),
            short(y1),
            short(x2),
            short(y2)
        ));
    }

    /// A line through points; where one is missing there is a gap.
    pub(crate) fn path(&mut self, points: &[Option<(f64, f64)>], class: Class) {
        let mut text = String::new();
        let mut draws = false;
        for point in points {
            if let Some((x, y)) = point {
                let step = if draws { 'L' } else { 'M' };
                write!(text, "{step}{} {}", short(*x), short(*y))
                    .expect("writing to a String never fails");
                if !draws {
                    // A point between two gaps shows as a dot.
                    text.push_str("h0");
                }
            }
            draws = point.is_some();
        }
        if !text.is_empty() {
            self.put(&format!("<path class=\"{class}\" d=\"{text}\"/>"));
        }
    }

    /// A filled triangle that points up, its tip at this place.
    pub(crate) fn triangle(&mut self, tip: (f64, f64), class: Class, title: &str) {
        let (x, y) = tip;
        self.put(&format!(
            "<path class=\"{class}\" d=\"M{} {}l5 9h-10z\"><title>{}</title></path>",
            short(x),
            short(y),
            escape(title)
        ));
    }

    /// A text.
    pub(crate) fn text(&mut self, at: (f64, f64), anchor: Anchor, class: Class, text: &str) {
        let anchor = match anchor {
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        self.put(&format!(
            "<text class=\"{class}\" x=\"{}\" y=\"{}\" text-anchor=\"{anchor}\">{}</text>",
            short(at.0),
            short(at.1),
            escape(text)
        ));
    }

    /// The whole drawing, which takes all the width that there is.
    pub(crate) fn finish(self, height: f64, label: &str) -> String {
        format!(
            "<svg viewBox=\"0 0 {} {}\" role=\"img\" aria-label=\"{}\" \
             xmlns=\"http://www.w3.org/2000/svg\">\n{}</svg>\n",
            short(self.width),
            short(height),
            escape(label),
            self.body
        )
    }

    fn put(&mut self, element: &str) {
        self.body.push_str(element);
        self.body.push('\n');
    }
}

impl Scale {
    /// Equal steps for equal differences.
    pub(crate) fn linear(from: (f64, f64), to: (f64, f64)) -> Self {
        Self { from, to, logarithmic: false }
    }

    /// Equal steps for equal ratios; values must be positive.
    pub(crate) fn logarithmic(from: (f64, f64), to: (f64, f64)) -> Self {
        Self { from: (from.0.log10(), from.1.log10()), to, logarithmic: true }
    }

    /// The place of a value; one outside goes to the edge.
    pub(crate) fn at(&self, value: f64) -> f64 {
        let value = if self.logarithmic { value.max(f64::MIN_POSITIVE).log10() } else { value };
        let ((low, high), (first, last)) = (self.from, self.to);
        let share = if high > low { ((value - low) / (high - low)).clamp(0.0, 1.0) } else { 0.0 };
        first + share * (last - first)
    }
}

/// Steps for an axis: round numbers, at most so many.
pub(crate) fn step(high: f64, most: f64) -> f64 {
    let rough = (high / most).max(f64::MIN_POSITIVE);
    let power = 10_f64.powf(rough.log10().floor());
    let factors = [1.0, 2.0, 5.0, 10.0];
    factors.into_iter().map(|factor| factor * power).find(|step| *step >= rough).unwrap_or(rough)
}

/// Text that is only text, in HTML and in SVG.
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            // Not allowed in a document.
            other if other.is_control() && other != '\n' && other != '\t' => {}
            other => escaped.push(other),
        }
    }
    escaped
}

/// A number with at most one digit behind the point.
pub(crate) fn short(number: f64) -> String {
    let text = format!("{number:.1}");
    text.strip_suffix(".0").map_or_else(|| text.clone(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_cannot_break_out() {
        let mut drawing = Drawing::new(10.0);
        drawing.text((1.0, 2.25), Anchor::End, "label", "<script>&\"\u{1b}");
        let text = drawing.finish(5.0, "a \"label\"");
        assert!(
            text.contains("x=\"1\" y=\"2.2\" text-anchor=\"end\">&lt;script&gt;&amp;&quot;</text>"),
            "{text}"
        );
        assert!(text.starts_with("<svg viewBox=\"0 0 10 5\""), "{text}");
    }

    #[test]
    fn a_line_has_gaps_where_points_are_missing() {
        let mut drawing = Drawing::new(10.0);
        let points = [Some((0.0, 1.0)), Some((1.0, 2.0)), None, Some((3.0, 4.0))];
        drawing.path(&points, "line");
        assert!(drawing.body.contains("d=\"M0 1h0L1 2M3 4h0\""), "{}", drawing.body);
        let before = drawing.body.clone();
        drawing.path(&[None, None], "line");
        assert_eq!(drawing.body, before, "nothing to draw");
    }

    #[test]
    fn values_outside_stay_on_the_drawing() {
        let scale = Scale::linear((0.0, 10.0), (100.0, 200.0));
        assert_eq!((scale.at(5.0), scale.at(-3.0), scale.at(99.0)), (150.0, 100.0, 200.0));
        let scale = Scale::logarithmic((1.0, 100.0), (50.0, 0.0));
        assert_eq!((scale.at(10.0), scale.at(0.0), scale.at(1e9)), (25.0, 50.0, 0.0));
        assert_eq!(Scale::linear((0.0, 0.0), (1.0, 2.0)).at(0.0), 1.0);
    }

    #[test]
    fn axes_have_round_steps() {
        assert_eq!(step(60.0, 10.0), 10.0);
        assert_eq!(step(61.0, 10.0), 10.0);
        assert_eq!(step(230.0, 5.0), 50.0);
        assert_eq!(step(0.9, 5.0), 0.2);
    }
}
