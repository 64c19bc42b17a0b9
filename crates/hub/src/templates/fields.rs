//! What templates are filled in with: values that can be nothing but good once they were read.
//!
//! Each says what it wants, to a person in an error and to a program in the schema, in one place.

use std::{borrow::Cow, fmt, ops::Deref};

use jiff::civil;
use rust_decimal::Decimal;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{
    Deserialize, Deserializer,
    de::{self, Unexpected},
};
use url::Url;
/// Text in one line: `MIN` to `MAX` characters, and something to be seen unless `MIN` is 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text<const MIN: usize, const MAX: usize>(String);

/// Text that may have several lines: 1 to `MAX` characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lines<const MAX: usize>(String);

/// A decimal that is kept as it was written: a JSON string of digits, with a sign and a point if need be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Amount(pub Decimal);

/// A day: `2026-11-27`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Day(pub civil::Date);

/// An address that a button leads to: `https`, and without a password in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link(Url);

/// `MAX` of them at most.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct List<T, const MAX: usize>(Vec<T>);

const LINK_MAX: usize = 1024;
const AMOUNT_MAX: usize = 64;

impl<const MIN: usize, const MAX: usize> Text<MIN, MAX> {
    fn good(text: &str) -> bool {
        fits(text, MIN, MAX) && !text.chars().any(char::is_control)
    }
}

/// The number of characters, and that there is something to be seen where there must be something.
fn fits(text: &str, min: usize, max: usize) -> bool {
    (min == 0 || !text.trim().is_empty()) && text.chars().nth(max).is_none()
}

impl<'de, const MIN: usize, const MAX: usize> Deserialize<'de> for Text<MIN, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let blank = if MIN == 0 { "" } else { ", and not blank" };
        let wanted = format!("a line of {MIN} to {MAX} characters{blank}");
        read(deserializer, &wanted, |text| Self::good(text).then(|| Self(text.to_owned())))
    }
}

impl<'de, const MAX: usize> Deserialize<'de> for Lines<MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let good = |text: &str| fits(text, 1, MAX) && !text.chars().any(|c| c.is_control() && c != '\n');
        let wanted = format!("text of 1 to {MAX} characters, and not blank");
        read(deserializer, &wanted, |text| good(text).then(|| Self(text.to_owned())))
    }
}

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let wanted = "a decimal in a string such as \"12.50\", of at most 28 digits and without exponent";
        read(deserializer, wanted, |text| exact(text).map(Self))
    }
}

/// `Decimal` itself takes more than that: signs, underscores and missing digits.
fn exact(text: &str) -> Option<Decimal> {
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    let shaped = match unsigned.split_once('.') {
        Some((whole, fraction)) => digits(whole) && digits(fraction),
        None => digits(unsigned),
    };
    if !shaped || text.len() > AMOUNT_MAX { None } else { Decimal::from_str_exact(text).ok() }
}

impl<'de> Deserialize<'de> for Day {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Ten characters, because a time or a sign would be taken as well.
        let day = |text: &str| if text.len() == 10 { text.parse().ok().map(Self) } else { None };
        read(deserializer, "a day such as \"2026-11-27\"", day)
    }
}

impl<'de> Deserialize<'de> for Link {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let wanted =
            format!("an https:// address of at most {LINK_MAX} characters, without user and password");
        read(deserializer, &wanted, |text| {
            let url = Url::parse(text).ok().filter(|url| url.as_str().len() <= LINK_MAX)?;
            let bare = url.username().is_empty() && url.password().is_none();
            // Written in full: `Url` would also take `https:host`, spaces around it and line breaks inside.
            let whole =
                text.starts_with("https://") && !text.chars().any(|c| c.is_control() || c.is_whitespace());
            (whole && bare).then_some(Self(url))
        })
    }
}

impl<'de, T: Deserialize<'de>, const MAX: usize> Deserialize<'de> for List<T, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let items = Vec::deserialize(deserializer)?;
        if items.len() <= MAX {
            return Ok(Self(items));
        }
        Err(de::Error::invalid_length(items.len(), &format!("a list of at most {MAX}").as_str()))
    }
}

/// Reads a string. What was given is not repeated in the error that the API answers.
fn read<'de, D: Deserializer<'de>, T>(
    deserializer: D,
    wanted: &str,
    parse: impl Fn(&str) -> Option<T>,
) -> Result<T, D::Error> {
    struct Visitor<'a, F>(&'a str, F);

    impl<T, F: Fn(&str) -> Option<T>> de::Visitor<'_> for Visitor<'_, F> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
            (self.1)(text).ok_or_else(|| E::invalid_value(Unexpected::Str(text), &self))
        }
    }

    deserializer.deserialize_any(Visitor(wanted, parse))
}

impl<const MIN: usize, const MAX: usize> Deref for Text<MIN, MAX> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl<const MAX: usize> Deref for Lines<MAX> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl<T, const MAX: usize> Deref for List<T, MAX> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<T, const MAX: usize> Default for List<T, MAX> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl Deref for Link {
    type Target = str;

