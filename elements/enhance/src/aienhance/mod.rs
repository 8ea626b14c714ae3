// SPDX-License-Identifier: Apache-2.0
//! `aienhance`: trained enhancement operations, one after the other.
//!
//! `operations` names them in the order in which they run:
//!
//! | operation | parameters | what it does |
//! |---|---|---|
//! | `denoise` | `strength=auto` or 0 to 55, `chroma=auto` or 0 to 55, `model=` | removes noise of the given or measured level from luma and chroma |
//! | `hdr` | `to=pq`, `hlg` or `sdr`, `method=a` or `c`, `peak=`, `max-cll=`, `max-fall=`, `window=` | SDR to HDR and back by Report ITU-R BT.2446, light levels measured |
//! | `upscale` | `factor=2` or `4`, `model=` | enlarges: luma by a net, chroma by Catmull-Rom |
//!
//! ```text
//! gst-launch-1.0 videotestsrc num-buffers=25 ! video/x-raw,width=640,height=360 ! aienhance operations="denoise:strength=auto,upscale:factor=2" ! videoconvert ! autovideosink
//! ```
//!
//! Frames are I420 or NV12, and I420_10LE or P010_10LE where `hdr` makes or takes ten bits, of any
//! size and stride. Without operations they pass untouched. The
//! property may be changed while the pipeline plays: the next frame is made by the new chain, and
//! if it has another size the caps are negotiated anew; a chain that cannot be loaded, or a size
//! that downstream refuses, is answered with a warning and the old chain stays.
//!
//! With all nets of the operations on a GPU (`device=cuda`), frames may lie in its memory
//! (`memory:CUDAMemory`, `memory:NVMM`) and stay there.
//!
//! Numbers are properties too (`denoise-strength`), which control bindings may move while frames
//! pass; they hold where the text of `operations` does not say. Operations that look ahead are
//! counted in the latency that the element reports.
//!
//! `model=` behind an operation (or `model-location`, when there is one operation) replaces the
//! built-in net by a file with the same inputs and outputs; put a path with `,` or `:` in double
//! quotes.
//!
//! `stats` tells what was measured: `frames`, the noise levels in use (`denoise-sigma`,
//! `denoise-sigma-chroma`), and for each operation a structure of its engine's figures.

mod caps;
mod imp;
mod properties;

use glib::prelude::*;

glib::wrapper! {
    /// The element; see the module.
    pub struct AiEnhance(ObjectSubclass<imp::AiEnhance>) @extends gst_video::VideoFilter, gst_base::BaseTransform, gst::Element, gst::Object, @implements gst::Preset;
}

/// Registers the element.
pub fn register(plugin: Option<&gst::Plugin>) -> Result<(), glib::BoolError> {
    gst::Element::register(
        plugin,
        "aienhance",
        gst::Rank::NONE,
        AiEnhance::static_type(),
    )
}
