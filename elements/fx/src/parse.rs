// SPDX-License-Identifier: Apache-2.0
//! Chains of effects as text.
//!
//! The short form is `effect[:parameter=value]…[,effect…]`:
//! `posterize:num-levels=8,vignette:amount=0.4:radius=0.3`.
//! The other is a JSON array whose items are names or objects with the name under `effect`:
//! `["sepia", {"effect": "posterize", "num-levels": 8}]`.
//! Values that hold a comma, a colon or a quotation mark go between quotation marks, with `\"` and
//! `\\` inside. Underscores count as hyphens. Nothing is guessed: an unknown name, a value out of range or a
//! parameter given twice is an error that lists what would do.

use crate::cube::CubeError;
use crate::params::{Value, Values};
use crate::registry::{self, EFFECTS};

/// An effect of a chain, with the parameters that the text gives.
#[derive(Clone, Debug, PartialEq)]
pub struct Item {
    /// Index into [`EFFECTS`].
    pub effect: usize,
    /// A value for each parameter, `None` where the text leaves it out.
    pub given: Vec<Option<Value>>,
}

impl Item {
    fn new(effect: usize) -> Self {
        Self {
            effect,
            given: vec![None; EFFECTS[effect].params.len()],
        }
    }

    /// The parameters in force: those given, else those of `others`.
    pub fn values(&self, others: &Values) -> Values {
        let mut values = others.clone();
        for (index, given) in self.given.iter().enumerate() {
            if let Some(value) = given {
                values.set(index, value.clone());
            }
        }
        values
    }
}

/// Why a text is not a chain.
#[derive(Debug, thiserror::Error, PartialEq)]
pub enum ParseError {
    #[error("unknown effect \"{name}\"; the effects are {}", registry::names())]
    UnknownEffect { name: String },
    #[error("effect {position} of the chain has no name; write effect:parameter=value,effect…")]
    NoName { position: usize },
    #[error("{effect} has no parameter \"{name}\"; {known}")]
    UnknownParameter {
        effect: &'static str,
        name: String,
        known: String,
    },
    #[error("{effect}: \"{text}\" is not parameter=value; {known}")]
    NotAPair {
        effect: &'static str,
        text: String,
        known: String,
    },
    #[error("{effect}:{param}={value} {problem}; {param} takes {domain}")]
    Value {
        effect: &'static str,
        param: &'static str,
        value: String,
        problem: &'static str,
        domain: String,
    },
    #[error("{effect} is given {param} twice")]
    Twice {
        effect: &'static str,
        param: &'static str,
    },
    #[error("not JSON: {0}")]
    Json(String),
    #[error("in JSON a chain is an array of names and of objects with an \"effect\", not {0}")]
    JsonShape(String),
    #[error("a chain has at most {MAX_EFFECTS} effects, not {0}")]
    TooLong(usize),
    #[error("a quotation mark is not closed: {0}")]
    Quote(String),
    #[error("{effect}: {error}")]
    File {
        effect: &'static str,
        error: CubeError,
    },
}

/// More effects than this in one chain is taken for a mistake.
pub const MAX_EFFECTS: usize = 64;

/// Reads a chain in either form. Blank text is the empty chain.
pub fn parse(text: &str) -> Result<Vec<Item>, ParseError> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let items = if text.starts_with('[') || text.starts_with('{') {
        parse_json(text)?
    } else {
        parse_short(text)?
    };
    if items.len() > MAX_EFFECTS {
        return Err(ParseError::TooLong(items.len()));
    }
    Ok(items)
}

/// Reads the files that a chain names.
pub fn load(items: &mut [Item]) -> Result<(), ParseError> {
    for item in items {
        for given in item.given.iter_mut().flatten() {
            if let Value::File(file) = given {
                file.load().map_err(|error| ParseError::File {
                    effect: EFFECTS[item.effect].name,
                    error,
                })?;
            }
        }
    }
    Ok(())
}

/// Splits at a character that is not between quotation marks.
fn split_at(text: &str, at: char) -> Result<Vec<&str>, ParseError> {
    let (mut parts, mut start) = (Vec::new(), 0);
    let (mut quoted, mut escaped) = (false, false);
    for (index, c) in text.char_indices() {
        if quoted && !escaped && c == '\\' {
            escaped = true;
            continue;
        }
        if c == '"' && !escaped {
            quoted = !quoted;
        } else if c == at && !quoted {
            parts.push(&text[start..index]);
            start = index + c.len_utf8();
        }
        escaped = false;
    }
    if quoted {
        return Err(ParseError::Quote(text.trim().to_string()));
    }
    parts.push(&text[start..]);
    Ok(parts)
}

