//! A template, run for a question.

use super::RunError;
use super::function::Function;
use super::parser::{Base, Branch, BranchKind, Command, Node, Operand, Pipe};
use super::value::{Subject, Thing, Value};

/// The longest text of a template in bytes: no record has a longer one.
const LONGEST: usize = 1 << 20;
/// The most nodes that are gone through: loops in loops end.
const STEPS: usize = 100_000;
/// What is said of more.
const ENDLESS: &str = "the template does not come to an end";

/// The text of nodes.
pub(super) fn run(nodes: &[Node], subject: &dyn Subject) -> Result<String, RunError> {
    let mut run = Run { subject, out: String::new(), variables: Vec::new(), steps: 0 };
    run.nodes(nodes, &Value::Thing(Thing::Root))?;
    Ok(run.out)
}

/// How nodes end.
#[derive(PartialEq, Eq)]
enum Flow {
    On,
    Break,
    Continue,
}

struct Run<'a> {
    subject: &'a dyn Subject,
    out: String,
    variables: Vec<(String, Value)>,
    steps: usize,
}

impl Run<'_> {
    fn nodes(&mut self, nodes: &[Node], dot: &Value) -> Result<Flow, RunError> {
        for node in nodes {
            self.steps += 1;
            if self.steps > STEPS || self.out.len() > LONGEST {
                return Err(ENDLESS.into());
            }
            match node {
                Node::Text(text) => self.out.push_str(text),
                Node::Print(pipe) => {
                    let value = self.pipe(pipe, dot)?;
                    self.name(pipe, &value);
                    if pipe.variables.is_empty() {
                        self.out.push_str(&value.to_string());
                    }
                }
                Node::Branch(branch) => {
                    let variables = self.variables.len();
                    let flow = self.branch(branch, dot)?;
                    self.variables.truncate(variables);
                    if flow != Flow::On {
                        return Ok(flow);
                    }
                }
                Node::Break => return Ok(Flow::Break),
                Node::Continue => return Ok(Flow::Continue),
            }
        }
        Ok(Flow::On)
    }

    /// Gives a pipeline's value to its variable.
    fn name(&mut self, pipe: &Pipe, value: &Value) {
        if let Some(name) = pipe.variables.first() {
            self.set(name, pipe.assigns, value.clone());
        }
    }

    fn set(&mut self, name: &str, assigns: bool, value: Value) {
        let known = self.variables.iter_mut().rfind(|(known, _)| assigns && known == name);
        match known {
            Some((_, old)) => *old = value,
            None => self.variables.push((name.to_owned(), value)),
        }
    }

    fn branch(&mut self, branch: &Branch, dot: &Value) -> Result<Flow, RunError> {
        let value = self.pipe(&branch.pipe, dot)?;
        if branch.kind == BranchKind::Range {
            return self.range(branch, value, dot);
        }
        self.name(&branch.pipe, &value);
        match (value.is_true(), branch.kind) {
            (false, _) => self.nodes(&branch.otherwise, dot),
            (true, BranchKind::With) => self.nodes(&branch.body, &value),
            (true, _) => self.nodes(&branch.body, dot),
        }
    }

    fn range(&mut self, branch: &Branch, value: Value, dot: &Value) -> Result<Flow, RunError> {
        let items: Vec<(Value, Value)> = match value {
            Value::List(list) => {
                list.into_iter().enumerate().map(|(n, item)| (Value::Number(n as i128), item)).collect()
            }
            Value::Map(map) => map.into_iter().map(|(name, item)| (Value::Text(name), item)).collect(),
            Value::Number(count) if count > STEPS as i128 => return Err(ENDLESS.into()),
            Value::Number(count) => (0..count).map(|n| (Value::Number(n), Value::Number(n))).collect(),
            Value::Nothing => Vec::new(),
            other => return Err(format!("range can't go over {}", other.kind()).into()),
        };
        if items.is_empty() {
            return self.nodes(&branch.otherwise, dot);
        }
        let pipe = &branch.pipe;
        for (key, item) in items {
            self.steps += 1;
            let variables = self.variables.len();
            match pipe.variables.as_slice() {
                [one] => self.set(one, pipe.assigns, item.clone()),
                [one, two, ..] => {
                    self.set(one, pipe.assigns, key);
                    self.set(two, pipe.assigns, item.clone());
                }
                [] => {}
            }
            let flow = self.nodes(&branch.body, &item)?;
            self.variables.truncate(variables);
            if flow == Flow::Break {
                break;
            }
        }
        Ok(Flow::On)
    }

    fn pipe(&mut self, pipe: &Pipe, dot: &Value) -> Result<Value, RunError> {
        let mut value = None;
        for command in &pipe.commands {
            value = Some(self.command(command, dot, value)?);
        }
        Ok(value.unwrap_or(Value::Nothing))
    }

    /// A command that is given the value of the one before.
    fn command(&mut self, command: &Command, dot: &Value, given: Option<Value>) -> Result<Value, RunError> {
        let Base::Function(function) = command.operand.base else {
            let mut args = Vec::new();
            for arg in &command.args {
                args.push(self.operand(arg, dot, None)?);
            }
            args.extend(given);
            return self.operand(&command.operand, dot, args.first());
        };
        let mut args = Vec::new();
        for arg in &command.args {
            args.push(self.operand(arg, dot, None)?);
            let last = args.last().is_some_and(Value::is_true);
            // The rest is not looked at.
            if (function == Function::And && !last) || (function == Function::Or && last) {
                return function.call(&args);
            }
        }
        args.extend(given);
        if function.takes(args.len()) {
            function.call(&args)
        } else {
            Err(format!("{} does not take {} values", function.name(), args.len()).into())
        }
    }

    fn operand(&mut self, operand: &Operand, dot: &Value, arg: Option<&Value>) -> Result<Value, RunError> {
        let mut value = match &operand.base {
            Base::Dot => dot.clone(),
            Base::Variable(name) if name.is_empty() => Value::Thing(Thing::Root),
            Base::Variable(name) => {
                let found = self.variables.iter().rfind(|(known, _)| known == name);
                found.map(|(_, value)| value.clone()).ok_or_else(|| format!("${name} is not there"))?
            }
            Base::Literal(value) => value.clone(),
            Base::Function(function) => function.call(&[])?,
            Base::Pipe(pipe) => self.pipe(pipe, dot)?,
        };
        for field in &operand.fields {
            value = match value {
                Value::Thing(Thing::Root) if field == "Meta" => match arg {
                    Some(Value::Text(label)) => Value::Text(self.subject.meta(label)),
                    _ => return Err(".Meta takes one label".into()),
                },
                Value::Thing(thing) => {
                    self.subject.field(thing, field).ok_or_else(|| format!("{} has no .{field}", thing.name()))?
                }
                Value::Map(map) => map.get(field).cloned().unwrap_or(Value::Nothing),
                other => return Err(format!("{} has no .{field}", other.kind()).into()),
            };
        }
        Ok(value)
    }
}
