// SPDX-License-Identifier: Apache-2.0
//! Filters for what is coded at its full size: the codec's loop filter, fitted on streams of each standard at
//! fine, middle and coarse quantisers. On validation clips they gain more than the net does there, for a
//! hundredth of its time; `models/restore/README.md` has the figures. Where pictures on either side may be
//! looked at, there are others, which gain more.

use super::beside::{Beside, FARTHEST, pictures};
use super::{Condition, Picture};
use crate::hint::Base;
use aivideo_codec::loop_filter::{Filters, LoopFilter};
use thiserror::Error;

/// Luma comes in blocks of this side.
const BLOCK: usize = 16;
/// Quantisers over the largest from which on a stream is of middle and of coarse quality.
const BOUNDS: [f32; 2] = [0.5, 0.65];
/// 128ths of a level that every change shrinks by, at fine, middle and coarse quality. Without, a dark clip coded at
/// 46 dB and more lost 0.3 dB.
const DOUBTS: [u8; 3] = [32, 16, 8];
/// Part of a picture that may be flat below coarse quality. A dark clip with more was coded at 47 dB and better, where
/// a good guess loses half a decibel; ten others had at most 0.22.
const FLAT: f32 = 0.3;
/// AV1, H.265, H.264, in the file's order.
const STANDARDS: usize = 3;
/// Streams of which it is not known whether pictures lean on later ones, those where none does, the others.
const KINDS: usize = 3;

#[derive(Debug, Error, PartialEq)]
pub enum FiltersError {
    #[error("no file of restoration filters: it does not begin with \"AIRF\" and version 3")]
    Magic,
    #[error("restoration filters of {actual} bytes, {expected} were due")]
    Size { actual: usize, expected: usize },
    #[error("restoration filters of standard {standard}: {reason}")]
    Filters {
        standard: usize,
        reason: &'static str,
    },
}

/// The filters, and the memory that they work in.
pub struct RestoreFilters {
    /// For none, one and more pictures on either side, by kind.
    distances: Vec<[[Filters; STANDARDS]; KINDS]>,
    work: Option<Work>,
}

struct Work {
    size: (usize, usize),
    filter: LoopFilter,
    skip: Vec<bool>,
    old: Vec<u8>,
    new: Vec<u8>,
}

impl Work {
    fn new(size: (usize, usize)) -> Self {
        let samples = size.0 * size.1;
        Self {
            size,
            filter: LoopFilter::new(size.0, size.1),
            skip: vec![false; samples / (BLOCK * BLOCK)],
            old: vec![0; samples],
            new: vec![0; samples],
        }
    }
}

impl RestoreFilters {
    /// Those that come with the plugin.
    pub fn embedded() -> Self {
        let bytes = include_bytes!("../../../../models/restore/restore-filters.bin");
        Self::parse(bytes).expect("a test reads the embedded file")
    }

    pub fn parse(bytes: &[u8]) -> Result<Self, FiltersError> {
        let numbers = bytes
            .strip_prefix(b"AIRF\x03\x00")
            .ok_or(FiltersError::Magic)?;
        let lens = || (0..=FARTHEST).map(|distance| Filters::len_beside(pictures(distance)));
        let expected = 2 * KINDS * STANDARDS * lens().sum::<usize>();
        if numbers.len() != expected {
            return Err(FiltersError::Size {
                actual: bytes.len(),
                expected: expected + 6,
            });
        }
        let pairs = numbers.chunks_exact(2);
        let numbers: Vec<u16> = pairs.map(|b| u16::from_le_bytes([b[0], b[1]])).collect();
        let mut rest = &numbers[..];
        let mut distances = Vec::new();
        for (distance, len) in lens().enumerate() {
            let mut next = |standard: usize| {
                let (numbers, after) = rest.split_at(len);
                rest = after;
                Filters::new_beside(numbers, pictures(distance))
                    .map(|filters| filters.with_doubts(DOUBTS))
                    .map_err(|reason| FiltersError::Filters { standard, reason })
            };
            let mut kind = || Ok([next(0)?, next(1)?, next(2)?]);
            distances.push([kind()?, kind()?, kind()?]);
        }
        Ok(Self {
            distances,
            work: None,
        })
    }

    /// Filters a picture's luma in place, times a strength of 0 to 1. The standard is known. What is beside has
    /// the picture as its next.
    pub fn run(
        &mut self,
        picture: &mut Picture,
        condition: Condition,
        strength: f64,
        mut beside: Option<&mut Beside>,
    ) {
        let luma = picture.components[0];
        let size = beside.as_ref().map_or_else(
            || {
                (
                    luma.width.next_multiple_of(BLOCK),
                    luma.height.next_multiple_of(BLOCK),
                )
            },
            |beside| beside.size(),
        );
        let distance = beside.as_ref().map_or(0, |beside| beside.distance());
        let others = beside.as_mut().map(|beside| beside.take());
        let others = others.unwrap_or_default();
        let kind = match condition.low_delay {
            None => 0,
            Some(true) => 1,
            Some(false) => 2,
        };
        let standards = &self.distances[distance.min(FARTHEST)][kind];
        let filters = match condition.standard {
            Base::Av1 => &standards[0],
            Base::H265 => &standards[1],
            Base::H264 => &standards[2],
            Base::Unknown => return,
        };
        let quality = condition.told[0];
        let number = 1 + BOUNDS.iter().filter(|bound| quality >= **bound).count();
        let known = self.work.take().filter(|work| work.size == size);
        let work = self.work.insert(known.unwrap_or_else(|| Work::new(size)));
        picture.read(0, size, &mut work.old);
        work.new.copy_from_slice(&work.old);
        work.filter
            .apply_beside(filters, number as u8, &mut work.new, &others, &work.skip);
        if number <= BOUNDS.len() && work.filter.flat_share() > FLAT {
            return;
        }
        let share = (strength.clamp(0.0, 1.0) * 256.0).round() as i32;
        picture.change(0, size.0, &work.old, &work.new, share);
    }
}

