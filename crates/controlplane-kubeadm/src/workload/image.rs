//! References to container images, taken apart and put together. Pure.

/// A reference: `repository/name:tag`, perhaps with a digest that a new tag makes wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// Everything before the last slash; empty if there is none.
    pub repository: String,
    /// What follows.
    pub name: String,
    /// The tag; empty if there is none.
    pub tag: String,
}

impl Image {
    /// From its text form.
    pub fn parse(text: &str) -> Self {
        let (text, _digest) = text.split_once('@').unwrap_or((text, ""));
        let (repository, rest) = text.rsplit_once('/').unwrap_or(("", text));
        let (name, tag) = rest.split_once(':').unwrap_or((rest, ""));
        Self {
            repository: repository.to_owned(),
            name: name.to_owned(),
            tag: tag.to_owned(),
        }
    }

    /// The same image of a Kubernetes version; what is behind a plus sign goes into the tag behind an underscore.
    pub fn of_version(mut self, version: &str) -> Self {
        self.tag = version.replace('+', "_");
        self
    }

    /// The same image in another repository, if one is given.
    pub fn in_repository(mut self, repository: Option<&str>) -> Self {
        if let Some(repository) = repository.filter(|repository| !repository.is_empty()) {
            self.repository = repository.trim_end_matches('/').to_owned();
        }
        self
    }
}

impl std::fmt::Display for Image {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if !self.repository.is_empty() {
            write!(f, "{}/", self.repository)?;
        }
        f.write_str(&self.name)?;
        match self.tag.as_str() {
            "" => Ok(()),
            tag => write!(f, ":{tag}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_taken_apart_and_put_together() {
        for text in [
            "registry.k8s.io/kube-proxy:v1.35.0",
            "registry.k8s.io/coredns/coredns:v1.13.1",
            "host:5000/a/b:tag",
            "busybox",
        ] {
            assert_eq!(Image::parse(text).to_string(), text);
        }
        assert_eq!(
            Image::parse("host:5000/a/b@sha256:1234").to_string(),
            "host:5000/a/b"
        );
        let image = Image::parse("registry.k8s.io/kube-proxy:v1.35.0");
        assert_eq!(
            image.clone().of_version("v1.36.0+build.1").to_string(),
            "registry.k8s.io/kube-proxy:v1.36.0_build.1"
        );
        assert_eq!(
            image.in_repository(Some("own.io/x/")).to_string(),
            "own.io/x/kube-proxy:v1.35.0"
        );
    }
}
