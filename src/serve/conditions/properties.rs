//! Conditions against arbitrary fields: whom a part is granted, and that no list of tags trips the reader.

use proptest::prelude::*;

use super::*;

const TAG: &str = "\"a\"";
/// The second in which the file changed.
const CHANGED: u64 = 784_111_777;

fn dates() -> impl Strategy<Value = String> {
    let around = CHANGED - 3..CHANGED + 3;
    around.prop_map(|seconds| httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(seconds)))
}

fn tags() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => prop::sample::select(vec![TAG, "W/\"a\"", "\"b\"", "*", "", "\"a", "\"x,\", \"a\""])
            .prop_map(str::to_owned),
        2 => r#"((W/)?"[ab,]?"[ ,]{0,2}|[ \t,W/"*a\x{e9}]){0,6}"#,
        1 => any::<String>(),
    ]
}

fn fields() -> impl Strategy<Value = Conditions> {
    let maybe = |field: BoxedStrategy<String>| prop::option::weighted(0.3, field);
    let range = prop_oneof![Just("bytes=1-2".to_owned()), "bytes=[0-9]{0,3}-[0-9]{0,3}"];
    let either = prop_oneof![tags(), dates()];
    (
        maybe(tags().boxed()),
        maybe(tags().boxed()),
        maybe(dates().boxed()),
        maybe(dates().boxed()),
        maybe(either.boxed()),
        prop::option::of(range),
    )
        .prop_map(|(if_match, if_none_match, modified, unmodified, if_range, range)| {
            Conditions {
                if_match,
                if_none_match,
                if_modified_since: modified,
                if_unmodified_since: unmodified,
                if_range,
                range,
            }
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn a_part_lies_in_the_file_and_goes_to_who_named_it(asked in fields(), size in 0..200u64, head: bool) {
        let modified = UNIX_EPOCH + Duration::from_secs(CHANGED);
        let file = Validators { etag: TAG.into(), modified: Some(modified), size };
        let method = if head { Method::Head } else { Method::Get };
        let now = modified + Duration::from_secs(9);
        let verdict = judge(&asked, &file, method, now);
        let is_ranged = matches!(verdict, Verdict::Part { .. } | Verdict::Unsatisfiable);
        if let Verdict::Part { first, length } = verdict {
            prop_assert!(length > 0 && first + length <= size);
        }
        if is_ranged {
            prop_assert!(!head && asked.range.is_some());
            let date = httpdate::fmt_http_date(modified);
            let named = asked.if_range.as_deref().map(str::trim);
            prop_assert!(named.is_none_or(|named| named == TAG || named == date), "{:?}", named);
        }
        // A file that has changed since is never "not modified" by a tag of another version.
        let other = Validators { etag: "\"c\"".into(), ..file };
        let names_all = asked.if_none_match.as_deref().is_some_and(|tags| tags.trim() == "*");
        if asked.if_none_match.is_some() && !names_all {
            let verdict = judge(&asked, &other, method, now);
            let holds_c = asked.if_none_match.as_deref().is_some_and(|tags| tags.contains("\"c\""));
            prop_assert!(holds_c || verdict != Verdict::NotModified);
        }
    }

    #[test]
    fn a_strong_match_is_also_a_weak_one(tags in tags()) {
        let [strong, weak] = [Comparison::Strong, Comparison::Weak].map(|how| lists(&tags, TAG, how));
        prop_assert!(!strong || weak);
        prop_assert!(!weak || tags.contains(TAG) || tags.trim() == "*");
    }

    #[test]
    fn a_list_holds_each_of_its_tags(
        before in prop::collection::vec(r#"(W/)?"[!#-~]{0,5}""#, 0..4), gap in "[ \t]{0,2},[ \t]{0,2}"
    ) {
        let list = before.iter().map(String::as_str).chain([TAG]).collect::<Vec<_>>().join(&gap);
        prop_assert!(lists(&list, TAG, Comparison::Strong), "{}", list);
    }
}
