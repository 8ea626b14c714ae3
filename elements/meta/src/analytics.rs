// SPDX-License-Identifier: Apache-2.0
//! The same results as `GstAnalyticsRelationMeta` (GStreamer 1.24), for elements that know no other.
//!
//! A classification becomes one `ClsMtd` with all its labels, a detection one `ODMtd` to which its
//! attributes, as `ClsMtd`, are related. Reading leaves out what is also there as a meta of every
//! GStreamer, so that nothing is reported twice.

use gst_analytics::prelude::*;
use gst_analytics::{AnalyticsClassificationMtd, AnalyticsODMtd, AnalyticsRelationMeta, RelTypes};

use crate::{ClassificationResult, Detection, detection::Attribute};

type RelationMeta<'a> = gst::MetaRefMut<'a, AnalyticsRelationMeta, gst::meta::Standalone>;

/// The frame's meta: everything on it lies in one, so that it can be related.
fn relations(buffer: &mut gst::BufferRef) -> RelationMeta<'_> {
    if buffer.meta::<AnalyticsRelationMeta>().is_none() {
        AnalyticsRelationMeta::add(buffer);
    }
    match buffer.meta_mut::<AnalyticsRelationMeta>() {
        Some(meta) => meta,
        None => unreachable!("it was just added"),
    }
}

pub(crate) fn add_classification(
    buffer: &mut gst::BufferRef,
    result: &ClassificationResult,
) -> Result<(), glib::BoolError> {
    let levels: Vec<f32> = result.scores.iter().map(|score| *score as f32).collect();
    let labels = result.labels.iter();
    let quarks: Vec<glib::Quark> = labels.map(|l| glib::Quark::from_str(l.as_str())).collect();
    if quarks.is_empty() {
        return Ok(());
    }
    relations(buffer).add_cls_mtd(&levels, &quarks).map(|_| ())
}

pub(crate) fn add_detection(
    buffer: &mut gst::BufferRef,
    found: &Detection,
) -> Result<(), glib::BoolError> {
    let coordinate = |value: u32| i32::try_from(value).unwrap_or(i32::MAX);
    let mut meta = relations(buffer);
    let object = meta
        .add_od_mtd(
            glib::Quark::from_str(found.label.as_str()),
            coordinate(found.x),
            coordinate(found.y),
            coordinate(found.width),
            coordinate(found.height),
            found.confidence.unwrap_or(1.0) as f32,
        )?
        .id();
    for attribute in &found.attributes {
        let class = meta
            .add_one_cls_mtd(
                attribute.confidence.unwrap_or(1.0) as f32,
                glib::Quark::from_str(attribute.label.as_str()),
            )?
            .id();
        meta.set_relation(RelTypes::RELATE_TO, object, class)?;
    }
    Ok(())
}

/// Adds objects that are only in the relation meta. Their boxes may differ from the region's, since
/// not every element scales both.
pub(crate) fn read_detections(buffer: &gst::BufferRef, found: &mut Vec<Detection>) {
    let mut known: Vec<String> = found.iter().map(|found| found.label.clone()).collect();
    for meta in buffer.iter_meta::<AnalyticsRelationMeta>() {
        for object in meta.iter::<AnalyticsODMtd>() {
            let label = object
                .obj_type()
                .map(|quark| quark.as_str().to_string())
                .unwrap_or_default();
            if let Some(at) = known.iter().position(|known| *known == label) {
                known.swap_remove(at);
                continue;
            }
            let Ok(location) = object.location() else {
                continue;
            };
            // A box may begin left of or above the frame.
            let side = |from: i32, length: i32| {
                let end = from.saturating_add(length).max(0);
                (from.max(0) as u32, (end - from.max(0)).max(0) as u32)
            };
            let ((x, width), (y, height)) =
                (side(location.x, location.w), side(location.y, location.h));
            let attributes = meta
                .iter::<AnalyticsClassificationMtd>()
                .filter(|class| related(&meta, object.id(), class.id()))
                .filter_map(|class| {
                    let (quark, level) = class.iterate().max_by(|a, b| a.1.total_cmp(&b.1))?;
                    Some(Attribute {
                        name: "classification".into(),
                        label: quark.as_str().to_string(),
                        confidence: Some(f64::from(level)),
                    })
                })
                .collect();
            found.push(Detection {
                label,
                confidence: Some(f64::from(location.loc_conf_lvl)),
                x,
                y,
                width,
                height,
                attributes,
                ..Detection::default()
            });
        }
    }
}

fn related(meta: &AnalyticsRelationMeta, object: u32, class: u32) -> bool {
    !meta.relation(object, class).is_empty() || !meta.relation(class, object).is_empty()
}

/// Adds classes of the whole frame that are only in the relation meta.
pub(crate) fn read_classifications(buffer: &gst::BufferRef, found: &mut Vec<ClassificationResult>) {
    let mut known: Vec<Vec<String>> = found.iter().map(|found| found.labels.clone()).collect();
    for meta in buffer.iter_meta::<AnalyticsRelationMeta>() {
        for class in meta.iter::<AnalyticsClassificationMtd>() {
            let objects = meta.iter::<AnalyticsODMtd>();
            if objects
                .into_iter()
                .any(|object| related(&meta, object.id(), class.id()))
            {
                continue;
            }
            let mut classes: Vec<(String, f64)> = class
                .iterate()
                .map(|(quark, level)| (quark.as_str().to_string(), f64::from(level)))
                .collect();
            let labels: Vec<String> = classes.iter().map(|(label, _)| label.clone()).collect();
            if let Some(at) = known.iter().position(|known| *known == labels) {
                known.swap_remove(at);
                continue;
            }
            classes.sort_by(|a, b| b.1.total_cmp(&a.1));
            let (labels, scores) = classes.into_iter().unzip();
            found.push(ClassificationResult {
                labels,
                scores,
                ..ClassificationResult::default()
            });
        }
    }
}
