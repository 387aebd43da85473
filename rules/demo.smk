"""The embedded demo: rendered image folders, and the training of its tiny CLIP.

Out: results/demo/images/{demo_set}/ ; results/demo/encoders/{demo_encoder}/
(the shipped one is config/demo/tinyclip).
"""


rule render_images:
    output:
        folder=directory("results/demo/images/{demo_set}"),
    log:
        "results/logs/render_images/{demo_set}.log",
    localrule: IN_STORAGE
    conda:
        "../envs/workflow.yaml"
    params:
        cfg=block("demo_images", "demo_set"),
        code=code("render_images"),
        above=above("render_images"),
    script:
        "../workflow_scripts/render_images.py"


rule train_tiny_clip:
    output:
        model="results/demo/encoders/{demo_encoder}/open_clip_model.safetensors",
        config="results/demo/encoders/{demo_encoder}/open_clip_config.json",
        report="results/demo/encoders/{demo_encoder}/report.json",
    log:
        "results/logs/train_tiny_clip/{demo_encoder}.log",
    conda:
        "../envs/workflow.yaml"
    params:
        cfg=block("demo_encoders", "demo_encoder"),
        code=code("train_tiny_clip"),
        above=above("train_tiny_clip"),
    script:
        "../workflow_scripts/train_tiny_clip.py"
