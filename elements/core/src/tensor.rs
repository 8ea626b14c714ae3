// SPDX-License-Identifier: Apache-2.0
//! Tensors that own their memory, and the description of a model's inputs and outputs.

use std::fmt;

use half::f16;

use crate::error::EngineError;

/// Element types that elements exchange with models.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ElementType {
    F32,
    F16,
    U8,
    U16,
    I8,
    I16,
    I32,
    I64,
}

impl ElementType {
    /// Bytes an element.
    pub fn size(self) -> usize {
        match self {
            Self::U8 | Self::I8 => 1,
            Self::F16 | Self::U16 | Self::I16 => 2,
            Self::F32 | Self::I32 => 4,
            Self::I64 => 8,
        }
    }
}

impl fmt::Display for ElementType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::F32 => "float32",
            Self::F16 => "float16",
            Self::U8 => "uint8",
            Self::U16 => "uint16",
            Self::I8 => "int8",
            Self::I16 => "int16",
            Self::I32 => "int32",
            Self::I64 => "int64",
        })
    }
}

/// The elements of a tensor.
#[derive(Debug, Clone, PartialEq)]
pub enum TensorData {
    F32(Vec<f32>),
    F16(Vec<f16>),
    U8(Vec<u8>),
    U16(Vec<u16>),
    I8(Vec<i8>),
    I16(Vec<i16>),
    I32(Vec<i32>),
    I64(Vec<i64>),
}

/// Runs `$body` with `$data` bound to the vector inside, whatever its type.
macro_rules! for_each_type {
    ($value:expr, $data:ident => $body:expr) => {
        match $value {
            $crate::tensor::TensorData::F32($data) => $body,
            $crate::tensor::TensorData::F16($data) => $body,
            $crate::tensor::TensorData::U8($data) => $body,
            $crate::tensor::TensorData::U16($data) => $body,
            $crate::tensor::TensorData::I8($data) => $body,
            $crate::tensor::TensorData::I16($data) => $body,
            $crate::tensor::TensorData::I32($data) => $body,
            $crate::tensor::TensorData::I64($data) => $body,
        }
    };
}
pub(crate) use for_each_type;

