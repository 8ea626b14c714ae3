// SPDX-License-Identifier: Apache-2.0
//! The registry's parameters as GObject properties.

use std::collections::HashMap;
use std::sync::LazyLock;

use glib::translate::{FromGlib, IntoGlib};
use gst::glib;
use gst::prelude::*;

use super::{ColorMap, Dither, Half, Replacement, Space};
use crate::params::{File, Kind, Param, Value};
use crate::registry::{EFFECTS, Effect, property_name};

/// A property's name to the effect and parameter that it sets.
static PLACES: LazyLock<HashMap<String, (usize, usize)>> = LazyLock::new(|| {
    let mut places = HashMap::new();
    for (effect, definition) in EFFECTS.iter().enumerate() {
        for (index, param) in definition.params.iter().enumerate() {
            places.insert(property_name(definition, param), (effect, index));
        }
    }
    places
});

/// The effect and parameter that a property sets.
pub fn place(property: &str) -> Option<(usize, usize)> {
    PLACES.get(property).copied()
}

/// A property for each parameter of each effect.
pub fn specs() -> Vec<glib::ParamSpec> {
    EFFECTS
        .iter()
        .flat_map(|effect| effect.params.iter().map(|param| spec(effect, param)))
        .collect()
}

fn spec(effect: &Effect, param: &Param) -> glib::ParamSpec {
    let name = property_name(effect, param);
    let nick = format!("{}: {}", effect.nick, param.nick.to_lowercase());
    let blurb = format!(
        "{}; for {} in the chain without it",
        param.blurb, effect.name
    );
    match param.kind {
        Kind::Int { min, max, default } => glib::ParamSpecInt::builder(&name)
            .nick(&nick)
            .blurb(&blurb)
            .minimum(min)
            .maximum(max)
            .default_value(default)
            .controllable()
            .mutable_playing()
            .build(),
        Kind::Float { min, max, default } => glib::ParamSpecDouble::builder(&name)
            .nick(&nick)
            .blurb(&blurb)
            .minimum(min)
            .maximum(max)
            .default_value(default)
            .controllable()
            .mutable_playing()
            .build(),
        Kind::Bool { default } => glib::ParamSpecBoolean::builder(&name)
            .nick(&nick)
            .blurb(&blurb)
            .default_value(default)
            .controllable()
            .mutable_playing()
            .build(),
        Kind::Color { default } => glib::ParamSpecUInt::builder(&name)
            .nick(&nick)
            .blurb(&format!("{blurb} (0xRRGGBB)"))
            .minimum(0)
            .maximum(0xff_ffff)
            .default_value(default)
            .controllable()
            .mutable_playing()
            .build(),
        Kind::File => glib::ParamSpecString::builder(&name)
            .nick(&nick)
            .blurb(&blurb)
            .default_value(Some(""))
            .mutable_playing()
            .build(),
        Kind::Choice { default, .. } => match (effect.name, param.name) {
            (_, "space") => enum_spec(&name, &nick, &blurb, Space::ALL[default]),
            ("thermal", "map") => enum_spec(&name, &nick, &blurb, ColorMap::ALL[default]),
            ("dither", "method") => enum_spec(&name, &nick, &blurb, Dither::ALL[default]),
            ("chroma-key", "to") => enum_spec(&name, &nick, &blurb, Replacement::ALL[default]),
            ("mirror", "half") => enum_spec(&name, &nick, &blurb, Half::ALL[default]),
            (effect, param) => unreachable!("{effect} {param} has no GLib type"),
        },
    }
}

/// GLib wants a type for each set of words.
fn enum_spec<T>(name: &str, nick: &str, blurb: &str, default: T) -> glib::ParamSpec
where
    T: StaticType + FromGlib<i32> + IntoGlib<GlibType = i32>,
{
    glib::ParamSpecEnum::builder_with_default(name, default)
        .nick(nick)
        .blurb(blurb)
        .controllable()
        .mutable_playing()
        .build()
}

/// Reads a value that GObject has checked against the parameter's property.
pub fn from_glib_value(param: &Param, value: &glib::Value) -> Option<Value> {
    let value = match param.kind {
        Kind::Int { .. } => Value::Int(value.get().ok()?),
        Kind::Float { .. } => Value::Float(value.get().ok()?),
        Kind::Bool { .. } => Value::Bool(value.get().ok()?),
        Kind::Color { .. } => Value::Color(value.get().ok()?),
        Kind::Choice { .. } => {
            let (_, chosen) = glib::EnumValue::from_value(value)?;
            Value::Choice(usize::try_from(chosen.value()).ok()?)
        }
        Kind::File => {
            let path = value.get::<Option<String>>().ok()?.unwrap_or_default();
            Value::File(File::new(&path))
        }
    };
    param.kind.accepts(&value).then_some(value)
}

/// The value for a property.
pub fn to_glib_value(value: &Value, pspec: &glib::ParamSpec) -> glib::Value {
    match value {
        Value::Int(value) => value.to_value(),
        Value::Float(value) => value.to_value(),
        Value::Bool(value) => value.to_value(),
        Value::Color(value) => value.to_value(),
        Value::Choice(index) => glib::EnumClass::with_type(pspec.value_type())
            .and_then(|class| class.to_value(*index as i32))
            .unwrap_or_else(|| pspec.default_value().clone()),
        Value::File(file) => file.path.to_value(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The words of the GLib types must be the registry's, in the same order; and values must
    /// survive the way there and back.
    #[test]
    fn properties_match_the_registry() {
        gst::init().expect("GStreamer");
        let specs = specs();
        let params = EFFECTS.iter().flat_map(|effect| effect.params.iter());
        assert_eq!(specs.len(), PLACES.len());
        for (spec, param) in specs.iter().zip(params) {
            let default = param.kind.default_value();
            let value = to_glib_value(&default, spec);
            assert_eq!(
                from_glib_value(param, &value),
                Some(default.clone()),
                "{}",
                spec.name()
            );
            assert_eq!(from_glib_value(param, spec.default_value()), Some(default));
            if let Kind::Choice { choices, .. } = param.kind {
                let class = glib::EnumClass::with_type(spec.value_type()).expect("an enum");
                let nicks: Vec<_> = class
                    .values()
                    .iter()
                    .map(|v| v.nick().to_string())
                    .collect();
                let names: Vec<_> = choices.iter().map(|c| c.name).collect();
                assert_eq!(nicks, names, "{}", spec.name());
            }
        }
    }
}
