// SPDX-License-Identifier: Apache-2.0
//! `aivideo models`: what ships, and whether the files are what their manifests say.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::environment;

#[derive(Args)]
pub struct Options {
    #[command(subcommand)]
    action: Action,
    /// Directory with the models (default: models/ of the clone)
    #[arg(long, global = true)]
    dir: Option<PathBuf>,
}

#[derive(Subcommand, Clone, Copy)]
enum Action {
    /// Prints each model: size, hash, inputs, outputs, licence, training
    List,
    /// Compares every file with its manifest and with what the built plugin embeds
    Verify,
}

#[derive(Deserialize)]
struct Manifest {
    files: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    path: String,
    sha256: String,
    #[serde(default)]
    kind: String,
    #[serde(default)]
    inputs: serde_json::Value,
    #[serde(default)]
    outputs: serde_json::Value,
    #[serde(default)]
    licence: String,
    #[serde(default)]
    training: serde_json::Value,
}

pub fn run(options: &Options) -> Result<()> {
    let dir = match &options.dir {
        Some(dir) => dir.clone(),
        None => environment::root()?.join("models"),
    };
    let manifests = manifests(&dir)?;
    match options.action {
        Action::List => list(&manifests),
        Action::Verify => verify(&manifests),
    }
}

/// Every `<dir>/<group>/manifest.json`, with the group's directory.
fn manifests(dir: &Path) -> Result<Vec<(PathBuf, Manifest)>> {
    let entries =
        std::fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))?;
    let mut groups = Vec::new();
    for entry in entries {
        let group = entry?.path();
        let file = group.join("manifest.json");
        if file.is_file() {
            let text = std::fs::read_to_string(&file)
                .with_context(|| format!("cannot read {}", file.display()))?;
            let manifest = serde_json::from_str(&text)
                .with_context(|| format!("{} is not a manifest", file.display()))?;
            groups.push((group, manifest));
        } else if group.is_dir() && !models_in(&group)?.is_empty() {
            bail!("{} holds models but no manifest.json", group.display());
        }
    }
    if groups.is_empty() {
        bail!("no manifest.json below {}", dir.display());
    }
    groups.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(groups)
}

fn models_in(group: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(group)? {
        let path = entry?.path();
        if path.extension().is_some_and(|e| e == "onnx" || e == "bin") {
            found.push(path);
        }
    }
    Ok(found)
}

fn text(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::Null => "-".into(),
        serde_json::Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn list(manifests: &[(PathBuf, Manifest)]) -> Result<()> {
    for (group, manifest) in manifests {
        for entry in &manifest.files {
            let path = group.join(&entry.path);
            let size = std::fs::metadata(&path)
                .map(|m| format!("{} bytes", m.len()))
                .unwrap_or_else(|_| "missing".into());
            println!("{}  ({size})", environment::shorten(&path));
            println!("  kind      {}", entry.kind);
            println!("  sha256    {}", entry.sha256);
            println!("  inputs    {}", text(&entry.inputs));
            println!("  outputs   {}", text(&entry.outputs));
            println!("  licence   {}", entry.licence);
            println!("  training  {}", text(&entry.training));
        }
    }
    Ok(())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn verify(manifests: &[(PathBuf, Manifest)]) -> Result<()> {
    let plugin = environment::root()
        .ok()
        .map(|root| root.join("target/gstreamer-1.0/libgstaivideo.so"))
        .and_then(|path| std::fs::read(path).ok());
    let mut wrong = Vec::new();
    let mut count = 0;
    for (group, manifest) in manifests {
        for entry in &manifest.files {
            let path = group.join(&entry.path);
            let shown = environment::shorten(&path);
            let bytes = match std::fs::read(&path) {
                Ok(bytes) => bytes,
                Err(error) => {
                    println!("{shown}: MISSING ({error})");
                    wrong.push(shown);
                    continue;
                }
            };
            count += 1;
            let found = hex(&Sha256::digest(&bytes));
            if !found.eq_ignore_ascii_case(&entry.sha256) {
                println!("{shown}: DIFFERS, manifest {}, file {found}", entry.sha256);
                wrong.push(shown);
                continue;
            }
            let embedded = match &plugin {
                None => "no built plugin to look into",
                Some(plugin) if memchr::memmem::find(plugin, &bytes).is_some() => {
                    "embedded in the plugin"
                }
                Some(_) => "not embedded in the plugin",
            };
            println!("{shown}: ok, {embedded}");
        }
        for path in models_in(group)? {
            if !manifest
                .files
                .iter()
                .any(|entry| group.join(&entry.path) == path)
            {
                let shown = environment::shorten(&path);
                println!("{shown}: NOT IN THE MANIFEST");
                wrong.push(shown);
            }
        }
    }
    if !wrong.is_empty() {
        bail!(
            "{} of the models are not what the manifests say: {}",
            wrong.len(),
            wrong.join(", ")
        );
    }
    println!("{count} files match their manifests");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(sha256: &str) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let group = dir.path().join("codec");
        std::fs::create_dir(&group).unwrap();
        std::fs::write(group.join("a.onnx"), b"abc").unwrap();
        let manifest = format!(r#"{{"files":[{{"path":"a.onnx","sha256":"{sha256}"}}]}}"#);
        std::fs::write(group.join("manifest.json"), manifest).unwrap();
        dir
    }

    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn a_file_with_its_hash_passes() {
        let dir = group(ABC);
        verify(&manifests(dir.path()).unwrap()).unwrap();
    }

    #[test]
    fn a_changed_file_is_named() {
        let dir = group(&ABC.replace('b', "c"));
        let error = verify(&manifests(dir.path()).unwrap())
            .unwrap_err()
            .to_string();
        assert!(error.contains("a.onnx"), "{error}");
    }

    #[test]
    fn a_missing_file_and_an_unlisted_one_are_named() {
        let dir = group(ABC);
        std::fs::rename(
            dir.path().join("codec/a.onnx"),
            dir.path().join("codec/b.onnx"),
        )
        .unwrap();
        let error = verify(&manifests(dir.path()).unwrap())
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("a.onnx") && error.contains("b.onnx"),
            "{error}"
        );
    }

    #[test]
    fn models_without_a_manifest_are_refused() {
        let dir = group(ABC);
        std::fs::remove_file(dir.path().join("codec/manifest.json")).unwrap();
        assert!(manifests(dir.path()).is_err());
    }
}
