//! What needs work, host by host: files of small records, written once and read once, so that memory does not
//! grow with the list.

use std::fs::File;
use std::io::{BufReader, BufWriter, Read as _, Seek as _, Write as _};
use std::path::Path;

use super::decide::{Known, Need};
use crate::limits::QUEUES_MAX;

/// An entry that needs work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Task {
    /// Its number in the catalog, and where it stands there.
    pub(super) ordinal: u64,
    pub(super) position: u64,
    pub(super) need: Need,
}

/// The queues while they are written.
pub(super) struct Filling {
    directory: std::path::PathBuf,
    hosts: Vec<(String, Output, Output)>,
}

/// A file that is made with its first task.
type Output = Option<BufWriter<File>>;

/// The queue of one host, in the order of the list: large entries and all others.
pub(super) struct Queue {
    pub(super) large: Reader,
    pub(super) small: Reader,
}

/// Reads tasks back.
pub(super) struct Reader(Option<BufReader<File>>);

impl Filling {
    /// Queues whose files have no names, in this directory.
    pub(super) fn new(directory: &Path) -> Self {
        Self { directory: directory.to_owned(), hosts: Vec::new() }
    }

    pub(super) fn push(&mut self, host: &str, is_large: bool, task: &Task) -> std::io::Result<()> {
        let at = match self.hosts.iter().position(|(known, ..)| known == host) {
            Some(at) => at,
            None if self.hosts.len() < QUEUES_MAX => {
                self.hosts.push((host.to_owned(), None, None));
                self.hosts.len() - 1
            }
            // Some hosts take turns in one queue then, and share what one is allowed.
            None => usize::try_from(crc32fast::hash(host.as_bytes())).unwrap_or(0) % QUEUES_MAX,
        };
        let (_, large, small) = &mut self.hosts[at];
        let file = if is_large { large } else { small };
        if file.is_none() {
            *file = Some(BufWriter::new(unnamed(&self.directory)?));
        }
        let out = file.as_mut().expect("proof: just made");
        out.write_all(&encode(task))
    }

    pub(super) fn finish(self) -> std::io::Result<Vec<Queue>> {
        let reader = |file: Output| -> std::io::Result<Reader> {
            let Some(file) = file else { return Ok(Reader(None)) };
            let mut file = file.into_inner().map_err(std::io::IntoInnerError::into_error)?;
            file.rewind()?;
            Ok(Reader(Some(BufReader::new(file))))
        };
        let hosts = self.hosts.into_iter();
        hosts
            .map(|(_, large, small)| Ok(Queue { large: reader(large)?, small: reader(small)? }))
            .collect()
    }
}

impl Reader {
    /// The next task; `None` at the end.
    pub(super) fn next(&mut self) -> std::io::Result<Option<Task>> {
        let Some(file) = &mut self.0 else { return Ok(None) };
        let mut length = [0; 4];
        match file.read_exact(&mut length) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
                self.0 = None;
                return Ok(None);
            }
            Err(error) => return Err(error),
        }
        let mut bytes = vec![0; usize::try_from(u32::from_le_bytes(length)).unwrap_or(0)];
        file.read_exact(&mut bytes)?;
        decode(&bytes).map(Some)
    }
}

/// A file in `directory` that nobody else sees and that goes with us.
fn unnamed(directory: &Path) -> std::io::Result<File> {
    crate::sorting::unnamed(directory)
}

/// A task as it is written: ordinal, position, and what is needed.
type Wire = (u64, u64, u8, Option<Vec<u8>>, Option<String>);

/// A task as bytes, behind their length.
pub(super) fn encode(task: &Task) -> Vec<u8> {
    let (etag, date) = match &task.need {
        Need::Check(known) => (known.etag.as_ref(), known.last_modified.as_ref()),
        _ => (None, None),
    };
    let need = match &task.need {
        Need::Nothing => 0,
        Need::Hash => 1,
        Need::Fetch => 2,
        Need::Check(known) => 3 + u8::from(known.is_recorded),
        Need::Look => 5,
        Need::Link => 6,
    };
    let wire = (task.ordinal, task.position, need, etag, date);
    let text = serde_json::to_vec(&wire).expect("proof: numbers and text are always JSON");
    let length = u32::try_from(text.len()).expect("proof: a response head bounds validators");
    [&length.to_le_bytes()[..], &text].concat()
}

/// What was behind the length.
pub(super) fn decode(bytes: &[u8]) -> std::io::Result<Task> {
    let odd = |_| std::io::Error::other("a queue of the run is damaged");
    serde_json::from_slice::<Wire>(bytes).map(Task::from).map_err(odd)
}

impl From<Wire> for Task {
    fn from((ordinal, position, need, etag, last_modified): Wire) -> Self {
        let need = match need {
            0 => Need::Nothing,
            1 => Need::Hash,
            2 => Need::Fetch,
            5 => Need::Look,
            6 => Need::Link,
            recorded => Need::Check(Known { etag, last_modified, is_recorded: recorded == 4 }),
        };
        Self { ordinal, position, need }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_come_back_as_they_went_in() {
        let directory = tempfile::tempdir().unwrap();
        let mut filling = Filling::new(directory.path());
        let known = Known {
            etag: Some(b"W/\"\xe4\"".to_vec()),
            last_modified: Some("yesterday".into()),
            is_recorded: true,
        };
        let needs = [
            Need::Nothing,
            Need::Hash,
            Need::Fetch,
            Need::Look,
            Need::Link,
            Need::Check(known),
            Need::Check(Known::default()),
        ];
        let tasks: Vec<Task> = needs
            .into_iter()
            .zip(0..)
            .map(|(need, at)| Task { ordinal: at, position: u64::MAX - at, need })
            .collect();
        for task in &tasks {
            filling.push("a", task.ordinal == 1, task).unwrap();
        }
        filling.push("b", false, &tasks[0]).unwrap();
        let mut queues = filling.finish().unwrap();
        let all =
            |reader: &mut Reader| std::iter::from_fn(|| reader.next().unwrap()).collect::<Vec<_>>();
        assert_eq!(queues.len(), 2);
        assert_eq!(all(&mut queues[0].large), [tasks[1].clone()]);
        let rest = [&tasks[..1], &tasks[2..]].concat();
        assert_eq!(all(&mut queues[0].small), rest);
        assert_eq!(all(&mut queues[1].small), [tasks[0].clone()]);
        assert!(std::fs::read_dir(directory.path()).unwrap().next().is_none());
    }
}
