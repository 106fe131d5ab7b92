//! The plots and figures of docs/pace.md: several replayers in the same situations, simulated.
//!
//! A test says that what lies in docs/ is what the simulator makes of the pace today; with
//! `PLOTS=write`, as `make plots` sets it, it writes that down.

use std::fmt::Write as _;
use std::fs;
use std::ops::Range;
use std::path::Path;
use std::time::Duration;

use mutt_remediation::drain::gate::Gate;
use mutt_remediation::drain::pace::PaceRules;
use plotters::coord::Shift;
use plotters::prelude::*;

use crate::pipeline::{Outcome, Replayer, Sample, Scenario, simulate};

const PAGE: &str = "docs/pace.md";
/// Pixels.
const SIZE: (u32, u32) = (860, 720);
/// Points in a line, at most.
const POINTS: usize = 220;
/// Colours that people who see few colours can tell apart.
const COLOURS: [RGBColor; 5] = [
    RGBColor(130, 130, 130),
    RGBColor(213, 94, 0),
    RGBColor(230, 159, 0),
    ADAPTIVE,
    RGBColor(0, 158, 115),
];
const ADAPTIVE: RGBColor = RGBColor(0, 114, 178);
const OUTAGE: RGBColor = RGBColor(228, 228, 240);
const SHUT: RGBColor = RGBColor(244, 204, 204);
const PROBATION: RGBColor = RGBColor(255, 242, 190);

#[test]
fn the_plots_and_their_figures_are_those_of_the_present_pace() {
    let write = std::env::var("PLOTS").is_ok_and(|value| value == "write");
    let mut page = fs::read_to_string(PAGE).expect("it exists");
    let mut stale = vec![];
    for scenario in scenarios() {
        let runs: Vec<(&str, Outcome)> = replayers(&scenario)
            .into_iter()
            .map(|(name, replayer)| (name, simulate(&scenario, replayer)))
            .collect();
        let plot = plot(&scenario, &runs);
        assert!(plot.len() < 60_000, "{}: {}", scenario.name, plot.len());
        let path = format!("docs/pace/{}.svg", scenario.name.replace(' ', "-"));
        if fs::read_to_string(&path).ok().as_ref() != Some(&plot) {
            stale.push(path.clone());
        }
        if write {
            fs::create_dir_all(Path::new(&path).parent().expect("docs/pace")).expect("writable");
            fs::write(&path, plot).expect("writable");
        }
        let begin = format!("<!-- figures: {} -->\n", scenario.name);
        let from = page.find(&begin).expect(&begin) + begin.len();
        let rest = &page[from..];
        let to = from + rest.find("<!-- end -->").expect("the end of the figures");
        page.replace_range(from..to, &table(&scenario, &runs));
    }
    if fs::read_to_string(PAGE).expect("it exists") != page {
        stale.push(PAGE.to_owned());
    }
    if write {
        fs::write(PAGE, page).expect("writable");
    } else {
        assert!(stale.is_empty(), "run `make plots` for {stale:?}");
    }
}

/// The adaptive pace comes fourth.
fn replayers(scenario: &Scenario) -> Vec<(&'static str, Replayer)> {
    let adaptive = PaceRules {
        adaptive: true,
        batch_size: 100,
        canary_size: 10,
        observe: Duration::from_secs(2),
        retry_after: Duration::from_secs(300),
        max_bounce_ratio: 0.1,
        target_max_depth: 1_000,
        max_per_second: 0,
    };
    let fixed = PaceRules {
        adaptive: false,
        target_max_depth: 0,
        ..adaptive
    };
    let tolerant = PaceRules {
        max_bounce_ratio: 0.5,
        ..adaptive
    };
    let worker = |rules| Replayer::Worker {
        rules,
        pause: Duration::from_millis(100),
        interval: Duration::from_secs(300),
    };
    let python = Replayer::Python {
        batch: 10,
        interval: 1,
    };
    let mut replayers = vec![
        ("the Python worker's way", python),
        ("all at once", Replayer::AllAtOnce { interval: 60 }),
        ("fixed pace", worker(fixed)),
        ("adaptive pace", worker(adaptive)),
    ];
    if scenario.poison > 0.0 || scenario.name == "outage in the middle" {
        replayers.push(("adaptive, ratio 0.5", worker(tolerant)));
    }
    replayers
}

