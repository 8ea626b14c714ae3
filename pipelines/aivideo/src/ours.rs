// SPDX-License-Identifier: Apache-2.0
//! Our codec, through its GStreamer elements: real files, and the times of both directions.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use gst::prelude::*;
use sha2::{Digest, Sha256};

use crate::gstrun::{self, Timing};
use crate::rawclip::RawClip;

/// What the two elements are told.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Weights instead of the built-in ones.
    pub model: Option<PathBuf>,
    /// Properties of the encoder as gst-launch-1.0 takes them, `key-int-max=30` and the like.
    pub properties: Vec<String>,
    pub threads: Option<usize>,
}

impl Settings {
    fn common(&self) -> String {
        let mut text = String::new();
        if let Some(model) = &self.model {
            text.push_str(&format!(" model-location=\"{}\"", model.display()));
        }
        if let Some(threads) = self.threads {
            text.push_str(&format!(" num-threads={threads}"));
        }
        text
    }

    /// The encoder as a person writes it.
    pub fn text(&self) -> String {
        format!("aicodecenc {}{}", self.properties.join(" "), self.common())
    }
}

/// Encodes `clip` into the file `stream`.
pub fn encode(
    clip: &RawClip,
    settings: &Settings,
    stream: &Path,
    progress: impl FnMut(u64),
) -> Result<Timing> {
    gstrun::run(
        &format!(
            "{} ! aicodecenc name=measured {} {} ! filesink location=\"{}\"",
            clip.gst_source(),
            settings.properties.join(" "),
            settings.common(),
            stream.display()
        ),
        "measured",
        progress,
    )
    .context("encoding")
}

/// Decodes the file `stream` into raw frames. `bytes_in` of the result is the size of the access
/// units alone, without the file's framing.
pub fn decode(
    stream: &Path,
    settings: &Settings,
    raw: &Path,
    progress: impl FnMut(u64),
) -> Result<Timing> {
    gstrun::run_to_file(
        &format!(
            "filesrc location=\"{}\" ! aicodecparse ! aicodecdec name=measured {} ! video/x-raw,format=I420 ! fakesink name=frames",
            stream.display(),
            settings.common()
        ),
        "measured",
        raw,
        progress,
    )
    .context("decoding")
}

/// Decodes a file of which nothing is known; gives the size of its pictures too.
pub fn decode_file(file: &Path, settings: &Settings, raw: &Path) -> Result<(Timing, (u32, u32))> {
    let timing = decode(file, settings, raw, |_| ())?;
    let size = timing
        .size
        .with_context(|| format!("{} holds no picture", file.display()))?;
    Ok((timing, size))
}

/// The elements that this module needs.
pub const NEEDED: &[&str] = &["aicodecenc", "aicodecdec", "aicodecparse", "rawvideoparse"];

/// Fails when the encoder has no such property, with those it has.
pub fn check_properties(properties: &[String]) -> Result<()> {
    let encoder = gst::ElementFactory::make("aicodecenc")
        .build()
        .context("no element aicodecenc")?;
    for property in properties {
        let Some((name, value)) = property.split_once('=') else {
            bail!("{property:?} is not property=value");
        };
        let Some(found) = encoder.find_property(name) else {
            let all: Vec<String> = encoder
                .list_properties()
                .iter()
                .map(|p| p.name().to_owned())
                .collect();
            bail!(
                "aicodecenc has no property {name:?}; it has {}",
                all.join(", ")
            );
        };
        if gst::glib::Value::deserialize_with_pspec(value, &found).is_err() {
            bail!(
                "{value:?} is no value of aicodecenc's {name} ({})",
                found.value_type()
            );
        }
    }
    Ok(())
}

/// Which codec this is: the plugin that holds elements and built-in weights, and the weights in its
/// place. Anything measured with another one is another measurement.
pub fn identity(model: Option<&Path>) -> Result<String> {
    let factory = gst::ElementFactory::find("aicodecenc").context("no element aicodecenc")?;
    let plugin = factory
        .plugin()
        .and_then(|plugin| plugin.filename())
        .context("aicodecenc does not come from a plugin file")?;
    let mut text = format!("plugin {}", file_hash(&plugin)?);
    if let Some(model) = model {
        for file in model_files(model)? {
            text.push_str(&format!(" model {}", file_hash(&file)?));
        }
    }
    Ok(text)
}

/// The files of a model that is given by its folder or by one of its networks, those of key frames last.
pub fn model_files(location: &Path) -> Result<Vec<PathBuf>> {
    let name = location
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default();
    let stem = ["encode.onnx", "decode.onnx"]
        .iter()
        .find_map(|end| name.strip_suffix(end))
        .filter(|_| !location.is_dir());
    // As the elements look for them: of a folder, the smallest tier that is there.
    let there = |stem: &&str| location.join(format!("{stem}decode.onnx")).is_file();
    let (folder, stem) = match stem {
        Some(stem) => (location.parent().unwrap_or(Path::new(".")), stem),
        None => {
            let tier = ["s-", "m-", "l-"].into_iter().find(there);
            (location, tier.unwrap_or("s-"))
        }
    };
    let named = |kind: &str| {
        ["encode.onnx", "decode.onnx", "tables.bin"]
            .map(|end| folder.join(format!("{stem}{kind}{end}")))
    };
    let mut files = named("").to_vec();
    let key = named("key-");
    if key[1].is_file() {
        files.extend(key);
    }
    for file in &files {
        if !file.is_file() {
            bail!("no model file {}", file.display());
        }
    }
    Ok(files)
}

/// SHA-256 of a file, in hexadecimal digits.
pub fn file_hash(path: &Path) -> Result<String> {
    let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(hash(&bytes))
}

/// SHA-256 in hexadecimal digits.
pub fn hash(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
