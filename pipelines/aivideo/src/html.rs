// SPDX-License-Identifier: Apache-2.0
//! What the HTML reports share: the page's head, and curves as inline SVG.

use std::fmt::Write as _;

/// One encoder's points: rate in kbit/s and a quality.
pub struct Curve {
    pub name: String,
    pub points: Vec<(f64, f64)>,
}

pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

/// Everything before the page's own text. Nothing is loaded from elsewhere.
pub fn head(title: &str) -> String {
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
         <title>{}</title>\n<style>{STYLE}</style></head><body>\n",
        escape(title)
    )
}

/// A picture inside the page.
pub fn data_uri(kind: &str, bytes: &[u8]) -> String {
    format!("data:{kind};base64,{}", glib::base64_encode(bytes))
}

const STYLE: &str = "\
body{font:15px/1.5 system-ui,sans-serif;max-width:1100px;margin:2em auto;padding:0 1em;color:#222;background:#fff}\
h1{font-size:1.6em;line-height:1.25}h2{margin-top:2em}h3{margin:1.6em 0 .3em}\
.wide{overflow-x:auto;margin:.6em 0}\
table{border-collapse:collapse;font-variant-numeric:tabular-nums}\
th,td{border:1px solid #ccc;padding:.3em .7em;text-align:right}th{background:#f5f5f5;font-weight:600}\
td{white-space:nowrap}td small{display:block;color:#555}\
td:first-child,th:first-child{text-align:left}td.left,th.left{text-align:left}\
td:first-child,td.left{white-space:normal;min-width:2em}td.left{min-width:15em}\
tr.main{background:#eaf3fa;font-weight:600}\
td.win{color:#00663f}td.loss{color:#a33b00}\
svg{max-width:760px;width:100%;font:12px system-ui,sans-serif;display:block;margin-top:1em}\
.charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(320px,100%),1fr));gap:0 1em}\
.legend{font-size:13px;margin:.3em 0}.legend span{display:inline-block;margin-right:1.2em;white-space:nowrap}\
.legend svg{display:inline-block;width:34px;height:10px;margin:0 .4em 0 0;vertical-align:middle}\
.note{color:#555;font-size:13px;max-width:52em}\
pre{background:#f5f5f5;padding:.8em;overflow-x:auto;font-size:13px}code{font-size:13px;overflow-wrap:anywhere}\
.stills{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(460px,100%),1fr));gap:1em}\
figure{margin:0}img{width:100%;height:auto;display:block}figcaption{color:#555;font-size:13px}\
img.detail{image-rendering:pixelated;margin-top:4px}\
summary{cursor:pointer}\
@media(max-width:600px){body{margin:1em auto;padding:0 .6em}th,td{padding:.25em .45em;font-size:13px}}";

/// Colours that remain apart for most colour-blind readers; dashes tell repeated ones apart.
const COLOURS: &[&str] = &[
    "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#8a6d00", "#4d9fd6", "#333333",
];

fn line_style(index: usize) -> (&'static str, &'static str) {
    let dash = match index / COLOURS.len() {
        0 => "",
        1 => " stroke-dasharray=\"6 3\"",
        _ => " stroke-dasharray=\"2 3\"",
    };
    (COLOURS[index % COLOURS.len()], dash)
}

/// The names of the curves with their lines.
pub fn legend(curves: &[Curve]) -> String {
    let mut text = String::from("<p class=\"legend\">");
    for (i, curve) in curves.iter().enumerate() {
        let (colour, dash) = line_style(i);
        text.push_str(&format!(
            "<span><svg viewBox=\"0 0 34 10\"><line x1=\"0\" x2=\"34\" y1=\"5\" y2=\"5\" stroke=\"{colour}\" \
             stroke-width=\"{}\"{dash}/><circle cx=\"17\" cy=\"5\" r=\"3.5\" fill=\"{colour}\"/></svg>{}</span> ",
            width(i),
            escape(&curve.name)
        ));
    }
    text.push_str("</p>\n");
    text
}

/// The first curve is ours, and is drawn thicker.
fn width(index: usize) -> f64 {
    if index == 0 { 3.0 } else { 1.8 }
}

/// A step of 1, 2 or 5 times a power of ten that divides `span` into about `count` parts.
fn step(span: f64, count: f64) -> f64 {
    let rough = (span / count).max(1e-9);
    let power = 10f64.powf(rough.log10().floor());
    let first = rough / power;
    power
        * if first <= 1.0 {
            1.0
        } else if first <= 2.0 {
            2.0
        } else if first <= 5.0 {
            5.0
        } else {
            10.0
        }
}

