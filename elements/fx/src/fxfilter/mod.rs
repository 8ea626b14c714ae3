// SPDX-License-Identifier: Apache-2.0
/**
 * element-fxfilter:
 * @short_description: a chain of video effects
 *
 * Runs a chain of effects over raw video, in place. `effects` names them, in the short form
 * `effect:parameter=value:parameter=value,effect,…` or as a JSON array. Parameters that the chain
 * leaves out follow the properties `<effect>-<parameter>`, which a `GstController` can move while
 * the pipeline plays.
 *
 * ## Example
 *
 * |[
 * gst-launch-1.0 videotestsrc num-buffers=300 ! fxfilter effects="posterize:num-levels=8,vignette:amount=0.8" ! videoconvert ! autovideosink
 * ]|
 *
 * Frames in a GPU's memory are changed there where all effects are tables: functions of single components
 * (`posterize`, `invert`, `threshold`, …) and, for pixels of four bytes, colour tables.
 *
 * A new chain takes effect with the next frame. One that cannot be read stops the element from
 * starting, or, while it plays, posts a warning and leaves the old chain in place.
 */
use gst::glib;
use gst::prelude::*;

mod device;
pub(crate) mod formats;
mod imp;
mod properties;

glib::wrapper! {
    pub struct FxFilter(ObjectSubclass<imp::FxFilter>)
        @extends gst_video::VideoFilter, gst_base::BaseTransform, gst::Element, gst::Object,
        @implements gst::Preset;
}

/// The components that an effect works on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, glib::Enum)]
#[enum_type(name = "GstFxFilterSpace")]
#[repr(i32)]
pub enum Space {
    #[enum_value(name = "Y, U and V, as decoders give them", nick = "yuv")]
    Yuv,
    #[enum_value(name = "Red, green and blue", nick = "rgb")]
    Rgb,
}

impl Space {
    pub(crate) const ALL: [Self; 2] = [Self::Yuv, Self::Rgb];
}

/// Colours from dark to light.
#[derive(Debug, Clone, Copy, PartialEq, Eq, glib::Enum)]
#[enum_type(name = "GstFxFilterColorMap")]
#[repr(i32)]
pub enum ColorMap {
    #[enum_value(name = "Black, violet, red, orange, yellow, white", nick = "ironbow")]
    Ironbow,
    #[enum_value(name = "Black, violet, orange, pale yellow", nick = "inferno")]
    Inferno,
    #[enum_value(name = "Violet, teal, green, yellow", nick = "viridis")]
    Viridis,
    #[enum_value(name = "The rainbow from blue to red", nick = "turbo")]
    Turbo,
    #[enum_value(name = "The green of image intensifiers", nick = "night")]
    Night,
}

impl ColorMap {
    pub(crate) const ALL: [Self; 5] = [
        Self::Ironbow,
        Self::Inferno,
        Self::Viridis,
        Self::Turbo,
        Self::Night,
    ];
}

/// The half of a picture that a mirror keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, glib::Enum)]
#[enum_type(name = "GstFxFilterHalf")]
#[repr(i32)]
pub enum Half {
    #[enum_value(name = "Left, reflected to the right", nick = "left")]
    Left,
    #[enum_value(name = "Right, reflected to the left", nick = "right")]
    Right,
    #[enum_value(name = "Top, reflected downwards", nick = "top")]
    Top,
    #[enum_value(name = "Bottom, reflected upwards", nick = "bottom")]
    Bottom,
}

impl Half {
    pub(crate) const ALL: [Self; 4] = [Self::Left, Self::Right, Self::Top, Self::Bottom];
}

/// How levels are mixed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, glib::Enum)]
#[enum_type(name = "GstFxFilterDither")]
#[repr(i32)]
pub enum Dither {
    #[enum_value(name = "An 8 × 8 Bayer pattern", nick = "bayer")]
    Bayer,
    #[enum_value(name = "A 64 × 64 pattern without structure", nick = "blue-noise")]
    BlueNoise,
    #[enum_value(name = "Errors go on to the pixels around", nick = "floyd-steinberg")]
    FloydSteinberg,
}

impl Dither {
    pub(crate) const ALL: [Self; 3] = [Self::Bayer, Self::BlueNoise, Self::FloydSteinberg];
}

/// What takes the place of the colour that a chroma key takes away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, glib::Enum)]
#[enum_type(name = "GstFxFilterReplacement")]
#[repr(i32)]
pub enum Replacement {
    #[enum_value(name = "Transparency, where the format has it", nick = "alpha")]
    Alpha,
    #[enum_value(name = "The background colour", nick = "color")]
    Color,
}

impl Replacement {
    pub(crate) const ALL: [Self; 2] = [Self::Alpha, Self::Color];
}

pub fn register(plugin: Option<&gst::Plugin>) -> Result<(), glib::BoolError> {
    Space::static_type().mark_as_plugin_api(gst::PluginAPIFlags::empty());
    ColorMap::static_type().mark_as_plugin_api(gst::PluginAPIFlags::empty());
    Dither::static_type().mark_as_plugin_api(gst::PluginAPIFlags::empty());
    Replacement::static_type().mark_as_plugin_api(gst::PluginAPIFlags::empty());
    Half::static_type().mark_as_plugin_api(gst::PluginAPIFlags::empty());
    gst::Element::register(plugin, "fxfilter", gst::Rank::NONE, FxFilter::static_type())
}