/// A value without its quotation marks.
fn unquoted(value: &str) -> String {
    let inside = value
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'));
    let Some(inside) = inside else {
        return value.to_string();
    };
    let mut plain = String::with_capacity(inside.len());
    let mut chars = inside.chars();
    while let Some(c) = chars.next() {
        plain.push(match c {
            '\\' => chars.next().unwrap_or(c),
            c => c,
        });
    }
    plain
}

/// A value with quotation marks where it needs them.
fn quoted(value: &str) -> String {
    if value.trim() == value && !value.contains([',', ':', '"']) {
        return value.to_string();
    }
    let escaped = value.replace('\\', "\\\\").replace('"', "\\\"");
    format!("\"{escaped}\"")
}

fn parse_short(text: &str) -> Result<Vec<Item>, ParseError> {
    let mut items = Vec::new();
    for (index, part) in split_at(text, ',')?.into_iter().enumerate() {
        let mut fields = split_at(part, ':')?.into_iter();
        let name = fields.next().unwrap_or_default().trim();
        if name.is_empty() {
            return Err(ParseError::NoName {
                position: index + 1,
            });
        }
        let mut item = new_item(name)?;
        for field in fields {
            let (name, value) = field.split_once('=').ok_or_else(|| ParseError::NotAPair {
                effect: EFFECTS[item.effect].name,
                text: field.trim().to_string(),
                known: known(item.effect),
            })?;
            give(&mut item, name.trim(), &unquoted(value.trim()))?;
        }
        items.push(item);
    }
    Ok(items)
}

fn parse_json(text: &str) -> Result<Vec<Item>, ParseError> {
    use serde_json::Value as Json;
    let json: Json = serde_json::from_str(text).map_err(|e| ParseError::Json(e.to_string()))?;
    let Json::Array(entries) = json else {
        return Err(ParseError::JsonShape(text.to_string()));
    };
    let mut items = Vec::new();
    for (index, entry) in entries.into_iter().enumerate() {
        match entry {
            Json::String(name) => items.push(new_item(name.trim())?),
            Json::Object(map) => {
                let Some(Json::String(name)) = map.get("effect") else {
                    return Err(ParseError::NoName {
                        position: index + 1,
                    });
                };
                let mut item = new_item(name.trim())?;
                for (name, value) in &map {
                    if name == "effect" {
                        continue;
                    }
                    // Strings take the short form's syntax, other scalars print as it.
                    let value = match value {
                        Json::String(value) => value.trim().to_string(),
                        other => other.to_string(),
                    };
                    give(&mut item, name, &value)?;
                }
                items.push(item);
            }
            other => return Err(ParseError::JsonShape(other.to_string())),
        }
    }
    Ok(items)
}

fn new_item(name: &str) -> Result<Item, ParseError> {
    registry::find(&name.replace('_', "-"))
        .map(Item::new)
        .ok_or_else(|| ParseError::UnknownEffect { name: name.into() })
}

fn give(item: &mut Item, name: &str, value: &str) -> Result<(), ParseError> {
    let effect = EFFECTS[item.effect];
    let wanted = name.replace('_', "-");
    let Some(index) = effect.params.iter().position(|p| p.name == wanted) else {
        return Err(ParseError::UnknownParameter {
            effect: effect.name,
            name: name.into(),
            known: known(item.effect),
        });
    };
    let param = &effect.params[index];
    if item.given[index].is_some() {
        return Err(ParseError::Twice {
            effect: effect.name,
            param: param.name,
        });
    }
    let parsed = param
        .kind
        .parse(value)
        .map_err(|problem| ParseError::Value {
            effect: effect.name,
            param: param.name,
            value: value.into(),
            problem,
            domain: param.kind.domain(),
        })?;
    item.given[index] = Some(parsed);
    Ok(())
}

fn known(effect: usize) -> String {
    let names: Vec<_> = EFFECTS[effect].params.iter().map(|p| p.name).collect();
    if names.is_empty() {
        "it takes no parameters".into()
    } else {
        format!("its parameters are {}", names.join(", "))
    }
}