fn scenarios() -> Vec<Scenario> {
    let calm = Scenario {
        horizon: 3_600,
        ..Scenario::calm()
    };
    vec![
        calm.clone(),
        Scenario {
            name: "outage",
            outages: vec![0.0..360.0],
            ..calm.clone()
        },
        Scenario {
            name: "outage in the middle",
            outages: vec![20.0..80.0],
            ..calm.clone()
        },
        Scenario {
            name: "slow recovery",
            outages: vec![0.0..60.0],
            recovery: 60.0,
            live: 200,
            ..calm.clone()
        },
        Scenario {
            name: "slow forwarder",
            forwarder: 200,
            ..calm.clone()
        },
        Scenario {
            name: "poison 5 percent",
            poison: 0.05,
            ..calm.clone()
        },
        Scenario {
            name: "poison 30 percent",
            poison: 0.3,
            ..calm.clone()
        },
        Scenario {
            name: "few letters",
            backlog: 50,
            outages: vec![0.0..590.0],
            ..calm
        },
    ]
}

/// A Markdown table of what became of the letters.
fn table(scenario: &Scenario, runs: &[(&str, Outcome)]) -> String {
    let mut text = String::from(
        "\n| | good letters through | all settled | deepest target after a replay | deepest alert queue | \
         replays in the outage | shed again | attempts a letter: mean, most | parked: good, poison |\n\
         |---|---|---|---|---|---|---|---|---|\n",
    );
    let after = |seconds: Option<f64>| {
        let never = || format!("not within {} s", scenario.horizon);
        seconds.map_or_else(never, |seconds| format!("{seconds:.0} s"))
    };
    for (name, outcome) in runs {
        let attempts = &outcome.attempts;
        let all: u64 = attempts.iter().map(|count| u64::from(*count)).sum();
        let mean = as_f64(all) / as_f64(attempts.len() as u64);
        let most = attempts.iter().max().expect("there are letters");
        writeln!(
            text,
            "| {name} | {} | {} | {} | {} | {} | {} | {mean:.2}, {most} | {}, {} |",
            after(outcome.good_settled),
            after(outcome.settled),
            outcome.peak_target,
            outcome.peak_alerts,
            outcome.replays_while_failing,
            outcome.shed_again,
            outcome.parked_good,
            outcome.parked_poison,
        )
        .expect("text takes everything");
    }
    text.push('\n');
    text
}

/// Three panels over the same time: what waits, what lies in the target, and what the adaptive
/// pace makes of it.
fn plot(scenario: &Scenario, runs: &[(&str, Outcome)]) -> String {
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        area.fill(&WHITE).expect("drawable");
        let (legend, rest) = area.split_vertically(58);
        write_legend(&legend, scenario, runs);
        let (waiting, rest) = rest.split_vertically(220);
        let (target, size) = rest.split_vertically(220);
        let seconds = shown(scenario, runs);
        let outages = &scenario.outages;
        let lines = |depth: fn(&Sample) -> f64| -> Vec<Line> {
            let runs = runs.iter().zip(COLOURS);
            runs.map(|((_, outcome), colour)| (colour, thinned(&outcome.series, seconds, depth)))
                .collect()
        };
        Panel {
            title: "dead letters waiting",
            top: as_f64(scenario.backlog as u64) * 1.05,
            label: |depth| format!("{depth:.0}"),
            seconds,
        }
        .draw(
            &waiting,
            &shades(outages, seconds),
            lines(|sample| count(sample.dlq)),
        );
        Panel {
            title: "messages in the target (log)",
            top: 5.0,
            label: |exponent| match exponent.round() {
                whole if (exponent - whole).abs() > 0.01 => String::new(),
                whole => format!("{:.0}", 10_f64.powf(whole)),
            },
            seconds,
        }
        .draw(
            &target,
            &shades(outages, seconds),
            lines(|sample| count(sample.target).max(1.0).log10()),
        );
        let (_, outcome) = &runs[3];
        let line = thinned(&outcome.series, seconds, |sample| as_f64(sample.size));
        Panel {
            title: "batch of the adaptive pace",
            top: 115.0,
            label: |size| format!("{size:.0}"),
            seconds,
        }
        .draw(
            &size,
            &gates(&outcome.series, seconds),
            vec![(ADAPTIVE, line)],
        );
        area.present().expect("drawable");
    }
    svg
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Line = (RGBColor, Vec<(f64, f64)>);
/// A time in which the background has a colour.
type Shade = (Range<f64>, RGBColor);

struct Panel {
    title: &'static str,
    /// The greatest value shown.
    top: f64,
    /// What to write beside a value.
    label: fn(&f64) -> String,
    /// The greatest time shown.
    seconds: f64,
}

