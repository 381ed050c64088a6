//! Settings laid over settings.

use serde_json::Value;

/// Lays `over` over `base`: objects are merged field by field, everything else is replaced.
pub fn json(base: &mut Value, over: Value) {
    match (base, over) {
        (Value::Object(base), Value::Object(over)) => {
            for (name, value) in over {
                json(base.entry(name).or_insert(Value::Null), value);
            }
        }
        (base, over) => *base = over,
    }
}

/// The same for TOML tables.
pub fn toml(base: &mut toml::Table, over: toml::Table) {
    for (name, value) in over {
        match (base.get_mut(&name), value) {
            (Some(toml::Value::Table(base)), toml::Value::Table(over)) => toml(base, over),
            (_, value) => {
                base.insert(name, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn fields_of_both_sides_survive_and_the_upper_side_wins() {
        let mut base = json!({"a": {"x": 1, "y": 2}, "b": [1], "c": 3});
        json(&mut base, json!({"a": {"y": 9, "z": 4}, "b": [2]}));
        assert_eq!(base, json!({"a": {"x": 1, "y": 9, "z": 4}, "b": [2], "c": 3}));
    }

    #[test]
    fn tables_are_merged_and_values_replaced() {
        let mut base = "a = 1\n[t]\nx = 1\ny = 2".parse().unwrap();
        toml(&mut base, "b = 2\n[t]\ny = 3".parse().unwrap());
        assert_eq!(base, "a = 1\nb = 2\n[t]\nx = 1\ny = 3".parse::<toml::Table>().unwrap());
    }
}
