//! Writes what is generated of `deploy/`, definitions, webhook configurations and manifests of all providers:
//! `crdgen deploy`; or a release of them as clusterctl reads it: `crdgen release FOLDER`.

use std::{collections::BTreeMap, env, ffi::OsString, fs, path::Path};

use anyhow::{Context, bail};

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let arguments: Vec<OsString> = env::args_os().skip(1).collect();
    match arguments.as_slice() {
        [deploy] => write(Path::new(deploy), e2e::deploy::files().await?),
        [word, folder] if word == "release" => {
            write(Path::new(folder), e2e::deploy::release::release().await?)
        }
        _ => bail!("name the folder to write to, as in `crdgen deploy` or `crdgen release FOLDER`"),
    }
}

fn write(folder: &Path, files: BTreeMap<String, String>) -> anyhow::Result<()> {
    for (path, text) in files {
        let path = folder.join(path);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).with_context(|| format!("create {}", parent.display()))?;
        }
        fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
    }
    Ok(())
}
