// SPDX-License-Identifier: Apache-2.0
//! [Residuals](crate::residual) of whole pictures, tile by tile.

use super::layout::Layout;
use super::picture::Picture;
use crate::motion::{BLOCK, Sample};
use crate::residual::code::{DIVIDED, QUARTERS, SHAPES, Square, WHOLE};
use crate::residual::{self, Area, Scale, choose};
use aivideo_cuda::codec::Squares;
use rayon::prelude::*;

/// Samples of a block's luma, and of either chroma.
const LUMA: usize = BLOCK * BLOCK;
const CHROMA: usize = LUMA / 4;

/// Cuts a picture into tiles.
fn cut<'a, S>(layout: &Layout, picture: &'a mut Picture<S>) -> Vec<Area<'a, S>> {
    fn take<'a, S>(left: &mut &'a mut [S], count: usize) -> &'a mut [S] {
        let (taken, others) = std::mem::take(left).split_at_mut(count);
        *left = others;
        taken
    }
    let (mut u, mut v) = picture.uv.split_at_mut(CHROMA * layout.blocks());
    let mut y = &mut picture.y[..];
    let tiles = layout.tiles.iter().map(|tile| {
        let blocks = tile.shape.blocks();
        Area {
            width: layout.width,
            y: take(&mut y, LUMA * blocks),
            u: take(&mut u, CHROMA * blocks),
            v: take(&mut v, CHROMA * blocks),
        }
    });
    tiles.collect()
}

/// Chooses the levels of all tiles of a picture, and adds what they stand for. `worth` is the squared error that a
/// bit is worth, in that of eight bits' samples.
pub fn choose<S: Sample>(
    layout: &Layout,
    source: &Picture<S>,
    picture: &mut Picture<S>,
    classes: &[u8],
    quality: u8,
    worth: f64,
) -> Vec<Vec<Square>> {
    let worth = (worth * f64::from(1u32 << (2 * (S::BITS - 8)))) as f32;
    let (u, v) = source.uv.split_at(CHROMA * layout.blocks());
    let areas = cut(layout, picture);
    let tiles = layout.tiles.par_iter().zip(areas).map(|(tile, mut area)| {
        let blocks = tile.blocks();
        let source = [
            &source.y[LUMA * blocks.start..],
            &u[CHROMA * blocks.start..],
            &v[CHROMA * blocks.start..],
        ];
        choose::tile(source, &mut area, &classes[blocks], quality, worth)
    });
    tiles.collect()
}

/// The blocks whose luma the loop filter behind the residual leaves as it is, and those whose chroma: of which neither the network (whose picture
/// was filtered already in a key frame) nor levels say anything.
pub fn untouched(
    layout: &Layout,
    key: bool,
    skip: &[bool],
    levels: &[Vec<Square>],
) -> [Vec<bool>; 2] {
    let silent: Vec<bool> = skip.iter().map(|&skip| skip || key).collect();
    let mut untouched = [silent.clone(), silent];
    for (tile, squares) in layout.tiles.iter().zip(levels) {
        let first = tile.blocks().start;
        for square in squares {
            let blocks = &mut untouched[usize::from(square.is_chroma())];
            blocks[first + square.block as usize] = false;
        }
    }
    untouched
}

/// Adds what the levels of all tiles stand for.
pub fn add<S: Sample>(
    layout: &Layout,
    levels: &[Vec<Square>],
    picture: &mut Picture<S>,
    quality: u8,
) {
    let scale = Scale::new(quality, S::BITS);
    let tiles = levels.par_iter().zip(cut(layout, picture));
    tiles.for_each(|(squares, mut area)| {
        for square in squares {
            area.add(square, scale);
        }
    });
}

/// The levels of all tiles as a GPU takes them, by [`Shape`]; chroma's planes lie one after the other.
pub fn squares(layout: &Layout, levels: &[Vec<Square>]) -> [Squares; SHAPES] {
    let mut out: [Squares; SHAPES] = Default::default();
    for (tile, squares) in layout.tiles.iter().zip(levels) {
        let first = tile.blocks().start;
        for square in squares {
            let (place, _) = residual::place(layout.width, square.block, square.part);
            let before = match usize::from(square.part) {
                0..QUARTERS | WHOLE | DIVIDED.. => LUMA * first,
                QUARTERS => CHROMA * first,
                _ => CHROMA * (layout.blocks() + first),
            };
            let list = &mut out[square.shape() as usize];
            for (place, levels) in residual::transformed(square, place, layout.width) {
                list.push((before + place) as u32, &levels);
            }
        }
    }
    out
}
