// SPDX-License-Identifier: Apache-2.0
/**
 * element-aibackgroundblur:
 * @short_description: blurs what is behind people, by a segmentation model
 *
 * Runs a segmentation model on every frame, in place, and blurs what the model says is background.
 * No model is built in: `model-location` names one.
 *
 * The model has one input of float32, three channels of red, green and blue: `[1,3,h,w]` or
 * `[1,h,w,3]`; sides that the model leaves open become 256. Values are 0 to 1, or what
 * `normalization` says. Its first output is float32, a mask of 0 (background) to 1 (foreground):
 * `[1,1,h,w]`, `[1,h,w,1]` or `[1,h,w]`, of any size; or two channels, background and foreground,
 * before softmax.
 *
 * ## Example
 *
 * <!-- not run by the pipeline test: needs a camera and a model of yours -->
 * |[
 * gst-launch-1.0 v4l2src ! videoconvert ! aibackgroundblur model-location=selfie.onnx sigma=15 ! videoconvert ! autovideosink
 * ]|
 */
use gst::glib;
use gst::prelude::*;

pub mod device;
mod imp;
pub mod mask;

glib::wrapper! {
    pub struct AiBackgroundBlur(ObjectSubclass<imp::AiBackgroundBlur>)
        @extends gst_video::VideoFilter, gst_base::BaseTransform, gst::Element, gst::Object;
}

/// What the model's input holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, glib::Enum)]
#[enum_type(name = "GstAiBackgroundBlurNormalization")]
#[repr(i32)]
pub enum Normalization {
    #[default]
    #[enum_value(name = "0 to 1", nick = "unit")]
    Unit,
    #[enum_value(name = "-1 to 1", nick = "signed")]
    Signed,
    #[enum_value(
        name = "0 to 1, less ImageNet's mean, over its deviation",
        nick = "imagenet"
    )]
    Imagenet,
}

impl Normalization {
    /// What is taken off red, green and blue of 0 to 1, and what they are then multiplied by.
    fn mean_and_scale(self) -> ([f32; 3], [f32; 3]) {
        match self {
            Self::Unit => ([0.0; 3], [1.0; 3]),
            Self::Signed => ([0.5; 3], [2.0; 3]),
            Self::Imagenet => (
                [0.485, 0.456, 0.406],
                [1.0 / 0.229, 1.0 / 0.224, 1.0 / 0.225],
            ),
        }
    }
}

pub fn register(plugin: Option<&gst::Plugin>) -> Result<(), glib::BoolError> {
    Normalization::static_type().mark_as_plugin_api(gst::PluginAPIFlags::empty());
    gst::Element::register(
        plugin,
        "aibackgroundblur",
        gst::Rank::NONE,
        AiBackgroundBlur::static_type(),
    )
}
