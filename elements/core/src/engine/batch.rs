// SPDX-License-Identifier: Apache-2.0
//! Joining requests along axis 0 and splitting the results again.

use crate::{
    error::EngineError,
    tensor::{Tensor, TensorData, TensorInfo},
};

/// Inputs in the model's order.
pub(super) type Inputs = Vec<Tensor>;
/// Outputs in the model's order.
pub(super) type Outputs = Vec<(String, Tensor)>;

/// How a model takes several requests in one run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Batching {
    /// One request a run.
    None,
    /// Axis 0 takes any number, up to this many.
    Dynamic(usize),
    /// Axis 0 is exactly this; what is missing is filled with zeros and cut off again.
    Fixed(usize),
}

impl Batching {
    /// What `batch_size` means for a model with these inputs and outputs. The second value says
    /// why a batch size above 1 has no effect.
    pub(super) fn plan(
        batch_size: usize,
        inputs: &[TensorInfo],
        outputs: &[TensorInfo],
    ) -> (Self, Option<String>) {
        if batch_size <= 1 {
            return (Self::None, None);
        }
        let all = |wanted: Option<usize>| {
            inputs
                .iter()
                .chain(outputs)
                .all(|info| info.shape.first() == Some(&wanted))
        };
        // Exporters often leave axis 0 of outputs open even where the inputs fix it.
        let inputs_fixed = !inputs.is_empty()
            && inputs
                .iter()
                .all(|info| info.shape.first() == Some(&Some(batch_size)));
        if inputs_fixed && outputs.iter().all(|info| !info.shape.is_empty()) {
            return (Self::Fixed(batch_size), None);
        }
        if !inputs.is_empty() && all(None) {
            return (Self::Dynamic(batch_size), None);
        }
        let culprit = inputs
            .iter()
            .chain(outputs)
            .find(|info| info.shape.first() != Some(&None))
            .map_or_else(
                || "it has no inputs".to_string(),
                |info| {
                    format!(
                        "its '{}' is {info}, whose first dimension is neither free nor {batch_size}",
                        info.name
                    )
                },
            );
        (
            Self::None,
            Some(format!(
                "batch-size={batch_size} has no effect: the model cannot take several frames at once, {culprit}"
            )),
        )
    }

    /// The most rows in one run.
    pub(super) fn limit(self) -> usize {
        match self {
            Self::None => 1,
            Self::Dynamic(limit) | Self::Fixed(limit) => limit,
        }
    }

    /// Axis 0 of the run that holds `rows` rows.
    fn padded(self, rows: usize) -> usize {
        match self {
            Self::Fixed(size) => size.max(rows),
            _ => rows,
        }
    }
}

/// Rows (axis 0) of a request.
pub(super) fn rows(inputs: &[Tensor]) -> usize {
    inputs
        .first()
        .and_then(|tensor| tensor.shape.first())
        .copied()
        .unwrap_or(1)
}

/// Whether two requests may share a run: all but axis 0 is equal.
pub(super) fn compatible(a: &[Tensor], b: &[Tensor]) -> bool {
    a.len() == b.len()
        && a.iter().zip(b).all(|(a, b)| {
            a.element_type() == b.element_type() && a.shape.get(1..) == b.shape.get(1..)
        })
}

/// One request by itself: passed on untouched, or filled up to a fixed batch.
pub(super) fn alone(batching: Batching, mut request: Inputs) -> Inputs {
    let own = rows(&request);
    let padded = batching.padded(own);
    if batching != Batching::None && padded != own {
        for tensor in &mut request {
            let row: usize = tensor.shape.iter().skip(1).product();
            tensor.data.pad_to(row * padded);
            tensor.shape[0] = padded;
        }
    }
    request
}

/// A copy of compatible requests joined along axis 0. The originals stay, for a second try.
pub(super) fn join(batching: Batching, requests: &[Inputs]) -> Result<Inputs, EngineError> {
    let total: usize = requests.iter().map(|inputs| rows(inputs)).sum();
    let padded = batching.padded(total);
    let Some(first) = requests.first() else {
        return Ok(Inputs::new());
    };
    let mut joined = Inputs::with_capacity(first.len());
    for (index, like) in first.iter().enumerate() {
        let row: usize = like.shape.iter().skip(1).product();
        let mut data = TensorData::with_capacity(like.element_type(), row * padded);
        for request in requests {
            data.append(&request[index].data)?;
        }
        data.pad_to(row * padded);
        let mut shape = like.shape.clone();
        shape[0] = padded;
        joined.push(Tensor { shape, data });
    }
    Ok(joined)
}

