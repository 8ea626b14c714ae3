// SPDX-License-Identifier: Apache-2.0
//! The same preparation of frames that lie in a GPU's memory: kernels follow the plan of a
//! [`Preprocessor`] and give its numbers, and only those cross the bus.

#![allow(unsafe_code)] // starting kernels

use aivideo_cuda::{
    Area, Element, LaunchError,
    classify::{self, AxisMemory, Components, Finish, Rows},
    convert::{Colour, Depth, Matrix},
    device::{Buffer, DeviceError, Gpu},
};

use super::{Axis, Order, Preprocessor};

/// The kernels that this starts.
pub const KERNELS: [&str; 2] = ["classify_rows", "classify_finish_f32"];

/// The pixels of a frame in the GPU's memory; see [`super::Pixels`].
#[derive(Debug, Clone, Copy)]
pub enum DevicePixels {
    Planar { y: Area, u: Area, v: Area },
    SemiPlanar { y: Area, uv: Area },
    Packed { rgb: Area, order: Order },
}

#[derive(Debug, thiserror::Error)]
pub enum DevicePreprocessError {
    #[error(transparent)]
    Launch(#[from] LaunchError),
    #[error(transparent)]
    Gpu(#[from] DeviceError),
}

/// How one axis is scaled, in the GPU's memory.
struct Scaled {
    axis: classify::Axis,
    first: Buffer,
    weights: Buffer,
}

impl Scaled {
    fn new(gpu: &Gpu, axis: classify::Axis) -> Result<Self, DevicePreprocessError> {
        Ok(Self {
            first: gpu.upload(&axis.first_bytes())?,
            weights: gpu.upload(&axis.weight_bytes())?,
            axis,
        })
    }

    fn of_plan(gpu: &Gpu, axis: Axis<'_>) -> Result<Self, DevicePreprocessError> {
        let first = axis.first.iter().map(|first| *first as u32).collect();
        let axis = classify::Axis::new(first, axis.weights.to_vec(), axis.taps as u32)?;
        Self::new(gpu, axis)
    }

    fn memory(&self) -> AxisMemory {
        AxisMemory {
            first: self.first.memory(),
            weights: self.weights.memory(),
        }
    }
}

/// Prepares frames of one size and colour for one model on a GPU.
pub struct DevicePreprocessor {
    spec: super::Preprocessing,
    matrix: Matrix,
    size: (u32, u32),
    chroma_size: (u32, u32),
    rows: Scaled,
    columns: Scaled,
    /// Counted from the first that is needed.
    columns_from_first: Scaled,
    chroma_rows: Scaled,
    chroma_columns: Scaled,
    chroma_columns_from_first: Scaled,
    /// Scaled rows of each plane.
    sums: [Buffer; 3],
    out: Buffer,
}

impl DevicePreprocessor {
    /// What the preprocessor does, on this GPU.
    pub fn new(gpu: &Gpu, cpu: &Preprocessor) -> Result<Self, DevicePreprocessError> {
        let plan = cpu.plan();
        let number = |(width, height): (usize, usize)| (width as u32, height as u32);
        let (rows, columns) = (
            Scaled::of_plan(gpu, plan.rows)?,
            Scaled::of_plan(gpu, plan.columns)?,
        );
        let (chroma_rows, chroma_columns) = (
            Scaled::of_plan(gpu, plan.chroma_rows)?,
            Scaled::of_plan(gpu, plan.chroma_columns)?,
        );
        let colour = Colour {
            kr: cpu.colour.kr,
            kb: cpu.colour.kb,
            full_range: cpu.colour.full_range,
        };
        // Room for the widest use of each: three interleaved components, then two, then one.
        let room = |rows: &Scaled, columns: &Scaled, (width, height), channels| {
            let stage = Rows {
                rows: &rows.axis,
                columns: &columns.axis,
                width,
                height,
                channels,
            };
            gpu.zeros(stage.sums_bytes() as usize)
        };
        let (size, chroma_size) = (number((cpu.width, cpu.height)), number(plan.chroma_size));
        let sums = [
            room(&rows, &columns, size, 3)?,
            room(&chroma_rows, &chroma_columns, chroma_size, 2)?,
            room(&chroma_rows, &chroma_columns, chroma_size, 1)?,
        ];
        Ok(Self {
            spec: cpu.spec.clone(),
            matrix: Matrix::new(&colour, Depth::Eight),
            size,
            chroma_size,
            columns_from_first: Scaled::new(gpu, columns.axis.from_first())?,
            chroma_columns_from_first: Scaled::new(gpu, chroma_columns.axis.from_first())?,
            rows,
            columns,
            chroma_rows,
            chroma_columns,
            sums,
            out: gpu.zeros(4 * cpu.output_len())?,
        })
    }

    /// Prepares one frame, and waits for it.
    ///
    /// # Safety
    /// The planes must be memory of this GPU and live until its stream was waited for.
    pub unsafe fn run(
        &mut self,
        gpu: &Gpu,
        pixels: DevicePixels,
    ) -> Result<Vec<f32>, DevicePreprocessError> {
        // Planes with their components, and the plane of each component.
        let (planes, components, of): (&[(Area, u32)], _, [usize; 3]) = match pixels {
            DevicePixels::Planar { y, u, v } => {
                (&[(y, 1), (u, 1), (v, 1)], self.yuv(false), [0, 1, 2])
            }
            DevicePixels::SemiPlanar { y, uv } => (&[(y, 1), (uv, 2)], self.yuv(true), [0, 1, 1]),
            DevicePixels::Packed { rgb, order } => (
                &[(rgb, 3)],
                Components::Packed {
                    reversed: order == Order::Bgr,
                },
                [0, 0, 0],
            ),
        };
        let mut samples = [0; 3];
        for (i, (area, channels)) in planes.iter().enumerate() {
            let (rows, columns, size) = match i {
                0 => (&self.rows, &self.columns, self.size),
                _ => (&self.chroma_rows, &self.chroma_columns, self.chroma_size),
            };
            let stage = Rows {
                rows: &rows.axis,
                columns: &columns.axis,
                width: size.0,
                height: size.1,
                channels: *channels,
            };
            samples[i] = stage.samples() / channels;
            let launch = stage.launch(*area, rows.memory(), self.sums[i].memory())?;
            // SAFETY: the planes are the caller's promise; what is ours is freed, when it is, in the
            // order of the stream.
            unsafe { gpu.start(&launch) }?;
        }
        let packed = planes.len() == 1;
        let columns = &self.columns_from_first;
        let chroma_columns = match packed {
            true => columns,
            false => &self.chroma_columns_from_first,
        };
        let finish = Finish {
            columns: &columns.axis,
            chroma_columns: &chroma_columns.axis,
            samples: samples[0],
            chroma_samples: samples[of[1]],
            components,
            mean: self.spec.mean,
            std: self.spec.std,
            element: Element::F32,
        };
        let launch = finish.launch(
            of.map(|plane| self.sums[plane].memory()),
            columns.memory(),
            chroma_columns.memory(),
            self.out.memory(),
        )?;
        // SAFETY: as above.
        unsafe { gpu.start(&launch) }?;
        let bytes = gpu.download(&self.out)?;
        Ok(bytes
            .chunks_exact(4)
            .map(|b| f32::from_ne_bytes([b[0], b[1], b[2], b[3]]))
            .collect())
    }

    fn yuv(&self, interleaved: bool) -> Components {
        Components::Yuv {
            interleaved,
            matrix: self.matrix,
        }
    }
}
