// SPDX-License-Identifier: Apache-2.0
//! Pictures of 4:2:0 in a GPU's memory, as frames have them, and planes without anything between, as
//! networks have them; and the way from either to the other.

use crate::launch::{
    Area, Args, Launch, LaunchError, MOST, Memory, in_range, picture, plane, tensor,
};

/// How samples lie in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Samples {
    /// A byte each.
    Eight,
    /// Two bytes each, the lowest first, of which the lower ten bits count.
    TenLower,
    /// The same, of which the upper ten bits count (P010).
    TenUpper,
}

impl Samples {
    pub fn bytes(self) -> u32 {
        match self {
            Self::Eight => 1,
            Self::TenLower | Self::TenUpper => 2,
        }
    }

    pub(crate) fn code(self) -> u32 {
        match self {
            Self::Eight => 8,
            Self::TenLower => 10,
            Self::TenUpper => 16,
        }
    }

    pub(crate) fn get(self, sample: &[u8]) -> i32 {
        match self {
            Self::Eight => i32::from(sample[0]),
            Self::TenLower => i32::from(u16::from_le_bytes([sample[0], sample[1]]) & 1023),
            Self::TenUpper => i32::from(u16::from_le_bytes([sample[0], sample[1]]) >> 6),
        }
    }

    pub(crate) fn put(self, sample: &mut [u8], value: i32) {
        match self {
            Self::Eight => sample[0] = value as u8,
            Self::TenLower => sample[..2].copy_from_slice(&(value as u16).to_le_bytes()),
            Self::TenUpper => sample[..2].copy_from_slice(&((value as u16) << 6).to_le_bytes()),
        }
    }
}

/// A component of a frame: luma, or one of chroma.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Component {
    pub area: Area,
    pub width: u32,
    pub height: u32,
    pub samples: Samples,
    /// Samples from one of the component to the next: 1, or 2 where chroma is interleaved.
    pub step: u32,
    /// Which of them is the component's: 0, or 1 for the second of interleaved chroma.
    pub first: u32,
}

impl Component {
    fn step_bytes(&self) -> u32 {
        self.step * self.samples.bytes()
    }

    /// The address of the first sample, all of them being in memory.
    pub(crate) fn address(&self) -> Result<u64, LaunchError> {
        picture(self.width, self.height)?;
        in_range("step", self.step, 1..=2)?;
        in_range("first", self.first, 0..=u64::from(self.step - 1))?;
        let bytes = u64::from(self.samples.bytes());
        let first = u64::from(self.first) * bytes;
        let row = u64::from(self.width - 1) * u64::from(self.step_bytes()) + first + bytes;
        Ok(plane("the samples", self.area, row, self.height, bytes)? + first)
    }

    /// Fails where it has more than eight bits.
    pub(crate) fn check_eight(&self, what: &'static str) -> Result<(), LaunchError> {
        match self.samples {
            Samples::Eight => Ok(()),
            _ => Err(LaunchError::Table {
                what,
                problem: "it has more than eight bits",
            }),
        }
    }

    /// Bytes from a row, and from a sample of the component, to the next.
    pub(crate) fn steps(&self) -> [u32; 2] {
        [self.area.stride, self.step_bytes()]
    }

    /// Copies it to another of its size and depth, which lies elsewhere.
    pub fn copy(&self, to: &Self) -> Result<Launch, LaunchError> {
        let (from_at, to_at) = (self.address()?, to.address()?);
        if (self.width, self.height) != (to.width, to.height) || self.is_deep() != to.is_deep() {
            return Err(LaunchError::Table {
                what: "the copy of a component",
                problem: "it has another size or depth",
            });
        }
        Ok(Args::default()
            .address(from_at)
            .address(to_at)
            .u32s(&[self.width, self.height])
            .u32s(&self.steps())
            .u32s(&to.steps())
            .u32s(&[self.samples.code(), to.samples.code()])
            .launch("picture_copy", [self.width, self.height]))
    }

    fn is_deep(&self) -> bool {
        self.samples != Samples::Eight
    }

    /// The sample at a place, of memory that begins where the area does.
    ///
    /// # Panics
    /// When there is too little of it.
    pub fn get(&self, memory: &[u8], x: u32, y: u32) -> i32 {
        self.samples.get(&memory[self.offset(x, y)..])
    }

    /// Sets the sample at a place.
    ///
    /// # Panics
    /// When there is too little memory.
    pub fn put(&self, memory: &mut [u8], x: u32, y: u32, value: i32) {
        let at = self.offset(x, y);
        self.samples.put(&mut memory[at..], value);
    }

    fn offset(&self, x: u32, y: u32) -> usize {
        y as usize * self.area.stride as usize
            + (x * self.step_bytes() + self.first * self.samples.bytes()) as usize
    }

