// SPDX-License-Identifier: Apache-2.0
//! The classification result that rides on buffers: a `GstCustomMeta`, which works from
//! GStreamer 1.20 on and needs no code in the applications that read it.
//!
//! The structure of the meta, and of the element message of the same content, has the fields
//! `model` (string), `clip-start` and `clip-end` (uint64, nanoseconds of buffer time stamps of the first
//! and past the last frame of the clip), `labels` (array of string) and `scores` (array of double),
//! best first.

use std::sync::Mutex;

use gst::meta::CustomMeta;

/// Name of the meta, for `gst_buffer_get_custom_meta()`.
pub const CLASSIFICATION_META: &str = "AiVideoClassificationMeta";
/// Name of the structure in element messages.
pub const CLASSIFICATION_MESSAGE: &str = "aivideo-classification";

/// `GST_CLOCK_TIME_NONE`: frames without time stamps make clips without.
pub const NO_TIME: u64 = u64::MAX;

static REGISTRATION: Mutex<()> = Mutex::new(());

/// Registers the meta once in the process. Two plugins may both contain this code; GStreamer's own
/// table is asked, not a flag of this library.
pub fn register() {
    register_custom(CLASSIFICATION_META);
}

/// No tags: the metas say nothing about memory layout, size or colours, so that elements that
/// convert these keep them.
pub(crate) fn register_custom(name: &str) {
    // A poisoned lock protects nothing but the order of the two calls.
    let _guard = REGISTRATION.lock().unwrap_or_else(|e| e.into_inner());
    if !CustomMeta::is_registered(name) {
        CustomMeta::register_simple(name);
    }
}

/// Result of classifying one clip: labels with scores, best first.
#[derive(Debug, Clone, PartialEq)]
pub struct ClassificationResult {
    /// Which model said so.
    pub model: String,
    /// Nanoseconds; [`NO_TIME`] when unknown.
    pub clip_start: u64,
    /// Nanoseconds; [`NO_TIME`] when unknown.
    pub clip_end: u64,
    pub labels: Vec<String>,
    pub scores: Vec<f64>,
}

impl Default for ClassificationResult {
    fn default() -> Self {
        Self {
            model: String::new(),
            clip_start: NO_TIME,
            clip_end: NO_TIME,
            labels: Vec::new(),
            scores: Vec::new(),
        }
    }
}

impl ClassificationResult {
    /// Adds this result to the buffer, in addition to results that it already carries.
    pub fn attach(&self, buffer: &mut gst::BufferRef) -> Result<(), glib::BoolError> {
        register();
        let mut meta = CustomMeta::add(buffer, CLASSIFICATION_META)?;
        self.write(meta.mut_structure());
        #[cfg(feature = "analytics")]
        crate::analytics::add_classification(buffer, self)?;
        Ok(())
    }

    /// The first result that the buffer carries.
    pub fn read(buffer: &gst::BufferRef) -> Option<Self> {
        Self::read_all(buffer).into_iter().next()
    }

    /// Every result that the buffer carries, in the order of attachment.
    pub fn read_all(buffer: &gst::BufferRef) -> Vec<Self> {
        #[allow(unused_mut)] // grows with the feature
        let mut found: Vec<Self> = buffer
            .iter_meta::<gst::Meta>()
            .filter_map(|meta| {
                let structure = meta.try_as_custom_meta()?.structure();
                (structure.name() == CLASSIFICATION_META)
                    .then(|| Self::from_structure(structure))
                    .flatten()
            })
            .collect();
        #[cfg(feature = "analytics")]
        crate::analytics::read_classifications(buffer, &mut found);
        found
    }

    /// The content of an element message.
    pub fn to_message_structure(&self) -> gst::Structure {
        let mut structure = gst::Structure::new_empty(CLASSIFICATION_MESSAGE);
        self.write(&mut structure);
        structure
    }

    fn write(&self, structure: &mut gst::StructureRef) {
        structure.set("model", &self.model);
        structure.set("clip-start", self.clip_start);
        structure.set("clip-end", self.clip_end);
        structure.set("labels", gst::Array::new(self.labels.iter()));
        structure.set("scores", gst::Array::new(self.scores.iter()));
    }

    /// Reads the structure of a meta or message; `None` when a field is missing or of another type.
    pub fn from_structure(structure: &gst::StructureRef) -> Option<Self> {
        let array = |name: &str| structure.get::<gst::Array>(name).ok();
        Some(Self {
            model: structure.get("model").ok()?,
            clip_start: structure.get("clip-start").ok()?,
            clip_end: structure.get("clip-end").ok()?,
            labels: array("labels")?
                .iter()
                .map(|label| label.get().ok())
                .collect::<Option<_>>()?,
            scores: array("scores")?
                .iter()
                .map(|score| score.get().ok())
                .collect::<Option<_>>()?,
        })
    }
}
