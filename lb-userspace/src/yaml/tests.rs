//! Documents become trees with the places of their fields.

use super::*;

const TEXT: &str = "\
kind: Service
metadata:
  labels: {a.b/c: x}
spec:
  ports:
  - port: 80
    name: http
";

#[track_caller]
fn check(field: &str, line: u64, column: u64) {
    let tree = &read(TEXT).unwrap()[0];
    assert_eq!(tree.position_of(field), Some(Position { line, column }), "{field}");
}

#[test]
fn a_field_is_found_where_it_stands() {
    check("kind", 1, 7);
    check("spec.ports[0].port", 6, 11);
    check("spec.ports[0].name", 7, 11);
    check("metadata.labels[a.b/c]", 3, 19);
}

#[test]
fn a_missing_field_is_shown_where_it_would_be() {
    check("spec.ports[0].nodePort", 6, 5);
    check("spec.ports[7].port", 6, 5);
    check("spec.clusterIP", 5, 3);
    check("status.loadBalancer", 1, 1);
}

#[test]
fn what_was_not_understood_is_named() {
    let tree = &read("a: {b: 1, c: null}\nd: [{e: 1}, {f: 2}]\n").unwrap()[0];
    let all = serde_json::json!({"a": {"b": 1}, "d": [{"e": 1}, {"f": 2}]});
    assert_eq!(tree.unknown_field(&all), None);
    let some = serde_json::json!({"a": {"b": 1}, "d": [{"e": 1}, {}]});
    assert_eq!(tree.unknown_field(&some).as_deref(), Some("d[1].f"));
    let none = serde_json::json!({"d": [{"e": 1}, {"f": 2}]});
    assert_eq!(tree.unknown_field(&none).as_deref(), Some("a"));
}

#[test]
fn what_is_no_yaml_is_shown_in_its_place() {
    for (text, line) in [
        ("a: 1\n b: 2\n", 2),
        ("a: 1\na: 2\n", 2),
        ("a:\n\tb: 1\n", 2),
        ("a: [1, 2\n", 1),
        ("{\"a\": 1,,}\n", 1),
    ] {
        let error = read(text).unwrap_err();
        assert_eq!(error.position.map(|position| position.line), Some(line), "{error:?}");
        assert!(!error.message.is_empty() && !error.message.contains(" line "), "{error:?}");
    }
}

#[test]
fn nothing_but_comments_is_no_document() {
    for text in ["", "---\n", "# only this\n", "---\n---\n# and this\n---\n"] {
        assert_eq!(read(text).unwrap(), [], "{text:?}");
    }
}

#[test]
fn json_may_be_indented_by_tabs() {
    let tree = &read("{\n\t\"kind\": \"List\",\n\t\"items\": [\n\t\t1\n\t]\n}\n").unwrap()[0];
    assert_eq!(tree.text("kind"), Some("List"));
    assert_eq!(tree.get("items").unwrap().items().len(), 1);
}

proptest::proptest! {
    #[test]
    fn reading_never_panics(text in "[-\\[\\]{}:,\"'#&*!|> \\n\\ta-c0-2]{0,200}") {
        let _ = read(&text);
    }
}
