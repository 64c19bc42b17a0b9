//! The query options by which messages are listed, with Graph's narrow rules for them.

use std::collections::HashMap;

use super::error::GraphError;

const TOP_DEFAULT: usize = 20;
const TOP_MAX: usize = 50;

/// Which messages are asked for.
#[derive(Debug)]
pub(super) struct Listing {
    pub(super) top: usize,
    /// Only ids above this one.
    above: u64,
    /// Only ids below this one.
    below: u64,
    /// The options to repeat in the link to the next page.
    options: Vec<(&'static str, String)>,
}

impl Listing {
    pub(super) fn read(query: &HashMap<String, String>) -> Result<Self, GraphError> {
        let option = |name: &str| query.get(name).map(String::as_str);
        let top = match option("$top").map(str::parse) {
            None => TOP_DEFAULT,
            Some(Ok(top)) if (1..=TOP_MAX).contains(&top) => top,
            Some(_) => return Err(GraphError::bad("The limit of '50' for Top query has been exceeded.")),
        };
        let order = option("$orderby").map(read_order).transpose()?;
        let (mut above, mut below) = (0, u64::MAX);
        if let Some(filter) = option("$filter") {
            for clause in filter.split(" and ") {
                let (property, operator, time_ms) = read_clause(clause)?;
                if order != Some(property) {
                    return Err(GraphError::bad("$filter needs $orderby of the same property."));
                }
                match (property, operator) {
                    (_, "lt") => below = below.min(time_ms),
                    ("lastModifiedDateTime", "gt") => above = above.max(time_ms),
                    _ => {
                        return Err(GraphError::bad(format!(
                            "'{operator}' is not supported for '{property}'."
                        )));
                    }
                }
            }
        }
        if let Some(token) = option("$skiptoken") {
            let before: u64 = token.parse().map_err(|_| GraphError::bad("Invalid skip token."))?;
            below = below.min(before);
        }
        let names = ["$top", "$orderby", "$filter"];
        let options = names.into_iter().filter_map(|name| option(name).map(|value| (name, value.to_owned())));
        Ok(Self { top, above, below, options: options.collect() })
    }

    /// Whether the message with this id, which is also its time, is asked for.
    pub(super) fn passes(&self, id: u64) -> bool {
        self.above < id && id < self.below
    }

    /// The query of the next page, after the message with this id.
    pub(super) fn after(&self, id: u64) -> String {
        url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(&self.options)
            .append_pair("$skiptoken", &id.to_string())
            .finish()
    }
}

/// Reads `createdDateTime desc`: the property. Ascending order is not supported.
fn read_order(order: &str) -> Result<&'static str, GraphError> {
    let (name, direction) = order.trim().split_once(' ').unwrap_or((order, "asc"));
    if direction.trim() != "desc" {
        return Err(GraphError::bad("OrderBy is only supported in descending order."));
    }
    property(name)
}

/// Reads `property operator time`; the time in ms.
fn read_clause(clause: &str) -> Result<(&'static str, &str, u64), GraphError> {
    let mut words = clause.split_whitespace();
    let (Some(name), Some(operator), Some(time), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(GraphError::bad("Invalid filter clause."));
    };
    let time: jiff::Timestamp =
        time.parse().map_err(|_| GraphError::bad("Invalid time in filter clause."))?;
    Ok((property(name)?, operator, u64::try_from(time.as_millisecond()).unwrap_or_default()))
}

fn property(name: &str) -> Result<&'static str, GraphError> {
    match name.trim() {
        "createdDateTime" => Ok("createdDateTime"),
        "lastModifiedDateTime" => Ok("lastModifiedDateTime"),
        _ => Err(GraphError::bad(format!("'{name}' is not supported here."))),
    }
}
