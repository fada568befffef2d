//! JSON, by serde_json: one value straight onto a tape. It tells no lines; a problem has the object's.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use super::tape::{Tape, Value};
use super::yaml::Unreadable;

/// Reads one value. serde_json bounds its depth (128).
pub(crate) fn read(text: &[u8]) -> Result<Tape<'_>, Unreadable> {
    let mut tape = Tape::with_room_for(text.len());
    let mut reader = serde_json::Deserializer::from_slice(text);
    Any(&mut tape).deserialize(&mut reader).and_then(|()| reader.end()).map_err(|error| Unreadable {
        line: u32::try_from(error.line().saturating_sub(1)).unwrap_or(0),
        reason: error.to_string(),
    })?;
    Ok(tape)
}

struct Any<'t, 'a>(&'t mut Tape<'a>);

impl<'a> Any<'_, 'a> {
    fn put<E>(self, value: Value<'a>) -> Result<(), E> {
        self.0.push(value, 0);
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Any<'_, 'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Any<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        self.put(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<(), E> {
        self.put(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<(), E> {
        self.put(Value::Int(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<(), E> {
        self.put(i64::try_from(value).map_or(Value::Number, Value::Int))
    }

    fn visit_f64<E>(self, value: f64) -> Result<(), E> {
        self.put(Value::float(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<(), E> {
        self.put(Value::Text(Cow::Owned(value.to_string())))
    }

    fn visit_borrowed_str<E>(self, value: &'de str) -> Result<(), E> {
        self.put(Value::Text(Cow::Borrowed(value)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let at = self.0.push(Value::Seq, 0);
        while seq.next_element_seed(Any(&mut *self.0))?.is_some() {}
        self.0.close(at);
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let at = self.0.push(Value::Map, 0);
        while map.next_key_seed(Any(&mut *self.0))?.is_some() {
            map.next_value_seed(Any(&mut *self.0))?;
        }
        self.0.close(at);
        Ok(())
    }
}
