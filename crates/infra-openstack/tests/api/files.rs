//! The files in `deploy` are what the types say.

use std::{fs, path::PathBuf};

use capi_api::crd;

#[test]
fn the_files_in_deploy_are_current() {
    let deploy = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../deploy");
    for (path, text) in crd::render(&infra_openstack::crds().unwrap()).unwrap() {
        let path = deploy.join(path);
        if std::env::var_os("WRITE_CRDS").is_some() {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, &text).unwrap();
        }
        let found = fs::read_to_string(&path).unwrap_or_default();
        assert!(
            found == text,
            "{} is not current; run this test with WRITE_CRDS=1",
            path.display()
        );
    }
}
