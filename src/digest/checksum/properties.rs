//! Digests as text, against arbitrary bytes and arbitrary text.

use proptest::prelude::*;

use super::*;

proptest! {
    #[test]
    fn every_digest_reads_back_as_written(
        which in 0..5usize, bytes in prop::collection::vec(any::<u8>(), 64), upper: bool, colon: bool
    ) {
        let algo = Algo::ALL[which];
        let checksum = Checksum::new(algo, &bytes[..algo.digest_len()]);
        let mut text = checksum.to_string();
        if upper {
            text.make_ascii_uppercase();
        }
        if colon {
            text = text.replace('=', ":");
        }
        prop_assert_eq!(text.parse(), Ok(checksum));
    }

    #[test]
    fn any_text_is_a_digest_or_told_why_not(
        text in prop_oneof![any::<String>(), "(md5|sha1|blake3)[=:][0-9a-fA-F\u{e9}\u{1f600} ]{0,70}"]
    ) {
        match text.parse::<Checksum>() {
            Ok(checksum) => {
                prop_assert_eq!(checksum.bytes().len(), checksum.algo().digest_len());
                prop_assert!(text.to_ascii_lowercase().contains(&checksum.to_string()[8..]));
            }
            Err(why) => prop_assert!(!why.chars().any(char::is_control), "{:?}", why),
        }
    }
}
