// SPDX-License-Identifier: Apache-2.0
//! What an element answers to those around it about frames in a GPU's memory: contexts, caps, pools.

use gst::prelude::*;

use super::{CAT, CONTEXT_TYPE, Card, CudaError, Frames, POOL_TYPE, Place};
use crate::nvmm;

/// What an element can do with frames in a GPU's memory, apart from its state, which is locked while a frame is
/// worked on.
#[derive(Clone, Copy, Default)]
pub struct Offer {
    /// Before that, whether there will be a GPU is open.
    started: bool,
    gpu: Option<u32>,
    card: Option<&'static Card>,
    nvmm: bool,
}

impl Offer {
    /// Before the start, when only a device that is named is known.
    pub fn before_start(gpu: Option<u32>) -> Self {
        Self {
            gpu,
            ..Self::default()
        }
    }

    /// After it, of an element that works on this GPU and maps such frames.
    pub fn started(gpu: Option<u32>, frames: Option<&Frames>) -> Self {
        Self {
            started: true,
            gpu,
            card: frames.and_then(Frames::card),
            nvmm: frames.is_some_and(|frames| frames.takes(Place::Nvmm)),
        }
    }

    fn takes(&self, place: Place) -> bool {
        match place {
            Place::Cuda => self.card.is_some(),
            Place::Nvmm => self.nvmm,
        }
    }

    /// Answers a query for a CUDA context. False where it is another query, or there is no GPU to speak of.
    pub fn answer(&self, element: &impl IsA<gst::Element>, query: &mut gst::QueryRef) -> bool {
        let asked = match query.view() {
            gst::QueryView::Context(context) => context.context_type() == CONTEXT_TYPE,
            _ => false,
        };
        let Some(index) = self.gpu.filter(|_| asked) else {
            return false;
        };
        let card = match Card::of(index) {
            Ok(card) => card,
            Err(err) => {
                gst::info!(CAT, obj = element, "No context for others: {err}");
                return false;
            }
        };
        // SAFETY: element, query and context are what the function takes; it sets the query's context.
        unsafe {
            (card.library.handle_context_query)(
                element.upcast_ref::<gst::Element>().as_ptr().cast(),
                query.as_mut_ptr().cast(),
                card.context(),
            ) != 0
        }
    }

    /// The caps without those in a GPU's memory that the element cannot take or make.
    pub fn possible(&self, caps: &gst::Caps) -> gst::Caps {
        if !self.started {
            return caps.clone();
        }
        let mut rest = gst::Caps::new_empty();
        let rest_mut = rest.make_mut();
        for (structure, features) in caps.iter_with_features() {
            if Place::of_features(features).is_none_or(|place| self.takes(place)) {
                rest_mut.append_structure_full(structure.to_owned(), Some(features.to_owned()));
            }
        }
        rest
    }

    /// Where frames of these caps lie, or why they cannot be taken.
    pub fn place(&self, caps: &gst::CapsRef) -> Result<Option<Place>, String> {
        match Place::of(caps) {
            Some(place) if !self.takes(place) => Err(
                "Frames in a GPU's memory need the model there (device=cuda), and those in CUDAMemory \
                 GStreamer's CUDA library; put cudadownload or nvvideoconvert before this element"
                    .to_string(),
            ),
            place => Ok(place),
        }
    }

    /// Offers a pool to the element before, for frames in CUDAMemory and where nobody behind has one: frames that
    /// are changed in place stay where they are, so a pool from behind is the better. DeepStream's elements bring
    /// their own. `answered` is what the base class has said, which knows nothing of such frames.
    pub fn propose(
        &self,
        query: &mut gst::query::Allocation,
        answered: Result<(), gst::LoggableError>,
    ) -> Result<(), gst::LoggableError> {
        let Some(card) = self.card else {
            return answered;
        };
        let caps = query.get_owned().0;
        let caps = caps.filter(|caps| Place::of(caps) == Some(Place::Cuda));
        let Some(caps) = caps.filter(|_| query.allocation_pools().next().is_none()) else {
            return Ok(());
        };
        let (pool, size) = card
            .pool(&caps)
            .map_err(|err| gst::loggable_error!(CAT, "{err}"))?;
        query.add_allocation_pool(Some(&pool), size, 0, 0);
        query.add_allocation_meta::<gst_video::VideoMeta>(None);
        Ok(())
    }

    /// Makes sure that the element's results go to frames in the GPU's memory, where the caps say so: in CUDAMemory to
    /// a pool from behind or, where nobody there has one, to one of the primary context; in NVMM to one of
    /// DeepStream's pools, made here, since a description of another may be of memory that kernels cannot reach. Says
    /// where.
    pub fn decide(
        &self,
        query: &mut gst::query::Allocation,
    ) -> Result<Option<Place>, gst::LoggableError> {
        self.choose_pool(query)
            .map_err(|err| gst::loggable_error!(CAT, "{err}"))
    }

    fn choose_pool(&self, query: &mut gst::query::Allocation) -> Result<Option<Place>, CudaError> {
        let Some(caps) = query.get_owned().0 else {
            return Ok(None);
        };
        let place = Place::of(&caps);
        let (pool, size) = match (place, self.card, self.gpu) {
            (Some(Place::Cuda), Some(card), _) => {
                let theirs = query
                    .allocation_pools()
                    .next()
                    .and_then(|(pool, ..)| pool)
                    .is_some_and(|pool| pool.type_().name() == POOL_TYPE);
                if theirs {
                    return Ok(place);
                }
                card.pool(&caps)?
            }
            (Some(Place::Nvmm), _, Some(gpu)) => nvmm::pool(&caps, gpu)
                .map_err(|reason| CudaError::NvmmPool(caps.to_string(), reason))?,
            _ => return Ok(place),
        };
        match query.allocation_pools().next().is_some() {
            true => query.set_nth_allocation_pool(0, Some(&pool), size, 0, 0),
            false => query.add_allocation_pool(Some(&pool), size, 0, 0),
        }
        Ok(place)
    }
}
