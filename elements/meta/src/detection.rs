// SPDX-License-Identifier: Apache-2.0
//! Objects that a detector found: one `GstVideoRegionOfInterestMeta` each, which works on every
//! GStreamer and which scalers and croppers carry along.
//!
//! The meta is shaped as DL Streamer's, so that its users' code reads it: the region's type is the
//! label, and a parameter structure `detection` has `label_id` (int), `confidence` (double) and the box as
//! fractions of the frame, `x_min`, `x_max`, `y_min`, `y_max` (double). A structure `object_id`
//! with `id` (int) names the object over time. Any other structure with a `label` says more about
//! the object; see [`Attribute`].

use gst_video::VideoRegionOfInterestMeta;

/// Name of the parameter with the detection itself.
pub const DETECTION_PARAM: &str = "detection";
/// Name of the parameter with the number of a tracked object.
pub const OBJECT_ID_PARAM: &str = "object_id";

/// What a second model said of an object: a parameter structure named after the attribute with
/// `label` (string) and `confidence` (double).
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Attribute {
    pub name: String,
    pub label: String,
    pub confidence: Option<f64>,
}

/// An object and where it is, in pixels of the frame.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Detection {
    pub label: String,
    /// The label's number in the model.
    pub label_id: Option<i32>,
    pub confidence: Option<f64>,
    pub x: u32,
    pub y: u32,
    pub width: u32,
    pub height: u32,
    /// The same object in other frames has the same number.
    pub object_id: Option<i32>,
    pub attributes: Vec<Attribute>,
}

/// A length as a fraction of the frame.
fn fraction(value: u32, of: u32) -> f64 {
    f64::from(value) / f64::from(of.max(1))
}

/// Numbers of analysis elements are doubles; some write floats.
fn number(structure: &gst::StructureRef, field: &str) -> Option<f64> {
    structure
        .get::<f64>(field)
        .ok()
        .or_else(|| structure.get::<f32>(field).ok().map(f64::from))
}

impl Detection {
    /// Adds the object to a frame of this size.
    pub fn attach(
        &self,
        buffer: &mut gst::BufferRef,
        frame: (u32, u32),
    ) -> Result<(), glib::BoolError> {
        let rect = (self.x, self.y, self.width, self.height);
        let mut meta = VideoRegionOfInterestMeta::add(buffer, &self.label, rect);
        let mut detection = gst::Structure::builder(DETECTION_PARAM)
            .field("x_min", fraction(self.x, frame.0))
            .field(
                "x_max",
                fraction(self.x.saturating_add(self.width), frame.0),
            )
            .field("y_min", fraction(self.y, frame.1))
            .field(
                "y_max",
                fraction(self.y.saturating_add(self.height), frame.1),
            )
            .build();
        if let Some(id) = self.label_id {
            detection.set("label_id", id);
        }
        if let Some(confidence) = self.confidence {
            detection.set("confidence", confidence);
        }
        meta.add_param(detection);
        if let Some(id) = self.object_id {
            let param = gst::Structure::builder(OBJECT_ID_PARAM).field("id", id);
            meta.add_param(param.build());
        }
        for attribute in &self.attributes {
            let mut param = gst::Structure::builder(&attribute.name)
                .field("label", &attribute.label)
                .build();
            if let Some(confidence) = attribute.confidence {
                param.set("confidence", confidence);
            }
            meta.add_param(param);
        }
        #[cfg(feature = "analytics")]
        crate::analytics::add_detection(buffer, self)?;
        Ok(())
    }

    /// Every object on the frame, in the order of attachment.
    pub fn read_all(buffer: &gst::BufferRef) -> Vec<Self> {
        #[allow(unused_mut)] // grows with the feature
        let mut found: Vec<Self> = buffer
            .iter_meta::<VideoRegionOfInterestMeta>()
            .map(|meta| Self::of_region(&meta))
            .collect();
        #[cfg(feature = "analytics")]
        crate::analytics::read_detections(buffer, &mut found);
        found
    }

    /// Reads a region that any element wrote. What it does not say, or says with another type than
    /// the documented one, stays open.
    fn of_region(meta: &VideoRegionOfInterestMeta) -> Self {
        let (x, y, width, height) = meta.rect();
        let mut found = Self {
            label: meta.roi_type().to_string(),
            x,
            y,
            width,
            height,
            ..Self::default()
        };
        for param in meta.params() {
            match param.name().as_str() {
                DETECTION_PARAM => {
                    found.label_id = param.get("label_id").ok();
                    found.confidence = number(param, "confidence");
                    // A detector may leave the region's type to what the detection says.
                    if found.label.is_empty()
                        && let Ok(label) = param.get("label")
                    {
                        found.label = label;
                    }
                }
                OBJECT_ID_PARAM => found.object_id = param.get("id").ok(),
                name => {
                    if let Ok(label) = param.get("label") {
                        found.attributes.push(Attribute {
                            name: name.to_string(),
                            label,
                            confidence: number(param, "confidence"),
                        });
                    }
                }
            }
        }
        found
    }
}