/// Quality over the logarithm of the rate.
pub fn chart(axis: &str, curves: &[Curve]) -> String {
    let curves: Vec<(usize, Vec<(f64, f64)>)> = curves
        .iter()
        .enumerate()
        .map(|(i, curve)| {
            let mut points: Vec<(f64, f64)> = curve
                .points
                .iter()
                .copied()
                .filter(|(rate, quality)| *rate > 0.0 && rate.is_finite() && quality.is_finite())
                .collect();
            points.sort_by(|a, b| a.0.total_cmp(&b.0));
            (i, points)
        })
        .collect();
    let all = || curves.iter().flat_map(|(_, points)| points.iter().copied());
    if all().next().is_none() {
        return String::new();
    }
    let ends = |values: &mut dyn Iterator<Item = f64>| {
        values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| {
            (low.min(v), high.max(v))
        })
    };
    let (x0, x1) = ends(&mut all().map(|(rate, _)| rate.log2()));
    let (x0, x1) = (x0 - 0.15, x1 + 0.15);
    let (y0, y1) = ends(&mut all().map(|(_, quality)| quality));
    let margin = ((y1 - y0) * 0.05).max(0.01);
    let (y0, y1) = (y0 - margin, y1 + margin);
    let x = |rate: f64| 52.0 + (rate.log2() - x0) / (x1 - x0) * 408.0;
    let y = |quality: f64| 276.0 - (quality - y0) / (y1 - y0) * 246.0;

    let mut h = format!(
        "<svg viewBox=\"0 0 470 320\" role=\"img\" aria-label=\"{} over bit rate\">\n",
        escape(axis)
    );
    let grid = step(y1 - y0, 6.0);
    let decimals = if grid < 1.0 { 1 } else { 0 };
    let mut value = (y0 / grid).ceil() * grid;
    while value <= y1 {
        // Writing into a String cannot fail.
        let _ = writeln!(
            h,
            "<line x1=\"52\" x2=\"460\" y1=\"{0:.1}\" y2=\"{0:.1}\" stroke=\"#ddd\"/><text x=\"46\" y=\"{1:.1}\" text-anchor=\"end\">{value:.decimals$}</text>",
            y(value),
            y(value) + 4.0
        );
        value += grid;
    }
    // 1, 2 and 5 times powers of ten, fewer where they would touch.
    let mut last = f64::NEG_INFINITY;
    for power in -1..=7 {
        for first in [1.0, 2.0, 5.0] {
            let rate = first * 10f64.powi(power);
            if rate.log2() < x0 || rate.log2() > x1 || x(rate) - last < 36.0 {
                continue;
            }
            last = x(rate);
            let _ = writeln!(
                h,
                "<line x1=\"{0:.1}\" x2=\"{0:.1}\" y1=\"30\" y2=\"276\" stroke=\"#ddd\"/><text x=\"{0:.1}\" y=\"292\" text-anchor=\"middle\">{rate}</text>",
                x(rate)
            );
        }
    }
    let _ = writeln!(
        h,
        "<text x=\"256\" y=\"310\" text-anchor=\"middle\">kbit/s</text><text x=\"8\" y=\"18\" font-weight=\"600\">{}</text>",
        escape(axis)
    );
    // Ours last, so that it lies on top.
    for (i, points) in curves.iter().rev() {
        let (colour, dash) = line_style(*i);
        let path: Vec<String> = points
            .iter()
            .map(|(rate, quality)| format!("{:.1},{:.1}", x(*rate), y(*quality)))
            .collect();
        let _ = writeln!(
            h,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"{}\"{dash}/>",
            path.join(" "),
            width(*i)
        );
        for (rate, quality) in points {
            let _ = writeln!(
                h,
                "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"3\" fill=\"{colour}\"/>",
                x(*rate),
                y(*quality)
            );
        }
    }
    h.push_str("</svg>\n");
    h
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chart_survives_single_points_and_bad_values() {
        let curve = |points: &[(f64, f64)]| Curve {
            name: "<a>".into(),
            points: points.to_vec(),
        };
        let one = chart("dB", &[curve(&[(100.0, 36.0)])]);
        assert!(one.contains("<circle") && !one.contains("NaN"), "{one}");
        let bad = chart("dB", &[curve(&[(0.0, 36.0), (10.0, f64::NAN)])]);
        assert_eq!(bad, "");
        assert!(legend(&[curve(&[])]).contains("&lt;a&gt;"));
    }

    #[test]
    fn steps_are_round_numbers() {
        assert_eq!(step(12.0, 6.0), 2.0);
        assert_eq!(step(100.0, 6.0), 20.0);
        assert!((step(0.9, 6.0) - 0.2).abs() < 1e-12);
    }
}
