// SPDX-License-Identifier: Apache-2.0
//! Tiles of a picture, and how they are cut out of whole planes.

use crate::entropy::TileShape;

/// Rows of the picture that are coded together, independently of all others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tile {
    /// First row at 1/64.
    pub first64: usize,
    pub shape: TileShape,
}

impl Tile {
    /// Blocks (1/16) of the tile in a row-by-row list of the picture's.
    pub fn blocks(&self) -> std::ops::Range<usize> {
        let first = 4 * self.first64 * self.shape.width16();
        first..first + self.shape.blocks()
    }

    /// Parts (quarters of blocks) of the tile in a row-by-row list of the picture's.
    pub fn parts(&self) -> std::ops::Range<usize> {
        let blocks = self.blocks();
        4 * blocks.start..4 * blocks.end
    }
}

/// Sizes of a stream's tensors and tiles.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// Coded size: multiples of 64.
    pub width: usize,
    pub height: usize,
    pub channels: usize,
    pub z_channels: usize,
    pub tiles: Vec<Tile>,
}

impl Layout {
    /// For a display size, cut into tiles of `tile_rows_64` times 64 luma rows.
    pub fn new(
        size: (usize, usize),
        channels: usize,
        z_channels: usize,
        tile_rows_64: usize,
    ) -> Self {
        let (width, height) = (size.0.next_multiple_of(64), size.1.next_multiple_of(64));
        let rows = height / 64;
        let step = tile_rows_64.max(1);
        let tiles = (0..rows)
            .step_by(step)
            .map(|first64| Tile {
                first64,
                shape: TileShape {
                    channels,
                    z_channels,
                    width64: width / 64,
                    height64: step.min(rows - first64),
                },
            })
            .collect();
        Self {
            width,
            height,
            channels,
            z_channels,
            tiles,
        }
    }

    /// Blocks in a row of the picture.
    pub fn blocks_wide(&self) -> usize {
        self.width / 16
    }

    pub fn blocks_high(&self) -> usize {
        self.height / 16
    }

    pub fn blocks(&self) -> usize {
        self.blocks_wide() * self.blocks_high()
    }

    /// Quarters of blocks, each with a vector.
    pub fn parts(&self) -> usize {
        4 * self.blocks()
    }

    pub fn z_len(&self) -> usize {
        self.z_channels * self.width * self.height / (64 * 64)
    }

    pub fn y_len(&self) -> usize {
        self.channels * self.blocks()
    }

    /// A tile's z out of the picture's.
    pub fn cut_z(&self, tile: &Tile, z: &[i8]) -> Vec<i8> {
        let row = self.width / 64;
        cut(
            z,
            self.z_len() / self.z_channels,
            tile.first64 * row,
            tile.shape.height64 * row,
        )
    }

    /// A tile's y out of the picture's.
    pub fn cut_y(&self, tile: &Tile, y: &[i16]) -> Vec<i16> {
        let blocks = tile.blocks();
        cut(y, self.blocks(), blocks.start, blocks.len())
    }

    /// Puts a tile's z where it belongs.
    pub fn paste_z(&self, tile: &Tile, from: &[i8], z: &mut [i8]) {
        let row = self.width / 64;
        let (start, len) = (tile.first64 * row, tile.shape.height64 * row);
        paste(z, self.z_len() / self.z_channels, start, len, from);
    }

    /// Puts a tile's y where it belongs.
    pub fn paste_y(&self, tile: &Tile, from: &[i16], y: &mut [i16]) {
        let blocks = tile.blocks();
        paste(y, self.blocks(), blocks.start, blocks.len(), from);
    }
}

fn cut<T: Copy>(all: &[T], plane: usize, start: usize, len: usize) -> Vec<T> {
    let mut out = Vec::with_capacity(all.len() / plane * len);
    for plane in all.chunks_exact(plane) {
        out.extend_from_slice(&plane[start..start + len]);
    }
    out
}

fn paste<T: Copy>(all: &mut [T], plane: usize, start: usize, len: usize, from: &[T]) {
    for (plane, from) in all.chunks_exact_mut(plane).zip(from.chunks_exact(len)) {
        plane[start..start + len].copy_from_slice(from);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_cover_the_picture_once() {
        for (width, height, rows) in [(16, 16, 2), (1280, 720, 2), (1920, 1080, 3), (65, 300, 1)] {
            let layout = Layout::new((width, height), 48, 32, rows);
            let z: Vec<i8> = (0..layout.z_len()).map(|i| i as i8).collect();
            let y: Vec<i16> = (0..layout.y_len()).map(|i| i as i16).collect();
            let (mut z2, mut y2) = (vec![0; z.len()], vec![0; y.len()]);
            let mut blocks = 0;
            for tile in &layout.tiles {
                assert_eq!(tile.blocks().start, blocks);
                blocks = tile.blocks().end;
                let (tz, ty) = (layout.cut_z(tile, &z), layout.cut_y(tile, &y));
                assert_eq!(
                    (tz.len(), ty.len()),
                    (tile.shape.z_len(), tile.shape.y_len())
                );
                layout.paste_z(tile, &tz, &mut z2);
                layout.paste_y(tile, &ty, &mut y2);
            }
            assert_eq!(blocks, layout.blocks());
            assert!(z == z2 && y == y2);
        }
    }
}
