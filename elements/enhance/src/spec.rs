// SPDX-License-Identifier: Apache-2.0
//! The `operations` text: what it may say, parsed into typed specifications.
//!
//! ```text
//! operations = operation { "," operation }
//! operation  = name { ":" parameter "=" value }
//! value      = characters other than , : and "   |   '"' any characters other than '"' '"'
//! ```
//!
//! Operations run in the order in which they are written.

use std::fmt;
use std::path::PathBuf;

use thiserror::Error;

/// A noise level: measured on each picture, or given in 8-bit steps.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Level {
    Auto,
    Sigma(f32),
}

/// Largest noise level that the net was trained for.
pub const MAX_SIGMA: f32 = 55.0;

/// One operation with its parameters.
#[derive(Debug, Clone, PartialEq)]
pub enum OperationSpec {
    /// Twice (or four times) the width and height.
    Upscale { factor: u32, model: Option<PathBuf> },
    /// Removes noise of a given or measured level.
    Denoise {
        strength: Level,
        chroma: Level,
        model: Option<PathBuf>,
    },
}

/// A name and the parameters that it takes, for messages and documentation.
pub struct Grammar {
    pub name: &'static str,
    /// The same operation under the names that services use.
    pub preset: &'static str,
    pub parameters: &'static [(&'static str, &'static str)],
}

/// Every operation that exists.
pub const OPERATIONS: &[Grammar] = &[
    Grammar {
        name: "denoise",
        preset: "noise_reduction",
        parameters: &[
            ("strength", "auto or 0 to 55 (default auto)"),
            (
                "chroma",
                "auto or 0 to 55 (default: auto, or half of a given strength)",
            ),
            ("model", "path of an ONNX file (default: the built-in net)"),
        ],
    },
    Grammar {
        name: "upscale",
        preset: "upscaling",
        parameters: &[
            ("factor", "2 or 4 (default 2)"),
            ("model", "path of an ONNX file (default: the built-in net)"),
        ],
    },
];

/// What is wrong with an `operations` text.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SpecError {
    #[error("unknown operation \"{name}\": known are {}", known_operations())]
    UnknownOperation { name: String },
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
        expected: &'static str,
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
        .map(|g| format!("{} (also {})", g.name, g.preset))
        .collect();
    names.join(", ")
}

fn known_parameters(operation: &str) -> String {
    OPERATIONS
        .iter()
        .filter(|g| g.name == operation)
        .flat_map(|g| g.parameters)
        .map(|(name, takes)| format!("{name}={takes}"))
        .collect::<Vec<_>>()
        .join("; ")
}

impl OperationSpec {
    /// The name, as in the text.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Upscale { .. } => "upscale",
            Self::Denoise { .. } => "denoise",
        }
    }

    /// By how much width and height grow.
    pub fn scale(&self) -> u32 {
        match self {
            Self::Upscale { factor, .. } => *factor,
            Self::Denoise { .. } => 1,
        }
    }

    /// The file that replaces the built-in net, when one is named.
    pub fn model(&self) -> Option<&PathBuf> {
        match self {
            Self::Upscale { model, .. } | Self::Denoise { model, .. } => model.as_ref(),
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Sigma(sigma) => write!(f, "{sigma}"),
        }
    }
}

impl fmt::Display for OperationSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Upscale { factor, .. } => write!(f, "upscale:factor={factor}")?,
            Self::Denoise {
                strength, chroma, ..
            } => write!(f, "denoise:strength={strength}:chroma={chroma}")?,
        }
        if let Some(model) = self.model() {
            write!(f, ":model=\"{}\"", model.display())?;
        }
        Ok(())
    }
}

