// SPDX-License-Identifier: Apache-2.0
//! The classifier's preprocessing in two launches a picture: rows, then columns, colours and
//! normalisation. The reference is `aivideo_classify::preprocess::Preprocessor`, whose plan (which
//! samples, with which weights) the launcher takes, and whose results it gives.

use crate::{
    convert::Matrix,
    launch::{Area, Args, Element, Launch, LaunchError, Memory, in_range, picture, plane, tensor},
};

/// Weights are summed so many at a time; taps are a multiple of it.
const STEP: u32 = 8;
/// The largest side of the net's input.
const MOST_SIDE: u64 = 4096;

/// How samples along one axis make those of the crop: sample `i` is the sum of `taps` samples from
/// `first[i]` on, times `weights[i * taps ..]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Axis {
    first: Vec<u32>,
    weights: Vec<f32>,
    taps: u32,
}

impl Axis {
    /// Checks that there are `taps` weights for each sample.
    pub fn new(first: Vec<u32>, weights: Vec<f32>, taps: u32) -> Result<Self, LaunchError> {
        in_range("side of the crop", first.len() as u64, 1..=MOST_SIDE)?;
        in_range("taps", taps, 1..=1 << 20)?;
        if !taps.is_multiple_of(STEP)
            || weights.len() as u64 != first.len() as u64 * u64::from(taps)
        {
            return Err(LaunchError::Table {
                what: "weights of an axis",
                problem: "a multiple of 8 for each sample is needed",
            });
        }
        Ok(Self {
            first,
            weights,
            taps,
        })
    }

    /// Samples of the crop along the axis.
    pub fn count(&self) -> u32 {
        self.first.len() as u32
    }

    /// The first samples, to be copied to the GPU once.
    pub fn first_bytes(&self) -> Vec<u8> {
        self.first.iter().flat_map(|v| v.to_ne_bytes()).collect()
    }

    /// The weights, to be copied to the GPU once.
    pub fn weight_bytes(&self) -> Vec<u8> {
        self.weights.iter().flat_map(|v| v.to_ne_bytes()).collect()
    }

    /// Samples that any of the crop's needs: the first, and the one past the last, of `len`.
    pub fn range(&self, len: u32) -> (u32, u32) {
        let first = self.first.iter().copied().min().unwrap_or(0);
        let last = self.first.iter().copied().max().unwrap_or(0);
        (first, (last + self.taps).min(len))
    }

    /// The axis counted from the first sample that is needed.
    pub fn from_first(&self) -> Self {
        let start = self.first.iter().copied().min().unwrap_or(0);
        Self {
            first: self.first.iter().map(|v| v - start).collect(),
            ..self.clone()
        }
    }

    fn inside(&self, what: &'static str, len: u32) -> Result<(), LaunchError> {
        match self.first.iter().find(|first| **first >= len) {
            None => Ok(()),
            Some(first) => in_range(what, *first, 0..=u64::from(len.saturating_sub(1))),
        }
    }
}

/// An [`Axis`] in the GPU's memory.
#[derive(Debug, Clone, Copy)]
pub struct AxisMemory {
    pub first: Memory,
    pub weights: Memory,
}

/// Scales the rows of one plane.
#[derive(Debug, Clone)]
pub struct Rows<'a> {
    pub rows: &'a Axis,
    pub columns: &'a Axis,
    /// Of the plane, in samples.
    pub width: u32,
    pub height: u32,
    /// Components that lie between each other: 2 for interleaved chroma, 3 for RGB.
    pub channels: u32,
}

impl Rows<'_> {
    /// Floats of a scaled row.
    pub fn samples(&self) -> u32 {
        let (start, stop) = self.columns.range(self.width);
        (stop - start) * self.channels
    }

    /// Bytes of the scaled rows.
    pub fn sums_bytes(&self) -> u64 {
        u64::from(self.rows.count()) * u64::from(self.samples()) * 4
    }

    pub fn launch(
        &self,
        data: Area,
        rows: AxisMemory,
        sums: Memory,
    ) -> Result<Launch, LaunchError> {
        picture(self.width, self.height)?;
        in_range("channels", self.channels, 1..=4)?;
        self.rows.inside("first row", self.height)?;
        self.columns.inside("first column", self.width)?;
        let row = u64::from(self.width) * u64::from(self.channels);
        let data_at = plane("the plane", data, row, self.height, 1)?;
        let (first, weights) = axis("rows", self.rows, rows)?;
        let sums_at = tensor("the scaled rows", sums, self.sums_bytes(), 4)?;
        let (start, _) = self.columns.range(self.width);
        Ok(Args::default()
            .address(data_at)
            .address(first)
            .address(weights)
            .address(sums_at)
            .u32s(&[data.stride, self.height, start * self.channels])
            .u32s(&[self.samples(), self.rows.count(), self.rows.taps])
            .launch("classify_rows", [self.samples(), self.rows.count()]))
    }
}

fn axis(what: &'static str, axis: &Axis, memory: AxisMemory) -> Result<(u64, u64), LaunchError> {
    let count = u64::from(axis.count());
    Ok((
        tensor(what, memory.first, count * 4, 4)?,
        tensor(what, memory.weights, count * u64::from(axis.taps) * 4, 4)?,
    ))
}

