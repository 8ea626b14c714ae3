// SPDX-License-Identifier: Apache-2.0
//! Weights out of an ONNX file, by name.
//!
//! Only what this project's exporters write is understood: initialisers with raw data in fp16 or fp32. Files come from `model-location`, so every length is checked.

use std::collections::HashMap;

/// A tensor of the file.
#[derive(Debug, Clone)]
pub struct Array {
    pub dims: Vec<usize>,
    pub data: Vec<f32>,
}

/// Reader of one protobuf message.
struct Message<'a>(&'a [u8]);

enum Field<'a> {
    Number(u64),
    Bytes(&'a [u8]),
    Four([u8; 4]),
    Other,
}

impl<'a> Message<'a> {
    fn varint(&mut self) -> Option<u64> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let (&byte, rest) = self.0.split_first()?;
            self.0 = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }

    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    /// The next field and its number; `None` at the end or where the bytes are no message.
    fn next(&mut self) -> Option<(u64, Field<'a>)> {
        let tag = self.varint()?;
        let field = match tag & 7 {
            0 => Field::Number(self.varint()?),
            1 => self.take(8).map(|_| Field::Other)?,
            2 => {
                let len = usize::try_from(self.varint()?).ok()?;
                Field::Bytes(self.take(len)?)
            }
            5 => Field::Four(*self.take(4)?.first_chunk()?),
            _ => return None,
        };
        Some((tag >> 3, field))
    }
}

/// ONNX's numbers of the two types.
const FLOAT: u64 = 1;
const FLOAT16: u64 = 10;

fn tensor(bytes: &[u8]) -> Option<(String, Array)> {
    let mut message = Message(bytes);
    let (mut dims, mut kind, mut name, mut raw) = (Vec::new(), 0, None, &[][..]);
    while let Some((number, field)) = message.next() {
        match (number, field) {
            (1, Field::Number(dim)) => dims.push(usize::try_from(dim).ok()?),
            (1, Field::Bytes(packed)) => {
                let mut packed = Message(packed);
                while !packed.0.is_empty() {
                    dims.push(usize::try_from(packed.varint()?).ok()?);
                }
            }
            (2, Field::Number(number)) => kind = number,
            (8, Field::Bytes(bytes)) => name = Some(String::from_utf8(bytes.to_vec()).ok()?),
            (9, Field::Bytes(bytes)) => raw = bytes,
            _ => {}
        }
    }
    let len = dims.iter().try_fold(1usize, |n, d| n.checked_mul(*d))?;
    let data: Vec<f32> = match kind {
        FLOAT => raw
            .chunks_exact(4)
            .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
            .collect(),
        FLOAT16 => raw
            .chunks_exact(2)
            .map(|b| half::f16::from_le_bytes([b[0], b[1]]).to_f32())
            .collect(),
        _ => return None,
    };
    (data.len() == len).then_some((name?, Array { dims, data }))
}

/// The graph's fields of one number that are bytes.
fn graph_fields(model: &[u8], wanted: u64) -> Vec<&[u8]> {
    let mut found = Vec::new();
    let mut message = Message(model);
    while let Some((number, field)) = message.next() {
        let (7, Field::Bytes(graph)) = (number, field) else {
            continue;
        };
        let mut graph = Message(graph);
        while let Some((number, field)) = graph.next() {
            if let Field::Bytes(bytes) = field
                && number == wanted
            {
                found.push(bytes);
            }
        }
    }
    found
}

/// All float initialisers of the file.
pub fn read(model: &[u8]) -> HashMap<String, Array> {
    let tensors = graph_fields(model, 5);
    tensors.into_iter().filter_map(tensor).collect()
}

/// A node of the graph.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Node {
    pub operator: String,
    pub inputs: Vec<String>,
    /// The attribute of this name.
    pub alpha: Option<f32>,
}

/// The graph's nodes in their order.
pub fn nodes(model: &[u8]) -> Vec<Node> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let node = |bytes: &[u8]| {
        let mut node = Node::default();
        let mut message = Message(bytes);
        while let Some((number, field)) = message.next() {
            match (number, field) {
                (1, Field::Bytes(name)) => node.inputs.push(text(name)),
                (4, Field::Bytes(name)) => node.operator = text(name),
                (5, Field::Bytes(attribute)) => node.alpha = node.alpha.or(alpha(attribute)),
                _ => {}
            }
        }
        node
    };
    graph_fields(model, 1).into_iter().map(node).collect()
}

/// The value of an attribute of this name.
fn alpha(bytes: &[u8]) -> Option<f32> {
    let (mut is_it, mut value) = (false, None);
    let mut message = Message(bytes);
    while let Some((number, field)) = message.next() {
        match (number, field) {
            (1, Field::Bytes(name)) => is_it = name == b"alpha",
            (2, Field::Four(bytes)) => value = Some(f32::from_le_bytes(bytes)),
            _ => {}
        }
    }
    value.filter(|_| is_it)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A field of bytes.
    fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
        let mut out = vec![number << 3 | 2, u8::try_from(bytes.len()).expect("short")];
        out.extend(bytes);
        out
    }

    /// A file with two initialisers, of fp32 and of fp16, and a node.
    fn file() -> Vec<u8> {
        let floats: Vec<u8> = [1.0f32, -2.5]
            .iter()
            .flat_map(|v| v.to_le_bytes())
            .collect();
        let halves = half::f16::from_f32(0.5).to_le_bytes();
        let tensor = |dims: &[u8], kind: u8, name: &str, raw: &[u8]| {
            let head = [field(1, dims), vec![2 << 3, kind]].concat();
            field(
                5,
                &[head, field(8, name.as_bytes()), field(9, raw)].concat(),
            )
        };
        let both = [
            tensor(&[2, 1], 1, "a.w", &floats),
            tensor(&[1], 10, "a.b", &halves),
        ];
        let attribute = [
            field(1, b"alpha"),
            vec![2 << 3 | 5],
            0.1f32.to_le_bytes().to_vec(),
        ];
        let node = [
            field(1, b"x"),
            field(1, b"a.w"),
            field(4, b"LeakyRelu"),
            field(5, &attribute.concat()),
        ];
        let graph = [field(1, &node.concat()), both.concat()].concat();
        [vec![1 << 3, 9], field(7, &graph)].concat()
    }

    #[test]
    fn initialisers_are_read_by_name() {
        let arrays = read(&file());
        assert_eq!(
            (&arrays["a.w"].dims[..], &arrays["a.w"].data[..]),
            (&[2, 1][..], &[1.0, -2.5][..])
        );
        assert_eq!(
            (&arrays["a.b"].dims[..], &arrays["a.b"].data[..]),
            (&[1][..], &[0.5][..])
        );
    }

    #[test]
    fn nodes_are_read_with_what_they_take() {
        let node = Node {
            operator: "LeakyRelu".into(),
            inputs: vec!["x".into(), "a.w".into()],
            alpha: Some(0.1),
        };
        assert_eq!(nodes(&file()), [node]);
    }

    proptest! {
        #[test]
        fn any_bytes_are_safe(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            read(&bytes);
            tensor(&bytes);
            nodes(&bytes);
            alpha(&bytes);
        }

        #[test]
        fn damage_is_safe(at in 0usize..1000, value in any::<u8>(), cut in 0usize..1000) {
            let mut bytes = file();
            let len = bytes.len();
            bytes[at % len] = value;
            read(&bytes[..cut % len]);
            nodes(&bytes[..cut % len]);
        }
    }
}
