// SPDX-License-Identifier: Apache-2.0
//! A detection model's outputs as boxes, in pixels of its input.

use aivideo_core::tensor::{Tensor, TensorData};

use super::Object;

/// More boxes than this before suppression are cut off, the best kept.
const MOST: usize = 1000;

type Outputs = [(String, Tensor)];

fn floats(tensor: &Tensor) -> Result<&[f32], String> {
    tensor.as_f32().map_err(|error| error.to_string())
}

fn sigmoid(v: f32) -> f32 {
    1.0 / (1.0 + (-v).exp())
}

fn best_first(mut objects: Vec<Object>) -> Vec<Object> {
    objects.retain(|o| {
        [o.x0, o.y0, o.x1, o.y1, o.score]
            .iter()
            .all(|v| v.is_finite())
    });
    objects.sort_by(|a, b| b.score.total_cmp(&a.score));
    objects.truncate(MOST);
    objects
}

/// YOLOX: one output [1, cells, 5 + classes] of centre, size, objectness and classes; raw, or
/// `decoded` (pixels and probabilities).
pub fn yolox(
    outputs: &Outputs,
    (width, height): (usize, usize),
    strides: &[usize],
    decoded: bool,
    threshold: f32,
) -> Result<Vec<Object>, String> {
    let [(name, tensor), ..] = outputs else {
        return Err("it has no output".into());
    };
    let (cells, values) = match tensor.shape[..] {
        [1, cells, values] if values > 5 => (cells, values),
        _ => {
            return Err(format!(
                "its output {name} is {tensor} where [1, cells, 5 + classes] is needed"
            ));
        }
    };
    let data = floats(tensor)?;
    let grid: usize = strides.iter().map(|s| (width / s) * (height / s)).sum();
    if !decoded && grid != cells {
        return Err(format!(
            "its output {name} has {cells} cells, but an input of {width}x{height} with strides {strides:?} has {grid}"
        ));
    }
    let mut places = strides.iter().flat_map(|stride| {
        let (columns, rows) = (width / stride, height / stride);
        (0..columns * rows).map(move |n| (n % columns, n / columns, *stride as f32))
    });
    let mut objects = Vec::new();
    for row in data.chunks_exact(values) {
        let place = places.next();
        let (class, score) = row[5..]
            .iter()
            .enumerate()
            .fold(
                (0, f32::MIN),
                |best, (n, v)| if *v > best.1 { (n, *v) } else { best },
            );
        let score = score * row[4];
        if score < threshold {
            continue;
        }
        let (cx, cy, w, h) = match (decoded, place) {
            (false, Some((column, line, stride))) => (
                (row[0] + column as f32) * stride,
                (row[1] + line as f32) * stride,
                row[2].exp() * stride,
                row[3].exp() * stride,
            ),
            _ => (row[0], row[1], row[2], row[3]),
        };
        objects.push(Object {
            x0: cx - w / 2.0,
            y0: cy - h / 2.0,
            x1: cx + w / 2.0,
            y1: cy + h / 2.0,
            score,
            class,
        });
    }
    Ok(best_first(objects))
}

/// D-FINE and RT-DETR: `labels`, `boxes` (corners in pixels) and `scores`; or `logits` and
/// `pred_boxes` (centre and size, 0 to 1).
pub fn dfine(
    outputs: &Outputs,
    (width, height): (usize, usize),
    threshold: f32,
) -> Result<Vec<Object>, String> {
    let find = |wanted: &str| {
        outputs
            .iter()
            .find(|(name, _)| name == wanted)
            .map(|(_, t)| t)
    };
    let mut objects = Vec::new();
    if let (Some(labels), Some(boxes), Some(scores)) =
        (find("labels"), find("boxes"), find("scores"))
    {
        let (boxes, scores) = (floats(boxes)?, floats(scores)?);
        let labels: Vec<i64> = match &labels.data {
            TensorData::I64(labels) => labels.clone(),
            TensorData::I32(labels) => labels.iter().map(|v| i64::from(*v)).collect(),
            _ => return Err(format!("labels are {labels} where int64 is needed")),
        };
        for ((corners, score), label) in boxes.chunks_exact(4).zip(scores).zip(labels) {
            if *score >= threshold {
                objects.push(Object {
                    x0: corners[0],
                    y0: corners[1],
                    x1: corners[2],
                    y1: corners[3],
                    score: *score,
                    class: usize::try_from(label).unwrap_or(usize::MAX),
                });
            }
        }
    } else if let (Some(logits), Some(boxes)) = (find("logits"), find("pred_boxes")) {
        let classes = logits.shape.last().copied().unwrap_or(0);
        if classes == 0 {
            return Err(format!("logits are {logits}, without classes"));
        }
        let (logits, boxes) = (floats(logits)?, floats(boxes)?);
        let (w, h) = (width as f32, height as f32);
        for (row, centre) in logits.chunks_exact(classes).zip(boxes.chunks_exact(4)) {
            let (class, logit) = row.iter().enumerate().fold((0, f32::MIN), |best, (n, v)| {
                if *v > best.1 { (n, *v) } else { best }
            });
            let score = sigmoid(logit);
            if score >= threshold {
                objects.push(Object {
                    x0: (centre[0] - centre[2] / 2.0) * w,
                    y0: (centre[1] - centre[3] / 2.0) * h,
                    x1: (centre[0] + centre[2] / 2.0) * w,
                    y1: (centre[1] + centre[3] / 2.0) * h,
                    score,
                    class,
                });
            }
        }
    } else {
        let names: Vec<_> = outputs.iter().map(|(name, _)| name.as_str()).collect();
        return Err(format!(
            "its outputs are {} where labels, boxes and scores, or logits and pred_boxes, are needed",
            names.join(", ")
        ));
    }
    Ok(best_first(objects))
}

