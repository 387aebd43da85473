"""Before the first job of a run: the lock of a killed run goes, Snakemake's notes are there, no job of
an earlier run still writes what this one makes, no log tells of an earlier success, and what is to run
in any case finds nothing finished.
"""

import shutil
import signal

from snakemake.exceptions import WorkflowError
from workflow_scripts.lib.locking import lock_of, running_writers, take_over_folder
from workflow_scripts.lib.recipes import files_without_notes, notes_are_lost
from workflow_scripts.lib.signals import handle_in_thread
from workflow_scripts.lib.slurm import queued_jobs

if IS_MAIN and take_over_folder():  # before Snakemake asks for its own lock
    logger.info("An earlier run was killed; its lock is removed.")

if IS_MAIN and not {"--forceall", "-F"} & set(sys.argv):
    if notes_are_lost():
        raise WorkflowError(
            "Snakemake's notes of how the files in results/ were made are lost (.snakemake/metadata), "
            "and without them no change is noticed: put the folder back, or make all anew by --forceall"
        )
    if lost := files_without_notes(workflow.rules):
        logger.warning(
            f"Snakemake's notes of how files were made lack {len(lost)}, {lost[0]} among them, and without "
            "them no change is noticed: put .snakemake/metadata back, or delete the files"
        )


def check_earlier_runs(jobs):
    """Raise a WorkflowError if jobs of an earlier run in this folder are not over."""
    if queued := queued_jobs(os.getcwd()):
        raise WorkflowError(
            f"SLURM jobs of an earlier run in this folder are not over: wait for them, or end them "
            f"with `scancel {' '.join(queued)}`"
        )
    outputs = [job.output[0] for job in jobs if job.output]
    for output, writer in running_writers(outputs).items():
        raise WorkflowError(
            f"{output} is still being written by {writer}, which an earlier run started: "
            f"wait until it ends, or end it"
        )
    for output in outputs:  # the locks of jobs that were killed
        lock_of(output).unlink(missing_ok=True)


def empty_logs(jobs):
    """Remove the logs of jobs that are to run. Snakemake does so when it starts a job, which on a
    cluster may be killed before that.
    """
    for log in [log for job in jobs for log in job.log]:
        Path(log).unlink(missing_ok=True)


def forget_shards(jobs):
    """Remove the finished shards of jobs that the user forces: `embed_images` would take them over."""
    for job in jobs:
        if job.rule.name == "embed_images" and workflow.dag.reason(job).forced:
            shutil.rmtree(
                job.output.embeddings.removesuffix(".npy") + ".shards", ignore_errors=True
            )


onstart:
    handle_in_thread(signal.SIGTERM, workflow.scheduler.exit_gracefully)
    if not workflow.touch:
        to_run = list(workflow.dag.needrun_jobs())
        check_earlier_runs(to_run)
        empty_logs(to_run)
        forget_shards(to_run)
