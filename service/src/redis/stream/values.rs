//! Elements of a reply that the redis crate has read already.

use redis::Value;

use super::{Elements, Stuck};

/// A walk through a value, depth first.
pub(super) struct Walk<'a> {
    /// What comes next, the nearest last.
    ahead: Vec<Node<'a>>,
}

enum Node<'a> {
    Value(&'a Value),
    /// Protocol 3 sends as a map of streams what protocol 2 sends as an array of pairs.
    Pair(&'a (Value, Value)),
}

impl<'a> Walk<'a> {
    pub(super) fn new(value: &'a Value) -> Self {
        Self { ahead: vec![Node::Value(value)] }
    }

    fn enter(&mut self, nodes: impl ExactSizeIterator<Item = Node<'a>> + DoubleEndedIterator) -> usize {
        let length = nodes.len();
        self.ahead.extend(nodes.rev());
        length
    }
}

impl<'a> Elements<'a> for Walk<'a> {
    fn array(&mut self) -> Result<Option<usize>, Stuck> {
        match self.ahead.pop() {
            Some(Node::Value(Value::Nil)) => Ok(None),
            Some(Node::Value(Value::Array(items) | Value::Set(items))) => {
                Ok(Some(self.enter(items.iter().map(Node::Value))))
            }
            Some(Node::Value(Value::Map(pairs))) => Ok(Some(self.enter(pairs.iter().map(Node::Pair)))),
            Some(Node::Pair((key, value))) => {
                Ok(Some(self.enter([Node::Value(key), Node::Value(value)].into_iter())))
            }
            _ => Err(Stuck::Wrong("an array was expected")),
        }
    }

    fn text(&mut self) -> Result<&'a [u8], Stuck> {
        match self.ahead.pop() {
            Some(Node::Value(Value::BulkString(bytes))) => Ok(bytes),
            Some(Node::Value(Value::SimpleString(text))) => Ok(text.as_bytes()),
            _ => Err(Stuck::Wrong("a string was expected")),
        }
    }
}
