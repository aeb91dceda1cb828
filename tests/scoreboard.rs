//! Runs ringpull and other download programs against the same misbehaving server, and says who is right.
//!
//! It is no benchmark. Plain `cargo test` runs a short self-check with ringpull alone; `scripts/scoreboard`
//! runs it all. Every trial has an origin, a directory and a home of its own, so no trial sees another.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "it is a program, and its output is the result"
)]

#[expect(dead_code, unused_imports, reason = "the end-to-end tests use more of the origin")]
#[path = "it/origin/mod.rs"]
mod origin;

#[path = "scoreboard/changing.rs"]
mod changing;
#[path = "scoreboard/framing.rs"]
mod framing;
#[path = "scoreboard/ranges.rs"]
mod ranges;
#[path = "scoreboard/reasons.rs"]
mod reasons;
#[path = "scoreboard/resumed.rs"]
mod resumed;
#[path = "scoreboard/scenario.rs"]
mod scenario;
#[path = "scoreboard/secure.rs"]
mod secure;
#[path = "scoreboard/sheet.rs"]
mod sheet;
#[path = "scoreboard/tool.rs"]
mod tool;
#[path = "scoreboard/trial.rs"]
mod trial;
#[path = "scoreboard/verdict.rs"]
mod verdict;

use std::path::PathBuf;
use std::process::ExitCode;
use std::thread;

use scenario::Scenario;
use tool::Tool;
use trial::Trial;

/// What the self-check runs: a good file, and three that end well or badly at once.
const SELF_CHECK: [&str; 4] =
    ["honest", "later range ignored", "two Content-Lengths", "login page for later ranges"];

/// Scenarios at the same time. More of them would make the tools wait for the processor, and time out.
const AT_ONCE: usize = 4;

const USAGE: &str = "usage: scoreboard run [--ringpull PROGRAM] [--markdown FILE] [--json FILE] \
                     [--scenario TEXT]... [--tool TEXT]... [--keep DIR]";

/// What the command line asks for.
#[derive(Default)]
struct Wish {
    ringpull: Option<PathBuf>,
    markdown: Option<PathBuf>,
    json: Option<PathBuf>,
    /// Where the directories of the trials stay for a look by hand.
    keep: Option<PathBuf>,
    scenarios: Vec<String>,
    tools: Vec<String>,
}

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    match args.next().as_deref() {
        Some("run") => match wish(args) {
            Some(wish) => run(&wish),
            None => {
                eprintln!("{USAGE}");
                ExitCode::from(2)
            }
        },
        // What the test runner of cargo would say to `--list`, and to a filter that names another test.
        Some("--list") => ExitCode::SUCCESS,
        Some(filter) if !filter.starts_with('-') && !"scoreboard".contains(filter) => {
            ExitCode::SUCCESS
        }
        _ => self_check(),
    }
}

fn wish(mut args: impl Iterator<Item = String>) -> Option<Wish> {
    let mut wish = Wish::default();
    while let Some(flag) = args.next() {
        let value = args.next()?;
        match flag.as_str() {
            "--ringpull" => wish.ringpull = Some(std::fs::canonicalize(value).ok()?),
            "--markdown" => wish.markdown = Some(value.into()),
            "--json" => wish.json = Some(value.into()),
            "--keep" => wish.keep = Some(value.into()),
            "--scenario" => wish.scenarios.push(value),
            "--tool" => wish.tools.push(value),
            _ => return None,
        }
    }
    Some(wish)
}

/// ringpull alone on a few scenarios, over both backends.
fn self_check() -> ExitCode {
    let program = PathBuf::from(env!("CARGO_BIN_EXE_ringpull"));
    let tools: Vec<Tool> = tool::all(&program).into_iter().filter(Tool::is_ours).collect();
    let mut scenarios = scenario::all();
    scenarios.retain(|scenario| SELF_CHECK.contains(&scenario.name));
    assert_eq!(scenarios.len(), SELF_CHECK.len());
    let trials: Vec<Trial> =
        scenarios.iter().flat_map(|scenario| trials(scenario, &tools, None)).collect();
    verdict_on_ours(&trials)
}

fn run(wish: &Wish) -> ExitCode {
    let built = PathBuf::from(env!("CARGO_BIN_EXE_ringpull"));
    let named = |wanted: &[String], name: &str| {
        wanted.is_empty() || wanted.iter().any(|text| name.contains(text.as_str()))
    };
    let mut tools = tool::all(wish.ringpull.as_ref().unwrap_or(&built));
    tools.retain(|tool| named(&wish.tools, tool.name));
    let mut scenarios = scenario::all();
    scenarios.retain(|scenario| named(&wish.scenarios, scenario.name));
    let mut board = Vec::new();
    for some in scenarios.chunks(AT_ONCE) {
        let rows = thread::scope(|scope| {
            let row = |scenario| trials(scenario, &tools, wish.keep.as_deref());
            let running: Vec<_> =
                some.iter().map(|scenario| scope.spawn(move || row(scenario))).collect();
            running.into_iter().map(|row| row.join().unwrap()).collect::<Vec<_>>()
        });
        for (scenario, row) in some.iter().zip(rows) {
            println!("{}", sheet::line(scenario, &row));
            board.extend(row);
        }
    }
    let sheet = sheet::Sheet { tools: &tools, scenarios: &scenarios, trials: &board };
    print!("\n{}", sheet.counts());
    for (path, text) in [(&wish.markdown, sheet.markdown()), (&wish.json, sheet.json())] {
        if let Some(path) = path {
            std::fs::write(path, text).unwrap();
        }
    }
    verdict_on_ours(&board)
}

/// One scenario with each tool, all at the same time: they wait more than they work.
fn trials(scenario: &Scenario, tools: &[Tool], keep: Option<&std::path::Path>) -> Vec<Trial> {
    thread::scope(|scope| {
        let running: Vec<_> = tools
            .iter()
            .map(|tool| scope.spawn(move || trial::run(scenario, tool, keep)))
            .collect();
        running.into_iter().map(|trial| trial.join().unwrap()).collect()
    })
}

/// Fails if ringpull was anything but correct or cleanly at its end.
fn verdict_on_ours(trials: &[Trial]) -> ExitCode {
    let bad: Vec<_> = trials.iter().filter(|trial| trial.ours && !trial.is_fine()).collect();
    for trial in &bad {
        eprintln!("scoreboard: {}: {}: {}", trial.scenario, trial.tool, trial.evidence());
    }
    ExitCode::from(u8::from(!bad.is_empty()))
}
