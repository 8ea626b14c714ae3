// SPDX-License-Identifier: Apache-2.0
//! Operations with two nets of their own: one that a CPU runs in real time, and one that gets further.

use aivideo_core::{engine::Engine, model::ModelSource};

use super::{Build, EnhanceError};
use crate::spec::{Kind, Param, Values};

/// The parameter that chooses.
pub const NET: Param = Param {
    name: "net",
    blurb: "Which of the built-in nets: auto is the large one on a GPU and the small one, which is faster, on a CPU",
    kind: Kind::Choice {
        choices: &["auto", "small", "large"],
        default: 0,
    },
};

/// The nets.
pub struct BuiltIn {
    pub operation: &'static str,
    pub small: ModelSource,
    pub large: ModelSource,
    /// Where the operation has one: the mean of what the large one makes of a picture turned and mirrored.
    pub ensemble: Option<ModelSource>,
}

impl Build<'_> {
    /// The net to load: as [`Build::model`], and which of the built-in ones by the parameter and the device.
    /// What comes with it keeps it loaded until it is acquired again.
    pub fn net(
        &self,
        values: &Values,
        nets: BuiltIn,
    ) -> Result<(ModelSource, Option<Engine>), EnhanceError> {
        let model = self.model(values, nets.small);
        if let ModelSource::File(_) = model {
            return match values.is_given("net") {
                false => Ok((model, None)),
                true => Err(EnhanceError::Values {
                    operation: nets.operation,
                    problem: "net= chooses a built-in net, model= or model-location names another; leave one of the two out".into(),
                }),
            };
        }
        match (values.choice("net"), nets.ensemble) {
            ("small", _) => Ok((model, None)),
            ("large", _) => Ok((nets.large, None)),
            ("ensemble", Some(ensemble)) => Ok((ensemble, None)),
            _ => {
                let engine = Engine::acquire(&model, self.inference)?;
                match engine.device_in_use() {
                    "cpu" => Ok((model, Some(engine))),
                    _ => Ok((nets.large, None)),
                }
            }
        }
    }
}
