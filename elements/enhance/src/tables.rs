// SPDX-License-Identifier: Apache-2.0
//! From what is to become of red, green and blue to a table for 4:2:0 pictures.

use aivideo_color::{
    planes::{self, Planes, PlanesMut},
    table::{ColorTable, TOP_8, TOP_10},
};

use aivideo_cuda::{device::Buffer, lut, picture::Picture as Picture420};

use crate::{
    chroma::Siting,
    deep::Yuv420Deep,
    device::Stream,
    frame::{Colour, Depth, Picture},
    operations::{EnhanceError, Spare},
};

fn top(depth: Depth) -> u16 {
    match depth {
        Depth::Eight => TOP_8,
        Depth::Ten => TOP_10,
    }
}

/// Offsets and spans of luma and colour differences in codes.
pub fn spans(colour: Colour, depth: Depth) -> [f64; 4] {
    let unit = f64::from(1u32 << (depth.bits() - 8));
    if colour.full_range {
        let top = f64::from(top(depth));
        [0.0, top, 128.0 * unit, top]
    } else {
        [16.0 * unit, 219.0 * unit, 128.0 * unit, 224.0 * unit]
    }
}

/// Non-linear red, green and blue of luma and chroma, given as shares of the largest code.
pub fn to_rgb(colour: Colour, depth: Depth, yuv: [f64; 3]) -> [f64; 3] {
    let [black, span, grey, chroma] = spans(colour, depth);
    let codes = yuv.map(|v| v * f64::from(top(depth)));
    let y = (codes[0] - black) / span;
    let (cb, cr) = ((codes[1] - grey) / chroma, (codes[2] - grey) / chroma);
    let (kr, kb) = colour.gamut.weights();
    let r = y + 2.0 * (1.0 - kr) * cr;
    let b = y + 2.0 * (1.0 - kb) * cb;
    [r, (y - kr * r - kb * b) / (1.0 - kr - kb), b]
}

/// The way back.
pub fn to_yuv(colour: Colour, depth: Depth, [r, g, b]: [f64; 3]) -> [f64; 3] {
    let [black, span, grey, chroma] = spans(colour, depth);
    let (kr, kb) = colour.gamut.weights();
    let y = kr * r + (1.0 - kr - kb) * g + kb * b;
    let cb = (b - y) / (2.0 * (1.0 - kb));
    let cr = (r - y) / (2.0 * (1.0 - kr));
    [black + span * y, grey + chroma * cb, grey + chroma * cr].map(|v| v / f64::from(top(depth)))
}

/// A table that does `f` to non-linear red, green and blue of pictures. Colours outside of 0 to 1
/// reach `f` too: corners there decide what happens to colours at the border.
pub fn bake(
    size: usize,
    (from, from_depth): (Colour, Depth),
    (to, to_depth): (Colour, Depth),
    mut f: impl FnMut([f64; 3]) -> [f64; 3],
) -> ColorTable {
    let steps = (size - 1) as f64;
    let entries = (0..size.pow(3)).map(|i| {
        let yuv = [i % size, i / size % size, i / size / size].map(|v| v as f64 / steps);
        to_yuv(to, to_depth, f(to_rgb(from, from_depth, yuv))).map(|v| v as f32)
    });
    ColorTable::between(
        size,
        (top(from_depth), top(to_depth)),
        [0.0; 3],
        [1.0; 3],
        entries,
    )
}

/// Puts a picture through a table made for its depth.
pub fn apply(
    table: &ColorTable,
    picture: &Picture,
    depth: Depth,
    siting: Siting,
    spare: &mut Spare,
) -> Picture {
    let cosited = siting == Siting::Left;
    let (w, h) = picture.size();
    macro_rules! run {
        ($from:expr, $to:expr) => {{
            let (from, mut to) = ($from, $to);
            let planes = Planes {
                width: w,
                height: h,
                y: &from.y,
                u: &from.u,
                v: &from.v,
            };
            let mut out = PlanesMut {
                y: &mut to.y,
                u: &mut to.u,
                v: &mut to.v,
            };
            planes::apply(table, &planes, &mut out, cosited);
            to
        }};
    }
    match (picture, depth) {
        (Picture::Eight(p), Depth::Eight) => Picture::Eight(run!(p, spare.picture(w, h))),
        (Picture::Eight(p), Depth::Ten) => Picture::Ten(run!(p, Yuv420Deep::new(w, h))),
        (Picture::Ten(p), Depth::Eight) => Picture::Eight(run!(p, spare.picture(w, h))),
        (Picture::Ten(p), Depth::Ten) => Picture::Ten(run!(p, Yuv420Deep::new(w, h))),
    }
}

