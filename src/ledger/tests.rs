//! The ledger against torn, foreign and hostile bytes, and against a disk that loses what was not synced.

use proptest::prelude::*;

use super::record::{Record, next};
use super::replay::{Doubt, read};
use super::*;

pub(super) fn head(size: u64) -> Head {
    let file = tempfile::tempfile().unwrap();
    Head {
        format: FORMAT,
        url: "u".into(),
        digest: None,
        size,
        etag: Some("\"a\u{1}\u{ff}\"".into()),
        last_modified: None,
        date_is_strong: false,
        is_page: None,
        part: crate::sys::file_id(&file).unwrap(),
        allocated: true,
    }
}

fn lines(records: &[Record]) -> Vec<u8> {
    records.iter().flat_map(|record| record.line().into_bytes()).collect()
}

fn begin(epoch: &str) -> Record {
    Record::Begin { epoch: epoch.into(), cached: true }
}

fn written(start: u64, end: u64) -> Record {
    Record::Written(vec![(start, end)])
}

pub(super) fn one(range: Range<u64>) -> Vec<Range<u64>> {
    std::iter::once(range).collect()
}

pub(super) fn ranges(extents: &Extents) -> Vec<Range<u64>> {
    extents.iter().collect()
}

#[test]
fn what_was_written_counts_in_its_epoch_and_what_is_durable_always() {
    let bytes = lines(&[
        Record::Head(head(100)),
        begin("a"),
        written(0, 10),
        written(20, 30),
        Record::Durable(1),
        written(40, 50),
    ]);
    let replay = read(&bytes).unwrap();
    assert_eq!(ranges(&replay.landed("a")), [0..10, 20..30, 40..50]);
    assert_eq!(ranges(&replay.landed("b")), one(0..10));
    assert_eq!(replay.writes, 3);
}

#[test]
fn what_another_epoch_has_not_synced_is_gone_for_good() {
    let mut records = vec![Record::Head(head(100)), begin("a"), written(0, 10), begin("b")];
    records.extend([written(20, 30), Record::Durable(2), begin("a")]);
    let replay = read(&lines(&records)).unwrap();
    assert_eq!(ranges(&replay.landed("a")), one(20..30), "the first line was lost before the sync");
    let again = [Record::Head(head(100)), begin("a"), written(0, 10), begin("a"), written(10, 20)];
    assert_eq!(ranges(&read(&lines(&again)).unwrap().landed("a")), one(0..20));
}

#[test]
fn after_a_failed_sync_only_what_was_durable_counts() {
    let records = [
        Record::Head(head(100)),
        begin("a"),
        written(0, 10),
        Record::Durable(1),
        written(10, 20),
        Record::Lost,
    ];
    assert_eq!(ranges(&read(&lines(&records)).unwrap().landed("a")), one(0..10));
}

#[test]
fn a_ledger_that_says_what_cannot_be_is_not_believed_at_all() {
    let head = || Record::Head(head(100));
    let corrupt: [&[Record]; 8] = [
        &[],
        &[begin("a")],
        &[head(), begin("a"), head()],
        &[head(), written(0, 10)],
        &[head(), begin("a"), written(10, 10)],
        &[head(), begin("a"), written(20, 10)],
        &[head(), begin("a"), written(90, 101)],
        &[head(), begin("a"), Record::Durable(1)],
    ];
    for records in corrupt {
        assert_eq!(read(&lines(records)).unwrap_err(), Doubt::Corrupt, "{records:?}");
    }
    for bytes in [&[0; 4096][..], b"\n", b"00000000 {}\n", b"zzzzzzzz 1\n", b"1234567"] {
        assert_eq!(read(bytes).unwrap_err(), Doubt::Corrupt);
    }
}

#[test]
fn a_ledger_of_another_format_says_so() {
    let newer = Record::Head(Head { format: 2, ..head(100) }).line();
    assert_eq!(read(newer.as_bytes()).unwrap_err(), Doubt::Format(2));
    let json = r#"{"head":{"format":7,"unheard":"of"}}"#;
    let strange = format!("{:08x} {json}\n", crc32fast::hash(json.as_bytes()));
    assert_eq!(read(strange.as_bytes()).unwrap_err(), Doubt::Format(7));
}

