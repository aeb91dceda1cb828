//! The part file against other processes, planted files and second thoughts.

use std::os::unix::fs::FileExt;

use super::*;

const NEW: Publish = Publish { modified: None, overwrite: false, sync: true };

#[test]
fn a_part_is_private_until_published_and_gone_if_dropped() {
    let dir = tempfile::tempdir().unwrap();
    let target = dir.path().join("f");
    let part = Part::create(&target).unwrap();
    let path = part.path.clone();
    assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
    drop(part);
    assert!(!path.exists() && !target.exists());
    let mut part = Part::create(&target).unwrap();
    part.file().write_all_at(b"hello", 0).unwrap();
    part.publish(&NEW).unwrap();
    assert_eq!(std::fs::read(&target).unwrap(), b"hello");
    assert!(!path.exists());
}

#[test]
fn a_target_that_appeared_meanwhile_is_not_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let target = dir.path().join("f");
    let mut part = Part::create(&target).unwrap();
    std::fs::write(&target, "theirs").unwrap();
    assert_eq!(part.publish(&NEW).unwrap_err().kind(), Kind::Exists);
    assert_eq!(std::fs::read(&target).unwrap(), b"theirs");
    drop(part);
    let mut part = Part::create(&target).unwrap();
    part.publish(&Publish { overwrite: true, ..NEW }).unwrap();
    assert_eq!(std::fs::read(&target).unwrap(), b"");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn a_second_run_waits_its_turn_and_a_stale_part_is_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let target = dir.path().join("f");
    let first = Part::create(&target).unwrap();
    assert_eq!(Part::create(&target).err().unwrap().kind(), Kind::Exists);
    let path = first.path.clone();
    drop(first);
    std::fs::write(&path, "left by a killed run").unwrap();
    let second = Part::create(&target).unwrap();
    assert_eq!(second.file().metadata().unwrap().len(), 0);
}

#[test]
fn a_replaced_part_is_not_published_nor_removed() {
    let dir = tempfile::tempdir().unwrap();
    let target = dir.path().join("f");
    let mut part = Part::create(&target).unwrap();
    let path = part.path.clone();
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, "evil").unwrap();
    assert!(part.publish(&NEW).is_err());
    assert!(!target.exists() && path.exists());
}

#[test]
fn a_symlink_planted_at_the_part_is_removed_not_followed() {
    let dir = tempfile::tempdir().unwrap();
    let target = dir.path().join("f");
    let victim = dir.path().join("victim");
    std::fs::write(&victim, "keep").unwrap();
    let path = { Part::create(&target).unwrap().path.clone() };
    std::os::unix::fs::symlink(&victim, &path).unwrap();
    let part = Part::create(&target).unwrap();
    part.file().write_all_at(b"x", 0).unwrap();
    assert_eq!(std::fs::read(&victim).unwrap(), b"keep");
}

#[test]
fn only_a_file_of_our_own_that_was_kept_is_gone_on_with() {
    let dir = tempfile::tempdir().unwrap();
    let target = dir.path().join("f");
    assert!(Part::reopen(&target).unwrap().is_none());
    let part = Part::create(&target).unwrap();
    let path = part.path.clone();
    part.keep();
    assert_eq!(Part::reopen(&target).err().unwrap().kind(), Kind::Exists, "it is at work");
    drop(part);
    drop(Part::reopen(&target).unwrap().expect("it was kept"));
    assert!(path.exists(), "it stays until it is forgotten");
    let second_name = dir.path().join("second name");
    std::fs::hard_link(&path, &second_name).unwrap();
    assert!(Part::reopen(&target).unwrap().is_none(), "somebody has another name for it");
    std::fs::remove_file(&second_name).unwrap();
    Part::reopen(&target).unwrap().unwrap().forget();
    assert!(!path.exists());
    std::os::unix::fs::symlink(dir.path().join("victim"), &path).unwrap();
    assert!(Part::reopen(&target).unwrap().is_none());
}

#[test]
fn padding_is_cut_off_whoever_has_written_it() {
    let dir = tempfile::tempdir().unwrap();
    let target = dir.path().join("f");
    let part = Part::create(&target).unwrap();
    let path = part.path.clone();
    part.file().write_all_at(&[1; 4096], 0).unwrap();
    part.keep();
    drop(part);
    std::fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
    let part = Part::reopen(&target).unwrap().unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600, "private again");
    part.cut(4000).unwrap();
    part.check_whole(4000, false).unwrap();
    part.cut(5000).unwrap();
    assert!(part.check_whole(5000, false).is_err(), "what is too short is not filled with zeros");
}

#[test]
fn a_file_that_was_cut_off_is_noticed_even_when_it_has_its_size_again() {
    let dir = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR").to_owned() + "/target").unwrap();
    let target = dir.path().join("f");
    let part = Part::create(&target).unwrap();
    part.file().write_all_at(&[1; 100_000], 0).unwrap();
    part.file().sync_all().unwrap();
    assert!(part.is_allocated(100_000));
    part.check_whole(100_000, true).unwrap();
    part.file().set_len(5000).unwrap();
    assert_eq!(part.check_whole(100_000, false).unwrap_err().kind(), Kind::LocalIo);
    part.file().set_len(100_000).unwrap();
    assert!(!part.is_allocated(100_000));
}

#[test]
fn f26_a_whole_file_whose_directory_fails_is_a_part_file_again() {
    let dir = tempfile::tempdir().unwrap();
    let target = dir.path().join("f");
    let mut part = Part::create(&target).unwrap();
    let path = part.path.clone();
    part.file().write_all_at(b"all of it", 0).unwrap();
    part.keep();
    part.prepare(&NEW).unwrap();
    assert_eq!(part.publish(&Publish { sync: false, ..NEW }).unwrap(), Named::Unsynced(None));
    let broken = Err(io::Error::from_raw_os_error(libc::EIO));
    assert_eq!(part.settle_name(&NEW, broken).unwrap_err().kind(), Kind::LocalIo);
    assert!(!part.is_published() && !target.exists());
    drop(part);
    assert_eq!(std::fs::read(&path).unwrap(), b"all of it");
    assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
    let mut part = Part::reopen(&target).unwrap().unwrap();
    assert_eq!(part.publish(&NEW).unwrap(), Named::Durable);
    assert_eq!(std::fs::read(&target).unwrap(), b"all of it");
}

#[test]
fn f26_a_target_that_was_replaced_stays_though_its_directory_fails() {
    let dir = tempfile::tempdir().unwrap();
    let target = dir.path().join("f");
    std::fs::write(&target, "old").unwrap();
    let how = Publish { overwrite: true, sync: false, ..NEW };
    let mut part = Part::create(&target).unwrap();
    part.file().write_all_at(b"new", 0).unwrap();
    part.publish(&how).unwrap();
    let broken = Err(io::Error::from_raw_os_error(libc::EIO));
    part.settle_name(&how, broken).unwrap_err();
    assert!(part.is_published());
    assert_eq!(std::fs::read(&target).unwrap(), b"new");
}

#[test]
fn f26_a_directory_that_has_no_sync_leaves_the_name_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let target = dir.path().join("f");
    let mut part = Part::create(&target).unwrap();
    part.publish(&Publish { sync: false, ..NEW }).unwrap();
    for errno in [libc::EINVAL, libc::EOPNOTSUPP, libc::ENOSYS, libc::EACCES] {
        let refused = Err(io::Error::from_raw_os_error(errno));
        let named = part.settle_name(&NEW, refused).unwrap();
        assert!(matches!(named, Named::Unsynced(Some(_))), "{errno}");
    }
    assert!(part.is_published() && target.exists());
}