    /// Takes the upper left part of a plane, the first of `planes`, over.
    pub fn show(&self, planes: Planes, from: Memory) -> Result<Launch, LaunchError> {
        let at = self.address()?;
        self.fits(planes)?;
        let from = planes.address("the plane", Planes { count: 1, ..planes }.bytes(), from)?;
        Ok(Args::default()
            .address(from)
            .address(at)
            .u32s(&[self.width, self.height, planes.width])
            .u32s(&[self.area.stride, self.step_bytes(), self.samples.code()])
            .launch("codec_show", [self.width, self.height]))
    }

    /// Gives a plane, the first of `planes`, the component's samples in its upper left part; the rest repeats
    /// their right and lower edge.
    pub fn load(&self, planes: Planes, to: Memory) -> Result<Launch, LaunchError> {
        let at = self.address()?;
        self.fits(planes)?;
        let to = planes.address("the plane", Planes { count: 1, ..planes }.bytes(), to)?;
        Ok(Args::default()
            .address(at)
            .address(to)
            .u32s(&[self.width, self.height, planes.width, planes.rows])
            .u32s(&[self.area.stride, self.step_bytes(), self.samples.code()])
            .launch("codec_load", [planes.width, planes.rows]))
    }

    /// What [`Self::load`] writes, on the CPU, from memory that begins where the area does.
    ///
    /// # Panics
    /// When either is too short; [`Self::load`] checks.
    pub fn load_reference(&self, planes: Planes, frame: &[u8], plane: &mut [u8]) {
        let own = match planes.deep {
            true => Samples::TenLower,
            false => Samples::Eight,
        };
        for y in 0..planes.rows {
            for x in 0..planes.width {
                let (from_x, from_y) = (x.min(self.width - 1), y.min(self.height - 1));
                let from = from_y as usize * self.area.stride as usize
                    + from_x as usize * self.step_bytes() as usize
                    + (self.first * self.samples.bytes()) as usize;
                let at = (y * planes.width + x) as usize * own.bytes() as usize;
                own.put(&mut plane[at..], self.samples.get(&frame[from..]));
            }
        }
    }

    /// Whether planes have this component's depth and hold it.
    fn fits(&self, planes: Planes) -> Result<(), LaunchError> {
        planes.check()?;
        if planes.deep != (self.samples != Samples::Eight) {
            return Err(LaunchError::Table {
                what: "samples of the frame",
                problem: "they have another depth than those of the plane",
            });
        }
        in_range("plane width", planes.width, self.width.into()..=MOST.into())?;
        in_range(
            "plane height",
            planes.rows,
            self.height.into()..=MOST.into(),
        )
    }

    /// What [`Self::show`] writes, on the CPU, to memory that begins where the area does.
    ///
    /// # Panics
    /// When either is too short; [`Self::show`] checks.
    pub fn show_reference(&self, planes: Planes, from: &[u8], frame: &mut [u8]) {
        let own = match planes.deep {
            true => Samples::TenLower,
            false => Samples::Eight,
        };
        for y in 0..self.height as usize {
            for x in 0..self.width as usize {
                let at = (y * planes.width as usize + x) * own.bytes() as usize;
                let to = y * self.area.stride as usize
                    + x * self.step_bytes() as usize
                    + (self.first * self.samples.bytes()) as usize;
                self.samples.put(&mut frame[to..], own.get(&from[at..]));
            }
        }
    }
}

/// A frame: planes of luma and chroma, the latter apart or interleaved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    pub planes: Vec<Area>,
    pub samples: Samples,
    pub width: u32,
    pub height: u32,
}

impl Frame {
    /// Luma (0), U (1) or V (2); `None` where there are too few planes.
    pub fn component(&self, number: usize) -> Option<Component> {
        let apart = self.planes.len() >= 3;
        let plane = if apart { number } else { number.min(1) };
        let chroma = u32::from(number > 0);
        let interleaved = number > 0 && !apart;
        Some(Component {
            area: *self.planes.get(plane)?,
            width: (self.width + chroma) >> chroma,
            height: (self.height + chroma) >> chroma,
            samples: self.samples,
            step: if interleaved { 2 } else { 1 },
            first: u32::from(interleaved && number == 2),
        })
    }
}

/// A picture of 4:2:0: luma and both components of chroma, wherever they lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Picture {
    pub y: Component,
    pub u: Component,
    pub v: Component,
}

impl Picture {
    /// Three planes one after the other with nothing between, in memory of
    /// [`planar_bytes`](Self::planar_bytes).
    pub fn planar(memory: Memory, (width, height): (u32, u32), samples: Samples) -> Self {
        let (cw, ch) = (width.div_ceil(2), height.div_ceil(2));
        let plane = |from: u64, width: u32, height: u32| Component {
            area: Area {
                memory: memory.from(from),
                stride: width * samples.bytes(),
            },
            width,
            height,
            samples,
            step: 1,
            first: 0,
        };
        let bytes = u64::from(samples.bytes());
        let luma = u64::from(width) * u64::from(height) * bytes;
        let chroma = u64::from(cw) * u64::from(ch) * bytes;
        Self {
            y: plane(0, width, height),
            u: plane(luma, cw, ch),
            v: plane(luma + chroma, cw, ch),
        }
    }

