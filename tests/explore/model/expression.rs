//! Condition and update expressions (Amazon DynamoDB Developer Guide, "Using expressions"), as far as the store uses them.
//! Stricter than DynamoDB in one respect: every name and value must go through a placeholder.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::dynamodb::Item;

/// Why a request is not valid.
pub type Invalid = String;

/// The words of one request's expressions, with their placeholders resolved.
pub struct Expressions<'a> {
    names: BTreeMap<&'a str, &'a str>,
    values: BTreeMap<&'a str, &'a Value>,
    used: BTreeSet<String>,
}

impl<'a> Expressions<'a> {
    pub fn of(request: &'a Value) -> Result<Self, Invalid> {
        let map = |name: &str| -> Result<Vec<(&'a str, &'a Value)>, Invalid> {
            match request.get(name).map(Value::as_object) {
                None => Ok(Vec::new()),
                Some(Some(map)) if !map.is_empty() => {
                    Ok(map.iter().map(|(k, v)| (k.as_str(), v)).collect())
                }
                Some(_) => Err(format!("{name} must not be empty")),
            }
        };
        let names = map("ExpressionAttributeNames")?;
        Ok(Self {
            names: names
                .into_iter()
                .map(|(k, v)| (k, v.as_str().unwrap()))
                .collect(),
            values: map("ExpressionAttributeValues")?.into_iter().collect(),
            used: BTreeSet::new(),
        })
    }

    /// DynamoDB refuses a placeholder that no expression uses.
    pub fn all_used(&self) -> Result<(), Invalid> {
        let defined = self.names.keys().chain(self.values.keys());
        for placeholder in defined {
            if !self.used.contains(*placeholder) {
                return Err(format!("unused in expressions: {placeholder}"));
            }
        }
        Ok(())
    }

    fn name(&mut self, word: &str) -> Result<String, Invalid> {
        self.used.insert(word.to_owned());
        let name = self.names.get(word);
        name.map(|name| (*name).to_owned())
            .ok_or_else(|| format!("no such name: {word}"))
    }

    fn value(&mut self, word: &str) -> Result<Value, Invalid> {
        self.used.insert(word.to_owned());
        let value = self.values.get(word);
        value
            .map(|value| (*value).clone())
            .ok_or_else(|| format!("no such value: {word}"))
    }

    /// Whether the item meets the condition. A part that decides nothing is read as well, as DynamoDB does.
    pub fn condition(&mut self, expression: &str, item: Option<&Item>) -> Result<bool, Invalid> {
        let words = words(expression);
        let mut condition = Condition {
            expressions: self,
            item,
            words: &words,
        };
        let met = condition.or()?;
        match condition.words {
            [] => Ok(met),
            [word, ..] => Err(format!("unexpected in a condition: {word}")),
        }
    }

    /// Changes the item as the update expression says: all clauses see the item as it was.
    pub fn update(&mut self, expression: &str, item: &mut Item) -> Result<(), Invalid> {
        let mut changed = BTreeSet::new();
        let mut clause = String::new();
        for part in clauses(expression) {
            let (keyword, words) = part;
            if let Some(keyword) = keyword {
                clause = keyword;
            }
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            let name = self.name(words.first().copied().unwrap_or_default())?;
            if matches!(&*name, "pk" | "sk") {
                return Err("the key cannot be changed".to_owned());
            }
            if !changed.insert(name.clone()) {
                return Err(format!("two clauses change {name}"));
            }
            match (&*clause, &words[1..]) {
                ("SET", ["=", value]) => {
                    let value = self.value(value)?;
                    item.insert(name, value);
                }
                ("REMOVE", []) => {
                    item.remove(&name);
                }
                ("ADD", [value]) => {
                    let value = self.value(value)?;
                    let add = number(&value).ok_or("ADD takes a number")?;
                    let old = match item.get(&name) {
                        None => 0,
                        Some(old) => number(old).ok_or("ADD to something else")?,
                    };
                    item.insert(name, json!({ "N": (old + add).to_string() }));
                }
                _ => return Err(format!("not served: {clause} {words:?}")),
            }
        }
        Ok(())
    }
}

