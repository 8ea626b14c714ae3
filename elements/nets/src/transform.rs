// SPDX-License-Identifier: Apache-2.0
//! Winograd's transforms of tiles, in SIMD.
//!
//! In one dimension, `n` outputs of a kernel of `r` taps need `n + r - 1` multiplications: inputs times `B^T`,
//! the kernel times `G`, their products times `A^T` (Toom and Cook's scheme, transposed). For two taps points are
//! 0, 1, -1, 2 and infinity, for three 0, 1, -1, 2, -2, 1/2, -1/2 and infinity.
#![allow(unsafe_code)] // calls of functions compiled for more than the baseline

use crate::compile;
use crate::conv::{After, LANES};
use crate::isa::Isa;
#[cfg(target_arch = "x86_64")]
use crate::lanes::Lanes;
use crate::map::Map;

/// A kind of kernel and how its tiles are transformed.
pub trait Scheme: Sized {
    /// Rows and columns of the kernel.
    const TAPS: usize;
    /// Between windows.
    const STRIDE: usize;
    /// Rows and columns of a tile's outputs.
    const OUT: usize;
    /// Rows and columns of a transformed tile, and of its inputs of one phase.
    const SIDE: usize;
    /// Inputs of a kernel with a stride of 2 are four maps, of even and odd rows and columns, and so are
    /// its taps: the sum of four kernels of half the side and stride 1.
    const PHASES: usize = Self::STRIDE * Self::STRIDE;

    /// A number of the transformed kernel.
    fn kernel(kernel: &[f32], phase: usize, row: usize, column: usize) -> f64;

    /// Where the columns or rows of a phase begin: the positions from that of the output on.
    fn start(odd: usize) -> isize {
        odd as isize - 1
    }

    /// `B^T` times the first [`Self::SIDE`] numbers.
    ///
    /// # Safety
    /// The processor has the instructions of `V`.
    #[cfg(target_arch = "x86_64")]
    unsafe fn inward<V: Lanes>(x: [V; MOST]) -> [V; MOST];

    /// `A^T` times the same; the first [`Self::OUT`] numbers.
    ///
    /// # Safety
    /// The processor has the instructions of `V`.
    #[cfg(target_arch = "x86_64")]
    unsafe fn outward<V: Lanes>(m: [V; MOST]) -> [V; MOST];
}

/// Tiles ahead of the one that is transformed whose inputs and outputs are asked for.
#[cfg(target_arch = "x86_64")]
const AHEAD: usize = 2;

/// The largest side of a transformed tile.
const MOST: usize = 8;
/// The most rows of outputs of a tile.
pub const MOST_OUT: usize = 6;

/// 3x3, stride 1.
#[derive(Debug)]
pub struct Three;

/// 4x4, stride 2.
#[derive(Debug)]
pub struct Four;

impl Scheme for Three {
    const TAPS: usize = 3;
    const STRIDE: usize = 1;
    const OUT: usize = 6;
    const SIDE: usize = 8;

