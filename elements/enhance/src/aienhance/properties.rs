// SPDX-License-Identifier: Apache-2.0
//! The numbers among the operations' parameters as GObject properties, which control bindings can
//! move while frames pass.

use std::collections::BTreeMap;

use glib::prelude::*;
use gst::prelude::*;

use crate::{
    operations::{Definition, OPERATIONS},
    spec::{Kind, OperationSpec, Param, Value},
};

/// The property's word for `auto`.
const AUTO: f64 = -1.0;

/// Values that properties were set to, by property.
pub type Numbers = BTreeMap<&'static str, f64>;

/// A parameter that is a property.
struct Place {
    name: String,
    definition: &'static Definition,
    param: &'static Param,
}

static PLACES: std::sync::LazyLock<Vec<Place>> = std::sync::LazyLock::new(|| {
    OPERATIONS
        .iter()
        .flat_map(|definition| {
            definition
                .params
                .iter()
                .map(move |param| (definition, param))
        })
        .filter(|(_, param)| matches!(param.kind, Kind::Number { .. }))
        .map(|(definition, param)| Place {
            name: format!("{}-{}", definition.name, param.name),
            definition,
            param,
        })
        .collect()
});

fn place(property: &str) -> Option<&'static Place> {
    PLACES.iter().find(|place| place.name == property)
}

pub fn specs() -> Vec<glib::ParamSpec> {
    PLACES
        .iter()
        .filter_map(|place| {
            let Kind::Number {
                min,
                max,
                default,
                auto,
            } = place.param.kind
            else {
                return None;
            };
            let blurb = format!(
                "{}{}; for {} where the text of operations does not say",
                place.param.blurb,
                if auto { " (-1: auto)" } else { "" },
                place.definition.name
            );
            let spec = glib::ParamSpecDouble::builder(&place.name)
                .nick(&format!("{}: {}", place.definition.nick, place.param.name))
                .blurb(&blurb)
                .minimum(if auto { AUTO } else { min })
                .maximum(max)
                .default_value(if auto { AUTO } else { default })
                .controllable()
                .mutable_playing()
                .build();
            Some(spec)
        })
        .collect()
}

/// Takes a property's value in; false when there is no such property.
pub fn set(numbers: &mut Numbers, property: &str, value: &glib::Value) -> bool {
    match (place(property), value.get::<f64>()) {
        (Some(place), Ok(value)) => {
            numbers.insert(&place.name, value);
            true
        }
        _ => false,
    }
}

pub fn get(numbers: &Numbers, property: &str) -> Option<glib::Value> {
    numbers.get(property).map(ToValue::to_value)
}

/// Puts the properties' values where the text gives none. Answers the ones that are in force there:
/// operation, parameter, value (NaN: auto).
pub fn apply(
    numbers: &Numbers,
    specs: &mut [OperationSpec],
) -> Vec<(&'static str, &'static str, f64)> {
    let mut live = Vec::new();
    for (property, &number) in numbers {
        let Some(place) = place(property) else {
            continue;
        };
        let auto = matches!(place.param.kind, Kind::Number { auto: true, min, .. } if number < min);
        let (value, number) = if auto {
            (Value::Auto, f64::NAN)
        } else {
            (Value::Number(number), number)
        };
        for spec in specs
            .iter_mut()
            .filter(|s| s.name() == place.definition.name)
        {
            if spec.values.set_default(place.param.name, value.clone()) {
                live.push((place.definition.name, place.param.name, number));
            }
        }
    }
    live
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_is_a_controllable_property() {
        gst::init().expect("GStreamer");
        let specs = specs();
        assert_eq!(specs.len(), PLACES.len());
        for spec in &specs {
            assert!(
                spec.flags()
                    .contains(gst::PARAM_FLAG_CONTROLLABLE | gst::PARAM_FLAG_MUTABLE_PLAYING),
                "{}",
                spec.name()
            );
        }
        assert!(specs.iter().any(|s| s.name() == "denoise-strength"));
    }

    #[test]
    fn minus_one_is_auto_and_the_text_wins() {
        let mut numbers = Numbers::new();
        assert!(set(&mut numbers, "denoise-strength", &AUTO.to_value()));
        assert!(set(&mut numbers, "denoise-chroma", &7.0.to_value()));
        assert!(!set(&mut numbers, "denoise-nothing", &7.0.to_value()));
        let mut chain = crate::spec::parse("denoise:chroma=3").expect("valid");
        let live = apply(&numbers, &mut chain);
        assert_eq!(live.len(), 1);
        assert!(live[0].1 == "strength" && live[0].2.is_nan());
        assert_eq!(chain[0].values.number("chroma"), 3.0);
    }
}
