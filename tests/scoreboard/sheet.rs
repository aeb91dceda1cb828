//! The board as text: a line a scenario while it runs, then Markdown and JSON.

use serde_json::{Value, json};

use crate::reasons::reason;
use crate::scenario::Scenario;
use crate::tool::{AXELRC, Tool};
use crate::trial::Trial;
use crate::verdict::Verdict;

/// Requests that JSON keeps of each trial.
const REQUESTS: usize = 200;

/// All there is to tell.
pub(crate) struct Sheet<'a> {
    pub(crate) tools: &'a [Tool],
    pub(crate) scenarios: &'a [Scenario],
    pub(crate) trials: &'a [Trial],
}

/// One scenario in one line.
pub(crate) fn line(scenario: &Scenario, row: &[Trial]) -> String {
    let cells = row.iter().map(|trial| {
        let leak = if trial.leaked { ", leaked" } else { "" };
        format!("{}: {}{leak} ({:.1} s)", trial.tool, trial.verdict.word(), trial.seconds)
    });
    format!("{}\n    {}", scenario.name, cells.collect::<Vec<_>>().join("\n    "))
}

impl Sheet<'_> {
    fn of_tool<'a>(&'a self, tool: &'a Tool) -> impl Iterator<Item = &'a Trial> {
        self.trials.iter().filter(|trial| trial.tool == tool.name)
    }

    /// How often each tool came to which end.
    pub(crate) fn counts(&self) -> String {
        let mut out = String::from("| tool |");
        Verdict::ALL.iter().for_each(|verdict| out += &format!(" {} |", verdict.word()));
        out += " credential leaked |\n|---|";
        out += &"---|".repeat(Verdict::ALL.len() + 1);
        out.push('\n');
        for tool in self.tools {
            out += &format!("| {} |", tool.name);
            for verdict in Verdict::ALL {
                let count = self.of_tool(tool).filter(|trial| trial.verdict == verdict).count();
                out += &format!(" {count} |");
            }
            let leaks = self.of_tool(tool).filter(|trial| trial.leaked).count();
            out += &format!(" {leaks} |\n");
        }
        out
    }

    /// The whole board.
    pub(crate) fn markdown(&self) -> String {
        let mut out = format!("# Scoreboard\n\n{}\n\n", surroundings());
        out += &self.versions();
        out += "\n## Counts\n\n";
        out += &self.counts();
        out += "\n## Scenarios\n\n| scenario |";
        self.tools.iter().for_each(|tool| out += &format!(" {} |", tool.name));
        out += "\n|---|";
        out += &"---|".repeat(self.tools.len());
        out.push('\n');
        let mut notes = Vec::new();
        for scenario in self.scenarios {
            out += &format!("| {}: {} |", scenario.name, scenario.says);
            for tool in self.tools {
                out += &format!(" {} |", self.cell(scenario, tool, &mut notes));
            }
            out.push('\n');
        }
        out += "\n## Notes\n\n";
        notes.iter().for_each(|note| out += &format!("{note}\n"));
        out
    }

    fn cell(&self, scenario: &Scenario, tool: &Tool, notes: &mut Vec<String>) -> String {
        let trial = self.of_tool(tool).find(|trial| trial.scenario == scenario.name).unwrap();
        let mut cell = trial.verdict.cell();
        if trial.leaked {
            cell += ", **credential leaked**";
        }
        let why = match trial.verdict {
            Verdict::Corrupt | Verdict::Nothing => {
                let reason = reason(scenario.name, tool.name).unwrap_or("not looked into");
                format!("{reason} ({})", trial.found)
            }
            Verdict::Hang => trial.found.clone(),
            _ => return cell,
        };
        let number = notes.len() + 1;
        notes.push(format!("{number}. {}, {}: {why}", tool.name, scenario.name));
        format!("{cell} ({number})")
    }

    fn versions(&self) -> String {
        let line =
            |tool: &Tool| format!("- {}: {}; `{}`\n", tool.name, tool.version(), tool.shown());
        let home = AXELRC.trim().replace('\n', ", ");
        let lines: String = self.tools.iter().map(line).collect();
        format!(
            "{lines}\naxel finds in its configuration: {home}. A header of the user's comes by `--header`; \
             over TLS the authority is named.\n"
        )
    }

    /// Everything, for programs.
    pub(crate) fn json(&self) -> String {
        let tools: Vec<Value> = self
            .tools
            .iter()
            .map(|tool| json!({"name": tool.name, "version": tool.version(), "command": tool.shown()}))
            .collect();
        let trials: Vec<Value> = self.trials.iter().map(trial_json).collect();
        let board = json!({"surroundings": surroundings(), "tools": tools, "trials": trials});
        format!("{board:#}\n")
    }
}

fn trial_json(trial: &Trial) -> Value {
    let wrong = matches!(trial.verdict, Verdict::Corrupt | Verdict::Nothing);
    let requests: Vec<_> = trial.requests.iter().take(REQUESTS).collect();
    json!({
        "scenario": trial.scenario,
        "tool": trial.tool,
        "verdict": trial.verdict.word(),
        "credential_leaked": trial.leaked,
        "seconds": (trial.seconds * 10.0).round() / 10.0,
        "exit": trial.exit,
        "found": trial.found,
        "command": trial.command,
        "said": trial.said,
        "reason": wrong.then(|| reason(trial.scenario, trial.tool)),
        "requests": requests,
    })
}

/// When and on what the board was made.
fn surroundings() -> String {
    let date = httpdate::fmt_http_date(std::time::SystemTime::now());
    let system = rustix::system::uname();
    let kernel = system.release().to_string_lossy().into_owned();
    format!("{date}, kernel {kernel}, {}", system.machine().to_string_lossy())
}
