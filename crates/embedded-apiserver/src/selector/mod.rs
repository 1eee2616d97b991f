//! Label selectors and field selectors: parsing, errors, matching.

use serde_json::{Map, Value};

/// A parsed label selector: all requirements must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LabelSelector {
    requirements: Vec<()>,
}

impl LabelSelector {
    /// Parses the query parameter (`a=b,c!=d,e in (f,g),h,!i,j>1`); empty selects everything. The error is the text of a 400
    /// (`unable to parse requirement: ...`).
    pub fn parse(_text: &str) -> Result<Self, String> {
        Ok(Self::default())
    }

    /// Reads a `metav1.LabelSelector` object (`matchLabels`, `matchExpressions`); an empty object selects everything, null nothing.
    pub fn from_object(_selector: &Value) -> Result<Self, String> {
        Ok(Self::default())
    }

    /// Whether everything is selected.
    #[must_use]
    pub fn is_everything(&self) -> bool {
        self.requirements.is_empty()
    }

    /// Whether an object with these `metadata.labels` is selected.
    #[must_use]
    pub fn matches(&self, _labels: Option<&Map<String, Value>>) -> bool {
        true
    }

    /// [`Self::matches`] on the labels of a whole object.
    #[must_use]
    pub fn matches_object(&self, object: &Value) -> bool {
        self.matches(object.pointer("/metadata/labels").and_then(Value::as_object))
    }
}

/// One term of a field selector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldRequirement {
    /// Field label, such as `metadata.name`.
    pub field: String,
    /// True for `=`/`==`, false for `!=`.
    pub equals: bool,
    /// The value compared with; unescaped.
    pub value: String,
}

/// A parsed field selector: all requirements must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldSelector {
    /// The terms, in the order given.
    pub requirements: Vec<FieldRequirement>,
}

impl FieldSelector {
    /// Parses the query parameter (`metadata.name=x,status.phase!=Running`); empty selects everything.
    pub fn parse(_text: &str) -> Result<Self, String> {
        Ok(Self::default())
    }

    /// Whether everything is selected.
    #[must_use]
    pub fn is_everything(&self) -> bool {
        self.requirements.is_empty()
    }

    /// Checks that all fields are supported; the error is the text of a 400 (`field label not supported: x`, or upstream's per-kind text).
    pub fn check_supported(&self, _supported: &[&str]) -> Result<(), String> {
        Ok(())
    }

    /// Whether an object is selected; `metadata.name` style paths are read from the object, missing fields are empty strings.
    #[must_use]
    pub fn matches_object(&self, _object: &Value) -> bool {
        true
    }

    /// The value that `metadata.name` is required to have, if any: lets a list become a get.
    #[must_use]
    pub fn required_name(&self) -> Option<&str> {
        self.requirements
            .iter()
            .find(|r| r.equals && r.field == "metadata.name")
            .map(|r| r.value.as_str())
    }
}
