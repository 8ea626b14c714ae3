// SPDX-License-Identifier: Apache-2.0
//! Effects that replace the picture by a function of brightness around each pixel.

use crate::picture::{Family, Picture, Plane};
use crate::simd::kernels;
use crate::workers::Tools;

/// Brightness of a picture of red, green and blue, into tightly packed rows.
pub fn copy_brightness(picture: &Picture, target: &mut [u8], tools: &Tools) {
    let color = picture.shape.color;
    let red = (color.kr * 65536.0).round() as u32;
    let blue = (color.kb * 65536.0).round() as u32;
    let weights = [red, 65536 - red - blue, blue];
    let (width, height) = (picture.shape.width, picture.shape.height);
    let mut plane = Plane {
        data: &mut target[..width * height],
        stride: width,
        width,
        height,
    };
    let [r, g, b] = [0, 1, 2].map(|i| &picture.planes[i]);
    tools.strips(&mut plane, 1, |first, strip| {
        for (y, row) in strip.rows_mut().enumerate() {
            let y = first + y;
            kernels::weigh(row, [r.row(y), g.row(y), b.row(y)], weights);
        }
    });
}

/// Rows of tightly packed memory.
pub fn brightness_plane<'m>(memory: &'m [u8], width: usize) -> impl Fn(usize) -> &'m [u8] {
    move |y| &memory[y * width..][..width]
}

/// Calls `f` for each row with the three padded rows of brightness around it (one sample more on
/// either side) and paints the result in gray.
pub fn from_brightness(
    picture: &mut Picture,
    tools: &Tools,
    f: impl Fn(&mut [u8], [&[u8]; 3]) + Sync,
) {
    let family = picture.shape.family;
    if family == Family::Rgb {
        // Red makes room for brightness; every component is painted anew in the end.
        let (width, height) = (picture.shape.width, picture.shape.height);
        let mut memory = tools.take(width * height);
        copy_brightness(picture, &mut memory, tools);
        {
            let rows = brightness_plane(&memory, width);
            tools.strips(&mut picture.planes[0], 1, |first, strip| {
                for (y, row) in strip.rows_mut().enumerate() {
                    row.copy_from_slice(rows(first + y));
                }
            });
        }
        tools.give(memory);
    }
    let padded = tools.padded(&picture.planes[0], 1);
    tools.strips(&mut picture.planes[0], 1, |first, strip| {
        for (y, row) in strip.rows_mut().enumerate() {
            let y = (first + y) as isize;
            f(row, [padded.row(y - 1), padded.row(y), padded.row(y + 1)]);
        }
    });
    tools.give_padded(padded);
    if let [gray, others @ ..] = picture.planes.as_mut_slice() {
        for plane in others {
            tools.strips(plane, 1, |first, strip| {
                for (y, row) in strip.rows_mut().enumerate() {
                    if family == Family::Rgb {
                        row.copy_from_slice(gray.row(first + y));
                    } else {
                        row.fill(128);
                    }
                }
            });
        }
    }
}
