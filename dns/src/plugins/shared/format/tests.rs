//! How texts are taken apart.

use super::*;

#[test]
fn placeholders_are_found_and_all_else_stays() {
    let text = |text: &str| Part::Text(text.to_owned());
    for (format, parts) in [
        ("", vec![]),
        ("plain", vec![text("plain")]),
        ("{type}", vec![Part::Label(Label::Type)]),
        ("{ {type} }", vec![text("{ "), Part::Label(Label::Type), text(" }")]),
        ("A } {name}", vec![text("A } "), Part::Label(Label::Name)]),
        ("a {X} {>id}b", vec![text("a {X} "), Part::Label(Label::Id), text("b")]),
        ("{/kubernetes/client-pod}", vec![Part::Metadata("kubernetes/client-pod".to_owned())]),
        ("{{{", vec![text("{{{")]),
        ("}}}", vec![text("}}}")]),
        ("{type", vec![text("{type")]),
    ] {
        assert_eq!(Format::parse(format).0, parts, "{format}");
    }
}