#[cfg(test)]
mod tests {
    use super::super::Depth;
    use super::*;

    #[test]
    fn the_embedded_file_is_sound_and_others_are_refused() {
        let bytes = include_bytes!("../../../../models/restore/restore-filters.bin");
        assert!(RestoreFilters::parse(bytes).is_ok());
        let error = |bytes: &[u8]| RestoreFilters::parse(bytes).err().unwrap();
        assert_eq!(error(b"AIRF"), FiltersError::Magic);
        assert!(matches!(error(&bytes[..100]), FiltersError::Size { .. }));
        let mut bad = bytes.to_vec();
        bad[6] = 200;
        assert!(matches!(
            error(&bad),
            FiltersError::Filters { standard: 0, .. }
        ));
    }

    /// Below coarse quality a picture that is flat in large part passes as it is, as it was coded well.
    #[test]
    fn pictures_that_are_mostly_flat_stay_but_for_coarse_quality() {
        let (width, height) = (96, 64);
        let changed = |flat_rows: usize, quality: f32| {
            let mut luma: Vec<u8> = (0..width * height)
                .map(|i| {
                    let noise = (i * 2_654_435_761) >> 7;
                    match i / width < flat_rows {
                        true => 30,
                        false => (90 + i % width / 2 + noise % 7) as u8,
                    }
                })
                .collect();
            let before = luma.clone();
            let mut chroma = vec![100u8; 2 * 48 * 32];
            let (u, v) = chroma.split_at_mut(48 * 32);
            let planes = vec![(&mut luma[..], width), (u, 48), (v, 48)];
            let mut picture = Picture::new(planes, Depth::Eight, width, height).unwrap();
            let condition = Condition::new(f64::from(quality), 1.0, Base::H265);
            RestoreFilters::embedded().run(&mut picture, condition, 1.0, None);
            drop(picture);
            luma != before
        };
        let (fine, coarse) = (BOUNDS[0] - 0.01, BOUNDS[BOUNDS.len() - 1]);
        let share = |part: f32| (part * height as f32) as usize;
        assert!(changed(0, fine));
        assert!(changed(share(FLAT - 0.1), fine));
        assert!(!changed(share(FLAT + 0.1), fine));
        assert!(!changed(share(FLAT + 0.1), coarse - 0.01));
        assert!(changed(share(FLAT + 0.1), coarse));
    }

    /// Coding noise on a smooth picture becomes less, at any size and depth, and chroma stays.
    #[test]
    fn noise_becomes_less() {
        let (width, height) = (75, 41);
        let clean = |i: usize| 60 + (i % width) as i32;
        let noise = |i: usize| ((i * 2_654_435_761) >> 7) as i32 % 3 - 1;
        for ten in [false, true] {
            let samples =
                (0..width * height).map(|i| (clean(i) + noise(i)) << if ten { 2 } else { 0 });
            let mut luma: Vec<u8> = match ten {
                false => samples.map(|v| v as u8).collect(),
                true => samples.flat_map(|v| (v as u16).to_le_bytes()).collect(),
            };
            let bytes = if ten { 2 } else { 1 };
            let mut chroma = vec![100u8; bytes * 38 * 21 * 2];
            let before = luma.clone();
            let depth = if ten {
                Depth::Ten { upper: false }
            } else {
                Depth::Eight
            };
            let (u, v) = chroma.split_at_mut(bytes * 38 * 21);
            let planes = vec![
                (&mut luma[..], bytes * width),
                (u, bytes * 38),
                (v, bytes * 38),
            ];
            let mut picture = Picture::new(planes, depth, width, height).unwrap();
            let condition = Condition::new(0.6, 1.0, Base::H265);
            RestoreFilters::embedded().run(&mut picture, condition, 1.0, None);
            drop(picture);
            let error = |data: &[u8]| -> f64 {
                let value = |i: usize| match ten {
                    false => f64::from(data[i]),
                    true => f64::from(u16::from_le_bytes([data[2 * i], data[2 * i + 1]])) / 4.0,
                };
                (0..width * height)
                    .map(|i| (value(i) - f64::from(clean(i))).powi(2))
                    .sum()
            };
            assert!(
                error(&luma) < 0.9 * error(&before),
                "{} of {}",
                error(&luma),
                error(&before)
            );
            assert!(chroma.iter().all(|v| *v == 100));
        }
    }
}
