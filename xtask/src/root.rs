//! Becoming root: for packages, for network namespaces, for `lb` itself.

use std::{
    ffi::OsStr,
    io::{self, IsTerminal as _},
    process::{Command, Stdio},
};

/// How commands are run as root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Root {
    /// We are root.
    Ours,
    /// By sudo. It may ask on the terminal if `may_ask` was allowed.
    Sudo {
        /// Whether sudo may ask for a password.
        may_ask: bool,
    },
}

impl Root {
    /// The way that asks for nothing, for the set-up.
    pub fn unattended() -> Option<Self> {
        if nix::unistd::geteuid().is_root() {
            return Some(Self::Ours);
        }
        let mut sudo = Command::new("sudo");
        sudo.args(["-n", "true"]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let granted = sudo.status().is_ok_and(|status| status.success());
        granted.then_some(Self::Sudo { may_ask: false })
    }

    /// Also by a password, if there is a terminal to type it: for verbs that someone at a keyboard
    /// starts.
    pub fn attended() -> Option<Self> {
        Self::unattended().or_else(|| {
            let can_ask = io::stdin().is_terminal() && which::which("sudo").is_ok();
            can_ask.then_some(Self::Sudo { may_ask: true })
        })
    }

    /// A command that runs `program` as root. sudo takes most of the environment away; hand what is
    /// needed over with `variables`.
    pub fn command<'a>(
        self,
        program: impl AsRef<OsStr>,
        variables: impl IntoIterator<Item = (&'a str, &'a OsStr)>,
    ) -> Command {
        match self {
            Self::Ours => {
                let mut command = Command::new(program);
                command.envs(variables);
                command
            }
            Self::Sudo { may_ask } => {
                let mut command = Command::new("sudo");
                if !may_ask {
                    command.arg("-n");
                }
                command.arg("env");
                for (name, value) in variables {
                    let mut pair = OsStr::new(name).to_owned();
                    pair.push("=");
                    pair.push(value);
                    command.arg(pair);
                }
                command.arg(program);
                command
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_pass_through_sudo_by_env() {
        let sudo = Root::Sudo { may_ask: false };
        let command = sudo.command("/bin/true", [("A", OsStr::new("b c"))]);
        assert_eq!(crate::command::line(&command), "sudo -n env 'A=b c' /bin/true");
    }
}
