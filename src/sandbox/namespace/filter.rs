//! System call filters.
//!
//! One forbids what a step never needs and what widens the kernel's attack surface, and hides the groups that the caller
//! has besides. The other, for administrators, hands calls about owners to PID 1 (`owners`) and makes others succeed without effect: syncing
//! (what a step writes is kept or thrown away as a whole) and changing to ids that don't exist here.

use std::collections::BTreeMap;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch,
};

use super::enter::{During as _, Failure};
use crate::sandbox::{Identity, Job};

#[cfg(target_arch = "x86_64")]
const ARCH: (TargetArch, u32) = (TargetArch::x86_64, 0xc000_003e);
#[cfg(target_arch = "aarch64")]
const ARCH: (TargetArch, u32) = (TargetArch::aarch64, 0xc000_00b7);

/// Calls that fail with `EPERM`.
const FORBIDDEN: &[libc::c_long] = &[
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_open_tree,
    libc::SYS_move_mount,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_open_by_handle_at,
    libc::SYS_kexec_load,
    libc::SYS_kexec_file_load,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_acct,
    libc::SYS_quotactl,
];

/// Calls that an administrator's PID 1 answers.
const OWNERSHIP: &[libc::c_long] = &[
    #[cfg(target_arch = "x86_64")]
    libc::SYS_chown,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_lchown,
    libc::SYS_fchown,
    libc::SYS_fchownat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_stat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_lstat,
    libc::SYS_fstat,
    libc::SYS_newfstatat,
    libc::SYS_statx,
];

/// Calls that do nothing and succeed, for an administrator.
const WITHOUT_EFFECT: &[libc::c_long] = &[
    libc::SYS_fsync,
    libc::SYS_fdatasync,
    libc::SYS_sync,
    libc::SYS_syncfs,
    libc::SYS_sync_file_range,
    libc::SYS_setuid,
    libc::SYS_setgid,
    libc::SYS_setreuid,
    libc::SYS_setregid,
    libc::SYS_setresuid,
    libc::SYS_setresgid,
    libc::SYS_setgroups,
    libc::SYS_setfsuid,
    libc::SYS_setfsgid,
];

/// Forbids what no step needs.
pub(super) fn forbid() -> Result<(), Failure> {
    let broken = |_| std::io::Error::from_raw_os_error(libc::EINVAL);
    let only = |argument, op, value| {
        let condition =
            SeccompCondition::new(argument, SeccompCmpArgLen::Dword, op, value).map_err(broken)?;
        SeccompRule::new(vec![condition]).map_err(broken)
    };
    let rules = || -> std::io::Result<BpfProgram> {
        let mut rules: BTreeMap<i64, Vec<SeccompRule>> =
            FORBIDDEN.iter().map(|&call| (call, Vec::new())).collect();
        let new_user = libc::CLONE_NEWUSER as u64;
        rules.insert(libc::SYS_clone, vec![only(0, SeccompCmpOp::MaskedEq(new_user), new_user)?]);
        // TIOCSTI types into the terminal of whoever opened the shell.
        rules.insert(libc::SYS_ioctl, vec![only(1, SeccompCmpOp::Eq, libc::TIOCSTI)?]);
        let refuse = SeccompAction::Errno(libc::EPERM as u32);
        let filter = SeccompFilter::new(rules, SeccompAction::Allow, refuse, ARCH.0).map_err(broken)?;
        filter.try_into().map_err(broken)
    };
    // clone3 hides its flags from filters; libc goes back to clone where it does not exist.
    let clone3 = || -> std::io::Result<BpfProgram> {
        let rules = BTreeMap::from([(libc::SYS_clone3, Vec::new())]);
        let absent = SeccompAction::Errno(libc::ENOSYS as u32);
        let filter = SeccompFilter::new(rules, SeccompAction::Allow, absent, ARCH.0).map_err(broken)?;
        filter.try_into().map_err(broken)
    };
    // The caller's other groups can't be left without privileges (user_namespaces(7)), but nobody needs to hear of them.
    let groups = || -> std::io::Result<BpfProgram> {
        let rules = BTreeMap::from([(libc::SYS_getgroups, Vec::new())]);
        let none = SeccompAction::Errno(0);
        let filter = SeccompFilter::new(rules, SeccompAction::Allow, none, ARCH.0).map_err(broken)?;
        filter.try_into().map_err(broken)
    };
    for program in [rules(), clone3(), groups()] {
        let program = program.during("make its system call filter")?;
        seccompiler::apply_filter(&program)
            .map_err(|_| std::io::Error::last_os_error())
            .during("filter its system calls")?;
    }
    Ok(())
}

/// Hands calls about owners, and where another kernel is to be seen those about it, to whoever holds the descriptor that
/// this gives (seccomp_unotify(2)).
pub(super) fn divert(job: &Job) -> Result<i32, Failure> {
    let is_administrator = job.identity == Identity::Administrator;
    let diverted = is_administrator.then_some(OWNERSHIP).into_iter().flatten().copied();
    let diverted = diverted.chain(job.surroundings.other_kernel.then_some(libc::SYS_uname));
    let without_effect = if is_administrator { WITHOUT_EFFECT } else { &[] };
    let program = program(diverted, without_effect);
    let filter = libc::sock_fprog { len: program.len() as u16, filter: program.as_ptr().cast_mut() };
    // SAFETY: `filter` points to `program`, which outlives the call.
    let descriptor = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            libc::SECCOMP_FILTER_FLAG_NEW_LISTENER,
            &raw const filter,
        )
    };
    if descriptor < 0 {
        return Err(std::io::Error::last_os_error()).during("watch owners");
    }
    Ok(descriptor as i32)
}

/// A program that loads the call's number and compares it with each that is not let through.
fn program(
    diverted: impl Iterator<Item = libc::c_long>,
    without_effect: &[libc::c_long],
) -> Vec<libc::sock_filter> {
    let load = |offset: u32| libc::sock_filter { code: 0x20, jt: 0, jf: 0, k: offset };
    let equal = |k: u32, jt: u8, jf: u8| libc::sock_filter { code: 0x15, jt, jf, k };
    let give = |k: u32| libc::sock_filter { code: 0x06, jt: 0, jf: 0, k };
    // struct seccomp_data: nr at 0, arch at 4.
    let mut program = vec![load(4), equal(ARCH.1, 1, 0), give(libc::SECCOMP_RET_KILL_PROCESS), load(0)];
    for call in diverted {
        program.extend([equal(call as u32, 0, 1), give(libc::SECCOMP_RET_USER_NOTIF)]);
    }
    for &call in without_effect {
        program.extend([equal(call as u32, 0, 1), give(libc::SECCOMP_RET_ERRNO)]);
    }
    program.push(give(libc::SECCOMP_RET_ALLOW));
    program
}