/// A table in a GPU's memory, and which of its owner's tables it is.
pub struct DeviceTable {
    entries: Buffer,
    table: lut::Table,
    version: u64,
}

/// The kernel that [`DeviceTable::apply`] starts.
pub const KERNEL: &str = "lut3d_planes";

impl DeviceTable {
    /// The table there: `kept` where it is of this version, else one that is brought there now.
    pub fn of(
        kept: Option<Self>,
        stream: &Stream,
        table: &ColorTable,
        version: u64,
    ) -> Result<Self, EnhanceError> {
        let parts = table.parts();
        let form = lut::Table {
            size: parts.size as u32,
            scale: parts.scale,
            offset: parts.offset,
            fraction: parts.fraction,
            top: parts.top as u32,
        };
        let entries = match kept {
            Some(kept) if kept.version == version => return Ok(kept),
            Some(kept) if kept.table.size == form.size => kept.entries,
            _ => stream.zeros(form.entry_bytes())?,
        };
        let bytes: Vec<u8> = parts
            .entries
            .iter()
            .flatten()
            .flat_map(|v| v.to_ne_bytes())
            .collect();
        stream.write(&bytes, &entries)?;
        Ok(Self {
            entries,
            table: form,
            version,
        })
    }

    /// Puts a picture through it.
    ///
    /// # Safety
    /// The pictures' planes must be memory of the stream's GPU and live until it was waited for.
    #[allow(unsafe_code)] // starting a kernel
    pub unsafe fn apply(
        &self,
        stream: &Stream,
        from: &Picture420,
        to: &Picture420,
        siting: Siting,
    ) -> Result<(), EnhanceError> {
        let spec = lut::Yuv {
            table: self.table,
            cosited: siting == Siting::Left,
        };
        // SAFETY: the promise is the same; the entries are freed, when they are, in the stream's order.
        unsafe { stream.start(spec.launch(self.entries.memory(), from, to)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::Gamut;
    use aivideo_core::pixels::Yuv420;

    #[test]
    fn colours_come_back_from_either_range_and_depth() {
        for gamut in [Gamut::Bt601, Gamut::Bt709, Gamut::Bt2020] {
            for full_range in [false, true] {
                for depth in [Depth::Eight, Depth::Ten] {
                    let colour = Colour {
                        gamut,
                        full_range,
                        ..Colour::default()
                    };
                    for rgb in [[0.0; 3], [1.0; 3], [1.0, 0.0, 0.3], [0.2, 0.9, 0.5]] {
                        let back = to_rgb(colour, depth, to_yuv(colour, depth, rgb));
                        for (a, b) in rgb.iter().zip(back) {
                            assert!((a - b).abs() < 1e-9, "{rgb:?} {back:?}");
                        }
                    }
                }
            }
        }
        // Black and white of narrow range.
        let yuv = to_yuv(Colour::default(), Depth::Eight, [1.0; 3]).map(|v| v * 255.0);
        assert!((yuv[0] - 235.0).abs() < 1e-9 && (yuv[1] - 128.0).abs() < 1e-9);
        let yuv = to_yuv(Colour::default(), Depth::Ten, [0.0; 3]).map(|v| v * 1023.0);
        assert!((yuv[0] - 64.0).abs() < 1e-9 && (yuv[2] - 512.0).abs() < 1e-9);
    }

    #[test]
    fn a_table_that_changes_nothing_changes_nothing() {
        let colour = Colour::default();
        let table = bake(33, (colour, Depth::Eight), (colour, Depth::Eight), |c| c);
        let mut picture = Yuv420::new(64, 48);
        for (i, v) in picture.y.iter_mut().enumerate() {
            *v = (i * 37) as u8;
        }
        for (i, (u, v)) in picture.u.iter_mut().zip(&mut picture.v).enumerate() {
            (*u, *v) = ((i * 11) as u8, (i * 29) as u8);
        }
        let picture = Picture::Eight(picture);
        let out = apply(
            &table,
            &picture,
            Depth::Eight,
            Siting::Left,
            &mut Spare::default(),
        );
        assert!(out == picture);
    }
}
