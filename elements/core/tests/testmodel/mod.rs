// SPDX-License-Identifier: Apache-2.0
//! Writes small ONNX models, so that tests need no files. Just enough of the format: nodes with
//! integer attributes, float initializers, metadata.

#![allow(dead_code)] // each user takes what it needs

/// ONNX's numbers for element types.
pub mod ty {
    pub const F32: i64 = 1;
    pub const U8: i64 = 2;
    pub const I8: i64 = 3;
    pub const U16: i64 = 4;
    pub const I16: i64 = 5;
    pub const I32: i64 = 6;
    pub const I64: i64 = 7;
    pub const F16: i64 = 10;
    pub const F64: i64 = 11;
}

/// A dimension of an input or output.
#[derive(Clone, Copy)]
pub enum Dim {
    Fixed(i64),
    Free(&'static str),
}

/// A protobuf message under construction.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    fn int(mut self, field: u64, value: i64) -> Self {
        self.varint(field << 3);
        self.varint(value as u64);
        self
    }

    fn bytes(mut self, field: u64, value: &[u8]) -> Self {
        self.varint(field << 3 | 2);
        self.varint(value.len() as u64);
        self.0.extend_from_slice(value);
        self
    }

    fn text(self, field: u64, value: &str) -> Self {
        self.bytes(field, value.as_bytes())
    }

    fn message(self, field: u64, value: Message) -> Self {
        self.bytes(field, &value.0)
    }
}

/// A model under construction.
#[derive(Default)]
pub struct Model {
    graph: Message,
    metadata: Vec<(String, String)>,
    nodes: usize,
}

fn value_info(name: &str, element: i64, dims: &[Dim]) -> Message {
    let shape = dims.iter().fold(Message::default(), |shape, dim| {
        let dim = match dim {
            Dim::Fixed(size) => Message::default().int(1, *size),
            Dim::Free(name) => Message::default().text(2, name),
        };
        shape.message(1, dim)
    });
    let tensor = Message::default().int(1, element).message(2, shape);
    Message::default()
        .text(1, name)
        .message(2, Message::default().message(1, tensor))
}

impl Model {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn input(mut self, name: &str, element: i64, dims: &[Dim]) -> Self {
        self.graph = self.graph.message(11, value_info(name, element, dims));
        self
    }

    pub fn output(mut self, name: &str, element: i64, dims: &[Dim]) -> Self {
        self.graph = self.graph.message(12, value_info(name, element, dims));
        self
    }

    /// A node with attributes that are integers (one value) or lists of them.
    pub fn node(
        mut self,
        op: &str,
        inputs: &[&str],
        outputs: &[&str],
        attributes: &[(&str, &[i64])],
    ) -> Self {
        self.nodes += 1;
        let mut node = Message::default();
        for name in inputs {
            node = node.text(1, name);
        }
        for name in outputs {
            node = node.text(2, name);
        }
        node = node.text(3, &format!("node{}", self.nodes)).text(4, op);
        for (name, values) in attributes {
            let mut attribute = Message::default().text(1, name);
            // Scalars in ONNX's operators that tests use have these names.
            attribute = if matches!(*name, "to" | "axis" | "keepdims" | "group" | "blocksize") {
                attribute.int(3, values[0]).int(20, 2)
            } else {
                values
                    .iter()
                    .fold(attribute, |attribute, value| attribute.int(8, *value))
                    .int(20, 7)
            };
            node = node.message(5, attribute);
        }
        self.graph = self.graph.message(1, node);
        self
    }

    fn tensor(mut self, name: &str, element: i64, dims: &[i64], raw: &[u8]) -> Self {
        let tensor = dims
            .iter()
            .fold(Message::default(), |tensor, dim| tensor.int(1, *dim))
            .int(2, element)
            .text(8, name)
            .bytes(9, raw);
        self.graph = self.graph.message(5, tensor);
        self
    }

    pub fn constant_f32(self, name: &str, dims: &[i64], values: &[f32]) -> Self {
        let raw: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        self.tensor(name, ty::F32, dims, &raw)
    }

    /// A float tensor whose `count` values are the bytes of the file `location` beside the model.
    pub fn external_f32(mut self, name: &str, count: i64, location: &str) -> Self {
        let entry = Message::default().text(1, "location").text(2, location);
        let tensor = Message::default()
            .int(1, count)
            .int(2, ty::F32)
            .text(8, name)
            .message(13, entry)
            .int(14, 1);
        self.graph = self.graph.message(5, tensor);
        self
    }

    pub fn constant_i64(self, name: &str, dims: &[i64], values: &[i64]) -> Self {
        let raw: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        self.tensor(name, ty::I64, dims, &raw)
    }

    pub fn metadata(mut self, key: &str, value: &str) -> Self {
        self.metadata.push((key.to_string(), value.to_string()));
        self
    }

    pub fn finish(self) -> Vec<u8> {
        let model = Message::default()
            .int(1, 8) // IR version
            .text(2, "gst-aivideo-tests")
            .message(7, self.graph.text(2, "graph"))
            .message(8, Message::default().text(1, "").int(2, 17));
        self.metadata
            .iter()
            .fold(model, |model, (key, value)| {
                model.message(14, Message::default().text(1, key).text(2, value))
            })
            .0
    }
}

/// `y = x + c`, float, `[n, 2]` with `n` as given. `c` makes models different.
pub fn add(c: f32, n: Dim) -> Vec<u8> {
    let dims = [n, Dim::Fixed(2)];
    Model::new()
        .input("x", ty::F32, &dims)
        .output("y", ty::F32, &dims)
        .constant_f32("c", &[1], &[c])
        .node("Add", &["x", "c"], &["y"], &[])
        .metadata("test.key", "test value")
        .finish()
}

/// `y = table[x]`: fails at run time for an `x` that is not 0..3.
pub fn lookup(n: Dim) -> Vec<u8> {
    Model::new()
        .input("x", ty::I64, &[n])
        .output("y", ty::F32, &[n])
        .constant_f32("table", &[4], &[10.0, 11.0, 12.0, 13.0])
        .node("Gather", &["table", "x"], &["y"], &[("axis", &[0])])
        .finish()
}

/// Two 3x3 convolutions, 3 → `channels` → 3, on an 8 bit picture of any size: a small enhancer.
pub fn picture(channels: usize) -> Vec<u8> {
    let dims = [Dim::Fixed(1), Dim::Fixed(3), Dim::Free("h"), Dim::Free("w")];
    let weights =
        |count: usize| -> Vec<f32> { (0..count).map(|i| ((i % 7) as f32 - 3.0) / 64.0).collect() };
    let c = channels as i64;
    let same: (&str, &[i64]) = ("pads", &[1, 1, 1, 1]);
    Model::new()
        .input("x", ty::U8, &dims)
        .output("y", ty::U8, &dims)
        .constant_f32("w1", &[c, 3, 3, 3], &weights(channels * 27))
        .constant_f32("w2", &[3, c, 3, 3], &weights(channels * 27))
        .constant_f32("low", &[], &[0.0])
        .constant_f32("high", &[], &[255.0])
        .node("Cast", &["x"], &["f"], &[("to", &[ty::F32])])
        .node("Conv", &["f", "w1"], &["a"], &[same])
        .node("Relu", &["a"], &["b"], &[])
        .node("Conv", &["b", "w2"], &["d"], &[same])
        .node("Add", &["d", "f"], &["e"], &[])
        .node("Clip", &["e", "low", "high"], &["g"], &[])
        .node("Cast", &["g"], &["y"], &[("to", &[ty::U8])])
        .finish()
}
