// SPDX-License-Identifier: Apache-2.0
//! Properties that follow controllers.

use gst::prelude::*;
use gst_base::prelude::*;

/// Gives the element's properties the values that its controllers have for a buffer. Returns the
/// stream time of the buffer, where it has one.
pub fn follow(
    category: gst::DebugCategory,
    element: &(impl IsA<gst_base::BaseTransform> + IsA<gst::Object>),
    buffer: &gst::BufferRef,
) -> Option<gst::ClockTime> {
    let segment = element.segment().downcast::<gst::ClockTime>().ok()?;
    let time = segment.to_stream_time(buffer.pts()?)?;
    if let Err(error) = element.sync_values(time) {
        gst::warning!(
            category,
            obj = element,
            "cannot follow the controllers: {error}"
        );
    }
    Some(time)
}
