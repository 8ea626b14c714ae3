// SPDX-License-Identifier: Apache-2.0
//! What transformers writes beside a model, in terms of our sidecar: labels and clip from
//! `config.json`, preprocessing from `video_preprocessor_config.json` (or the older name).

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde_json::{Map, Value, json};

use super::ModelError;

const PROCESSORS: [&str; 2] = ["video_preprocessor_config.json", "preprocessor_config.json"];
/// Pillow's number for bilinear.
const BILINEAR: u64 = 2;

/// A JSON file and the object in it.
type Found = (PathBuf, Map<String, Value>);

fn read(path: PathBuf) -> Result<Option<Found>, ModelError> {
    let unusable = |reason: String| ModelError::Sidecar {
        path: path.clone(),
        reason,
    };
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(err) => return Err(unusable(err.to_string())),
    };
    match serde_json::from_str(&text) {
        Ok(Value::Object(map)) => Ok(Some((path, map))),
        Ok(_) => Err(unusable("it is not a JSON object".to_string())),
        Err(err) => Err(unusable(format!("it is not JSON: {err}"))),
    }
}

/// The sidecar's entries from the files of transformers in this folder, and the file to name in
/// messages. `None` where there is no configuration of this family.
pub(super) fn sidecar(folder: &Path) -> Result<Option<(PathBuf, String)>, ModelError> {
    let Some((path, config)) = read(folder.join("config.json"))? else {
        return Ok(None);
    };
    if config.get("model_type").and_then(Value::as_str) != Some("vjepa2") {
        return Ok(None); // some other program's
    }
    let mut entries = Map::new();
    let mut put = |key: &str, value: Option<&Value>| {
        if let Some(value) = value.filter(|value| !value.is_null()) {
            entries.insert(key.to_string(), value.clone());
        }
    };
    put("frames-per-clip", config.get("frames_per_clip"));
    put("size", config.get("crop_size"));
    let labels = labels(&config).map_err(|reason| ModelError::Sidecar {
        path: path.clone(),
        reason,
    })?;
    put("labels", labels.as_ref());
    for name in PROCESSORS {
        if let Some((path, processor)) = read(folder.join(name))? {
            check(&processor).map_err(|reason| ModelError::Sidecar { path, reason })?;
            put("resize-short-side", processor["size"].get("shortest_edge"));
            put("mean", processor.get("image_mean"));
            put("std", processor.get("image_std"));
            break;
        }
    }
    Ok(Some((path, Value::Object(entries).to_string())))
}

/// `id2label` as a list. Placeholders ("LABEL_7") are labels too.
fn labels(config: &Map<String, Value>) -> Result<Option<Value>, String> {
    let Some(Value::Object(named)) = config.get("id2label") else {
        return Ok(None);
    };
    (0..named.len())
        .map(|class| match named.get(&class.to_string()) {
            Some(Value::String(label)) => Ok(json!(label)),
            Some(other) => Err(format!(
                "'id2label' of class {class} is {other}, not a text"
            )),
            None => Err(format!(
                "'id2label' has {} entries but none for class {class}",
                named.len()
            )),
        })
        .collect::<Result<Vec<Value>, String>>()
        .map(|labels| Some(Value::Array(labels)))
}

