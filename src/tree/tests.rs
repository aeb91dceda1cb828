//! Names stay beneath the root, whoever plays with it.

use std::os::unix::fs::{MetadataExt as _, symlink};

use super::*;

fn tree() -> (tempfile::TempDir, Tree) {
    // Beside the build: what is in memory is no file system that people mirror to.
    let build = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tmp");
    std::fs::create_dir_all(&build).unwrap();
    let directory = tempfile::tempdir_in(build).unwrap();
    let tree = Tree::open(&directory.path().join("tree")).unwrap();
    (directory, tree)
}

#[test]
fn drafts_with_and_without_a_name_do_the_same() {
    for has_unnamed in [true, false] {
        let (_directory, mut tree) = tree();
        // Some file systems cannot make files without a name; then the second turn is the only one.
        tree.has_unnamed &= has_unnamed;
        let first = put(&tree, "a/f", b"first").unwrap();
        let second = put(&tree, "a/f", b"second").unwrap();
        assert_ne!(first.ino, second.ino);
        assert_eq!(tree.stat("a/f").unwrap(), Some(second));
        drop(tree.create("a/g").unwrap());
        assert_eq!(walked(&tree), ["a/f"]);
        let drafts = tree.state_directory().join(DRAFTS);
        assert!(std::fs::read_dir(drafts).unwrap().next().is_none());
    }
}

#[test]
fn a_file_system_that_tells_upper_from_lower_case_is_known_as_such() {
    let (directory, tree) = tree();
    let twin = directory.path().join("tree/.ringpull/drafts/CASE");
    assert!(!tree.folds_case());
    // As if both names were one file.
    std::fs::write(&twin, "").unwrap();
    assert!(tree.folds_case());
}

#[test]
fn a_directory_that_somebody_removes_is_made_again() {
    let (directory, tree) = tree();
    put(&tree, "a/f", b"").unwrap();
    std::fs::remove_dir_all(directory.path().join("tree/a")).unwrap();
    put(&tree, "a/f", b"").unwrap();
    assert_eq!(walked(&tree), ["a/f"]);
}

fn put(tree: &Tree, path: &str, bytes: &[u8]) -> Result<Fingerprint> {
    let draft = tree.create(path)?;
    draft.write_all_at(bytes, 0).unwrap();
    tree.publish(draft, path, Some(SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000)))
}

fn walked(tree: &Tree) -> Vec<String> {
    let mut all = Vec::new();
    tree.walk(&mut |path| {
        all.push(String::from_utf8_lossy(path).into_owned());
        Ok(())
    })
    .unwrap();
    all.sort();
    all
}

#[test]
fn a_file_gets_its_name_date_and_directories_at_once() {
    let (directory, tree) = tree();
    let there = put(&tree, "a/b/c", b"bytes").unwrap();
    assert_eq!((there.size, there.mtime_ns), (5, 1_000_000_000_000_000));
    assert_eq!(tree.stat("a/b/c").unwrap(), Some(there));
    assert_eq!(tree.stat("a/b/d").unwrap(), None);
    assert_eq!(tree.stat("x/y").unwrap(), None);
    assert_eq!(std::fs::read(directory.path().join("tree/a/b/c")).unwrap(), b"bytes");
    put(&tree, "a/b/c", b"others").unwrap();
    assert_eq!(std::fs::read(directory.path().join("tree/a/b/c")).unwrap(), b"others");
    assert_eq!(walked(&tree), ["a/b/c"]);
    drop(tree.create("a/other").unwrap());
    assert_eq!(walked(&tree), ["a/b/c"]);
    let drafts = directory.path().join("tree/.ringpull/drafts");
    assert!(std::fs::read_dir(&drafts).unwrap().next().is_none());
    std::fs::write(drafts.join("left"), "").unwrap();
    let again = Tree::open(&directory.path().join("tree")).unwrap();
    assert!(drafts.join("left").exists(), "it may be another run's");
    again.clear_away().unwrap();
    assert!(std::fs::read_dir(&drafts).unwrap().next().is_none());
}

#[test]
fn symbolic_links_and_files_in_the_way_fail_the_entry() {
    let (directory, tree) = tree();
    let root = directory.path().join("tree");
    let outside = directory.path().join("outside");
    std::fs::create_dir(&outside).unwrap();
    std::fs::write(outside.join("f"), "theirs").unwrap();
    symlink(&outside, root.join("link")).unwrap();
    symlink(outside.join("f"), root.join("f")).unwrap();
    symlink(&outside, root.join("dir")).unwrap();
    for path in ["link/f", "link/new", "link/deep/new", "f"] {
        assert!(put(&tree, path, b"ours").is_err(), "{path}");
        assert!(tree.stat(path).is_err(), "{path}");
        assert!(path == "link/deep/new" || tree.read(path).is_err(), "{path}");
    }
    assert_eq!(std::fs::read(outside.join("f")).unwrap(), b"theirs");
    assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 1);
    put(&tree, "file", b"").unwrap();
    let said = put(&tree, "file/below", b"").unwrap_err().to_string();
    assert!(said.contains("where a directory should be"), "{said}");
    std::fs::create_dir(root.join("d")).unwrap();
    assert!(put(&tree, "d", b"").is_err());
    assert_eq!(walked(&tree), ["dir", "f", "file", "link"]);
}

