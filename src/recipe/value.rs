//! Values that recipes write as strings: sizes and times.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer};

/// A number of bytes, written `8GiB` (`B`, `KiB`, `MiB`, `GiB`, `TiB`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

/// A length of time, written `90s`, `30m` or `2h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(pub Duration);

/// Says why a text is no value of its kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotAValue {
    /// Not a size.
    #[error("`{0}` is not a size like `512MiB` or `8GiB`")]
    Size(String),
    /// Not a time.
    #[error("`{0}` is not a time like `90s`, `30m` or `2h`")]
    Time(String),
}

const SIZES: [(&str, u64); 5] =
    [("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("TiB", 1 << 40), ("B", 1)];
const TIMES: [(&str, u64); 3] = [("h", 3600), ("m", 60), ("s", 1)];

/// Reads a whole number above zero with one of the units.
fn number(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let (digits, unit) = units.iter().find_map(|(unit, value)| Some((text.strip_suffix(unit)?, value)))?;
    if digits.starts_with('0') || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    digits.parse::<u64>().ok()?.checked_mul(*unit)
}

/// Writes a number with the largest unit that leaves it whole.
fn write(f: &mut fmt::Formatter<'_>, value: u64, units: &[(&str, u64)]) -> fmt::Result {
    let fits = units.iter().filter(|(_, unit)| value.is_multiple_of(*unit));
    let (name, unit) = fits.max_by_key(|(_, unit)| *unit).expect("the smallest unit is 1");
    write!(f, "{}{name}", value / unit)
}

impl FromStr for Size {
    type Err = NotAValue;

    fn from_str(text: &str) -> Result<Self, NotAValue> {
        number(text, &SIZES).map(Self).ok_or_else(|| NotAValue::Size(text.to_owned()))
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write(f, self.0, &SIZES)
    }
}

impl FromStr for Time {
    type Err = NotAValue;

    fn from_str(text: &str) -> Result<Self, NotAValue> {
        let seconds = number(text, &TIMES).ok_or_else(|| NotAValue::Time(text.to_owned()))?;
        Ok(Self(Duration::from_secs(seconds)))
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write(f, self.0.as_secs(), &TIMES)
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for Size {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Size".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "format": "size", "pattern": "^[1-9][0-9]*([KMGT]i)?B$" })
    }
}

impl JsonSchema for Time {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Time".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "format": "time-span", "pattern": "^[1-9][0-9]*[hms]$" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_times_read_and_write() {
        for (text, value) in [("8GiB", 8 << 30), ("512MiB", 512 << 20), ("1B", 1), ("1536KiB", 1536 << 10)] {
            assert_eq!(text.parse::<Size>().unwrap(), Size(value));
            assert_eq!(Size(value).to_string(), text);
        }
        for (text, seconds) in [("2h", 7200), ("30m", 1800), ("90s", 90)] {
            assert_eq!(text.parse::<Time>().unwrap(), Time(Duration::from_secs(seconds)));
            assert_eq!(Time(Duration::from_secs(seconds)).to_string(), text);
        }
    }

    #[test]
    fn what_is_no_size_or_time_is_refused() {
        for text in ["", "8", "8GB", "-1GiB", "0B", "1.5GiB", "GiB", "99999999999TiB", "08GiB"] {
            assert_eq!(text.parse::<Size>(), Err(NotAValue::Size(text.to_owned())));
        }
        for text in ["", "2", "2 h", "h", "0s", "2d"] {
            assert_eq!(text.parse::<Time>(), Err(NotAValue::Time(text.to_owned())));
        }
    }
}