/// Refuses preprocessing that the element would not do.
fn check(processor: &Map<String, Value>) -> Result<(), String> {
    if processor
        .get("size")
        .and_then(|size| size.get("shortest_edge"))
        .is_none()
    {
        return Err("its 'size' has no 'shortest_edge': only that way to resize is known".into());
    }
    let resample = processor.get("resample").and_then(Value::as_u64);
    if resample.is_some_and(|filter| filter != BILINEAR) {
        return Err(format!(
            "its 'resample' is {}, only bilinear ({BILINEAR}) is known",
            resample.unwrap_or_default()
        ));
    }
    let scale = processor.get("rescale_factor").and_then(Value::as_f64);
    if scale.is_some_and(|scale| (scale * 255.0 - 1.0).abs() > 1e-3) {
        return Err("its 'rescale_factor' is not 1/255".into());
    }
    for step in ["do_resize", "do_center_crop", "do_rescale", "do_normalize"] {
        if processor.get(step) == Some(&Value::Bool(false)) {
            return Err(format!(
                "it leaves out '{step}', which the element always does"
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CONFIG: &str = r#"{"model_type": "vjepa2", "frames_per_clip": 16, "crop_size": 64,
        "id2label": {"1": "b", "0": "a", "2": "c"}}"#;
    const PROCESSOR: &str = r#"{"size": {"shortest_edge": 73}, "resample": 2, "do_resize": true,
        "rescale_factor": 0.00392156862745098, "image_mean": [0.5, 0.4, 0.3], "image_std": [1, 1, 1]}"#;

    fn found(files: &[(&str, &str)]) -> Result<Option<Value>, String> {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(folder.path().join(name), text).unwrap();
        }
        sidecar(folder.path())
            .map(|found| found.map(|(_, text)| serde_json::from_str(&text).unwrap()))
            .map_err(|err| err.to_string())
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::Bool),
            any::<i64>().prop_map(|n| json!(n)),
            any::<f64>().prop_map(|n| json!(n)),
            ".{0,6}".prop_map(Value::String),
        ];
        leaf.prop_recursive(3, 12, 4, |inner| {
            let key = prop_oneof![Just("shortest_edge".to_string()), "[0-9]{1,2}"];
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
                prop::collection::btree_map(key, inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        /// Whatever the files say: entries or an error that names the file.
        #[test]
        fn nothing_in_the_files_panics(
            config in prop::collection::btree_map(
                prop::sample::select(vec!["frames_per_clip", "crop_size", "id2label"]), any_json(), 0..4),
            processor in prop::collection::btree_map(
                prop::sample::select(vec!["size", "resample", "rescale_factor", "image_mean", "do_resize"]),
                any_json(), 0..6),
        ) {
            let mut config = config;
            config.insert("model_type", json!("vjepa2"));
            let (config, processor) = (json!(config).to_string(), json!(processor).to_string());
            match found(&[("config.json", &config), (PROCESSORS[0], &processor)]) {
                Ok(entries) => prop_assert!(entries.is_some()),
                Err(err) => prop_assert!(err.contains("config.json"), "{err}"),
            }
        }
    }

    #[test]
    fn labels_and_preprocessing_are_found() {
        for name in PROCESSORS {
            let entries = found(&[("config.json", CONFIG), (name, PROCESSOR)])
                .unwrap()
                .unwrap();
            assert_eq!(
                entries,
                json!({"labels": ["a", "b", "c"], "frames-per-clip": 16, "size": 64,
                    "resize-short-side": 73, "mean": [0.5, 0.4, 0.3], "std": [1, 1, 1]})
            );
        }
        let alone = found(&[("config.json", CONFIG)]).unwrap().unwrap();
        assert_eq!(alone["labels"], json!(["a", "b", "c"]));
    }

    #[test]
    fn other_programs_files_are_left_alone() {
        assert_eq!(found(&[]), Ok(None));
        assert_eq!(found(&[("config.json", "{}")]), Ok(None));
        assert_eq!(
            found(&[("config.json", r#"{"model_type": "bert"}"#)]),
            Ok(None)
        );
    }

    #[test]
    fn what_the_element_cannot_do_is_refused() {
        for (change, says) in [
            (
                PROCESSOR.replace("shortest_edge", "height"),
                "shortest_edge",
            ),
            (
                PROCESSOR.replace("\"resample\": 2", "\"resample\": 3"),
                "bilinear",
            ),
            (PROCESSOR.replace("0.0039", "0.0078"), "1/255"),
            (PROCESSOR.replace("true", "false"), "do_resize"),
            ("[]".to_string(), "JSON object"),
            ("{".to_string(), "not JSON"),
        ] {
            let err = found(&[("config.json", CONFIG), (PROCESSORS[0], &change)]).unwrap_err();
            assert!(err.contains(says) && err.contains(PROCESSORS[0]), "{err}");
        }
        let holes = CONFIG.replace("\"2\"", "\"3\"");
        let err = found(&[("config.json", &holes)]).unwrap_err();
        assert!(err.contains("class 2"), "{err}");
    }
}
