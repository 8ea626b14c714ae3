// SPDX-License-Identifier: Apache-2.0
//! What is drawn where: boxes with their names, and a panel with what happens.

use super::canvas::{Area, Canvas, Ink};
use super::text::Type;
use crate::{ClassificationResult, Detection};

/// Where the panel stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Corner {
    #[default]
    TopLeft,
    TopRight,
    BottomLeft,
    BottomRight,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Style {
    pub boxes: bool,
    pub labels: bool,
    pub scores: bool,
    /// Rows of the panel for one model; 0 hides it.
    pub classes: usize,
    pub corner: Corner,
    /// Pixels; 0 goes by the frame's size.
    pub font_size: u32,
    pub line_width: u32,
    /// Of the panel's and the labels' ground.
    pub opacity: f32,
}

impl Default for Style {
    fn default() -> Self {
        Self {
            boxes: true,
            labels: true,
            scores: true,
            classes: 3,
            corner: Corner::default(),
            font_size: 0,
            line_width: 0,
            opacity: 0.65,
        }
    }
}

/// Colours that differ from each other in hue and brightness.
const PALETTE: [[u8; 3]; 12] = [
    [255, 92, 92],
    [80, 200, 120],
    [86, 156, 255],
    [255, 190, 60],
    [200, 120, 255],
    [60, 210, 220],
    [255, 130, 190],
    [180, 220, 70],
    [255, 140, 66],
    [120, 140, 255],
    [230, 220, 120],
    [120, 220, 180],
];
const WHITE: [u8; 3] = [255; 3];
const BLACK: [u8; 3] = [0; 3];

/// The same label has the same colour in every run (FNV-1a).
fn colour(label: &str) -> [u8; 3] {
    let hash = label.bytes().fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
    });
    PALETTE[(hash >> 32) as usize % PALETTE.len()]
}

/// Lengths that follow from the frame's size.
struct Measures {
    font: u32,
    line: i64,
    pad: i64,
}

fn measures(width: usize, height: usize, style: &Style) -> Measures {
    let side = width.min(height.saturating_mul(2)) as f32;
    let font = match style.font_size {
        0 => (side.min(height as f32 * 1.4) / 36.0)
            .round()
            .clamp(11.0, 96.0) as u32,
        size => size,
    };
    let line = match style.line_width {
        0 => (height.min(width) as f32 / 300.0).round().clamp(1.0, 12.0) as i64,
        width => i64::from(width),
    };
    Measures {
        font,
        line,
        pad: i64::from(font / 4).max(2),
    }
}

fn percent(score: f64) -> String {
    if score.is_nan() {
        return "?".into();
    }
    format!("{:.0} %", score.clamp(0.0, 1.0) * 100.0)
}

/// Draws everything; boxes first, so that no box crosses the panel.
pub fn draw(
    canvas: &mut Canvas,
    font: &mut Type,
    style: &Style,
    objects: &[Detection],
    clips: &[ClassificationResult],
) {
    let measures = measures(canvas.width, canvas.height, style);
    // Large ones first: small ones stay visible on them.
    let mut order: Vec<&Detection> = objects.iter().collect();
    order.sort_by_key(|o| std::cmp::Reverse(u64::from(o.width) * u64::from(o.height)));
    if style.boxes {
        for object in &order {
            outline(canvas, object, &measures);
        }
    }
    if style.labels {
        for object in &order {
            name(canvas, font, style, object, &measures);
        }
    }
    if style.classes > 0 {
        panel(canvas, font, style, clips, &measures);
    }
}

