//! Overlays as an operator writes them: on those of deploy/, with an image and the addresses of API servers.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use bowline_lab::Lab;

/// A copy of deploy/ in a lab, beside which overlays can stand.
pub(crate) struct Deploy {
    folder: PathBuf,
}

impl Deploy {
    pub(crate) fn new(lab: &Lab) -> Deploy {
        let folder = lab.folder("").unwrap().join("deploy");
        let ours = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy");
        let copied = Command::new("cp").arg("-r").args([&ours, &folder]).status().unwrap();
        assert!(copied.success());
        Deploy { folder }
    }

    /// A folder of deploy/.
    pub(crate) fn path(&self, of_deploy: &str) -> String {
        self.folder.join(of_deploy).to_str().unwrap().to_owned()
    }

    /// A new overlay on a folder of deploy/ with these of its components: this image. Its path.
    pub(crate) fn with_components(&self, name: &str, on: &str, image: &str, components: &[&str]) -> String {
        self.with(name, on, image, &[], components)
    }

    /// The same with settings of the ConfigMap.
    pub(crate) fn with(&self, name: &str, on: &str, image: &str, settings: &[&str], components: &[&str]) -> String {
        let path = self.overlay(name, on, image, settings);
        let file = Path::new(&path).join("kustomization.yaml");
        let mut text = fs::read_to_string(&file).unwrap() + "components:\n";
        components.iter().for_each(|component| text += &format!("  - ../components/{component}\n"));
        fs::write(&file, text).unwrap();
        path
    }

    /// A new overlay on a folder of deploy/: this image, and these settings of the ConfigMap. Its path.
    pub(crate) fn overlay(&self, name: &str, on: &str, image: &str, settings: &[&str]) -> String {
        let own = self.folder.join(name);
        fs::create_dir_all(&own).unwrap();
        let (image, tag) = image.rsplit_once(':').unwrap();
        let mut text = format!(
            "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nnamespace: kube-system\n\
             resources: [../{on}]\nimages: [{{name: bowline, newName: {image}, newTag: {tag}}}]\n"
        );
        if !settings.is_empty() {
            text += "configMapGenerator:\n  - name: bowline\n    behavior: merge\n    literals:\n";
            settings.iter().for_each(|setting| text += &format!("      - {setting:?}\n"));
        }
        fs::write(own.join("kustomization.yaml"), text).unwrap();
        own.to_str().unwrap().to_owned()
    }
}