#[test]
fn a_line_without_end_is_not_read_to_its_end() {
    let mut bytes = lines(&[Record::Head(head(100)), begin("a"), written(0, 10)]);
    let length = bytes.len();
    bytes.resize(length + 2 * crate::limits::LEDGER_LINE_BYTES_MAX, b'x');
    assert_eq!(read(&bytes).unwrap().length, wide(length));
}

/// One thing that happens to a ledger on disk, and to its part file.
#[derive(Clone, Debug)]
enum Step {
    Land(u64, u64),
    /// The last sync that was begun ends well.
    Sync,
    /// A sync begins: it covers what is written by now.
    BeginSync,
    /// A sync fails.
    Fail,
    /// What was written is found to be wrong.
    Wrong(u64, u64),
    /// The process is killed and runs again.
    Kill,
    /// The power fails: what was not synced is gone, and so are some bytes off the ledger's end.
    PowerCut(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (0..90u64, 1..10u64).prop_map(|(start, length)| Step::Land(start, start + length)),
        2 => Just(Step::BeginSync),
        2 => Just(Step::Sync),
        1 => Just(Step::Fail),
        2 => (0..70u64, 1..30u64).prop_map(|(start, length)| Step::Wrong(start, start + length)),
        1 => Just(Step::Kill),
        1 => (0..200usize).prop_map(Step::PowerCut),
    ];
    prop::collection::vec(step, 1..60)
}

/// The part file as the page cache and as the disk have it, one flag a byte.
struct Disk {
    cached: Vec<bool>,
    durable: Vec<bool>,
    ledger: Vec<u8>,
    /// Bytes of the ledger that the disk has.
    ledger_durable: usize,
    epoch: u32,
    writes: u64,
    syncing: Option<(u64, Vec<bool>)>,
    failed: bool,
}

impl Disk {
    fn new() -> Self {
        let mut disk = Self {
            cached: vec![false; 100],
            durable: vec![false; 100],
            ledger: Record::Head(head(100)).line().into_bytes(),
            ledger_durable: 0,
            epoch: 0,
            writes: 0,
            syncing: None,
            failed: false,
        };
        disk.ledger_durable = disk.ledger.len();
        disk.append(&begin("0"));
        disk
    }

    fn append(&mut self, record: &Record) {
        self.ledger.extend(record.line().into_bytes());
    }

    fn run_again(&mut self) {
        let Ok(replay) = read(&self.ledger) else { panic!("the head is durable") };
        self.ledger.truncate(usize::try_from(replay.length).unwrap());
        self.writes = replay.writes;
        self.syncing = None;
        self.failed = false;
        self.append(&begin(&self.epoch.to_string()));
    }

