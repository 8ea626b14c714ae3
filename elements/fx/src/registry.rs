// SPDX-License-Identifier: Apache-2.0
//! The list of effects. The parser, the element's properties, `gst-inspect-1.0` and the
//! documentation all read it.

use std::fmt::Write;

use crate::deep::Point;
use crate::effects;
use crate::params::{Kind, Param, Values};
use crate::pass::{Build, Pass};
use crate::picture::Colorimetry;

/// An effect: what people see of it, and how to build it.
pub struct Effect {
    pub name: &'static str,
    /// Other names that the parser takes.
    pub aliases: &'static [&'static str],
    pub nick: &'static str,
    pub blurb: &'static str,
    pub params: &'static [Param],
    /// Prepares the effect for pictures of one shape.
    pub build: fn(&Values, &Build) -> Pass,
    /// The same for pictures of ten bits; none where the effect, or the effect with these
    /// parameters, takes eight bits only.
    pub deep: Option<DeepBuild>,
}

pub type DeepBuild = fn(&Values, &Colorimetry) -> Option<Point>;

/// Every effect, in the order in which people are shown them.
pub static EFFECTS: &[&Effect] = &[
    &effects::posterize::EFFECT,
    &effects::threshold::EFFECT,
    &effects::invert::EFFECT,
    &effects::sepia::EFFECT,
    &effects::duotone::EFFECT,
    &effects::thermal::EFFECT,
    &effects::lut::EFFECT,
    &effects::chroma_key::EFFECT,
    &effects::vignette::EFFECT,
    &effects::scanlines::EFFECT,
    &effects::rgb_shift::EFFECT,
    &effects::glitch::EFFECT,
    &effects::vhs::EFFECT,
    &effects::pixelate::EFFECT,
    &effects::blur::EFFECT,
    &effects::box_blur::EFFECT,
    &effects::bokeh::EFFECT,
    &effects::sharpen::EFFECT,
    &effects::edge::EFFECT,
    &effects::emboss::EFFECT,
    &effects::neon::EFFECT,
    &effects::cartoon::EFFECT,
    &effects::dither::EFFECT,
    &effects::halftone::EFFECT,
    &effects::old_film::EFFECT,
    &effects::mirror::EFFECT,
    &effects::kaleidoscope::EFFECT,
    &effects::trails::EFFECT,
];

/// The index of the effect of this name or alias.
pub fn find(name: &str) -> Option<usize> {
    EFFECTS
        .iter()
        .position(|effect| effect.name == name || effect.aliases.contains(&name))
}

/// All names, for messages.
pub fn names() -> String {
    let names: Vec<_> = EFFECTS.iter().map(|effect| effect.name).collect();
    names.join(", ")
}

/// The name of the property that sets a parameter where a chain leaves it out.
pub fn property_name(effect: &Effect, param: &Param) -> String {
    if param.name == effect.name {
        effect.name.to_string()
    } else {
        format!("{}-{}", effect.name, param.name)
    }
}

/// A parameter's default, in words.
pub fn print_default(param: &Param) -> String {
    match param.kind {
        Kind::File => "none".into(),
        kind => kind.print(&kind.default_value()),
    }
}

/// The tables of docs/effects.md.
pub fn markdown() -> String {
    let mut text = String::new();
    for effect in EFFECTS {
        let _ = write!(text, "### {}\n\n{}.", effect.name, effect.blurb);
        if !effect.aliases.is_empty() {
            let _ = write!(text, " Also called {}.", effect.aliases.join(", "));
        }
        if effect.deep.is_some() {
            text.push_str(" Takes ten bits, too.");
        }
        text.push_str("\n\n");
        if effect.params.is_empty() {
            text.push_str("No parameters.\n\n");
            continue;
        }
        text.push_str("| parameter | takes | default | what it does | property |\n");
        text.push_str("|---|---|---|---|---|\n");
        for param in effect.params {
            let _ = writeln!(
                text,
                "| `{}` | {} | `{}` | {} | `{}` |",
                param.name,
                param.kind.domain(),
                print_default(param),
                param.blurb,
                property_name(effect, param)
            );
        }
        text.push('\n');
        for param in effect.params {
            if let Kind::Choice { choices, .. } = param.kind {
                for choice in choices {
                    let _ = writeln!(text, "- `{}={}`: {}", param.name, choice.name, choice.blurb);
                }
                text.push('\n');
            }
        }
    }
    text
}

