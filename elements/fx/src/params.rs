// SPDX-License-Identifier: Apache-2.0
//! Typed parameters of effects: what they are called, what they take, what they default to.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use crate::cube::Cube;

/// One of the words that a choice parameter takes.
#[derive(Clone, Copy, Debug)]
pub struct Choice {
    pub name: &'static str,
    pub blurb: &'static str,
}

/// Type, range and default of a parameter.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    Int {
        min: i32,
        max: i32,
        default: i32,
    },
    Float {
        min: f64,
        max: f64,
        default: f64,
    },
    Bool {
        default: bool,
    },
    /// `default` is an index into `choices`.
    Choice {
        choices: &'static [Choice],
        default: usize,
    },
    /// `0xRRGGBB`.
    Color {
        default: u32,
    },
    /// The path of a `.cube` file; empty by default.
    File,
}

/// A parameter of an effect.
#[derive(Clone, Copy, Debug)]
pub struct Param {
    pub name: &'static str,
    pub nick: &'static str,
    pub blurb: &'static str,
    pub kind: Kind,
}

/// A file that a parameter names. The parser takes any path; [`File::load`] reads it, so that
/// frames never wait for a disk.
#[derive(Clone, Debug)]
pub struct File {
    pub path: Arc<str>,
    pub table: Option<Arc<Cube>>,
}

impl File {
    pub fn new(path: &str) -> Self {
        Self {
            path: path.into(),
            table: None,
        }
    }

    /// Reads the file, unless it was read already or there is none.
    pub fn load(&mut self) -> Result<(), crate::cube::CubeError> {
        if self.table.is_none() && !self.path.is_empty() {
            self.table = Some(Arc::new(Cube::read(Path::new(self.path.as_ref()))?));
        }
        Ok(())
    }
}

impl PartialEq for File {
    fn eq(&self, other: &Self) -> bool {
        let same = match (&self.table, &other.table) {
            (Some(a), Some(b)) => Arc::ptr_eq(a, b),
            (None, None) => true,
            _ => false,
        };
        same && self.path == other.path
    }
}

/// The value of a parameter.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Int(i32),
    Float(f64),
    Bool(bool),
    Choice(usize),
    Color(u32),
    File(File),
}

impl Kind {
    pub fn default_value(&self) -> Value {
        match *self {
            Kind::Int { default, .. } => Value::Int(default),
            Kind::Float { default, .. } => Value::Float(default),
            Kind::Bool { default } => Value::Bool(default),
            Kind::Choice { default, .. } => Value::Choice(default),
            Kind::Color { default } => Value::Color(default),
            Kind::File => Value::File(File::new("")),
        }
    }

    /// What the parameter takes, in words.
    pub fn domain(&self) -> String {
        match self {
            Kind::Int { min, max, .. } => format!("a whole number from {min} to {max}"),
            Kind::Float { min, max, .. } => format!("a number from {min} to {max}"),
            Kind::Bool { .. } => "true or false".into(),
            Kind::Choice { choices, .. } => {
                let names: Vec<_> = choices.iter().map(|c| c.name).collect();
                format!("one of {}", names.join(", "))
            }
            Kind::Color { .. } => "a colour as #RRGGBB or 0xRRGGBB".into(),
            Kind::File => "the path of a .cube file".into(),
        }
    }

    /// Reads a value, or says what is wrong with it ("is out of range", …).
    pub fn parse(&self, text: &str) -> Result<Value, &'static str> {
        match *self {
            Kind::Int { min, max, .. } => {
                // Wider than the range, so that a huge number is out of range and not nonsense.
                let value: i128 = text.parse().map_err(|_| "is not a whole number")?;
                if value < i128::from(min) || value > i128::from(max) {
                    return Err("is out of range");
                }
                Ok(Value::Int(value as i32))
            }
            Kind::Float { min, max, .. } => {
                let value: f64 = text.parse().map_err(|_| "is not a number")?;
                if !value.is_finite() {
                    return Err("is not a number");
                }
                if value < min || value > max {
                    return Err("is out of range");
                }
                Ok(Value::Float(value))
            }
            Kind::Bool { .. } => match text {
                "true" | "yes" | "on" | "1" => Ok(Value::Bool(true)),
                "false" | "no" | "off" | "0" => Ok(Value::Bool(false)),
                _ => Err("is neither true nor false"),
            },
            Kind::Choice { choices, .. } => choices
                .iter()
                .position(|choice| choice.name == text)
                .map(Value::Choice)
                .ok_or("is not known"),
            Kind::Color { .. } => {
                let digits = text
                    .strip_prefix('#')
                    .or_else(|| text.strip_prefix("0x"))
                    .ok_or("is not a colour")?;
                if digits.len() != 6 || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
                    return Err("is not a colour");
                }
                u32::from_str_radix(digits, 16)
                    .map(Value::Color)
                    .map_err(|_| "is not a colour")
            }
            Kind::File if text.contains('\0') => Err("is not a path"),
            Kind::File => Ok(Value::File(File::new(text))),
        }
    }

    /// The value as [`Kind::parse`] reads it.
    pub fn print(&self, value: &Value) -> String {
        match (value, self) {
            (Value::Int(value), _) => value.to_string(),
            (Value::Float(value), _) => value.to_string(),
            (Value::Bool(value), _) => value.to_string(),
            (Value::Choice(index), Kind::Choice { choices, .. }) => choices
                .get(*index)
                .map_or_else(|| index.to_string(), |choice| choice.name.to_string()),
            (Value::Choice(index), _) => index.to_string(),
            (Value::Color(value), _) => format!("#{value:06x}"),
            (Value::File(file), _) => file.path.to_string(),
        }
    }

    /// True when a value has the parameter's type and lies in its range.
    pub fn accepts(&self, value: &Value) -> bool {
        match (self, value) {
            (Kind::Int { min, max, .. }, Value::Int(v)) => (min..=max).contains(&v),
            (Kind::Float { min, max, .. }, Value::Float(v)) => (min..=max).contains(&v),
            (Kind::Bool { .. }, Value::Bool(_)) => true,
            (Kind::Choice { choices, .. }, Value::Choice(v)) => *v < choices.len(),
            (Kind::Color { .. }, Value::Color(v)) => *v <= 0xff_ffff,
            (Kind::File, Value::File(_)) => true,
            _ => false,
        }
    }
}

