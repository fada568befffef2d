//! Containers that `ctr` starts, by the containerd and runc of the distribution, without Kubernetes: the agent runs with the
//! folders that it has on a real node.

use std::fs;
use std::process::{Child, Stdio};

use bowline_lab::kubernetes::{Image, Kubelet, Machine, POD_NETWORK, Server, Services};
use bowline_lab::{Lab, cni_plugin, lab_net, wait_for};
use serde_json::Value;

use crate::ground::PATIENCE;

const MANIFESTS: &str = "apiVersion: v1\nkind: Service\nmetadata: {name: web}\n\
    spec: {clusterIP: 10.96.0.80, selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}\n---\n\
    apiVersion: v1\nkind: Pod\nmetadata: {name: web, labels: {app: web}}\nspec: {containers: [{name: web, image: web}]}\n";

/// `ctr` gives plugins the folders that it was built with: /etc is this machine's own, which must not have our network.
const OWN_ETC: &str = "mkdir -p /run/etc/own /run/etc/work
    mount -t overlay -o lowerdir=/etc,upperdir=/run/etc/own,workdir=/run/etc/work overlay /etc
    mkdir -p /etc/cni/net.d";

struct Node {
    machine: Machine,
    agent: Server,
    _containerd: Kubelet,
}

impl Node {
    fn new(lab: &Lab) -> Node {
        let machine = Machine::new(lab, "one").unwrap();
        machine.output("sh", &["-ec", OWN_ETC]).unwrap();
        let flags = vec![POD_NETWORK.to_owned()];
        let services = Services::Bowline { program: env!("CARGO_BIN_EXE_bowline").into(), flags };
        let containerd = Kubelet::new(&machine, &services).unwrap();
        let image = Image::of("lab-net", lab_net().unwrap());
        let archive = image.archive(machine.folder()).unwrap();
        machine.output("ctr", &["images", "import", archive.to_str().unwrap()]).unwrap();
        let state = machine.folder().join("state");
        fs::create_dir(&state).unwrap();
        fs::write(state.join("web.yaml"), MANIFESTS).unwrap();
        let mut agent = Server::new("the agent", machine.folder().join("agent.log"));
        let mut command = machine.command(env!("CARGO_BIN_EXE_bowline"));
        command.args([
            "node",
            "--pod-network",
            "--pod-cidr",
            "10.244.1.0/24,fd44:0:0:1::/64",
            "--hostname-override",
            "one",
        ]);
        command.arg(format!("--state=files:{}", state.display()));
        command.arg(format!("--node-ip={},{}", machine.v4(), machine.v6()));
        command.arg("--cni-plugin").arg(cni_plugin().unwrap());
        agent.start(&mut command).unwrap();
        let list = "/etc/cni/net.d/05-bowline.conflist";
        agent.wait_until("its network", || machine.output("cat", &[list]).is_ok()).unwrap();
        Node { machine, agent, _containerd: containerd }
    }

    /// Starts a container with CNI; its command follows. `ctr` stays with it: of what it starts and leaves alone
    /// (`--detach`) it sends no DEL.
    #[track_caller]
    fn run(&self, id: &str, words: &[&str]) -> Child {
        let image = bowline_lab::kubernetes::image("lab-net");
        let mut command = self.machine.command("ctr");
        command.args(["run", "--rm", "--cni", &image, id]).args(words).stdin(Stdio::null());
        let child = command.stdout(Stdio::null()).spawn().unwrap();
        let container = format!("default-{id}");
        let attached = wait_for("its addresses", PATIENCE, || {
            self.held().iter().any(|row| row["container"] == container.as_str())
        });
        assert!(attached.is_ok(), "{id}: {attached:?}\n{}", self.log());
        child
    }

    fn log(&self) -> String {
        fs::read_to_string(self.agent.log()).unwrap_or_default()
    }

    /// What `bowline get addresses` shows.
    fn held(&self) -> Vec<Value> {
        let said = self.machine.output(env!("CARGO_BIN_EXE_bowline"), &["get", "addresses", "-o", "json"]).unwrap();
        serde_json::from_str(&said).unwrap()
    }

    /// Who answers a container that asks this address.
    fn ask(&self, id: &str, target: &str) -> String {
        let ask = ["tasks", "exec", "--exec-id", "ask", id, "/lab-net", "connect", "--target", target];
        let mut command = self.machine.command("ctr");
        let out = command.args(ask).stdin(Stdio::null()).output().unwrap();
        let said: Value = serde_json::from_slice(&out.stdout).unwrap_or_default();
        let other = || format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
        said["name"].as_str().map_or_else(other, str::to_owned)
    }

    #[track_caller]
    fn end(&self, id: &str, mut ctr: Child) {
        self.machine.output("ctr", &["tasks", "kill", "--signal", "9", id]).unwrap();
        ctr.wait().unwrap();
    }
}

#[test]
fn containers_of_ctr_have_addresses_names_and_services() {
    let lab = Lab::new("pods-ctr").unwrap();
    let node = Node::new(&lab);
    // It serves until its input ends.
    let serve = "sleep 1000 | /lab-net serve --id web --tcp [::]:8080";
    let web_runs = node.run("web", &["/bin/sh", "-c", serve]);
    let client_runs = node.run("client", &["/bin/sleep", "1000"]);
    let held = node.held();
    let of = |pod: &str| -> Vec<String> {
        let of_pod = held.iter().filter(|row| row["pod"].to_string().contains(pod));
        of_pod.map(|row| row["address"].as_str().unwrap().to_owned()).collect()
    };
    // A pod has the name of its container.
    let web = of("web");
    assert_eq!((held.len(), web.len()), (4, 2), "{held:?}");
    for address in &web {
        let target = if address.contains(':') { format!("[{address}]:8080") } else { format!("{address}:8080") };
        let mut last = String::new();
        let answered = wait_for("an answer", PATIENCE, || {
            last = node.ask("client", &target);
            last == "web"
        });
        assert!(answered.is_ok(), "{last}\n{}", node.log());
    }
    // Its labels are those of the manifest of its name.
    let mut last = String::new();
    let served = wait_for("the Service", PATIENCE, || {
        last = node.ask("client", "10.96.0.80:80");
        last == "web"
    });
    assert!(served.is_ok(), "{last}\n{}", node.log());
    node.end("web", web_runs);
    node.end("client", client_runs);
    let left = wait_for("nothing left", PATIENCE, || {
        let links = node.machine.output("ip", &["-o", "link", "show", "type", "veth"]).unwrap();
        !links.contains(": bow") && node.held().is_empty()
    });
    assert!(left.is_ok(), "{:?}\n{}", node.held(), node.log());
    assert_eq!(node.log().matches("command=\"DEL\"").count(), 2, "{}", node.log());
}