#[test]
fn nothing_is_made_outside_while_somebody_swaps_directory_and_link() {
    let (directory, tree) = tree();
    let root = directory.path().join("tree");
    let outside = directory.path().join("outside");
    std::fs::create_dir(&outside).unwrap();
    std::fs::create_dir(root.join("real")).unwrap();
    std::thread::scope(|scope| {
        let swapper = scope.spawn(|| {
            for _ in 0..500 {
                // The tree makes the directory anew now and then, and is faster.
                let _ = std::fs::rename(root.join("real"), root.join("aside"));
                let _ = symlink(&outside, root.join("real"));
                let _ = std::fs::remove_file(root.join("real"));
                let _ = std::fs::remove_dir_all(root.join("real"));
                let _ = std::fs::rename(root.join("aside"), root.join("real"));
            }
        });
        while !swapper.is_finished() {
            *tree.directories() = Directories::default();
            let _ = put(&tree, "real/f", b"");
        }
    });
    assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 0);
}

#[test]
fn removing_takes_empty_directories_and_never_the_root() {
    let (directory, tree) = tree();
    put(&tree, "a/b/c", b"").unwrap();
    put(&tree, "a/d", b"").unwrap();
    tree.remove("a/b/c").unwrap();
    assert!(!directory.path().join("tree/a/b").exists());
    assert_eq!(walked(&tree), ["a/d"]);
    tree.remove("a/d").unwrap();
    tree.remove("a/d").unwrap();
    assert!(!directory.path().join("tree/a").exists());
    assert!(directory.path().join("tree").is_dir());
    put(&tree, "a/d", b"again").unwrap();
    assert_eq!(walked(&tree), ["a/d"]);
}

#[test]
fn what_a_check_of_the_file_system_has_found_is_none_of_the_tree() {
    let (directory, tree) = tree();
    for path in ["lost+found/#12", "a/lost+found/f"] {
        put(&tree, path, b"").unwrap();
    }
    assert_eq!(walked(&tree), ["a/lost+found/f"]);
    std::fs::create_dir(directory.path().join("tree/lost+found/empty")).unwrap();
    tree.remove_hollow("", &|_| true, &|| Ok(())).unwrap();
    assert!(directory.path().join("tree/lost+found/empty").exists());
}

#[test]
fn what_was_moved_out_of_the_tree_is_not_removed() {
    let (directory, tree) = tree();
    put(&tree, "a/f", b"").unwrap();
    let (inside, outside) = (directory.path().join("tree/a"), directory.path().join("a"));
    std::fs::rename(&inside, &outside).unwrap();
    std::fs::create_dir(&inside).unwrap();
    std::fs::write(inside.join("f"), "").unwrap();
    tree.remove("a/f").unwrap();
    assert!(outside.join("f").exists() && !inside.exists());
}

#[test]
fn what_is_in_the_way_is_told_only_if_all_of_it_may_go_and_is_not_too_much() {
    let (directory, tree) = tree();
    for path in ["d/a", "d/b/c", "f"] {
        put(&tree, path, b"").unwrap();
    }
    std::fs::create_dir(directory.path().join("tree/d/empty")).unwrap();
    let obstacles = |path: &str, most, stays: &str| {
        let found = tree.obstacles(path, most, &|at| at != stays, &|| Ok(())).unwrap();
        found.map(|mut files| {
            files.sort();
            files.join(" ")
        })
    };
    assert_eq!(obstacles("d", 2, "").as_deref(), Some("d/a d/b/c"));
    assert_eq!(obstacles("f/g", 1, "").as_deref(), Some("f"));
    for (path, most, stays) in [
        ("d", 1, ""),
        ("d", 2, "d/b/c"),
        ("d", 2, "d/empty"),
        ("d", 2, "d"),
        ("f/g", 1, "f"),
        ("f/g", 0, ""),
    ] {
        assert_eq!(obstacles(path, most, stays), None, "{path} {most} {stays}");
    }
    assert_eq!(obstacles("f", 9, ""), None, "a file is in no file's way");
    let stopped = || Err(Error::new(Kind::Interrupted, "stopped"));
    assert!(tree.obstacles("d", 9, &|_| true, &stopped).is_err());
}

#[test]
fn long_names_and_deep_directories_are_reached() {
    let (_directory, tree) = tree();
    let name = "n".repeat(255);
    let deep = vec![name.as_str(); 20].join("/");
    put(&tree, &deep, b"deep").unwrap();
    assert!(tree.stat(&deep).unwrap().is_some());
    assert!(put(&tree, &"n".repeat(256), b"").is_err());
    assert_eq!(walked(&tree), std::slice::from_ref(&deep));
    tree.remove(&deep).unwrap();
    assert!(walked(&tree).is_empty());
}

#[test]
fn several_threads_fill_the_same_new_directories() {
    let (_directory, tree) = tree();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let tree = &tree;
            scope.spawn(move || {
                for file in 0..100 {
                    put(tree, &format!("{}/{}/{thread}", file % 10, file / 10), b"x").unwrap();
                }
            });
        }
    });
    assert_eq!(walked(&tree).len(), 400);
}

#[test]
fn large_files_are_taken_over() {
    let (_directory, tree) = tree();
    let from = tree.large_directory().join("f");
    std::fs::write(&from, "large").unwrap();
    let ino = std::fs::metadata(&from).unwrap().ino();
    let there = tree.adopt(&from, "x/y", None).unwrap();
    assert_eq!((there.size, there.ino), (5, ino));
    assert!(!from.exists());
    tree.sync().unwrap();
}
