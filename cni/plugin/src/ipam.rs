//! Another plugin that gives addresses out, as the configuration's `ipam` names it (specification 1.1.0, "Plugin Delegation").

use std::io::{Read as _, Write as _};
use std::path::PathBuf;
use std::process::{Child, Stdio};

use bowline_cni_protocol::{CniError, CniResult, Command, Environment, MAX_MESSAGE, NetConf};
use serde_json::Value;

/// The plugin, and what it is to be started with: our variables and our configuration.
pub(crate) struct Delegate<'a> {
    name: String,
    program: PathBuf,
    input: &'a [u8],
}

impl<'a> Delegate<'a> {
    /// The plugin that the configuration names; None if the agent gives the addresses out itself.
    ///
    /// # Errors
    /// Code 7 if its name is none, 4 if there is no CNI_PATH, 101 if it isn't there.
    pub(crate) fn of(
        config: &NetConf,
        environment: &Environment,
        input: &'a [u8],
    ) -> Result<Option<Delegate<'a>>, CniError> {
        let Some(ipam) = config.ipam.as_ref().filter(|ipam| ipam.is_delegated()) else { return Ok(None) };
        let name = &ipam.kind;
        if name.contains(['/', '\0']) || matches!(&**name, "." | "..") {
            let message = format!("configuration: ipam.type: {name:?} is not the name of a plugin");
            return Err(CniError::new(CniError::INVALID_CONFIG, message));
        }
        if environment.path.is_empty() {
            let message = format!("CNI_PATH is missing: it is needed to find the IPAM plugin {name}");
            return Err(CniError::new(CniError::INVALID_ENVIRONMENT, message));
        }
        let mut places = environment.path.iter().map(|folder| PathBuf::from(folder).join(name));
        let program = places.find(|program| program.is_file()).ok_or_else(|| {
            let message = format!("there is no IPAM plugin {name} in {} (CNI_PATH)", environment.path.join(", "));
            CniError::new(CniError::IPAM, message)
                .with_details("install it, or leave ipam.type out: the agent gives addresses")
        })?;
        Ok(Some(Delegate { name: name.clone(), program, input }))
    }

    /// Has it give addresses out.
    ///
    /// # Errors
    /// Its own, or code 101 if it can't be run or its answer not be read.
    pub(crate) fn add(&self) -> Result<CniResult, CniError> {
        let added = self.run(Command::Add).and_then(|output| {
            let json: Value =
                serde_json::from_slice(&output).map_err(|error| self.failed(format!("answered no JSON: {error}")))?;
            CniResult::from_json(&json, "").map_err(|error| self.failed(format!("answered: {}", error.msg)))
        });
        if added.is_err() {
            // What it gave out but could not say is taken back.
            let _ = self.run(Command::Del);
        }
        added
    }

    /// Runs it with a command; what it printed.
    ///
    /// # Errors
    /// As [`Delegate::add`].
    pub(crate) fn run(&self, command: Command) -> Result<Vec<u8>, CniError> {
        let mut program = std::process::Command::new(&self.program);
        program.env("CNI_COMMAND", command.as_str()).stdin(Stdio::piped()).stdout(Stdio::piped());
        let child = program.spawn().map_err(|error| self.failed(format!("can't be started: {error}")))?;
        let (output, is_success) = self.talk(child).map_err(|error| self.failed(format!("can't be asked: {error}")))?;
        if is_success { Ok(output) } else { Err(self.refusal(&output)) }
    }

    /// Writes the configuration and reads the answer at the same time: either may be more than a pipe holds.
    fn talk(&self, mut child: Child) -> std::io::Result<(Vec<u8>, bool)> {
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        let mut output = Vec::new();
        let read = std::thread::scope(|scope| {
            scope.spawn(|| stdin.map(|mut stdin| stdin.write_all(self.input)));
            let read = stdout.map(|stdout| stdout.take(MAX_MESSAGE as u64).read_to_end(&mut output));
            // One that never reads its input would keep the writer waiting.
            if !matches!(read, Some(Ok(length)) if length < MAX_MESSAGE) {
                let _ = child.kill();
            }
            read.transpose()
        });
        let status = child.wait()?;
        read?;
        Ok((output, status.success()))
    }

    /// What it says when it fails: an error as CNI spells it, or not.
    fn refusal(&self, output: &[u8]) -> CniError {
        let json: Value = serde_json::from_slice(output).unwrap_or_default();
        let text = |key: &str| json.get(key).and_then(Value::as_str).unwrap_or_default();
        let code = json.get("code").and_then(Value::as_u64).and_then(|code| u32::try_from(code).ok());
        let Some(code) = code.filter(|code| *code > 0) else {
            return self.failed("failed and did not say why".into());
        };
        let message = format!("IPAM plugin {}: {}", self.name, text("msg"));
        CniError::new(code, message).with_details(text("details"))
    }

    fn failed(&self, what: String) -> CniError {
        CniError::new(CniError::IPAM, format!("IPAM plugin {} {what}", self.program.display()))
    }
}
