"""Rendered clips with known truth: for the demo, for tests, and to train on.

Where to begin: ``scene`` draws a clip as data from a seed (``things``, ``looks``, ``plans``,
``motion`` and ``appearance`` are its parts), ``render`` draws its frames and masks (``raster``
fills outlines), ``truth`` knows every thing's state and ``events`` what happens. ``questions``
asks: ``kinds`` lists what can be asked, ``answering`` reads the true answer off the truth,
``options`` puts others beside it, ``answers`` and ``wordings`` put all of it into words;
``balance`` and ``guess`` see to it that nothing can be guessed without looking. ``descriptions``
describes and reads descriptions back. ``write`` and ``benchmarks`` write files, ``cli`` has the
commands.

A stream to train on is a function of a number::

    scene, truth = sample(seed)                       # gar_video.synth.truth; seeds below 2**39
    frames, masks = render(scene, times_s=[0, 1.5])   # gar_video.synth.render
    questions = sample_questions(rng, scene, truth)   # gar_video.synth.questions
"""
