//! The tokens of a template become nodes.

use super::TemplateError;
use super::function::Function;
use super::token::{Piece, Placed, Token};
use super::value::Value;

/// How deep blocks and parentheses may nest.
const DEPTH: usize = 50;

#[derive(Clone, Debug)]
pub(super) enum Node {
    Text(String),
    Print(Pipe),
    Branch(Branch),
    Break,
    Continue,
}

/// What a branch does with the value of its pipeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BranchKind {
    If,
    /// It becomes the dot.
    With,
    /// Each of its items does.
    Range,
}

#[derive(Clone, Debug)]
pub(super) struct Branch {
    pub(super) kind: BranchKind,
    pub(super) pipe: Pipe,
    pub(super) body: Vec<Node>,
    pub(super) otherwise: Vec<Node>,
}

/// Commands of which each takes the value of the one before as its last argument; the value may be given a name.
#[derive(Clone, Debug)]
pub(super) struct Pipe {
    /// The variables it is given to; two in a `range`.
    pub(super) variables: Vec<String>,
    /// They are there already.
    pub(super) assigns: bool,
    pub(super) commands: Vec<Command>,
    pub(super) at: usize,
}

#[derive(Clone, Debug)]
pub(super) struct Command {
    pub(super) operand: Operand,
    pub(super) args: Vec<Operand>,
}

#[derive(Clone, Debug)]
pub(super) struct Operand {
    pub(super) base: Base,
    /// The fields that are asked for in turn.
    pub(super) fields: Vec<String>,
    pub(super) at: usize,
}

#[derive(Clone, Debug)]
pub(super) enum Base {
    Dot,
    /// By name; empty: the dot at the start.
    Variable(String),
    Literal(Value),
    Function(Function),
    Pipe(Box<Pipe>),
}

/// The nodes of a template of `length` bytes.
pub(super) fn parse(pieces: Vec<Piece>, length: usize) -> Result<Vec<Node>, TemplateError> {
    let mut parser = Parser { pieces: pieces.into_iter(), length, scope: Vec::new(), ranges: 0, depth: 0 };
    let (nodes, end) = parser.nodes()?;
    match end {
        End::Text => Ok(nodes),
        End::Else(_, at) => Err(TemplateError::new(at, "{{else}} without {{if}}, {{with}} or {{range}}")),
        End::Closed(at) => Err(TemplateError::new(at, "{{end}} without {{if}}, {{with}} or {{range}}")),
    }
}

/// What nodes end with.
enum End {
    Text,
    /// The tokens behind `else`.
    Else(Vec<Placed>, usize),
    Closed(usize),
}

struct Parser {
    pieces: std::vec::IntoIter<Piece>,
    length: usize,
    /// The variables that are there.
    scope: Vec<String>,
    ranges: usize,
    depth: usize,
}

impl Parser {
    fn nodes(&mut self) -> Result<(Vec<Node>, End), TemplateError> {
        let mut nodes = Vec::new();
        while let Some(piece) = self.pieces.next() {
            let (tokens, at) = match piece {
                Piece::Text(text) => {
                    nodes.push(Node::Text(text));
                    continue;
                }
                Piece::Action(tokens, at) => (tokens, at),
            };
            let Some(first) = tokens.first() else { return Err(TemplateError::new(at, "the action is empty")) };
            let keyword = if let Token::Word(word) = &first.token { word.as_str() } else { "" };
            let behind = || tokens[1..].to_vec();
            match keyword {
                "if" => nodes.push(self.branch(BranchKind::If, behind(), at)?),
                "with" => nodes.push(self.branch(BranchKind::With, behind(), at)?),
                "range" => nodes.push(self.branch(BranchKind::Range, behind(), at)?),
                "else" => return Ok((nodes, End::Else(behind(), at))),
                "end" if tokens.len() == 1 => return Ok((nodes, End::Closed(at))),
                "break" | "continue" if tokens.len() == 1 && self.ranges == 0 => {
                    return Err(TemplateError::new(at, format!("{{{{{keyword}}}}} outside {{{{range}}}}")));
                }
                "break" if tokens.len() == 1 => nodes.push(Node::Break),
                "continue" if tokens.len() == 1 => nodes.push(Node::Continue),
                "define" | "template" | "block" => {
                    return Err(TemplateError::new(at, format!("{keyword} is known from Go, but not supported here")));
                }
                _ => nodes.push(Node::Print(self.whole_pipe(&tokens, 1, at)?)),
            }
        }
        Ok((nodes, End::Text))
    }

