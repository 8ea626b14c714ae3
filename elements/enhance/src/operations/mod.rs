// SPDX-License-Identifier: Apache-2.0
//! The operations. Each is a module that knows pictures and nets, and no GStreamer element.

mod denoise;
mod upscale;

use aivideo_core::{
    engine::Engine,
    error::EngineError,
    model::ModelSource,
    pixels::Yuv420,
    settings::InferenceSettings,
    tensor::{ElementType, TensorInfo},
};
use thiserror::Error;

use crate::{chroma::Siting, spec::OperationSpec};

pub use denoise::Denoise;
pub use upscale::Upscale;

/// Why a chain could not be built or a picture not be processed.
#[derive(Debug, Clone, Error)]
pub enum EnhanceError {
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error("{model} does not fit \"{operation}\": {reason}; {cure}")]
    Model {
        operation: &'static str,
        model: String,
        reason: String,
        cure: &'static str,
    },
    #[error(
        "{model} returned {got} for \"{operation}\" where {expected} was due; use a net made for this operation, or the built-in one"
    )]
    Output {
        operation: &'static str,
        model: String,
        expected: String,
        got: String,
    },
    #[error(
        "model-location replaces the net of a single operation, but there are {count}: write model=<path> behind the operation that is meant"
    )]
    AmbiguousModel { count: usize },
}

impl EnhanceError {
    /// The message that an element posts for this error.
    pub fn to_error_message(&self) -> gst::ErrorMessage {
        match self {
            Self::Engine(error) => error.to_error_message(),
            Self::Model { .. } | Self::Output { .. } => {
                gst::error_msg!(gst::ResourceError::Failed, ("{self}"))
            }
            Self::AmbiguousModel { .. } => {
                gst::error_msg!(gst::ResourceError::Settings, ("{self}"))
            }
        }
    }
}

