// SPDX-License-Identifier: Apache-2.0
//! Checks of a request against the model, before it joins a queue: so that the error names the
//! input and goes to the one who sent it.

use super::batch::Batching;
use crate::{
    error::EngineError,
    tensor::{Tensor, TensorInfo},
};

/// Puts named inputs into the model's order, or says what is wrong with which.
pub(super) fn inputs(
    model: &str,
    infos: &[TensorInfo],
    batching: Batching,
    named: Vec<(&str, Tensor)>,
) -> Result<Vec<Tensor>, EngineError> {
    let error = |name: &str, expected: String, got: String| EngineError::Input {
        model: model.to_string(),
        name: name.to_string(),
        expected,
        got,
    };
    let mut ordered: Vec<Option<Tensor>> = infos.iter().map(|_| None).collect();
    for (name, tensor) in named {
        let Some(index) = infos.iter().position(|info| info.name == name) else {
            let names: Vec<&str> = infos.iter().map(|info| info.name.as_str()).collect();
            return Err(error(
                name,
                format!("one of the inputs {}", names.join(", ")),
                "an input of another name".to_string(),
            ));
        };
        check(&infos[index], batching, &tensor).map_err(|(want, got)| error(name, want, got))?;
        if ordered[index].replace(tensor).is_some() {
            return Err(error(name, "one tensor".into(), "two".into()));
        }
    }
    let ordered: Vec<Tensor> = ordered
        .into_iter()
        .zip(infos)
        .map(|(tensor, info)| {
            tensor.ok_or_else(|| error(&info.name, info.to_string(), "nothing".into()))
        })
        .collect::<Result<_, _>>()?;
    if batching != Batching::None {
        let rows = ordered[0].shape[0];
        for (tensor, info) in ordered.iter().zip(infos) {
            if tensor.shape[0] != rows {
                return Err(error(
                    &info.name,
                    format!("first dimension {rows}, as in '{}'", infos[0].name),
                    tensor.to_string(),
                ));
            }
        }
    }
    Ok(ordered)
}

/// Checks one tensor; the error is what was expected and what came.
fn check(info: &TensorInfo, batching: Batching, tensor: &Tensor) -> Result<(), (String, String)> {
    let mismatch = || (info.to_string(), tensor.to_string());
    if tensor.element_type() != info.ty || tensor.shape.len() != info.shape.len() {
        return Err(mismatch());
    }
    if tensor.shape.contains(&0) {
        return Err((
            format!("{info} without empty dimensions"),
            tensor.to_string(),
        ));
    }
    for (axis, (got, wanted)) in tensor.shape.iter().zip(&info.shape).enumerate() {
        let fits = match (wanted, batching) {
            (None, _) => true,
            (Some(wanted), Batching::Fixed(size)) if axis == 0 && *wanted == size => *got <= size,
            (Some(wanted), _) => got == wanted,
        };
        if !fits {
            return Err(mismatch());
        }
    }
    match tensor.shape_len() {
        Some(len) if len == tensor.data.len() => Ok(()),
        Some(len) => Err((
            format!("{len} elements for the shape {:?}", tensor.shape),
            format!("{} elements", tensor.data.len()),
        )),
        None => Err((
            "a shape that memory can hold".to_string(),
            tensor.to_string(),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::ElementType;

    fn infos() -> Vec<TensorInfo> {
        vec![
            TensorInfo {
                name: "y".to_string(),
                shape: vec![Some(1), None, Some(4)],
                ty: ElementType::U8,
            },
            TensorInfo {
                name: "q".to_string(),
                shape: vec![Some(1)],
                ty: ElementType::I64,
            },
        ]
    }

    fn check(named: Vec<(&str, Tensor)>) -> Result<Vec<Tensor>, String> {
        inputs("model 'm'", &infos(), Batching::None, named).map_err(|err| err.to_string())
    }

    fn q() -> (&'static str, Tensor) {
        ("q", Tensor::i64([1], vec![0]))
    }

    fn y(shape: [usize; 3], len: usize) -> (&'static str, Tensor) {
        ("y", Tensor::u8(shape, vec![0; len]))
    }

    #[test]
    fn order_is_the_models() {
        let ordered = check(vec![q(), y([1, 3, 4], 12)]).unwrap();
        assert_eq!(ordered[0].shape, [1, 3, 4]);
        assert_eq!(ordered[1].shape, [1]);
    }

    #[test]
    fn errors_name_input_expectation_and_fact() {
        for (named, says) in [
            (vec![y([1, 3, 4], 12)], ["'q'", "int64[1]", "nothing"]),
            (
                vec![q(), y([1, 3, 4], 12), ("z", Tensor::u8([1], vec![0]))],
                ["'z'", "y, q", "another name"],
            ),
            (vec![q(), q()], ["'q'", "one", "two"]),
            (
                vec![q(), ("y", Tensor::f32([1, 3, 4], vec![0.0; 12]))],
                ["'y'", "uint8[1,?,4]", "float32[1, 3, 4]"],
            ),
            (
                vec![q(), ("y", Tensor::u8([1, 4], vec![0; 4]))],
                ["'y'", "uint8[1,?,4]", "uint8[1, 4]"],
            ),
            (
                vec![q(), y([1, 3, 5], 15)],
                ["'y'", "uint8[1,?,4]", "uint8[1, 3, 5]"],
            ),
            (
                vec![q(), y([2, 3, 4], 24)],
                ["'y'", "uint8[1,?,4]", "uint8[2, 3, 4]"],
            ),
            (
                vec![q(), y([1, 0, 4], 0)],
                ["'y'", "without empty dimensions", "uint8[1, 0, 4]"],
            ),
            (
                vec![q(), y([1, 3, 4], 11)],
                ["'y'", "12 elements", "11 elements"],
            ),
            (
                vec![q(), y([1, usize::MAX, 4], 4)],
                ["'y'", "memory", "uint8"],
            ),
        ] {
            let err = check(named).unwrap_err();
            for part in says {
                assert!(err.contains(part), "'{part}' is not in '{err}'");
            }
        }
    }

    #[test]
    fn batches_need_equal_rows() {
        let infos = [
            TensorInfo {
                name: "a".to_string(),
                shape: vec![None, Some(2)],
                ty: ElementType::U8,
            },
            TensorInfo {
                name: "b".to_string(),
                shape: vec![None],
                ty: ElementType::U8,
            },
        ];
        let send = |a: usize, b: usize| {
            inputs(
                "m",
                &infos,
                Batching::Dynamic(4),
                vec![
                    ("a", Tensor::u8([a, 2], vec![0; a * 2])),
                    ("b", Tensor::u8([b], vec![0; b])),
                ],
            )
        };
        assert!(send(2, 2).is_ok());
        let err = send(2, 3).unwrap_err().to_string();
        assert!(
            err.contains("'b'") && err.contains("first dimension 2"),
            "{err}"
        );
    }
}
