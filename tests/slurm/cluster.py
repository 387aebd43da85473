"""A real SLURM of two nodes on one machine: munged, slurmctld and two slurmd, all in one folder.

Needs the programs of Debian's slurm-wlm and munge, and root, as slurmd demands. Nothing outside the
folder is written or read but the programs: neither /etc/slurm nor /etc/munge, no database, no
cgroups. Memory is enforced by SLURM's own polling.
"""

import contextlib
import os
import pwd
import shutil
import socket
import subprocess
import time

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scancel", "sinfo", "srun")
NODES = ("n1", "n2")
CONFIG = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser={user}
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SwitchType=switch/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SlurmdParameters=config_overrides
ReturnToService=2
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill
OverTimeLimit=0
KillWait=5
MinJobAge=600
GresTypes=gpu
NodeName=DEFAULT CPUs={cpus} RealMemory={memory} {gres}
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]}
NodeName=n2 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]}
PartitionName=main Nodes=n1,n2 Default=YES MaxTime=INFINITE State=UP
"""


def why_not():
    """Why no SLURM can be started on this machine; None if one can."""
    missing = [name for name in PROGRAMS if not shutil.which(name)]
    if missing:
        return f"{', '.join(missing)} not found (apt-get install slurm-wlm munge)"
    if os.geteuid() != 0:
        return "slurmd must be started by root"
    return None


@contextlib.contextmanager
def running(folder, cpus=8, memory=24000, gpus=0):
    """Start a SLURM in a new folder; yield the environment for its commands; end it.

    cpus, memory (MB), gpus: what each of the two nodes says that it has; of GPUs at most two, which
    are /dev/null and /dev/zero.
    """
    folder.mkdir()
    config = folder / "slurm.conf"
    values = {
        "folder": folder,
        "ports": free_ports(3),
        "host": socket.gethostname().split(".")[0],
        "user": pwd.getpwuid(os.geteuid()).pw_name,
        "gres": f"Gres=gpu:{gpus}" if gpus else "",
    }
    config.write_text(CONFIG.format(cpus=cpus, memory=memory, **values))
    devices = ["/dev/null", "/dev/zero"][:gpus]
    (folder / "gres.conf").write_text("".join(f"Name=gpu File={file}\n" for file in devices))
    (folder / "state").mkdir()
    (folder / "munge.key").write_bytes(os.urandom(128))
    (folder / "munge.key").chmod(0o400)
    environment = os.environ | {"SLURM_CONF": str(config), "PATH": f"{folder}:{os.environ['PATH']}"}
    write_srun(folder / "srun", config)
    munge = ["munged", "--foreground", "--force", f"--socket={folder}/munge.socket"]
    munge += [f"--{kind}-file={folder}/munge.{kind}" for kind in ("key", "pid", "log", "seed")]
    commands = [munge, ["slurmctld", "-D", "-c"], *(["slurmd", "-D", "-N", n] for n in NODES)]
    with contextlib.ExitStack() as daemons:
        for number, command in enumerate(commands):
            daemons.enter_context(daemon(command, environment, folder / f"{number}.log"))
            if command is munge:
                wait_for((folder / "munge.socket").exists)
        try:
            wait_for(lambda: states(environment) == ["idle"] * len(NODES))
        except TimeoutError:
            logs = [log.read_text().splitlines()[-3:] for log in sorted(folder.glob("*.log"))]
            raise TimeoutError("; ".join(line for log in logs for line in log)) from None
        yield environment


@contextlib.contextmanager
def daemon(command, environment, log):
    """A program that runs as long as the block."""
    with log.open("w") as out:
        process = subprocess.Popen(command, env=environment, stdout=out, stderr=out)
    try:
        yield
    finally:
        process.terminate()
        process.wait()


def write_srun(path, config):
    """An srun that knows its SLURM: the plugin drops SLURM_CONF from the environment of jobs."""
    path.write_text(f'#!/bin/sh\nSLURM_CONF={config} exec {shutil.which("srun")} "$@"\n')
    path.chmod(0o755)


def states(environment):
    """The states of the nodes."""
    command = ["sinfo", "--noheader", "--Node", "--format=%T"]
    return subprocess.run(
        command, env=environment, text=True, capture_output=True, check=False
    ).stdout.split()


def wait_for(condition, seconds=30):
    """Wait until a condition holds; a TimeoutError after so many seconds."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"not within {seconds} s")
        time.sleep(0.1)


def free_ports(n):
    """Ports that nothing listens on."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(n)]
        for found in sockets:
            found.bind(("127.0.0.1", 0))
        return [found.getsockname()[1] for found in sockets]
