//! The compiled programs, part of this binary, and their loading.

use std::borrow::Cow;

use aya::{
    Ebpf, EbpfLoader,
    maps::{MapError, ProgramArray},
    programs::{Program, ProgramError, SchedClassifier, Xdp},
};

use lb_common::{hook::Hook, verdict::Stage};

use super::{
    DataplaneError, Features, Pins, Sizes, frags, sockets::SocketScope, trial::lift_memory_limit,
};

/// The object that lb-ebpf was compiled to.
pub static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/lb"));

/// Maps that are pinned: all but the compiler's own.
pub const MAPS: [&str; 45] = [
    "ACCOUNTS",
    "ADDRESSES_V4",
    "ADDRESSES_V6",
    "ADDRESS_BITS",
    "AFFINITY_V4",
    "AFFINITY_V6",
    "ANSWERS",
    "BACKENDS",
    "BACKEND_PORTS",
    "BACKEND_STATS",
    "BINDS",
    "CONFIG",
    "COUNTERS",
    "DEVICES",
    "DRAFT_V4",
    "DRAFT_V6",
    "ENDPOINTS",
    "EVENTS",
    "FLOWS_V4",
    "FLOWS_V6",
    "FOLDED",
    "FRAGMENTS_V4",
    "FRAGMENTS_V6",
    "FRONTENDS_V4",
    "FRONTENDS_V6",
    "FRONTEND_PORTS",
    "HELD",
    "HOLD",
    "LOADS",
    "NEIGHBOURS",
    "NEW_FLOWS_V4",
    "NEW_FLOWS_V6",
    "SAMPLE",
    "SERVICES",
    "SLOTS",
    "SOCKETS_V4",
    "SOCKETS_V6",
    "SOURCE_RANGES_V4",
    "SOURCE_RANGES_V6",
    "STAGES",
    "STAGES_BARE",
    STAGES_XDP,
    "TALKS_V4",
    "TALKS_V6",
    "TURNS",
];

/// The later stages at XDP. The kernel takes programs of one kind only into it, for packets in several
/// buffers or not, whichever came first: so it is pinned under one of two names.
const STAGES_XDP: &str = "STAGES_XDP";

/// The name for programs that know packets in several buffers.
const STAGES_XDP_FRAGS: &str = "STAGES_XDP_FRAGS";

/// `BPF_F_IPV6` of `bpf_l4_csum_replace` (linux/bpf.h).
const IPV6_FLAG: u64 = 1 << 7;

/// The programs, loaded.
#[derive(Debug)]
pub struct Programs {
    ebpf: Ebpf,
    features: Features,
    has_bare: bool,
}

impl Programs {
    /// Names of the programs, as the kernel shows them.
    pub const NAMES: [&'static str; 21] = [
        "lb_xdp_all",
        "lb_xdp_begin",
        "lb_uplink_begin",
        "lb_pod_begin",
        "lb_uplink_in_all",
        "lb_uplink_out_all",
        "lb_pod_in_all",
        "lb_pod_out_all",
        "lb_host_out_all",
        "lb_host_begin",
        "lb_answer",
        "lb_errors",
        "lb_sctp",
        "lb_hold",
        "lb_release",
        "lb_xdp",
        "lb_uplink_in",
        "lb_uplink_out",
        "lb_workload_in",
        "lb_workload_out",
        "lb_clock",
    ];

    /// The programs for bare devices.
    pub const BARE_NAMES: [&'static str; 12] = [
        "lb_bare_begin",
        "lb_bare_in_all",
        "lb_bare_out_all",
        "lb_bare_own_all",
        "lb_bare_own_beg",
        "lb_bare_answer",
        "lb_bare_errors",
        "lb_bare_sctp",
        "lb_bare_hold",
        "lb_bare_release",
        "lb_bare_in",
        "lb_bare_out",
    ];

    /// Loads maps and programs, but for those of bare devices. Maps that are pinned are taken as they are, others
    /// made and pinned.
    pub fn load(pins: &Pins, sizes: &Sizes) -> Result<Self, DataplaneError> {
        Self::load_with(pins, sizes, SocketScope::default())
    }

    /// The same for sockets of this scope.
    pub fn load_with(
        pins: &Pins,
        sizes: &Sizes,
        sockets: SocketScope,
    ) -> Result<Self, DataplaneError> {
        lift_memory_limit();
        let features = Features::tried().map_err(|source| DataplaneError::Trial { source })?;
        Self::load_as(pins, sizes, features, sockets)
    }