/// What an operation has measured, by name.
pub type Measurement = (&'static str, f64);

/// One step of the chain.
pub trait Operation: Send {
    /// The name, as in the `operations` text.
    fn name(&self) -> &'static str;

    /// By how much width and height grow.
    fn scale(&self) -> usize {
        1
    }

    /// Turns a picture into the next one. `spare` holds planes that may be reused.
    fn process(&mut self, picture: Yuv420, spare: &mut Spare) -> Result<Yuv420, EnhanceError>;

    /// Says where chroma samples lie; called before the first picture and when it changes.
    fn set_siting(&mut self, _siting: Siting) {}

    /// Forgets everything about earlier pictures: the stream jumps here.
    fn reset(&mut self) {}

    /// What was measured on the latest picture. Nothing is ever made up.
    fn measurements(&self) -> Vec<Measurement> {
        Vec::new()
    }

    /// The engine that it runs.
    fn engine(&self) -> &Engine;
}

/// Memory of planes that are done with, for the next ones: a frame is several megabytes, and
/// fresh pages cost more than copying into them.
#[derive(Debug, Default)]
pub struct Spare {
    planes: Vec<Vec<u8>>,
}

impl Spare {
    const MAX_PLANES: usize = 8;

    /// A plane of `len` bytes of unspecified content.
    pub fn take(&mut self, len: usize) -> Vec<u8> {
        // The smallest that fits, so that a large one is there for a large plane.
        let best = (0..self.planes.len())
            .filter(|&i| self.planes[i].capacity() >= len)
            .min_by_key(|&i| self.planes[i].capacity());
        let mut plane = best.map(|i| self.planes.swap_remove(i)).unwrap_or_default();
        plane.resize(len, 0);
        plane
    }

    /// Gives a plane back.
    pub fn give(&mut self, plane: Vec<u8>) {
        if plane.capacity() == 0 {
            return;
        }
        if self.planes.len() == Self::MAX_PLANES {
            self.planes.remove(0);
        }
        self.planes.push(plane);
    }

    /// A picture of unspecified content.
    pub fn picture(&mut self, width: usize, height: usize) -> Yuv420 {
        let chroma = width.div_ceil(2) * height.div_ceil(2);
        Yuv420 {
            width,
            height,
            y: self.take(width * height),
            u: self.take(chroma),
            v: self.take(chroma),
        }
    }

    /// Gives all planes of a picture back.
    pub fn give_picture(&mut self, picture: Yuv420) {
        self.give(picture.y);
        self.give(picture.u);
        self.give(picture.v);
    }
}

/// The chain that `specs` describes, its engines loaded. Pictures pass the steps in order.
pub fn build_chain(
    specs: &[OperationSpec],
    settings: &InferenceSettings,
) -> Result<Vec<Box<dyn Operation>>, EnhanceError> {
    if settings.model_location.is_some() && specs.len() > 1 {
        return Err(EnhanceError::AmbiguousModel { count: specs.len() });
    }
    specs
        .iter()
        .map(|spec| -> Result<Box<dyn Operation>, EnhanceError> {
            let model = |default: ModelSource| match spec.model() {
                Some(path) => ModelSource::File(path.clone()),
                None => settings.model(default),
            };
            // An id names one model; the steps of a chain have one each.
            let own = InferenceSettings {
                model_instance_id: settings
                    .model_instance_id
                    .as_ref()
                    .map(|id| format!("{id}/{}", spec.name())),
                ..settings.clone()
            };
            Ok(match spec {
                OperationSpec::Upscale { factor, .. } => {
                    let model = model(upscale::default_model());
                    Box::new(Upscale::new(*factor, &model, &own)?)
                }
                OperationSpec::Denoise {
                    strength, chroma, ..
                } => {
                    let model = model(denoise::default_model());
                    Box::new(Denoise::new(*strength, *chroma, &model, &own)?)
                }
            })
        })
        .collect()
}

/// An input or output that a net must have: name, type, rank, and the channels of an image.
struct Port {
    name: &'static str,
    ty: ElementType,
    shape: &'static [Option<usize>],
}

impl Port {
    fn matches(&self, info: &TensorInfo) -> bool {
        info.name == self.name
            && info.ty == self.ty
            && info.shape.len() == self.shape.len()
            && self
                .shape
                .iter()
                .zip(&info.shape)
                .all(|(want, has)| match (want, has) {
                    // A side that must be free may not be fixed in the file.
                    (None, has) => has.is_none(),
                    (Some(want), Some(has)) => want == has,
                    (Some(_), None) => true,
                })
    }

    fn describe(&self) -> String {
        let info = TensorInfo {
            name: self.name.into(),
            shape: self.shape.to_vec(),
            ty: self.ty,
        };
        format!("{} {info}", self.name)
    }
}

/// Refuses a net whose inputs or outputs are not those of the operation.
fn check_ports(
    operation: &'static str,
    model: &ModelSource,
    engine: &Engine,
    inputs: &[Port],
    outputs: &[Port],
) -> Result<(), EnhanceError> {
    for (what, wanted, found) in [
        ("input", inputs, engine.inputs()),
        ("output", outputs, engine.outputs()),
    ] {
        let fits = wanted.len() == found.len()
            && wanted.iter().all(|port| {
                found.iter().any(|info| {
                    // The size of an output may be left open or be derived by the exporter.
                    if what == "output" {
                        info.name == port.name && info.ty == port.ty
                    } else {
                        port.matches(info)
                    }
                })
            });
        if !fits {
            let wanted: Vec<_> = wanted.iter().map(Port::describe).collect();
            let found: Vec<_> = found.iter().map(|i| format!("{} {i}", i.name)).collect();
            return Err(EnhanceError::Model {
                operation,
                model: model.describe(),
                reason: format!(
                    "its {what} is {} where {} is needed",
                    found.join(", "),
                    wanted.join(", ")
                ),
                cure: "give a net exported by models/training/enhance/export.py, or leave it out for the built-in one",
            });
        }
    }
    Ok(())
}

/// Takes an output of the given size.
fn expect_plane(
    operation: &'static str,
    engine_name: &str,
    outputs: &mut Vec<(String, aivideo_core::tensor::Tensor)>,
    name: &str,
    shape: [usize; 4],
) -> Result<Vec<u8>, EnhanceError> {
    let at = outputs.iter().position(|(n, _)| n == name);
    let tensor = at.map(|at| outputs.swap_remove(at).1);
    match tensor {
        Some(tensor) if tensor.shape == shape => Ok(tensor.into_u8()?),
        other => Err(EnhanceError::Output {
            operation,
            model: engine_name.to_owned(),
            expected: format!("{name} uint8{shape:?}"),
            got: other.map_or_else(|| "nothing of that name".to_owned(), |t| t.to_string()),
        }),
    }
}

/// Appends a plane to `out`, its last column and row repeated up to the padded size.
fn pad_into(
    plane: &[u8],
    (width, height): (usize, usize),
    (to_width, to_height): (usize, usize),
    out: &mut [u8],
) {
    if (width, height) == (to_width, to_height) {
        out.copy_from_slice(plane);
        return;
    }
    for (y, row) in out.chunks_exact_mut(to_width).take(to_height).enumerate() {
        let source = &plane[y.min(height - 1) * width..][..width];
        row[..width].copy_from_slice(source);
        row[width..].fill(source[width - 1]);
    }
}

/// Cuts a padded plane down in place.
fn crop(plane: &mut Vec<u8>, from_width: usize, (width, height): (usize, usize)) {
    if from_width != width {
        for y in 1..height {
            plane.copy_within(y * from_width..y * from_width + width, y * width);
        }
    }
    plane.truncate(width * height);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_repeats_edges_and_cropping_undoes_it() {
        let plane: Vec<u8> = (0..15).collect();
        let mut padded = vec![99; 8 * 8];
        pad_into(&plane, (5, 3), (8, 8), &mut padded);
        assert_eq!(padded[..8], [0, 1, 2, 3, 4, 4, 4, 4]);
        assert_eq!(padded[56..], [10, 11, 12, 13, 14, 14, 14, 14]);
        crop(&mut padded, 8, (5, 3));
        assert_eq!(padded, plane);
    }

    #[test]
    fn spare_reuses_the_smallest_that_fits() {
        let mut spare = Spare::default();
        spare.give(Vec::with_capacity(100));
        spare.give(Vec::with_capacity(1000));
        let plane = spare.take(50);
        assert_eq!((plane.len(), plane.capacity()), (50, 100));
        assert_eq!(spare.take(500).capacity(), 1000);
        assert_eq!(spare.take(5).len(), 5);
        for _ in 0..20 {
            spare.give(vec![0; 3]);
        }
        assert!(spare.planes.len() <= Spare::MAX_PLANES);
    }
}
