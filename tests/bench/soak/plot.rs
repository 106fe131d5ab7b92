//! docs/soak/week.svg: what the workers used, over the time of the soak.

use std::fs;

use plotters::coord::Shift;
use plotters::prelude::*;

use super::judge::WARM_UP;
use super::{Mark, Outcome, Sample, What};

const PATH: &str = "docs/soak/week.svg";
/// Pixels.
const SIZE: (u32, u32) = (860, 940);
/// Points in a line, at most.
const POINTS: usize = 220;
/// Colours that people who see few colours can tell apart: one for each worker.
const COLOURS: [RGBColor; 2] = [RGBColor(0, 114, 178), RGBColor(213, 94, 0)];
const TERMINATED: RGBColor = RGBColor(205, 205, 205);
const KILLED: RGBColor = RGBColor(235, 170, 200);
const NOT_JUDGED: RGBColor = RGBColor(240, 240, 246);

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// Draws all panels, and writes them down.
pub fn write(outcome: &Outcome) {
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        area.fill(&WHITE).expect("drawable");
        let (legend, panels) = area.split_vertically(58);
        write_legend(&legend, outcome);
        let panels = panels.split_evenly((4, 1));
        draw(&panels[0], outcome, "resident memory, MiB", |sample| {
            sample.resident / 1024.0
        });
        draw(&panels[1], outcome, "descriptors", |sample| {
            sample.descriptors
        });
        draw(&panels[2], outcome, "tasks", |sample| sample.tasks);
        draw(&panels[3], outcome, "threads", |sample| sample.threads);
        area.present().expect("drawable");
    }
    assert!(svg.len() < 200_000, "{}", svg.len());
    fs::create_dir_all("docs/soak").expect("writable");
    fs::write(PATH, svg).expect("writable");
}

fn draw(area: &Area<'_>, outcome: &Outcome, title: &str, value: fn(&Sample) -> f64) {
    let all = || outcome.samples.iter().flat_map(|(_, samples)| samples);
    let seconds = all().map(|sample| sample.seconds).fold(1.0, f64::max);
    let top = all().map(value).fold(1.0, f64::max) * 1.1;
    let mut chart = ChartBuilder::on(area);
    let mut chart = chart
        .margin_left(8)
        .margin_right(24)
        .margin_top(8)
        .x_label_area_size(34)
        .y_label_area_size(74)
        .build_cartesian_2d(0.0..seconds, 0.0..top)
        .expect("drawable");
    let warm_up = Rectangle::new([(0.0, 0.0), (seconds * WARM_UP, top)], NOT_JUDGED.filled());
    chart.draw_series([warm_up]).expect("drawable");
    let restarts = outcome.marks.iter().filter_map(|Mark { at, what }| {
        let colour = match what {
            What::RedisTerminated => TERMINATED,
            What::RedisKilled => KILLED,
            _ => return None,
        };
        Some(PathElement::new([(*at, 0.0), (*at, top)], colour))
    });
    chart.draw_series(restarts).expect("drawable");
    let mut mesh = chart.configure_mesh();
    mesh.disable_x_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(RGBColor(225, 225, 225))
        .axis_style(BLACK)
        .x_desc("seconds")
        .y_desc(title)
        .x_labels(12)
        .y_labels(6)
        .x_label_formatter(&|seconds| format!("{seconds:.0}"))
        .y_label_formatter(&|value| format!("{value:.0}"))
        .label_style(("sans-serif", 13))
        .axis_desc_style(("sans-serif", 13))
        .draw()
        .expect("drawable");
    for ((_, samples), colour) in outcome.samples.iter().zip(COLOURS) {
        for (width, points) in lines(samples, value) {
            let line = LineSeries::new(points, colour.stroke_width(width));
            chart.draw_series(line).expect("drawable");
        }
    }
}

/// No more points than the eye tells apart: of each slice of time the greatest value as a thin
/// line, and the least one, which tells of a leak, as a thick one.
fn lines(samples: &[Sample], value: fn(&Sample) -> f64) -> [(u32, Vec<(f64, f64)>); 2] {
    let slices = || samples.chunks(samples.len().div_ceil(POINTS).max(1));
    let most = |slice: &[Sample]| slice.iter().map(value).fold(0.0, f64::max);
    let least = |slice: &[Sample]| slice.iter().map(value).fold(f64::INFINITY, f64::min);
    // A round has a calm part, in which the floor shows.
    let wide = samples.len().div_ceil(40).max(1);
    let floor = samples.chunks(wide);
    [
        (
            1,
            slices()
                .map(|slice| (slice[0].seconds, most(slice)))
                .collect(),
        ),
        (
            3,
            floor
                .map(|slice| (slice[0].seconds, least(slice)))
                .collect(),
        ),
    ]
}

fn write_legend(area: &Area<'_>, outcome: &Outcome) {
    let text = ("sans-serif", 13).into_font();
    let write = |what: &str, x: i32, y: i32| {
        let what = Text::new(what.to_owned(), (x, y), text.clone());
        area.draw(&what).expect("drawable");
    };
    let names = outcome.samples.iter().map(|(name, _)| *name);
    for ((name, colour), x) in names.zip(COLOURS).zip([74, 364]) {
        let line = PathElement::new([(x, 17), (x + 22, 17)], colour.stroke_width(3));
        area.draw(&line).expect("drawable");
        write(
            &format!("worker whose log is {name}; thick: the floor"),
            x + 28,
            10,
        );
    }
    let shades = [
        (NOT_JUDGED, "warm-up"),
        (TERMINATED, "Redis is ended (SIGTERM)"),
        (KILLED, "Redis is killed (SIGKILL)"),
    ];
    for ((colour, name), x) in shades.into_iter().zip([74, 184, 394]) {
        let square = Rectangle::new([(x, 34), (x + 22, 48)], colour.filled());
        area.draw(&square).expect("drawable");
        write(name, x + 28, 34);
    }
}
