// SPDX-License-Identifier: Apache-2.0
//! The `operations` text: what it may say, parsed into typed specifications.
//!
//! ```text
//! operations = operation { "," operation }
//! operation  = name { ":" parameter "=" value }
//! value      = characters other than , : and "   |   '"' any characters other than '"' '"'
//! ```
//!
//! Operations run in the order in which they are written. What exists is in
//! [`OPERATIONS`](crate::operations::OPERATIONS).

mod order;
mod params;

use std::fmt;

use thiserror::Error;

use crate::operations::{self, Definition, OPERATIONS};

pub use params::{Kind, Param, Value, Values};

/// One operation with its parameters.
#[derive(Clone)]
pub struct OperationSpec {
    pub definition: &'static Definition,
    pub values: Values,
}

impl PartialEq for OperationSpec {
    fn eq(&self, other: &Self) -> bool {
        self.name() == other.name() && self.values == other.values
    }
}

impl fmt::Debug for OperationSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl fmt::Display for OperationSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        self.values
            .written()
            .try_for_each(|text| write!(f, ":{text}"))
    }
}

impl OperationSpec {
    /// The name, as in the text.
    pub fn name(&self) -> &'static str {
        self.definition.name
    }
}

/// What is wrong with an `operations` text.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SpecError {
    #[error("unknown operation \"{name}\": known are {}", known_operations())]
    UnknownOperation { name: String },
    #[error("\"{name}\" is no operation of aienhance: {cure}")]
    Elsewhere { name: String, cure: &'static str },
    #[error(
        "operation \"{operation}\" has no parameter \"{name}\": it takes {}",
        known_parameters(operation)
    )]
    UnknownParameter {
        operation: &'static str,
        name: String,
    },
    #[error("\"{value}\" is no value for {operation}:{name}: it takes {expected}")]
    BadValue {
        operation: &'static str,
        name: &'static str,
        value: String,
        expected: String,
    },
    #[error("\"{text}\" needs a value: write {operation}:{text}=<value>")]
    MissingValue {
        operation: &'static str,
        text: String,
    },
    #[error("parameter \"{name}\" of \"{operation}\" is given twice")]
    DuplicateParameter {
        operation: &'static str,
        name: &'static str,
    },
    #[error("operation \"{operation}\" is given twice: name it once")]
    DuplicateOperation { operation: &'static str },
    #[error("\"{second}\" cannot come after \"{first}\": {reason}; write {second} in front")]
    Order {
        first: &'static str,
        second: &'static str,
        reason: &'static str,
    },
    #[error(
        "there is an empty operation at position {position} (a stray comma?): known are {}",
        known_operations()
    )]
    EmptyOperation { position: usize },
    #[error("a double quote is opened and never closed")]
    OpenQuote,
}

fn known_operations() -> String {
    let names: Vec<_> = OPERATIONS
        .iter()
        .map(|d| match d.preset {
            Some(preset) => format!("{} (also {preset})", d.name),
            None => d.name.to_owned(),
        })
        .collect();
    names.join(", ")
}

fn known_parameters(operation: &str) -> String {
    OPERATIONS
        .iter()
        .filter(|d| d.name == operation)
        .flat_map(|d| d.params)
        .map(Param::describe)
        .collect::<Vec<_>>()
        .join("; ")
}

/// Reads an `operations` text; an empty one is an empty chain.
pub fn parse(text: &str) -> Result<Vec<OperationSpec>, SpecError> {
    if text.trim().is_empty() {
        return Ok(Vec::new());
    }
    let mut chain: Vec<OperationSpec> = Vec::new();
    for (index, part) in split(text, ',')?.into_iter().enumerate() {
        if part.trim().is_empty() {
            return Err(SpecError::EmptyOperation {
                position: index + 1,
            });
        }
        let operation = parse_operation(part)?;
        if chain.iter().any(|o| o.name() == operation.name()) {
            return Err(SpecError::DuplicateOperation {
                operation: operation.name(),
            });
        }
        chain.push(operation);
    }
    order::check(&chain)?;
    Ok(chain)
}

/// Splits at `separator` wherever it stands outside double quotes.
fn split(text: &str, separator: char) -> Result<Vec<&str>, SpecError> {
    let mut parts = Vec::new();
    let (mut quoted, mut start) = (false, 0);
    for (at, c) in text.char_indices() {
        if c == '"' {
            quoted = !quoted;
        } else if c == separator && !quoted {
            parts.push(&text[start..at]);
            start = at + c.len_utf8();
        }
    }
    if quoted {
        return Err(SpecError::OpenQuote);
    }
    parts.push(&text[start..]);
    Ok(parts)
}

fn parse_operation(text: &str) -> Result<OperationSpec, SpecError> {
    let mut parts = split(text, ':')?.into_iter();
    let name = parts.next().unwrap_or_default().trim();
    let definition = find(name)?;
    let operation = definition.name;
    let mut values = Values::new(definition.params);
    for part in parts {
        let (key, value) = part
            .split_once('=')
            .ok_or_else(|| SpecError::MissingValue {
                operation,
                text: part.trim().into(),
            })?;
        let key = key.trim();
        let at = definition
            .params
            .iter()
            .position(|p| p.name == key)
            .ok_or_else(|| SpecError::UnknownParameter {
                operation,
                name: key.into(),
            })?;
        let param = &definition.params[at];
        if values.is_given(param.name) {
            return Err(SpecError::DuplicateParameter {
                operation,
                name: param.name,
            });
        }
        let value = value.trim();
        let value = value
            .strip_prefix('"')
            .and_then(|v| v.strip_suffix('"'))
            .unwrap_or(value);
        let read = param.kind.read(value).ok_or_else(|| SpecError::BadValue {
            operation,
            name: param.name,
            value: value.to_owned(),
            expected: param.kind.describe(),
        })?;
        values.give(at, read);
    }
    Ok(OperationSpec { definition, values })
}

