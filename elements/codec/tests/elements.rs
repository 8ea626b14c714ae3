// SPDX-License-Identifier: Apache-2.0
//! The encoder and the decoder as elements, with the real model and ONNX Runtime.

#[path = "elements/common.rs"]
mod common;
#[path = "elements/damage.rs"]
mod damage;
#[path = "elements/exactness.rs"]
mod exactness;
#[path = "elements/fused.rs"]
mod fused;
#[path = "elements/models.rs"]
mod models;
#[path = "elements/negotiation.rs"]
mod negotiation;
#[path = "elements/rate_control.rs"]
mod rate_control;
#[path = "elements/recovery.rs"]
mod recovery;
#[path = "elements/round_trip.rs"]
mod round_trip;
#[path = "elements/ten_bits.rs"]
mod ten_bits;
