//! The dataplane of one node: opens or takes over what stands in the kernel, applies snapshots, puts the
//! programs behind the hooks.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use bowline_cluster::object::ObjectName;
use bowline_cluster::snapshot::Snapshot;
use bowline_ebpf::verdict::Verdict;

use crate::cleanup::Unserved;
use crate::kernel::{
    Folder, KernelError, Sizes, attach, folders, foreign_hooks, is_attached, load_programs, make_maps, maps_in_use,
    maps_of_hook, path_error,
};
use crate::migrate::{Previous, readable, switch};
use crate::place::{Lock, LockError, Made, make_root};
use crate::plan::{HostPorts, PortPlan, plan};
use crate::records::OURS;
use crate::stand_in::{self, Pulse, StandIn};
use crate::table::{Found, Store, Table, TableError, Usage};
use bowline_sys::{Map, Mapped, trim_heap};

/// Where and how large.
#[derive(Clone, Debug)]
pub struct Config {
    /// Folder for pins, on a bpf file system.
    pub bpf_root: PathBuf,
    /// The cgroup whose processes are served.
    pub cgroup_root: PathBuf,
    /// How many entries the maps have.
    pub sizes: Sizes,
    /// What takes Services' traffic on this node.
    pub stand_ins: Vec<StandIn>,
}

/// Why there is no dataplane.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// Another agent works here.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The kernel.
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// The tables.
    #[error(transparent)]
    Table(#[from] TableError),
    /// Programs of ours are attached there that belong to another place.
    #[error(
        "{}: programs of an agent with another --bpf-root are attached ({hooks}) and would decide before these; \
         run `bowline cleanup` with that --bpf-root first", cgroup.display()
    )]
    Foreign {
        /// The cgroup.
        cgroup: PathBuf,
        /// Which hooks.
        hooks: String,
    },
}

/// What an application of a snapshot left undone, by Service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// The Services that were looked at: those named, and those whose refused change was tried again.
    pub tried: BTreeSet<ObjectName>,
    /// Changes that were refused, and why.
    pub refused: Vec<(ObjectName, String)>,
    /// Of those, how many because a map was full, by map.
    pub full: BTreeMap<&'static str, u64>,
    /// What is asked for and done otherwise.
    pub remarks: BTreeSet<(ObjectName, String)>,
}

impl Applied {
    fn refuse(&mut self, refused: Vec<(ObjectName, TableError)>) {
        for (name, error) in refused {
            if let TableError::Full { map, .. } = &error {
                *self.full.entry(map).or_default() += 1;
            }
            self.refused.push((name, error.to_string()));
        }
    }

    fn merge(&mut self, other: Applied) {
        self.tried.extend(other.tried);
        self.refused.extend(other.refused);
        self.remarks.extend(other.remarks);
        for (map, count) in other.full {
            *self.full.entry(map).or_default() += count;
        }
    }
}

/// The dataplane of a node.
#[derive(Debug)]
pub struct Dataplane {
    config: Config,
    folder: Folder,
    table: Table,
    verdicts: Map,
    sockets: Map,
    previous: Option<Previous>,
    others: Vec<Previous>,
    programs: Option<aya::Ebpf>,
    /// Whether a whole snapshot has come.
    complete: bool,
    /// Ports of the node that lead to its pods.
    host_ports: HostPorts,
    /// What has come, and what is gone of it is still there.
    coming: Applied,
    /// What goes again if it ends before it has served; in this order.
    unserved: Option<Unserved>,
    lock: Option<Lock>,
    made: Option<Made>,
}