impl TensorData {
    pub fn element_type(&self) -> ElementType {
        match self {
            Self::F32(_) => ElementType::F32,
            Self::F16(_) => ElementType::F16,
            Self::U8(_) => ElementType::U8,
            Self::U16(_) => ElementType::U16,
            Self::I8(_) => ElementType::I8,
            Self::I16(_) => ElementType::I16,
            Self::I32(_) => ElementType::I32,
            Self::I64(_) => ElementType::I64,
        }
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        for_each_type!(self, data => data.len())
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// `len` zeros of type `ty`.
    pub fn zeros(ty: ElementType, len: usize) -> Self {
        match ty {
            ElementType::F32 => Self::F32(vec![0.0; len]),
            ElementType::F16 => Self::F16(vec![f16::ZERO; len]),
            ElementType::U8 => Self::U8(vec![0; len]),
            ElementType::U16 => Self::U16(vec![0; len]),
            ElementType::I8 => Self::I8(vec![0; len]),
            ElementType::I16 => Self::I16(vec![0; len]),
            ElementType::I32 => Self::I32(vec![0; len]),
            ElementType::I64 => Self::I64(vec![0; len]),
        }
    }

    /// Appends `other`, which must be of the same type.
    pub(crate) fn append(&mut self, other: &Self) -> Result<(), EngineError> {
        match (self, other) {
            (Self::F32(a), Self::F32(b)) => a.extend_from_slice(b),
            (Self::F16(a), Self::F16(b)) => a.extend_from_slice(b),
            (Self::U8(a), Self::U8(b)) => a.extend_from_slice(b),
            (Self::U16(a), Self::U16(b)) => a.extend_from_slice(b),
            (Self::I8(a), Self::I8(b)) => a.extend_from_slice(b),
            (Self::I16(a), Self::I16(b)) => a.extend_from_slice(b),
            (Self::I32(a), Self::I32(b)) => a.extend_from_slice(b),
            (Self::I64(a), Self::I64(b)) => a.extend_from_slice(b),
            (a, b) => {
                return Err(EngineError::TensorType {
                    expected: a.element_type(),
                    got: b.element_type(),
                });
            }
        }
        Ok(())
    }

    /// No elements of type `ty`, with room for `len`.
    pub(crate) fn with_capacity(ty: ElementType, len: usize) -> Self {
        match ty {
            ElementType::F32 => Self::F32(Vec::with_capacity(len)),
            ElementType::F16 => Self::F16(Vec::with_capacity(len)),
            ElementType::U8 => Self::U8(Vec::with_capacity(len)),
            ElementType::U16 => Self::U16(Vec::with_capacity(len)),
            ElementType::I8 => Self::I8(Vec::with_capacity(len)),
            ElementType::I16 => Self::I16(Vec::with_capacity(len)),
            ElementType::I32 => Self::I32(Vec::with_capacity(len)),
            ElementType::I64 => Self::I64(Vec::with_capacity(len)),
        }
    }

    /// Fills up with zeros to `len` elements.
    pub(crate) fn pad_to(&mut self, len: usize) {
        for_each_type!(self, data => data.resize(len, Default::default()));
    }

    /// A copy of a range of the elements; `None` when it is out of range.
    pub(crate) fn range(&self, start: usize, end: usize) -> Option<Self> {
        Some(match self {
            Self::F32(d) => Self::F32(d.get(start..end)?.to_vec()),
            Self::F16(d) => Self::F16(d.get(start..end)?.to_vec()),
            Self::U8(d) => Self::U8(d.get(start..end)?.to_vec()),
            Self::U16(d) => Self::U16(d.get(start..end)?.to_vec()),
            Self::I8(d) => Self::I8(d.get(start..end)?.to_vec()),
            Self::I16(d) => Self::I16(d.get(start..end)?.to_vec()),
            Self::I32(d) => Self::I32(d.get(start..end)?.to_vec()),
            Self::I64(d) => Self::I64(d.get(start..end)?.to_vec()),
        })
    }
}

/// A dense tensor in row-major order. Shape and data are checked against each other when the
/// tensor is given to an engine.
#[derive(Debug, Clone, PartialEq)]
pub struct Tensor {
    pub shape: Vec<usize>,
    pub data: TensorData,
}

macro_rules! typed {
    ($ctor:ident, $as_ref:ident, $into:ident, $variant:ident, $ty:ty) => {
        #[doc = concat!("A tensor of `", stringify!($ty), "`.")]
        pub fn $ctor(shape: impl Into<Vec<usize>>, data: Vec<$ty>) -> Self {
            Self {
                shape: shape.into(),
                data: TensorData::$variant(data),
            }
        }

        #[doc = concat!("The elements, if they are `", stringify!($ty), "`.")]
        pub fn $as_ref(&self) -> Result<&[$ty], EngineError> {
            match &self.data {
                TensorData::$variant(data) => Ok(data),
                other => Err(EngineError::TensorType {
                    expected: ElementType::$variant,
                    got: other.element_type(),
                }),
            }
        }

        #[doc = concat!("Takes the elements out, if they are `", stringify!($ty), "`.")]
        pub fn $into(self) -> Result<Vec<$ty>, EngineError> {
            match self.data {
                TensorData::$variant(data) => Ok(data),
                other => Err(EngineError::TensorType {
                    expected: ElementType::$variant,
                    got: other.element_type(),
                }),
            }
        }
    };
}

impl Tensor {
    typed!(f32, as_f32, into_f32, F32, f32);
    typed!(f16, as_f16, into_f16, F16, f16);
    typed!(u8, as_u8, into_u8, U8, u8);
    typed!(u16, as_u16, into_u16, U16, u16);
    typed!(i8, as_i8, into_i8, I8, i8);
    typed!(i16, as_i16, into_i16, I16, i16);
    typed!(i32, as_i32, into_i32, I32, i32);
    typed!(i64, as_i64, into_i64, I64, i64);

    pub fn element_type(&self) -> ElementType {
        self.data.element_type()
    }

    /// Bytes of the elements.
    pub fn bytes(&self) -> u64 {
        (self.data.len() * self.element_type().size()) as u64
    }

    /// Number of elements that the shape asks for; `None` on overflow.
    pub fn shape_len(&self) -> Option<usize> {
        shape_len(&self.shape)
    }
}

/// Product of the dimensions; `None` on overflow.
pub fn shape_len(shape: &[usize]) -> Option<usize> {
    shape.iter().try_fold(1usize, |n, d| n.checked_mul(*d))
}

/// An input or output of a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorInfo {
    pub name: String,
    /// One entry a dimension; `None` where any size is accepted.
    pub shape: Vec<Option<usize>>,
    pub ty: ElementType,
}

impl fmt::Display for TensorInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[", self.ty)?;
        for (i, dim) in self.shape.iter().enumerate() {
            if i > 0 {
                f.write_str(",")?;
            }
            match dim {
                Some(dim) => write!(f, "{dim}")?,
                None => f.write_str("?")?,
            }
        }
        f.write_str("]")
    }
}

impl fmt::Display for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{:?}", self.element_type(), self.shape)
    }
}