fn outline(canvas: &mut Canvas, object: &Detection, measures: &Measures) {
    let (x, y) = (i64::from(object.x), i64::from(object.y));
    let (w, h) = (i64::from(object.width), i64::from(object.height));
    let mut frame = |grow: i64, line: i64, ink: Ink| {
        let (x, y, w, h) = (x - grow, y - grow, w + 2 * grow, h + 2 * grow);
        let line = line.min(w.div_euclid(2).max(1)).min(h.div_euclid(2).max(1));
        let mut side = |x, y, width, height| {
            let area = Area {
                x,
                y,
                width,
                height,
            };
            canvas.fill(area, ink);
        };
        side(x, y, w, line);
        side(x, y + h - line, w, line);
        side(x, y + line, line, h - 2 * line);
        side(x + w - line, y + line, line, h - 2 * line);
    };
    // A dark edge keeps the line visible on a ground of its own colour.
    let edge = (measures.line / 3).max(1);
    frame(edge, edge, Ink::new(BLACK, 0.45));
    frame(0, measures.line, Ink::new(colour(&object.label), 1.0));
}

/// The words of an object, in lines.
fn words(object: &Detection, scores: bool) -> Vec<String> {
    let mut first = object.label.clone();
    if let Some(id) = object.object_id {
        first.push_str(&format!(" #{id}"));
    }
    if let (true, Some(score)) = (scores, object.confidence) {
        first.push_str(&format!(" {}", percent(score)));
    }
    let mut lines = vec![first];
    for attribute in &object.attributes {
        lines.push(match (scores, attribute.confidence) {
            (true, Some(score)) => format!("{} {}", attribute.label, percent(score)),
            _ => attribute.label.clone(),
        });
    }
    lines.retain(|line| !line.trim().is_empty());
    lines
}

fn name(canvas: &mut Canvas, font: &mut Type, style: &Style, object: &Detection, m: &Measures) {
    let most = (canvas.width as i64 - 2 * m.pad).max(0) as usize;
    let masks: Vec<_> = words(object, style.scores)
        .iter()
        .map(|line| font.line(line, m.font, most))
        .filter(|mask| mask.width > 0)
        .collect();
    let Some(widest) = masks.iter().map(|mask| mask.width as i64).max() else {
        return;
    };
    let row = font.line_height(m.font) as i64;
    let (width, height) = (widest + 2 * m.pad, row * masks.len() as i64 + m.pad / 2);
    // On the box, or within where there is no room above; never beyond the frame.
    let top = i64::from(object.y);
    let y = if top >= height { top - height } else { top };
    let x = i64::from(object.x).min(canvas.width as i64 - width).max(0);
    let y = y.min(canvas.height as i64 - height).max(0);
    let ground = Ink::new(colour(&object.label), (style.opacity * 1.3).min(1.0));
    canvas.fill(
        Area {
            x,
            y,
            width,
            height,
        },
        ground,
    );
    let text = if ground.brightness() > 140.0 {
        BLACK
    } else {
        WHITE
    };
    for (number, mask) in masks.iter().enumerate() {
        let below = y + m.pad / 4 + row * number as i64;
        canvas.stamp(mask, x + m.pad, below, Ink::new(text, 1.0));
    }
}

