// SPDX-License-Identifier: Apache-2.0
//! Chains of tables on frames in a GPU's memory, changed where they are. What looks at more than a pixel,
//! or converts colours, has no kernels.

#![allow(unsafe_code)] // starting kernels

use aivideo_cuda::{
    Area, Launch, LaunchError, Memory,
    device::{Buffer, DeviceError, Gpu},
    lut,
    point::Point,
};

use crate::{
    chain::{Chain, TableStep},
    deep::{DeepChain, DeepFormat},
    picture::PixelFormat,
};

/// The kernels that this starts.
pub const KERNELS: [&str; 3] = ["point_8", "point_10", "lut3d_rgba"];

/// Why a chain does not run on a GPU.
#[derive(Debug, thiserror::Error)]
pub enum CardError {
    /// It is more than tables: why.
    #[error("{0}")]
    NotTables(&'static str),
    #[error(transparent)]
    Launch(#[from] LaunchError),
    #[error(transparent)]
    Device(#[from] DeviceError),
}

/// A walk over a frame, without its memory.
enum Step {
    /// Over the samples of a plane.
    Plane(usize, Point),
    /// Over packed pixels.
    Pixels(lut::Table, [u32; 3]),
}

/// What a chain does, and its tables' bytes.
pub struct Plan {
    steps: Vec<(Step, Vec<u8>)>,
    size: (u32, u32),
}

impl Plan {
    /// Of a chain for pictures of eight bits.
    pub fn eight(
        chain: &Chain,
        format: PixelFormat,
        (width, height): (usize, usize),
    ) -> Result<Self, CardError> {
        let mut steps = Vec::new();
        for step in chain.table_steps(format).map_err(CardError::NotTables)? {
            match step {
                TableStep::Planes(tables) => {
                    for (plane, table) in tables.iter().enumerate() {
                        if table.is_identity() {
                            continue;
                        }
                        let (row, rows) = format.plane_size(plane, width, height);
                        let spec = Point {
                            width: row as u32,
                            height: rows as u32,
                            period: table.period().len() as u32,
                            deep: false,
                            upper: false,
                        };
                        let bytes = table.period().flatten().copied().collect();
                        steps.push((Step::Plane(plane, spec), bytes));
                    }
                }
                TableStep::Color(table) => {
                    let places = format.colors_of_four().ok_or(CardError::NotTables(
                        "a colour table needs pixels of four bytes (RGBA, BGRx and their like)",
                    ))?;
                    let parts = table.parts();
                    let form = lut::Table {
                        size: parts.size as u32,
                        scale: parts.scale,
                        offset: parts.offset,
                        fraction: parts.fraction,
                        top: parts.top as u32,
                    };
                    let entries = parts.entries.iter().flatten();
                    let bytes = entries.flat_map(|v| v.to_ne_bytes()).collect();
                    steps.push((Step::Pixels(form, places), bytes));
                }
            }
        }
        Ok(Self {
            steps,
            size: (width as u32, height as u32),
        })
    }

    /// Of a chain for pictures of ten bits.
    pub fn ten(
        chain: &DeepChain,
        format: DeepFormat,
        (width, height): (usize, usize),
    ) -> Result<Self, CardError> {
        let tables = chain.tables().map_err(CardError::NotTables)?;
        let mut steps = Vec::new();
        for plane in 0..tables.map_or(0, |_| format.plane_count()) {
            let Some(tables) = tables else { continue };
            let (row, rows) = format.plane_size(plane, width, height);
            // Luma, one of chroma, or both in turns.
            let own = match (plane, format) {
                (0, _) => &tables[..1],
                (_, DeepFormat::P010le) => &tables[1..],
                (plane, DeepFormat::I42010le) => &tables[plane..=plane],
            };
            let spec = Point {
                width: row as u32 / 2,
                height: rows as u32,
                period: own.len() as u32,
                deep: true,
                upper: format.shift() > 0,
            };
            let numbers = own.iter().flat_map(|table| table.iter());
            let bytes = numbers.flat_map(|v| v.to_ne_bytes()).collect();
            steps.push((Step::Plane(plane, spec), bytes));
        }
        Ok(Self {
            steps,
            size: (width as u32, height as u32),
        })
    }

    /// Brings the tables to the GPU.
    pub fn upload(self, gpu: &Gpu) -> Result<CardChain, CardError> {
        let steps = self.steps.into_iter().map(|(step, bytes)| {
            let buffer = gpu.zeros(bytes.len())?;
            gpu.write(&bytes, &buffer)?;
            Ok((step, buffer))
        });
        Ok(CardChain {
            steps: steps.collect::<Result<_, DeviceError>>()?,
            size: self.size,
        })
    }
}

/// A chain with its tables on the GPU.
pub struct CardChain {
    steps: Vec<(Step, Buffer)>,
    size: (u32, u32),
}

impl CardChain {
    /// True when frames stay as they are.
    pub fn is_identity(&self) -> bool {
        self.steps.is_empty()
    }

    fn launch(&self, step: &Step, tables: Memory, planes: &[Area]) -> Result<Launch, LaunchError> {
        let plane = |at: usize| {
            planes.get(at).copied().ok_or(LaunchError::Table {
                what: "the frame",
                problem: "it has fewer planes than its format",
            })
        };
        match step {
            Step::Plane(at, spec) => spec.launch(tables, plane(*at)?),
            Step::Pixels(table, places) => table.packed(tables, self.size, *places, plane(0)?),
        }
    }

    /// Starts all that changes a frame.
    ///
    /// # Safety
    /// The planes must be memory of this GPU and live until its stream was waited for.
    pub unsafe fn start(&self, gpu: &Gpu, planes: &[Area]) -> Result<(), CardError> {
        for (step, tables) in &self.steps {
            let launch = self.launch(step, tables.memory(), planes)?;
            // SAFETY: the planes are the caller's promise; tables are freed, when they are, in the order
            // of the stream.
            unsafe { gpu.start(&launch) }?;
        }
        Ok(())
    }
}
