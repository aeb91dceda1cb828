//! Standard output as the target: never a byte twice, also where the pipe does not block.

use std::io::Read;

use crate::ends::SIZE;
use crate::harness::Run;
use crate::origin::{Cut, File, Origin, Reply, Validator};
use crate::regress::{assert_stream, streamed};
use crate::ways::backends;

#[test]
fn a_stream_that_breaks_behind_its_first_block_never_begins_again() {
    let bare = File::new(SIZE).validator(Validator::None);
    for io in backends() {
        for (second, cut) in [(bare, Cut::Close), (bare, Cut::Reset), (bare.version(2), Cut::Close)]
        {
            let origin = Origin::new()
                .at("/f.bin", move |request| match request.nth {
                    0 => Reply::whole(&bare).cut(65_536, cut),
                    _ => Reply::whole(&second),
                })
                .start();
            let outcome = streamed(&origin, &["--io", io, "-c", "2"]);
            assert_stream(&outcome, &[0, 3, 6], &[bare, second]);
        }
    }
}

#[test]
fn a_pipe_that_does_not_block_gets_every_byte() {
    let file = File::new(SIZE);
    let origin = Origin::new().file("/f.bin", file).start();
    for io in backends() {
        let (mut reader, writer) = std::io::pipe().unwrap();
        // Smaller than a block, so that the first write already finds it full.
        rustix::pipe::fcntl_setpipe_size(&writer, 4096).unwrap();
        rustix::fs::fcntl_setfl(&writer, rustix::fs::OFlags::NONBLOCK).unwrap();
        let run = Run::new(&origin.url("/f.bin")).args(["--io", io, "-o", "-", "-b", "64k"]);
        let started = run.args(["-c", "2", "--max-time", "50"]).stdout(writer).start();
        let mut out = Vec::new();
        reader.read_to_end(&mut out).unwrap();
        started.finish().assert_leaves_nothing();
        assert_eq!(file.difference(&out[..]), None);
    }
}

#[test]
fn discarded_bytes_do_not_come_out() {
    let origin = Origin::new().file("/f.bin", File::new(SIZE)).start();
    let outcome = streamed(&origin, &["--write", "discard"]);
    outcome.assert_leaves_nothing();
    assert!(outcome.stdout.is_empty(), "{} bytes came out", outcome.stdout.len());
}
