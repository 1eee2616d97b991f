//! Content negotiation: which of the forms we can write does the client want most?

use crate::http::status::{ApiError, ApiResult};

/// One acceptable form: media type and parameters.
#[derive(Debug, Clone)]
struct Clause {
    media_type: String,
    parameters: Vec<(String, String)>,
}

impl Clause {
    fn parameter(&self, key: &str) -> &str {
        self.parameters
            .iter()
            .find(|(k, _)| k == key)
            .map_or("", |(_, value)| value)
    }
}

/// A read `Accept` header.
#[derive(Debug, Clone, Default)]
pub(crate) struct Accept {
    clauses: Vec<Clause>,
}

/// How the bytes are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encoding {
    Json,
    Yaml,
}

/// What is written in place of the object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Form {
    /// The object itself.
    Object,
    /// `meta.k8s.io/<version>` Table.
    Table(String),
    /// `meta.k8s.io/<version>` PartialObjectMetadata, or its list, as was asked.
    Metadata(String, Whole),
}

/// What the client takes the answer for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Whole {
    Object,
    List,
}

impl Form {
    pub fn is_of_lists(&self) -> bool {
        matches!(self, Self::Metadata(_, Whole::List))
    }

    pub fn is_of_objects(&self) -> bool {
        matches!(self, Self::Metadata(_, Whole::Object))
    }
}

/// The chosen answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Output {
    pub encoding: Encoding,
    pub form: Form,
}

impl Output {
    /// Plain JSON.
    pub fn json() -> Self {
        Self {
            encoding: Encoding::Json,
            form: Form::Object,
        }
    }
}

impl Accept {
    pub fn parse(header: &str) -> Self {
        let clauses = header
            .split(',')
            .map(str::trim)
            .filter(|clause| !clause.is_empty())
            .map(|clause| {
                let mut pieces = clause.split(';').map(str::trim);
                let media_type = pieces.next().unwrap_or_default().to_ascii_lowercase();
                let parameters = pieces
                    .filter_map(|p| p.split_once('='))
                    .map(|(k, v)| (k.trim().to_owned(), v.trim().to_owned()));
                Clause {
                    media_type,
                    parameters: parameters.collect(),
                }
            });
        Self {
            clauses: clauses.collect(),
        }
    }

    fn encoding(clause: &Clause) -> Option<Encoding> {
        match clause.media_type.as_str() {
            "application/json" | "*/*" | "application/*" => Some(Encoding::Json),
            "application/yaml" => Some(Encoding::Yaml),
            _ => None,
        }
    }

    fn form(clause: &Clause) -> Option<Form> {
        let (kind, group, version) = (
            clause.parameter("as"),
            clause.parameter("g"),
            clause.parameter("v"),
        );
        if kind.is_empty() {
            return Some(Form::Object);
        }
        match (kind, group, version) {
            ("Table", "meta.k8s.io", "v1" | "v1beta1") => Some(Form::Table(version.to_owned())),
            ("PartialObjectMetadata", "meta.k8s.io", "v1" | "v1beta1") => {
                Some(Form::Metadata(version.to_owned(), Whole::Object))
            }
            ("PartialObjectMetadataList", "meta.k8s.io", "v1" | "v1beta1") => {
                Some(Form::Metadata(version.to_owned(), Whole::List))
            }
            _ => None,
        }
    }

    /// Whether a media type is asked for before JSON; the form in which Go's client writes it counts as well.
    pub fn wants(&self, media_type: &str) -> bool {
        let same = |given: &str| given.replace('@', ".") == media_type;
        let before = self
            .clauses
            .iter()
            .take_while(|clause| clause.media_type != "application/json");
        before.into_iter().any(|clause| same(&clause.media_type))
    }

    /// Whether built-in paths answer at all: they do not count `application/*`.
    pub fn is_served(&self) -> bool {
        let served = |clause: &Clause| {
            matches!(
                clause.media_type.as_str(),
                "*/*" | "application/json" | "application/yaml" | "application/vnd.kubernetes.protobuf"
            )
        };
        self.clauses.is_empty() || self.clauses.iter().any(served)
    }

    /// The form for resource requests.
    pub fn choose(&self) -> ApiResult<Output> {
        if self.clauses.is_empty() {
            return Ok(Output::json());
        }
        let mut usable = self.clauses.iter().filter_map(|clause| {
            Some(Output {
                encoding: Self::encoding(clause)?,
                form: Self::form(clause)?,
            })
        });
        usable.next().ok_or_else(ApiError::not_acceptable)
    }

    /// The version of aggregated discovery that is wanted before the plain lists, if any.
    pub fn aggregated_discovery(&self) -> Option<&str> {
        for clause in &self.clauses {
            if Self::encoding(clause) != Some(Encoding::Json) {
                continue;
            }
            match (
                clause.parameter("g"),
                clause.parameter("as"),
                clause.parameter("v"),
            ) {
                ("apidiscovery.k8s.io", "APIGroupDiscoveryList", version @ ("v2" | "v2beta1")) => {
                    return Some(version);
                }
                ("", "", _) => return None,
                _ => {}
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_form_we_can_write_is_chosen() {
        let form = |header: &str| Accept::parse(header).choose().map(|o| o.form).map_err(|e| e.code);
        let kubectl = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json";
        assert_eq!(form(kubectl), Ok(Form::Table("v1".into())));
        assert_eq!(form("application/vnd.kubernetes.protobuf"), Err(406));
        assert_eq!(
            form("application/vnd.kubernetes.protobuf,application/json"),
            Ok(Form::Object)
        );
        assert_eq!(
            form("application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"),
            Ok(Form::Metadata("v1".into(), Whole::List))
        );
        assert_eq!(form("*/*"), Ok(Form::Object));
        assert_eq!(form(""), Ok(Form::Object));
    }

    #[test]
    fn aggregated_discovery_counts_only_before_the_plain_form() {
        let wanted = |header: &str| Accept::parse(header).aggregated_discovery().map(str::to_owned);
        assert_eq!(
            wanted("application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json"),
            Some("v2".into())
        );
        assert_eq!(wanted("application/json"), None);
    }
}
