//! Writes the CRD files of all providers below a folder: `crdgen deploy`.

use std::{env, fs, path::PathBuf};

use anyhow::Context;
use capi_api::crd;

fn main() -> anyhow::Result<()> {
    let deploy = env::args_os()
        .nth(1)
        .map(PathBuf::from)
        .context("name the folder to write to, as in `crdgen deploy`")?;
    let mut definitions = crd::crds()?;
    definitions.extend(infra_inmemory::crds()?);
    for (path, text) in crd::render(&definitions)? {
        let path = deploy.join(path);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).with_context(|| format!("create {}", folder.display()))?;
        }
        fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
    }
    Ok(())
}
