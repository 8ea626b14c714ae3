// SPDX-License-Identifier: Apache-2.0
//! Winograd's transforms of tiles, in SIMD.
//!
//! In one dimension, four outputs of a kernel of `r` taps need `4 + r - 1` multiplications: inputs times `B^T`,
//! the kernel times `G`, their products times `A^T` (Toom and Cook's scheme, transposed). Points are 0, 1, -1, 2
//! and infinity, and for three taps -2 as well.
#![allow(unsafe_code)] // calls of functions compiled for more than the baseline

use crate::compile;
use crate::conv::{After, LANES, TILE};
use crate::isa::Isa;
#[cfg(target_arch = "x86_64")]
use crate::lanes::{Lanes, Pair};
use crate::map::Map;

/// A kind of kernel and how its tiles are transformed.
pub trait Scheme: Sized {
    /// Rows and columns of the kernel.
    const TAPS: usize;
    /// Between windows.
    const STRIDE: usize;
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

    /// `A^T` times the same.
    ///
    /// # Safety
    /// The processor has the instructions of `V`.
    #[cfg(target_arch = "x86_64")]
    unsafe fn outward<V: Lanes>(m: [V; MOST]) -> [V; TILE];
}

/// The largest side of a transformed tile.
const MOST: usize = 6;

/// 3x3, stride 1.
#[derive(Debug)]
pub struct Three;

/// 4x4, stride 2.
#[derive(Debug)]
pub struct Four;

impl Scheme for Three {
    const TAPS: usize = 3;
    const STRIDE: usize = 1;
    const SIDE: usize = 6;

    fn kernel(kernel: &[f32], _phase: usize, row: usize, column: usize) -> f64 {
        const G: [[f64; 3]; 6] = [
            [1.0 / 4.0, 0.0, 0.0],
            [-1.0 / 6.0, -1.0 / 6.0, -1.0 / 6.0],
            [-1.0 / 6.0, 1.0 / 6.0, -1.0 / 6.0],
            [1.0 / 24.0, 1.0 / 12.0, 1.0 / 6.0],
            [1.0 / 24.0, -1.0 / 12.0, 1.0 / 6.0],
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
            let (two, less_two) = (V::splat(2.0), V::splat(-2.0));
            let (four, less_four) = (V::splat(4.0), V::splat(-4.0));
            let less_five = V::splat(-5.0);
            let a = x[2].fma(less_four, x[4]);
            let b = x[1].fma(less_four, x[3]);
            let c = x[4].sub(x[2]);
            let d = x[3].sub(x[1]);
            [
                x[0].fma(four, x[2].fma(less_five, x[4])),
                a.add(b),
                a.sub(b),
                d.fma(two, c),
                d.fma(less_two, c),
                x[1].fma(four, x[3].fma(less_five, x[5])),
            ]
        }
    }

    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    unsafe fn outward<V: Lanes>(m: [V; MOST]) -> [V; TILE] {
        // SAFETY: the caller's promise.
        unsafe {
            let a = m[1].add(m[2]);
            let b = m[1].sub(m[2]);
            let c = m[3].add(m[4]);
            let d = m[3].sub(m[4]);
            [
                m[0].add(a).add(c),
                d.fma(V::splat(2.0), b),
                c.fma(V::splat(4.0), a),
                d.fma(V::splat(8.0), b).add(m[5]),
            ]
        }
    }
}