impl Dataplane {
    /// Opens the place: locks it, makes the maps or takes over those that are there. What is attached
    /// goes on as it was.
    ///
    /// # Errors
    /// The place is taken, or the kernel refuses. Then nothing is left of what was made.
    pub fn open(config: Config) -> Result<Dataplane, NodeError> {
        let (made, lock) = loop {
            let made = make_root(&config.bpf_root)?;
            if let Some(lock) = Lock::take(&config.cgroup_root, &config.bpf_root)? {
                break (made, lock);
            }
        };
        let folder = Folder(config.bpf_root.join(config.sizes.folder()));
        let foreign = foreign_hooks(&config.bpf_root, &config.cgroup_root)?;
        if !foreign.is_empty() {
            return Err(NodeError::Foreign { cgroup: config.cgroup_root, hooks: foreign.join(", ") });
        }
        let Folders { ours: exists, previous, others } = sort_folders(&config.bpf_root, &folder)?;
        let unserved = Unserved::new(&config.bpf_root, &folder);
        make_maps(&folder, &config.sizes)?;
        let mut found = Found::default();
        if exists {
            found.ports = readable(&folder, OURS)?.read().map_err(path_error(&folder.0, "reading"))?;
            found.in_place = true;
        }
        let mut first_life = 0;
        for Previous { folder, records } in previous.iter().chain(&others) {
            let old = readable(folder, *records)?.life_after_all();
            first_life = first_life.max(old.map_err(path_error(&folder.0, "reading the backends"))?);
        }
        let store = Store {
            frontends: folder.map("frontends")?,
            names: folder.map("names")?,
            services: Mapped::new(folder.map("services")?),
            slots: Mapped::new(folder.map("slots")?),
            backends: Mapped::new(folder.map("backends")?),
            slot_limit: config.sizes.slots,
            first_life,
        };
        let known: BTreeSet<_> = found.ports.iter().map(|p| (p.name.clone(), p.key.clone())).collect();
        let mut table = Table::new(store, found)?;
        if let Some(Previous { folder: other, records }) = &previous {
            let mut ports = readable(other, *records)?.read().map_err(path_error(&other.0, "reading"))?;
            ports.retain(|p| !known.contains(&(p.name.clone(), p.key.clone())));
            tracing::info!(
                from = %other.0.display(), to = %folder.0.display(), ports = ports.len(),
                "another layout serves; carrying over"
            );
            table.take_over(Found { ports, in_place: false })?;
        }
        let (verdicts, sockets) = (folder.map("verdicts")?, folder.map("sockets")?);
        trim_heap();
        Ok(Dataplane {
            config,
            folder,
            table,
            verdicts,
            sockets,
            previous,
            others,
            programs: None,
            complete: false,
            host_ports: HostPorts::new(),
            coming: Applied::default(),
            unserved: Some(unserved),
            lock: Some(lock),
            made: Some(made),
        })
    }

    /// Puts into the kernel what the snapshot says of these Services; None, or the first time: of all. What is gone
    /// stays until [`Dataplane::go`].
    pub fn come(&mut self, snapshot: &Snapshot, changed: Option<&BTreeSet<ObjectName>>) {
        let names = match changed {
            Some(changed) if self.complete => changed.clone(),
            _ => snapshot.services.keys().chain(self.table.names()).cloned().collect(),
        };
        self.complete = true;
        self.put(snapshot, names);
    }

    /// Takes out of the kernel what is gone of the Services that came last, and tries again what was refused where
    /// there is room now. Says what was left undone.
    pub fn go(&mut self, snapshot: &Snapshot) -> Applied {
        let mut applied = std::mem::take(&mut self.coming);
        self.take_away(snapshot, &mut applied);
        let again = self.table.retry();
        if !again.is_empty() {
            self.put(snapshot, again);
            let mut again = std::mem::take(&mut self.coming);
            self.take_away(snapshot, &mut again);
            applied.refused.retain(|(name, _)| !again.tried.contains(name));
            applied.merge(again);
        }
        applied
    }

    fn put(&mut self, snapshot: &Snapshot, names: BTreeSet<ObjectName>) {
        let (coming, stand_ins, host_ports) = (&mut self.coming, &self.config.stand_ins, &self.host_ports);
        let refused = self.table.come(&names, &mut |name| {
            if let Some(ports) = host_ports.get(name) {
                return ports.clone();
            }
            let plan = plan(snapshot, name);
            coming.remarks.extend(plan.remarks.into_iter().map(|remark| (name.clone(), remark)));
            let mut ports = plan.ports;
            stand_in::put(stand_ins, name, &mut ports);
            ports
        });
        coming.refuse(refused);
        coming.tried.extend(names);
    }

    fn take_away(&mut self, snapshot: &Snapshot, applied: &mut Applied) {
        let (stand_ins, host_ports) = (&self.config.stand_ins, &self.host_ports);
        let refused = self.table.go(&applied.tried, &mut |name| {
            if let Some(ports) = host_ports.get(name) {
                return ports.clone();
            }
            let mut ports = plan(snapshot, name).ports;
            stand_in::put(stand_ins, name, &mut ports);
            ports
        });
        applied.refuse(refused);
    }

    /// Leads calls of the node's own processes to one of its ports to a pod, in place of what was said of this name;
    /// nothing leads there any more where there are no ports. The names are [`host_port_name`]'s.
    ///
    /// # Errors
    /// A map is full: what of it could not be written.
    pub fn set_host_port(&mut self, name: &ObjectName, ports: Vec<PortPlan>) -> Result<(), TableError> {
        let there =
            if ports.is_empty() { self.host_ports.remove(name) } else { self.host_ports.insert(name.clone(), ports) };
        if there.is_none() && !self.host_ports.contains_key(name) {
            return Ok(());
        }
        let names = BTreeSet::from([name.clone()]);
        let host_ports = &self.host_ports;
        let mut plan = |name: &ObjectName| host_ports.get(name).cloned().unwrap_or_default();
        let mut refused = self.table.come(&names, &mut plan);
        refused.extend(self.table.go(&names, &mut plan));
        refused.into_iter().next().map_or(Ok(()), |(_, error)| Err(error))
    }

    /// Whether changes were refused that are tried again once there is room.
    pub fn is_unfinished(&self) -> bool {
        self.table.has_refused()
    }