struct Condition<'e, 'a, 'w> {
    expressions: &'e mut Expressions<'a>,
    item: Option<&'e Item>,
    words: &'w [String],
}

impl Condition<'_, '_, '_> {
    fn next(&mut self) -> Result<String, Invalid> {
        let (word, rest) = self.words.split_first().ok_or("the condition ends early")?;
        self.words = rest;
        Ok(word.clone())
    }

    fn skip(&mut self, word: &str) -> bool {
        let found = self.words.first().is_some_and(|next| next == word);
        if found {
            self.words = &self.words[1..];
        }
        found
    }

    fn or(&mut self) -> Result<bool, Invalid> {
        let mut met = self.and()?;
        while self.skip("OR") {
            met |= self.and()?;
        }
        Ok(met)
    }

    fn and(&mut self) -> Result<bool, Invalid> {
        let mut met = self.one()?;
        while self.skip("AND") {
            met &= self.one()?;
        }
        Ok(met)
    }

    fn one(&mut self) -> Result<bool, Invalid> {
        if self.skip("(") {
            let met = self.or()?;
            return if self.skip(")") {
                Ok(met)
            } else {
                Err("a parenthesis is missing".to_owned())
            };
        }
        let word = self.next()?;
        if matches!(&*word, "attribute_exists" | "attribute_not_exists") {
            if !self.skip("(") {
                return Err(format!("{word} without a parenthesis"));
            }
            let name = self.next()?;
            let name = self.expressions.name(&name)?;
            let exists = self.item.is_some_and(|item| item.contains_key(&name));
            if !self.skip(")") {
                return Err("a parenthesis is missing".to_owned());
            }
            return Ok(exists == (word == "attribute_exists"));
        }
        let name = self.expressions.name(&word)?;
        let operator = self.next()?;
        let value = self.next()?;
        let value = self.expressions.value(&value)?;
        let stored = self.item.and_then(|item| item.get(&name));
        compare(stored, &operator, &value)
    }
}

/// An absent attribute equals nothing, and so differs from everything.
fn compare(stored: Option<&Value>, operator: &str, value: &Value) -> Result<bool, Invalid> {
    let equal = stored == Some(value);
    let numbers = stored.and_then(number).zip(number(value));
    Ok(match operator {
        "=" => equal,
        "<>" => !equal,
        "<" => numbers.is_some_and(|(a, b)| a < b),
        "<=" => numbers.is_some_and(|(a, b)| a <= b),
        ">" => numbers.is_some_and(|(a, b)| a > b),
        ">=" => numbers.is_some_and(|(a, b)| a >= b),
        _ => return Err(format!("not served: {operator}")),
    })
}

fn number(value: &Value) -> Option<i128> {
    value.get("N")?.as_str()?.parse().ok()
}

fn words(expression: &str) -> Vec<String> {
    let mut spaced = String::new();
    for c in expression.chars() {
        if matches!(c, '(' | ')' | ',') {
            spaced.extend([' ', c, ' ']);
        } else {
            spaced.push(c);
        }
    }
    spaced.split_whitespace().map(str::to_owned).collect()
}

/// The parts of an update expression between commas and keywords; the first of each clause has its keyword.
fn clauses(expression: &str) -> Vec<(Option<String>, Vec<String>)> {
    let mut clauses: Vec<(Option<String>, Vec<String>)> = Vec::new();
    for word in words(expression) {
        match &*word {
            "SET" | "REMOVE" | "ADD" | "DELETE" => clauses.push((Some(word), Vec::new())),
            "," => clauses.push((None, Vec::new())),
            _ => match clauses.last_mut() {
                Some((_, words)) => words.push(word),
                None => clauses.push((None, vec![word])),
            },
        }
    }
    clauses
}