fn find(name: &str) -> Result<&'static Definition, SpecError> {
    let found = OPERATIONS
        .iter()
        .find(|d| d.name == name || d.preset == Some(name));
    if let Some(definition) = found {
        return Ok(definition);
    }
    Err(
        match operations::ELSEWHERE.iter().find(|(n, _)| *n == name) {
            Some((_, cure)) => SpecError::Elsewhere {
                name: name.into(),
                cure,
            },
            None => SpecError::UnknownOperation { name: name.into() },
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn texts(chain: &[OperationSpec]) -> Vec<String> {
        chain.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn reads_a_chain_in_order() {
        let chain = parse(" denoise : strength = auto , upscale:factor=4 ").expect("valid");
        assert_eq!(texts(&chain), ["denoise:strength=auto", "upscale:factor=4"]);
        assert_eq!(chain[0].values.unless_auto("strength"), None);
        assert_eq!(chain[1].values.choice("factor"), "4");
    }

    #[test]
    fn empty_text_is_an_empty_chain() {
        assert_eq!(parse(""), Ok(vec![]));
        assert_eq!(parse("  "), Ok(vec![]));
    }

    #[test]
    fn preset_names_mean_the_same() {
        assert_eq!(parse("noise_reduction"), parse("denoise"));
        assert_eq!(parse("upscaling:factor=4"), parse("upscale:factor=4"));
    }

    #[test]
    fn the_eight_names_are_operations_or_say_where_to_go() {
        for name in [
            "upscaling",
            "noise_reduction",
            "color_enhancement",
            "stabilization",
            "object_detection",
            "scene_analysis",
            "audio_enhancement",
            "hdr_processing",
        ] {
            match parse(name) {
                Ok(chain) => assert_eq!(chain.len(), 1),
                Err(SpecError::Elsewhere { .. }) => {}
                Err(error) => panic!("{name}: {error}"),
            }
        }
        let message = parse("denoise,audio_enhancement")
            .expect_err("sound")
            .to_string();
        assert!(message.contains("aiaudioenhance"), "{message}");
    }

    #[test]
    fn properties_hold_where_the_text_says_nothing() {
        let mut chain = parse("denoise:strength=12").expect("valid");
        let values = &mut chain[0].values;
        assert!(!values.set_default("strength", Value::Number(3.0)));
        assert!(values.set_default("chroma", Value::Number(4.0)));
        assert_eq!(
            (values.number("strength"), values.number("chroma")),
            (12.0, 4.0)
        );
        assert!(!values.set_default("no-such", Value::Auto));
    }

    #[test]
    fn quotes_protect_separators() {
        let chain = parse("upscale:model=\"/a,b:c/net.onnx\"").expect("valid");
        assert_eq!(
            chain[0].values.path("model"),
            Some("/a,b:c/net.onnx".into())
        );
        assert_eq!(parse("upscale:model=\"/a"), Err(SpecError::OpenQuote));
    }

    #[test]
    fn says_what_is_wrong_and_what_is_right() {
        let message = |text: &str| parse(text).expect_err(text).to_string();
        assert!(message("sharpen").contains("denoise (also noise_reduction)"));
        assert!(message("sharpen").contains("upscale (also upscaling)"));
        assert!(message("upscale:factr=2").contains("factor=2 or 4"));
        for value in ["3", "0", "-2", "2.0", "", "x"] {
            assert!(message(&format!("upscale:factor={value}")).contains("2 or 4"));
        }
        for value in ["-1", "56", "nan", "inf", "much", ""] {
            assert!(message(&format!("denoise:strength={value}")).contains("auto or 0 to 55"));
        }
        assert!(message("upscale:factor").contains("write upscale:factor=<value>"));
        assert!(message("upscale:factor=2:factor=2").contains("given twice"));
        assert!(message("upscale,upscale").contains("given twice"));
        assert!(message("denoise,,upscale").contains("position 2"));
        assert!(message("upscale:model=").contains("path"));
    }

    proptest! {
        #[test]
        fn never_panics(text in ".{0,80}") {
            let _ = parse(&text);
        }

        #[test]
        fn known_words_in_any_order_never_panic(
            parts in proptest::collection::vec("(denoise|upscale|strength|factor|model|auto|[0-9.]{1,4}|[,:=\"])", 0..12)
        ) {
            let _ = parse(&parts.concat());
        }

        #[test]
        fn written_and_read_again_is_the_same(sigma in 0u32..=55, four: bool) {
            let text = format!("denoise:strength={sigma},upscale:factor={}", if four { 4 } else { 2 });
            let chain = parse(&text).expect("valid");
            prop_assert_eq!(parse(&texts(&chain).join(",")).expect("valid"), chain);
        }
    }
}
