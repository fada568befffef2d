//! What is made of the list of records in layout.rs: for each one
//!
//! - the struct, its fields in the order of the list; with the feature `layout-next` its twin, the same fields in the
//!   opposite order behind other padding, so that tests can migrate to another layout and back;
//! - `new`, which takes the fields and leaves padding zero;
//! - [`Record`]: how it is read and written by a description, whatever layout that is of;
//!
//! and of all together [`crate::describe::Field`], the entries of a description, and where this build's fields stand.

use crate::describe::Field;

/// A record of the maps.
pub trait Record: Sized {
    /// The entry of a description that is its size.
    const SIZE: Field;
    /// Reads it, field by field.
    fn read(from: &impl Reader) -> Self;
    /// Writes it, field by field; padding is left as it is.
    fn write(&self, to: &mut impl Writer);
}

/// Bytes of a record in some layout.
pub trait Reader {
    /// A field; zero where that layout doesn't have it.
    fn get<T: Value>(&self, field: Field) -> T;
}

/// Room for the bytes of a record in some layout.
pub trait Writer {
    /// Writes a field; nothing where that layout doesn't have it.
    fn put<T: Value>(&mut self, field: Field, value: T);
}

/// What a field is: numbers, and arrays of them. Any bytes are a value.
pub trait Value: Copy {
    /// All bytes zero.
    const ZERO: Self;
    /// Of its bytes as they lie in memory; zero where they are fewer.
    fn from_memory(bytes: &[u8]) -> Self;
    /// Its bytes as they lie in memory; `to` is as long as it is, or it stays.
    fn to_memory(&self, to: &mut [u8]);
}

macro_rules! number {
    ($($number:ty)*) => {
        $(impl Value for $number {
            const ZERO: Self = 0;
            fn from_memory(bytes: &[u8]) -> Self {
                bytes.try_into().map_or(0, <$number>::from_ne_bytes)
            }
            fn to_memory(&self, to: &mut [u8]) {
                if let Some(to) = to.as_mut_array() {
                    *to = self.to_ne_bytes();
                }
            }
        })*
    };
}
number!(u8 u16 u32 u64);

impl<T: Value, const N: usize> Value for [T; N] {
    const ZERO: Self = [T::ZERO; N];
    fn from_memory(bytes: &[u8]) -> Self {
        let mut all = Self::ZERO;
        for (one, bytes) in all.iter_mut().zip(bytes.chunks_exact(size_of::<T>())) {
            *one = T::from_memory(bytes);
        }
        all
    }
    fn to_memory(&self, to: &mut [u8]) {
        for (one, to) in self.iter().zip(to.chunks_exact_mut(size_of::<T>())) {
            one.to_memory(to);
        }
    }
}

/// The list, see layout.rs. A field of a description is named and numbered by hand, so that both can be searched for,
/// and a number stays when fields are added or go.
macro_rules! records {
    ($(
        $(#[$about:meta])*
        $record:ident as $size:ident = $size_number:literal {
            $(
                $(#[$field_about:meta])*
                $field:ident: $type:ty as $entry:ident = $number:literal,
            )*
            $(_: $pad:ty | $twin_pad:ty)?
        }
    )*) => {
        $(
            $(#[$about])*
            #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
            #[repr(C)]
            #[cfg(not(feature = "layout-next"))]
            pub struct $record {
                $($(#[$field_about])* pub $field: $type,)*
                $(
                    /// Zero.
                    pub pad: $pad,
                )?
            }

            crate::record::twin! {
                { $(#[$about])* } $record { $($twin_pad)? }
                [ $({ $(#[$field_about])* pub $field: $type, })* ] []
            }

            impl $record {
                /// One with these fields; padding is zero.
                #[inline(always)]
                #[allow(clippy::too_many_arguments, reason = "as many as it has fields")]
                pub const fn new($($field: $type),*) -> $record {
                    $record {
                        $($field,)*
                        $(
                            #[cfg(not(feature = "layout-next"))]
                            pad: <$pad as $crate::record::Value>::ZERO,
                            #[cfg(feature = "layout-next")]
                            pad: <$twin_pad as $crate::record::Value>::ZERO,
                        )?
                    }
                }
            }

            impl $crate::record::Record for $record {
                const SIZE: $crate::describe::Field = $crate::describe::Field::$size;
                #[inline(always)]
                fn read(from: &impl $crate::record::Reader) -> $record {
                    $record::new($(from.get($crate::describe::Field::$entry)),*)
                }
                #[inline(always)]
                fn write(&self, to: &mut impl $crate::record::Writer) {
                    $(to.put($crate::describe::Field::$entry, self.$field);)*
                }
            }
        )*

        /// What an entry of the description tells: the offset of a field in its record or the size of a record,
        /// in bytes.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(usize)]
        #[allow(missing_docs, reason = "the names are those of the records and their fields")]
        pub enum Field {
            $($size = $size_number, $($entry = $number,)*)*
        }

        /// The entries of this build, and what they tell.
        pub(crate) const ENTRIES: &[(Field, usize)] = &[
            $(
                (Field::$size, size_of::<$record>()),
                $((Field::$entry, core::mem::offset_of!($record, $field)),)*
            )*
        ];

        // No padding but what has a name: hash maps compare keys by all of their bytes.
        const _: () = {
            $(
                let fields = 0 $(+ size_of::<$type>())*;
                #[cfg(not(feature = "layout-next"))]
                let padding = 0 $(+ size_of::<$pad>())?;
                #[cfg(feature = "layout-next")]
                let padding = 0 $(+ size_of::<$twin_pad>())?;
                assert!(size_of::<$record>() == fields + padding);
            )*
        };

        /// The shape of all records, a line for each record and field: what its version stands for.
        #[cfg(test)]
        fn shape() -> String {
            let mut lines = Vec::new();
            $(
                lines.push(format!("{:2} {}: {} bytes", $size_number, stringify!($record), size_of::<$record>()));
                $(
                    let at = core::mem::offset_of!($record, $field);
                    lines.push(format!("{:2}   {}: {} at {at}", $number, stringify!($field), stringify!($type)));
                )*
            )*
            lines.join("\n")
        }
    };
}

/// A record's twin: its fields turned round, one after the other.
macro_rules! twin {
    ({ $(#[$about:meta])* } $record:ident { $($pad:ty)? } [] [$($turned:tt)*]) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(C)]
        #[cfg(feature = "layout-next")]
        pub struct $record {
            $(
                /// Zero.
                pub pad: $pad,
            )?
            $($turned)*
        }
    };
    ($about:tt $record:ident $pad:tt [{ $($field:tt)* } $($rest:tt)*] [$($turned:tt)*]) => {
        crate::record::twin! { $about $record $pad [$($rest)*] [$($field)* $($turned)*] }
    };
}

pub(crate) use {records, twin};