    fn kernel(kernel: &[f32], _phase: usize, row: usize, column: usize) -> f64 {
        const G: [[f64; 3]; 8] = [
            [1.0, 0.0, 0.0],
            [-2.0 / 9.0, -2.0 / 9.0, -2.0 / 9.0],
            [-2.0 / 9.0, 2.0 / 9.0, -2.0 / 9.0],
            [1.0 / 90.0, 1.0 / 45.0, 2.0 / 45.0],
            [1.0 / 90.0, -1.0 / 45.0, 2.0 / 45.0],
            [32.0 / 45.0, 16.0 / 45.0, 8.0 / 45.0],
            [32.0 / 45.0, -16.0 / 45.0, 8.0 / 45.0],
            [0.0, 0.0, 1.0],
        ];
        (0..9)
            .map(|k| G[row][k / 3] * f64::from(kernel[k]) * G[column][k % 3])
            .sum()
    }

    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    unsafe fn inward<V: Lanes>(x: [V; MOST]) -> [V; MOST] {
        // SAFETY: the caller's promise.
        unsafe {
            let less_quarters = V::splat(-4.25);
            let even = x[4].fma(less_quarters, x[2].add(x[6]));
            let odd = x[3].fma(less_quarters, x[1].add(x[5]));
            let even_of_2 = x[2].fma(V::splat(0.25), x[4].fma(V::splat(-1.25), x[6]));
            let odd_of_2 = x[1].fma(V::splat(0.5), x[3].fma(V::splat(-2.5), x[5].add(x[5])));
            let even_of_half = x[2].fma(V::splat(4.0), x[4].fma(V::splat(-5.0), x[6]));
            let odd_of_half = x[5].fma(V::splat(0.5), x[3].fma(V::splat(-2.5), x[1].add(x[1])));
            [
                x[4].sub(x[2]).fma(V::splat(5.25), x[0].sub(x[6])),
                even.add(odd),
                even.sub(odd),
                even_of_2.add(odd_of_2),
                even_of_2.sub(odd_of_2),
                even_of_half.add(odd_of_half),
                even_of_half.sub(odd_of_half),
                x[3].sub(x[5]).fma(V::splat(5.25), x[7].sub(x[1])),
            ]
        }
    }

    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    unsafe fn outward<V: Lanes>(m: [V; MOST]) -> [V; MOST] {
        // SAFETY: the caller's promise.
        unsafe {
            let (a, b) = (m[1].add(m[2]), m[1].sub(m[2]));
            let (c, d) = (m[3].add(m[4]), m[3].sub(m[4]));
            let (e, f) = (m[5].add(m[6]), m[5].sub(m[6]));
            [
                m[0].add(a).add(c.add(e)),
                d.fma(V::splat(2.0), f.fma(V::splat(1.0 / 2.0), b)),
                c.fma(V::splat(4.0), e.fma(V::splat(1.0 / 4.0), a)),
                d.fma(V::splat(8.0), f.fma(V::splat(1.0 / 8.0), b)),
                c.fma(V::splat(16.0), e.fma(V::splat(1.0 / 16.0), a)),
                d.fma(V::splat(32.0), f.fma(V::splat(1.0 / 32.0), b))
                    .add(m[7]),
                // Beyond a tile.
                b,
                b,
            ]
        }
    }
}

impl Scheme for Four {
    const TAPS: usize = 4;
    const STRIDE: usize = 2;
    const OUT: usize = 4;
    const SIDE: usize = 5;

    /// The odd inputs, the first of which lies before the output's, meet taps 0 and 2, the even ones 1 and 3.
    fn kernel(kernel: &[f32], phase: usize, row: usize, column: usize) -> f64 {
        const G: [[f64; 2]; 5] = [
            [1.0 / 2.0, 0.0],
            [-1.0 / 2.0, -1.0 / 2.0],
            [-1.0 / 6.0, 1.0 / 6.0],
            [1.0 / 6.0, 1.0 / 3.0],
            [0.0, 1.0],
        ];
        (0..4)
            .map(|k| {
                let (y, x) = (2 * (k / 2) + phase / 2, 2 * (k % 2) + phase % 2);
                G[row][k / 2] * f64::from(kernel[4 * y + x]) * G[column][k % 2]
            })
            .sum()
    }

    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    unsafe fn inward<V: Lanes>(x: [V; MOST]) -> [V; MOST] {
        // SAFETY: the caller's promise.
        unsafe {
            let (two, less_two, less_three) = (V::splat(2.0), V::splat(-2.0), V::splat(-3.0));
            let a = x[3].sub(x[1]);
            let b = x[3].sub(x[2]);
            [
                x[0].fma(two, x[2].fma(less_two, a)),
                x[1].fma(less_two, b),
                x[1].fma(two, x[2].fma(less_three, x[3])),
                a,
                a.fma(less_two, x[4].sub(x[2])),
                // Beyond a tile.
                b,
                b,
                b,
            ]
        }
    }

    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    unsafe fn outward<V: Lanes>(m: [V; MOST]) -> [V; MOST] {
        // SAFETY: the caller's promise.
        unsafe {
            let a = m[1].add(m[2]);
            let b = m[1].sub(m[2]);
            [
                m[0].add(a).add(m[3]),
                m[3].fma(V::splat(2.0), b),
                m[3].fma(V::splat(4.0), a),
                m[3].fma(V::splat(8.0), b).add(m[4]),
                // Beyond a tile.
                b,
                b,
                b,
                b,
            ]
        }
    }
}