    /// The same for a kernel that has these features.
    pub fn load_for(
        pins: &Pins,
        sizes: &Sizes,
        features: Features,
    ) -> Result<Self, DataplaneError> {
        Self::load_as(pins, sizes, features, SocketScope::default())
    }

    fn load_as(
        pins: &Pins,
        sizes: &Sizes,
        features: Features,
        sockets: SocketScope,
    ) -> Result<Self, DataplaneError> {
        let ipv6_flag = if features.ipv6_flag { IPV6_FLAG } else { 0 };
        let mut loader = EbpfLoader::new();
        for (map, entries) in sizes.entries() {
            loader.map_max_entries(map, entries);
        }
        for map in MAPS {
            loader.map_pin_path(map, pins.maps().join(map));
        }
        let (host_only, set_retval) = (u64::from(sockets.host_only), u64::from(features.retval));
        for (name, value) in [
            ("IPV6_FLAG", &ipv6_flag),
            ("NODE_NAMESPACE", &sockets.namespace),
            ("HOST_ONLY", &host_only),
            ("SET_RETVAL", &set_retval),
        ] {
            loader.override_global(name, value, true);
        }
        let object = if features.frags {
            loader.map_pin_path(STAGES_XDP, pins.maps().join(STAGES_XDP_FRAGS));
            Cow::Borrowed(OBJECT)
        } else {
            Cow::Owned(frags::without(OBJECT))
        };
        let ebpf = loader
            .load(&object)
            .map_err(|source| DataplaneError::Object { source: Box::new(source) })?;
        let mut programs = Self { ebpf, features, has_bare: false };
        programs.load_programs(&Self::NAMES)?;
        programs.set_stages()?;
        Ok(programs)
    }

    /// Lets go of the later stages of another kind, which an earlier version left. Those programs that go on
    /// to them leave what they can't finish to TC from now on.
    pub fn release_other_stages(&self, pins: &Pins) -> Result<(), DataplaneError> {
        pins.remove_map(if self.features.frags { STAGES_XDP } else { STAGES_XDP_FRAGS })
    }

    /// What they make use of.
    pub const fn features(&self) -> Features {
        self.features
    }