impl Panel {
    fn draw(&self, area: &Area<'_>, shades: &[Shade], lines: Vec<Line>) {
        let mut chart = ChartBuilder::on(area);
        let mut chart = chart
            .margin_left(8)
            .margin_right(24)
            .margin_top(8)
            .x_label_area_size(34)
            .y_label_area_size(74)
            .build_cartesian_2d(0.0..self.seconds, 0.0..self.top)
            .expect("drawable");
        let shades = shades.iter().map(|(time, colour)| {
            Rectangle::new([(time.start, 0.0), (time.end, self.top)], colour.filled())
        });
        chart.draw_series(shades).expect("drawable");
        let mut mesh = chart.configure_mesh();
        mesh.disable_x_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(RGBColor(225, 225, 225))
            .axis_style(BLACK)
            .x_desc("seconds")
            .y_desc(self.title)
            .x_labels(12)
            .y_labels(6)
            .x_label_formatter(&|seconds| format!("{seconds:.0}"))
            .y_label_formatter(&self.label)
            .label_style(("sans-serif", 13))
            .axis_desc_style(("sans-serif", 13))
            .draw()
            .expect("drawable");
        for (colour, line) in lines {
            let line = LineSeries::new(line, colour.stroke_width(2));
            chart.draw_series(line).expect("drawable");
        }
    }
}

fn write_legend(area: &Area<'_>, scenario: &Scenario, runs: &[(&str, Outcome)]) {
    let text = ("sans-serif", 13).into_font();
    let write = |what: &str, x: i32, y: i32| {
        let what = Text::new(what.to_owned(), (x, y), text.clone());
        area.draw(&what).expect("drawable");
    };
    for (((name, _), colour), x) in runs.iter().zip(COLOURS).zip([74, 264, 386, 496, 624]) {
        let line = PathElement::new([(x, 17), (x + 22, 17)], colour.stroke_width(3));
        area.draw(&line).expect("drawable");
        write(name, x + 28, 10);
    }
    let mut shades = vec![
        (SHUT, "the adaptive pace's gate is shut"),
        (PROBATION, "it is on trial"),
    ];
    if !scenario.outages.is_empty() {
        shades.push((OUTAGE, "the database is away"));
    }
    for ((colour, name), x) in shades.into_iter().zip([74, 340, 480]) {
        let square = Rectangle::new([(x, 34), (x + 22, 48)], colour.filled());
        area.draw(&square).expect("drawable");
        write(name, x + 28, 34);
    }
}

/// How much time is worth showing: until all good letters are through that will be.
fn shown(scenario: &Scenario, runs: &[(&str, Outcome)]) -> f64 {
    let settled = runs.iter().filter_map(|(_, outcome)| outcome.good_settled);
    let end = settled.fold(96.0, f64::max) * 1.25;
    end.min(as_f64(scenario.horizon))
}

/// No more points than the eye tells apart: of each slice of time the greatest value.
fn thinned(series: &[Sample], seconds: f64, value: impl Fn(&Sample) -> f64) -> Vec<(f64, f64)> {
    let shown = series.iter().filter(|sample| sample.seconds <= seconds);
    let shown: Vec<&Sample> = shown.collect();
    let slices = shown.chunks(shown.len().div_ceil(POINTS).max(1));
    slices
        .map(|slice| {
            let greatest = slice.iter().map(|sample| value(sample));
            (slice[0].seconds, greatest.fold(0.0, f64::max))
        })
        .collect()
}

fn shades(outages: &[Range<f64>], seconds: f64) -> Vec<Shade> {
    let shown = outages.iter().filter(|outage| outage.start < seconds);
    shown
        .map(|outage| (outage.start..outage.end.min(seconds), OUTAGE))
        .collect()
}

/// When the gate was shut or on trial, as backgrounds.
fn gates(series: &[Sample], seconds: f64) -> Vec<Shade> {
    let mut shades: Vec<Shade> = vec![];
    for sample in series.iter().filter(|sample| sample.seconds <= seconds) {
        let colour = match sample.gate {
            Some(Gate::Shut(_)) => SHUT,
            Some(Gate::Probation) => PROBATION,
            Some(Gate::Open) | None => continue,
        };
        let end = (sample.seconds + 0.5).min(seconds);
        match shades.last_mut() {
            Some((time, last)) if *last == colour && time.end >= sample.seconds => time.end = end,
            _ => shades.push((sample.seconds..end, colour)),
        }
    }
    shades
}

#[expect(clippy::cast_precision_loss, reason = "some thousands")]
fn as_f64(count: u64) -> f64 {
    count as f64
}

fn count(messages: usize) -> f64 {
    as_f64(messages as u64)
}
