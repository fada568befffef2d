//! What can be known of a template before it runs: that the fields it asks for are there, that functions take as many
//! values as they are given.

use super::TemplateError;
use super::format;
use super::function::Function;
use super::parser::{Base, Branch, BranchKind, Command, Node, Operand, Pipe};
use super::value::{Kind, Thing, Value};

pub(super) fn check(nodes: &[Node]) -> Result<(), TemplateError> {
    Check { dot: Kind::Thing(Thing::Root) }.nodes(nodes)
}

#[derive(Clone, Copy)]
struct Check {
    dot: Kind,
}

impl Check {
    fn nodes(self, nodes: &[Node]) -> Result<(), TemplateError> {
        for node in nodes {
            match node {
                Node::Print(pipe) => {
                    let kind = self.pipe(pipe)?;
                    if let (Kind::Thing(thing), true) = (kind, pipe.variables.is_empty()) {
                        let text = format!("{} can't be written; ask for one of its fields", thing.name());
                        return Err(TemplateError::new(pipe.at, text));
                    }
                }
                Node::Branch(branch) => self.branch(branch)?,
                Node::Text(_) | Node::Break | Node::Continue => {}
            }
        }
        Ok(())
    }

    fn branch(self, branch: &Branch) -> Result<(), TemplateError> {
        let kind = self.pipe(&branch.pipe)?;
        let dot = match branch.kind {
            BranchKind::If => self.dot,
            BranchKind::With => kind,
            BranchKind::Range => Kind::Unknown,
        };
        Check { dot }.nodes(&branch.body)?;
        self.nodes(&branch.otherwise)
    }

    fn pipe(self, pipe: &Pipe) -> Result<Kind, TemplateError> {
        let mut kind = Kind::Unknown;
        for (n, command) in pipe.commands.iter().enumerate() {
            kind = self.command(command, usize::from(n > 0))?;
        }
        Ok(kind)
    }

    fn command(self, command: &Command, given: usize) -> Result<Kind, TemplateError> {
        for arg in &command.args {
            self.operand(arg, 0)?;
        }
        let count = command.args.len() + given;
        let Base::Function(function) = &command.operand.base else { return self.operand(&command.operand, count) };
        check_call(*function, command, count)?;
        if command.operand.fields.is_empty() {
            return Ok(Kind::Unknown);
        }
        Err(TemplateError::new(command.operand.at, format!("{} is a function, which has no fields", function.name())))
    }

    /// An operand that is given `count` values.
    fn operand(self, operand: &Operand, count: usize) -> Result<Kind, TemplateError> {
        let mut kind = match &operand.base {
            Base::Dot => self.dot,
            Base::Variable(name) if name.is_empty() => Kind::Thing(Thing::Root),
            Base::Variable(_) => Kind::Unknown,
            Base::Literal(_) => Kind::Plain,
            Base::Function(function) => {
                // As a value it stands alone, and takes nothing.
                if function.takes(0) {
                    return Ok(Kind::Unknown);
                }
                return Err(TemplateError::new(operand.at, format!("put ({} …) in parentheses", function.name())));
            }
            Base::Pipe(pipe) => self.pipe(pipe)?,
        };
        for (n, field) in operand.fields.iter().enumerate() {
            let is_last = n + 1 == operand.fields.len();
            if field == "Meta" && matches!(kind, Kind::Thing(Thing::Root) | Kind::Unknown) {
                if kind == Kind::Thing(Thing::Root) && !(is_last && count == 1) {
                    return Err(TemplateError::new(operand.at, ".Meta takes one label, as .Meta \"plugin/label\""));
                }
                kind = Kind::Plain;
                continue;
            }
            kind = self.field(kind, field, operand.at)?;
        }
        Ok(kind)
    }

    fn field(self, of: Kind, name: &str, at: usize) -> Result<Kind, TemplateError> {
        match of {
            Kind::Unknown => Ok(Kind::Unknown),
            Kind::Map => Ok(Kind::Plain),
            Kind::Plain | Kind::List => Err(TemplateError::new(at, format!("what .{name} is asked of has no fields"))),
            Kind::Thing(thing) => match thing.fields().iter().find(|(known, _)| *known == name) {
                Some((_, kind)) => Ok(*kind),
                None => {
                    let known: Vec<_> = thing.fields().iter().map(|(known, _)| format!(".{known}")).collect();
                    let (of, known) = (thing.name(), known.join(", "));
                    Err(TemplateError::new(at, format!("{of} has no .{name} here; known are {known}")))
                }
            },
        }
    }
}

fn check_call(function: Function, command: &Command, count: usize) -> Result<(), TemplateError> {
    let at = command.operand.at;
    if !function.takes(count) {
        return Err(TemplateError::new(at, format!("{} does not take {count} values", function.name())));
    }
    if let (Function::Printf, Some(Operand { base: Base::Literal(Value::Text(text)), at, .. })) =
        (function, command.args.first())
    {
        format::check(text).map_err(|error| TemplateError::new(*at, error.to_string()))?;
    }
    Ok(())
}
