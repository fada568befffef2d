//! The tokens of an expression become a tree, by expr-lang's precedence.

use ipnet::IpNet;
use regex::Regex;

use super::ExpressionError;
use super::function::{Function, network};
use super::token::{Placed, Token};
use super::value::Value;
use crate::plugins::shared::pattern;

/// How deep an expression may nest, and how many parts it may have.
const DEPTH: usize = 50;
const PARTS: usize = 1000;

#[derive(Debug)]
pub(super) struct Expr {
    pub(super) node: Node,
    pub(super) at: usize,
}

#[derive(Debug)]
pub(super) enum Node {
    Literal(Value),
    List(Vec<Expr>),
    Call(Function, Vec<Expr>),
    /// `incidr` of a network that is known.
    Within(Box<Expr>, IpNet),
    /// `matches` of a pattern that is known.
    Matches(Box<Expr>, Regex),
    Not(Box<Expr>),
    Minus(Box<Expr>),
    Binary(&'static str, Box<Expr>, Box<Expr>),
    Conditional(Box<[Expr; 3]>),
    Index(Box<Expr>, Box<Expr>),
    Slice(Box<Expr>, Option<Box<Expr>>, Option<Box<Expr>>),
    /// A list, and what is computed of each item.
    Each(&'static str, Box<Expr>, Box<Expr>),
    /// The item.
    Item,
    /// The value of a variable, and where it is used.
    Let(Box<Expr>, Box<Expr>),
    /// By how many there are.
    Variable(usize),
}

/// What takes a list and an expression of its items.
const EACH: [&str; 6] = ["all", "any", "none", "count", "filter", "map"];
const COMPARISONS: [&str; 4] = ["<", ">", "<=", ">="];

/// Precedence of an operator; `**` alone takes what is on its right first.
fn precedence(sign: &str) -> Option<u16> {
    Some(match sign {
        "|" => 0,
        "or" | "||" => 10,
        "and" | "&&" => 15,
        "==" | "!=" | "<" | ">" | ">=" | "<=" | "in" | "matches" | "contains" | "startsWith" | "endsWith" => 20,
        ".." => 25,
        "+" | "-" => 30,
        "*" | "/" | "%" => 60,
        "**" | "^" => 100,
        "??" => 500,
        _ => return None,
    })
}

pub(super) fn parse(tokens: Vec<Placed>, length: usize) -> Result<Expr, ExpressionError> {
    let mut parser = Parser { tokens, next: 0, length, depth: 0, parts: 0, items: 0, variables: Vec::new() };
    let expr = parser.sequence()?;
    match parser.tokens.get(parser.next) {
        None => Ok(expr),
        Some(placed) => Err(ExpressionError::new(placed.at, format!("{} is not expected here", shown(&placed.token)))),
    }
}

fn shown(token: &Token) -> String {
    match token {
        Token::Word(text) => text.clone(),
        Token::Text(text) => format!("{text:?}"),
        Token::Int(number) => number.to_string(),
        Token::Float(number) => number.to_string(),
        Token::Sign(sign) => (*sign).to_owned(),
    }
}

struct Parser {
    tokens: Vec<Placed>,
    next: usize,
    length: usize,
    depth: usize,
    parts: usize,
    /// How many lists' items we are in.
    items: usize,
    variables: Vec<String>,
}

impl Parser {
    fn sign(&self) -> Option<&'static str> {
        match self.tokens.get(self.next).map(|placed| &placed.token) {
            Some(Token::Sign(sign)) => Some(sign),
            _ => None,
        }
    }

    fn at(&self) -> usize {
        self.tokens.get(self.next).map_or(self.length, |placed| placed.at)
    }

    /// Takes a sign if it is next.
    fn takes(&mut self, sign: &str) -> bool {
        let is_next = self.sign() == Some(sign);
        self.next += usize::from(is_next);
        is_next
    }

    fn expect(&mut self, sign: &str) -> Result<(), ExpressionError> {
        if self.takes(sign) {
            return Ok(());
        }
        let found = self.tokens.get(self.next).map_or("the end".to_owned(), |placed| shown(&placed.token));
        Err(ExpressionError::new(self.at(), format!("{sign} is expected here, not {found}")))
    }

    fn expr(&mut self, node: Node, at: usize) -> Result<Expr, ExpressionError> {
        self.parts += 1;
        if self.parts > PARTS {
            return Err(ExpressionError::new(at, format!("the expression has more than {PARTS} parts")));
        }
        Ok(Expr { node, at })
    }

    /// An expression, in front of which variables may be named.
    fn sequence(&mut self) -> Result<Expr, ExpressionError> {
        let at = self.at();
        if !self.takes("let") {
            return self.expression(0);
        }
        self.deeper()?;
        let Some(Token::Word(name)) = self.tokens.get(self.next).map(|placed| placed.token.clone()) else {
            return Err(ExpressionError::new(self.at(), "the name of a variable is expected here"));
        };
        self.next += 1;
        self.expect("=")?;
        let value = self.expression(0)?;
        self.expect(";")?;
        self.variables.push(name);
        let body = self.sequence()?;
        self.variables.pop();
        self.depth -= 1;
        self.expr(Node::Let(Box::new(value), Box::new(body)), at)
    }

    fn deeper(&mut self) -> Result<(), ExpressionError> {
        self.depth += 1;
        if self.depth > DEPTH {
            return Err(ExpressionError::new(self.at(), format!("more than {DEPTH} levels")));
        }
        Ok(())
    }

    fn expression(&mut self, least: u16) -> Result<Expr, ExpressionError> {
        self.deeper()?;
        let mut left = self.primary()?;
        loop {
            let at = self.at();
            let is_negated = self.sign() == Some("not");
            if is_negated {
                self.next += 1;
            }
            let can_be_negated = matches!(self.sign(), Some("in" | "matches" | "contains" | "startsWith" | "endsWith"));
            let found = self.sign().and_then(|sign| Some((sign, precedence(sign)?)));
            let Some((sign, precedence)) = found.filter(|(_, of)| *of >= least && (!is_negated || can_be_negated))
            else {
                self.next -= usize::from(is_negated);
                break;
            };
            self.next += 1;
            left = match sign {
                "|" => self.piped(left)?,
                _ if COMPARISONS.contains(&sign) => self.comparison(left, sign, precedence, at)?,
                _ => {
                    let right = self.expression(if precedence == 100 { 100 } else { precedence + 1 })?;
                    self.binary(sign, left, right, at)?
                }
            };
            if is_negated {
                left = self.expr(Node::Not(Box::new(left)), at)?;
            }
        }
        if least == 0 && self.sign() == Some("?") {
            left = self.conditional(left)?;
        }
        self.depth -= 1;
        Ok(left)
    }

    fn conditional(&mut self, condition: Expr) -> Result<Expr, ExpressionError> {
        let at = self.at();
        self.expect("?")?;
        let yes = self.expression(0)?;
        self.expect(":")?;
        let no = self.expression(0)?;
        self.expr(Node::Conditional(Box::new([condition, yes, no])), at)
    }

    fn binary(&mut self, sign: &'static str, left: Expr, right: Expr, at: usize) -> Result<Expr, ExpressionError> {
        let node = match (sign, &right.node) {
            ("matches", Node::Literal(Value::Text(text))) => {
                let pattern = pattern::compile(text).map_err(|why| ExpressionError::new(right.at, why))?;
                Node::Matches(Box::new(left), pattern)
            }
            _ => Node::Binary(sign, Box::new(left), Box::new(right)),
        };
        self.expr(node, at)
    }

    /// A comparison. `a < b < c` would mean that both are so.
    fn comparison(
        &mut self,
        left: Expr,
        sign: &'static str,
        precedence: u16,
        at: usize,
    ) -> Result<Expr, ExpressionError> {
        let right = self.expression(precedence + 1)?;
        if self.sign().is_some_and(|next| COMPARISONS.contains(&next)) {
            let text = "comparisons in a row are known from expr, but not supported here: join them by and";
            return Err(ExpressionError::new(self.at(), text));
        }
        self.binary(sign, left, right, at)
    }

    /// `value | function(…)`: the value is the function's first.
    fn piped(&mut self, first: Expr) -> Result<Expr, ExpressionError> {
        let at = self.at();
        let Some(Token::Word(name)) = self.tokens.get(self.next).map(|placed| placed.token.clone()) else {
            return Err(ExpressionError::new(at, "behind | a function is expected"));
        };
        self.next += 1;
        let call = self.call(&name, vec![first], at)?;
        self.postfix(call)
    }

    fn primary(&mut self) -> Result<Expr, ExpressionError> {
        let at = self.at();
        let Some(placed) = self.tokens.get(self.next) else {
            return Err(ExpressionError::new(at, "a value is expected here"));
        };
        let token = placed.token.clone();
        self.next += 1;
        let expr = match token {
            Token::Sign("not" | "!") => {
                let of = self.expression(50)?;
                self.expr(Node::Not(Box::new(of)), at)?
            }
            Token::Sign(sign @ ("-" | "+")) => {
                let of = self.expression(90)?;
                if sign == "-" { self.expr(Node::Minus(Box::new(of)), at)? } else { of }
            }
            Token::Sign("(") => {
                let inside = self.sequence()?;
                self.expect(")")?;
                inside
            }
            Token::Sign("[") => {
                let items = self.values("]")?;
                self.expr(Node::List(items), at)?
            }
            Token::Sign("#") if self.items > 0 => self.expr(Node::Item, at)?,
            Token::Sign("#") => {
                return Err(ExpressionError::new(at, "# is an item of a list, in all(list, # …) and the like"));
            }
            Token::Sign("{") => {
                return Err(ExpressionError::new(at, "maps are known from expr, but not supported here"));
            }
            Token::Sign(sign @ ("if" | "::")) => {
                return Err(ExpressionError::new(at, format!("{sign} is known from expr, but not supported here")));
            }
            Token::Sign(sign) => return Err(ExpressionError::new(at, format!("{sign} is not expected here"))),
            Token::Text(text) => self.expr(Node::Literal(Value::Text(text)), at)?,
            Token::Int(number) => self.expr(Node::Literal(Value::Int(number)), at)?,
            Token::Float(number) => self.expr(Node::Literal(Value::Float(number)), at)?,
            Token::Word(word) => self.word(&word, at)?,
        };
        self.postfix(expr)
    }

    fn word(&mut self, word: &str, at: usize) -> Result<Expr, ExpressionError> {
        let node = match word {
            "true" => Node::Literal(Value::Bool(true)),
            "false" => Node::Literal(Value::Bool(false)),
            "nil" => Node::Literal(Value::Nil),
            _ if self.sign() == Some("(") => return self.call(word, Vec::new(), at),
            _ => match self.variables.iter().rposition(|known| known == word) {
                Some(place) => Node::Variable(place),
                None if Function::named(word).is_ok() => {
                    return Err(ExpressionError::new(at, format!("{word} is a function; write {word}()")));
                }
                None => {
                    return Err(ExpressionError::new(
                        at,
                        format!("there is nothing called {word}; text stands in quotes"),
                    ));
                }
            },
        };
        self.expr(node, at)
    }

    /// Values between commas, up to a bracket.
    fn values(&mut self, close: &str) -> Result<Vec<Expr>, ExpressionError> {
        let mut values = Vec::new();
        while !self.takes(close) {
            if !values.is_empty() {
                self.expect(",")?;
                // A comma may stand behind the last.
                if self.takes(close) {
                    break;
                }
            }
            values.push(self.expression(0)?);
        }
        Ok(values)
    }

    fn call(&mut self, name: &str, mut args: Vec<Expr>, at: usize) -> Result<Expr, ExpressionError> {
        self.expect("(")?;
        if let Some(each) = EACH.into_iter().find(|known| *known == name) {
            return self.each(each, args.pop(), at);
        }
        let function = Function::named(name).map_err(|error| ExpressionError::new(at, error.to_string()))?;
        args.extend(self.values(")")?);
        let (takes, least, _) = function.signature();
        if !(least..=takes.len()).contains(&args.len()) {
            let takes = if least == takes.len() { least.to_string() } else { format!("{least} to {}", takes.len()) };
            return Err(ExpressionError::new(at, format!("{name} takes {takes} values, has {}", args.len())));
        }
        if let (Function::InCidr, [_, Expr { node: Node::Literal(Value::Text(text)), at: place }]) =
            (function, &args[..])
        {
            let net = network(text).map_err(|error| ExpressionError::new(*place, error.to_string()))?;
            let address = args.swap_remove(0);
            return self.expr(Node::Within(Box::new(address), net), at);
        }
        self.expr(Node::Call(function, args), at)
    }

    fn each(&mut self, each: &'static str, given: Option<Expr>, at: usize) -> Result<Expr, ExpressionError> {
        let list = match given {
            Some(list) => list,
            None => {
                let list = self.expression(0)?;
                self.expect(",")?;
                list
            }
        };
        let braced = self.takes("{");
        self.items += 1;
        let of = self.sequence()?;
        self.items -= 1;
        if braced {
            self.expect("}")?;
        }
        self.expect(")")?;
        self.expr(Node::Each(each, Box::new(list), Box::new(of)), at)
    }

    fn postfix(&mut self, mut expr: Expr) -> Result<Expr, ExpressionError> {
        loop {
            let at = self.at();
            if matches!(self.sign(), Some("." | "?.")) {
                return Err(ExpressionError::new(at, "fields are known from expr, but nothing here has any"));
            }
            if !self.takes("[") {
                return Ok(expr);
            }
            let from = if self.sign() == Some(":") { None } else { Some(Box::new(self.expression(0)?)) };
            let node = if self.takes(":") {
                let to = if self.sign() == Some("]") { None } else { Some(Box::new(self.expression(0)?)) };
                Node::Slice(Box::new(expr), from, to)
            } else if let Some(index) = from {
                Node::Index(Box::new(expr), index)
            } else {
                return Err(ExpressionError::new(at, "an index is expected in the brackets"));
            };
            self.expect("]")?;
            expr = self.expr(node, at)?;
        }
    }
}
