// SPDX-License-Identifier: Apache-2.0
//! Words as masks, out of an outline font.

use std::collections::HashMap;
use std::sync::Arc;

use ab_glyph::{Font, FontVec, PxScale, ScaleFont, point};

use super::canvas::Mask;

/// Roboto Medium: Latin, Greek, Cyrillic. See `fonts/README.md`.
const BUILT_IN: &[u8] = include_bytes!("../../fonts/Roboto-Medium.ttf");

/// Masks kept; a detector's labels with their scores fit.
const CACHE: usize = 512;
/// Longer texts are cut before anything else, so that no label makes a mask of gigabytes.
const MAX_CHARS: usize = 200;

pub struct Type {
    font: FontVec,
    cache: HashMap<(String, u32, usize), Arc<Mask>>,
}

impl Type {
    pub fn built_in() -> Result<Self, String> {
        Self::of_bytes(BUILT_IN.to_vec())
    }

    /// A TrueType or OpenType font.
    pub fn of_bytes(bytes: Vec<u8>) -> Result<Self, String> {
        let font = FontVec::try_from_vec(bytes)
            .map_err(|_| "it is not a TrueType or OpenType font".to_string())?;
        Ok(Self {
            font,
            cache: HashMap::new(),
        })
    }

    /// Distance from baseline to baseline.
    pub fn line_height(&self, px: u32) -> usize {
        let font = self.font.as_scaled(scale(px));
        (font.height() + font.line_gap()).ceil().max(1.0) as usize
    }

    /// The text in one line, at most so wide: what does not fit ends in an ellipsis. The mask is
    /// as high as a line.
    pub fn line(&mut self, text: &str, px: u32, max_width: usize) -> Arc<Mask> {
        let key = (text.to_string(), px, max_width);
        if let Some(mask) = self.cache.get(&key) {
            return mask.clone();
        }
        let mask = Arc::new(self.draw(text, px, max_width));
        if self.cache.len() >= CACHE {
            self.cache.clear();
        }
        self.cache.insert(key, mask.clone());
        mask
    }

    fn width(&self, text: &str, px: u32) -> f32 {
        let font = self.font.as_scaled(scale(px));
        let mut width = 0.0;
        let mut last = None;
        for c in text.chars() {
            let id = font.glyph_id(c);
            width += last.map_or(0.0, |last| font.kern(last, id)) + font.h_advance(id);
            last = Some(id);
        }
        width
    }

    fn draw(&self, text: &str, px: u32, max_width: usize) -> Mask {
        let clean: String = text
            .chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .take(MAX_CHARS)
            .collect();
        let mut shown = clean;
        if self.width(&shown, px) > max_width as f32 {
            while !shown.is_empty() && self.width(&format!("{shown}…"), px) > max_width as f32 {
                shown.pop();
            }
            shown = match shown.trim_end() {
                "" => String::new(),
                rest => format!("{rest}…"),
            };
        }
        let font = self.font.as_scaled(scale(px));
        let width = self.width(&shown, px).ceil().max(0.0) as usize;
        let height = self.line_height(px);
        let mut mask = Mask {
            width,
            height,
            coverage: vec![0; width * height],
        };
        let (mut at, mut last) = (0.0, None);
        for c in shown.chars() {
            let id = font.glyph_id(c);
            at += last.map_or(0.0, |last| font.kern(last, id));
            let glyph = id.with_scale_and_position(scale(px), point(at, font.ascent()));
            if let Some(outline) = self.font.outline_glyph(glyph) {
                let bounds = outline.px_bounds();
                let (left, top) = (bounds.min.x as i64, bounds.min.y as i64);
                outline.draw(|x, y, part| {
                    let (x, y) = (left + i64::from(x), top + i64::from(y));
                    if (0..width as i64).contains(&x) && (0..height as i64).contains(&y) {
                        let sample = &mut mask.coverage[y as usize * width + x as usize];
                        *sample = sample.saturating_add((part * 255.0 + 0.5) as u8);
                    }
                });
            }
            at += font.h_advance(id);
            last = Some(id);
        }
        mask
    }
}

fn scale(px: u32) -> PxScale {
    PxScale::from(px.clamp(4, 400) as f32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn words_have_ink_and_fit() {
        let mut font = Type::built_in().unwrap();
        let whole = font.line("camera pan left", 20, 10_000);
        assert!(whole.width > 100 && whole.coverage.contains(&255));
        let cut = font.line("camera pan left", 20, 80);
        assert!(cut.width <= 80 && cut.width > 40);
        assert_eq!(font.line("camera", 20, 3).width, 0);
        // Greek, Cyrillic, accents: not the box of unknown characters.
        let unknown = font.draw("\u{4e00}", 30, 1000);
        for c in ["é", "ß", "Ω", "Ж", "ž", "…"] {
            let mask = font.draw(c, 30, 1000);
            assert!(
                mask.coverage.iter().any(|c| *c > 0) && mask != unknown,
                "{c}"
            );
        }
    }

    #[test]
    fn what_is_no_font_is_refused() {
        assert!(Type::of_bytes(b"no font".to_vec()).is_err());
        assert!(Type::of_bytes(BUILT_IN[..1000].to_vec()).is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn any_text_fits(text in "\\PC{0,60}", px in 0u32..80, width in 0usize..300) {
            let mut font = Type::built_in().unwrap();
            let mask = font.line(&text, px, width);
            prop_assert!(mask.width <= width.max(1));
            prop_assert_eq!(mask.coverage.len(), mask.width * mask.height);
        }
    }
}