/// Gives each request its rows of the outputs. `None` when an output does not have one row for
/// each row of the inputs.
pub(super) fn split(batching: Batching, outputs: Outputs, rows: &[usize]) -> Option<Vec<Outputs>> {
    let total: usize = rows.iter().sum();
    let padded = batching.padded(total);
    if rows.len() == 1 && (batching == Batching::None || padded == total) {
        return Some(vec![outputs]);
    }
    if outputs
        .iter()
        .any(|(_, tensor)| tensor.shape.first() != Some(&padded))
    {
        return None;
    }
    let mut start = 0;
    rows.iter()
        .map(|count| {
            let end = start + count;
            let part = outputs
                .iter()
                .map(|(name, tensor)| {
                    let row: usize = tensor.shape.iter().skip(1).product();
                    let mut shape = tensor.shape.clone();
                    shape[0] = *count;
                    let data = tensor.data.range(start * row, end * row)?;
                    Some((name.clone(), Tensor { shape, data }))
                })
                .collect::<Option<Outputs>>();
            start = end;
            part
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::tensor::ElementType;

    fn info(name: &str, shape: &[Option<usize>]) -> TensorInfo {
        TensorInfo {
            name: name.to_string(),
            shape: shape.to_vec(),
            ty: ElementType::F32,
        }
    }

    #[test]
    fn plans_follow_axis_0() {
        let free = [info("x", &[None, Some(3)])];
        let four = [info("x", &[Some(4), Some(3)])];
        let one = [info("x", &[Some(1), Some(3)])];
        let scalar = [info("x", &[])];
        assert_eq!(Batching::plan(1, &four, &four), (Batching::None, None));
        assert_eq!(
            Batching::plan(4, &free, &free),
            (Batching::Dynamic(4), None)
        );
        assert_eq!(Batching::plan(4, &four, &four), (Batching::Fixed(4), None));
        assert_eq!(Batching::plan(4, &four, &free), (Batching::Fixed(4), None));
        for (inputs, outputs) in [
            (&one, &free),
            (&free, &one),
            (&scalar, &free),
            (&free, &scalar),
        ] {
            let (plan, why) = Batching::plan(4, inputs, outputs);
            assert_eq!(plan, Batching::None);
            assert!(why.unwrap().contains("'x'"));
        }
    }

    #[test]
    fn outputs_without_a_row_each_are_not_split() {
        let outputs = vec![("y".to_string(), Tensor::f32([1, 2], vec![0.0; 2]))];
        assert_eq!(split(Batching::Dynamic(4), outputs, &[1, 1]), None);
    }

    proptest! {
        /// Joining and splitting with an identity model in between gives everyone their own.
        #[test]
        fn round_trip(counts in prop::collection::vec(1usize..4, 1..5), row in 1usize..7, fixed: bool) {
            let total: usize = counts.iter().sum();
            let batching = if fixed { Batching::Fixed(total + 1) } else { Batching::Dynamic(total) };
            let mut next = 0i32;
            let requests: Vec<Inputs> = counts.iter().map(|count| {
                let data: Vec<i32> = (next..).take(count * row).collect();
                next += (count * row) as i32;
                vec![Tensor::i32([*count, row], data)]
            }).collect();
            for pair in requests.windows(2) {
                prop_assert!(compatible(&pair[0], &pair[1]));
            }
            let joined = match &requests[..] {
                [only] => alone(batching, only.clone()),
                several => join(batching, several).unwrap(),
            };
            prop_assert_eq!(joined[0].shape[0], if fixed { total + 1 } else { total });
            prop_assert_eq!(joined[0].shape_len(), Some(joined[0].data.len()));
            let outputs = vec![("y".to_string(), joined.into_iter().next().unwrap())];
            let parts = split(batching, outputs, &counts).unwrap();
            for (part, request) in parts.iter().zip(&requests) {
                prop_assert_eq!(&part[0].1, &request[0]);
            }
        }
    }
}
