// SPDX-License-Identifier: Apache-2.0
//! An encoder's pictures in the host's memory.

use super::{Asked, Unfiltered};
use crate::bitstream::LONG_TERM_SLOTS;
use crate::coder::decision;
use crate::coder::layout::Layout;
use crate::coder::net::{Analysis, Reconstruction};
use crate::coder::refine;
use crate::coder::{CodecError, Depth, EncodeNet, Picture, Planes, restore_skips};
use crate::loop_filter::{KEY_FILTER, LoopFilter};
use crate::motion::{Field, Reference, Searcher, Variant, compensate};
use crate::residual::{self, code::Square};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// What a frame is predicted from, beside its symbols.
#[derive(Debug, Clone)]
struct Saved<S> {
    picture: Picture<S>,
    state: Vec<i8>,
}

/// Pictures at the depth of `S`, and the state.
#[derive(Debug)]
pub struct Host<S: Depth> {
    searcher: Searcher,
    reference: Reference<S>,
    search_view: S::SearchView,
    source: Picture<S>,
    prediction: Picture<S>,
    previous: Picture<S>,
    state: Vec<i8>,
    /// Behind a lock as attempts do not change the encoder.
    loop_filter: Mutex<LoopFilter>,
    kept: [Option<Saved<S>>; LONG_TERM_SLOTS],
}

impl<S: Depth> Host<S> {
    pub(super) fn new(
        net: &EncodeNet,
        layout: &Layout,
        tile_rows: usize,
        variant: Variant,
    ) -> Result<Self, CodecError> {
        net.prepare::<S>()?;
        let (width, height) = (layout.width, layout.height);
        let grey = Picture::grey(width, height);
        Ok(Self {
            searcher: Searcher::new(width, height, tile_rows, variant),
            reference: Reference::new(width, height),
            search_view: S::search_view(width, height),
            source: grey.clone(),
            prediction: grey.clone(),
            previous: grey,
            state: vec![0; net.state_len(layout)],
            loop_filter: Mutex::new(LoopFilter::new(width, height)),
            kept: Default::default(),
        })
    }

    /// The last picture.
    pub(super) fn picture(&self) -> &Picture<S> {
        &self.previous
    }

    pub(super) fn load(&mut self, planes: Planes<'_, S>) {
        self.source.load(planes);
    }

    pub(super) fn variations(&self) -> Vec<u32> {
        decision::block_variations(&self.source)
    }

    /// Predicts from grey; gives the deviations of the blocks.
    pub(super) fn start_key(&mut self) -> Vec<u32> {
        self.prediction.fill_grey();
        self.state.fill(0);
        self.searcher.reset();
        self.variations()
    }

    /// Finds the motion, or takes none, and predicts from it; gives the errors of the blocks.
    pub(super) fn predict(&mut self, search: bool, worth: f64) -> (Field, Vec<u32>) {
        self.previous.to_reference(&mut self.reference);
        let field = match search {
            true => {
                let (source, previous) = (&self.source.y, &self.previous.y);
                let view = &mut self.search_view;
                let (luma, reference) = S::seen(view, source, previous, &self.reference);
                self.searcher.search(luma, reference, worth)
            }
            false => Field::still(self.source.width / 16, self.source.height / 16),
        };
        compensate(
            &self.reference,
            &field,
            &mut self.prediction.y,
            &mut self.prediction.uv,
        );
        let errors = decision::block_errors(&self.source, &self.prediction);
        (field, errors)
    }

    /// The next frame is predicted from the one that is kept there.
    pub(super) fn recall(&mut self, slot: usize) {
        if let Some(kept) = &self.kept[slot] {
            self.previous.clone_from(&kept.picture);
            self.state.clone_from(&kept.state);
            self.searcher.reset();
        }
    }

    /// Keeps the last frame there.
    pub(super) fn keep(&mut self, slot: usize) {
        self.kept[slot] = Some(Saved {
            picture: self.previous.clone(),
            state: self.state.clone(),
        });
    }

    /// Runs the network, chooses the residual, and filters.
    pub(super) fn make(&self, asked: &Asked<'_>) -> Result<Made<S>, CodecError> {
        let start = Instant::now();
        let (layout, field) = (asked.layout, asked.field);
        let mut analysis = match field.all_skipped() {
            // There is nothing for it to say, and its state stays.
            true => Analysis {
                z: vec![0; layout.z_len()],
                y: vec![0; layout.y_len()],
                reconstruction: Reconstruction {
                    picture: self.prediction.clone(),
                    state: self.state.clone(),
                },
            },
            false => asked.net.run(
                layout,
                &self.source,
                &self.prediction,
                self.state.clone(),
                asked.network_quality,
                &field.skip,
            )?,
        };
        let network = start.elapsed();

        let start = Instant::now();
        let picture = &mut analysis.reconstruction.picture;
        if !field.all_skipped() {
            restore_skips(picture, &self.prediction, field);
        }
        let mut network_picture = None;
        if let Some(filters) = asked.key_filters {
            network_picture = asked.keep_unfiltered.then(|| picture.clone());
            let planes = picture.planes_mut();
            self.filter()
                .apply_to_frame(filters, KEY_FILTER, planes, [&field.skip; 2]);
        }
        // What the network makes of blocks is learnt from, so not what the residual adds.
        let errors = |picture: &Picture<S>| decision::block_errors(&self.source, picture);
        let mut network_errors = Vec::new();
        if asked.errors && asked.residual.is_some() {
            network_errors = errors(picture);
        }
        let residual = match asked.residual {
            Some(worth) => refine::choose(
                layout,
                &self.source,
                picture,
                &residual::classes(layout.blocks(), &analysis.y, &field.skip),
                asked.quality,
                worth,
            ),
            None => Vec::new(),
        };
        let untouched = refine::untouched(layout, asked.key, &field.skip, &residual);
        let unfiltered = asked.keep_unfiltered.then(|| {
            Box::new(Unfiltered {
                network: network_picture,
                picture: picture.clone(),
                untouched: untouched.clone(),
            })
        });
        let filter = match asked.filters {
            Some(filters) => {
                let planes = picture.planes_mut();
                self.filter().choose(
                    filters,
                    planes,
                    &self.source.y,
                    untouched.each_ref().map(Vec::as_slice),
                )
            }
            None => 0,
        };
        if asked.errors && asked.residual.is_none() {
            network_errors = errors(picture);
        }
        Ok(Made {
            z: analysis.z,
            y: analysis.y,
            filter,
            errors: network_errors,
            residual,
            unfiltered,
            result: analysis.reconstruction,
            took: [network, start.elapsed()],
        })
    }

    fn filter(&self) -> MutexGuard<'_, LoopFilter> {
        // What a poisoned one holds is written anew by each call.
        (self.loop_filter.lock()).unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes it the last frame.
    pub(super) fn take(&mut self, result: Reconstruction<S>) {
        self.state = result.state;
        self.previous = result.picture;
    }
}

/// What became of a frame.
#[derive(Debug)]
pub struct Made<S> {
    pub z: Vec<i8>,
    pub y: Vec<i16>,
    pub filter: u8,
    pub errors: Vec<u32>,
    /// By tile.
    pub residual: Vec<Vec<Square>>,
    pub unfiltered: Option<Box<Unfiltered<S>>>,
    pub result: Reconstruction<S>,
    /// By the network and by the filter.
    pub took: [std::time::Duration; 2],
}