/// Positions that tiles reach over in rows of a map of so many.
pub fn reach(width: usize) -> usize {
    let of = |taken: usize| width.next_multiple_of(taken);
    of(Three::OUT * Three::STRIDE).max(of(Four::OUT * Four::STRIDE))
}

/// Inputs of a row of tiles.
struct Source<'a> {
    /// Of the first tile; those beyond a scheme's are not read.
    rows: [&'a [f32]; MOST],
    channels: usize,
    /// Floats from column to column.
    column: usize,
    tiles: usize,
    /// Floats from number to number of a transformed tile, and from tile to tile.
    step: [usize; 2],
}

/// An array of what an expression is for each of the numbers below [`MOST`]. Loops over registers have to be
/// written out: what the compiler does not unroll early enough goes through memory.
#[cfg(target_arch = "x86_64")]
macro_rules! each {
    ($i:ident => $value:expr) => {
        [
            each!(0, $i => $value),
            each!(1, $i => $value),
            each!(2, $i => $value),
            each!(3, $i => $value),
            each!(4, $i => $value),
            each!(5, $i => $value),
            each!(6, $i => $value),
            each!(7, $i => $value),
        ]
    };
    ($number:literal, $i:ident => $value:expr) => {{
        const $i: usize = $number;
        $value
    }};
}

/// A column of a tile, transformed.
///
/// # Safety
/// The processor has the instructions of `V`, and the pointers of the scheme's rows are good for its floats from
/// `at` on.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
unsafe fn column<V: Lanes, S: Scheme>(rows: &[*const f32; MOST], at: usize) -> [V; MOST] {
    // SAFETY: the caller's promise.
    unsafe {
        S::inward(each!(I => if I < S::SIDE {
            V::load(rows[I].add(at))
        } else {
            V::splat(0.0)
        }))
    }
}

/// Closures would be compiled without the instructions, so there are none here.
///
/// # Safety
/// The processor has the instructions of `V`; the scheme's rows have the columns of all tiles, with as many
/// channels as it says, a multiple of 16; `out` has a place for each number of each tile.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
unsafe fn gather_body<V: Lanes, S: Scheme>(from: &Source<'_>, out: &mut [f32]) {
    let rows = each!(I => from.rows[I].as_ptr());
    let [step, tile_step] = from.step;
    let next = from.column;
    let shared = S::SIDE - S::OUT;
    for group in (0..from.channels).step_by(LANES) {
        // SAFETY: all places are below what the caller promises.
        unsafe {
            let second = group + V::COUNT % LANES;
            let mut kept = [
                column::<V, S>(&rows, group),
                column::<V, S>(&rows, group + (shared - 1) * next),
            ];
            let mut kept_second = [
                column::<V, S>(&rows, second),
                column::<V, S>(&rows, second + (shared - 1) * next),
            ];
            for tile in 0..from.tiles {
                let at = S::OUT * tile * next;
                if S::STRIDE == 1 {
                    // Rows are too far from each other for the processor to see what comes.
                    let ahead = group + at + (shared + S::OUT * AHEAD) * next;
                    let _: [(); MOST] = each!(I => if I < S::SIDE {
                        let _: [(); MOST] = each!(J => if J < S::OUT {
                            V::prefetch(rows[I].wrapping_add(ahead + J * next));
                        });
                    });
                }
                let to = out.as_mut_ptr().add(tile * tile_step);
                gather_tile::<V, S>(&rows, at + group, next, &mut kept, to.add(group), step);
                if V::COUNT < LANES {
                    let to = to.add(second);
                    gather_tile::<V, S>(&rows, at + second, next, &mut kept_second, to, step);
                }
            }
        }
    }
}

/// A tile; `kept` are the columns that it shares with the one before, and then with the one after.
///
/// # Safety
/// As for [`gather_body`], at this tile.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
unsafe fn gather_tile<V: Lanes, S: Scheme>(
    rows: &[*const f32; MOST],
    at: usize,
    next: usize,
    kept: &mut [[V; MOST]; 2],
    to: *mut f32,
    step: usize,
) {
    let shared = S::SIDE - S::OUT;
    // SAFETY: the caller's promise.
    unsafe {
        let columns = each!(J => if J < shared {
            kept[J % 2]
        } else if J < S::SIDE {
            column::<V, S>(rows, at + J * next)
        } else {
            kept[0]
        });
        let _: [(); MOST] = each!(I => if I < S::SIDE {
            let row = S::inward(each!(J => columns[J][I]));
            let _: [(); MOST] = each!(J => if J < S::SIDE {
                row[J].store(to.add((S::SIDE * I + J) * step));
            });
        });
        *kept = [columns[S::OUT], columns[S::OUT + shared - 1]];
    }
}