    fn deref(&self) -> &str {
        self.0.as_str()
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.strftime("%-d %B %Y").fmt(f)
    }
}

/// The schema of a field's type, which stands in the field's place.
macro_rules! schema {
    ([$($generics:tt)*] $field:ty, |$generator:pat_param| $schema:tt) => {
        impl<$($generics)*> JsonSchema for $field {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> Cow<'static, str> {
                stringify!($field).into()
            }

            fn json_schema($generator: &mut SchemaGenerator) -> Schema {
                json_schema!($schema)
            }
        }
    };
}

schema!([const MIN: usize, const MAX: usize] Text<MIN, MAX>, |_| {
    "type": "string", "minLength": MIN, "maxLength": MAX
});
schema!([const MAX: usize] Lines<MAX>, |_| { "type": "string", "minLength": 1, "maxLength": MAX });
schema!([] Amount, |_| { "type": "string", "pattern": "^-?[0-9]+(\\.[0-9]+)?$", "maxLength": AMOUNT_MAX });
schema!([] Day, |_| { "type": "string", "format": "date" });
schema!([] Link, |_| {
    "type": "string", "format": "uri", "pattern": "^https://[^\\s/?#@]+([/?#]\\S*)?$", "maxLength": LINK_MAX
});
schema!([T: JsonSchema, const MAX: usize] List<T, MAX>, |generator| {
    "type": "array", "items": T::json_schema(generator), "maxItems": MAX
});

#[cfg(test)]
mod tests {
    use serde::de::DeserializeOwned;
    use serde_json::{Value, json};

    use super::*;

    /// What is wrong with the value, if something is.
    fn refused<T: DeserializeOwned>(value: Value) -> Option<String> {
        serde_json::from_value::<T>(value).err().map(|error| error.to_string())
    }

    #[test]
    fn decimals_are_kept_as_they_were_written() {
        for text in [
            "0",
            "-1",
            "0.10",
            "1500000.00",
            "79228162514264337593543950335",
            "0.0000000000000000000000000001",
        ] {
            let Amount(read) = serde_json::from_value(json!(text)).unwrap();
            assert_eq!(read.to_string(), text);
        }
    }

    #[test]
    fn what_is_no_exact_decimal_is_refused() {
        let too_long = format!("0.{}1", "0".repeat(28));
        let (many, more) = ("9".repeat(40), "0".repeat(65));
        for bad in
            ["1e3", "NaN", "+1", "1_000", ".5", "1.", "", "-", " 1", "１", "0x1", &*too_long, &*many, &*more]
        {
            assert!(
                refused::<Amount>(json!(bad)).unwrap().contains("expected a decimal in a string"),
                "{bad}"
            );
        }
        for bad in [json!(1), json!(0.5), json!(null), json!(["1"])] {
            assert!(refused::<Amount>(bad.clone()).is_some(), "{bad}");
        }
    }

    #[test]
    fn text_has_its_length_in_characters_and_is_seen() {
        for good in ["ä", "🙂🙂🙂", " a "] {
            assert_eq!(refused::<Text<1, 3>>(json!(good)), None, "{good}");
        }
        for bad in ["", "   ", "\u{a0}", "four", "a\nb", "a\tb", "a\u{0}"] {
            let error = refused::<Text<1, 3>>(json!(bad)).unwrap();
            assert!(error.ends_with("expected a line of 1 to 3 characters, and not blank"), "{error}");
        }
        assert_eq!(refused::<Text<0, 3>>(json!("")), None);
        assert_eq!(refused::<Lines<3>>(json!("a\nb")), None);
        for bad in ["", "\n\n", "a\rb", "four"] {
            assert!(refused::<Lines<3>>(json!(bad)).is_some(), "{bad:?}");
        }
    }

    #[test]
    fn a_day_is_one_of_the_calendar() {
        let day: Day = serde_json::from_value(json!("2028-02-29")).unwrap();
        assert_eq!(day.to_string(), "29 February 2028");
        for bad in ["2026-02-29", "2026-1-1", "20261123", "2026-11-23T00:00", "2026-11-2 ", "tomorrow", ""] {
            assert!(refused::<Day>(json!(bad)).is_some(), "{bad}");
        }
    }

    #[test]
    fn a_link_goes_by_https_and_hides_nothing() {
        for good in ["https://product.example.com", "https://product.example.com/a?b=c&d=%20#e"] {
            assert_eq!(refused::<Link>(json!(good)), None, "{good}");
        }
        let long = format!("https://product.example.com/{}", "a".repeat(1024));
        for bad in [
            "http://product.example.com",
            "javascript:alert(1)",
            "product.example.com",
            "https:product.example.com",
            "https://",
            "https://user:password@product.example.com",
            "https://product.example.com/a b",
            " https://product.example.com",
            "https://product.example.com/\n",
            &*long,
        ] {
            assert!(refused::<Link>(json!(bad)).unwrap().contains("expected an https:// address"), "{bad}");
        }
    }
}
