//! The follower against real files: the frontier moves in steps, and every end is tried.

use std::os::unix::fs::OpenOptionsExt as _;

use super::*;
use crate::block::Place;
use crate::error::Kind;

const MIB: u64 = 1 << 20;

/// Bytes that differ from block to block, so that a wrong offset shows.
fn bytes(seed: u64, length: u64) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(seed);
    std::iter::repeat_with(|| random.u8(..)).take(narrow(length)).collect()
}

fn sha256(bytes: &[u8]) -> Checksum {
    let mut hasher = Hasher::new(Algo::Sha256);
    hasher.update(bytes);
    hasher.finish()
}

/// An empty file that is open for both, and a follower of it.
fn follow(meter: &Arc<Meter>) -> (Arc<File>, Follower) {
    let file = Arc::new(tempfile::tempfile().unwrap());
    let follower = Follower::start(Algo::Sha256, Arc::clone(&file), Arc::clone(meter)).unwrap();
    (file, follower)
}

#[tokio::test]
async fn a_digest_does_not_depend_on_the_steps_of_the_frontier() {
    for seed in 0..8 {
        let mut random = fastrand::Rng::with_seed(seed);
        let size = random.u64(0..4 * MIB);
        let content = bytes(seed, size);
        let meter = Arc::new(Meter::default());
        let (file, follower) = follow(&meter);
        let mut landed = 0;
        while landed < size {
            let more = random.u64(1..=size - landed);
            let range = narrow(landed)..narrow(landed + more);
            file.write_all_at(&content[range], landed).unwrap();
            landed += more;
            follower.landed_below(landed);
            follower.landed_below(landed / 2);
        }
        let found = follower.finish(size).await.unwrap();
        assert_eq!(found, sha256(&content), "seed {seed}");
        assert_eq!(meter.digested(), size, "seed {seed}");
    }
}

#[tokio::test]
async fn blocks_in_order_are_hashed_from_memory_and_gaps_from_the_file() {
    for seed in 0..16 {
        let mut random = fastrand::Rng::with_seed(seed);
        let content = bytes(seed, 3 * MIB + 777);
        let meter = Arc::new(Meter::default());
        let (file, follower) = follow(&meter);
        let mut offset = 0;
        for (index, part) in content.chunks(65536).enumerate() {
            file.write_all_at(part, offset).unwrap();
            if random.bool() {
                let place =
                    Place { index: u32::try_from(index).unwrap(), offset, length: part.len() };
                let mut block = Block::own(place);
                block.fill_from(part);
                follower.offer(block);
            }
            offset += wide(part.len());
            follower.landed_below(offset);
        }
        assert_eq!(follower.finish(offset).await.unwrap(), sha256(&content), "seed {seed}");
        assert_eq!(meter.digested(), offset, "seed {seed}");
    }
}

#[tokio::test]
async fn sizes_around_one_read_are_hashed_without_any_frontier() {
    for size in [0, 1, MIB - 1, MIB, MIB + 1, 2 * MIB] {
        let content = bytes(size, size);
        let (file, follower) = follow(&Arc::default());
        file.write_all_at(&content, 0).unwrap();
        assert_eq!(follower.finish(size).await.unwrap(), sha256(&content), "{size} bytes");
    }
}

#[tokio::test]
async fn bytes_beyond_the_size_are_not_hashed() {
    let (file, follower) = follow(&Arc::default());
    file.set_len(4 * MIB).unwrap();
    let content = bytes(1, MIB + 5);
    file.write_all_at(&content, 0).unwrap();
    assert_eq!(follower.finish(MIB + 5).await.unwrap(), sha256(&content));
}

#[tokio::test]
async fn a_file_opened_with_o_direct_is_read_back_to_its_last_byte() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("direct");
    let content = bytes(3, 2 * MIB + 12_345);
    std::fs::write(&path, &content).unwrap();
    let mut options = std::fs::OpenOptions::new();
    options.read(true).custom_flags(libc::O_DIRECT);
    // A file system that knows no O_DIRECT has nothing to show here.
    let Ok(file) = options.open(&path) else { return };
    let follower = Follower::start(Algo::Sha256, Arc::new(file), Arc::default()).unwrap();
    follower.landed_below(MIB);
    assert_eq!(follower.finish(wide(content.len())).await.unwrap(), sha256(&content));
}

#[tokio::test]
async fn a_file_that_is_too_short_is_a_local_error_with_its_path() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("short");
    std::fs::write(&path, "abc").unwrap();
    let file = Arc::new(File::open(&path).unwrap());
    let follower = Follower::start(Algo::Sha256, file, Arc::default()).unwrap();
    let error = follower.finish(MIB).await.unwrap_err();
    assert_eq!(error.kind(), Kind::LocalIo);
    assert!(error.to_string().contains(&*path.to_string_lossy()), "{error}");
}

#[tokio::test]
async fn a_frontier_beyond_the_size_is_a_bug_and_no_digest() {
    let (file, follower) = follow(&Arc::default());
    file.set_len(MIB).unwrap();
    follower.landed_below(MIB);
    assert_eq!(follower.finish(5).await.unwrap_err().kind(), Kind::Internal);
}

#[test]
fn a_dropped_follower_leaves_no_thread() {
    let (file, follower) = follow(&Arc::default());
    file.set_len(8 * MIB).unwrap();
    follower.landed_below(8 * MIB);
    let shared = Arc::downgrade(&follower.shared);
    drop(follower);
    assert!(shared.upgrade().is_none(), "the thread held it to its end");
}
