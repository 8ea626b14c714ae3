// SPDX-License-Identifier: Apache-2.0
//! report.html, results.json, points.csv and bd.csv.

use std::fmt::Write as _;

use anyhow::Result;
use serde_json::json;

use super::class::Class;
use super::clips::Clip;
use super::stills::Row;
use super::store::{self, Cell, Store};
use super::summary::{self, Comparison, Line, Metric, percent};
use super::{Failure, Run};
use crate::codecs::Codec;
use crate::html::{self, escape};

pub fn write(run: &Run, rows: &[Row], store: &Store) -> Result<()> {
    let comparisons = summary::compare(&run.clips, &run.plan.codecs, &run.cells);
    let lines = summary::lines(&comparisons);
    store::write(
        &store.file("results.json"),
        &serde_json::to_vec_pretty(&results(run, &comparisons, &lines))?,
    )?;
    store::write(&store.file("points.csv"), points_csv(run).as_bytes())?;
    store::write(&store.file("bd.csv"), bd_csv(&comparisons).as_bytes())?;
    store::write(
        &store.file("report.html"),
        page(run, &comparisons, &lines, rows)?.as_bytes(),
    )
}

fn results(run: &Run, comparisons: &[Comparison], lines: &[Line]) -> serde_json::Value {
    let plan = &run.plan;
    let codecs: Vec<_> = plan
        .codecs
        .iter()
        .map(|codec| {
            json!({
                "id": codec.id(),
                "name": codec.name(),
                "parameter": codec.parameter(),
            })
        })
        .collect();
    let clips: Vec<_> = run
        .clips
        .iter()
        .map(|clip| {
            json!({
                "name": clip.name,
                "file": clip.source,
                "width": clip.raw.width,
                "height": clip.raw.height,
                "fps": clip.raw.rate(),
                "frames": clip.raw.frames,
                "sha256": clip.hash,
                "class": clip.class,
                "measure": clip.measure,
            })
        })
        .collect();
    json!({
        "preset": plan.preset.name(),
        "shape": plan.shape,
        "points": plan.points,
        "gop_seconds": plan.bench.gop_seconds,
        "threads": plan.bench.threads,
        "codec_build": plan.build,
        "codec_model": plan.bench.model,
        "decoder_model_bytes": plan.model_bytes,
        "ffmpeg": plan.ffmpeg,
        "machine": plan.machine,
        "missing_encodes": run.missing,
        "failures": run.failures,
        "codecs": codecs,
        "clips": clips,
        "medians": lines,
        "comparisons": comparisons,
        "points_of_curves": run.cells,
    })
}

