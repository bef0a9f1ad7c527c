//! No text makes the parser or the renderings panic.

use super::{EXAMPLE, parse, render, reports};
use proptest::prelude::*;
use std::fmt::Write;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn no_mutation_of_a_valid_file_makes_parse_panic(edits in prop::collection::vec(edit(), 1..6)) {
        let mut text: Vec<char> = EXAMPLE.chars().collect();
        for (at, remove, insert) in edits {
            let at = at.index(text.len() + 1);
            let end = (at + remove).min(text.len());
            text.splice(at..end, insert.chars());
        }
        survives(&text.into_iter().collect::<String>());
    }

    #[test]
    fn no_text_makes_parse_panic(text in any::<String>()) {
        survives(&text);
    }

    #[test]
    fn whole_lines_may_be_lost_doubled_and_moved(order in prop::collection::vec(any::<prop::sample::Index>(), 0..40)) {
        let lines: Vec<&str> = EXAMPLE.lines().collect();
        let text = order.iter().fold(String::new(), |mut text, index| {
            writeln!(text, "{}", index.get(&lines)).unwrap();
            text
        });
        survives(&text);
    }
}

/// Place, characters removed, text inserted.
fn edit() -> impl Strategy<Value = (prop::sample::Index, usize, String)> {
    let pieces = prop::sample::select(vec![
        "",
        "\"",
        "[",
        "]",
        "[[service]]\n",
        "[[service.backend]]\n",
        "=",
        "\n",
        "{",
        "0",
        "-1",
        "*",
        "é",
        "\u{0}",
        "port = 8\n",
        "forwarding = \"nat\"\n",
        "\"tcp://[2001:db8::1]:*\",",
        "99999999999999999999999",
        "1979-05-27",
        "true",
        ".",
        "\\u",
    ]);
    (any::<prop::sample::Index>(), 0usize..8, pieces.prop_map(str::to_owned))
}

/// Parses, and renders whatever is said.
fn survives(text: &str) {
    let (Ok((_, said)) | Err(said)) = parse(text, "host");
    render(&said, text, "f.toml", true);
    assert_eq!(reports(&said, text, "f.toml").len(), said.len());
}
