// SPDX-License-Identifier: Apache-2.0
//! What differs between samples of eight and of ten bits: how they enter and leave the networks, and
//! how the search for motion sees them. The networks know one scale only, that of eight bits, in which
//! ten are quarters of a level; the search sees eight bits only: vectors hardly depend on the rest.

use super::decoder::{Host, Pictures};
use super::fused::PIXEL_SCALE;
use super::fused::kernels;
use crate::motion::{Reference, Sample};
use aivideo_core::error::EngineError;
use aivideo_core::tensor::{ElementType, Tensor};
use aivideo_nets::isa::Isa;
use std::borrow::Cow;
use std::fmt::Debug;

/// A depth that is coded.
pub trait Depth: Sample {
    /// Of pictures in the networks' files.
    const ELEMENT: ElementType;

    fn tensor(shape: [usize; 4], samples: Vec<Self>) -> Tensor;

    fn from_tensor(tensor: Tensor) -> Result<Vec<Self>, EngineError>;

    /// Samples to the networks' unit about mid grey.
    fn to_network(isa: Isa, samples: &[Self], out: &mut [f32]);

    /// `sum + sigmoid(gate) * prediction`, rounded to samples.
    fn from_network(isa: Isa, sums: &[f32], gates: &[f32], prediction: &[f32], out: &mut [Self]);

    /// Memory for what the search sees, where that is not the picture itself.
    type SearchView: Debug + Send + Sync;

    /// For a coded size.
    fn search_view(width: usize, height: usize) -> Self::SearchView;

    /// What the search sees of a source's luma and of the reference: its luma as a plane, and packed.
    fn seen<'a>(
        view: &'a mut Self::SearchView,
        source: &'a [Self],
        previous: &[Self],
        reference: &'a Reference<Self>,
    ) -> (&'a [u8], &'a Reference);

    /// A decoder's pictures, if they have this depth and lie on the host.
    fn host(pictures: &Pictures) -> Option<&Host<Self>>;

    /// Samples out of memory.
    fn of_bytes(bytes: Vec<u8>) -> Vec<Self>;

    /// Samples as they lie in memory.
    fn bytes(samples: &[Self]) -> Cow<'_, [u8]>;
}

/// Luma of a source and of its reference, rounded to eight bits.
#[derive(Debug)]
pub struct Rounded {
    source: Vec<u8>,
    /// Its chroma is not used.
    reference: Reference,
}

fn round(from: &[u16], to: &mut [u8]) {
    for (to, from) in to.iter_mut().zip(from) {
        *to = ((from + 2) >> 2).min(255) as u8;
    }
}

impl Depth for u8 {
    const ELEMENT: ElementType = ElementType::U8;

    fn tensor(shape: [usize; 4], samples: Vec<Self>) -> Tensor {
        Tensor::u8(shape, samples)
    }

    fn from_tensor(tensor: Tensor) -> Result<Vec<Self>, EngineError> {
        tensor.into_u8()
    }

    fn to_network(isa: Isa, samples: &[Self], out: &mut [f32]) {
        kernels::samples(isa, samples, PIXEL_SCALE, out);
    }

    fn from_network(isa: Isa, sums: &[f32], gates: &[f32], prediction: &[f32], out: &mut [Self]) {
        kernels::blend(isa, sums, gates, prediction, 1.0 / PIXEL_SCALE, out);
    }

    type SearchView = ();

    fn search_view(_width: usize, _height: usize) {}

    fn seen<'a>(
        _view: &'a mut (),
        source: &'a [Self],
        _previous: &[Self],
        reference: &'a Reference<Self>,
    ) -> (&'a [u8], &'a Reference) {
        (source, reference)
    }

    fn host(pictures: &Pictures) -> Option<&Host<Self>> {
        match pictures {
            Pictures::Eight(host) => Some(host),
            Pictures::Ten(_) | Pictures::Device(_) => None,
        }
    }

    fn of_bytes(bytes: Vec<u8>) -> Vec<Self> {
        bytes
    }

    fn bytes(samples: &[Self]) -> Cow<'_, [u8]> {
        samples.into()
    }
}

impl Depth for u16 {
    const ELEMENT: ElementType = ElementType::U16;

    fn tensor(shape: [usize; 4], samples: Vec<Self>) -> Tensor {
        Tensor::u16(shape, samples)
    }

    fn from_tensor(tensor: Tensor) -> Result<Vec<Self>, EngineError> {
        tensor.into_u16()
    }

    fn to_network(isa: Isa, samples: &[Self], out: &mut [f32]) {
        kernels::samples10(isa, samples, PIXEL_SCALE / 4.0, out);
    }

    fn from_network(isa: Isa, sums: &[f32], gates: &[f32], prediction: &[f32], out: &mut [Self]) {
        kernels::blend10(isa, sums, gates, prediction, 4.0 / PIXEL_SCALE, out);
    }

    type SearchView = Rounded;

    fn search_view(width: usize, height: usize) -> Rounded {
        Rounded {
            source: vec![0; width * height],
            reference: Reference::new(width, height),
        }
    }

    fn seen<'a>(
        view: &'a mut Rounded,
        source: &'a [Self],
        previous: &[Self],
        _reference: &'a Reference<Self>,
    ) -> (&'a [u8], &'a Reference) {
        let plane = &mut view.reference.y;
        let width = plane.width();
        for (y, row) in previous.chunks_exact(width).enumerate() {
            round(row, plane.row_mut(y));
        }
        plane.extend();
        round(source, &mut view.source);
        (&view.source, &view.reference)
    }

    fn host(pictures: &Pictures) -> Option<&Host<Self>> {
        match pictures {
            Pictures::Ten(host) => Some(host),
            Pictures::Eight(_) | Pictures::Device(_) => None,
        }
    }

    fn of_bytes(bytes: Vec<u8>) -> Vec<Self> {
        let (samples, _) = bytes.as_chunks();
        samples.iter().map(|two| u16::from_ne_bytes(*two)).collect()
    }

    fn bytes(samples: &[Self]) -> Cow<'_, [u8]> {
        samples.iter().flat_map(|v| v.to_ne_bytes()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_search_sees_rounded_luma() {
        let source: Vec<u16> = (0..64 * 64).map(|i| (i % 1024) as u16).collect();
        let previous = vec![1023; 64 * 64];
        let mut view = u16::search_view(64, 64);
        let reference = Reference::<u16>::new(64, 64);
        let (luma, seen) = u16::seen(&mut view, &source, &previous, &reference);
        assert_eq!(luma[..7], [0, 0, 1, 1, 1, 1, 2]);
        assert_eq!(luma[1016..1024], [254, 254, 255, 255, 255, 255, 255, 255]);
        assert_eq!(seen.y.from(-100, -100)[0], 255);
    }
}
