//! Writes what is generated of `deploy/`, definitions and webhook configurations of all providers: `crdgen deploy`.

use std::{env, fs, path::PathBuf};

use anyhow::Context;

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let deploy = env::args_os()
        .nth(1)
        .map(PathBuf::from)
        .context("name the folder to write to, as in `crdgen deploy`")?;
    for (path, text) in e2e::deploy::files().await? {
        let path = deploy.join(path);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).with_context(|| format!("create {}", folder.display()))?;
        }
        fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
    }
    Ok(())
}