    /// What the map of the later stages at XDP is pinned as.
    pub const fn xdp_stages(&self) -> &'static str {
        if self.features.frags { STAGES_XDP_FRAGS } else { STAGES_XDP }
    }

    /// Loads the programs for bare devices, unless they are: most nodes need none.
    pub fn load_bare(&mut self) -> Result<(), DataplaneError> {
        if !self.has_bare {
            self.load_programs(&Self::BARE_NAMES)?;
            self.set_bare_stages()?;
            self.has_bare = true;
        }
        Ok(())
    }

    pub(super) fn load_programs(&mut self, names: &[&'static str]) -> Result<(), DataplaneError> {
        names.iter().try_for_each(|name| {
            self.load_program(name).map_err(|source| program_error(name, source))
        })
    }

    /// Puts the programs of the later stages where the first ones go on to. Each takes the place of the
    /// one before, if there was one.
    fn set_stages(&mut self) -> Result<(), DataplaneError> {
        for (stage, name) in [(Stage::Whole, "lb_xdp_all"), (Stage::Begin, "lb_xdp_begin")] {
            self.set_stage(STAGES_XDP, stage, Hook::UplinkIn, name)?;
        }
        for (stage, hook, name) in [
            (Stage::Begin, Hook::UplinkIn, "lb_uplink_begin"),
            (Stage::Begin, Hook::WorkloadIn, "lb_pod_begin"),
            (Stage::Begin, Hook::HostOut, "lb_host_begin"),
            (Stage::Host, Hook::UplinkOut, "lb_host_out_all"),
            (Stage::Whole, Hook::HostOut, "lb_host_out_all"),
            (Stage::Whole, Hook::UplinkIn, "lb_uplink_in_all"),
            (Stage::Whole, Hook::UplinkOut, "lb_uplink_out_all"),
            (Stage::Whole, Hook::WorkloadIn, "lb_pod_in_all"),
            (Stage::Whole, Hook::WorkloadOut, "lb_pod_out_all"),
        ] {
            self.set_stage("STAGES", stage, hook, name)?;
        }
        for hook in Hook::ALL {
            self.set_stage("STAGES", Stage::Answer, hook, "lb_answer")?;
            self.set_stage("STAGES", Stage::Errors, hook, "lb_errors")?;
            self.set_stage("STAGES", Stage::Sctp, hook, "lb_sctp")?;
            self.set_stage("STAGES", Stage::Hold, hook, "lb_hold")?;
            self.set_stage("STAGES", Stage::Release, hook, "lb_release")?;
        }
        Ok(())
    }

    fn set_bare_stages(&mut self) -> Result<(), DataplaneError> {
        for (stage, hook, name) in [
            (Stage::Begin, Hook::UplinkIn, "lb_bare_begin"),
            (Stage::Begin, Hook::HostOut, "lb_bare_own_beg"),
            (Stage::Host, Hook::UplinkOut, "lb_bare_own_all"),
            (Stage::Whole, Hook::HostOut, "lb_bare_own_all"),
            (Stage::Whole, Hook::UplinkIn, "lb_bare_in_all"),
            (Stage::Whole, Hook::UplinkOut, "lb_bare_out_all"),
        ] {
            self.set_stage("STAGES_BARE", stage, hook, name)?;
        }
        for (stage, name) in [(Stage::Hold, "lb_bare_hold"), (Stage::Release, "lb_bare_release")] {
            self.set_stage("STAGES_BARE", stage, Hook::UplinkIn, name)?;
        }
        for hook in [Hook::UplinkIn, Hook::UplinkOut, Hook::HostOut] {
            self.set_stage("STAGES_BARE", Stage::Answer, hook, "lb_bare_answer")?;
            self.set_stage("STAGES_BARE", Stage::Errors, hook, "lb_bare_errors")?;
            self.set_stage("STAGES_BARE", Stage::Sctp, hook, "lb_bare_sctp")?;
        }
        Ok(())
    }

    fn set_stage(
        &mut self,
        map: &'static str,
        stage: Stage,
        hook: Hook,
        name: &'static str,
    ) -> Result<(), DataplaneError> {
        let failed = |source| program_error(name, source);
        let fd = match self.ebpf.program(name) {
            Some(Program::Xdp(program)) => program.fd(),
            Some(Program::SchedClassifier(program)) => program.fd(),
            _ => Err(missing(name)),
        };
        let fd = fd.and_then(|fd| Ok(fd.try_clone()?)).map_err(failed)?;
        let stages = self.ebpf.map_mut(map).ok_or_else(|| failed(missing(map)))?;
        let mut stages = ProgramArray::try_from(stages).map_err(|error| failed(error.into()))?;
        stages.set(stage.place(hook), &fd, 0).map_err(|error| failed(error.into()))
    }

    fn load_program(&mut self, name: &'static str) -> Result<(), ProgramError> {
        match self.ebpf.program_mut(name) {
            Some(Program::Xdp(program)) => program.load(),
            Some(Program::SchedClassifier(program)) => program.load(),
            Some(Program::CgroupSockAddr(program)) => program.load(),
            Some(Program::CgroupSock(program)) => program.load(),
            _ => Err(missing(name)),
        }
    }

    /// The XDP program.
    pub fn xdp(&mut self) -> Result<&mut Xdp, ProgramError> {
        match self.ebpf.program_mut("lb_xdp") {
            Some(Program::Xdp(program)) => Ok(program),
            _ => Err(missing("lb_xdp")),
        }
    }

    /// A TC program.
    pub fn classifier(&mut self, name: &'static str) -> Result<&mut SchedClassifier, ProgramError> {
        match self.ebpf.program_mut(name) {
            Some(Program::SchedClassifier(program)) => Ok(program),
            _ => Err(missing(name)),
        }
    }

    /// A program of whatever kind.
    pub fn program(&self, name: &'static str) -> Option<&Program> {
        self.ebpf.program(name)
    }

    /// The same, to be attached.
    pub(super) fn program_mut(&mut self, name: &'static str) -> Result<&mut Program, ProgramError> {
        self.ebpf.program_mut(name).ok_or_else(|| missing(name))
    }
}

fn program_error(program: &'static str, source: ProgramError) -> DataplaneError {
    DataplaneError::Program { program, source: Box::new(source) }
}

/// The object is part of this binary: that a program is missing in it is a mistake of the build.
pub(super) fn missing(name: &'static str) -> ProgramError {
    ProgramError::MapError(MapError::InvalidName { name: name.to_owned() })
}
