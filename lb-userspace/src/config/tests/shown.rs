//! How problems read, to people and to programs.

use super::{HEAD, ONE, Text, WEB, parse_layered, problems, render, render_layered, reports};

#[test]
fn an_error_reads_as_rustc_would_say_it() {
    let text = "[dataplane]\ninterfaces = [\"eth0\"]\nflow_table_capactiy = 2048\n";
    let rendered = render(&problems(text), text, "fairway.toml", false);
    let expected = "\
error[FW0002]: unknown key `flow_table_capactiy` in `[dataplane]`
 --> fairway.toml:3:1
  |
3 | flow_table_capactiy = 2048
  | ^^^^^^^^^^^^^^^^^^^
  |
  = help: did you mean `flow_table_capacity`?

";
    assert_eq!(rendered, expected);
}

#[test]
fn both_places_of_a_duplicate_are_shown() {
    let text = format!("{HEAD}{WEB}{ONE}[[service]]\nname = \"b\"\nlisten = [\"tcp://203.0.113.10:80\"]\n{ONE}");
    let rendered = render(&problems(&text), &text, "fairway.toml", false);
    let expected = "\
error[FW0105]: listener `tcp://203.0.113.10:80` is there twice
 --> fairway.toml:9:11
  |
4 | listen = [\"tcp://203.0.113.10:80\"]
  |           ----------------------- first here
...
9 | listen = [\"tcp://203.0.113.10:80\"]
  |           ^^^^^^^^^^^^^^^^^^^^^^^ again here
  |
  = help: let one service have it, or change address, port or protocol of the other

";
    assert_eq!(rendered, expected);
}

#[test]
fn a_program_gets_line_column_code_and_advice() {
    let text = "# é\n[node]\nnam = \"a\"\n";
    let json = serde_json::to_value(reports(&problems(text), text, "f.toml")).unwrap();
    let expected = serde_json::json!([{
        "file": "f.toml", "line": 3, "column": 1, "severity": "error", "code": "FW0002", "label": "",
        "message": "unknown key `nam` in `[node]`", "help": "did you mean `name`?",
    }]);
    assert_eq!(json, expected);
}

#[test]
fn terminal_escapes_of_the_file_do_not_reach_the_terminal() {
    let text = "\"\\u001b[2Jx\" = 1\n[[service]]\nname = \"a\"\nscheduler = \"\\u001b[2J\"\nlisten = [\"\\u001b\"]\n";
    let rendered = render(&problems(text), text, "f.toml", false);
    assert!(!rendered.contains('\u{1b}'), "{rendered:?}");
}

#[test]
fn a_large_file_full_of_problems_is_told_in_time() {
    let backends: String = (0..8000).map(|_| "[[service.backend]]\naddress = \"10.0.0.1\"\nport = 80\n").collect();
    let text = format!("{HEAD}{WEB}{backends}");
    let said = problems(&text);
    assert!(said.len() > 15_000);
    render(&said, &text, "f.toml", false);
}

#[test]
fn a_problem_of_a_layer_is_shown_in_the_layer_and_the_other_place_in_the_file() {
    let file = format!("{HEAD}{WEB}{ONE}");
    let layer = "[[service]]\nname = \"more\"\nlisten = [\"tcp://203.0.113.10:80\"]\nquorum = true\n";
    let problems = parse_layered(&file, layer, "host").unwrap_err();
    let texts = [Text { file: "f.toml", text: &file }, Text { file: "state/services.toml", text: layer }];
    let expected = "\
warning[FW0202]: service `more` has no backends: `on_no_backend` decides over all its packets
 --> state/services.toml:2:8
  |
2 | name = \"more\"
  |        ^^^^^^
  |
  = help: add a `[[service.backend]]`

error[FW0105]: listener `tcp://203.0.113.10:80` is there twice
 --> state/services.toml:3:11
  |
3 | listen = [\"tcp://203.0.113.10:80\"]
  |           ^^^^^^^^^^^^^^^^^^^^^^^ again here
  |
 ::: f.toml:4:11
  |
4 | listen = [\"tcp://203.0.113.10:80\"]
  |           ----------------------- first here
  |
  = help: let one service have it, or change address, port or protocol of the other

error[FW0003]: `quorum` must be an integer, 1 to 8192, not a boolean
 --> state/services.toml:4:10
  |
4 | quorum = true
  |          ^^^^

";
    assert_eq!(render_layered(&problems, texts, false), expected);
}

#[test]
fn a_layer_that_is_not_toml_is_shown_as_such() {
    let file = format!("{HEAD}{WEB}{ONE}");
    let problems = parse_layered(&file, "\n[[service]\n", "host").unwrap_err();
    let texts = [Text { file: "f.toml", text: &file }, Text { file: "layer.toml", text: "\n[[service]\n" }];
    let rendered = render_layered(&problems, texts, false);
    assert!(rendered.contains("--> layer.toml:2:11"), "{rendered}");
}