/// By how much the whole chain enlarges width and height.
pub fn total_scale(chain: &[OperationSpec]) -> u32 {
    chain.iter().map(OperationSpec::scale).product()
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
    let grammar = OPERATIONS
        .iter()
        .find(|g| g.name == name || g.preset == name)
        .ok_or_else(|| SpecError::UnknownOperation { name: name.into() })?;
    let operation = grammar.name;

    let mut given: Vec<(&'static str, &'static str, String)> = Vec::new();
    for part in parts {
        let (key, value) = part
            .split_once('=')
            .ok_or_else(|| SpecError::MissingValue {
                operation,
                text: part.trim().into(),
            })?;
        let key = key.trim();
        let &(known, takes) = grammar
            .parameters
            .iter()
            .find(|(n, _)| *n == key)
            .ok_or_else(|| SpecError::UnknownParameter {
                operation,
                name: key.into(),
            })?;
        if given.iter().any(|(n, ..)| *n == known) {
            return Err(SpecError::DuplicateParameter {
                operation,
                name: known,
            });
        }
        let value = value.trim();
        let value = value
            .strip_prefix('"')
            .and_then(|v| v.strip_suffix('"'))
            .unwrap_or(value);
        given.push((known, takes, value.to_owned()));
    }

    let bad =
        |(name, expected, value): &(&'static str, &'static str, String)| SpecError::BadValue {
            operation,
            name,
            value: value.clone(),
            expected,
        };
    let find = |wanted: &str| given.iter().find(|(name, ..)| *name == wanted);
    let model = match find("model") {
        Some(entry) if entry.2.is_empty() => return Err(bad(entry)),
        Some(entry) => Some(PathBuf::from(&entry.2)),
        None => None,
    };
    match operation {
        "upscale" => {
            let factor = match find("factor") {
                None => 2,
                Some(entry) => match entry.2.as_str() {
                    "2" => 2,
                    "4" => 4,
                    _ => return Err(bad(entry)),
                },
            };
            Ok(OperationSpec::Upscale { factor, model })
        }
        _ => {
            let level = |name: &str| match find(name) {
                None => Ok(None),
                Some(entry) if entry.2 == "auto" => Ok(Some(Level::Auto)),
                Some(entry) => match entry.2.parse::<f32>() {
                    Ok(sigma) if (0.0..=MAX_SIGMA).contains(&sigma) => {
                        Ok(Some(Level::Sigma(sigma)))
                    }
                    _ => Err(bad(entry)),
                },
            };
            let strength = level("strength")?.unwrap_or(Level::Auto);
            let chroma = level("chroma")?.unwrap_or(match strength {
                Level::Auto => Level::Auto,
                // Chroma is averaged over four samples on its way to 4:2:0.
                Level::Sigma(sigma) => Level::Sigma(sigma / 2.0),
            });
            Ok(OperationSpec::Denoise {
                strength,
                chroma,
                model,
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_a_chain_in_order() {
        let chain = parse(" denoise : strength = auto , upscale:factor=4 ").expect("valid");
        assert_eq!(
            chain,
            [
                OperationSpec::Denoise {
                    strength: Level::Auto,
                    chroma: Level::Auto,
                    model: None
                },
                OperationSpec::Upscale {
                    factor: 4,
                    model: None
                },
            ]
        );
        assert_eq!(total_scale(&chain), 4);
    }

    #[test]
    fn empty_text_is_an_empty_chain() {
        assert_eq!(parse(""), Ok(vec![]));
        assert_eq!(parse("  "), Ok(vec![]));
        assert_eq!(total_scale(&[]), 1);
    }

    #[test]
    fn preset_names_mean_the_same() {
        assert_eq!(parse("noise_reduction"), parse("denoise"));
        assert_eq!(parse("upscaling:factor=4"), parse("upscale:factor=4"));
    }

    #[test]
    fn a_given_strength_sets_chroma_to_half() {
        let level = |text: &str| match parse(text).as_deref() {
            Ok([OperationSpec::Denoise { chroma, .. }]) => *chroma,
            other => panic!("{other:?}"),
        };
        assert_eq!(level("denoise:strength=20"), Level::Sigma(10.0));
        assert_eq!(level("denoise:strength=20:chroma=auto"), Level::Auto);
        assert_eq!(level("denoise:chroma=3"), Level::Sigma(3.0));
    }

    #[test]
    fn quotes_protect_separators() {
        let chain = parse("upscale:model=\"/a,b:c/net.onnx\"").expect("valid");
        assert_eq!(chain[0].model(), Some(&PathBuf::from("/a,b:c/net.onnx")));
        assert_eq!(parse("upscale:model=\"/a"), Err(SpecError::OpenQuote));
    }

    #[test]
    fn says_what_is_wrong_and_what_is_right() {
        let message = |text: &str| parse(text).expect_err(text).to_string();
        assert!(message("sharpen").contains("known are denoise (also noise_reduction), upscale"));
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
        fn written_and_read_again_is_the_same(sigma in 0u32..=55, four: bool, reversed: bool) {
            let mut parts = [format!("denoise:strength={sigma}"), format!("upscale:factor={}", if four { 4 } else { 2 })];
            if reversed { parts.reverse(); }
            let chain = parse(&parts.join(",")).expect("valid");
            let text: Vec<_> = chain.iter().map(ToString::to_string).collect();
            prop_assert_eq!(parse(&text.join(",")).expect("valid"), chain);
        }
    }
}
