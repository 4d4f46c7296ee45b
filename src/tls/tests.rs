//! Tests of what TLS is made with.

use std::path::Path;

use ganger_test_support::{Authority, unique};

use super::*;

fn write(dir: &Path, ca: &Authority) -> Files {
    fs::create_dir_all(dir).unwrap();
    fs::write(dir.join("ca.pem"), ca.pem()).unwrap();
    ca.issue(&[]).write(dir);
    let identity = TlsIdentity { cert: dir.join("cert.pem"), key: dir.join("key.pem") };
    Files { ca: dir.join("ca.pem"), identity: Some(identity) }
}

#[test]
fn files_are_read_again_when_they_have_changed_and_only_then() {
    let dir = std::env::temp_dir().join(unique("ganger-connector"));
    let ca = Authority::new("ca");
    let connector = Connector::new(write(&dir, &ca));
    let used = || connector.config("h").unwrap();
    let first = used();
    assert!(Arc::ptr_eq(&first, &used()));

    ca.issue(&[]).write(&dir);
    let second = used();
    assert!(!Arc::ptr_eq(&first, &second), "the new ones");

    // Unusable files leave the old ones in use; later usable ones are seen.
    for broken in ["", "nothing of the kind"] {
        fs::write(dir.join("key.pem"), broken).unwrap();
        assert!(Arc::ptr_eq(&second, &used()));
    }
    fs::remove_file(dir.join("ca.pem")).unwrap();
    assert!(Arc::ptr_eq(&second, &used()));
    write(&dir, &ca);
    assert!(!Arc::ptr_eq(&second, &used()));

    let never = Connector::new(Files { ca: dir.join("none.pem"), identity: None });
    let error = never.config("h").unwrap_err().to_string();
    assert!(error.contains("cannot read") && error.contains("none.pem"), "{error}");
    fs::remove_dir_all(&dir).unwrap();
}
