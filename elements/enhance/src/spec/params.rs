// SPDX-License-Identifier: Apache-2.0
//! Parameters of operations: what each may be, and the values of one operation in a chain.

use std::path::PathBuf;

/// What a parameter may be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// A number that may change from frame to frame: it is a controllable property of the element
    /// too, named `operation-parameter`. With `auto` the word `auto` is a value (the property's -1)
    /// and the default.
    Number {
        min: f64,
        max: f64,
        default: f64,
        auto: bool,
    },
    /// A whole number that belongs to the chain: another one needs another chain.
    Whole { min: u32, max: u32, default: u32 },
    /// One of these words.
    Choice {
        choices: &'static [&'static str],
        default: usize,
    },
    /// The path of a file; nothing without.
    Path,
}

/// A parameter of an operation.
#[derive(Debug, Clone, Copy)]
pub struct Param {
    pub name: &'static str,
    pub blurb: &'static str,
    pub kind: Kind,
}

/// A value that fits the kind of its parameter.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    Auto,
    Number(f64),
    Whole(u32),
    Choice(usize),
    Path(PathBuf),
}

impl Kind {
    /// The value that `text` says, if it is one of this kind.
    pub fn read(&self, text: &str) -> Option<Value> {
        match *self {
            Self::Number { auto: true, .. } if text == "auto" => Some(Value::Auto),
            Self::Number { min, max, .. } => text
                .parse()
                .ok()
                .filter(|v| (min..=max).contains(v))
                .map(Value::Number),
            Self::Whole { min, max, .. } => text
                .parse()
                .ok()
                .filter(|v| (min..=max).contains(v))
                .map(Value::Whole),
            Self::Choice { choices, .. } => {
                choices.iter().position(|c| *c == text).map(Value::Choice)
            }
            Self::Path => (!text.is_empty()).then(|| Value::Path(text.into())),
        }
    }

    /// What it takes, for messages and documentation.
    pub fn describe(&self) -> String {
        match self {
            Self::Number {
                min,
                max,
                auto: true,
                ..
            } => format!("auto or {min} to {max}"),
            Self::Number { min, max, .. } => format!("{min} to {max}"),
            Self::Whole { min, max, .. } => format!("a whole number of {min} to {max}"),
            Self::Choice { choices, .. } => match choices {
                [all @ .., last] if !all.is_empty() => format!("{} or {last}", all.join(", ")),
                _ => choices.concat(),
            },
            Self::Path => "the path of a file".into(),
        }
    }

    /// The value where none is given; there is no default path.
    pub fn default_value(&self) -> Option<Value> {
        match *self {
            Self::Number { auto: true, .. } => Some(Value::Auto),
            Self::Number { default, .. } => Some(Value::Number(default)),
            Self::Whole { default, .. } => Some(Value::Whole(default)),
            Self::Choice { default, .. } => Some(Value::Choice(default)),
            Self::Path => None,
        }
    }
}

impl Param {
    /// Name, values and default, as messages and documentation list them.
    pub fn describe(&self) -> String {
        let takes = self.kind.describe();
        let default = self
            .kind
            .default_value()
            .map(|value| format!(" (default {})", write(&self.kind, &value)));
        format!("{}={takes}{}", self.name, default.unwrap_or_default())
    }
}

/// The text of a value.
pub fn write(kind: &Kind, value: &Value) -> String {
    match (kind, value) {
        (_, Value::Auto) => "auto".into(),
        (_, Value::Number(v)) => v.to_string(),
        (_, Value::Whole(v)) => v.to_string(),
        (Kind::Choice { choices, .. }, Value::Choice(at)) => {
            choices.get(*at).copied().unwrap_or_default().to_owned()
        }
        (_, Value::Choice(at)) => at.to_string(),
        (_, Value::Path(path)) => format!("\"{}\"", path.display()),
    }
}

/// The values of one operation in a chain: those that the text gives, and defaults.
#[derive(Debug, Clone)]
pub struct Values {
    params: &'static [Param],
    given: Vec<Option<Value>>,
    /// What holds where the text gives nothing: the element's properties, or the plain default.
    defaults: Vec<Option<Value>>,
}

impl PartialEq for Values {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self.params, other.params)
            && self.given == other.given
            && self.defaults == other.defaults
    }
}

impl Values {
    pub fn new(params: &'static [Param]) -> Self {
        Self {
            params,
            given: vec![None; params.len()],
            defaults: params.iter().map(|p| p.kind.default_value()).collect(),
        }
    }

    fn place(&self, name: &str) -> Option<usize> {
        self.params.iter().position(|p| p.name == name)
    }

    pub(super) fn give(&mut self, at: usize, value: Value) {
        self.given[at] = Some(value);
    }

    /// Replaces a default, as a property of the element does; says whether it is in force, which it
    /// is not where the text gives a value.
    pub fn set_default(&mut self, name: &str, value: Value) -> bool {
        match self.place(name) {
            Some(at) => {
                self.defaults[at] = Some(value);
                self.given[at].is_none()
            }
            None => false,
        }
    }

    /// Whether the text gives it.
    pub fn is_given(&self, name: &str) -> bool {
        self.place(name).is_some_and(|at| self.given[at].is_some())
    }

    fn get(&self, name: &str) -> Option<&Value> {
        let at = self.place(name);
        debug_assert!(at.is_some(), "no parameter {name}");
        let at = at?;
        self.given[at].as_ref().or(self.defaults[at].as_ref())
    }

    /// A number; `auto` and what is no number is NaN.
    pub fn number(&self, name: &str) -> f64 {
        match self.get(name) {
            Some(Value::Number(v)) => *v,
            Some(Value::Whole(v)) => f64::from(*v),
            _ => f64::NAN,
        }
    }

    /// A number, or `None` where it says `auto`.
    pub fn unless_auto(&self, name: &str) -> Option<f64> {
        Some(self.number(name)).filter(|v| !v.is_nan())
    }

    pub fn whole(&self, name: &str) -> u32 {
        match self.get(name) {
            Some(Value::Whole(v)) => *v,
            _ => 0,
        }
    }

    pub fn choice(&self, name: &str) -> &'static str {
        let choices = self.place(name).map(|at| self.params[at].kind);
        match (choices, self.get(name)) {
            (Some(Kind::Choice { choices, .. }), Some(Value::Choice(at))) => {
                choices.get(*at).copied().unwrap_or_default()
            }
            _ => "",
        }
    }

    pub fn path(&self, name: &str) -> Option<PathBuf> {
        match self.get(name) {
            Some(Value::Path(path)) => Some(path.clone()),
            _ => None,
        }
    }

    /// Those that the text gives, as text.
    pub(super) fn written(&self) -> impl Iterator<Item = String> {
        self.params
            .iter()
            .zip(&self.given)
            .filter_map(|(param, value)| {
                let value = write(&param.kind, value.as_ref()?);
                Some(format!("{}={value}", param.name))
            })
    }
}