impl Scheme for Four {
    const TAPS: usize = 4;
    const STRIDE: usize = 2;
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
                x[5],
            ]
        }
    }

    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    unsafe fn outward<V: Lanes>(m: [V; MOST]) -> [V; TILE] {
        // SAFETY: the caller's promise.
        unsafe {
            let a = m[1].add(m[2]);
            let b = m[1].sub(m[2]);
            [
                m[0].add(a).add(m[3]),
                m[3].fma(V::splat(2.0), b),
                m[3].fma(V::splat(4.0), a),
                m[3].fma(V::splat(8.0), b).add(m[4]),
            ]
        }
    }
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
/// The processor has the instructions of `V`, and the pointers of the scheme's rows are good for 16 floats from
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
    for group in (0..from.channels).step_by(LANES) {
        // SAFETY: all places are below what the caller promises.
        unsafe {
            // What a tile shares with the one before: its first column, or its first two.
            let mut a = column::<V, S>(&rows, group);
            let mut b = match S::SIDE > TILE + 1 {
                true => column::<V, S>(&rows, group + next),
                false => a,
            };
            for tile in 0..from.tiles {
                let at = group + TILE * tile * next;
                if S::SIDE == TILE + 1 {
                    b = column::<V, S>(&rows, at + next);
                }
                let c = column::<V, S>(&rows, at + 2 * next);
                let d = column::<V, S>(&rows, at + 3 * next);
                let e = column::<V, S>(&rows, at + 4 * next);
                let f = match S::SIDE > TILE + 1 {
                    true => column::<V, S>(&rows, at + 5 * next),
                    false => e,
                };
                let to = out.as_mut_ptr().add(tile * tile_step + group);
                let _: [(); MOST] = each!(I => if I < S::SIDE {
                    let row = S::inward([a[I], b[I], c[I], d[I], e[I], f[I]]);
                    let _: [(); MOST] = each!(J => if J < S::SIDE {
                        row[J].store(to.add((S::SIDE * I + J) * step));
                    });
                });
                a = e;
                b = f;
            }
        }
    }
}

compile! {
    gather_three(from: &Source<'_>, out: &mut [f32]) =>
    gather_body::<std::arch::x86_64::__m512, Three>(from, out),
    gather_body::<Pair, Three>(from, out)
}

compile! {
    gather_four(from: &Source<'_>, out: &mut [f32]) =>
    gather_body::<std::arch::x86_64::__m512, Four>(from, out),
    gather_body::<Pair, Four>(from, out)
}

/// Transforms a phase of the inputs of `tiles` whose first output is at `row` and `column`, a multiple of
/// [`TILE`]: each of a tile's numbers `step[0]` floats from the one before, each tile `step[1]`.
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
    let columns = TILE * (tiles - 1) + S::SIDE;
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
    pub add: [&'a [f32]; TILE],
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
    let channels = bias.len();
    let [rows, columns] = to.size;
    for group in (0..channels).step_by(LANES) {
        // SAFETY: all places are below what the caller promises.
        unsafe {
            let bias = V::load(bias.as_ptr().add(group));
            for tile in 0..columns.div_ceil(TILE) {
                let from = from.as_ptr().add(tile * channels + group);
                let down = each!(J => S::outward(each!(I => if usize::max(I, J) < S::SIDE {
                    V::load(from.add((S::SIDE * I + J) * step))
                } else {
                    bias
                })));
                let at = TILE * tile * channels + group;
                let wide = (columns - TILE * tile).min(TILE);
                let out = to.out.as_mut_ptr().add(at);
                let _: [(); MOST] = each!(I => if I < TILE && I < rows {
                    let row = S::outward(each!(J => down[J][I % TILE]));
                    let _: [(); MOST] = each!(J => if J < TILE && J < wide {
                        let mut value = row[J % TILE].add(bias);
                        if to.after != After::Keep {
                            value = value.leaky();
                        }
                        if to.after == After::LeakyAdd {
                            let add = to.add[I % TILE].as_ptr().add(at + J * channels);
                            value = value.add(V::load(add));
                        }
                        value.store(out.add(I * to.step + J * channels));
                    });
                });
            }
        }
    }
}

compile! {
    spread_three(from: &[f32], step: usize, bias: &[f32], to: &mut Target<'_>) =>
    spread_body::<std::arch::x86_64::__m512, Three>(from, step, bias, to),
    spread_body::<Pair, Three>(from, step, bias, to)
}

compile! {
    spread_four(from: &[f32], step: usize, bias: &[f32], to: &mut Target<'_>) =>
    spread_body::<std::arch::x86_64::__m512, Four>(from, step, bias, to),
    spread_body::<Pair, Four>(from, step, bias, to)
}

/// Transforms what the dense layers made, to outputs.
pub fn spread<S: Scheme>(isa: Isa, from: &[f32], step: usize, bias: &[f32], mut to: Target<'_>) {
    let channels = bias.len();
    let [rows, columns] = to.size;
    assert!(channels.is_multiple_of(LANES) && from.len() >= S::SIDE * S::SIDE * step);
    assert!(step >= columns.div_ceil(TILE) * channels && (1..=TILE).contains(&rows));
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
