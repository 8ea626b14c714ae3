// SPDX-License-Identifier: Apache-2.0
//! The parser and the typefinder as elements. Access units are made by the syntax layer's writer, so
//! that no model is needed.

#[path = "transport/common.rs"]
mod common;
#[path = "transport/damage.rs"]
mod damage;
#[path = "transport/files.rs"]
mod files;
#[path = "transport/golden.rs"]
mod golden;
#[path = "transport/parser.rs"]
mod parser;
