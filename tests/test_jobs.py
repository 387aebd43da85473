"""On a cluster each job starts a Snakemake of its own, which must not look at the user's files."""

OOD = "results/studies/mini/ood.parquet"


def test_a_job_knows_its_recipe_without_its_sources(finished, tmp_path):
    """Images are gone and words changed; the job writes the same bytes, its recipe among them."""
    project = finished.copy(tmp_path / "project")
    before = (project.folder / OOD).read_bytes()
    (project.folder / "photos").rename(project.folder / "out of reach")
    (project.folder / "words.txt").write_text("changed since\n")
    # What Snakemake's executors call on the node of a job.
    job = ["--mode", "remote", "--target-jobs", "evaluate_ood:study=mini"]
    job += ["--allowed-rules", "evaluate_ood", "--force", "--nolock", "--cores", "1"]
    (project.folder / OOD).unlink()
    assert project.rules_run(*job) == {"evaluate_ood": 1}
    assert (project.folder / OOD).read_bytes() == before
