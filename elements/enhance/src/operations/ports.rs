// SPDX-License-Identifier: Apache-2.0
//! What the built-in nets' inputs and outputs are, and planes in the sizes that they take.

use aivideo_core::{
    engine::Engine,
    model::ModelSource,
    tensor::{ElementType, TensorInfo},
};

use super::EnhanceError;

/// An input or output that a net must have: name, type, rank, and the channels of an image.
pub(super) struct Port {
    pub name: &'static str,
    pub ty: ElementType,
    pub shape: &'static [Option<usize>],
}

impl Port {
    fn matches(&self, info: &TensorInfo) -> bool {
        info.name == self.name
            && info.ty == self.ty
            && info.shape.len() == self.shape.len()
            && self
                .shape
                .iter()
                .zip(&info.shape)
                .all(|(want, has)| match (want, has) {
                    // A side that must be free may not be fixed in the file.
                    (None, has) => has.is_none(),
                    (Some(want), Some(has)) => want == has,
                    (Some(_), None) => true,
                })
    }

    fn describe(&self) -> String {
        let info = TensorInfo {
            name: self.name.into(),
            shape: self.shape.to_vec(),
            ty: self.ty,
        };
        format!("{} {info}", self.name)
    }
}

/// Refuses a net whose inputs or outputs are not those of the operation.
pub(super) fn check_ports(
    operation: &'static str,
    model: &ModelSource,
    engine: &Engine,
    inputs: &[Port],
    outputs: &[Port],
) -> Result<(), EnhanceError> {
    for (what, wanted, found) in [
        ("input", inputs, engine.inputs()),
        ("output", outputs, engine.outputs()),
    ] {
        let fits = wanted.len() == found.len()
            && wanted.iter().all(|port| {
                found.iter().any(|info| {
                    // The size of an output may be left open or be derived by the exporter.
                    if what == "output" {
                        info.name == port.name && info.ty == port.ty
                    } else {
                        port.matches(info)
                    }
                })
            });
        if !fits {
            let wanted: Vec<_> = wanted.iter().map(Port::describe).collect();
            let found: Vec<_> = found.iter().map(|i| format!("{} {i}", i.name)).collect();
            return Err(EnhanceError::Model {
                operation,
                model: model.describe(),
                reason: format!(
                    "its {what} is {} where {} is needed",
                    found.join(", "),
                    wanted.join(", ")
                ),
                cure: "give a net exported by models/training/enhance/export.py, or leave it out for the built-in one",
            });
        }
    }
    Ok(())
}

/// Takes an output of the given size.
pub(super) fn expect_plane(
    operation: &'static str,
    engine_name: &str,
    outputs: &mut Vec<(String, aivideo_core::tensor::Tensor)>,
    name: &str,
    shape: [usize; 4],
) -> Result<Vec<u8>, EnhanceError> {
    let at = outputs.iter().position(|(n, _)| n == name);
    let tensor = at.map(|at| outputs.swap_remove(at).1);
    match tensor {
        Some(tensor) if tensor.shape == shape => Ok(tensor.into_u8()?),
        other => Err(EnhanceError::Output {
            operation,
            model: engine_name.to_owned(),
            expected: format!("{name} uint8{shape:?}"),
            got: other.map_or_else(|| "nothing of that name".to_owned(), |t| t.to_string()),
        }),
    }
}

/// Appends a plane to `out`, its last column and row repeated up to the padded size.
pub(super) fn pad_into(
    plane: &[u8],
    (width, height): (usize, usize),
    (to_width, to_height): (usize, usize),
    out: &mut [u8],
) {
    if (width, height) == (to_width, to_height) {
        out.copy_from_slice(plane);
        return;
    }
    for (y, row) in out.chunks_exact_mut(to_width).take(to_height).enumerate() {
        let source = &plane[y.min(height - 1) * width..][..width];
        row[..width].copy_from_slice(source);
        row[width..].fill(source[width - 1]);
    }
}

/// Like [`pad_into`], with `margin` samples above and to the left as well.
pub(super) fn pad_around(
    plane: &[u8],
    (width, height): (usize, usize),
    margin: usize,
    to_width: usize,
    out: &mut [u8],
) {
    for (y, row) in out.chunks_exact_mut(to_width).enumerate() {
        let from = y.saturating_sub(margin).min(height - 1) * width;
        let source = &plane[from..][..width];
        row[..margin].fill(source[0]);
        row[margin..margin + width].copy_from_slice(source);
        row[margin + width..].fill(source[width - 1]);
    }
}

/// Takes back what [`pad_around`] put around, in place.
pub(super) fn crop_around(
    plane: &mut Vec<u8>,
    from_width: usize,
    margin: usize,
    (width, height): (usize, usize),
) {
    for y in 0..height {
        let from = (y + margin) * from_width + margin;
        plane.copy_within(from..from + width, y * width);
    }
    plane.truncate(width * height);
}

/// Cuts a padded plane down in place.
pub(super) fn crop(plane: &mut Vec<u8>, from_width: usize, (width, height): (usize, usize)) {
    if from_width != width {
        for y in 1..height {
            plane.copy_within(y * from_width..y * from_width + width, y * width);
        }
    }
    plane.truncate(width * height);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_repeats_edges_and_cropping_undoes_it() {
        let plane: Vec<u8> = (0..15).collect();
        let mut padded = vec![99; 8 * 8];
        pad_into(&plane, (5, 3), (8, 8), &mut padded);
        assert_eq!(padded[..8], [0, 1, 2, 3, 4, 4, 4, 4]);
        assert_eq!(padded[56..], [10, 11, 12, 13, 14, 14, 14, 14]);
        crop(&mut padded, 8, (5, 3));
        assert_eq!(padded, plane);
    }

    #[test]
    fn margins_repeat_edges_and_are_taken_back() {
        let plane: Vec<u8> = (0..15).collect();
        let mut padded = vec![99; 10 * 8];
        pad_around(&plane, (5, 3), 2, 10, &mut padded);
        assert_eq!(padded[..10], [0, 0, 0, 1, 2, 3, 4, 4, 4, 4]);
        assert_eq!(padded[30..40], [5, 5, 5, 6, 7, 8, 9, 9, 9, 9]);
        assert_eq!(padded[70..], [10, 10, 10, 11, 12, 13, 14, 14, 14, 14]);
        crop_around(&mut padded, 10, 2, (5, 3));
        assert_eq!(padded, plane);
    }
}