fn panel(
    canvas: &mut Canvas,
    font: &mut Type,
    style: &Style,
    clips: &[ClassificationResult],
    m: &Measures,
) {
    let mut rows: Vec<(&str, f64)> = Vec::new();
    for clip in clips {
        let best = clip.labels.iter().zip(&clip.scores).take(style.classes);
        rows.extend(best.map(|(label, score)| (label.as_str(), *score)));
    }
    if rows.is_empty() {
        return;
    }
    let row = font.line_height(m.font) as i64 + m.pad;
    // What the frame has room for.
    let margin = m.pad * 2;
    let room = (canvas.height as i64 - 2 * margin - m.pad) / row;
    rows.truncate(room.max(1) as usize);
    let most = (canvas.width as i64 - 2 * margin - 2 * m.pad).max(0);
    let figure = match style.scores {
        true => font.line("100 %", m.font, most as usize).width as i64 + m.pad * 2,
        false => 0,
    };
    let names: Vec<_> = rows
        .iter()
        .map(|(label, _)| font.line(label, m.font, (most - figure).max(0) as usize))
        .collect();
    let widest = names
        .iter()
        .map(|mask| mask.width as i64)
        .max()
        .unwrap_or(0);
    let inner = (widest + figure).max(i64::from(m.font) * 6).min(most);
    let (width, height) = (inner + 2 * m.pad, row * rows.len() as i64 + m.pad);
    let (right, bottom) = (
        canvas.width as i64 - width - margin,
        canvas.height as i64 - height - margin,
    );
    let (x, y) = match style.corner {
        Corner::TopLeft => (margin, margin),
        Corner::TopRight => (right, margin),
        Corner::BottomLeft => (margin, bottom),
        Corner::BottomRight => (right, bottom),
    };
    let area = Area {
        x,
        y,
        width,
        height,
    };
    canvas.fill(area, Ink::new([16, 18, 22], style.opacity));
    for (number, ((label, score), mask)) in rows.iter().zip(&names).enumerate() {
        let top = y + m.pad / 2 + row * number as i64;
        if style.scores && score.is_finite() {
            let bar = Area {
                x: x + m.pad / 2,
                y: top + m.pad / 4,
                width: ((inner + m.pad) as f64 * score.clamp(0.0, 1.0)).round() as i64,
                height: row - m.pad / 2,
            };
            canvas.fill(bar, Ink::new(colour(label), 0.55));
        }
        let below = top + m.pad / 2;
        canvas.stamp(mask, x + m.pad, below, Ink::new(WHITE, 1.0));
        if style.scores {
            let said = font.line(&percent(*score), m.font, most as usize);
            let left = x + m.pad + inner - said.width as i64;
            canvas.stamp(&said, left, below, Ink::new(WHITE, 1.0));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::canvas::{Colours, Component, Layout, Plane};
    use super::*;
    use proptest::prelude::*;

    fn gray() -> Layout {
        Layout {
            components: vec![Component {
                plane: 0,
                offset: 0,
                step: 1,
                sub_x: 0,
                sub_y: 0,
                depth: 8,
                shift: 0,
            }],
            colours: Colours::Rgb,
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        /// Boxes of any size and place, labels of any text, on frames of any size: nothing panics.
        #[test]
        fn anything_is_drawn(
            width in 1usize..200, height in 1usize..120,
            rect: (u16, u16, u16, u16), huge: bool,
            label in "\\PC{0,30}", score: f64,
            corner in 0usize..4, classes in 0usize..6,
            font_size in 0u32..60, line_width in 0u32..20,
        ) {
            let mut font = Type::built_in().unwrap();
            let layout = gray();
            let mut data = vec![0; width * height];
            let grow = if huge { u32::MAX / 0xffff } else { 1 };
            let object = Detection {
                label: label.clone(),
                confidence: Some(score),
                x: u32::from(rect.0) * grow, y: u32::from(rect.1) * grow,
                width: u32::from(rect.2) * grow, height: u32::from(rect.3) * grow,
                ..Detection::default()
            };
            let clip = ClassificationResult {
                labels: vec![label.clone(), label],
                scores: vec![score],
                ..ClassificationResult::default()
            };
            let style = Style {
                corner: [Corner::TopLeft, Corner::TopRight, Corner::BottomLeft, Corner::BottomRight][corner],
                classes, font_size, line_width,
                ..Style::default()
            };
            let planes = vec![Plane { data: &mut data, stride: width }];
            let mut canvas = Canvas { planes, layout: &layout, width, height };
            draw(&mut canvas, &mut font, &style, &[object], &[clip]);
        }
    }

    #[test]
    fn nothing_found_draws_nothing() {
        let layout = gray();
        let mut data = vec![9; 64 * 48];
        let planes = vec![Plane {
            data: &mut data,
            stride: 64,
        }];
        let mut canvas = Canvas {
            planes,
            layout: &layout,
            width: 64,
            height: 48,
        };
        let mut font = Type::built_in().unwrap();
        draw(&mut canvas, &mut font, &Style::default(), &[], &[]);
        assert!(data.iter().all(|sample| *sample == 9));
    }
}
