// SPDX-License-Identifier: Apache-2.0

/// Registers every element of this crate.
pub fn register(_plugin: Option<&gst::Plugin>) -> Result<(), glib::BoolError> {
    Ok(())
}