    fn take(&mut self, step: &Step) {
        match step {
            Step::Land(start, end) if !self.failed => {
                for at in *start..*end {
                    self.cached[usize::try_from(at).unwrap()] = true;
                }
                self.append(&written(*start, *end));
                self.writes += 1;
            }
            Step::BeginSync if !self.failed => {
                self.syncing = Some((self.writes, self.cached.clone()));
            }
            Step::Sync if !self.failed => {
                let Some((writes, cached)) = self.syncing.take() else { return };
                for (durable, cached) in self.durable.iter_mut().zip(cached) {
                    *durable |= cached;
                }
                self.append(&Record::Durable(writes));
                self.ledger_durable = self.ledger.len();
            }
            Step::Fail if !self.failed => {
                // The pages that could not be written are clean, and gone when memory is short.
                self.cached.clone_from(&self.durable);
                self.append(&Record::Lost);
                self.failed = true;
            }
            Step::Wrong(start, end) if !self.failed => {
                for at in *start..*end {
                    self.cached[usize::try_from(at).unwrap()] = false;
                }
                self.append(&Record::Wrong(vec![(*start, *end)]));
            }
            Step::Kill => self.run_again(),
            Step::PowerCut(lost) => {
                self.cached.clone_from(&self.durable);
                let kept = self.ledger.len().saturating_sub(*lost).max(self.ledger_durable);
                self.ledger.truncate(kept);
                self.epoch += 1;
                self.run_again();
            }
            _ => {}
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn nothing_counts_that_is_not_there(steps in steps()) {
        let mut disk = Disk::new();
        for step in &steps {
            disk.take(step);
            let replay = read(&disk.ledger).unwrap();
            for at in replay.landed(&disk.epoch.to_string()).iter().flatten() {
                prop_assert!(disk.cached[usize::try_from(at).unwrap()], "{at} after {step:?}");
            }
            for at in replay.landed("another epoch").iter().flatten() {
                prop_assert!(disk.durable[usize::try_from(at).unwrap()], "{at} after {step:?}");
            }
        }
    }

    #[test]
    fn a_torn_ledger_says_less_and_never_more(steps in steps(), cut in 0..4000usize, flip: u8) {
        let mut disk = Disk::new();
        // A torn end may hide what a line takes back: a digest has shown it, and shows it again.
        let takes_back = |step: &&Step| matches!(step, Step::PowerCut(_) | Step::Wrong(..));
        steps.iter().filter(|step| !takes_back(step)).for_each(|step| disk.take(step));
        let whole = read(&disk.ledger).unwrap().landed("0");
        let mut torn = disk.ledger.clone();
        let cut = cut.min(torn.len() - 1);
        if flip == 0 { torn.truncate(cut) } else { torn[cut] ^= flip }
        if let Ok(replay) = read(&torn) {
            let mut both = whole.clone();
            // A torn end may hide that a sync has failed, never that bytes were written.
            if !disk.ledger.windows(6).any(|line| line == b"\"lost\"") {
                replay.landed("0").iter().for_each(|range| both.insert(range));
                prop_assert_eq!(both, whole);
            }
            prop_assert!(replay.length <= u64::try_from(torn.len()).unwrap());
        }
    }

    #[test]
    fn any_bytes_can_be_read(bytes: Vec<u8>, cut in 0..1000usize) {
        let _ = read(&bytes);
        let _ = next(&bytes);
        let mut behind = lines(&[Record::Head(head(100)), begin("a"), written(0, 10)]);
        behind.truncate(cut);
        behind.extend(bytes);
        let _ = read(&behind);
    }
}

#[test]
fn what_is_wrong_is_missing_again_until_it_is_written_again() {
    let records = |end: &[Record], epoch: &str| {
        let mut all = vec![Record::Head(head(100)), begin("a"), written(0, 40), Record::Durable(1)];
        all.extend([written(40, 60), Record::Wrong(vec![(10, 20), (50, 55)])]);
        all.extend_from_slice(end);
        read(&lines(&all)).map(|replay| ranges(&replay.landed(epoch)))
    };
    assert_eq!(records(&[], "a"), Ok(vec![0..10, 20..50, 55..60]));
    assert_eq!(records(&[], "b"), Ok(vec![0..10, 20..40]));
    let synced = [Record::Durable(2)];
    assert_eq!(
        records(&synced, "b"),
        Ok(vec![0..10, 20..50, 55..60]),
        "a sync makes nothing right"
    );
    assert_eq!(records(&[begin("a"), written(10, 20)], "a"), Ok(vec![0..50, 55..60]));
    for (start, end) in [(20, 10), (10, 10), (90, 101)] {
        assert_eq!(records(&[Record::Wrong(vec![(start, end)])], "a"), Err(Doubt::Corrupt));
    }
}

#[test]
fn what_a_sync_was_about_that_nobody_heard_the_end_of_is_not_believed() {
    let records = |end: &[Record]| {
        let mut all = vec![Record::Head(head(100)), begin("a"), written(0, 10), written(20, 30)];
        all.extend([Record::Syncing(1), written(40, 50)]);
        all.extend_from_slice(end);
        ranges(&read(&lines(&all)).unwrap().landed("a"))
    };
    assert_eq!(records(&[]), [20..30, 40..50]);
    assert_eq!(records(&[begin("a")]), [20..30, 40..50]);
    assert_eq!(records(&[begin("a"), Record::Durable(3)]), [20..30, 40..50], "it is gone for good");
    assert_eq!(records(&[Record::Durable(1)]), [0..10, 20..30, 40..50]);
    // There is no sync.
    assert_eq!(records(&[Record::Durable(0)]), [0..10, 20..30, 40..50]);
    assert!(records(&[Record::Lost]).is_empty());
    let beyond = [Record::Head(head(100)), begin("a"), Record::Syncing(1)];
    assert_eq!(read(&lines(&beyond)).unwrap_err(), Doubt::Corrupt);
}