/// What the samples of the scaled rows are.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Components {
    /// Luma, then U and V: each in rows of its own, or the latter two interleaved in one.
    Yuv { interleaved: bool, matrix: Matrix },
    /// Red, green and blue interleaved, or the other way round.
    Packed { reversed: bool },
}

/// Scales the columns, makes colours and normalises: three planes of `size` x `size`.
#[derive(Debug, Clone)]
pub struct Finish<'a> {
    /// Columns of luma (or of all three components), from [`Axis::from_first`].
    pub columns: &'a Axis,
    /// Columns of chroma.
    pub chroma_columns: &'a Axis,
    /// Samples of a scaled row of luma and of chroma, one component.
    pub samples: u32,
    pub chroma_samples: u32,
    pub components: Components,
    pub mean: [f32; 3],
    /// Standard deviations.
    pub std: [f32; 3],
    pub element: Element,
}

impl Finish<'_> {
    pub fn output_bytes(&self) -> u64 {
        let size = u64::from(self.columns.count());
        3 * size * size * self.element.bytes()
    }

    /// `sums`: the rows that [`Rows`] made of luma, U and V; of interleaved components the same
    /// memory several times.
    pub fn launch(
        &self,
        sums: [Memory; 3],
        columns: AxisMemory,
        chroma_columns: AxisMemory,
        out: Memory,
    ) -> Result<Launch, LaunchError> {
        let size = self.columns.count();
        if self.chroma_columns.count() != size {
            return Err(LaunchError::Table {
                what: "columns of chroma",
                problem: "they must be as many as those of luma",
            });
        }
        in_range(
            "samples",
            self.samples,
            1..=4 * u64::from(crate::launch::MOST),
        )?;
        in_range(
            "samples of chroma",
            self.chroma_samples,
            1..=4 * u64::from(crate::launch::MOST),
        )?;
        self.columns.inside("first column", self.samples)?;
        self.chroma_columns
            .inside("first column of chroma", self.chroma_samples)?;
        let (steps, places, matrix) = match self.components {
            Components::Yuv {
                interleaved,
                matrix,
            } => {
                let places = if interleaved { [0, 0, 1] } else { [0; 3] };
                ([1, if interleaved { 2 } else { 1 }], places, Some(matrix))
            }
            Components::Packed { reversed } => {
                let places = if reversed { [2, 1, 0] } else { [0, 1, 2] };
                ([3, 3], places, None)
            }
        };
        let counts = [self.samples, self.chroma_samples];
        let rows = [counts[0] * steps[0], counts[1] * steps[1]];
        let mut args = Args::default();
        for (c, (memory, place)) in sums.into_iter().zip(places).enumerate() {
            let needed = u64::from(rows[c.min(1)]) * u64::from(size) * 4;
            args = args.address(tensor("the scaled rows", memory, needed, 4)? + 4 * place);
        }
        let (first, weights) = axis("columns", self.columns, columns)?;
        let (chroma_first, chroma_weights) =
            axis("columns of chroma", self.chroma_columns, chroma_columns)?;
        let out = tensor("the result", out, self.output_bytes(), self.element.bytes())?;
        Ok(args
            .address(first)
            .address(chroma_first)
            .address(weights)
            .address(chroma_weights)
            .address(out)
            .u32s(&rows)
            .u32s(&steps)
            .u32s(&counts)
            .u32s(&[self.columns.taps, self.chroma_columns.taps, size])
            .u32(u32::from(matrix.is_some()))
            .f32s(&matrix.map_or([0.0; 7], |m| m.words()))
            .f32s(&self.mean)
            .f32s(&self.std)
            .u32(0)
            .launch(
                self.element
                    .of("classify_finish_f32", "classify_finish_f16"),
                [size, size],
            ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_and_memory_are_checked() {
        assert!(Axis::new(vec![0; 4], vec![0.0; 32], 8).is_ok());
        assert!(Axis::new(vec![0; 4], vec![0.0; 31], 8).is_err());
        assert!(Axis::new(vec![0; 4], vec![0.0; 28], 7).is_err());
        assert!(Axis::new(vec![], vec![], 8).is_err());
        let axis = Axis::new(vec![3, 5, 9], vec![0.0; 24], 8).unwrap();
        assert_eq!((axis.range(100), axis.range(12)), ((3, 17), (3, 12)));
        assert_eq!(axis.from_first().first, [0, 2, 6]);
        let memory = |bytes| Memory { address: 64, bytes };
        let given = AxisMemory {
            first: memory(12),
            weights: memory(96),
        };
        let rows = Rows {
            rows: &axis,
            columns: &axis,
            width: 10,
            height: 10,
            channels: 1,
        };
        let area = |bytes| Area {
            memory: memory(bytes),
            stride: 10,
        };
        let enough = memory(rows.sums_bytes());
        assert!(rows.launch(area(100), given, enough).is_ok());
        assert!(rows.launch(area(99), given, enough).is_err());
        assert!(
            rows.launch(area(100), given, memory(rows.sums_bytes() - 1))
                .is_err()
        );
        let short = AxisMemory {
            weights: memory(95),
            ..given
        };
        assert!(rows.launch(area(100), short, enough).is_err());
        // A tap that begins behind the plane.
        let narrow = Rows { height: 9, ..rows };
        assert!(narrow.launch(area(100), given, enough).is_err());
    }
}
