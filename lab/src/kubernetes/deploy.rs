//! deploy/, as operators use it: overlays on its folders, for `kubectl apply --kustomize`.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::Lab;
use crate::lab::run;

const DEPLOY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy");

/// A copy of deploy/ in a lab, beside which overlays can stand: kustomize takes no absolute path.
#[derive(Debug)]
pub struct Deploy {
    folder: PathBuf,
}

/// What an overlay says.
#[derive(Clone, Copy, Debug)]
pub struct Overlay<'a> {
    on: &'a [&'a str],
    image: &'a str,
    settings: &'a [&'a str],
    components: &'a [&'a str],
    patches: &'a str,
}

impl<'a> Overlay<'a> {
    /// On these folders of deploy/, with this image of Bowline, `NAME:TAG`.
    pub fn new(on: &'a [&'a str], image: &'a str) -> Overlay<'a> {
        Overlay { on, image, settings: &[], components: &[], patches: "" }
    }

    /// With `KEY=VALUE` of the agent's ConfigMap.
    #[must_use]
    pub fn settings(self, settings: &'a [&'a str]) -> Overlay<'a> {
        Overlay { settings, ..self }
    }

    /// With these folders of deploy/components.
    #[must_use]
    pub fn components(self, components: &'a [&'a str]) -> Overlay<'a> {
        Overlay { components, ..self }
    }

    /// With these elements of `patches`, as YAML: `- target: ...`.
    #[must_use]
    pub fn patches(self, patches: &'a str) -> Overlay<'a> {
        Overlay { patches, ..self }
    }
}

impl Deploy {
    /// The copy of this lab; made by the first to ask.
    pub fn new(lab: &Lab) -> Result<Deploy> {
        let folder = lab.folder("")?.join("deploy");
        if !folder.exists() {
            run(Command::new("cp").arg("-r").arg(DEPLOY).arg(&folder))?;
        }
        Ok(Deploy { folder })
    }

    /// A folder of deploy/, or an overlay.
    pub fn path(&self, of_deploy: &str) -> String {
        self.folder.join(of_deploy).to_string_lossy().into_owned()
    }

    /// Writes an overlay under this name; its path.
    pub fn overlay(&self, name: &str, overlay: &Overlay<'_>) -> Result<String> {
        let own = self.folder.join(name);
        fs::create_dir_all(&own).with_context(|| format!("cannot make {}", own.display()))?;
        let (image, tag) = overlay.image.rsplit_once(':').context("an image without a tag")?;
        let mut text = format!(
            "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nnamespace: kube-system\n\
             images: [{{name: bowline, newName: {image}, newTag: {tag}}}]\n"
        );
        let mut list = |key: &str, elements: Vec<String>| {
            if !elements.is_empty() {
                let _ = writeln!(text, "{key}: [{}]", elements.join(", "));
            }
        };
        list("resources", overlay.on.iter().map(|on| format!("../{on}")).collect());
        list("components", overlay.components.iter().map(|component| format!("../components/{component}")).collect());
        if !overlay.settings.is_empty() {
            let literals: Vec<_> = overlay.settings.iter().map(|setting| format!("{setting:?}")).collect();
            let literals = literals.join(", ");
            let _ = writeln!(text, "configMapGenerator: [{{name: bowline, behavior: merge, literals: [{literals}]}}]");
        }
        if !overlay.patches.is_empty() {
            let _ = writeln!(text, "patches:\n{}", overlay.patches);
        }
        let file = Path::new(&own).join("kustomization.yaml");
        fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
        Ok(own.to_string_lossy().into_owned())
    }
}