/// The values of an effect's parameters, in the order of its definition.
#[derive(Clone)]
pub struct Values {
    params: &'static [Param],
    values: Vec<Value>,
}

impl Values {
    pub fn defaults(params: &'static [Param]) -> Self {
        let values = params.iter().map(|p| p.kind.default_value()).collect();
        Self { params, values }
    }

    pub fn set(&mut self, index: usize, value: Value) {
        debug_assert!(self.params[index].kind.accepts(&value));
        self.values[index] = value;
    }

    pub fn at(&self, index: usize) -> &Value {
        &self.values[index]
    }

    /// The value of a parameter that the effect's definition has. That effects ask for their own
    /// parameters with the right type is checked by a test that compiles each of them.
    fn get(&self, name: &str) -> &Value {
        match self.params.iter().position(|p| p.name == name) {
            Some(index) => &self.values[index],
            None => unreachable!("no parameter {name}"),
        }
    }

    pub fn int(&self, name: &str) -> i32 {
        match self.get(name) {
            Value::Int(value) => *value,
            other => unreachable!("{name} is {other:?}"),
        }
    }

    pub fn float(&self, name: &str) -> f64 {
        match self.get(name) {
            Value::Float(value) => *value,
            other => unreachable!("{name} is {other:?}"),
        }
    }

    pub fn bool(&self, name: &str) -> bool {
        match self.get(name) {
            Value::Bool(value) => *value,
            other => unreachable!("{name} is {other:?}"),
        }
    }

    pub fn choice(&self, name: &str) -> usize {
        match self.get(name) {
            Value::Choice(value) => *value,
            other => unreachable!("{name} is {other:?}"),
        }
    }

    /// A colour as red, green and blue of 0 to 1.
    pub fn color(&self, name: &str) -> [f32; 3] {
        match self.get(name) {
            Value::Color(value) => rgb(*value),
            other => unreachable!("{name} is {other:?}"),
        }
    }

    /// The table of a file that was loaded.
    pub fn table(&self, name: &str) -> Option<&Arc<Cube>> {
        match self.get(name) {
            Value::File(file) => file.table.as_ref(),
            other => unreachable!("{name} is {other:?}"),
        }
    }

    /// Reads the files that parameters name.
    pub fn load(&mut self) -> Result<(), crate::cube::CubeError> {
        self.values.iter_mut().try_for_each(|value| match value {
            Value::File(file) => file.load(),
            _ => Ok(()),
        })
    }
}

impl PartialEq for Values {
    fn eq(&self, other: &Self) -> bool {
        self.values == other.values
    }
}

impl fmt::Debug for Values {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut map = f.debug_map();
        for (param, value) in self.params.iter().zip(&self.values) {
            map.entry(&param.name, &param.kind.print(value));
        }
        map.finish()
    }
}

/// `0xRRGGBB` as red, green and blue of 0 to 1.
pub fn rgb(color: u32) -> [f32; 3] {
    [16, 8, 0].map(|shift| ((color >> shift) & 0xff) as f32 / 255.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEVELS: Kind = Kind::Int {
        min: 2,
        max: 256,
        default: 25,
    };
    const AMOUNT: Kind = Kind::Float {
        min: 0.0,
        max: 1.0,
        default: 0.5,
    };

    #[test]
    fn numbers_are_checked() {
        assert_eq!(LEVELS.parse("8"), Ok(Value::Int(8)));
        assert_eq!(LEVELS.parse("1"), Err("is out of range"));
        assert_eq!(LEVELS.parse("-99999999999999"), Err("is out of range"));
        assert_eq!(LEVELS.parse("8.5"), Err("is not a whole number"));
        assert_eq!(AMOUNT.parse("0.25"), Ok(Value::Float(0.25)));
        assert_eq!(AMOUNT.parse("1.01"), Err("is out of range"));
        assert_eq!(AMOUNT.parse("nan"), Err("is not a number"));
        assert_eq!(AMOUNT.parse("inf"), Err("is not a number"));
        assert_eq!(AMOUNT.parse(""), Err("is not a number"));
    }

    #[test]
    fn colours_and_words_are_checked() {
        let color = Kind::Color { default: 0 };
        assert_eq!(color.parse("#ff8000"), Ok(Value::Color(0xff8000)));
        assert_eq!(color.parse("0xFF8000"), Ok(Value::Color(0xff8000)));
        for wrong in ["ff8000", "#ff80", "#+f8000", "#gg0000", ""] {
            assert_eq!(color.parse(wrong), Err("is not a colour"), "{wrong}");
        }
        assert_eq!(color.print(&Value::Color(0xa0b)), "#000a0b");
        assert_eq!(rgb(0xff0080), [1.0, 0.0, 128.0 / 255.0]);
    }
}
