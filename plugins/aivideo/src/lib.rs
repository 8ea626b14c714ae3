// SPDX-License-Identifier: Apache-2.0

fn plugin_init(plugin: &gst::Plugin) -> Result<(), glib::BoolError> {
    aivideo_codec::register_inference(Some(plugin))?;
    aivideo_classify::register(Some(plugin))?;
    aivideo_enhance::register(Some(plugin))?;
    aivideo_fx::register_inference(Some(plugin))?;
    aivideo_hybrid::register(Some(plugin))?;
    Ok(())
}

gst::plugin_define!(
    aivideo,
    env!("CARGO_PKG_DESCRIPTION"),
    plugin_init,
    concat!(env!("CARGO_PKG_VERSION"), "-", env!("COMMIT_ID")),
    "Apache 2.0",
    env!("CARGO_PKG_NAME"),
    env!("CARGO_PKG_NAME"),
    env!("CARGO_PKG_REPOSITORY"),
    env!("BUILD_REL_DATE")
);
