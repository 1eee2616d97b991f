//! Small macros for types whose JSON form is fixed: closed sets of strings, and specs that may be left out.
//!
//! Nothing here knows a kind; kinds use these macros so that each enum prints, parses and describes itself alike.

/// Declares an enum whose variants are fixed strings on the wire, with `as_str`, `Display`, serde and a schema.
macro_rules! wire_enum {
    (
        $(#[$outer:meta])*
        pub enum $name:ident {
            $( $(#[$inner:meta])* $variant:ident = $text:literal, )+
        }
    ) => {
        $(#[$outer])*
        #[derive(
            Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, ::serde::Serialize, ::serde::Deserialize,
        )]
        pub enum $name {
            $( $(#[$inner])* #[serde(rename = $text)] $variant, )+
        }

        impl $name {
            /// All values.
            pub const ALL: &'static [Self] = &[$( Self::$variant ),+];

            /// The value that a text stands for.
            pub fn parse(text: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|value| value.as_str() == text)
            }

            /// The text that stands for this value on the wire.
            pub fn as_str(self) -> &'static str {
                match self {
                    $( Self::$variant => $text, )+
                }
            }
        }

        impl ::std::fmt::Display for $name {
            fn fmt(&self, formatter: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                formatter.pad(self.as_str())
            }
        }

        impl ::schemars::JsonSchema for $name {
            fn schema_name() -> ::std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn schema_id() -> ::std::borrow::Cow<'static, str> {
                concat!(module_path!(), "::", stringify!($name)).into()
            }

            fn inline_schema() -> bool {
                true
            }

            fn json_schema(_: &mut ::schemars::SchemaGenerator) -> ::schemars::Schema {
                ::schemars::json_schema!({ "type": "string", "enum": [$( $text ),+] })
            }
        }
    };
}

/// Lets an object be read whose `spec` is absent, for kinds where the whole spec is optional.
///
/// The spec type derives serde with `remote = "Self"`; this adds the trait implementations on top. An absent field is
/// offered by serde as "none", which a plain struct would refuse.
#[macro_export]
macro_rules! spec_may_be_absent {
    ($name:ident) => {
        impl ::serde::Serialize for $name {
            fn serialize<S: ::serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                $name::serialize(self, serializer)
            }
        }

        impl<'de> ::serde::Deserialize<'de> for $name {
            fn deserialize<D: ::serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Spec;
                impl<'de> ::serde::de::Visitor<'de> for Spec {
                    type Value = $name;

                    fn expecting(&self, formatter: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                        formatter.write_str(stringify!($name))
                    }

                    fn visit_none<E: ::serde::de::Error>(self) -> Result<Self::Value, E> {
                        Ok($name::default())
                    }

                    fn visit_unit<E: ::serde::de::Error>(self) -> Result<Self::Value, E> {
                        Ok($name::default())
                    }

                    fn visit_some<D: ::serde::Deserializer<'de>>(
                        self,
                        inner: D,
                    ) -> Result<Self::Value, D::Error> {
                        $name::deserialize(inner)
                    }
                }
                deserializer.deserialize_option(Spec)
            }
        }
    };
}

pub(crate) use {spec_may_be_absent, wire_enum};
