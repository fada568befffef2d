//! What a container runtime does of CNI: a list's plugins are called one after the other, each a process, with what the one
//! before has said; backwards at a DEL.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::{Map, Value, json};

/// A plugin of a list.
#[derive(Clone, Debug)]
struct Plugin {
    program: PathBuf,
    config: Value,
}

/// A list, and how it is called. Plugins run in the network namespace of the thread that calls.
#[derive(Clone, Debug)]
pub(super) struct Runtime {
    plugins: Vec<Plugin>,
    paths: String,
}

impl Runtime {
    /// The plugins of a list of this name, each of which is in one of the folders.
    pub(super) fn new(name: &str, plugins: &[Value], folders: &[PathBuf]) -> Result<Runtime> {
        let plugin = |config: &Value| {
            let kind = config["type"].as_str().context("a plugin has no type")?;
            let program = folders.iter().map(|folder| folder.join(kind)).find(|path| path.is_file());
            let program = program.with_context(|| format!("the CNI plugin {kind} is in none of {folders:?}"))?;
            let mut config = config.clone();
            config["name"] = json!(name);
            config["cniVersion"] = json!("1.0.0");
            anyhow::Ok(Plugin { program, config })
        };
        let paths: Vec<String> = folders.iter().map(|folder| folder.display().to_string()).collect();
        Ok(Runtime { plugins: plugins.iter().map(plugin).collect::<Result<_>>()?, paths: paths.join(":") })
    }

    /// The same, asking for more: each plugin gets of it what it says that it can do.
    pub(super) fn asking(&self, capabilities: &Value) -> Runtime {
        let mut runtime = self.clone();
        for plugin in &mut runtime.plugins {
            let can = plugin.config["capabilities"].as_object().cloned().unwrap_or_default();
            let asked = capabilities.as_object().cloned().unwrap_or_default().into_iter();
            let asked: Map<String, Value> = asked.filter(|(key, _)| can.contains_key(key)).collect();
            plugin.config["runtimeConfig"] = Value::Object(asked);
        }
        runtime
    }

    /// Attaches a container; the last plugin's result.
    pub(super) fn add(&self, container: &Container<'_>) -> Result<Value> {
        let mut result = Value::Null;
        for plugin in &self.plugins {
            let said = self.call("ADD", plugin, container, &result)?;
            result =
                serde_json::from_slice(&said).with_context(|| format!("{} said no JSON", plugin.program.display()))?;
        }
        Ok(result)
    }

    /// Detaches it.
    pub(super) fn del(&self, container: &Container<'_>, result: &Value) -> Result<()> {
        self.plugins.iter().rev().try_for_each(|plugin| self.call("DEL", plugin, container, result).map(drop))
    }

    fn call(&self, command: &str, plugin: &Plugin, container: &Container<'_>, before: &Value) -> Result<Vec<u8>> {
        let mut config = plugin.config.clone();
        if !before.is_null() {
            config["prevResult"] = before.clone();
        }
        let mut process = Command::new(&plugin.program);
        process.env("CNI_COMMAND", command).env("CNI_CONTAINERID", container.id).env("CNI_NETNS", container.netns);
        process.env("CNI_IFNAME", "eth0").env("CNI_PATH", &self.paths).env("CNI_ARGS", container.args);
        process.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = process.spawn().with_context(|| format!("cannot start {}", plugin.program.display()))?;
        // Those that don't read it need not be told.
        let _ = serde_json::to_writer(child.stdin.take().context("no input")?, &config);
        let out = child.wait_with_output()?;
        if !out.status.success() {
            let (said, more) = (String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
            bail!("{command} by {}: {} {said}{more}", plugin.program.display(), out.status);
        }
        Ok(out.stdout)
    }
}

/// What is attached.
#[derive(Clone, Copy, Debug)]
pub(super) struct Container<'a> {
    pub(super) id: &'a str,
    pub(super) netns: &'a Path,
    pub(super) args: &'a str,
}