/// The short form of a chain.
pub fn print(items: &[Item]) -> String {
    let items: Vec<String> = items
        .iter()
        .map(|item| {
            let effect = EFFECTS[item.effect];
            let mut text = effect.name.to_string();
            for (param, given) in effect.params.iter().zip(&item.given) {
                if let Some(value) = given {
                    text.push_str(&format!(
                        ":{}={}",
                        param.name,
                        quoted(&param.kind.print(value))
                    ));
                }
            }
            text
        })
        .collect();
    items.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::params::{File, Kind};
    use proptest::prelude::*;

    fn error(text: &str) -> String {
        parse(text).expect_err(text).to_string()
    }

    #[test]
    fn both_forms_mean_the_same() {
        let short =
            parse(" posterise:num_levels=8 , vignette:amount=0.4:radius=0.2,sepia").unwrap();
        let json = parse(
            r##"[{"effect":"posterize","num-levels":8},
                {"effect":"vignette","amount":0.4,"radius":"0.2"},"sepia"]"##,
        )
        .unwrap();
        assert_eq!(short, json);
        assert_eq!(
            print(&short),
            "posterize:num-levels=8,vignette:amount=0.4:radius=0.2,sepia"
        );
        assert_eq!(parse("").unwrap(), []);
        assert_eq!(parse("  ").unwrap(), []);
        assert_eq!(parse("[]").unwrap(), []);
    }

    #[test]
    fn values_left_out_come_from_elsewhere() {
        let item = &parse("posterize:num-levels=8").unwrap()[0];
        let mut others = Values::defaults(EFFECTS[item.effect].params);
        others.set(0, Value::Int(99));
        assert_eq!(item.values(&others).int("num-levels"), 8);
        let item = &parse("posterize").unwrap()[0];
        assert_eq!(item.values(&others).int("num-levels"), 99);
    }

    #[test]
    fn errors_say_what_would_do() {
        let text = error("posterise,nonsense");
        assert!(text.starts_with("unknown effect \"nonsense\""), "{text}");
        assert!(text.contains("posterize, threshold"), "{text}");
        assert_eq!(
            error("posterize:levels=3"),
            "posterize has no parameter \"levels\"; its parameters are num-levels, space"
        );
        assert_eq!(
            error("posterize:num-levels=1"),
            "posterize:num-levels=1 is out of range; num-levels takes a whole number from 2 to 256"
        );
        assert_eq!(
            error("threshold:threshold=2"),
            "threshold:threshold=2 is out of range; threshold takes a number from 0 to 1"
        );
        assert_eq!(
            error("threshold:space=cmyk"),
            "threshold:space=cmyk is not known; space takes one of yuv, rgb"
        );
        assert_eq!(
            error("posterize:8"),
            "posterize: \"8\" is not parameter=value; its parameters are num-levels, space"
        );
        assert_eq!(
            error("posterize:num-levels=8:num_levels=9"),
            "posterize is given num-levels twice"
        );
        assert!(error("sepia,,sepia").starts_with("effect 2 of the chain has no name"));
        assert!(error("sepia,").starts_with("effect 2 of the chain has no name"));
        assert!(error("[{\"num-levels\":3}]").starts_with("effect 1 of the chain has no name"));
        assert!(error("[\"sepia\"").starts_with("not JSON"));
        assert!(error("{\"effect\":\"sepia\"}").starts_with("in JSON a chain is an array"));
        assert!(error("[3]").contains("not 3"));
        assert!(error("[{\"effect\":\"sepia\",\"amount\":[1]}]").contains("is not a number"));
        assert!(error(&vec!["sepia"; 65].join(",")).contains("at most 64"));
    }

    proptest! {
        /// No text makes the parser panic, and what it takes prints to the same chain.
        #[test]
        fn any_text_is_taken_or_refused(text in "[a-z\\-:=,0-9.\\[\\]{}\"\\\\ ]{0,60}") {
            if let Ok(items) = parse(&text) {
                prop_assert_eq!(parse(&print(&items)).unwrap(), items);
            }
        }

        #[test]
        fn chains_survive_printing(
            picks in proptest::collection::vec((0..EFFECTS.len(), 0.0f64..1.0, any::<u8>()), 0..6)
        ) {
            let items: Vec<Item> = picks.iter().map(|(effect, at, mask)| {
                let mut item = Item::new(*effect);
                for (i, param) in EFFECTS[*effect].params.iter().enumerate() {
                    if mask >> (i % 8) & 1 == 0 { continue; }
                    item.given[i] = Some(match param.kind {
                        Kind::Int { min, max, .. } =>
                            Value::Int(min + ((max - min) as f64 * at) as i32),
                        Kind::Float { min, max, .. } => Value::Float(min + (max - min) * at),
                        Kind::Bool { .. } => Value::Bool(*at < 0.5),
                        Kind::Choice { choices, .. } =>
                            Value::Choice((choices.len() as f64 * at) as usize),
                        Kind::Color { .. } => Value::Color((at * 16777215.0) as u32),
                        Kind::File => Value::File(File::new(
                            ["a.cube", "/b c/d,e.cube", "C:\\x:y", "\"q\" \\", " s ", ""]
                                [(at * 5.999) as usize],
                        )),
                    });
                }
                item
            }).collect();
            prop_assert_eq!(parse(&print(&items)).unwrap(), items);
        }
    }
}
