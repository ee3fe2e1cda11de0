"""The paper's three experiments, on rendered clips: ``gar-video experiment replay|init|prompts``.

``questions`` draws clips and scores a model on them, ``training`` trains one arm through the
recipe, ``folder`` keeps what is done, ``report`` makes table, plot and JSON of it. ``replay``,
``init`` and ``prompts`` are the experiments, a file each.
"""