/// The effects for programs: names, and parameters with type, range, default and property.
pub fn json() -> serde_json::Value {
    use serde_json::json;
    let param = |effect: &Effect, param: &Param| {
        let mut object = json!({
            "name": param.name,
            "blurb": param.blurb,
            "property": property_name(effect, param),
            "controllable": !matches!(param.kind, Kind::File),
        });
        let typed = match param.kind {
            Kind::Int { min, max, default } => {
                json!({"type": "integer", "minimum": min, "maximum": max, "default": default})
            }
            Kind::Float { min, max, default } => {
                json!({"type": "number", "minimum": min, "maximum": max, "default": default})
            }
            Kind::Bool { default } => json!({"type": "boolean", "default": default}),
            Kind::Choice { choices, default } => {
                let names: Vec<_> = choices.iter().map(|choice| choice.name).collect();
                json!({"type": "choice", "choices": names, "default": names[default]})
            }
            Kind::Color { .. } => json!({"type": "color", "default": print_default(param)}),
            Kind::File => json!({"type": "file", "default": null}),
        };
        if let (Some(object), serde_json::Value::Object(typed)) = (object.as_object_mut(), typed) {
            object.extend(typed);
        }
        object
    };
    let effects = EFFECTS.iter().map(|effect| {
        let params: Vec<_> = effect.params.iter().map(|p| param(effect, p)).collect();
        json!({
            "name": effect.name,
            "aliases": effect.aliases,
            "blurb": effect.blurb,
            "ten-bit": effect.deep.is_some(),
            "parameters": params,
        })
    });
    effects.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::picture::{PixelFormat, Shape};

    fn is_name(name: &str) -> bool {
        let mut bytes = name.bytes();
        bytes.next().is_some_and(|b| b.is_ascii_lowercase())
            && bytes.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    }

    #[test]
    fn names_are_unique_and_fit_the_grammar() {
        let mut seen = std::collections::HashSet::new();
        let mut properties = std::collections::HashSet::new();
        for effect in EFFECTS {
            for name in [effect.name].iter().chain(effect.aliases) {
                assert!(is_name(name), "{name}");
                assert!(seen.insert(*name), "{name} twice");
            }
            assert!(!effect.blurb.is_empty() && !effect.blurb.ends_with('.'));
            for param in effect.params {
                assert!(is_name(param.name), "{}", param.name);
                assert!(
                    param.kind.accepts(&param.kind.default_value()),
                    "{}",
                    param.name
                );
                assert!(!param.blurb.is_empty() && !param.nick.is_empty());
                assert!(properties.insert(property_name(effect, param)));
                assert_ne!(param.name, "effect", "taken by the JSON form");
            }
        }
    }

    /// Effects ask for parameters by name: building each finds a name or type that is wrong.
    #[test]
    fn every_effect_builds_for_every_format() {
        for effect in EFFECTS {
            for format in PixelFormat::ALL {
                let shape = Shape::new(format, 17, 9, Colorimetry::BT601);
                (effect.build)(
                    &Values::defaults(effect.params),
                    &Build::new(format, shape, 1),
                );
            }
        }
    }

    #[test]
    fn the_documentation_lists_what_there_is() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/effects.md");
        let text = std::fs::read_to_string(path).expect("docs/effects.md");
        let begin = "<!-- begin: written from the registry -->\n\n";
        let end = "<!-- end -->";
        let (head, rest) = text.split_once(begin).expect("the mark of the beginning");
        let (tables, tail) = rest.split_once(end).expect("the mark of the end");
        if std::env::var_os("UPDATE_DOCS").is_some() {
            let new = format!("{head}{begin}{}{end}{tail}", markdown());
            std::fs::write(path, new).expect("docs/effects.md");
            return;
        }
        assert!(
            tables == markdown(),
            "docs/effects.md is out of date: run \
             `UPDATE_DOCS=1 cargo test --release -p aivideo-fx --lib the_documentation`"
        );
    }
}