    fn branch(&mut self, kind: BranchKind, tokens: Vec<Placed>, at: usize) -> Result<Node, TemplateError> {
        self.deeper(at)?;
        let variables = self.scope.len();
        let pipe = self.whole_pipe(&tokens, if kind == BranchKind::Range { 2 } else { 1 }, at)?;
        self.ranges += usize::from(kind == BranchKind::Range);
        let (body, end) = self.nodes()?;
        self.ranges -= usize::from(kind == BranchKind::Range);
        let otherwise = match end {
            End::Closed(_) => Vec::new(),
            End::Text => return Err(TemplateError::new(at, "it has no {{end}}")),
            End::Else(tokens, at) => self.otherwise(tokens, at)?,
        };
        self.scope.truncate(variables);
        self.depth -= 1;
        Ok(Node::Branch(Branch { kind, pipe, body, otherwise }))
    }

    /// What stands behind `else`: nodes, or one more branch that shares its `end`.
    fn otherwise(&mut self, tokens: Vec<Placed>, at: usize) -> Result<Vec<Node>, TemplateError> {
        let kind = match tokens.first().map(|placed| &placed.token) {
            Some(Token::Word(word)) if word == "if" => Some(BranchKind::If),
            Some(Token::Word(word)) if word == "with" => Some(BranchKind::With),
            Some(_) => return Err(TemplateError::new(at, "behind else stands nothing, if or with")),
            None => None,
        };
        if let Some(kind) = kind {
            return Ok(vec![self.branch(kind, tokens[1..].to_vec(), at)?]);
        }
        let (nodes, end) = self.nodes()?;
        match end {
            End::Closed(_) => Ok(nodes),
            End::Else(_, at) => Err(TemplateError::new(at, "a second {{else}}")),
            End::Text => Err(TemplateError::new(at, "it has no {{end}}")),
        }
    }

    fn deeper(&mut self, at: usize) -> Result<(), TemplateError> {
        self.depth += 1;
        if self.depth > DEPTH { Err(TemplateError::new(at, format!("more than {DEPTH} levels"))) } else { Ok(()) }
    }

    /// A pipeline that is all of an action.
    fn whole_pipe(&mut self, tokens: &[Placed], most: usize, at: usize) -> Result<Pipe, TemplateError> {
        let mut rest = tokens;
        let pipe = self.pipe(&mut rest, most, at)?;
        match rest.first() {
            None => Ok(pipe),
            Some(placed) => Err(TemplateError::new(placed.at, "the parenthesis closes nothing")),
        }
    }

    /// A pipeline up to the end or a closing parenthesis; it may name up to `most` variables.
    fn pipe(&mut self, rest: &mut &[Placed], most: usize, at: usize) -> Result<Pipe, TemplateError> {
        let mut pipe = Pipe { variables: Vec::new(), assigns: false, commands: Vec::new(), at };
        self.declaration(rest, most, &mut pipe)?;
        loop {
            let command = self.command(rest, at)?;
            let is_value = !matches!(command.operand.base, Base::Function(_)) && command.operand.fields.is_empty();
            if is_value && !pipe.commands.is_empty() {
                return Err(TemplateError::new(
                    command.operand.at,
                    "a value can't take another; a function must stand here",
                ));
            }
            pipe.commands.push(command);
            match rest.first().map(|placed| &placed.token) {
                Some(Token::Sign("|")) => *rest = &rest[1..],
                _ => break,
            }
        }
        // A variable is there from behind its pipeline on.
        if !pipe.assigns {
            self.scope.extend(pipe.variables.iter().cloned());
        }
        Ok(pipe)
    }