compile! {
    gather_three(from: &Source<'_>, out: &mut [f32]) =>
    gather_body::<std::arch::x86_64::__m512, Three>(from, out),
    gather_body::<std::arch::x86_64::__m256, Three>(from, out)
}

compile! {
    gather_four(from: &Source<'_>, out: &mut [f32]) =>
    gather_body::<std::arch::x86_64::__m512, Four>(from, out),
    gather_body::<std::arch::x86_64::__m256, Four>(from, out)
}

/// Transforms a phase of the inputs of `tiles` whose first output is at `row` and `column`, a multiple of a
/// tile's: each of a tile's numbers `step[0]` floats from the one before, each tile `step[1]`.
pub fn gather<S: Scheme>(
    isa: Isa,
    input: &Map,
    [row, column, phase]: [usize; 3],
    tiles: usize,
    out: &mut [f32],
    step: [usize; 2],
) {
    let (channels, stride) = (input.channels, S::STRIDE);
    let first = |at: usize, odd: usize| (at * stride) as isize + S::start(odd);
    let [above, left] = [first(row, phase / stride), first(column, phase % stride)];
    // Below the map all is zero, as is the border.
    let last = input.height as isize;
    let source = Source {
        rows: std::array::from_fn(|i| input.from((above + (stride * i) as isize).min(last), left)),
        channels,
        column: stride * channels,
        tiles,
        step,
    };
    let columns = S::OUT * (tiles - 1) + S::SIDE;
    let reach = (columns - 1) * source.column + channels;
    let numbers = S::SIDE * S::SIDE;
    assert!(tiles > 0 && channels.is_multiple_of(LANES) && step[1] >= channels);
    assert!(out.len() >= (numbers - 1) * step[0] + (tiles - 1) * step[1] + channels);
    assert!(source.rows[..S::SIDE].iter().all(|row| row.len() >= reach));
    match stride {
        1 => gather_three(isa, &source, out),
        _ => gather_four(isa, &source, out),
    }
}

/// Where outputs go.
pub struct Target<'a> {
    pub out: &'a mut [f32],
    /// Floats from row to row.
    pub step: usize,
    /// Rows and columns that there are.
    pub size: [usize; 2],
    pub after: After,
    /// Rows that are added.
    pub add: [&'a [f32]; MOST_OUT],
}

/// # Safety
/// The processor has the instructions of `V`; `from` has as many times `step` floats as the scheme's tiles have
/// numbers, which is at least what the tiles of the target's columns have of outputs, of which `bias` has as
/// many, a multiple of 16; the target's rows have as many positions as it says, those to be added, too.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
unsafe fn spread_body<V: Lanes, S: Scheme>(
    from: &[f32],
    step: usize,
    bias: &[f32],
    to: &mut Target<'_>,
) {
    // SAFETY: the caller's promise.
    unsafe {
        match to.after {
            After::Keep => spread_tiles::<V, S, KEEP>(from, step, bias, to),
            After::Leaky => spread_tiles::<V, S, LEAKY>(from, step, bias, to),
            After::LeakyAdd => spread_tiles::<V, S, LEAKY_ADD>(from, step, bias, to),
        }
    }
}

#[cfg(target_arch = "x86_64")]
const KEEP: u8 = 0;
#[cfg(target_arch = "x86_64")]
const LEAKY: u8 = 1;
#[cfg(target_arch = "x86_64")]
const LEAKY_ADD: u8 = 2;

/// # Safety
/// As for [`spread_body`].
#[cfg(target_arch = "x86_64")]
#[inline(always)]
unsafe fn spread_tiles<V: Lanes, S: Scheme, const AFTER: u8>(
    from: &[f32],
    step: usize,
    bias: &[f32],
    to: &mut Target<'_>,
) {
    let channels = bias.len();
    let [rows, columns] = to.size;
    for group in (0..channels).step_by(LANES) {
        for tile in 0..columns.div_ceil(S::OUT) {
            let at = S::OUT * tile * channels + group;
            let out = to.out.as_mut_ptr().wrapping_add(at);
            let _: [(); MOST] = each!(I => if I < S::OUT && I < rows {
                let ahead = out.wrapping_add(I * to.step + AHEAD * S::OUT * channels);
                let _: [(); MOST] = each!(J => if J < S::OUT {
                    V::prefetch(ahead.wrapping_add(J * channels));
                });
            });
            let whole = rows == S::OUT && columns - S::OUT * tile >= S::OUT;
            for group in (group..group + LANES).step_by(V::COUNT) {
                // SAFETY: the caller's promise.
                unsafe {
                    match whole {
                        true => spread_tile::<V, S, AFTER, true>(from, step, bias, to, tile, group),
                        false => {
                            spread_tile::<V, S, AFTER, false>(from, step, bias, to, tile, group)
                        }
                    }
                }
            }
        }
    }
}

/// Some channels of a tile.
///
/// # Safety
/// As for [`spread_body`], at this tile and at the floats of `V` from `group` on; `WHOLE` only where the target
/// has all of the tile's rows and columns.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
unsafe fn spread_tile<V: Lanes, S: Scheme, const AFTER: u8, const WHOLE: bool>(
    from: &[f32],
    step: usize,
    bias: &[f32],
    to: &mut Target<'_>,
    tile: usize,
    group: usize,
) {
    let channels = bias.len();
    let [rows, columns] = to.size;
    // SAFETY: the caller's promise.
    unsafe {
        let bias = V::load(bias.as_ptr().add(group));
        let from = from.as_ptr().add(tile * channels + group);
        let at = S::OUT * tile * channels + group;
        let wide = columns - S::OUT * tile;
        let out = to.out.as_mut_ptr().add(at);
        let down = each!(J => S::outward(each!(I => if usize::max(I, J) < S::SIDE {
            V::load(from.add((S::SIDE * I + J) * step))
        } else {
            bias
        })));
        let _: [(); MOST] = each!(I => if I < S::OUT && (WHOLE || I < rows) {
            let row = S::outward(each!(J => down[J][I]));
            let _: [(); MOST] = each!(J => if J < S::OUT && (WHOLE || J < wide) {
                let mut value = row[J].add(bias);
                if AFTER != KEEP {
                    value = value.leaky();
                }
                if AFTER == LEAKY_ADD {
                    let add = to.add[I % MOST_OUT].as_ptr().add(at + J * channels);
                    value = value.add(V::load(add));
                }
                value.store(out.add(I * to.step + J * channels));
            });
        });
    }
}

compile! {
    spread_three(from: &[f32], step: usize, bias: &[f32], to: &mut Target<'_>) =>
    spread_body::<std::arch::x86_64::__m512, Three>(from, step, bias, to),
    spread_body::<std::arch::x86_64::__m256, Three>(from, step, bias, to)
}

compile! {
    spread_four(from: &[f32], step: usize, bias: &[f32], to: &mut Target<'_>) =>
    spread_body::<std::arch::x86_64::__m512, Four>(from, step, bias, to),
    spread_body::<std::arch::x86_64::__m256, Four>(from, step, bias, to)
}

/// Transforms what the dense layers made, to outputs.
pub fn spread<S: Scheme>(isa: Isa, from: &[f32], step: usize, bias: &[f32], mut to: Target<'_>) {
    let channels = bias.len();
    let [rows, columns] = to.size;
    assert!(channels.is_multiple_of(LANES) && from.len() >= S::SIDE * S::SIDE * step);
    assert!(step >= columns.div_ceil(S::OUT) * channels && (1..=S::OUT).contains(&rows));
    assert!((rows - 1) * to.step + columns * channels <= to.out.len());
    let added = match to.after {
        After::LeakyAdd => columns * channels,
        _ => 0,
    };
    assert!(to.add[..rows].iter().all(|row| row.len() >= added));
    match S::STRIDE {
        1 => spread_three(isa, from, step, bias, &mut to),
        _ => spread_four(isa, from, step, bias, &mut to),
    }
}
