//! Reading JSON field by field, with errors that name the field.
//!
//! Keys are found in any case, as Go finds them: containerd writes `HostPort` where the conventions say `hostPort`. `null`
//! is the same as no such key, for Go writes it for an empty list.

use std::fmt;
use std::str::FromStr;

use serde_json::{Map, Value};

/// A field that is not what it should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}{wrong}", if path.is_empty() { String::new() } else { format!("{path}: ") })]
pub struct FieldError {
    /// Where it stands, as in `runtimeConfig.portMappings[0].hostPort`; empty: the whole.
    pub path: String,
    /// What is wrong with it.
    pub wrong: String,
}

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(crate) struct Field<'a> {
    path: String,
    value: &'a Value,
}

impl<'a> Field<'a> {
    pub(crate) fn whole(value: &'a Value) -> Field<'a> {
        Field { path: String::new(), value }
    }

    pub(crate) fn at(path: &str, value: &'a Value) -> Field<'a> {
        Field { path: path.to_owned(), value }
    }

    pub(crate) fn value(&self) -> &'a Value {
        self.value
    }

    /// "VALUE is not WHAT".
    pub(crate) fn is_not(&self, what: impl fmt::Display) -> FieldError {
        let mut shown: String = match self.value {
            Value::Array(_) => "a list".into(),
            Value::Object(_) => "an object".into(),
            other => other.to_string(),
        };
        if shown.chars().count() > 60 {
            shown = shown.chars().take(57).collect::<String>() + "...";
        }
        FieldError { path: self.path.clone(), wrong: format!("{shown} is not {what}") }
    }

    pub(crate) fn object(&self) -> Result<&'a Map<String, Value>, FieldError> {
        self.value.as_object().ok_or_else(|| self.is_not("an object"))
    }

    /// The field of this name; None if it is absent or null.
    pub(crate) fn get(&self, name: &str) -> Result<Option<Field<'a>>, FieldError> {
        let object = self.object()?;
        let in_any_case = || object.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value);
        let found = object.get(name).or_else(in_any_case).filter(|value| !value.is_null());
        Ok(found.map(|value| Field { path: self.path_of(name), value }))
    }

    /// The field of the first of these names that is there.
    pub(crate) fn get_either(&self, names: &[&str]) -> Result<Option<Field<'a>>, FieldError> {
        for name in names {
            if let Some(field) = self.get(name)? {
                return Ok(Some(field));
            }
        }
        Ok(None)
    }

    /// The field of this name, which must be there.
    pub(crate) fn need(&self, name: &str) -> Result<Field<'a>, FieldError> {
        let absent = || FieldError { path: self.path_of(name), wrong: "is missing".into() };
        self.get(name)?.ok_or_else(absent)
    }

    /// Where a member stands.
    pub(crate) fn path_of(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }

    pub(crate) fn list(&self) -> Result<impl Iterator<Item = Field<'a>> + use<'a>, FieldError> {
        let list = self.value.as_array().ok_or_else(|| self.is_not("a list"))?;
        let path = self.path.clone();
        Ok(list.iter().enumerate().map(move |(at, value)| Field { path: format!("{path}[{at}]"), value }))
    }

    pub(crate) fn text(&self) -> Result<&'a str, FieldError> {
        self.value.as_str().ok_or_else(|| self.is_not("a string"))
    }

    pub(crate) fn flag(&self) -> Result<bool, FieldError> {
        self.value.as_bool().ok_or_else(|| self.is_not("true or false"))
    }

    /// A whole number from `least` to `most`.
    pub(crate) fn number<T>(&self, least: T, most: T, what: &str) -> Result<T, FieldError>
    where
        T: TryFrom<u64> + PartialOrd + fmt::Display,
    {
        let number = self.value.as_u64().and_then(|number| T::try_from(number).ok());
        let number = number.filter(|number| (&least..=&most).contains(&number));
        number.ok_or_else(|| self.is_not(format!("{what} ({least} to {most})")))
    }

    /// A string that is read by its type.
    pub(crate) fn parse<T: FromStr>(&self, what: &str) -> Result<T, FieldError> {
        self.text()?.trim().parse().map_err(|_| self.is_not(what))
    }

    /// The same, None where the string is empty.
    pub(crate) fn parse_filled<T: FromStr>(&self, what: &str) -> Result<Option<T>, FieldError> {
        if self.text()?.trim().is_empty() { Ok(None) } else { self.parse(what).map(Some) }
    }

    /// A list of strings.
    pub(crate) fn texts(&self) -> Result<Vec<String>, FieldError> {
        self.list()?.map(|one| one.text().map(str::to_owned)).collect()
    }
}

/// The list at a name, each read by `read`; empty if there is none.
pub(crate) fn list_of<'a, T>(
    field: &Field<'a>,
    name: &str,
    read: impl Fn(&Field<'a>) -> Result<T, FieldError>,
) -> Result<Vec<T>, FieldError> {
    match field.get(name)? {
        Some(list) => list.list()?.map(|one| read(&one)).collect(),
        None => Ok(Vec::new()),
    }
}