    fn declaration(&self, rest: &mut &[Placed], most: usize, pipe: &mut Pipe) -> Result<(), TemplateError> {
        let kinds: Vec<&Token> = rest.iter().take(4).map(|placed| &placed.token).collect();
        let (names, sign, taken) = match kinds.as_slice() {
            [Token::Variable(one), Token::Sign(sign @ (":=" | "=")), ..] => (vec![one], sign, 2),
            [Token::Variable(one), Token::Sign(","), Token::Variable(two), Token::Sign(sign @ (":=" | "="))] => {
                (vec![one, two], sign, 4)
            }
            _ => return Ok(()),
        };
        let at = rest[0].at;
        if names.len() > most {
            return Err(TemplateError::new(at, "only range gives two variables"));
        }
        if let Some(unknown) = names.iter().find(|name| *sign == "=" && !self.scope.contains(name)) {
            return Err(TemplateError::new(at, format!("${unknown} is not there yet; write :=")));
        }
        pipe.variables = names.into_iter().cloned().collect();
        pipe.assigns = *sign == "=";
        *rest = &rest[taken..];
        Ok(())
    }

    fn command(&mut self, rest: &mut &[Placed], at: usize) -> Result<Command, TemplateError> {
        let mut operands = Vec::new();
        while let Some(placed) = rest.first() {
            if matches!(placed.token, Token::Sign("|" | ")")) {
                break;
            }
            operands.push(self.operand(rest)?);
        }
        let at = rest.first().map_or(if at == 0 { 0 } else { at.min(self.length) }, |placed| placed.at);
        let mut operands = operands.into_iter();
        let operand = operands.next().ok_or_else(|| TemplateError::new(at, "a value is missing"))?;
        let args: Vec<Operand> = operands.collect();
        let is_method = operand.fields.last().is_some_and(|field| field == "Meta");
        if let (false, Some(arg), false) = (matches!(operand.base, Base::Function(_)), args.first(), is_method) {
            return Err(TemplateError::new(arg.at, "only a function takes values"));
        }
        Ok(Command { operand, args })
    }

    fn operand(&mut self, rest: &mut &[Placed]) -> Result<Operand, TemplateError> {
        let Some(placed) = rest.first() else { return Err(TemplateError::new(self.length, "a value is missing")) };
        let at = placed.at;
        *rest = &rest[1..];
        let mut fields = Vec::new();
        let base = match &placed.token {
            Token::Dot => Base::Dot,
            Token::Field(name) => {
                fields.push(name.clone());
                Base::Dot
            }
            Token::Variable(name) if name.is_empty() || self.scope.contains(name) => Base::Variable(name.clone()),
            Token::Variable(name) => return Err(TemplateError::new(at, format!("${name} is not there"))),
            Token::Text(text) => Base::Literal(Value::Text(text.clone())),
            Token::Number(number) => Base::Literal(Value::Number(*number)),
            Token::Word(word) => match word.as_str() {
                "true" => Base::Literal(Value::Bool(true)),
                "false" => Base::Literal(Value::Bool(false)),
                "nil" => Base::Literal(Value::Nothing),
                name => {
                    Base::Function(Function::named(name).map_err(|error| TemplateError::new(at, error.to_string()))?)
                }
            },
            Token::Sign("(") => {
                self.deeper(at)?;
                let pipe = self.pipe(rest, 0, at)?;
                self.depth -= 1;
                match rest.first().map(|placed| &placed.token) {
                    Some(Token::Sign(")")) => *rest = &rest[1..],
                    _ => return Err(TemplateError::new(at, "the parenthesis is not closed")),
                }
                Base::Pipe(Box::new(pipe))
            }
            Token::Sign(sign) => return Err(TemplateError::new(at, format!("{sign} can't stand here"))),
        };
        while let Some(Placed { token: Token::Field(name), is_joined: true, .. }) = rest.first() {
            fields.push(name.clone());
            *rest = &rest[1..];
        }
        Ok(Operand { base, fields, at })
    }
}