    pub fn planar_bytes((width, height): (u32, u32), samples: Samples) -> u64 {
        let chroma = u64::from(width.div_ceil(2)) * u64::from(height.div_ceil(2));
        (u64::from(width) * u64::from(height) + 2 * chroma) * u64::from(samples.bytes())
    }

    pub fn components(&self) -> [Component; 3] {
        [self.y, self.u, self.v]
    }

    /// Width and height.
    pub fn size(&self) -> (u32, u32) {
        (self.y.width, self.y.height)
    }

    pub fn samples(&self) -> Samples {
        self.y.samples
    }

    /// The components' addresses, where they fit together: chroma has half the sides, and the same step
    /// and depth.
    pub(crate) fn addresses(&self) -> Result<[u64; 3], LaunchError> {
        let half = |c: &Component| {
            (c.width, c.height) == (self.y.width.div_ceil(2), self.y.height.div_ceil(2))
                && c.samples == self.y.samples
                && c.step == self.u.step
        };
        if self.y.step != 1 || !half(&self.u) || !half(&self.v) {
            return Err(LaunchError::Table {
                what: "the picture",
                problem: "its components do not fit together",
            });
        }
        Ok([self.y.address()?, self.u.address()?, self.v.address()?])
    }

    /// Strides, and the step of chroma, in bytes.
    pub(crate) fn strides(&self) -> [u32; 4] {
        let [y, u, v] = self.components().map(|c| c.area.stride);
        [y, u, v, self.u.step_bytes()]
    }
}

/// Planes of one size, one after the other with nothing between: eight bits in a byte, or ten in the
/// lower bits of two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Planes {
    pub width: u32,
    /// Of each.
    pub rows: u32,
    pub count: u32,
    pub deep: bool,
}

impl Planes {
    pub fn bytes(&self) -> u64 {
        u64::from(self.width) * u64::from(self.rows) * u64::from(self.count) * self.sample_bytes()
    }

    pub(crate) fn sample_bytes(&self) -> u64 {
        1 + u64::from(self.deep)
    }

    /// The largest sample.
    pub(crate) fn top(&self) -> i32 {
        if self.deep { 1023 } else { 255 }
    }

    /// The grid of all of them.
    pub(crate) fn grid(&self) -> [u32; 2] {
        [self.width, self.rows * self.count]
    }

    /// The entry for this depth.
    pub(crate) fn of(&self, eight: &'static str, ten: &'static str) -> &'static str {
        if self.deep { ten } else { eight }
    }

    pub(crate) fn check(&self) -> Result<(), LaunchError> {
        picture(self.width, self.rows)?;
        in_range("planes", self.count, 1..=2)
    }

    /// Where `bytes` of them are.
    pub(crate) fn address(
        &self,
        what: &'static str,
        bytes: u64,
        memory: Memory,
    ) -> Result<u64, LaunchError> {
        tensor(what, memory, bytes, self.sample_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(planes: usize, samples: Samples) -> Frame {
        let plane = |i: usize| Area {
            memory: Memory {
                address: 1 << (12 + i),
                bytes: 4096,
            },
            stride: 64,
        };
        Frame {
            planes: (0..planes).map(plane).collect(),
            samples,
            width: 17,
            height: 9,
        }
    }

    #[test]
    fn components_lie_where_the_format_has_them() {
        let planar = frame(3, Samples::Eight);
        let v = planar.component(2).unwrap();
        assert_eq!((v.width, v.height, v.step, v.first), (9, 5, 1, 0));
        assert_eq!(v.address(), Ok(1 << 14));
        let interleaved = frame(2, Samples::TenUpper);
        let v = interleaved.component(2).unwrap();
        assert_eq!((v.width, v.height, v.step, v.first), (9, 5, 2, 1));
        assert_eq!(v.address(), Ok((1 << 13) + 2));
        assert!(frame(0, Samples::Eight).component(0).is_none());
        assert!(frame(1, Samples::Eight).component(1).is_none());
    }

    #[test]
    fn what_does_not_fit_is_an_error() {
        let component = frame(3, Samples::Eight).component(0).unwrap();
        let planes = Planes {
            width: 64,
            rows: 16,
            count: 2,
            deep: false,
        };
        let memory = |bytes| Memory { address: 64, bytes };
        // The first of the planes is enough.
        assert!(component.show(planes, memory(1024)).is_ok());
        assert!(component.show(planes, memory(1023)).is_err());
        for wrong in [
            Planes {
                width: 16,
                ..planes
            },
            Planes { rows: 8, ..planes },
            Planes {
                deep: true,
                ..planes
            },
            Planes { count: 0, ..planes },
            Planes {
                width: MOST + 1,
                ..planes
            },
        ] {
            assert!(component.show(wrong, memory(1 << 40)).is_err(), "{wrong:?}");
        }
        let short = Component {
            height: 70,
            ..component
        };
        assert!(
            short
                .show(Planes { rows: 99, ..planes }, memory(1 << 40))
                .is_err()
        );
    }
}
