//! Second runs: after a run that was killed half way, or after one that was complete.
//!
//! Each tool leaves what it leaves; nothing is prepared by hand. What changes, changes between the runs.

use crate::origin::{File, Reply, Request, Validator};
use crate::scenario::{Before, SIZE, Scenario, Stage, login_answer, validated};

pub(crate) fn all() -> Vec<Scenario> {
    let killed =
        |name, says, stage| Scenario::new(name, says, stage).before(Before::Killed).patient();
    let complete =
        |name, says, stage| Scenario::new(name, says, stage).before(Before::Complete).patient();
    vec![
        killed("killed, unchanged", "a good server", || honest(file())),
        killed("killed, changed", "another version: another ETag, same size", || {
            honest(file().version(2))
        }),
        killed("killed, only Last-Modified changed", "the same, with no ETag", || {
            let first = file().validator(Validator::Date);
            second(first, first.version(2), Reply::honest)
        }),
        killed(
            "killed, changed, If-Range ignored",
            "206 of another version whatever is asked",
            || {
                second(file(), file().version(2), |file, request| {
                    Reply::honest(file, &request.without("If-Range"))
                })
            },
        ),
        killed("killed, grew", "another version, 1 MiB larger", || {
            honest(File::new(SIZE + (1 << 20)).version(2))
        }),
        killed("killed, shrank", "another version of 1 MiB", || {
            honest(File::new(1 << 20).version(2))
        }),
        killed("killed, range ignored", "200 with the whole file", || {
            second(file(), file(), |file, request| Reply::honest(file, &request.without("Range")))
        }),
        killed("killed, 206 from byte 0", "206 with the first bytes, and says so", || {
            second(file(), file(), from_the_start)
        }),
        killed("killed, login page", "a small HTML page with 200", || {
            second(file(), file(), |_, _| login_answer()).or_login_page()
        }),
        killed("killed, 416", "416 although there are bytes left", || {
            second(file(), file(), |file, request| match request.range {
                Some(_) => Reply::status("416 Range Not Satisfiable")
                    .set("Content-Range", &format!("bytes */{}", file.size)),
                None => Reply::honest(file, request),
            })
        }),
        complete("complete, unchanged", "a good server", || afterwards(file())),
        complete("complete, shrank", "another version of 1 MiB", || {
            afterwards(File::new(1 << 20).version(2))
        }),
        complete("complete, grew", "another version, 1 MiB larger", || {
            afterwards(File::new(SIZE + (1 << 20)).version(2))
        }),
    ]
}

fn file() -> File {
    File::new(SIZE)
}

fn honest(later: File) -> Stage {
    second(file(), later, Reply::honest)
}

/// Half of `first` in the run before, `answer` for `later` in the run that is judged.
fn second(
    first: File,
    later: File,
    answer: impl Fn(&File, &Request) -> Reply + Send + Sync + 'static,
) -> Stage {
    Stage::in_turn(first, &[first, later], move |request| answer(&later, request))
}

fn afterwards(later: File) -> Stage {
    Stage::afterwards(file(), &[file(), later], move |request| Reply::honest(&later, request))
}

fn from_the_start(file: &File, request: &Request) -> Reply {
    match &request.range {
        Some(range) if range.start > 0 && request.method == "GET" => {
            let end = range.end.min(file.size);
            validated(file, Reply::part(file, 0..end - range.start.min(end - 1)))
        }
        _ => Reply::honest(file, request),
    }
}