/// Non-maximum suppression, each class for itself. `objects` come best first.
pub fn suppress(objects: Vec<Object>, overlap: f32) -> Vec<Object> {
    let mut kept: Vec<Object> = Vec::new();
    for object in objects {
        let hidden = kept
            .iter()
            .any(|k| k.class == object.class && k.overlap(&object) > overlap);
        if !hidden {
            kept.push(object);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn output(name: &str, shape: &[usize], data: Vec<f32>) -> (String, Tensor) {
        (name.to_owned(), Tensor::f32(shape.to_vec(), data))
    }

    #[test]
    fn yolox_cells_become_boxes() {
        // 64x32 with stride 32: two cells, two classes.
        let data = vec![
            0.5,
            0.25,
            0.0,
            2.0_f32.ln(),
            0.9,
            0.1,
            0.8, //
            0.0,
            0.0,
            0.0,
            0.0,
            0.1,
            0.9,
            0.9,
        ];
        let outputs = [output("output", &[1, 2, 7], data)];
        let found = yolox(&outputs, (64, 32), &[32], false, 0.5).unwrap();
        assert_eq!(found.len(), 1);
        let o = found[0];
        assert_eq!(
            (o.x0, o.y0, o.x1, o.y1, o.class),
            (0.0, -24.0, 32.0, 40.0, 1)
        );
        assert!((o.score - 0.72).abs() < 1e-6);
        let error = yolox(&outputs, (64, 64), &[32], false, 0.5).unwrap_err();
        assert!(
            error.contains("2 cells") && error.contains("has 4"),
            "{error}"
        );
        assert!(yolox(&[], (64, 64), &[32], false, 0.5).is_err());
    }

    #[test]
    fn both_forms_of_dfine_agree() {
        let boxes = vec![10.0, 20.0, 30.0, 60.0, 0.0, 0.0, 5.0, 5.0];
        let finished = [
            ("labels".to_owned(), Tensor::i64(vec![1, 2], vec![2, 0])),
            output("boxes", &[1, 2, 4], boxes),
            output("scores", &[1, 2], vec![sigmoid(2.0), 0.1]),
        ];
        let raw = [
            output(
                "logits",
                &[1, 2, 3],
                vec![-5.0, -5.0, 2.0, -4.0, -4.0, -4.0],
            ),
            output(
                "pred_boxes",
                &[1, 2, 4],
                vec![0.2, 0.4, 0.2, 0.4, 0.1, 0.1, 0.1, 0.1],
            ),
        ];
        let a = dfine(&finished, (100, 100), 0.5).unwrap();
        let b = dfine(&raw, (100, 100), 0.5).unwrap();
        assert_eq!((a.len(), b.len()), (1, 1));
        assert_eq!(a[0].class, b[0].class);
        assert!(a[0].overlap(&b[0]) > 0.999);
        assert!(
            dfine(&raw[..1], (100, 100), 0.5)
                .unwrap_err()
                .contains("logits")
        );
    }

    #[test]
    fn overlapping_boxes_of_one_class_are_suppressed() {
        let at = |x: f32, class| Object {
            x0: x,
            y0: 0.0,
            x1: x + 10.0,
            y1: 10.0,
            score: 1.0 - x / 100.0,
            class,
        };
        let kept = suppress(vec![at(0.0, 0), at(1.0, 0), at(2.0, 1), at(20.0, 0)], 0.5);
        assert_eq!(kept, [at(0.0, 0), at(2.0, 1), at(20.0, 0)]);
    }

    proptest! {
        #[test]
        fn no_output_makes_it_panic(
            shape in proptest::collection::vec(0_usize..9, 0..4),
            values in proptest::collection::vec(prop_oneof![any::<f32>(), Just(f32::NAN), Just(1e30_f32)], 0..300),
            decoded: bool,
        ) {
            let outputs = [output("output", &shape, values.clone())];
            let _ = yolox(&outputs, (32, 32), &[8, 16], decoded, 0.1);
            let outputs = [output("logits", &shape, values.clone()), output("pred_boxes", &shape, values)];
            let _ = dfine(&outputs, (32, 32), 0.1);
        }
    }
}
