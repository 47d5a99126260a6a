//! YAML (and with it JSON) as a tree that knows where everything stands, so that every mistake can
//! be shown in its place. What the tree means is not known here.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use serde_saphyr::{Error, Spanned, UserMessageFormatter};

use crate::model::Position;

/// A value and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Tree {
    node: Node,
    position: Option<Position>,
}

#[derive(Clone, Debug, PartialEq)]
enum Node {
    Scalar(Value),
    List(Vec<Tree>),
    Map(Vec<(String, Tree)>),
}

/// Text that is no YAML.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NotYaml {
    pub(crate) position: Option<Position>,
    pub(crate) message: String,
}

/// Reads all documents of a text. Empty ones are left out.
pub(crate) fn read(text: &str) -> Result<Vec<Tree>, NotYaml> {
    // The default budget is meant for input from strangers and ends at 1,024 documents. Its limits of
    // depth and of aliases stay.
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_documents: usize::MAX,
            max_events: usize::MAX,
            max_nodes: usize::MAX,
            max_total_scalar_bytes: usize::MAX,
        },
    };
    serde_saphyr::from_multiple_with_options(text, options).map_err(|error| NotYaml::of(&error))
}

impl Tree {
    /// Where it stands.
    pub(crate) fn position(&self) -> Option<Position> {
        self.position
    }

    /// The member of a map.
    pub(crate) fn get(&self, key: &str) -> Option<&Self> {
        match &self.node {
            Node::Map(members) => {
                members.iter().find(|(name, _)| name == key).map(|(_, value)| value)
            }
            Node::Scalar(_) | Node::List(_) => None,
        }
    }

    /// The members of a map, in its order.
    pub(crate) fn members(&self) -> &[(String, Self)] {
        match &self.node {
            Node::Map(members) => members,
            Node::Scalar(_) | Node::List(_) => &[],
        }
    }

    /// The value, if it is neither list nor map.
    pub(crate) fn scalar(&self) -> Option<&Value> {
        match &self.node {
            Node::Scalar(value) => Some(value),
            Node::List(_) | Node::Map(_) => None,
        }
    }

    /// The text of a member of a map.
    pub(crate) fn text(&self, key: &str) -> Option<&str> {
        match &self.get(key)?.node {
            Node::Scalar(Value::String(text)) => Some(text),
            _ => None,
        }
    }

    /// The items of a list.
    pub(crate) fn items(&self) -> &[Self] {
        match &self.node {
            Node::List(items) => items,
            Node::Scalar(_) | Node::Map(_) => &[],
        }
    }

    pub(crate) fn is_list(&self) -> bool {
        matches!(self.node, Node::List(_))
    }

    pub(crate) fn is_map(&self) -> bool {
        matches!(self.node, Node::Map(_))
    }

    /// The value without its places.
    pub(crate) fn to_value(&self) -> Value {
        match &self.node {
            Node::Scalar(value) => value.clone(),
            Node::List(items) => items.iter().map(Self::to_value).collect(),
            Node::Map(members) => {
                members.iter().map(|(key, value)| (key.clone(), value.to_value())).collect()
            }
        }
    }

    /// Where a field stands, as in `spec.ports[0].port` or `metadata.labels[a.b/c]`; where it is
    /// missing, what would contain it.
    pub(crate) fn position_of(&self, field: &str) -> Option<Position> {
        let mut found = self;
        for step in steps(field) {
            let next = match &found.node {
                Node::List(items) => step.parse().ok().and_then(|index: usize| items.get(index)),
                Node::Map(_) => found.get(step),
                Node::Scalar(_) => None,
            };
            match next {
                Some(next) => found = next,
                None => break,
            }
        }
        found.position.or(self.position)
    }

    /// The first field that stands in this tree but not in `known`, which holds what was understood
    /// of it.
    pub(crate) fn unknown_field(&self, known: &Value) -> Option<String> {
        match (&self.node, known) {
            (Node::Map(members), Value::Object(known)) => {
                members.iter().find_map(|(key, value)| match known.get(key) {
                    Some(known) => value.unknown_field(known).map(|rest| join(key, &rest)),
                    None => (!value.is_nothing()).then(|| key.clone()),
                })
            }
            (Node::List(items), Value::Array(known)) => {
                items.iter().zip(known).enumerate().find_map(|(index, (item, known))| {
                    item.unknown_field(known).map(|rest| join(&format!("[{index}]"), &rest))
                })
            }
            _ => None,
        }
    }

    /// Absent fields may be written as `null`.
    fn is_nothing(&self) -> bool {
        self.node == Node::Scalar(Value::Null)
    }
}

fn join(head: &str, rest: &str) -> String {
    if rest.starts_with('[') { format!("{head}{rest}") } else { format!("{head}.{rest}") }
}

/// The keys and indices of a field's path, from the outside in. Brackets hold indices, and keys with
/// dots in them.
fn steps(field: &str) -> impl Iterator<Item = &str> {
    let mut rest = field;
    std::iter::from_fn(move || {
        rest = rest.trim_start_matches('.');
        if rest.is_empty() {
            return None;
        }
        let (step, after) = match rest.strip_prefix('[') {
            Some(inside) => inside.split_once(']').unwrap_or((inside, "")),
            None => rest.split_at(rest.find(['.', '[']).unwrap_or(rest.len())),
        };
        rest = after;
        Some(step)
    })
}

impl NotYaml {
    fn of(error: &Error) -> Self {
        let position = error
            .location()
            .map(|location| Position { line: location.line(), column: location.column() });
        let message = error.without_snippet().render_with_formatter(&UserMessageFormatter);
        // The place is shown in front.
        let end = message.rfind(" at line ").unwrap_or(message.len());
        Self { position, message: message[..end].to_owned() }
    }
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Spanned { value: node, referenced, .. } = Spanned::<Node>::deserialize(deserializer)?;
        let position = Position { line: referenced.line(), column: referenced.column() };
        Ok(Self { node, position: (position.line > 0).then_some(position) })
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Scalar(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
        Ok(Node::Scalar(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
        Ok(Node::Scalar(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Node, E> {
        Ok(Node::Scalar(value.into()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Node, E> {
        Ok(Node::Scalar(value.into()))
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Scalar(Value::Null))
    }

    fn visit_none<E>(self) -> Result<Node, E> {
        Ok(Node::Scalar(Value::Null))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Node, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element()? {
            items.push(item);
        }
        Ok(Node::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Node, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = access.next_entry()? {
            members.push(member);
        }
        Ok(Node::Map(members))
    }
}

#[cfg(test)]
mod tests;
