// SPDX-License-Identifier: Apache-2.0
//! A decoder's pictures in the host's memory.

use super::Coded;
use crate::bitstream::LONG_TERM_SLOTS;
use crate::coder::encoder::Timing;
use crate::coder::layout::{Layout, Tile};
use crate::coder::refine;
use crate::coder::{CodecError, DecodeNet, Depth, Picture, restore_skips};
use crate::loop_filter::{KEY_FILTER, LoopFilter};
use crate::motion::{Reference, compensate};
use std::time::Instant;

/// What a frame is predicted from, beside its symbols.
#[derive(Debug, Clone)]
struct Saved<S> {
    picture: Picture<S>,
    state: Vec<i8>,
}

/// Pictures at the depth of `S`, and the state.
#[derive(Debug)]
pub struct Host<S> {
    reference: Reference<S>,
    prediction: Picture<S>,
    previous: Picture<S>,
    state: Vec<i8>,
    loop_filter: LoopFilter,
    /// The picture that was shown before the last one, and where the next one is predicted from another,
    /// what was shown before that.
    shown: Option<Picture<S>>,
    recalled: Option<Picture<S>>,
    kept: [Option<Saved<S>>; LONG_TERM_SLOTS],
}

impl<S: Depth> Host<S> {
    pub(super) fn new(net: &DecodeNet, layout: &Layout) -> Result<Self, CodecError> {
        net.prepare::<S>()?;
        let (width, height) = (layout.width, layout.height);
        let grey = Picture::grey(width, height);
        Ok(Self {
            reference: Reference::new(width, height),
            prediction: grey.clone(),
            previous: grey,
            state: vec![0; net.state_len(layout)],
            loop_filter: LoopFilter::new(width, height),
            shown: None,
            recalled: None,
            kept: Default::default(),
        })
    }

    /// The last picture.
    pub(super) fn picture(&self) -> &Picture<S> {
        &self.previous
    }

    pub(super) fn reset_state(&mut self) -> Result<(), CodecError> {
        self.state.fill(0);
        Ok(())
    }

    /// The next frame is predicted from the one that is kept there.
    pub(super) fn recall(&mut self, slot: usize) -> Result<(), CodecError> {
        if let Some(kept) = &self.kept[slot] {
            let previous = std::mem::replace(&mut self.previous, kept.picture.clone());
            self.recalled = Some(previous);
            self.state.clone_from(&kept.state);
        }
        Ok(())
    }

    /// Keeps the last frame there.
    pub(super) fn keep(&mut self, slot: usize) -> Result<(), CodecError> {
        self.kept[slot] = Some(Saved {
            picture: self.previous.clone(),
            state: self.state.clone(),
        });
        Ok(())
    }

    /// Makes the picture of a frame.
    pub(super) fn make(
        &mut self,
        net: &DecodeNet,
        layout: &Layout,
        coded: Coded<'_>,
        timing: &mut Timing,
    ) -> Result<(), CodecError> {
        let start = Instant::now();
        if coded.key {
            self.prediction.fill_grey();
        } else {
            self.previous.to_reference(&mut self.reference);
            let prediction = &mut self.prediction;
            compensate(
                &self.reference,
                coded.field,
                &mut prediction.y,
                &mut prediction.uv,
            );
        }
        timing.motion = start.elapsed();

        let start = Instant::now();
        let Coded {
            z,
            y,
            quality,
            network_quality,
            ..
        } = coded;
        let picture = if coded.field.all_skipped() {
            self.prediction.clone()
        } else {
            let state = std::mem::take(&mut self.state);
            match net.run(layout, z, y, &self.prediction, state, network_quality) {
                Ok(mut reconstruction) => {
                    self.state = reconstruction.state;
                    restore_skips(&mut reconstruction.picture, &self.prediction, coded.field);
                    reconstruction.picture
                }
                Err(error) => {
                    // The state went with the failed call.
                    self.state = vec![0; net.state_len(layout)];
                    return Err(error);
                }
            }
        };
        timing.network = start.elapsed();
        let before = std::mem::replace(&mut self.previous, picture);
        self.shown = Some(self.recalled.take().unwrap_or(before));

        let start = Instant::now();
        let skip = &coded.field.skip;
        if let Some(filters) = coded.key_filters {
            let planes = self.previous.planes_mut();
            (self.loop_filter).apply_to_frame(filters, KEY_FILTER, planes, [skip; 2]);
        }
        refine::add(layout, coded.residual, &mut self.previous, quality);
        if let Some((filters, number)) = coded.filter {
            let untouched = refine::untouched(layout, coded.key, skip, coded.residual);
            let planes = self.previous.planes_mut();
            (self.loop_filter).apply_to_frame(
                filters,
                number,
                planes,
                untouched.each_ref().map(Vec::as_slice),
            );
        }
        timing.filter = start.elapsed();
        Ok(())
    }

    /// Shows in these tiles what was shown before.
    pub(super) fn put_back(&mut self, tiles: &[&Tile]) -> Result<(), CodecError> {
        let Some(shown) = &self.shown else {
            return Ok(());
        };
        let width = self.previous.width / crate::motion::BLOCK;
        for at in tiles.iter().flat_map(|tile| tile.blocks()) {
            self.previous.copy_block(shown, at % width, at / width);
        }
        Ok(())
    }
}