/// A field of a CSV line.
fn field(text: &str) -> String {
    if text.contains([',', '"', '\n']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

fn points_csv(run: &Run) -> String {
    let mut text = String::from(
        "clip,class,width,height,fps,frames,codec,parameter,value,matched,bytes,file_bytes,kbit_s,bits_per_pixel,\
         psnr_y,psnr_y_of_mean_error,psnr_u,psnr_v,ssim,vmaf,encode_fps,decode_fps,encode_cpu_ms_per_frame,\
         decode_cpu_ms_per_frame,load_average,stream,options\n",
    );
    for cell in &run.cells {
        let Some(clip) = run.clips.iter().find(|clip| clip.name == cell.clip) else {
            continue;
        };
        let m = &cell.measured;
        let pixels = f64::from(clip.raw.width) * f64::from(clip.raw.height);
        let parameter = Codec::parse(&cell.codec).map_or("", |(codec, _)| codec.parameter());
        // Writing into a String cannot fail.
        let _ = writeln!(
            text,
            "{},{},{},{},{:.4},{},{},{parameter},{},{},{},{},{:.3},{:.5},{:.4},{:.4},{:.4},{:.4},{:.6},{:.3},{:.2},{:.2},{:.2},{:.2},{:.1},{},{}",
            field(&cell.clip),
            clip.class.title(),
            clip.raw.width,
            clip.raw.height,
            clip.raw.rate(),
            clip.raw.frames,
            field(&cell.codec),
            cell.value,
            cell.matched,
            m.bytes,
            m.file_bytes,
            m.kbps,
            m.bytes as f64 * 8.0 / (pixels * clip.raw.frames as f64),
            m.psnr_y,
            m.psnr_y_mse,
            m.psnr_u,
            m.psnr_v,
            m.ssim,
            m.vmaf,
            m.encode_fps,
            m.decode_fps,
            m.encode_cpu_ms,
            m.decode_cpu_ms,
            cell.load,
            cell.stream,
            field(&cell.options)
        );
    }
    text
}

fn bd_csv(comparisons: &[Comparison]) -> String {
    let mut text = String::from(
        "clip,class,codec,anchor,metric,bd_rate_percent,bd_rate_percent_akima,reverse_percent,bd_quality,\
         from,to,share_of_codec_range,share_of_anchor_range,flags\n",
    );
    let number = |value: f64, digits: usize| {
        if value.is_finite() {
            format!("{value:.digits$}")
        } else {
            String::new()
        }
    };
    for one in comparisons {
        let _ = write!(
            text,
            "{},{},{},{},{},",
            field(&one.clip),
            one.class.title(),
            field(&one.ours),
            field(&one.anchor),
            one.metric.id()
        );
        let _ = match &one.delta {
            Some(d) => writeln!(
                text,
                "{},{},{},{},{:.3},{:.3},{:.2},{:.2},{}",
                number(d.rate, 2),
                number(d.rate_akima, 2),
                number(d.reverse, 2),
                number(d.quality.unwrap_or(f64::NAN), 3),
                d.from,
                d.to,
                d.share,
                d.share_anchor,
                field(&d.flags.join("; "))
            ),
            None => writeln!(
                text,
                ",,,,,,,,{}",
                field(one.refused.as_deref().unwrap_or_default())
            ),
        };
    }
    text
}

fn page(run: &Run, comparisons: &[Comparison], lines: &[Line], rows: &[Row]) -> Result<String> {
    let plan = &run.plan;
    let name = |id: &str| {
        plan.codecs
            .iter()
            .find(|codec| codec.id() == id)
            .map_or_else(|| id.to_owned(), Codec::name)
    };
    let mut h = html::head("gst-aivideo: rate and distortion");
    h.push_str("<h1>Rate and distortion</h1>\n<ul>\n");
    for line in summary::headline(lines, name) {
        writeln!(h, "<li>{}</li>", escape(&line))?;
    }
    h.push_str("</ul>\n");
    if run.missing > 0 {
        writeln!(
            h,
            "<p><strong>The run was ended early: {} encodes are missing.</strong></p>",
            run.missing
        )?;
    }
    failures(&mut h, &run.failures)?;
    conditions(&mut h, run)?;

    h.push_str("<h2>Bits against each anchor</h2>\n<p class=\"note\">Median of the clips' BD-rates; in brackets the best and the worst clip, \
        and on how many of them there were fewer bits. Below zero is fewer bits than the anchor. No one column decides alone.</p>\n");
    for class in std::iter::once(None).chain(Class::ALL.map(Some)) {
        medians(&mut h, lines, class, &name)?;
    }
    speeds(&mut h, run)?;

    h.push_str("<h2>Clip by clip</h2>\n");
    for clip in &run.clips {
        clip_section(&mut h, run, clip, comparisons, rows, &name)?;
    }
    notes(&mut h, run)?;
    h.push_str("</body></html>\n");
    Ok(h)
}

fn failures(h: &mut String, failures: &[Failure]) -> Result<()> {
    if failures.is_empty() {
        return Ok(());
    }
    h.push_str("<p><strong>Failed, and not in any figure:</strong></p>\n<ul>\n");
    for failure in failures {
        writeln!(
            h,
            "<li>{} {}: {}</li>",
            escape(&failure.clip),
            escape(&failure.what),
            escape(&failure.error)
        )?;
    }
    h.push_str("</ul>\n");
    Ok(())
}

fn conditions(h: &mut String, run: &Run) -> Result<()> {
    let plan = &run.plan;
    let frames = plan
        .shape
        .frames
        .map_or("all frames".to_owned(), |n| format!("at most {n} frames"));
    let size = plan
        .shape
        .area
        .map_or("at their own size".to_owned(), |area| {
            format!("scaled to at most {area} pixels")
        });
    let model = plan.model_bytes.map_or(String::new(), |bytes| {
        format!(
            " Our decoder's weights and tables: {:.2} MB.",
            bytes as f64 / 1e6
        )
    });
    writeln!(
        h,
        "<p>{} clips, {frames} each, {size}; {} points a curve; key frames every {} s (ours and the anchors named so). \
         {} threads on as many processors of {}.{model}</p>",
        run.clips.len(),
        plan.points,
        plan.bench.gop_seconds,
        plan.bench.threads,
        escape(&plan.machine)
    )?;
    Ok(())
}

fn colour(value: Option<f64>) -> &'static str {
    match value {
        Some(value) if value < 0.0 => " class=\"win\"",
        Some(value) if value > 0.0 => " class=\"loss\"",
        _ => "",
    }
}

fn medians(
    h: &mut String,
    lines: &[Line],
    class: Option<Class>,
    name: &impl Fn(&str) -> String,
) -> Result<()> {
    let of: Vec<&Line> = lines.iter().filter(|line| line.class == class).collect();
    let Some(first) = of.first() else {
        return Ok(());
    };
    writeln!(
        h,
        "<h3>{} ({} {})</h3>\n<div class=\"wide\"><table><tr><th>against</th>",
        class.map_or("All clips", Class::title),
        first.clips,
        if first.clips == 1 { "clip" } else { "clips" }
    )?;
    for metric in Metric::ALL {
        write!(h, "<th>{}</th>", metric.title())?;
    }
    h.push_str("<th>the anchor against ours, equal Y-PSNR</th></tr>\n");
    let several = of.iter().any(|line| line.ours != first.ours);
    for line in of.iter().filter(|line| line.metric == Metric::PsnrY) {
        let title = if several {
            format!("{}: {}", name(&line.ours), name(&line.anchor))
        } else {
            name(&line.anchor)
        };
        write!(h, "<tr><td>{}</td>", escape(&title))?;
        for metric in Metric::ALL {
            let found = of
                .iter()
                .find(|l| l.metric == metric && l.ours == line.ours && l.anchor == line.anchor);
            let Some(found) = found else {
                h.push_str("<td></td>");
                continue;
            };
            write!(h, "<td{}>{}", colour(found.median), percent(found.median))?;
            let counted = found.clips - found.refused;
            if counted > 1 {
                write!(
                    h,
                    " <small>({} … {}, {}/{counted})</small>",
                    percent(found.best),
                    percent(found.worst),
                    found.wins
                )?;
            }
            if found.refused > 0 {
                write!(h, " <small>{} without figure</small>", found.refused)?;
            }
            if found.flagged > 0 {
                write!(h, " <small>{} flagged</small>", found.flagged)?;
            }
            h.push_str("</td>");
        }
        writeln!(h, "<td>{}</td></tr>", percent(line.median_reverse))?;
    }
    h.push_str("</table></div>\n");
    Ok(())
}

fn speeds(h: &mut String, run: &Run) -> Result<()> {
    h.push_str(
        "<h2>Speed</h2>\n<div class=\"wide\"><table><tr><th>codec</th><th>encode, frames/s</th><th>decode, frames/s</th>\
         <th>encode, CPU ms a megapixel</th><th>decode, CPU ms a megapixel</th><th>load average then</th></tr>\n",
    );
    for codec in &run.plan.codecs {
        let cells: Vec<(&Cell, f64)> = run
            .cells
            .iter()
            .filter(|cell| cell.codec == codec.id())
            .filter_map(|cell| {
                let clip = run.clips.iter().find(|clip| clip.name == cell.clip)?;
                let pixels = f64::from(clip.raw.width) * f64::from(clip.raw.height);
                Some((cell, pixels / 1e6))
            })
            .collect();
        let median = |of: &dyn Fn(&Cell, f64) -> f64| {
            let all: Vec<f64> = cells.iter().map(|(cell, size)| of(cell, *size)).collect();
            summary::median(&all).map_or("–".into(), |v| format!("{v:.1}"))
        };
        writeln!(
            h,
            "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
            escape(&codec.name()),
            median(&|cell, _| cell.measured.encode_fps),
            median(&|cell, _| cell.measured.decode_fps),
            median(&|cell, size| cell.measured.encode_cpu_ms / size),
            median(&|cell, size| cell.measured.decode_cpu_ms / size),
            median(&|cell, _| cell.load)
        )?;
    }
    h.push_str(
        "</table></div>\n<p class=\"note\">Medians over clips and points, with whatever else the machine did: compare rows of a like load average only. \
         Times on the clock, from the first frame read to the last written, without loading models. A frame's pixels differ from clip to \
         clip; CPU time (all threads) a megapixel does not depend on them, and little on other load.</p>\n",
    );
    Ok(())
}

fn clip_section(
    h: &mut String,
    run: &Run,
    clip: &Clip,
    comparisons: &[Comparison],
    rows: &[Row],
    name: &impl Fn(&str) -> String,
) -> Result<()> {
    let m = &clip.measure;
    writeln!(
        h,
        "<h3>{}</h3>\n<p class=\"note\">{}&times;{}, {:.2} frames/s, {} frames; class: {} (mean luma {:.0}, noise {:.1}, \
         textured blocks at rest {:.0} %, flat pixels {:.0} %, hard edges {:.1} %).</p>",
        escape(&clip.name),
        clip.raw.width,
        clip.raw.height,
        clip.raw.rate(),
        clip.raw.frames,
        clip.class.title(),
        m.luma,
        m.noise,
        m.still * 100.0,
        m.flat * 100.0,
        m.edges * 100.0
    )?;
    let curves = |metric: Metric| -> Vec<html::Curve> {
        run.plan
            .codecs
            .iter()
            .map(|codec| html::Curve {
                name: codec.name(),
                points: run
                    .cells
                    .iter()
                    .filter(|cell| cell.clip == clip.name && cell.codec == codec.id())
                    .map(|cell| (cell.measured.kbps, metric.of(cell)))
                    .collect(),
            })
            .collect()
    };
    h.push_str("<div class=\"charts\">\n");
    for (metric, axis) in [
        (Metric::PsnrY, "Y-PSNR, dB"),
        (Metric::Ssim, "SSIM, −10·log10(1−SSIM) dB"),
        (Metric::Vmaf, "VMAF"),
    ] {
        writeln!(h, "<div>{}</div>", html::chart(axis, &curves(metric)))?;
    }
    h.push_str("</div>\n");
    h.push_str(&html::legend(&curves(Metric::PsnrY)));
    clip_table(h, clip, comparisons, name)?;
    if let Some(row) = rows.iter().find(|row| row.clip == clip.name) {
        stills(h, row)?;
    }
    h.push_str("<details><summary>All points</summary><div class=\"wide\"><table><tr><th>codec</th><th>setting</th><th>kbit/s</th>\
        <th>Y-PSNR</th><th>of mean error</th><th>U</th><th>V</th><th>SSIM</th><th>VMAF</th><th>encode fps</th><th>decode fps</th></tr>\n");
    for cell in run.cells.iter().filter(|cell| cell.clip == clip.name) {
        let m = &cell.measured;
        writeln!(
            h,
            "<tr><td>{}</td><td>{}{}</td><td>{:.1}</td><td>{:.2}</td><td>{:.2}</td><td>{:.2}</td><td>{:.2}</td><td>{:.4}</td><td>{:.2}</td><td>{:.1}</td><td>{:.1}</td></tr>",
            escape(&name(&cell.codec)),
            cell.value,
            if cell.matched { " (for our rate)" } else { "" },
            m.kbps,
            m.psnr_y,
            m.psnr_y_mse,
            m.psnr_u,
            m.psnr_v,
            m.ssim,
            m.vmaf,
            m.encode_fps,
            m.decode_fps
        )?;
    }
    h.push_str("</table></div></details>\n");
    Ok(())
}

fn clip_table(
    h: &mut String,
    clip: &Clip,
    comparisons: &[Comparison],
    name: &impl Fn(&str) -> String,
) -> Result<()> {
    let of: Vec<&Comparison> = comparisons.iter().filter(|c| c.clip == clip.name).collect();
    let Some(first) = of.first() else {
        return Ok(());
    };
    let several = of.iter().any(|c| c.ours != first.ours);
    h.push_str("<div class=\"wide\"><table><tr><th>bits against</th>");
    for metric in Metric::ALL {
        write!(h, "<th>{}</th>", metric.title())?;
    }
    h.push_str("<th>Y-PSNR at equal bits</th><th class=\"left\">compared from … to</th></tr>\n");
    for main in of.iter().filter(|c| c.metric == Metric::PsnrY) {
        let title = if several {
            format!("{}: {}", name(&main.ours), name(&main.anchor))
        } else {
            name(&main.anchor)
        };
        write!(h, "<tr><td>{}</td>", escape(&title))?;
        let mut remarks: Vec<String> = Vec::new();
        for metric in Metric::ALL {
            let found = of
                .iter()
                .find(|c| c.metric == metric && c.ours == main.ours && c.anchor == main.anchor);
            let rate = found.and_then(|c| c.delta.as_ref()).map(|d| d.rate);
            if let Some(found) = found {
                let flags = found.delta.as_ref().map_or(&[][..], |d| &d.flags[..]);
                remarks.extend(
                    flags
                        .iter()
                        .chain(&found.refused)
                        .map(|text| format!("{}: {text}", metric.title())),
                );
            }
            write!(h, "<td{}>{}</td>", colour(rate), percent(rate))?;
        }
        let quality = main.delta.as_ref().and_then(|d| d.quality);
        write!(
            h,
            "<td>{}</td><td class=\"left\">",
            quality.map_or("–".into(), |db| format!("{db:+.2} dB"))
        )?;
        if let Some(d) = &main.delta {
            write!(
                h,
                "{:.1} to {:.1} dB ({:.0} % of ours, {:.0} % of the anchor's)",
                d.from,
                d.to,
                d.share * 100.0,
                d.share_anchor * 100.0
            )?;
        }
        for remark in remarks {
            write!(h, "<br><small>{}</small>", escape(&remark))?;
        }
        h.push_str("</td></tr>\n");
    }
    h.push_str("</table></div>\n");
    Ok(())
}

fn stills(h: &mut String, row: &Row) -> Result<()> {
    writeln!(
        h,
        "<p class=\"note\">Frame {} (the middle one), at about the same rate; below each, its busiest part enlarged.</p>\n<div class=\"stills\">",
        row.frame
    )?;
    for still in &row.stills {
        let caption = match &still.cell {
            None => still.title.clone(),
            Some(cell) => format!(
                "{}, {:.1} kbit/s: Y-PSNR {:.2} dB, SSIM {:.4}, VMAF {:.1} (whole clip)",
                still.title,
                cell.measured.kbps,
                cell.measured.psnr_y,
                cell.measured.ssim,
                cell.measured.vmaf
            ),
        };
        writeln!(
            h,
            "<figure><img loading=\"lazy\" alt=\"{0}\" src=\"{1}\"><img loading=\"lazy\" class=\"detail\" alt=\"detail, {0}\" src=\"{2}\"><figcaption>{0}</figcaption></figure>",
            escape(&caption),
            html::data_uri("image/jpeg", &still.whole),
            html::data_uri("image/png", &still.detail)
        )?;
    }
    h.push_str("</div>\n");
    Ok(())
}

fn notes(h: &mut String, run: &Run) -> Result<()> {
    h.push_str(
        "<h2>How it was measured</h2>\n<ul>\n\
         <li>Rates are the bytes of real streams: access units of ours, raw streams of the others (without x264's and x265's version message). \
         The bytes of a file of ours, with its unit headers, are in points.csv.</li>\n\
         <li>Y-PSNR is the mean of the frames' PSNRs, as in JVET's common test conditions, on 8-bit luma (10-bit output is rounded); an exact \
         frame counts as 100 dB. &ldquo;Of mean error&rdquo; is ffmpeg's way. SSIM (all planes) and VMAF v0.6.1 are ffmpeg's filters; VMAF \
         was made for larger pictures.</li>\n\
         <li>BD-rate: piecewise cubic (PCHIP) interpolation of the logarithm of the rate over the quality, integrated where both curves \
         exist. No figure where that is less than 1 dB, 0.5 dB of SSIM or 3 VMAF. 0.95 &times; Y-PSNR: our rate at 0.95 times the anchor's \
         PSNR (about 2 dB less) against the anchor's rate; this flatters everybody, so read it beside the equal-PSNR column.</li>\n\
         <li>x265 and x264 run with their psychovisual defaults unless &ldquo;tune psnr&rdquo; is in the name; that costs them PSNR. SVT-AV1 \
         is tuned for PSNR, and VVenC runs without its perceptual quantiser. Anchors without &ldquo;1 s GOP&rdquo; may look ahead and have \
         one key frame in 250 frames or more, ours one in each interval: that is in the figures.</li>\n</ul>\n",
    );
    let plan = &run.plan;
    h.push_str("<details><summary>Settings</summary>\n<ul>\n");
    if let Some(clip) = run.clips.first() {
        for codec in &plan.codecs {
            writeln!(
                h,
                "<li>{}: <code>{}</code></li>",
                escape(&codec.name()),
                escape(&codec.options(&plan.bench, &clip.raw))
            )?;
        }
    }
    writeln!(
        h,
        "<li>{}</li><li>our build: <code>{}</code></li>\n</ul></details>",
        escape(&plan.ffmpeg),
        escape(&plan.build)
    )?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn csv_fields_are_quoted_where_needed() {
        assert_eq!(field("a b"), "a b");
        assert_eq!(field("a,b"), "\"a,b\"");
        assert_eq!(field("say \"x\""), "\"say \"\"x\"\"\"");
    }
}
