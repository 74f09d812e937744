"""The deep image prior: restore one image with an untrained network.

    import diplearn as dip

    clean = dip.images.load("astronaut", size=256)
    problem = dip.denoising(clean, sigma=25 / 255, seed=0)
    run = dip.fit(problem)
    run.output, run.psnr, run.stopped_at

What is observed:   images, operators, degrade, noise, problems, energy
What fits it:       networks, optimisers, recipes, stopping with nl_ridge, fitting (the loop),
                    run, many
Beside the loop:    prepare, inputs, state, rollback, checkpoint, hardware, memory
What compares fits: metrics, baselines, sweep with results
What shows them:    figures, film, widgets, cli with streams
The lessons' own:   course
Small helpers:      errors, files, interrupts, progress, randomness

Ulyanov, Vedaldi & Lempitsky, Deep Image Prior, IJCV 128 (2020), doi:10.1007/s11263-020-01303-4.
"""

import lazy_loader

# Loaded when first used: `diplearn --help` need not wait for torch.
__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=[
        "baselines",
        "course",
        "degrade",
        "energy",
        "figures",
        "film",
        "images",
        "metrics",
        "networks",
        "nl_ridge",
        "noise",
        "operators",
        "optimisers",
        "problems",
        "recipes",
        "stopping",
        "sweep",
        "widgets",
    ],
    submod_attrs={
        "errors": ["ImageError", "InputError", "MemoryShortage"],
        "fitting": ["Step", "fit", "iterate", "resume"],
        "many": ["fits"],
        "metrics": ["psnr", "ssim"],
        "operators": ["Blur", "Downsample", "Identity", "Mask"],
        "problems": [
            "Problem",
            "camera",
            "deblurring",
            "denoising",
            "inpainting",
            "jpeg",
            "super_resolution",
        ],
        "recipes": ["Recipe", "guided", "lab", "paper"],
        "run": ["Run"],
    },
)