    /// Whether the programs are behind the hooks.
    pub fn is_attached(&self) -> bool {
        self.programs.is_some()
    }

    /// By which the stand-ins say that they are well.
    ///
    /// # Errors
    /// The map can't be had.
    pub fn pulse(&self) -> Result<Pulse, NodeError> {
        let (alive, life) = (Mapped::new(self.folder.map("alive")?), self.folder.map("life")?);
        Ok(Pulse::new(alive, &life).map_err(path_error(&self.folder.0, "preparing the maps alive and life"))?)
    }

    /// Puts the programs behind the hooks; called once the first whole snapshot is applied. Finishes a
    /// migration from another layout.
    ///
    /// # Errors
    /// The kernel refuses; what served before goes on, and nothing else is left of this start once it has ended.
    pub fn attach(&mut self) -> Result<(), NodeError> {
        let Config { bpf_root, cgroup_root, sizes, .. } = &self.config;
        let programs = match &self.previous {
            Some(previous) => switch(bpf_root, cgroup_root, sizes, &self.folder, previous, &self.others)?,
            None => {
                let programs = load_programs(&self.folder, sizes, None)?;
                attach(&programs, bpf_root, cgroup_root)?;
                programs
            }
        };
        self.previous = None;
        self.others.clear();
        self.programs = Some(programs);
        if let Some((unserved, made)) = self.unserved.take().zip(self.made.take()) {
            unserved.keep();
            made.keep();
        }
        trim_heap();
        Ok(())
    }

    /// Gives the place back: to be called last. What serves stays; what never came to serve goes.
    pub fn end(&mut self) {
        self.unserved = None;
        self.lock = None;
        self.made = None;
    }

    /// Looks after what no change of the state brings about; called every second or so. Says whether
    /// [`Dataplane::go`] has something to make up for. Hooks that lost their cgroup are attached anew.
    ///
    /// # Errors
    /// The hooks are not attached, and can't be: the cgroup is gone.
    pub fn tend(&mut self) -> Result<bool, NodeError> {
        if let Some(programs) = &self.programs
            && !is_attached(&self.config.bpf_root, &self.config.cgroup_root)
        {
            attach(programs, &self.config.bpf_root, &self.config.cgroup_root)?;
            tracing::warn!(cgroup = %self.config.cgroup_root.display(), "the cgroup was made anew; attached to it again");
        }
        self.table.reclaim();
        Ok(self.table.has_room_for_refused())
    }

    /// How full the tables are.
    pub fn usage(&self) -> Usage {
        self.table.usage()
    }

    /// Waits until what was taken away is free again.
    ///
    /// # Errors
    /// The kernel gave no grace period.
    pub fn settle(&mut self) -> std::io::Result<()> {
        self.table.settle()
    }

    /// How often each verdict was given since the maps were made.
    pub fn verdicts(&self) -> Vec<(Verdict, u64)> {
        verdict_counts(&self.verdicts)
    }

    /// Room for open sockets.
    pub fn socket_capacity(&self) -> u32 {
        self.sockets.max_entries()
    }
}

pub(crate) fn verdict_counts(map: &Map) -> Vec<(Verdict, u64)> {
    Verdict::COUNTED
        .into_iter()
        .map(|verdict| {
            let all = map.get(&(verdict as u32).to_ne_bytes()).ok().flatten().unwrap_or_default();
            let counts = all.chunks_exact(8).map(|c| c.try_into().map_or(0, u64::from_ne_bytes));
            (verdict, counts.sum())
        })
        .collect()
}

/// What the folders below a root are.
struct Folders {
    /// Whether programs use our own, which is then taken over as it is.
    ours: bool,
    /// Another that programs use: its Services are served, if ours isn't there.
    previous: Option<Previous>,
    /// More of those, left by agents that were killed while they migrated.
    others: Vec<Previous>,
}

/// Sorts them. A folder is used when a program behind a hook has its maps; the one that leads new connections
/// is that of the connect hook. What nothing uses is removed.
fn sort_folders(root: &Path, ours: &Folder) -> Result<Folders, NodeError> {
    let in_use = maps_in_use(root)?;
    let leading = maps_of_hook(root, "connect4")?;
    let mut sorted = Folders { ours: false, previous: None, others: Vec::new() };
    for folder in folders(root)? {
        let has = |name: &str, ids: &[u32]| folder.map(name).is_ok_and(|map| ids.contains(&map.id()));
        let used = has("frontends", &in_use) || has("sockets", &in_use);
        let leads = has("frontends", &leading);
        match folder.records()? {
            Some(_) if used && folder == *ours => sorted.ours = true,
            Some(records) if used => {
                let found = Previous { folder, records };
                if leads || sorted.previous.is_none() {
                    sorted.others.extend(sorted.previous.replace(found));
                } else {
                    sorted.others.push(found);
                }
            }
            _ => {
                tracing::info!(path = %folder.0.display(), "removing maps that nothing uses");
                folder.remove()?;
            }
        }
    }
    Ok(sorted)
}
